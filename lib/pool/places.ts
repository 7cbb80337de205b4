// Places of a pool that waits. A place is the right to have a connection lent, tested or dialed; there are
// `maxActive` of them. Who finds none vacant queues, and gets the next that is vacated: a place, not a connection.
//
//     vacant + held = maxActive          nobody waits while one is vacant
//
// A pool without `wait` or without `maxActive` does not count places: there is always one.

import type { Borrower } from './borrower.ts'
import type { PoolContext } from './context.ts'
import { Patience } from './patience.ts'
import type { PooledConnection } from './pooled-connection.ts'
import { trace } from './tracing.ts'
import { Waiters } from './waiters.ts'

/** What to do with those who waited. */
export interface PlacesOwner<T extends PooledConnection> {
  /** It has a place now. */
  attend(borrower: Borrower<T>): void
  /** Its signal was aborted; it has no place. */
  abort(borrower: Borrower<T>, signal: AbortSignal): void
  /** It has waited for too long; it has no place. */
  tired(borrower: Borrower<T>): void
}

/** How a wait ended. */
type Outcome = 'place' | 'closed' | 'timeout' | 'aborted'

export class Places<T extends PooledConnection> {
  readonly #isCounted: boolean
  readonly #owner: PlacesOwner<T>
  readonly #context: PoolContext<T>
  readonly #patience: Patience<T>
  readonly #waiters = new Waiters<T>()
  #vacant: number
  #isGranting = false

  constructor(context: PoolContext<T>, owner: PlacesOwner<T>) {
    const { wait, maxActive } = context.options
    this.#isCounted = wait && maxActive > 0
    this.#vacant = maxActive
    this.#context = context
    this.#owner = owner
    const waiters = this.#waiters
    const left = (borrower: Borrower<T>, outcome: Outcome): void => this.#left(borrower, outcome)
    this.#patience = new Patience(context, {
      get first() {
        return waiters.first
      },
      expire(borrower) {
        waiters.delete(borrower)
        left(borrower, 'timeout')
        owner.tired(borrower)
      },
    })
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
    this.#patience.begin(borrower)
  }

  /** It gives up, if it waits. */
  leave(borrower: Borrower<T>): void {
    if (this.#waiters.delete(borrower)) this.#left(borrower, 'aborted')
  }

  /**
   * Who holds a place gives it, and a connection with it, to who has waited longest. What needs care in between is
   * left to {@link vacate}: aborted signals, listeners of the channels.
   */
  passOn(): Borrower<T> | undefined {
    const borrower = this.#waiters.first
    if (borrower === undefined || borrower.signal?.aborted === true || isTraced()) return undefined
    this.#endWait(borrower, 'place')
    return borrower
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
      this.#endWait(borrower, 'closed')
      dismissed(borrower)
    }
    this.#patience.cancel()
  }

  #grant(borrower: Borrower<T>): void {
    const { signal } = borrower
    if (signal?.aborted) {
      // one of the signal's other listeners came before the pool's, and gave a connection back
      this.leave(borrower)
      this.#owner.abort(borrower, signal)
      return
    }
    this.#vacant--
    this.#endWait(borrower, 'place')
    this.#owner.attend(borrower)
  }

  /** A wait that came to the end of the queue. */
  #endWait(borrower: Borrower<T>, outcome: Outcome): void {
    this.#waiters.delete(borrower)
    this.#context.counters.waited(this.#context.now() - borrower.since)
    this.#left(borrower, outcome)
  }

  #left(borrower: Borrower<T>, outcome: Outcome): void {
    this.#patience.end()
    if (!trace.wait.hasSubscribers) return
    const { now, pool } = this.#context
    trace.wait.publish({ pool, duration: now() - borrower.since, outcome })
  }
}

/** Whether what happens to a connection between two leases is told, step by step. */
function isTraced(): boolean {
  return trace.return.hasSubscribers || trace.wait.hasSubscribers
}
