// The commands of a client that are on their way and on no connection: they look for a server, or go on to the
// next. `close()` waits for them; each has a deadline, so it waits within bounds.

import { PoolError } from '../errors.ts'

export class Work {
  #count = 0
  #isClosing = false
  /** Of all calls of `finish()`. */
  #done: Promise<void> | undefined
  #onDone: (() => void) | undefined

  /** Whether nothing new is taken. */
  get isClosing(): boolean {
    return this.#isClosing
  }

  /** How many are counted in. */
  get count(): number {
    return this.#count
  }

  /** Counts a command in until it has ended, one way or the other. */
  async do<R>(command: () => Promise<R>): Promise<R> {
    this.begin()
    try {
      return await command()
    } finally {
      this.end()
    }
  }

  /** {@link do} in two steps: it has ended at `end()`. */
  begin(): void {
    this.#count += 1
  }

  end(): void {
    this.#count -= 1
    if (this.#count === 0) this.#onDone?.()
  }

  /** Takes nothing new from now on; resolves when nothing is left. */
  async finish(): Promise<void> {
    this.#isClosing = true
    if (this.#count === 0) return
    this.#done ??= new Promise((resolve) => {
      this.#onDone = resolve
    })
    await this.#done
  }
}

export function closedError(cause?: Error): PoolError {
  return new PoolError('CLIENT_CLOSED', 'the client was closed', cause === undefined ? {} : { cause })
}
