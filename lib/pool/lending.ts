// How a call of get() comes to a lease, and what becomes of the connection afterwards.
//
//     get() ─► place? ─► idle one? ─► test, age ──────────────► lease ─► close() ─► idle
//                │            └─ none ─► dial ─────────────────►  ▲           └─ dead, dirty, one too many: gone
//                └─ none and `wait`: queue, until one is vacated  └─ or one that comes back meanwhile
//
// Every connection that is out, every dial and every borrower who is queued for one holds a place; who makes one free
// calls #vacate(). User code runs in four places: dial, testOnBorrow, the listeners of a signal, and those of a
// channel. The accounts are settled before it, and whatever it throws, connection and place go where they belong.

import { watchAbort } from '../connection/index.ts'
import { AbortError, type PoolError } from '../errors.ts'
import { BorrowTest } from './borrow-test.ts'
import { Borrower } from './borrower.ts'
import type { PoolContext } from './context.ts'
import { type Dial, Dialer } from './dialer.ts'
import type { Member } from './idle-list.ts'
import { Keeper } from './keeper.ts'
import { Leaks } from './leaks.ts'
import { Lease, type ReturnedAs } from './lease.ts'
import { Places } from './places.ts'
import type { PooledConnection } from './pooled-connection.ts'
import { exhausted, queueFull, waitedInVain } from './refusals.ts'
import { Stock } from './stock.ts'
import { Suspects } from './suspects.ts'
import { Sweeper } from './sweeper.ts'
import { trace } from './tracing.ts'

export class Lending<T extends PooledConnection> {
  readonly stock: Stock<T>
  readonly leaks: Leaks<T>
  readonly keeper: Keeper<T>
  readonly #context: PoolContext<T>
  readonly #places: Places<T>
  readonly #dialer: Dialer<T>
  readonly #test: BorrowTest<T>
  readonly #suspects: Suspects<T>
  readonly #sweeper: Sweeper<T>
  readonly #onQuiet: () => void
  /** Those for whom a connection is tested or dialed. */
  readonly #attended = new Set<Borrower<T>>()
  /** `dismissed`: who waits is told to go. `destroyed`: who is attended too. */
  #phase: 'serving' | 'dismissed' | 'destroyed' = 'serving'
  /** What later ones are told in these phases. */
  #error: () => Error | undefined = () => undefined

