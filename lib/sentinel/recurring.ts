// A task that is done again and again: soon when something calls for it, else after a pause; never twice at a
// time. Calls that come while it runs are answered by one more run behind it, and so are those that come too soon
// after its beginning.

export class Recurring {
  readonly #task: () => Promise<void>
  readonly #pauseMs: () => number
  readonly #gapMs: number
  #startedAt = Number.NEGATIVE_INFINITY
  #isRunning = false
  #isCalledFor = false
  #isStopped = false
  #timer: NodeJS.Timeout | undefined

  /**
   * @param task must not reject
   * @param pauseMs asked after each run: how long until the next if nothing calls for it
   * @param gapMs at least so long from the beginning of a run to the beginning of the next
   */
  constructor(task: () => Promise<void>, pauseMs: () => number, gapMs = 0) {
    this.#task = task
    this.#pauseMs = pauseMs
    this.#gapMs = gapMs
  }

  soon(): void {
    if (this.#isStopped) return
    if (this.#isRunning) {
      this.#isCalledFor = true
      return
    }
    const tooSoonMs = this.#startedAt + this.#gapMs - performance.now()
    if (tooSoonMs > 0) this.#later(tooSoonMs)
    else this.#run()
  }

  stop(): void {
    this.#isStopped = true
    clearTimeout(this.#timer)
  }

  #run(): void {
    this.#isRunning = true
    this.#isCalledFor = false
    this.#startedAt = performance.now()
    clearTimeout(this.#timer)
    void this.#task().finally(() => {
      this.#isRunning = false
      if (this.#isStopped) return
      if (this.#isCalledFor) this.soon()
      else this.#later(this.#pauseMs())
    })
  }

  #later(ms: number): void {
    clearTimeout(this.#timer)
    this.#timer = setTimeout(() => this.#run(), ms).unref() // who waits keeps the process alive
  }
}
