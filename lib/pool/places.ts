// Places of a pool that waits. A place is the right to have a connection lent, tested or dialed; there are
// `maxActive` of them. Who finds none vacant queues, and gets the next that is vacated: a place, not a connection.
//
//     vacant + held = maxActive          nobody waits while one is vacant
//
// A pool without `wait` or without `maxActive` does not count places: there is always one.

import type { Borrower } from './borrower.ts'
import type { PooledConnection } from './pooled-connection.ts'
import type { PoolCounters } from './stats.ts'
import { Waiters } from './waiters.ts'

/** What to do with those who waited. */
export interface PlacesOwner<T extends PooledConnection> {
  /** It has a place now. */
  attend(borrower: Borrower<T>): void
  /** Its signal was aborted; it has no place. */
  abort(borrower: Borrower<T>, signal: AbortSignal): void
}

export class Places<T extends PooledConnection> {
  readonly #isCounted: boolean
  readonly #owner: PlacesOwner<T>
  readonly #now: () => number
  readonly #counters: PoolCounters
  readonly #waiters = new Waiters<T>()
  #vacant: number
  #isGranting = false

  /** @param total the number of places; 0 = they are not counted */
  constructor(total: number, owner: PlacesOwner<T>, now: () => number, counters: PoolCounters) {
    this.#isCounted = total > 0
    this.#vacant = total
    this.#owner = owner
    this.#now = now
    this.#counters = counters
  }

  get waitingCount(): number {
    return this.#waiters.count
  }

  /** Takes a place if one is vacant. */
  take(): boolean {
    if (!this.#isCounted) return true
    if (this.#vacant === 0) return false
    this.#vacant--
    return true
  }

  /** Queues a borrower that found none. */
  queue(borrower: Borrower<T>): void {
    this.#waiters.push(borrower)
  }

  /** It no longer waits, if it did. */
  leave(borrower: Borrower<T>): void {
    this.#waiters.delete(borrower)
  }

  /** Gives a place back, and on to those who wait. */
  vacate(): void {
    if (!this.#isCounted) return
    this.#vacant++
    if (this.#isGranting) return // by the loop below: serving one may vacate its place at once
    this.#isGranting = true
    while (this.#vacant > 0 && this.#waiters.first !== undefined) this.#grant(this.#waiters.first)
    this.#isGranting = false
  }

  /** Empties the queue. The end of the pool is an end of the wait, and counts as one. */
  dismiss(dismissed: (borrower: Borrower<T>) => void): void {
    for (let borrower = this.#waiters.first; borrower !== undefined; borrower = this.#waiters.first) {
      this.#endWait(borrower)
      dismissed(borrower)
    }
  }

  #grant(borrower: Borrower<T>): void {
    const { signal } = borrower
    if (signal?.aborted) {
      // one of the signal's other listeners came before the pool's, and gave a connection back
      this.#waiters.delete(borrower)
      this.#owner.abort(borrower, signal)
      return
    }
    this.#vacant--
    this.#endWait(borrower)
    this.#owner.attend(borrower)
  }

  #endWait(borrower: Borrower<T>): void {
    this.#waiters.delete(borrower)
    this.#counters.waited(this.#now() - borrower.since)
  }
}