  /** @param onQuiet called when a connection has gone or a borrower was answered */
  constructor(context: PoolContext<T>, onQuiet: () => void) {
    this.#context = context
    this.#onQuiet = onQuiet
    this.stock = new Stock(context, (isIdleLost) => {
      if (isIdleLost) this.keeper.lost()
      onQuiet()
    })
    this.leaks = new Leaks(context, this.stock)
    this.#test = new BorrowTest(context)
    const abort = (borrower: Borrower<T>, signal: AbortSignal): void => this.#abort(borrower, signal)
    this.#places = new Places(context, {
      attend: (borrower) => this.#attend(borrower),
      abort,
      tired: (borrower) => this.#tire(borrower, `one of ${context.options.maxActive} connections`),
    })
    this.#dialer = new Dialer(context, {
      dialing: () => this.stock.dialStarted(),
      dialed: (connection, borrower, dial) => this.#dialed(connection, borrower, dial),
      dialFailed: (error, borrower, dial) => this.#dialFailed(error, borrower, dial),
      refused: (borrower, error) => {
        this.#failUnlessTested(borrower, error)
        this.#vacate()
      },
      tired: (borrower) => {
        this.#tire(borrower, 'a turn to dial')
        this.#vacate()
      },
    })
    this.keeper = new Keeper(context, {
      activeCount: () => this.activeCount,
      idleCount: () => this.stock.idleCount,
      refusal: () => this.#dialer.refusal(),
      dialForStock: () => this.#dialForStock(),
    })
    this.#suspects = new Suspects(context, this.stock, this.#places, this.#test, {
      cleared: (member) => this.#putBack(member),
      gone: () => {
        this.keeper.lost()
        onQuiet()
      },
    })
    this.#sweeper = new Sweeper(context, this.stock, () => {
      this.keeper.check()
      onQuiet()
    })
  }

  get activeCount(): number {
    return this.stock.activeCount + this.#dialer.queuedCount
  }

  /** Those who wait for a place, or for their turn to dial. */
  get waitingCount(): number {
    return this.#places.waitingCount + this.#dialer.queuedCount
  }

  /** Whether nobody waits, or is attended. */
  get isQuiet(): boolean {
    return this.#attended.size === 0 && this.#places.waitingCount === 0
  }

  /** The way of every day: an idle connection that needs no test is lent without a borrower, a closure or a wait. */
  get(signal: AbortSignal | undefined): Promise<Lease<T>> {
    const { counters, now } = this.#context
    const stack = this.leaks.isWatching ? this.leaks.stackOfCaller() : undefined
    const hasPlace = this.#places.take()
    let member: Member<T> | undefined
    if (hasPlace) {
      member = this.#firstIdle()
      if (member !== undefined && !this.#test.isDue(member)) {
        counters.hits++
        return Promise.resolve(this.#lend(member, stack))
      }
    } else if (this.#isFull()) {
      return Promise.reject(this.#queueFull())
    }
    const borrower = new Borrower<T>(signal, now())
    borrower.stack = stack
    if (signal !== undefined) borrower.unwatch = watchAbort(signal, () => this.#abort(borrower, signal))
    if (hasPlace) {
      this.#attended.add(borrower)
      this.#consider(borrower, member)
    } else {
      this.#places.queue(borrower)
    }
    return borrower.lease
  }

  /** Idle ones go, lent ones go when they come back, and dials begin again. */
  retire(reason: Error): void {
    this.stock.retire()
    this.#dialer.retire(reason)
    this.keeper.check()
    this.#onQuiet()
  }

  /** Nobody waits any more; who is tested or dialed for is still served. */
  dismiss(error: () => PoolError): void {
    this.#phase = 'dismissed'
    this.#error = error
    this.#sweeper.stop()
    this.keeper.stop(error())
    this.stock.close()
    this.#places.dismiss((borrower) => this.#fail(borrower, error()))
    this.#dialer.close(error)
  }

  destroy(error: Error): void {
    this.#phase = 'destroyed'
    this.#error = () => error
    this.#sweeper.stop()
    this.leaks.stop()
    this.keeper.stop(error)
    this.stock.destroyAll(error)
    this.#places.dismiss((borrower) => this.#fail(borrower, error))
    this.#dialer.destroy(error)
    this.#suspects.destroy(error)
    for (const borrower of [...this.#attended]) this.#interrupt(borrower, error, error)
  }

  /** Serves a borrower who has a place. */
  #attend(borrower: Borrower<T>): void {
    this.#attended.add(borrower)
    this.#consider(borrower, this.#firstIdle())
  }

  /** Closes what has been idle for too long, then takes the first. */
  #firstIdle(): Member<T> | undefined {
    const { time } = this.stock
    this.stock.prune(time)
    return this.#nextIdle(time)
  }

  /** The next idle connection that is not too old; of those to be tested it is looked at afterwards, as in redigo. */
  #nextIdle(time: number): Member<T> | undefined {
    for (let member = this.stock.takeIdle(); member !== undefined; member = this.stock.takeIdle()) {
      if (this.#test.isDue(member) || !this.stock.isOverAge(member, time)) return member
      this.stock.evict(member, 'lifetime')
    }
    return undefined
  }

  /** The borrower gets this one, if it passes its test, or else another. */
  #consider(borrower: Borrower<T>, member: Member<T> | undefined): void {
    if (member === undefined) this.#dialFor(borrower)
    else if (this.#test.isDue(member)) void this.#testFor(borrower, member)
    else this.#serve(borrower, member)
  }

  /** The test comes before the age, as in redigo: a test may tell the server something. Never rejects. */
  async #testFor(borrower: Borrower<T>, member: Member<T>): Promise<void> {
    borrower.tested = member
    const result = await this.#test.run(member, borrower.interruption)
    if (borrower.tested !== member) return // interrupted: connection and place are taken care of
    borrower.tested = undefined
    if (result !== 'passed') this.stock.evict(member, 'failedTest')
    else if (member.isRetired) this.stock.evict(member, 'retired')
    else if (this.stock.isOverAge(member, this.stock.time)) this.stock.evict(member, 'lifetime')
    else if (borrower.settled) {
      this.#putBack(member) // its dial was faster
      return
    } else {
      this.#serve(borrower, member)
      return
    }
    if (result === 'lost') this.#suspects.suspect()
    const isDialedFor = borrower.dial !== undefined || borrower.queue !== undefined
    if (borrower.settled || isDialedFor) this.#vacate()
    else if (borrower.failure !== undefined) {
      this.#fail(borrower, borrower.failure.error)
      this.#vacate()
    } else this.#consider(borrower, this.#nextIdle(this.stock.time))
  }

  /** There is no idle connection: dials one, if it may. */
  #dialFor(borrower: Borrower<T>): void {
    const { counters } = this.#context
    if (!borrower.isMiss) counters.misses++
    borrower.isMiss = true
    const refusal = this.#refusal()
    if (refusal === undefined) {
      this.#dialer.want(borrower)
      return
    }
    this.#fail(borrower, refusal.error)
    this.#vacate()
  }

  /** Why no connection may be dialed for a borrower. */
  #refusal(): { readonly error: unknown } | undefined {
    const { maxActive, wait } = this.#context.options
    if (this.#phase !== 'serving') return { error: this.#error() }
    if (!wait && maxActive > 0 && this.activeCount >= maxActive) {
      return { error: exhausted(maxActive) }
    }
    const refusal = this.#dialer.refusal()
    if (refusal !== undefined) return refusal
    return !this.#dialer.hasRoom && this.#isFull() ? { error: this.#queueFull() } : undefined
  }

  #dialForStock(): boolean {
    const { maxActive } = this.#context.options
    if (!this.#dialer.hasRoom || (maxActive > 0 && this.activeCount >= maxActive)) return false
    if (!this.#places.take()) return false
    this.#dialer.dialForStock()
    return true
  }

  #dialed(connection: T, borrower: Borrower<T> | undefined, dial: Dial<T>): void {
    if (this.#phase === 'destroyed') {
      this.stock.dialFailed()
      connection.destroy(this.#error())
      return
    }
    const member = this.stock.dialed(connection)
    if (dial.isRetired) {
      this.stock.evict(member, 'retired')
      this.#dialAgain(borrower)
    } else if (borrower === undefined || borrower.settled) this.#putBack(member)
    else this.#serve(borrower, member)
    if (dial.isForStock) this.keeper.dialed()
  }

  #dialFailed(error: unknown, borrower: Borrower<T> | undefined, dial: Dial<T>): void {
    this.stock.dialFailed()
    if (dial.isForStock) this.keeper.dialFailed(error, dial.isRetired)
    if (dial.isRetired) this.#dialAgain(borrower)
    else {
      if (borrower !== undefined) this.#failUnlessTested(borrower, error)
      this.#vacate()
    }
  }

  /** Its dial led where the pool no longer goes. The place is still there. */
  #dialAgain(borrower: Borrower<T> | undefined): void {
    if (borrower === undefined || borrower.settled || borrower.tested !== undefined) this.#vacate()
    else this.#consider(borrower, this.#firstIdle())
  }

  /** Nobody's now: the next one's. */
  #putBack(member: Member<T>): void {
    this.#takeBack(member, member.connection.error === undefined ? 'clean' : 'broken')
  }

  readonly #takeBack = (member: Member<T>, as: ReturnedAs, reason?: Error): void => {
    if (!this.stock.isOut(member)) return // the pool was destroyed meanwhile, and the connection with it
    const { connection } = member
    const { error } = connection // before it is destroyed
    if (this.leaks.isWatching) this.leaks.returned(member)
    if (as === 'clean') {
      this.stock.putIdle(member)
      this.#sweeper.watch()
    } else this.stock.evict(member, as, reason)
    if (as === 'broken' && reason === undefined) this.#suspects.consider(error)
    if (trace.return.hasSubscribers) trace.return.publish({ pool: this.#context.pool, connection, as })
    this.#vacate()
  }

  /** A place is free; in a pool that was closed, maybe the last one. */
  #vacate(): void {
    if (!this.#offer()) this.#places.vacate()
    this.keeper.check()
    this.#onQuiet()
  }

  /** An idle connection goes to whoever has waited longest for a dial, with the place that is free. */
  #offer(): boolean {
    if (this.stock.idleCount === 0) return false
    const borrower = this.#dialer.first
    if (borrower === undefined) return false
    const { signal } = borrower
    if (signal?.aborted) {
      // one of the signal's other listeners came before the pool's, and gave a connection back
      this.#abort(borrower, signal)
      return this.#offer()
    }
    const member = this.#firstIdle()
    if (member === undefined) return false
    this.#consider(borrower, member)
    return true
  }

  #serve(borrower: Borrower<T>, member: Member<T>): void {
    if (!borrower.isMiss) this.#context.counters.hits++
    const isPlaceFree = this.#dialer.leave(borrower)
    this.#forget(borrower)
    borrower.serve(this.#lend(member, borrower.stack))
    if (isPlaceFree) this.#vacate()
  }

  #lend(member: Member<T>, stack: string | undefined): Lease<T> {
    const { options, pool } = this.#context
    if (this.leaks.isWatching) this.leaks.lent(member, stack)
    const lease = new Lease(member, options.resetTimeoutMs, this.#takeBack)
    if (trace.lend.hasSubscribers) trace.lend.publish({ pool, connection: member.connection })
    this.keeper.check()
    return lease
  }

  #fail(borrower: Borrower<T>, error: unknown): void {
    if (borrower.settled) return
    borrower.fail(error)
    this.#forget(borrower)
  }

  /** A connection is being tested for it, perhaps: that may still pass. */
  #failUnlessTested(borrower: Borrower<T>, error: unknown): void {
    if (borrower.tested === undefined) this.#fail(borrower, error)
    else borrower.failure = { error }
  }

  #tire(borrower: Borrower<T>, what: string): void {
    const { options, counters } = this.#context
    const error = waitedInVain(options.waitTimeoutMs, what, this.waitingCount, this.leaks.longestHeldMs)
    counters.timeouts++
    this.#failUnlessTested(borrower, error)
  }

  #isFull(): boolean {
    const { maxWaiting } = this.#context.options
    return maxWaiting > 0 && this.waitingCount >= maxWaiting
  }

  #queueFull(): PoolError {
    const { maxWaiting, maxActive } = this.#context.options
    this.#context.counters.rejections++
    return queueFull(this.waitingCount, maxWaiting, maxActive)
  }

  #abort(borrower: Borrower<T>, signal: AbortSignal): void {
    if (borrower.settled) return
    this.#context.counters.aborts++
    this.#interrupt(borrower, new AbortError(signal), signal.reason)
  }

  /**
   * From outside. A connection under test goes, for nobody knows in what state it is; a dial keeps its place until
   * it has settled, or is for another.
   */
  #interrupt(borrower: Borrower<T>, error: Error, reason: unknown): void {
    if (borrower.settled) return
    const { tested } = borrower
    borrower.tested = undefined
    this.#places.leave(borrower)
    borrower.interrupt(error, reason)
    const isPlaceFree = this.#dialer.leave(borrower, { reason })
    this.#forget(borrower)
    if (tested !== undefined && this.stock.isOut(tested)) {
      this.stock.evict(tested, 'failedTest', error)
      this.#vacate()
    }
    if (isPlaceFree) this.#vacate()
  }

  #forget(borrower: Borrower<T>): void {
    this.#attended.delete(borrower)
    borrower.unwatch?.()
    this.#onQuiet()
  }
}
