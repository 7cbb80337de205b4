// The package's only door.

export {
  Client,
  type ClientOptions,
  type ClientSentinelOptions,
  type CommandOptions,
  CommandView,
  createClient,
} from './client/index.ts'
export {
  type Connection,
  type ConnectionOptions,
  type Credentials,
  connect,
  type ExecuteOptions,
} from './connection/index.ts'
export type {
  EndpointStats,
  ReadCandidate,
  ReadChoice,
  ReadFrom,
  ReadPolicy,
  RolePool,
} from './endpoint/index.ts'
export {
  AbortError,
  ConnectionError,
  type ConnectionPhase,
  type ErrorCode,
  errorCodes,
  PoolError,
  ProtocolError,
  ReplyError,
  RespoolError,
  SentinelError,
  TimeoutError,
} from './errors.ts'
export {
  type Lease,
  type LeaseHolder,
  Pool,
  type PoolEvictions,
  type PooledConnection,
  type PoolOptions,
  type PoolStats,
} from './pool/index.ts'
export type { Argument, Reply } from './resp/index.ts'
export {
  type Address,
  type NodeConnectionOptions,
  type ReplicaState,
  Sentinel,
  type SentinelEvents,
  type SentinelOptions,
  type SentinelState,
  type SwitchEvent,
  type Topology,
} from './sentinel/index.ts'
