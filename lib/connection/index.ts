export { watchAbort } from './abort-watch.ts'
export { connect } from './connect.ts'
export { Connection } from './connection.ts'
export { Deadlines } from './deadline.ts'
export type { ExecuteOptions } from './execute-options.ts'
export {
  type ConnectionOptions,
  type Credentials,
  formatAddress,
  resolveConnectionOptions,
} from './options.ts'
export type { Rescuer } from './pending.ts'
export { parseUrl } from './url.ts'
