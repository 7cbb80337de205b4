// The dials of a pool, and the borrowers they are for.
//
//     want() ─► queued ─► dialing ─► dialed, or failed          never more than maxConcurrentDials at a time
//                  └─ leave() ─┴─► a dial that nobody waits for: the first who is queued has it then; with
//                                  nobody queued it goes on, or is aborted with its borrower
//
// A borrower who is queued or dialing may be served before that by a connection that comes back. Every dial holds one
// place, and so does every borrower who is queued; the methods say when one becomes free.

import type { Borrower } from './borrower.ts'
import { Breaker, type DialFailure } from './breaker.ts'
import type { PoolContext } from './context.ts'
import { Patience } from './patience.ts'
import { isPooledConnection, type PooledConnection } from './pooled-connection.ts'
import { trace } from './tracing.ts'
import { Waiters } from './waiters.ts'

/** One call of `dial`. */
export interface Dial<T extends PooledConnection> {
  /** Who waits for it; nobody if they were served otherwise, have gone, or it is for the stock. */
  borrower: Borrower<T> | undefined
  readonly controller: AbortController
  readonly startedAt: number
  /** Not begun for a borrower. */
  readonly isForStock: boolean
  /** It leads where the pool no longer goes. */
  isRetired: boolean
}

export interface DialerOwner<T extends PooledConnection> {
  /** A dial begins. */
  dialing(): void
  /** A dial has ended, and its place is the connection's now; with who waited for it. */
  dialed(connection: T, borrower: Borrower<T> | undefined, dial: Dial<T>): void
  /** A dial has ended, and its place is free. */
  dialFailed(error: unknown, borrower: Borrower<T> | undefined, dial: Dial<T>): void
  /** One who was queued has to be told, and its place is free. */
  refused(borrower: Borrower<T>, error: unknown): void
  /** One who was queued has waited for too long, and its place is free. */
  tired(borrower: Borrower<T>): void
}

export class Dialer<T extends PooledConnection> {
  readonly #context: PoolContext<T>
  readonly #owner: DialerOwner<T>
  readonly #breaker: Breaker
  readonly #patience: Patience<T>
  /** Borrowers whose dial is under way, and those who wait for their turn, who came later. */
  readonly #dialing = new Waiters<T>()
  readonly #queued = new Waiters<T>()
  readonly #dials = new Set<Dial<T>>()
  #isStarting = false

