export { type Address, normalizeAddress } from './address.ts'
export { BoundEmitter, tellEach } from './bound-emitter.ts'
export type { SwitchEvent } from './mastership.ts'
export type { Announced, NatMap } from './nat-map.ts'
export {
  type NodeConnectionOptions,
  type ResolvedSentinelOptions,
  resolveSentinelOptions,
  type SentinelOptions,
} from './options.ts'
export { SentinelRouter } from './router.ts'
export { Sentinel, type SentinelEvents } from './sentinel.ts'
export type { ReplicaState, SentinelState, Topology } from './topology.ts'
