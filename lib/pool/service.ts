// How a call of get() that found no idle connection, or one that has to be tested, comes to a lease all the same.
//
//     place? ─► idle one? ─► test, age ──────────► served
//       │            └─ none ─► dial ────────────►  ▲
//       └─ none: queue, until one is vacated        └─ or by one that comes back meanwhile
//
// Who has a place is attended: a connection is tested for it, or dialed, or both. User code runs in four places: dial,
// testOnBorrow, the listeners of a signal, and those of a channel. The accounts are settled before it, and whatever it
// throws, connection and place go where they belong.

import { watchAbort } from '../connection/index.ts'
import { AbortError, type PoolError } from '../errors.ts'
import { BorrowTest } from './borrow-test.ts'
import { Borrower } from './borrower.ts'
import type { PoolContext } from './context.ts'
import { type Dial, Dialer } from './dialer.ts'
import type { Member } from './idle-list.ts'
import type { Keeper } from './keeper.ts'
import type { Leaks } from './leaks.ts'
import type { Lease } from './lease.ts'
import { Places } from './places.ts'
import type { PooledConnection } from './pooled-connection.ts'
import { type Crowd, Refusals } from './refusals.ts'
import type { Stock } from './stock.ts'

/** Who lends, and takes back. */
export interface ServiceOwner<T extends PooledConnection> {
  readonly stock: Stock<T>
  readonly keeper: Keeper<T>
  readonly leaks: Leaks<T>
  lend(member: Member<T>, stack: string | undefined): Lease<T>
  /** The connection is nobody's now: the next one's, as its place is. */
  putBack(member: Member<T>): void
  /** A place is free. */
  vacate(): void
  /** A borrower was answered. */
  answered(): void
  /** A connection was lost to the network while it was tested. */
  lost(): void
}

export class Service<T extends PooledConnection> implements Crowd {
  readonly places: Places<T>
  readonly test: BorrowTest<T>
  readonly refusals: Refusals<T>
  readonly #context: PoolContext<T>
  readonly #owner: ServiceOwner<T>
  readonly #dialer: Dialer<T>
  /** Those for whom a connection is tested or dialed. */
  readonly #attended = new Set<Borrower<T>>()
  /** Why nothing is dialed for anybody: set at the end of the pool. */
  #ended: (() => Error) | undefined
  /** Set when that is the end of those who are attended, too. */
  #destroyed: Error | undefined

