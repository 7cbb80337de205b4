// redigo's Pool: connections lent to one borrower at a time, the idle ones kept for the next.
//
//     get() ─► place? ─► idle one? ─► test, age ──────────────► lease ─► close() ─► idle
//                │            └─ none ─► dial ─────────────────►             └─ dead, dirty, one too many: gone
//                └─ none and `wait`: queue, until one is vacated
//
// Connections are in stock.ts, places and the queue for them in places.ts, calls of get() that have no lease yet in
// borrower.ts. User code runs in three places: dial, testOnBorrow, and the listeners of a signal. The accounts are
// settled before it, and whatever it throws, connection and place go where they belong.

import { type Connection, watchAbort } from '../connection/index.ts'
import { AbortError, PoolError } from '../errors.ts'
import { Borrower } from './borrower.ts'
import type { Member } from './idle-list.ts'
import { Lease, type ReturnedAs } from './lease.ts'
import { type PoolOptions, type ResolvedPoolOptions, resolvePoolOptions } from './options.ts'
import { Places } from './places.ts'
import { isPooledConnection, type PooledConnection } from './pooled-connection.ts'
import { PoolCounters, type PoolStats } from './stats.ts'
import { Stock } from './stock.ts'

/** How one call of {@link Pool.get} or {@link Pool.use} differs. */
export interface BorrowOptions {
  /** Ends the wait for a place, for a test or for a dial. Once the lease is there, it has no effect. */
  readonly signal?: AbortSignal | undefined
}

/**
 * Connections that are lent to one borrower at a time and kept for the next: redigo's Pool. It opens none before
 * the first is asked for.
 *
 * @see docs/pool.md
 */
export class Pool<T extends PooledConnection = Connection> {
  readonly #options: ResolvedPoolOptions<T>
  /** Milliseconds, monotonic. */
  readonly #now: () => number
  readonly #counters = new PoolCounters()
  readonly #stock: Stock<T>
  readonly #places: Places<T>
  /** Those for whom a connection is tested or dialed. */
  readonly #attended = new Set<Borrower<T>>()
  #state: 'open' | 'closed' | 'destroyed' = 'open'
  /** What it was destroyed with. */
  #reason: Error | undefined
  /** Resolves when the last connection of a closed pool is gone. */
  readonly #ended: Promise<void>
  #end!: () => void

