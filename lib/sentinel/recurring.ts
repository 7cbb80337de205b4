// A task that is done again and again: soon when something calls for it, else after a pause; never twice at a
// time. Calls that come while it runs are answered by one more run behind it.

export class Recurring {
  readonly #task: () => Promise<void>
  readonly #pauseMs: () => number
  #isRunning = false
  #isCalledFor = false
  #isStopped = false
  #timer: NodeJS.Timeout | undefined

  /**
   * @param task must not reject
   * @param pauseMs asked after each run: how long until the next if nothing calls for it
   */
  constructor(task: () => Promise<void>, pauseMs: () => number) {
    this.#task = task
    this.#pauseMs = pauseMs
  }

  soon(): void {
    if (this.#isStopped) return
    if (this.#isRunning) {
      this.#isCalledFor = true
      return
    }
    this.#isRunning = true
    this.#isCalledFor = false
    clearTimeout(this.#timer)
    void this.#task().finally(() => {
      this.#isRunning = false
      if (this.#isStopped) return
      if (this.#isCalledFor) this.soon()
      else this.#timer = setTimeout(() => this.soon(), this.#pauseMs()).unref() // who waits keeps the process alive
    })
  }

  stop(): void {
    this.#isStopped = true
    clearTimeout(this.#timer)
  }
}
