// Looks through the idle connections from time to time, with the predicates of get(), so that those that nobody asks
// for do not stay. Its timer is unref'ed, and there only while something is idle and could grow too old.

import { Alarm } from './alarm.ts'
import type { PoolContext } from './context.ts'
import type { PooledConnection } from './pooled-connection.ts'
import type { Stock } from './stock.ts'

export class Sweeper<T extends PooledConnection> {
  readonly #intervalMs: number
  readonly #isUseful: boolean
  readonly #stock: Stock<T>
  readonly #onSwept: () => void
  readonly #alarm = new Alarm(() => this.#sweep())

  /** @param onSwept called when there may be less idle connections than before */
  constructor({ options }: PoolContext<T>, stock: Stock<T>, onSwept: () => void) {
    this.#intervalMs = options.sweepIntervalMs
    this.#isUseful = options.sweepIntervalMs > 0 && options.idleTimeoutMs + options.maxConnLifetimeMs > 0
    this.#stock = stock
    this.#onSwept = onSwept
  }

  /** A connection has become idle. */
  watch(): void {
    if (this.#isUseful && !this.#alarm.isSet) this.#alarm.set(this.#intervalMs, false)
  }

  stop(): void {
    this.#alarm.cancel()
  }

  #sweep(): void {
    const { time } = this.#stock
    this.#stock.prune(time)
    this.#stock.pruneOverAge(time)
    if (this.#stock.idleCount > 0) this.watch()
    this.#onSwept()
  }
}
