// What a client stands on: a route, and what can be asked of the whole.

import type { EndpointStats, Route } from '../endpoint/index.ts'
import type { Topology } from '../sentinel/index.ts'

/** What `stats()` says of the servers. */
export interface RouterStats {
  /** `undefined` while it is unknown. Of a client of one server: that one, whatever its role. */
  readonly master: EndpointStats | undefined
  readonly replicas: readonly EndpointStats[]
  /** Commands, and callers of `lease()`, that wait because there is no server to send them to. */
  readonly held: number
}

/** @internal */
export interface Router extends Route {
  /** The servers as they are known; `undefined` where there is only one. */
  readonly topology: Topology | undefined
  /** What a replica says that its master is called, as it is called here. */
  translate(announced: string): string
  stats(): RouterStats
  close(): Promise<void>
  destroy(error: Error): void
}
