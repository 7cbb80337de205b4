// All scenarios, in the order in which they are run and told.

import type { Scenario } from '../scenario.ts'
import {
  killMaster,
  plannedFailover,
  restartMaster,
  shutdownMaster,
  stopMaster,
  twoFailovers,
} from './master.ts'
import { halfopenMaster, isolateMaster, partitionBetween, partitionMaster } from './network.ts'
import { oldEpoch, sentinelReset, sentinelsDown, sentinelThenMaster } from './sentinels.ts'
import { blackout, killReplica } from './servers.ts'
import { startSentinelsRefused, startSentinelsSilent, unknownMaster } from './start.ts'

export const scenarios: readonly Scenario[] = [
  killMaster,
  stopMaster,
  shutdownMaster,
  plannedFailover,
  restartMaster,
  partitionMaster,
  partitionBetween,
  isolateMaster,
  halfopenMaster,
  killReplica,
  sentinelThenMaster,
  sentinelsDown,
  startSentinelsRefused,
  startSentinelsSilent,
  unknownMaster,
  blackout,
  twoFailovers,
  sentinelReset,
  oldEpoch,
]

export { killMaster, plannedFailover, stopMaster }