  constructor(context: PoolContext<T>, owner: DialerOwner<T>) {
    const { dialBackoffMs, maxDialBackoffMs } = context.options
    this.#context = context
    this.#owner = owner
    this.#breaker = new Breaker(dialBackoffMs, maxDialBackoffMs)
    const queued = this.#queued
    this.#patience = new Patience(context, {
      get first() {
        return queued.first
      },
      expire(borrower) {
        queued.delete(borrower)
        owner.tired(borrower)
      },
    })
  }

  /** Those who wait for their turn; each of them is to be a connection and counts like one. */
  get queuedCount(): number {
    return this.#queued.count
  }

  /** Whether one more dial may begin at once. */
  get hasRoom(): boolean {
    if (this.#queued.count > 0) return false
    return this.refusal() === undefined && this.#dials.size < this.#limit()
  }

  /** Why nobody may dial now. */
  refusal(): DialFailure | undefined {
    return this.#breaker.refusal(this.#context.now())
  }

  /** Who has waited longest of those who could be served otherwise. */
  get first(): Borrower<T> | undefined {
    return firstUntested(this.#dialing) ?? firstUntested(this.#queued)
  }

  /** Dials for a borrower, now or in its turn; it is none whom {@link refusal} concerns. */
  want(borrower: Borrower<T>): void {
    this.#queued.push(borrower)
    this.#startNext()
    if (borrower.queue === this.#queued) this.#patience.begin(borrower)
  }

  /** Dials for the stock. */
  dialForStock(): void {
    void this.#dial(undefined)
  }

  /**
   * The borrower no longer waits for a dial, if it did. Its own dial is for the first who is queued then, or for
   * nobody; for nobody it is aborted, if there is a reason to.
   *
   * @returns whether a place has become free
   */
  leave(borrower: Borrower<T>, abort?: { readonly reason: unknown }): boolean {
    if (this.#queued.delete(borrower)) {
      this.#patience.end()
      return true
    }
    const { dial } = borrower
    if (dial === undefined) return false
    this.#detach(dial)
    const next = this.#queued.first
    if (next !== undefined && !dial.isRetired) {
      this.#queued.delete(next)
      this.#patience.end()
      this.#attach(dial, next)
      return true // the next one has the place of the dial, and needs its own no more
    }
    if (abort !== undefined) dial.controller.abort(abort.reason)
    return false
  }

  /** The server is no longer the one to dial. Whoever waits for a dial under way is given back by its end. */
  retire(reason: unknown): void {
    this.#breaker.reset()
    for (const dial of [...this.#dials]) {
      dial.isRetired = true
      dial.controller.abort(reason)
    }
  }

  /** No more turns: those who are queued are refused, and dials for nobody aborted. Others go on. */
  close(error: () => Error): void {
    this.#refuseQueued(error)
    for (const { borrower, controller } of [...this.#dials]) {
      if (borrower === undefined) controller.abort(error())
    }
  }

  /** Aborts all dials. The borrowers are told by others. */
  destroy(error: Error): void {
    this.#patience.cancel()
    for (let first = this.#queued.first; first !== undefined; first = this.#queued.first) {
      this.#queued.delete(first)
    }
    for (const dial of [...this.#dials]) {
      this.#detach(dial)
      dial.controller.abort(error)
    }
  }

  #limit(): number {
    if (this.#breaker.isProbing) return 1
    return this.#context.options.maxConcurrentDials || Number.POSITIVE_INFINITY
  }

  #startNext(): void {
    if (this.#isStarting) return // by the loop below: a dial may fail before it returns
    this.#isStarting = true
    for (let next = this.#queued.first; next !== undefined; next = this.#queued.first) {
      if (this.#dials.size >= this.#limit()) break
      this.#queued.delete(next)
      this.#patience.end()
      void this.#dial(next)
    }
    this.#isStarting = false
  }

  /** Never rejects. */
  async #dial(borrower: Borrower<T> | undefined): Promise<void> {
    const { options, now } = this.#context
    const controller = new AbortController()
    const isForStock = borrower === undefined
    const startedAt = now()
    const dial: Dial<T> = { borrower: undefined, controller, startedAt, isForStock, isRetired: false }
    this.#dials.add(dial)
    if (borrower !== undefined) this.#attach(dial, borrower)
    this.#owner.dialing()
    let connection: T
    try {
      connection = await options.dial(controller.signal)
      if (!isPooledConnection(connection)) throw new TypeError('dial must resolve to a connection')
    } catch (error) {
      this.#failed(dial, error)
      return
    }
    this.#dials.delete(dial)
    if (!dial.isRetired) this.#close()
    this.#trace(dial, undefined)
    const { borrower: receiver } = dial
    this.#detach(dial)
    this.#owner.dialed(connection, receiver, dial)
    this.#startNext()
  }

  #failed(dial: Dial<T>, error: unknown): void {
    const now = this.#context.now()
    this.#dials.delete(dial)
    // a dial that was told to stop says nothing of the server
    const isPause = !dial.controller.signal.aborted && this.#breaker.failed(error, dial.startedAt, now)
    this.#trace(dial, { error })
    if (isPause && trace.breaker.hasSubscribers) {
      trace.breaker.publish({ pool: this.#context.pool, state: 'open', error })
    }
    const { borrower } = dial
    this.#detach(dial)
    this.#owner.dialFailed(error, borrower, dial)
    if (isPause) this.#refuseQueued(() => error)
    this.#startNext()
  }

  #close(): void {
    if (!this.#breaker.isProbing) return
    this.#breaker.reset()
    if (trace.breaker.hasSubscribers) {
      trace.breaker.publish({ pool: this.#context.pool, state: 'closed', error: undefined })
    }
  }

  /** Only those who are there now: who comes in meanwhile is told on the way in. */
  #refuseQueued(error: () => unknown): void {
    for (let left = this.#queued.count; left > 0; left--) {
      const { first } = this.#queued
      if (first === undefined) break
      this.#queued.delete(first)
      this.#owner.refused(first, error())
    }
    this.#patience.end()
  }

  #attach(dial: Dial<T>, borrower: Borrower<T>): void {
    dial.borrower = borrower
    borrower.dial = dial
    this.#dialing.push(borrower)
  }

  #detach(dial: Dial<T>): void {
    const { borrower } = dial
    if (borrower === undefined) return
    this.#dialing.delete(borrower)
    borrower.dial = undefined
    dial.borrower = undefined
  }

  #trace(dial: Dial<T>, failure: DialFailure | undefined): void {
    if (!trace.dial.hasSubscribers) return
    const { now, pool } = this.#context
    trace.dial.publish({ pool, duration: now() - dial.startedAt, error: failure?.error })
  }
}

/** One for whom a connection is being tested is as good as served. */
function firstUntested<T extends PooledConnection>(queue: Waiters<T>): Borrower<T> | undefined {
  let borrower = queue.first
  while (borrower?.tested !== undefined) borrower = borrower.behind
  return borrower
}