  /**
   * @param now the clock, in milliseconds, monotonic; for tests
   * @throws {TypeError} an option has the wrong type, or there is no option of that name
   * @throws {RangeError} a number is out of its range
   */
  constructor(options: PoolOptions<T>, now: () => number = () => performance.now()) {
    this.#options = resolvePoolOptions(options)
    this.#now = now
    this.#stock = new Stock(this.#options, now, this.#counters, () => this.#endIfEmpty())
    const attend = (borrower: Borrower<T>): void => this.#attend(borrower)
    const abort = (borrower: Borrower<T>, signal: AbortSignal): void => this.#abort(borrower, signal)
    const { wait, maxActive } = this.#options
    this.#places = new Places(wait ? maxActive : 0, { attend, abort }, now, this.#counters)
    this.#ended = new Promise((resolve) => {
      this.#end = resolve
    })
  }

  /**
   * Lends a connection: the idle one that was used last, or a new one. The caller has to give it back.
   *
   * With `wait` and `maxActive` it waits for its turn, for any time unless a signal ends that.
   *
   * @throws {AbortError} `ABORT_ERR`; also when the signal was aborted before
   * @throws {PoolError} `POOL_EXHAUSTED`, `POOL_CLOSED`
   * @throws whatever `dial` throws, as it is; what the pool was destroyed with, to those it was serving
   */
  get(options: BorrowOptions = {}): Promise<Lease<T>> {
    const { signal } = options
    if (signal?.aborted) return Promise.reject(new AbortError(signal))
    if (this.#state !== 'open') return Promise.reject(this.#closedError())
    const hasPlace = this.#places.take()
    if (hasPlace && this.#options.testOnBorrow === undefined) {
      const member = this.#takeUntested()
      if (member !== undefined) return Promise.resolve(this.#lease(member))
    }
    const borrower = new Borrower<T>(signal, this.#now())
    if (signal !== undefined) borrower.unwatch = watchAbort(signal, () => this.#abort(borrower, signal))
    if (hasPlace) this.#attend(borrower)
    else this.#places.queue(borrower)
    return borrower.lease
  }

  /**
   * Lends a connection for the time of a function and takes it back when that has returned, resolved or failed.
   *
   * @returns what the function returns
   * @throws what {@link Pool.get} throws, or the function
   */
  async use<R>(work: (lease: Lease<T>) => R | PromiseLike<R>, options?: BorrowOptions): Promise<R> {
    const lease = await this.get(options)
    try {
      return await work(lease)
    } finally {
      await lease.close()
    }
  }

  /** A frozen snapshot of what the pool has and has done. */
  stats(): PoolStats {
    const { activeCount, idleCount } = this.#stock
    return this.#counters.snapshot({ activeCount, idleCount, waitingCount: this.#places.waitingCount })
  }

  /**
   * Ends the pool without disturbing those who have a connection: idle connections are closed, those who wait fail
   * with `POOL_CLOSED`, and so does every later {@link Pool.get}. Leases stay usable, and their connections are
   * closed when they come back; a `get()` that is testing or dialing is still served.
   *
   * @returns a promise that resolves when the last connection is gone; it never rejects
   */
  close(): Promise<void> {
    if (this.#state !== 'open') return this.#ended
    this.#state = 'closed'
    this.#stock.close()
    this.#places.dismiss((borrower) => this.#fail(borrower, this.#closedError()))
    this.#endIfEmpty()
    return this.#ended
  }

  /**
   * Ends the pool at once: idle and lent connections are destroyed with the error, those who wait, test or dial are
   * rejected with it, and a dial that still succeeds is undone. Later calls of {@link Pool.get} reject with
   * `POOL_CLOSED`, the error being the cause. Only the first call counts; it may follow a {@link Pool.close}.
   */
  destroy(error: Error = new PoolError('POOL_CLOSED', 'the pool was destroyed')): void {
    if (this.#state === 'destroyed') return
    this.#state = 'destroyed'
    this.#reason = error
    this.#stock.destroyAll(error)
    this.#places.dismiss((borrower) => this.#fail(borrower, error))
    for (const borrower of [...this.#attended]) this.#interrupt(borrower, error, error)
    this.#end()
  }

  /** {@link Pool.close} */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  /** Serves a borrower who has a place. */
  #attend(borrower: Borrower<T>): void {
    this.#attended.add(borrower)
    const { testOnBorrow } = this.#options
    if (testOnBorrow !== undefined) {
      void this.#attendWithTest(borrower, testOnBorrow) // never rejects
      return
    }
    const member = this.#takeUntested()
    if (member === undefined) this.#attendWithout(borrower)
    else this.#serve(borrower, member)
  }

  #takeUntested(): Member<T> | undefined {
    this.#stock.prune()
    for (let member = this.#stock.takeIdle(); member !== undefined; member = this.#stock.takeIdle()) {
      if (!this.#stock.isOverAge(member)) {
        this.#counters.hits++
        return member
      }
      this.#stock.evict(member, 'lifetime')
    }
    return undefined
  }

  /** The test comes before the age, as in redigo: a test may tell the server something. */
  async #attendWithTest(
    borrower: Borrower<T>,
    testOnBorrow: NonNullable<PoolOptions<T>['testOnBorrow']>,
  ): Promise<void> {
    this.#stock.prune()
    for (let member = this.#stock.takeIdle(); member !== undefined; member = this.#stock.takeIdle()) {
      borrower.tested = member
      let hasPassed = true
      try {
        await testOnBorrow(member.connection, member.lastUsedAt, borrower.interruption)
      } catch {
        hasPassed = false // it says no more than that; the connection's own `error` tells the rest
      }
      if (borrower.settled) return // interrupted: connection and place are taken care of
      borrower.tested = undefined
      if (!hasPassed) this.#stock.evict(member, 'failedTest')
      else if (this.#stock.isOverAge(member)) this.#stock.evict(member, 'lifetime')
      else {
        this.#counters.hits++
        this.#serve(borrower, member)
        return
      }
    }
    this.#attendWithout(borrower)
  }

  /** There is no idle connection: dials one, if it may. */
  #attendWithout(borrower: Borrower<T>): void {
    const { maxActive, wait } = this.#options
    this.#counters.misses++
    if (this.#state !== 'open') {
      this.#fail(borrower, this.#closedError())
      this.#vacate()
    } else if (!wait && maxActive > 0 && this.#stock.activeCount >= maxActive) {
      const message = `all ${maxActive} connections of the pool are in use`
      this.#fail(borrower, new PoolError('POOL_EXHAUSTED', message))
    } else {
      void this.#dial(borrower) // never rejects
    }
  }

  async #dial(borrower: Borrower<T>): Promise<void> {
    const { dial } = this.#options
    this.#stock.dialStarted()
    let connection: T
    try {
      connection = await dial(borrower.interruption)
      if (!isPooledConnection(connection)) throw new TypeError('dial must resolve to a connection')
    } catch (error) {
      this.#stock.dialFailed()
      this.#fail(borrower, error)
      this.#vacate()
      return
    }
    if (this.#state === 'destroyed') {
      this.#stock.dialFailed()
      connection.destroy(this.#reason)
      return
    }
    const member = this.#stock.dialed(connection)
    if (borrower.settled)
      this.#takeBack(member, 'clean') // nobody's now: the next one's
    else this.#serve(borrower, member)
  }

  #lease(member: Member<T>): Lease<T> {
    return new Lease(member, this.#options.resetTimeoutMs, this.#takeBack)
  }

  readonly #takeBack = (member: Member<T>, as: ReturnedAs, reason?: Error): void => {
    if (!this.#stock.isOut(member)) return // the pool was destroyed meanwhile, and the connection with it
    if (as === 'clean') this.#stock.putIdle(member)
    else this.#stock.evict(member, as, reason)
    this.#vacate()
  }

  /** A place is free; in a pool that was closed, maybe the last one. */
  #vacate(): void {
    this.#places.vacate()
    this.#endIfEmpty()
  }

  #serve(borrower: Borrower<T>, member: Member<T>): void {
    this.#forget(borrower)
    borrower.serve(this.#lease(member))
  }

  #fail(borrower: Borrower<T>, error: unknown): void {
    if (borrower.settled) return
    this.#forget(borrower)
    borrower.fail(error)
  }

  #abort(borrower: Borrower<T>, signal: AbortSignal): void {
    this.#interrupt(borrower, new AbortError(signal), signal.reason)
  }

  /**
   * From outside. A connection under test goes, for nobody knows in what state it is; a dial keeps its place until
   * it has settled.
   */
  #interrupt(borrower: Borrower<T>, error: Error, reason: unknown): void {
    if (borrower.settled) return
    this.#places.leave(borrower)
    this.#forget(borrower)
    borrower.interrupt(error, reason)
    const { tested } = borrower
    if (tested === undefined || !this.#stock.isOut(tested)) return
    this.#stock.evict(tested, 'failedTest', error)
    this.#vacate()
  }

  #forget(borrower: Borrower<T>): void {
    this.#attended.delete(borrower)
    borrower.unwatch?.()
  }

  #endIfEmpty(): void {
    if (this.#state === 'closed' && this.#stock.isEmpty) this.#end()
  }

  #closedError(): PoolError {
    return new PoolError('POOL_CLOSED', 'the pool was closed', this.#reason && { cause: this.#reason })
  }
}
