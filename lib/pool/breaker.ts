// Keeps a pool from hammering a server that is down: after a failed dial there is a pause, which doubles with each
// further failure and in which nobody dials; then one dial at a time, until one succeeds.
//
//     closed ── failure ──► open ── pause over ──► probing ── success ──► closed
//                            ▲                        │
//                            └─────── failure ────────┘
//
// It says no, and with which error; it holds no timer and starts nothing.

/** What a dial failed with; it may be anything, `undefined` too. */
export interface DialFailure {
  readonly error: unknown
}

export class Breaker {
  readonly #pauseMs: number
  readonly #maxPauseMs: number
  /** Failed rounds in a row; 0 is closed. */
  #failures = 0
  /** The end of the pause, by the pool's clock. */
  #openUntil = 0
  #last: DialFailure | undefined

  /** @param pauseMs the first pause; 0 = there is no breaker */
  constructor(pauseMs: number, maxPauseMs: number) {
    this.#pauseMs = pauseMs
    this.#maxPauseMs = maxPauseMs
  }

  /** Why nobody may dial now. */
  refusal(now: number): DialFailure | undefined {
    return this.#failures > 0 && now < this.#openUntil ? this.#last : undefined
  }

  /** Whether one dial at a time is all there may be. */
  get isProbing(): boolean {
    return this.#failures > 0
  }

  /**
   * @param startedAt when that dial began: those of one round, however many, are one failure
   * @returns whether nobody may dial from now on
   */
  failed(error: unknown, startedAt: number, now: number): boolean {
    if (this.#pauseMs === 0) return false
    this.#last = { error }
    if (this.#failures > 0 && startedAt < this.#openUntil) return now < this.#openUntil
    const pauseMs = Math.min(this.#pauseMs * 2 ** this.#failures, this.#maxPauseMs)
    // at least half of it, so that many processes do not come back together
    this.#openUntil = now + pauseMs * (0.5 + Math.random() / 2)
    this.#failures++
    return true
  }

  /** A dial succeeded, or there is another server to dial. */
  reset(): void {
    this.#failures = 0
    this.#last = undefined
  }
}
