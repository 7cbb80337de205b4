// A clock that stands still until a test moves it.

export class ManualClock {
  #now: number

  constructor(now = 1_000_000) {
    this.#now = now
  }

  /** For whoever wants a function that tells the time. */
  readonly now = (): number => this.#now

  advance(ms: number): void {
    this.#now += ms
  }
}

/** Lets every promise go on that can. */
export function settled(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}
