export { Endpoint, type EndpointStats } from './endpoint.ts'
export {
  DEFAULT_MAX_HELD,
  DEFAULT_MAX_HELD_BYTES,
  type HoldLimits,
  HoldQueue,
  type HoldRequest,
  heldBytes,
  ownCommand,
  type Waiting,
} from './hold-queue.ts'
export { LazyLease } from './lazy-lease.ts'
export { numberOption } from './number-option.ts'
export type { EndpointOptions } from './options.ts'
export { isMadeUp, isPermanent, isRetriable, type Outcome, outcomeOf, refusalOf } from './outcome.ts'
export { DEFAULT_PING_INTERVAL } from './ping-watch.ts'
export {
  checkMaxStaleness,
  checkReadFrom,
  choose,
  type ReadCandidate,
  type ReadChoice,
  type ReadFrom,
  type ReadPolicy,
  type Target,
} from './read-from.ts'
export { type LeaseOptions, RolePool } from './role-pool.ts'
export { RETRY_MS, type Route } from './route.ts'
export { DEFAULT_SUSPECT_AFTER } from './silence-watch.ts'