  constructor(context: PoolContext<T>, owner: ServiceOwner<T>) {
    this.#context = context
    this.#owner = owner
    this.test = new BorrowTest(context)
    this.refusals = new Refusals(context, this)
    this.places = new Places(context, {
      attend: (borrower) => this.#attend(borrower),
      abort: (borrower, signal) => this.#abort(borrower, signal),
      tired: (borrower) => {
        this.#fail(borrower, this.refusals.waitedInVain(`one of ${context.options.maxActive} connections`))
      },
    })
    this.#dialer = new Dialer(context, {
      dialing: () => owner.stock.dialStarted(),
      dialed: (connection, borrower, dial) => this.#dialed(connection, borrower, dial),
      dialFailed: (error, borrower, dial) => this.#dialFailed(error, borrower, dial),
      refused: (borrower, error) => this.#giveUp(borrower, error),
      tired: (borrower) => this.#giveUp(borrower, this.refusals.waitedInVain('a turn to dial')),
    })
  }

  get activeCount(): number {
    return this.#owner.stock.activeCount + this.#dialer.queuedCount
  }

  /** Those who wait for a place, or for their turn to dial. */
  get waitingCount(): number {
    return this.places.waitingCount + this.#dialer.queuedCount
  }

  get longestHeldMs(): number | undefined {
    return this.#owner.leaks.longestHeldMs
  }

  /** Whether nobody waits, or is attended. */
  get isQuiet(): boolean {
    return this.#attended.size === 0 && this.places.waitingCount === 0
  }

  /** Why a dial would be refused now. */
  refusal(): { readonly error: unknown } | undefined {
    return this.#dialer.refusal()
  }

  /** Waits for a place. */
  queue(signal: AbortSignal | undefined, stack: string | undefined): Promise<Lease<T>> {
    const borrower = this.#newBorrower(signal, stack)
    this.places.queue(borrower)
    return borrower.lease
  }

  /** There is a place, and perhaps an idle connection, which has to be tested. */
  serve(
    signal: AbortSignal | undefined,
    stack: string | undefined,
    member: Member<T> | undefined,
  ): Promise<Lease<T>> {
    const borrower = this.#newBorrower(signal, stack)
    this.#attended.add(borrower)
    this.#consider(borrower, member)
    return borrower.lease
  }

  /**
   * A clean connection goes straight to who waits for a place, with the place of who had it.
   *
   * @returns whether it did; if not, it is to become idle first
   */
  passOn(member: Member<T>): boolean {
    const { stock } = this.#owner
    // whoever waits for a dial came earlier; a test, the age and the channels have their turns in the long way
    if (this.places.waitingCount === 0 || this.#dialer.first !== undefined) return false
    if (this.test.isPossible || !stock.wouldKeep(member)) return false
    const borrower = this.places.passOn()
    if (borrower === undefined) return false
    this.#context.counters.hits++
    this.#answer(borrower, member)
    return true
  }

  /** An idle connection goes to whoever has waited longest for a dial, with the place that is free. */
  offer(): boolean {
    if (this.#owner.stock.idleCount === 0) return false
    const borrower = this.#dialer.first
    if (borrower === undefined) return false
    const { signal } = borrower
    if (signal?.aborted) {
      // one of the signal's other listeners came before the pool's, and gave a connection back
      this.#abort(borrower, signal)
      return this.offer()
    }
    const member = this.#owner.stock.firstIdle(this.test)
    if (member === undefined) return false
    this.#consider(borrower, member)
    return true
  }

  /** @returns whether there was a place and room for it */
  dialForStock(): boolean {
    if (!this.#dialer.hasRoom || this.refusals.isExhausted) return false
    if (!this.places.take()) return false
    this.#dialer.dialForStock()
    return true
  }

  /** Dials under way begin again. */
  retire(reason: Error): void {
    this.#dialer.retire(reason)
  }

  /** Nobody waits any more; who is tested or dialed for is still served. */
  dismiss(error: () => PoolError): void {
    this.#ended = error
    this.places.dismiss((borrower) => this.#fail(borrower, error()))
    this.#dialer.close(error)
  }

  destroy(error: Error): void {
    this.#ended = () => error
    this.#destroyed = error
    this.places.dismiss((borrower) => this.#fail(borrower, error))
    this.#dialer.destroy(error)
    for (const borrower of [...this.#attended]) this.#interrupt(borrower, error, error)
  }

  #newBorrower(signal: AbortSignal | undefined, stack: string | undefined): Borrower<T> {
    const borrower = new Borrower<T>(signal, this.#context.now())
    borrower.stack = stack
    if (signal !== undefined) borrower.unwatch = watchAbort(signal, () => this.#abort(borrower, signal))
    return borrower
  }

  /** Serves a borrower who has a place. */
  #attend(borrower: Borrower<T>): void {
    this.#attended.add(borrower)
    this.#consider(borrower, this.#owner.stock.firstIdle(this.test))
  }

  /** The borrower gets this one, if it passes its test, or else another. */
  #consider(borrower: Borrower<T>, member: Member<T> | undefined): void {
    if (member === undefined) this.#dialFor(borrower)
    else if (this.test.isDue(member)) void this.#testFor(borrower, member)
    else this.#serve(borrower, member)
  }

  /** The test comes before the age, as in redigo: a test may tell the server something. Never rejects. */
  async #testFor(borrower: Borrower<T>, member: Member<T>): Promise<void> {
    const { stock } = this.#owner
    borrower.tested = member
    const result = await this.test.run(member, borrower.interruption)
    if (borrower.tested !== member) return // interrupted: connection and place are taken care of
    borrower.tested = undefined
    if (result !== 'passed') stock.evict(member, 'failedTest')
    else if (member.isRetired) stock.evict(member, 'retired')
    else if (stock.isOverAge(member, stock.time)) stock.evict(member, 'lifetime')
    else if (borrower.settled) {
      this.#owner.putBack(member) // its dial was faster
      return
    } else {
      this.#serve(borrower, member)
      return
    }
    if (result === 'lost') this.#owner.lost()
    const isDialedFor = borrower.dial !== undefined || borrower.queue !== undefined
    if (borrower.settled || isDialedFor) this.#owner.vacate()
    else if (borrower.failure !== undefined) this.#giveUp(borrower, borrower.failure.error)
    else this.#consider(borrower, stock.nextIdle(this.test))
  }

  /** There is no idle connection: dials one, if it may. */
  #dialFor(borrower: Borrower<T>): void {
    const { counters } = this.#context
    if (!borrower.isMiss) counters.misses++
    borrower.isMiss = true
    const refusal = this.#refusal()
    if (refusal === undefined) this.#dialer.want(borrower)
    else this.#giveUp(borrower, refusal.error)
  }

  /** Why no connection may be dialed for a borrower. */
  #refusal(): { readonly error: unknown } | undefined {
    const { refusals } = this
    if (this.#ended !== undefined) return { error: this.#ended() }
    if (!this.#context.options.wait && refusals.isExhausted) return { error: refusals.exhausted() }
    const refusal = this.#dialer.refusal()
    if (refusal !== undefined) return refusal
    return !this.#dialer.hasRoom && refusals.isFull ? { error: refusals.queueFull() } : undefined
  }

  #dialed(connection: T, borrower: Borrower<T> | undefined, dial: Dial<T>): void {
    const { stock, keeper } = this.#owner
    if (this.#destroyed !== undefined) {
      stock.dialFailed()
      connection.destroy(this.#destroyed)
      return
    }
    const member = stock.dialed(connection)
    if (dial.isRetired) {
      stock.evict(member, 'retired')
      this.#dialAgain(borrower)
    } else if (borrower === undefined || borrower.settled) this.#owner.putBack(member)
    else this.#serve(borrower, member)
    if (dial.isForStock) keeper.dialed()
  }

  #dialFailed(error: unknown, borrower: Borrower<T> | undefined, dial: Dial<T>): void {
    const { stock, keeper } = this.#owner
    stock.dialFailed()
    if (dial.isForStock) keeper.dialFailed(error, dial.isRetired)
    if (dial.isRetired) this.#dialAgain(borrower)
    else if (borrower === undefined) this.#owner.vacate()
    else this.#giveUp(borrower, error)
  }

  /** Its dial led where the pool no longer goes. The place is still there. */
  #dialAgain(borrower: Borrower<T> | undefined): void {
    if (borrower === undefined || borrower.settled || borrower.tested !== undefined) this.#owner.vacate()
    else this.#consider(borrower, this.#owner.stock.firstIdle(this.test))
  }

  /** The one who is attended gets the connection. */
  #serve(borrower: Borrower<T>, member: Member<T>): void {
    if (!borrower.isMiss) this.#context.counters.hits++
    const isPlaceFree = this.#dialer.leave(borrower)
    this.#attended.delete(borrower)
    this.#answer(borrower, member)
    if (isPlaceFree) this.#owner.vacate()
  }

  #answer(borrower: Borrower<T>, member: Member<T>): void {
    borrower.unwatch?.()
    borrower.serve(this.#owner.lend(member, borrower.stack))
    this.#owner.answered()
  }

  #fail(borrower: Borrower<T>, error: unknown): void {
    if (borrower.settled) return
    borrower.fail(error)
    this.#forget(borrower)
  }

  /** No connection is dialed for it, and its place is free; one that is being tested for it may still pass. */
  #giveUp(borrower: Borrower<T>, error: unknown): void {
    if (borrower.tested === undefined) this.#fail(borrower, error)
    else borrower.failure = { error }
    this.#owner.vacate()
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
    const { stock } = this.#owner
    const { tested } = borrower
    borrower.tested = undefined
    this.places.leave(borrower)
    borrower.interrupt(error, reason)
    const isPlaceFree = this.#dialer.leave(borrower, { reason })
    this.#forget(borrower)
    if (tested !== undefined && stock.isOut(tested)) {
      stock.evict(tested, 'failedTest', error)
      this.#owner.vacate()
    }
    if (isPlaceFree) this.#owner.vacate()
  }

  #forget(borrower: Borrower<T>): void {
    this.#attended.delete(borrower)
    borrower.unwatch?.()
    this.#owner.answered()
  }
}
