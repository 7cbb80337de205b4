// redigo's Pool: connections lent to one borrower at a time, the idle ones kept for the next. This is what users
// hold, and its life; how a call of get() comes to a lease is in lending.ts.
//
//     open ── drain() ──► draining ── nobody waits ──► closed ── last one gone ──► ended
//       ├──────── close() ─────┴─────────────────────►   │                          ▲
//       └──────── destroy() ───┴─────────────────────────┴──────────────────────────┘

import { performance } from 'node:perf_hooks'
import { type Connection, watchAbort } from '../connection/index.ts'
import { AbortError, PoolError } from '../errors.ts'
import type { PoolContext } from './context.ts'
import type { LeaseHolder } from './leaks.ts'
import type { Lease } from './lease.ts'
import { Lending } from './lending.ts'
import { type PoolOptions, resolvePoolOptions } from './options.ts'
import type { PooledConnection } from './pooled-connection.ts'
import { PoolCounters, type PoolStats } from './stats.ts'
import { trace } from './tracing.ts'

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
  readonly #context: PoolContext<T>
  readonly #lending: Lending<T>
  #state: 'open' | 'draining' | 'closed' | 'destroyed' = 'open'
  /** What it was destroyed with. */
  #reason: Error | undefined
  /** Resolves when the last connection of a closed pool is gone. */
  readonly #ended: Promise<void>
  #end!: () => void

  /**
   * @param now the clock, in milliseconds, monotonic; for tests
   * @throws {TypeError} an option has the wrong type, or there is no option of that name
   * @throws {RangeError} a number is out of its range, or two contradict each other
   */
  constructor(options: PoolOptions<T>, now: () => number = () => performance.now()) {
    const counters = new PoolCounters()
    this.#context = { options: resolvePoolOptions(options), now, counters, pool: this }
    this.#lending = new Lending(this.#context, () => this.#goOn())
    this.#ended = new Promise((resolve) => {
      this.#end = resolve
    })
  }

  /**
   * Lends a connection: the idle one that was used last, or a new one. The caller has to give it back.
   *
   * With `wait` and `maxActive` it waits for its turn, for any time unless a signal or `waitTimeout` ends that. While
   * it is being dialed for, it takes a connection that comes back before, and the dialed one is the next one's.
   *
   * @throws {AbortError} `ABORT_ERR`; also when the signal was aborted before
   * @throws {PoolError} `POOL_EXHAUSTED`, `QUEUE_FULL`, `POOL_CLOSED`
   * @throws whatever `dial` throws, as it is; what the pool was destroyed with, to those it was serving
   */
  get(options?: BorrowOptions): Promise<Lease<T>> {
    const signal = options?.signal
    if (signal?.aborted) {
      this.#context.counters.aborts++
      return Promise.reject(new AbortError(signal))
    }
    if (this.#state !== 'open') return Promise.reject(this.#closedError())
    return this.#lending.get(signal)
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

  /**
   * Dials until `minIdle` connections are idle, or there are `maxActive`. Without `minIdle` it has nothing to do.
   *
   * @param options the signal ends the waiting, not the dialing
   * @throws {AbortError} `ABORT_ERR`
   * @throws {PoolError} `POOL_CLOSED`
   * @throws what the first dial fails with; the pool goes on trying, about once a second
   */
  warmUp({ signal }: BorrowOptions = {}): Promise<void> {
    if (signal?.aborted) return Promise.reject(new AbortError(signal))
    if (this.#state !== 'open') return Promise.reject(this.#closedError())
    return this.#lending.keeper.warmUp(signal)
  }

  /** A frozen snapshot of what the pool has and has done. */
  stats(): PoolStats {
    const { activeCount, waitingCount, stock } = this.#lending
    return this.#context.counters.snapshot({ activeCount, idleCount: stock.idleCount, waitingCount })
  }

  /** Connections that are lent or about to be: those of {@link stats} that are not idle, without the price of a snapshot. */
  get busyCount(): number {
    const { activeCount, stock } = this.#lending
    return activeCount - stock.idleCount
  }

  /** Who holds what, the longest first: all leases that are out. Only with `leakTimeout` or `leakStacks`. */
  holders(): LeaseHolder<T>[] {
    return this.#lending.leaks.holders()
  }

  /**
   * Begins a new generation, because `dial` leads elsewhere now: idle connections are closed, lent ones when they
   * come back. Dials under way are aborted and begun again for those who wait for them; who waits for a place, waits
   * further. Also ends the pause of `dialBackoff`.
   *
   * @param reason what the signals of those dials abort with
   */
  retire(reason: Error = new PoolError('POOL_CLOSED', 'the connections of the pool were retired')): void {
    if (this.#state === 'destroyed') return
    this.#lending.retire(reason)
    if (trace.retire.hasSubscribers) trace.retire.publish({ pool: this, reason })
  }

  /**
   * Ends the pool when all work is done: those who wait are still served, later calls of {@link Pool.get} reject with
   * `POOL_CLOSED`. With the last one served it is a {@link Pool.close}.
   *
   * @param options when the signal is aborted, what is left is destroyed
   * @returns a promise that resolves when the last connection is gone
   * @throws {AbortError} `ABORT_ERR`: the signal was aborted before that. Everything is destroyed then
   */
  async drain({ signal }: BorrowOptions = {}): Promise<void> {
    if (this.#state === 'open') {
      this.#state = 'draining'
      this.#lending.keeper.stop(this.#closedError())
      this.#goOn()
    }
    if (signal === undefined) return await this.#ended
    await new Promise<void>((resolve, reject) => {
      const giveUp = (): void => {
        const error = new AbortError(signal)
        reject(error)
        this.destroy(error)
      }
      const unwatch = watchAbort(signal, giveUp)
      void this.#ended.then(() => {
        unwatch()
        resolve()
      })
      if (signal.aborted) giveUp()
    })
  }

  /**
   * Ends the pool without disturbing those who have a connection: idle connections are closed, those who wait fail
   * with `POOL_CLOSED`, and so does every later {@link Pool.get}. Leases stay usable, and their connections are
   * closed when they come back; a `get()` that is testing or dialing is still served.
   *
   * @returns a promise that resolves when the last connection is gone; it never rejects
   */
  close(): Promise<void> {
    if (this.#state === 'open' || this.#state === 'draining') {
      this.#state = 'closed'
      this.#lending.dismiss(() => this.#closedError())
      this.#goOn()
    }
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
    this.#lending.destroy(error)
    this.#end()
  }

  /** {@link Pool.close} */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  /** A borrower was answered or a connection has gone: that may have been the last. */
  #goOn(): void {
    if (this.#state === 'draining' && this.#lending.isQuiet) void this.close()
    if (this.#state === 'closed' && this.#lending.stock.isEmpty) {
      this.#lending.leaks.stop()
      this.#end()
    }
  }

  #closedError(): PoolError {
    return new PoolError('POOL_CLOSED', 'the pool was closed', this.#reason && { cause: this.#reason })
  }
}
