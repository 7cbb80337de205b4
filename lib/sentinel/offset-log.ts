// When the replication stream was known to have been how long. Who has read to an offset has everything that was
// written before the newest instant at which the stream was not longer than that.
//
//   #at        [ 10.0 | 10.3 | 10.6 ]   ascending: when the question was sent, so before the answer was true
//   #offsets   [  500 |  740 |  901 ]   ascending
//
//   reached(800) = 10.3: what 800 lacks was written after that

/** Enough for ten seconds at the shortest interval. */
const MAX_SAMPLES = 1_024

export class OffsetLog {
  readonly #at: number[] = []
  readonly #offsets: number[] = []

  /**
   * Takes note that the stream was at least that long when the question, sent at that instant, was answered. One
   * that is shorter than known says nothing.
   */
  note(at: number, offset: number): void {
    const last = this.#offsets.length - 1
    const known = this.#offsets[last] ?? -1
    if (offset < 0 || offset < known) return
    if (offset === known) {
      this.#at[last] = Math.max(this.#at[last] as number, at)
      return
    }
    if (this.#at.length === MAX_SAMPLES) {
      this.#at.shift()
      this.#offsets.shift()
    }
    this.#at.push(Math.max(at, this.#at[last] ?? at))
    this.#offsets.push(offset)
  }

  /** Whether an answer of that offset shows that the stream began anew: a master that has lost its data. */
  isBefore(offset: number): boolean {
    return offset >= 0 && offset < (this.#offsets.at(-1) ?? -1)
  }

  /** Up to which instant whoever has read to the offset has everything; `-Infinity` = not known. */
  reached(offset: number): number {
    for (let i = this.#offsets.length - 1; i >= 0; i -= 1) {
      if ((this.#offsets[i] as number) <= offset) return this.#at[i] as number
    }
    return Number.NEGATIVE_INFINITY
  }

  /** What goes beyond the offset is forgotten, as when it was lost. */
  trim(offset: number): void {
    while ((this.#offsets.at(-1) ?? -1) > offset) {
      this.#offsets.pop()
      this.#at.pop()
    }
  }

  clear(): void {
    this.#at.length = this.#offsets.length = 0
  }
}
