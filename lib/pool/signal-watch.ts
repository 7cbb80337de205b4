// Who is to be told when a signal aborts. A signal gets one listener from here, however many borrowers share it:
// Node warns of a leak from the eleventh on, and a signal that lives as long as the process is shared by all.

export class SignalWatch<W extends object> {
  readonly #onAbort: (watcher: W, signal: AbortSignal) => void
  readonly #watchers = new Map<AbortSignal, Set<W>>()

  constructor(onAbort: (watcher: W, signal: AbortSignal) => void) {
    this.#onAbort = onAbort
  }

  /** The number of signals that have a listener. */
  get size(): number {
    return this.#watchers.size
  }

  add(signal: AbortSignal | undefined, watcher: W): void {
    if (signal === undefined) return
    const watchers = this.#watchers.get(signal)
    if (watchers !== undefined) {
      watchers.add(watcher)
      return
    }
    this.#watchers.set(signal, new Set([watcher]))
    signal.addEventListener('abort', this.#fire)
  }

  /** Does nothing if the watcher does not watch. */
  delete(signal: AbortSignal | undefined, watcher: W): void {
    if (signal === undefined) return
    const watchers = this.#watchers.get(signal)
    if (watchers?.delete(watcher) === true && watchers.size === 0) this.#forget(signal)
  }

  readonly #fire = (event: Event): void => {
    const signal = event.target as AbortSignal
    const watchers = this.#watchers.get(signal) ?? []
    this.#forget(signal)
    for (const watcher of watchers) this.#onAbort(watcher, signal)
  }

  #forget(signal: AbortSignal): void {
    this.#watchers.delete(signal)
    signal.removeEventListener('abort', this.#fire)
  }
}
