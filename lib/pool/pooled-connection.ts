// What the pool needs of a connection. It is the pool's own interface, so that whatever has these members can
// be pooled and the tests need no socket. `Connection` of lib/connection has them.

import type { ExecuteOptions } from '../connection/index.ts'
import type { Argument, Reply } from '../resp/index.ts'

/** What a {@link Pool} can hold. None of its methods may throw, but `execute()` and `call()` for misuse. */
export interface PooledConnection {
  /** Why the connection died; `undefined` while it lives. Sticky: it never becomes `undefined` again. */
  readonly error: Error | undefined
  /** How many commands were issued whose reply is still owed. */
  readonly pendingCount: number
  /** Who is told of pushes, where the connection has them. The lease puts back what the borrower changes. */
  onPush?: ((push: readonly Reply[]) => void) | undefined
  /** Sends a command and gives its reply. Replies come in the order of the commands. */
  execute(command: readonly Argument[], options?: ExecuteOptions): Promise<Reply>
  /**
   * Sends several commands with nothing between them, and gives the outcome of each; all are written or none is.
   * Without it a lease sends them one by one.
   */
  executeAll?(
    commands: readonly (readonly Argument[])[],
    options?: ExecuteOptions,
  ): Promise<(Reply | Error)[]>
  /** Sends a command and gives its reply. */
  call(name: string, ...args: Argument[]): Promise<Reply>
  /**
   * Makes the connection what it was when it had just been connected, whatever commands have done to it, and rejects
   * if it cannot. Without it, what a borrower alters costs the connection.
   */
  reset?(): Promise<void>
  /**
   * Whether commands since it was connected, or since {@link reset}, have left behind more than transactions, watched
   * keys and subscriptions. One that is altered when it is lent, as by its dialer, is not reset: that would undo more
   * than the borrower did.
   */
  readonly isAltered?: boolean
  /** Resolves when the connection has ended, whoever ended it: an idle one leaves the pool then, unasked. */
  readonly closed?: Promise<void>
  /** Finishes what is pending, then ends the connection. Never rejects. */
  close(): Promise<void>
  /** Ends the connection at once: from then on `error` is set, and whatever is pending rejects. */
  destroy(error?: Error): void
}

const methods = ['execute', 'call', 'close', 'destroy'] as const

/** Whether a value has the methods of a {@link PooledConnection}. */
export function isPooledConnection(value: unknown): value is PooledConnection {
  if (typeof value !== 'object' || value === null) return false
  const candidate: Partial<PooledConnection> = value
  return methods.every((name) => typeof candidate[name] === 'function')
}
