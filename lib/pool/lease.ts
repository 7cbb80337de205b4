// What get() hands out: one connection, for one borrower alone, until it is given back.
//
//     lent ── close(), nothing to undo ──────────────────────► returned
//       ├──── close() ──► cleaning ── clean, or too late ─────►  ▲
//       └──── destroy() ───────┴─────────────────────────────────┘
//
// The lease knows from the commands that pass through it what its borrower did to the connection. It comes back
// clean or not at all: what cannot be undone within `resetTimeout` is destroyed. From the first close() on, no
// command of the borrower reaches the connection, which may be another's by then.

import { isBlocking, isOrdinary, StateBit, stateAfter } from '../commands/index.ts'
import type { Connection, ExecuteOptions } from '../connection/index.ts'
import { PoolError, ReplyError } from '../errors.ts'
import type { Argument, Reply } from '../resp/index.ts'
import { cleanUp, isLeftover, type Remedy, remedyFor } from './clean-up.ts'
import type { Member } from './idle-list.ts'
import type { PooledConnection } from './pooled-connection.ts'

/** How a connection comes back: fit to be lent again, dead, or alive but not to be trusted. */
export type ReturnedAs = 'clean' | 'broken' | 'dirty'

/**
 * Whose the connections are.
 *
 * @internal
 */
export interface LeaseOwner<T extends PooledConnection> {
  /** How long a clean-up may take; 0 is for ever. */
  readonly resetTimeoutMs: number
  /** Takes the connection back. Called once a lease. */
  takeBack(member: Member<T>, as: ReturnedAs, reason?: Error): void
}

/**
 * A connection lent by a {@link Pool} to one borrower, who has to give it back: by {@link Lease.close}, by
 * `await using`, or by {@link Lease.destroy}.
 */
export class Lease<T extends PooledConnection = Connection> {
  readonly #member: Member<T>
  readonly #owner: LeaseOwner<T>
  #phase: 'lent' | 'cleaning' | 'returned' = 'lent'
  /** Bits of `StateBit`: what the borrower did to the connection and did not undo. */
  #state = 0
  /** The same, with what it did undo: replies that are owed may be from before. */
  #past = 0
  /** Blocking commands whose reply was not seen. */
  #held = 0
  /** There from the cleaning phase on, and what ends that. */
  #cleaning: Promise<void> | undefined
  #cleaned: (() => void) | undefined

  /** @internal */
  constructor(member: Member<T>, owner: LeaseOwner<T>) {
    this.#member = member
    this.#owner = owner
    const { connection } = member
    member.onPush = connection.onPush
    member.canReset = connection.reset !== undefined && connection.isAltered !== true
  }

