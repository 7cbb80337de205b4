// Whom the pool does not serve, and what they are told: always with the numbers.

import { PoolError } from '../errors.ts'
import type { PoolContext } from './context.ts'
import type { PooledConnection } from './pooled-connection.ts'

/** The numbers, as they are now. */
export interface Crowd {
  /** Connections that are there, or about to be. */
  readonly activeCount: number
  /** Those who wait. */
  readonly waitingCount: number
  /** For how long the longest lease has been out, where that is known. */
  readonly longestHeldMs: number | undefined
}

export class Refusals<T extends PooledConnection> {
  readonly #context: PoolContext<T>
  readonly #crowd: Crowd

  constructor(context: PoolContext<T>, crowd: Crowd) {
    this.#context = context
    this.#crowd = crowd
  }

  /** Whether there are as many connections as there may be. */
  get isExhausted(): boolean {
    const { maxActive } = this.#context.options
    return maxActive > 0 && this.#crowd.activeCount >= maxActive
  }

  /** Whether as many wait as may. */
  get isFull(): boolean {
    const { maxWaiting } = this.#context.options
    return maxWaiting > 0 && this.#crowd.waitingCount >= maxWaiting
  }

  /** For one who does not wait where there is no connection. */
  exhausted(): PoolError {
    const { maxActive } = this.#context.options
    return new PoolError('POOL_EXHAUSTED', `all ${maxActive} connections of the pool are in use`)
  }

  /** For one who would have to wait where no more may. */
  queueFull(): PoolError {
    const { options, counters } = this.#context
    const { maxWaiting, maxActive } = options
    counters.rejections++
    const what = maxActive > 0 ? `one of ${maxActive} connections` : 'a connection'
    const message = `${this.#crowd.waitingCount} wait for ${what} already, and maxWaiting is ${maxWaiting}`
    return new PoolError('QUEUE_FULL', message)
  }

  /**
   * For one who has waited for too long, and no longer does.
   *
   * @param what what it has waited for
   */
  waitedInVain(what: string): PoolError {
    const { options, counters } = this.#context
    const { longestHeldMs, waitingCount } = this.#crowd
    counters.timeouts++
    const held =
      longestHeldMs === undefined ? '' : `, the longest is held for ${Math.round(longestHeldMs)} ms`
    const rest = waitingCount === 1 ? '1 other waits' : `${waitingCount} others wait`
    const message = `waited ${options.waitTimeoutMs} ms for ${what}, ${rest}${held}`
    return new PoolError('POOL_EXHAUSTED', message)
  }
}
