// A call of get() that has no lease yet. It is answered once, by whatever comes first: a lease, a failure, its
// own signal, the end of the pool. What comes later finds `settled` and has only its own mess to clear up.

import type { DialFailure } from './breaker.ts'
import type { Dial } from './dialer.ts'
import type { Member } from './idle-list.ts'
import type { Lease } from './lease.ts'
import type { PooledConnection } from './pooled-connection.ts'
import type { Waiters } from './waiters.ts'

export class Borrower<T extends PooledConnection> {
  /** The caller's, if any. */
  readonly signal: AbortSignal | undefined
  /** What get() returns. */
  readonly lease: Promise<Lease<T>>
  /** When get() was called, by the pool's clock. */
  readonly since: number
  /** Where get() was called, if that is to be known. */
  stack: string | undefined
  /** Ends the watch on its signal. */
  unwatch: (() => void) | undefined
  /** The idle connection that is being tested for it. */
  tested: Member<T> | undefined
  /** The dial that is under way for it. */
  dial: Dial<T> | undefined
  /** What its dial failed with while a connection was being tested for it, which may yet pass. */
  failure: DialFailure | undefined
  /** Counted as one who found no idle connection, whatever comes later. */
  isMiss = false
  /** The queue it is in, since when, and its neighbours; see waiters.ts. */
  queue: Waiters<T> | undefined
  queuedAt = 0
  ahead: Borrower<T> | undefined
  behind: Borrower<T> | undefined
  #resolve!: (lease: Lease<T>) => void
  #reject!: (error: unknown) => void
  #settled = false
  /** Made only for those for whom a connection is tested. */
  #interruption: AbortController | undefined

  constructor(signal: AbortSignal | undefined, since: number) {
    this.signal = signal
    this.since = since
    this.lease = new Promise((resolve, reject) => {
      this.#resolve = resolve
      this.#reject = reject
    })
  }

  get settled(): boolean {
    return this.#settled
  }

  /** Aborts when {@link interrupt} is called: for the borrow test. */
  get interruption(): AbortSignal {
    this.#interruption ??= new AbortController()
    return this.#interruption.signal
  }

  serve(lease: Lease<T>): void {
    this.#settled = true
    this.#resolve(lease)
  }

  fail(error: unknown): void {
    this.#settled = true
    this.#reject(error)
  }

  /** Fails it, and asks a test that runs for it to stop. */
  interrupt(error: unknown, reason: unknown): void {
    this.fail(error)
    this.#interruption?.abort(reason)
  }
}
