// One timer for a whole queue or list, set for its next event only: nothing to do means no timer. Setting it while
// it is set changes nothing, so that a busy pool does not set and clear one for each lease; an alarm that finds
// nothing to do is not set again.
//
//     off ── set() ──► set ── the time has come ──► off, then ring()
//      ▲                └─ cancel() ─┐
//      └─────────────────────────────┘

/** The longest delay that Node's timers can do; a longer one would fire at once. */
export const MAX_TIMER_MS = 2 ** 31 - 1

export class Alarm {
  readonly #ring: () => void
  #timer: NodeJS.Timeout | undefined

  constructor(ring: () => void) {
    this.#ring = ring
  }

  get isSet(): boolean {
    return this.#timer !== undefined
  }

  /** @param keepsProcess whether somebody waits for it; otherwise it is idle bookkeeping, and unref'ed */
  set(delayMs: number, keepsProcess: boolean): void {
    if (this.#timer !== undefined) return
    // rounded up: a timer that is early by a fraction would find nothing to do
    const delay = Math.min(Math.max(Math.ceil(delayMs), 1), MAX_TIMER_MS)
    this.#timer = setTimeout(() => {
      this.#timer = undefined
      this.#ring()
    }, delay)
    if (!keepsProcess) this.#timer.unref()
  }

  /** Whether the process stays for it. */
  keepProcess(isKept: boolean): void {
    if (isKept) this.#timer?.ref()
    else this.#timer?.unref()
  }

  cancel(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
  }
}
