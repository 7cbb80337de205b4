// What an endpoint is told. Its owner has checked and completed all of it.

import type { Connection, ConnectionOptions } from '../connection/index.ts'
import type { PoolOptions } from '../pool/index.ts'
import type { HoldLimits } from './hold-queue.ts'

export interface EndpointOptions extends HoldLimits {
  /** How its connections are made; checked and completed by the caller. */
  readonly connection: ConnectionOptions & { readonly commandTimeout: number }
  /** The pool's options, without `dial`. */
  readonly pool: Omit<PoolOptions<Connection>, 'dial'>
  /** Milliseconds of silence after which an idle shared connection is asked whether it is there; 0 = never. */
  readonly pingInterval: number
  /**
   * Milliseconds for which the shared connection may owe replies without a byte, before nothing more is written to it
   * and a new connection is tried; 0 = never.
   */
  readonly suspectAfter: number
  /** Looks at each new connection; when it throws, the connection is not used. */
  readonly verify?: ((connection: Connection) => Promise<void>) | undefined
  /**
   * Told of each failed dial, each shared connection that is lost or suspect, each connection lost while it is lent by
   * `lend()`, and of error replies that say something about the server, on any connection. Must not throw.
   */
  readonly onTrouble?: ((error: Error) => void) | undefined
  /** Told of each shared connection that comes up, and once of its end. Must not throw. */
  readonly onConnect?: (() => void) | undefined
  readonly onDisconnect?: ((error: Error) => void) | undefined
}
