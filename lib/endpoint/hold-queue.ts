// Callers that wait for something to come back: a connection, a master. First in, first out; bounded in count
// and in bytes; each ends by the release, its own deadline, its own signal, or the failure of the whole queue.

import { Deadlines, watchAbort } from '../connection/index.ts'
import { AbortError, PoolError, TimeoutError } from '../errors.ts'
import type { Argument } from '../resp/index.ts'

/** As many as may be pending on one connection: what waits here will go there. */
export const DEFAULT_MAX_HELD = 2 ** 20
export const DEFAULT_MAX_HELD_BYTES = 256 * 1024 * 1024

export interface HoldLimits {
  readonly maxHeld: number
  readonly maxHeldBytes: number
}

/** How long one caller waits, and how much it holds meanwhile. */
export interface HoldRequest {
  /** Size of the command that waits. */
  readonly bytes: number
  /** The deadline on the clock of `performance.now()`, and the timeout it came from, in milliseconds; 0 = none. */
  readonly expiresAt: number
  readonly timeout: number
  readonly signal?: AbortSignal | undefined
}

interface Waiter extends HoldRequest {
  readonly resolve: () => void
  readonly reject: (error: Error) => void
  unwatch: (() => void) | undefined
}

export class HoldQueue {
  readonly #limits: HoldLimits
  readonly #what: string
  readonly #reason: () => Error | undefined
  readonly #waiters = new Set<Waiter>()
  readonly #deadlines = new Deadlines((now) => this.#expire(now), { keepsProcess: true })
  #bytes = 0

  /**
   * @param what is waited for, as errors name it: `'connection to 127.0.0.1:6379'`
   * @param reason why it is not there, for the errors of those that waited in vain
   */
  constructor(what: string, limits: HoldLimits, reason: () => Error | undefined) {
    this.#what = what
    this.#limits = limits
    this.#reason = reason
  }

  get length(): number {
    return this.#waiters.size
  }

  /**
   * Resolves at the next `release()`.
   *
   * @throws {PoolError} `QUEUE_FULL`
   * @throws {TimeoutError} `COMMAND_TIMEOUT`, with the reason as its cause
   * @throws {AbortError} `ABORT_ERR`
   */
  wait(request: HoldRequest): Promise<void> {
    const { signal, bytes, expiresAt } = request
    if (signal?.aborted) return Promise.reject(new AbortError(signal))
    if (performance.now() >= expiresAt) return Promise.reject(this.#late(request))
    const { maxHeld, maxHeldBytes } = this.#limits
    if (this.#waiters.size >= maxHeld || this.#bytes + bytes > maxHeldBytes) {
      const held = `${this.#waiters.size} commands of ${this.#bytes} bytes wait for ${this.#what}`
      const limits = `the limits are ${maxHeld} and ${maxHeldBytes} bytes`
      return Promise.reject(new PoolError('QUEUE_FULL', `${held}; ${limits}`, this.#cause()))
    }
    return new Promise((resolve, reject) => {
      const waiter: Waiter = { ...request, resolve, reject, unwatch: undefined }
      this.#waiters.add(waiter)
      this.#bytes += bytes
      if (signal !== undefined) {
        waiter.unwatch = watchAbort(signal, () => this.#end(waiter, new AbortError(signal)))
      }
      if (expiresAt !== Number.POSITIVE_INFINITY) this.#deadlines.add(expiresAt)
    })
  }

  /** What was waited for is there: all go on, in their order. */
  release(): void {
    for (const waiter of [...this.#waiters]) this.#end(waiter, undefined)
  }

  /** It will not come: all fail. */
  fail(error: Error): void {
    for (const waiter of [...this.#waiters]) this.#end(waiter, error)
  }

  #end(waiter: Waiter, error: Error | undefined): void {
    if (!this.#waiters.delete(waiter)) return
    this.#bytes -= waiter.bytes
    waiter.unwatch?.()
    if (this.#waiters.size === 0) this.#deadlines.stop()
    if (error === undefined) waiter.resolve()
    else waiter.reject(error)
  }

  #expire(now: number): number {
    let next = Number.POSITIVE_INFINITY
    for (const waiter of [...this.#waiters]) {
      if (waiter.expiresAt <= now) this.#end(waiter, this.#late(waiter))
      else next = Math.min(next, waiter.expiresAt)
    }
    return next
  }

  #late({ timeout }: HoldRequest): TimeoutError {
    const why = this.#reason()
    const message = `no ${this.#what} within ${timeout} ms${why === undefined ? '' : `: ${why.message}`}`
    return new TimeoutError(message, { timeout, ...this.#cause() })
  }

  #cause(): { cause?: Error } {
    const cause = this.#reason()
    return cause === undefined ? {} : { cause }
  }
}

/** A copy of a command that waits: the caller's array and bytes may change as soon as it has control again. */
export function ownCommand(command: readonly Argument[]): readonly Argument[] {
  return command.map((argument) => (typeof argument === 'object' ? Buffer.from(argument) : argument))
}

/** About what a command takes while it waits: exact for bytes, at least for strings. */
export function heldBytes(command: readonly Argument[]): number {
  let bytes = 0
  for (const argument of command) {
    bytes += typeof argument === 'string' || argument instanceof Uint8Array ? argument.length : 8
  }
  return bytes
}
