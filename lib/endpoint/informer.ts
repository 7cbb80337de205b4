// Tells the endpoint's owner what the users of its connections find out about the server: that it refuses what a
// master takes, or that it ended a connection that somebody had. What idle connections die of says nothing: servers
// close those that are idle for long.
//
// It costs a lease one entry in a map, and a command that is answered nothing. What is found out within one turn of the
// event loop is told once, and before those concerned go on: whoever tries again finds that it is known.

import type { Connection } from '../connection/index.ts'
import { ConnectionError, ProtocolError, ReplyError } from '../errors.ts'
import type { Lease } from '../pool/index.ts'
import { refusalOf } from './outcome.ts'

export class Informer {
  readonly #tell: (error: Error) => void
  /** Who has the connection, or had it last. */
  readonly #leases = new WeakMap<Connection, Lease<Connection>>()
  /** What is about to be told. */
  #finding: Error | undefined

  constructor(tell: (error: Error) => void) {
    this.#tell = tell
  }

  /** Looks at the connection's errors from now on. */
  watch(connection: Connection): void {
    connection.onError = (error) => {
      if (error instanceof ReplyError ? refusalOf(error) !== undefined : this.#isLoss(connection, error)) {
        this.#note(error)
      }
    }
  }

  /** A connection that is watched was lent. */
  lent(lease: Lease<Connection>): void {
    this.#leases.set(lease.connection, lease)
  }

  /** Nobody has it any more whose lease has another error than the connection. */
  #isLoss(connection: Connection, error: Error): boolean {
    const isByPeer =
      error instanceof ProtocolError || (error instanceof ConnectionError && error.code === 'CONNECTION_LOST')
    return isByPeer && this.#leases.get(connection)?.error === error
  }

  /** Of several the one that says most. */
  #note(error: Error): void {
    if (this.#finding === undefined) process.nextTick(() => this.#report())
    else if (refusalOf(error) !== 'wrong-role') return
    this.#finding = error
  }

  #report(): void {
    const error = this.#finding
    this.#finding = undefined
    if (error !== undefined) this.#tell(error)
  }
}
