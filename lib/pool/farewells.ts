// Connections the pool has no more use for, on their way out. They are healthy and have nothing pending, so they
// are closed politely; but a silent peer must not hold up the end of the pool, so each has a bound.

import type { PooledConnection } from './pooled-connection.ts'

export class Farewells {
  readonly #boundMs: number
  readonly #onLeft: () => void
  readonly #leaving = new Map<PooledConnection, NodeJS.Timeout | undefined>()

  /**
   * @param boundMs how long a close may take before the connection is destroyed; 0 is for ever
   * @param onLeft called when one has left
   */
  constructor(boundMs: number, onLeft: () => void) {
    this.#boundMs = boundMs
    this.#onLeft = onLeft
  }

  get count(): number {
    return this.#leaving.size
  }

  close(connection: PooledConnection): void {
    // Not unref'ed: pool.close() may be all that is awaited, and it ends within the bound.
    const timer =
      this.#boundMs > 0
        ? setTimeout(() => {
            connection.destroy()
            this.#left(connection)
          }, this.#boundMs)
        : undefined
    this.#leaving.set(connection, timer)
    const left = (): void => this.#left(connection)
    // By contract it does not reject; if it does all the same, it has left too.
    connection.close().then(left, left)
  }

  destroyAll(error: Error): void {
    for (const connection of this.#leaving.keys()) {
      connection.destroy(error)
      this.#left(connection)
    }
  }

  #left(connection: PooledConnection): void {
    clearTimeout(this.#leaving.get(connection))
    if (this.#leaving.delete(connection)) this.#onLeft()
  }
}
