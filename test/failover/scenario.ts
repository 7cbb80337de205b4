// What a scenario is: a fault, on a deployment under load.

import type { TestTopologyOptions } from '../support/real-servers.ts'
import type { Cleanup } from '../support/temp-dir.ts'
import type { Stage } from './stage.ts'

export interface Scenario {
  readonly name: string
  /** One line for the help and the table. */
  readonly about: string
  /** The members know each other through proxies. */
  readonly isProxied?: boolean
  readonly topology?: Pick<TestTopologyOptions, 'args'>
  /** What the client is told instead of the sentinels and the name as they are; for faults at the start. */
  readonly start?: (t: Cleanup, known: Known) => Promise<Known>
  /** The first write is rejected, and there is no load. */
  readonly isRefused?: boolean
  /** Does what is to be done, from `stage.fault()` to where nothing more is to come but the recovery. */
  readonly act: (stage: Stage) => Promise<void>
  /** The load goes on for so long after the recovery. @default 2000 */
  readonly lingerMs?: number
}

/** How the client finds the deployment. */
export interface Known {
  readonly name: string
  readonly sentinels: readonly string[]
}
