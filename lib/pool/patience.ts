// The bound of a wait, `waitTimeout`: one timer for a queue, set for the first in it. They came in order, and all
// wait for as long, so that no other can be due before the first.

import { Alarm } from './alarm.ts'
import type { Borrower } from './borrower.ts'
import type { PoolContext } from './context.ts'
import type { PooledConnection } from './pooled-connection.ts'

export interface PatienceQueue<T extends PooledConnection> {
  /** Who has waited longest. */
  readonly first: Borrower<T> | undefined
  /** Takes the first out, whose time is over. */
  expire(borrower: Borrower<T>): void
}

export class Patience<T extends PooledConnection> {
  readonly #timeoutMs: number
  readonly #now: () => number
  readonly #queue: PatienceQueue<T>
  readonly #alarm = new Alarm(() => this.#ring())

  constructor({ options, now }: PoolContext<T>, queue: PatienceQueue<T>) {
    this.#timeoutMs = options.waitTimeoutMs
    this.#now = now
    this.#queue = queue
  }

  /** One more waits. Somebody does now, so the process stays for it. */
  begin(borrower: Borrower<T>): void {
    if (this.#timeoutMs === 0) return
    borrower.queuedAt = this.#now()
    if (this.#alarm.isSet) this.#alarm.keepProcess(true)
    else this.#alarm.set(this.#timeoutMs, true)
  }

  /** Somebody left: with nobody left, the process need not stay. */
  end(): void {
    if (this.#timeoutMs > 0 && this.#queue.first === undefined) this.#alarm.keepProcess(false)
  }

  /** For the end of the pool. */
  cancel(): void {
    this.#alarm.cancel()
  }

  #ring(): void {
    const now = this.#now()
    for (let first = this.#queue.first; first !== undefined; first = this.#queue.first) {
      const leftMs = first.queuedAt + this.#timeoutMs - now
      if (leftMs > 0) {
        this.#alarm.set(leftMs, true)
        return
      }
      this.#queue.expire(first)
    }
  }
}
