// How much may fall back to the master when no replica serves: so many commands of this client may be under way
// there, what is more waits for its turn within its deadline. Dead replicas must not take the master with them.

import {
  type Endpoint,
  type HoldLimits,
  HoldQueue,
  type HoldRequest,
  type Waiting,
} from '../endpoint/index.ts'

/** Replies free places all the time; so often it is looked how many. */
const LOOK_MS = 2

export class FallbackBudget {
  readonly #limit: number
  readonly #held: HoldQueue
  readonly #master: () => Endpoint | undefined
  #timer: NodeJS.Timeout | undefined
  /** How many were let go in this turn of the event loop, and what was under way before. */
  #taken = 0
  #loadBefore = 0

  /**
   * @param limit commands under way at the master; 0 = no limit
   * @param master to whom reads fall back; `undefined` while there is none
   * @param reason why there is no replica
   */
  constructor(
    limit: number,
    limits: HoldLimits,
    master: () => Endpoint | undefined,
    reason: () => Error | undefined,
  ) {
    this.#limit = limit
    this.#master = master
    this.#held = new HoldQueue('turn at the master for a read without a replica', limits, reason)
  }

  /** Whether one more may go to the master, which it does at once. */
  take(master: Endpoint): boolean {
    if (this.#limit === 0) return true
    // those that were let go in this turn of the event loop may be on their way still: many wake up at once
    const load = this.#taken === 0 ? master.load : Math.max(master.load, this.#loadBefore + this.#taken)
    if (load >= this.#limit) return false
    if (this.#taken === 0) {
      this.#loadBefore = master.load
      setImmediate(() => {
        this.#taken = 0
      })
    }
    this.#taken += 1
    return true
  }

  /** Resolves when it is worth looking again. */
  wait(request: HoldRequest): Promise<void> {
    const turn = this.#held.wait(request)
    this.#lookOut()
    return turn
  }

  /** {@link wait} without a promise. */
  add(waiting: Waiting): void {
    this.#held.add(waiting)
    this.#lookOut()
  }

  /** Whatever they wait for may have changed. */
  release(): void {
    if (this.#held.length > 0) this.#held.release()
  }

  fail(error: Error): void {
    this.#held.fail(error)
    this.#look()
  }

  #lookOut(): void {
    this.#timer ??= setInterval(() => this.#look(), LOOK_MS).unref() // who waits keeps the process
  }

  #look(): void {
    const master = this.#master()
    const free = master === undefined ? Number.POSITIVE_INFINITY : this.#limit - master.load
    this.#held.releaseFirst(free)
    if (this.#held.length > 0) return
    clearInterval(this.#timer)
    this.#timer = undefined
  }
}
