// What get() hands out: one connection, for one borrower alone, until it is given back.
//
//     lent ── close(), nothing to undo ──────────────────────► returned
//       ├──── close() ──► cleaning ── clean, or too late ─────►  ▲
//       └──── destroy() ───────┴─────────────────────────────────┘
//
// The lease knows from the commands that pass through it what its borrower did to the connection. It comes back
// clean or not at all: what cannot be undone within `resetTimeout` is destroyed. From the first close() on, no
// command of the borrower reaches the connection, which may be another's by then.

import { isBlocking, StateBit, stateAfter } from '../commands/index.ts'
import type { Connection, ExecuteOptions } from '../connection/index.ts'
import { PoolError, ReplyError } from '../errors.ts'
import type { Argument, Reply } from '../resp/index.ts'
import { cleanUp, isPermanent } from './clean-up.ts'
import type { Member } from './idle-list.ts'
import type { PooledConnection } from './pooled-connection.ts'

/** How a connection comes back: fit to be lent again, dead, or alive but not to be trusted. */
export type ReturnedAs = 'clean' | 'broken' | 'dirty'

/** The lease's owner: takes the connection back. Called once a lease. */
export type TakeBack<T extends PooledConnection> = (member: Member<T>, as: ReturnedAs, reason?: Error) => void

/**
 * A connection lent by a {@link Pool} to one borrower, who has to give it back: by {@link Lease.close}, by
 * `await using`, or by {@link Lease.destroy}.
 */
export class Lease<T extends PooledConnection = Connection> {
  readonly #member: Member<T>
  readonly #resetTimeoutMs: number
  readonly #takeBack: TakeBack<T>
  /** The connection's own; the borrower's goes when the lease does. */
  readonly #onPush: PooledConnection['onPush']
  #phase: 'lent' | 'cleaning' | 'returned' = 'lent'
  /** Bits of `StateBit`: what the borrower did to the connection and did not undo. */
  #state = 0
  /** Blocking commands whose reply was not seen. */
  #held = 0
  #closed: Promise<void> | undefined
  /** Ends the cleaning phase. */
  #cleaned: (() => void) | undefined
  #timer: NodeJS.Timeout | undefined

  constructor(member: Member<T>, resetTimeoutMs: number, takeBack: TakeBack<T>) {
    this.#member = member
    this.#resetTimeoutMs = resetTimeoutMs
    this.#takeBack = takeBack
    this.#onPush = member.connection.onPush
  }

