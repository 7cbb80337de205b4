// What follows for a replica from having failed: for how long it is left out, and how gently it comes back.
//
//   serving ──setback──► left out: not at all the first time, then 100 ms, doubling to 30 s ──► serving, little at first
//      └──── 10 s without a setback: forgotten

/** Setbacks that are this far apart have nothing to do with each other. */
const FORGET_MS = 10_000
const FIRST_PAUSE_MS = 100
const LAST_PAUSE_MS = 30_000
/** One that has come back takes its full part after this: its caches are cold, its connections few. */
const SLOW_START_MS = 10_000
const FIRST_WEIGHT = 0.1

export class Probation {
  #setbacks = 0
  #until = 0
  #reason = ''
  #startedAt = Number.NEGATIVE_INFINITY
  #isSlow = false

  /** Why it is left out though it looks well; `undefined` when it is not. */
  reason(now: number): string | undefined {
    return now < this.#until ? this.#reason : undefined
  }

  /** Since when it serves; `-Infinity` before it ever did. */
  get startedAt(): number {
    return this.#startedAt
  }

  /**
   * It has failed, or is too slow.
   *
   * @param isPatient whether the first time is forgiven
   */
  setBack(now: number, reason: string, isPatient: boolean): void {
    const last = Math.max(this.#startedAt, this.#until)
    this.#setbacks = now - last < FORGET_MS ? this.#setbacks + 1 : 1
    const step = this.#setbacks - (isPatient ? 2 : 1)
    if (step < 0) return
    this.#until = now + Math.min(FIRST_PAUSE_MS * 2 ** step, LAST_PAUSE_MS)
    this.#reason = `${reason} (${this.#setbacks} times in a row)`
  }

  /** It serves from now on. */
  start(now: number, isSlow: boolean): void {
    this.#startedAt = now
    this.#isSlow = isSlow
  }

  /** The part of its turns that it takes. */
  weight(now: number): number {
    if (!this.#isSlow) return 1
    const part = (now - this.#startedAt) / SLOW_START_MS
    if (part >= 1) this.#isSlow = false
    return Math.min(FIRST_WEIGHT + part * (1 - FIRST_WEIGHT), 1)
  }
}
