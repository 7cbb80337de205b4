export { watchAbort } from './abort-watch.ts'
export { connect } from './connect.ts'
export { Connection, type ExecuteOptions } from './connection.ts'
export { Deadlines } from './deadline.ts'
export {
  type ConnectionOptions,
  type Credentials,
  formatAddress,
  resolveConnectionOptions,
} from './options.ts'
export type { Rescuer } from './pending.ts'
export { parseUrl } from './url.ts'
