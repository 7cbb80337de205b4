// One timer for all deadlines of a connection. It is armed for the earliest one that is known and asks its
// owner, when it fires, who is due and when to come back. With the same timeout for every command it fires
// once per timeout, however many commands there are in between, and costs a command one comparison.

/** Timers of Node's may fire a little early against `performance.now()`. */
const SLACK_MS = 1
/** And take no longer delay; what is due later is asked for again then. */
const LONGEST_MS = 2 ** 31 - 1

export class Deadlines {
  readonly #onDue: (now: number) => number
  readonly #keepsProcess: boolean
  #timer: NodeJS.Timeout | undefined
  #armedFor = Number.POSITIVE_INFINITY

  /**
   * @param onDue fails all that is due at `now`; returns the earliest instant among the others, or infinity
   * @param keepsProcess whether a process stays alive for it; not where a socket does so already
   */
  constructor(onDue: (now: number) => number, { keepsProcess }: { readonly keepsProcess: boolean }) {
    this.#onDue = onDue
    this.#keepsProcess = keepsProcess
  }

  /** Something expires at that instant of `performance.now()`. */
  add(expiresAt: number): void {
    if (expiresAt < this.#armedFor) this.#arm(expiresAt)
  }

  stop(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    this.#armedFor = Number.POSITIVE_INFINITY
  }

  #arm(at: number): void {
    clearTimeout(this.#timer)
    this.#armedFor = at
    const delayMs = Math.min(Math.max(at - performance.now(), 0) + SLACK_MS, LONGEST_MS)
    this.#timer = setTimeout(() => this.#fire(), delayMs)
    if (!this.#keepsProcess) this.#timer.unref()
  }

  #fire(): void {
    this.#timer = undefined
    this.#armedFor = Number.POSITIVE_INFINITY
    const next = this.#onDue(performance.now() + SLACK_MS)
    if (next !== Number.POSITIVE_INFINITY) this.add(next)
  }
}