  /**
   * The connection itself, for what a lease has no method for. Do not keep it beyond the lease, and send no command
   * through it that changes the connection's state: only what passes through the lease is undone.
   *
   * @throws {PoolError} `LEASE_RETURNED`
   */
  get connection(): T {
    if (this.#phase !== 'lent') throw leaseReturned()
    return this.#member.connection
  }

  /** Why the connection died, or a `PoolError` with `LEASE_RETURNED`; `undefined` while it can be used. */
  get error(): Error | undefined {
    return this.#phase === 'lent' ? this.#member.connection.error : leaseReturned()
  }

  /**
   * Runs a command: `call('SET', 'key', 'value')`.
   *
   * @returns the reply, as the connection gives it
   * @throws {PoolError} `LEASE_RETURNED`; for the rest see the connection
   */
  call(name: string, ...args: Argument[]): Promise<Reply> {
    return this.execute([name, ...args])
  }

  /** {@link Lease.call} with options. */
  execute(command: readonly Argument[], options?: ExecuteOptions): Promise<Reply> {
    if (this.#phase !== 'lent') return Promise.reject(leaseReturned())
    const before = this.#state
    // Before the command is written, and whatever comes of it: a refused MULTI counts as one.
    this.#state = stateAfter(before, command)
    const reply = this.#member.connection.execute(command, options)
    const undone = before & ~this.#state
    const isHeld = isBlocking(command)
    return undone === 0 && !isHeld ? reply : this.#follow(reply, undone, isHeld)
  }

  /**
   * Gives the connection back to the pool. Open transactions, watched keys and subscriptions are undone; replies
   * that were not waited for are. If that fails or takes longer than `resetTimeout`, if a blocking command is still
   * running, or if the borrower changed what is not undone (SELECT, AUTH, MONITOR, …), the connection is destroyed.
   *
   * With nothing to undo the connection is back, and with the next borrower, when this returns.
   *
   * @returns a promise that resolves when the lease has ended, one way or the other; it never rejects. Later calls
   *   change nothing.
   */
  close(): Promise<void> {
    this.#closed ??= this.#giveBack()
    return this.#closed
  }

  /**
   * Gives the connection up: it is destroyed, what is pending on it rejects, its place is free. After the lease has
   * ended it does nothing.
   */
  destroy(error?: Error): void {
    this.#end('broken', error)
  }

  /** {@link Lease.close} */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  /** A command that blocks, or that undid what an earlier one did: that counts only once it has worked. */
  async #follow(reply: Promise<Reply>, undone: number, isHeld: boolean): Promise<Reply> {
    if (isHeld) this.#held++
    try {
      const value = await reply
      if (isHeld) this.#held--
      return value
    } catch (error) {
      // any other error than the server's leaves the reply owed, and the server perhaps blocked
      if (isHeld && error instanceof ReplyError) this.#held--
      if (!isTransactionAborted(error)) this.#state |= undone
      throw error
    }
  }

  #giveBack(): Promise<void> {
    const { connection } = this.#member
    if (this.#phase !== 'lent') return Promise.resolve()
    this.#phase = 'cleaning'
    if (connection.onPush !== this.#onPush) connection.onPush = this.#onPush
    const as = this.#verdict()
    if (as !== undefined) {
      this.#end(as)
      return Promise.resolve()
    }
    return new Promise((resolve) => {
      this.#cleaned = resolve
      this.#clean()
    })
  }

  /** How the connection comes back if that is known without asking it. */
  #verdict(): ReturnedAs | undefined {
    const { connection } = this.#member
    if (connection.error !== undefined) return 'broken'
    const isOwed = connection.pendingCount > 0
    if (this.#held > 0 && isOwed) return 'dirty'
    // without replies, waiting for those that are owed is in vain
    if (isPermanent(this.#state) && (!isOwed || this.#state & StateBit.reply)) return 'dirty'
    return this.#state === 0 && !isOwed ? 'clean' : undefined
  }

  #clean(): void {
    const { connection } = this.#member
    const boundMs = this.#resetTimeoutMs
    if (boundMs > 0) {
      // Not unref'ed: close() may be all that is awaited, and it ends within the bound.
      this.#timer = setTimeout(() => {
        const message = `a connection was given back and did not become clean within ${boundMs} ms`
        this.#end('dirty', new PoolError('LEASE_RETURNED', message))
      }, boundMs)
    }
    const state = this.#state
    cleanUp(connection, state).then(
      (isUndone) => {
        // a late reply may have told that there is more
        const isClean = isUndone && this.#state === state && !isPermanent(state)
        const isIdle = connection.error === undefined && connection.pendingCount === 0
        this.#end(isClean && isIdle ? 'clean' : 'dirty')
      },
      () => this.#end('dirty'), // the connection died meanwhile; its `error` says why
    )
  }

  /** The one place where the lease ends; the first to come decides. */
  #end(as: ReturnedAs, reason?: Error): void {
    if (this.#phase === 'returned') return
    this.#phase = 'returned'
    clearTimeout(this.#timer)
    const why = reason ?? (as === 'dirty' ? leaseReturned(' before its commands were answered') : undefined)
    this.#takeBack(this.#member, as, why)
    this.#cleaned?.()
  }
}

function leaseReturned(when = ''): PoolError {
  return new PoolError('LEASE_RETURNED', `the lease was given back${when}`)
}

/** EXEC was answered, and the transaction is over; not run, but over. */
function isTransactionAborted(error: unknown): boolean {
  return error instanceof ReplyError && error.prefix === 'EXECABORT'
}