  /**
   * The connection itself, for what a lease has no method for. Do not keep it beyond the lease, and send no command
   * through it that changes the connection's state: only what passes through the lease is sure to be undone.
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
  call(...command: [name: string, ...args: Argument[]]): Promise<Reply> {
    return this.execute(command)
  }

  /** {@link Lease.call} with options. */
  execute(command: readonly Argument[], options?: ExecuteOptions): Promise<Reply> {
    if (this.#phase !== 'lent') return Promise.reject(leaseReturned())
    if (isOrdinary(command)) return this.#member.connection.execute(command, options)
    const before = this.#state
    const reply = this.#member.connection.execute(command, options) // throws what is none: nothing was sent then
    // Before the command is written, and whatever comes of it: a refused MULTI counts as one.
    this.#state = stateAfter(before, command)
    this.#past |= this.#state
    const undone = before & ~this.#state
    const isHeld = isBlocking(command)
    return undone === 0 && !isHeld ? reply : this.#follow(reply, undone, isHeld)
  }

  /**
   * Runs several commands, in order and with nothing between them, for the price of one promise where the connection has
   * {@link Connection.executeAll} and none of them blocks.
   *
   * @returns for each its reply, or the error it ended with: one that failed says nothing of the others
   * @throws what {@link Lease.execute} throws when nothing of it was taken
   */
  executeAll(
    commands: readonly (readonly Argument[])[],
    options?: ExecuteOptions,
  ): Promise<(Reply | Error)[]> {
    if (this.#phase !== 'lent') return Promise.reject(leaseReturned())
    const { connection } = this.#member
    const special = commands.filter((command) => !isOrdinary(command))
    if (connection.executeAll === undefined || special.some(isBlocking)) {
      const outcome = (command: readonly Argument[]): Promise<Reply | Error> =>
        this.execute(command, options).catch((error: Error) => error)
      return Promise.all(commands.map(outcome))
    }
    const outcomes = connection.executeAll(commands, options)
    return special.length === 0 ? outcomes : this.#followAll(outcomes, commands)
  }

  /**
   * Gives the connection back to the pool, as it was: what the borrower did to it is undone, replies that were not
   * waited for are let in. If that fails or takes longer than `resetTimeout`, if a blocking command is still running,
   * or if the borrower did what cannot be undone (CLIENT NO-EVICT, …), the connection is destroyed.
   *
   * With nothing to undo the connection is back, and with the next borrower, when this returns.
   *
   * @returns a promise that resolves when the lease has ended, one way or the other; it never rejects. Later calls
   *   change nothing.
   */
  close(): Promise<void> {
    if (this.#phase === 'lent') this.#giveBack()
    return this.#cleaning ?? RETURNED
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

  /** {@link Lease.close}, without waiting for what there is to undo: `using lease = await pool.get()`. */
  [Symbol.dispose](): void {
    void this.close()
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

  /** The same for several that are given: what one of them undid, and an earlier one did, counts once it has worked. */
  async #followAll(
    given: Promise<(Reply | Error)[]>,
    commands: readonly (readonly Argument[])[],
  ): Promise<(Reply | Error)[]> {
    const undone = commands.map((command) => {
      const before = this.#state
      this.#state = stateAfter(before, command)
      this.#past |= this.#state
      return before & ~this.#state
    })
    const restore = (outcome: unknown, at: number): void => {
      if (outcome instanceof Error && !isTransactionAborted(outcome)) this.#state |= undone[at] ?? 0
    }
    try {
      const outcomes = await given
      outcomes.forEach(restore)
      return outcomes
    } catch (error) {
      commands.forEach((_, at) => {
        restore(error, at)
      })
      throw error
    }
  }

  #giveBack(): void {
    this.#phase = 'cleaning'
    const remedy = this.#remedy()
    const as = this.#verdict(remedy)
    if (as !== undefined) {
      this.#end(as)
      return
    }
    this.#cleaning = new Promise((resolve) => {
      this.#cleaned = resolve
      this.#clean(remedy)
    })
  }

  #remedy(): Remedy {
    const { canReset, connection } = this.#member
    return remedyFor(this.#state, canReset && connection.isAltered === true, canReset)
  }

  /** How the connection comes back if that is known without asking it. */
  #verdict(remedy: Remedy): ReturnedAs | undefined {
    const { connection } = this.#member
    if (connection.error !== undefined) return 'broken'
    const isOwed = connection.pendingCount > 0
    if (this.#held > 0 && isOwed) return 'dirty'
    // without replies, waiting for those that are owed is in vain
    if (remedy === 'none' && (!isOwed || this.#state & StateBit.reply)) return 'dirty'
    return remedy === 'sequence' && this.#state === 0 && !isOwed ? 'clean' : undefined
  }

  #clean(remedy: Remedy): void {
    const { connection, onPush } = this.#member
    const boundMs = this.#owner.resetTimeoutMs
    if (boundMs > 0) {
      // Not unref'ed: close() may be all that is awaited, and it ends within the bound.
      const timer = setTimeout(() => {
        const message = `a connection was given back and did not become clean within ${boundMs} ms`
        this.#end('dirty', new PoolError('LEASE_RETURNED', message))
      }, boundMs)
      const cleaned = this.#cleaned
      this.#cleaned = () => {
        clearTimeout(timer)
        cleaned?.()
      }
    }
    const state = this.#state
    connection.onPush = onPush && ((push) => isLeftover(push, this.#past) || onPush(push))
    cleanUp(connection, state, remedy).then(
      (isUndone) => {
        // a late reply may have told that there is more
        const isClean = isUndone && this.#state === state && remedy !== 'none'
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
    const { connection, onPush } = this.#member
    if (connection.onPush !== onPush) connection.onPush = onPush
    const why = reason ?? (as === 'dirty' ? leaseReturned(' before its commands were answered') : undefined)
    this.#owner.takeBack(this.#member, as, why)
    this.#cleaned?.()
  }
}

/** What most leases end with; one for all, since nothing is told by it. */
const RETURNED = Promise.resolve()

function leaseReturned(when = ''): PoolError {
  return new PoolError('LEASE_RETURNED', `the lease was given back${when}`)
}

/** EXEC was answered, and the transaction is over; not run, but over. */
function isTransactionAborted(error: unknown): boolean {
  return error instanceof ReplyError && error.prefix === 'EXECABORT'
}
