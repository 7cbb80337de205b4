export {
  type Address,
  type NodeConnectionOptions,
  normalizeAddress,
  type ResolvedSentinelOptions,
  resolveSentinelOptions,
  type SentinelOptions,
} from './options.ts'
export { SentinelRouter, type SwitchEvent } from './router.ts'
export { Sentinel, type SentinelEvents } from './sentinel.ts'
export type { ReplicaState, SentinelState, Topology } from './topology.ts'
