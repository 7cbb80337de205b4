// How many may have something at a time, and the queue of the others: the rules of a pool without its connections.
//
//     out ≤ maxActive          nobody waits while one more may be out
//
// Who gives a permit back hands it to whoever has waited longest. Linked through those who wait, so that one that
// gives up leaves from anywhere in O(1).

import { Deadlines, watchAbort } from '../connection/index.ts'
import { AbortError, PoolError } from '../errors.ts'

/** Those of a pool's options, resolved, that permits go by. */
export interface PermitLimits {
  /** 0 = no limit. */
  readonly maxActive: number
  readonly wait: boolean
  /** 0 = no limit. */
  readonly waitTimeoutMs: number
  readonly maxWaiting: number
}

interface Waiter<T> {
  readonly resolve: (granted: T) => void
  readonly reject: (error: Error) => void
  readonly signal: AbortSignal | undefined
  /** On the clock of `performance.now()`. */
  readonly expiresAt: number
  unwatch: (() => void) | undefined
  ahead: Waiter<T> | undefined
  behind: Waiter<T> | undefined
}

/** @typeParam T what comes with a permit */
export class Permits<T> {
  readonly #limits: PermitLimits
  readonly #grant: () => T
  readonly #max: number
  readonly #deadlines = new Deadlines((now) => this.#expire(now), { keepsProcess: true })
  #out = 0
  #waiting = 0
  #first: Waiter<T> | undefined
  #last: Waiter<T> | undefined
  #isClosed = false
  /** What it ended with, if that was no `close()`. */
  #reason: Error | undefined
  /** Tells a `close()` that none is out any more. */
  #onAllBack: (() => void) | undefined

  /** @param grant makes what comes with a permit; must not throw */
  constructor(limits: PermitLimits, grant: () => T) {
    this.#limits = limits
    this.#grant = grant
    this.#max = limits.maxActive === 0 ? Number.POSITIVE_INFINITY : limits.maxActive
  }

  /** Permits that were not given back. */
  get outCount(): number {
    return this.#out
  }

  get waitingCount(): number {
    return this.#waiting
  }

  /**
   * Takes a permit, which has to be given back once.
   *
   * @throws {AbortError} `ABORT_ERR`
   * @throws {PoolError} `POOL_EXHAUSTED`, `QUEUE_FULL`, `POOL_CLOSED`
   */
  take(signal: AbortSignal | undefined): Promise<T> {
    if (signal?.aborted) return Promise.reject(new AbortError(signal))
    if (this.#isClosed) return Promise.reject(this.#closedError())
    if (this.#out < this.#max) {
      this.#out += 1
      return Promise.resolve(this.#grant())
    }
    const { maxActive, maxWaiting, wait } = this.#limits
    if (!wait) return refuse('POOL_EXHAUSTED', `all ${maxActive} lazy leases of the pool are out`)
    if (maxWaiting > 0 && this.#waiting >= maxWaiting) {
      const message = `${this.#waiting} wait for one of ${maxActive} lazy leases already, and maxWaiting is ${maxWaiting}`
      return refuse('QUEUE_FULL', message)
    }
    return this.#wait(signal)
  }

  giveBack(): void {
    for (let first = this.#first; first !== undefined; first = this.#first) {
      this.#leave(first)
      // one of the signal's other listeners may have come before ours, and given a permit back
      if (!first.signal?.aborted) {
        first.resolve(this.#grant())
        return
      }
      first.reject(new AbortError(first.signal))
    }
    this.#out -= 1
    if (this.#out === 0) this.#onAllBack?.()
  }

  /** No permit is given any more, nobody waits. Resolves when all are back. */
  async close(): Promise<void> {
    this.#isClosed = true
    this.#dismiss(this.#closedError())
    if (this.#out === 0 || this.#reason !== undefined) return
    await new Promise<void>((resolve) => {
      this.#onAllBack = resolve
    })
  }

  /** The same, with an error for those who wait, and without any wait for those that are out. */
  destroy(error: Error): void {
    this.#reason ??= error
    this.#isClosed = true
    this.#dismiss(error)
    this.#onAllBack?.()
  }

  #wait(signal: AbortSignal | undefined): Promise<T> {
    const { waitTimeoutMs } = this.#limits
    const expiresAt = waitTimeoutMs === 0 ? Number.POSITIVE_INFINITY : performance.now() + waitTimeoutMs
    return new Promise((resolve, reject) => {
      const ahead = this.#last
      const waiter: Waiter<T> = {
        resolve,
        reject,
        signal,
        expiresAt,
        unwatch: undefined,
        ahead,
        behind: undefined,
      }
      if (ahead === undefined) this.#first = waiter
      else ahead.behind = waiter
      this.#last = waiter
      this.#waiting += 1
      if (waitTimeoutMs > 0) this.#deadlines.add(expiresAt)
      if (signal !== undefined) {
        waiter.unwatch = watchAbort(signal, () => {
          this.#leave(waiter)
          reject(new AbortError(signal))
        })
      }
    })
  }

  /** Takes one who waits out of the queue; it is settled by whoever calls this. */
  #leave(waiter: Waiter<T>): void {
    const { ahead, behind } = waiter
    if (ahead === undefined) this.#first = behind
    else ahead.behind = behind
    if (behind === undefined) this.#last = ahead
    else behind.ahead = ahead
    waiter.unwatch?.()
    this.#waiting -= 1
    if (this.#waiting === 0) this.#deadlines.stop()
  }

  /** All wait for as long: the first is due first. */
  #expire(now: number): number {
    for (let first = this.#first; first !== undefined; first = this.#first) {
      if (first.expiresAt > now) return first.expiresAt
      this.#leave(first)
      const { maxActive, waitTimeoutMs } = this.#limits
      const others = this.#waiting === 1 ? '1 other waits' : `${this.#waiting} others wait`
      const message = `waited ${waitTimeoutMs} ms for one of ${maxActive} lazy leases, ${others}`
      first.reject(new PoolError('POOL_EXHAUSTED', message))
    }
    return Number.POSITIVE_INFINITY
  }

  #dismiss(error: Error): void {
    for (let first = this.#first; first !== undefined; first = this.#first) {
      this.#leave(first)
      first.reject(error)
    }
  }

  #closedError(): PoolError {
    return new PoolError('POOL_CLOSED', 'the pool was closed', this.#reason && { cause: this.#reason })
  }
}

function refuse(code: 'POOL_EXHAUSTED' | 'QUEUE_FULL', message: string): Promise<never> {
  return Promise.reject(new PoolError(code, message))
}
