// The long way of a command: it waits for a server, goes there and, by the outcome of a failure, to the next one. What
// was not sent or was refused is tried again until the deadline; what may have run only if running it twice does no
// harm. What is sent, and whether over a connection of its own, is its exchange's; when and whether again is decided
// here.
//
// Thousands go this way at once while a master is replaced: an async function and an object each, and no more than one
// promise for whatever is waited for.

import { setTimeout as sleep } from 'node:timers/promises'
import { blockingTimeout, isReadOnly } from '../commands/index.ts'
import { type Connection, type ExecuteOptions, watchAbort } from '../connection/index.ts'
import {
  type Endpoint,
  heldBytes,
  isRetriable,
  outcomeOf,
  RETRY_MS,
  type ReadFrom,
  type Route,
} from '../endpoint/index.ts'
import { AbortError, ConnectionError, ReplyError, RespoolError, TimeoutError } from '../errors.ts'
import type { Lease } from '../pool/index.ts'
import type { Argument, Reply } from '../resp/index.ts'
import type { AttemptOptions, Exchange } from './exchange.ts'
import type { Session } from './session.ts'
import { closedError, type Work } from './work.ts'

/** How a command is run: what the connection needs to know, and where it may go and go again. */
export interface DispatchOptions extends ExecuteOptions {
  readonly readFrom: ReadFrom
  /** Running it twice does no harm, though it is not read-only. */
  readonly isIdempotent: boolean
  /** Milliseconds for all attempts together; 0 = no limit. */
  readonly timeout: number
  /** So many replicas have to acknowledge a write. */
  readonly durable?: number | undefined
  /** Whose reads see whose writes. */
  readonly session?: Session | undefined
}

/** The way of one command, all of it or after a first attempt. */
export class Attempts {
  readonly #route: Route
  readonly #work: Work
  readonly #options: DispatchOptions
  readonly #command: readonly Argument[]
  readonly #exchange: Exchange
  /** Milliseconds for everything; 0 = no limit. A blocking command's own timeout counts in addition. */
  readonly #totalMs: number
  readonly #expiresAt: number
  /** Until when a server that takes it is looked for: a blocking command may wait there for ever, not before. */
  #giveUpAt: number
  /** The attempt whose outcome is not known; if the command was tried again, that stays true of it. */
  #lost: ConnectionError | undefined

  /** @param startedAt instant of `performance.now()` */
  constructor(
    route: Route,
    work: Work,
    options: DispatchOptions,
    command: readonly Argument[],
    exchange: Exchange,
    startedAt: number,
  ) {
    this.#route = route
    this.#work = work
    this.#options = options
    this.#command = command
    this.#exchange = exchange
    this.#totalMs = exchange.needsLease ? totalOf(command, options.timeout) : options.timeout
    this.#expiresAt = this.#totalMs === 0 ? Number.POSITIVE_INFINITY : startedAt + this.#totalMs
    this.#giveUpAt = options.timeout === 0 ? Number.POSITIVE_INFINITY : startedAt + options.timeout
  }

  /**
   * @param endpoint where it goes first, if that is known
   * @param failure of the attempt there, if that has been made
   */
  async run(endpoint?: Endpoint, failure?: Error): Promise<Reply> {
    this.#work.begin()
    try {
      let next = endpoint
      let isFirst = failure === undefined
      if (next !== undefined && failure !== undefined) {
        await undefined // its connection is in the midst of things
        const pauseMs = this.#judge(next, failure)
        if (pauseMs > 0) await this.#rest(pauseMs, failure)
        next = undefined
      }
      for (;;) {
        // without a pause where there is one: commands leave in the order in which they are given
        next ??= this.#pick()
        while (next === undefined) {
          isFirst = false
          await this.#hold()
          next = this.#pick()
        }
        try {
          const reply = await this.#attempt(next, isFirst)
          if (reply !== undefined) return reply
        } catch (error) {
          const pauseMs = this.#judge(next, error)
          if (pauseMs > 0) await this.#rest(pauseMs, error)
        }
        next = undefined
        isFirst = false
      }
    } catch (error) {
      throw this.#lastWord(error)
    } finally {
      this.#work.end()
    }
  }

  #pick(): Endpoint | undefined {
    return this.#route.pick(this.#exchange.target())
  }

  #hold(): Promise<void> {
    const { timeout, signal } = this.#options
    const target = () => this.#exchange.target()
    const bytes = heldBytes(this.#command)
    return this.#route.hold({ bytes, expiresAt: this.#giveUpAt, timeout, signal, target })
  }

  /** @param isFirst nothing has been waited for: the deadline is told as it was set */
  #attempt(endpoint: Endpoint, isFirst: boolean): Promise<Reply | undefined> {
    const exchange = this.#exchange
    if (exchange.needsLease) return this.#attemptOnLease(endpoint)
    const timeout = isFirst ? this.#totalMs : this.#leftMs()
    return exchange.attempt(endpoint, endpoint.address, this.#attemptOptions(timeout))
  }

  async #attemptOnLease(endpoint: Endpoint): Promise<Reply | undefined> {
    const lease = await this.#borrow(endpoint)
    try {
      return await this.#exchange.attempt(lease, endpoint.address, this.#attemptOptions(this.#leftMs()))
    } finally {
      await lease.close()
    }
  }

  #attemptOptions(timeout: number): AttemptOptions {
    const { replies, signal } = this.#options
    return { replies, signal, timeout }
  }

  #leftMs(): number {
    return this.#totalMs === 0 ? 0 : Math.max(this.#expiresAt - performance.now(), 1)
  }

  /** Waits for a connection of the command's own no longer than for a server. */
  async #borrow(endpoint: Endpoint): Promise<Lease<Connection>> {
    const { signal, timeout } = this.#options
    if (timeout === 0) return await endpoint.pool.get({ signal })
    const ending = new AbortController()
    const timer = setTimeout(() => ending.abort(), Math.max(this.#giveUpAt - performance.now(), 1))
    const unwatch = signal === undefined ? undefined : watchAbort(signal, () => ending.abort())
    try {
      if (signal?.aborted) throw new AbortError(signal)
      return await endpoint.pool.get({ signal: ending.signal })
    } catch (error) {
      if (signal?.aborted) throw new AbortError(signal)
      if (!ending.signal.aborted) throw error
      throw new TimeoutError(`no connection of its own at ${endpoint.address} within ${timeout} ms`, {
        timeout,
      })
    } finally {
      clearTimeout(timer)
      unwatch?.()
    }
  }

  /** @returns after how many milliseconds the command may be tried again; if it may not, throws why */
  #judge(endpoint: Endpoint, error: unknown): number {
    const { signal, isIdempotent, timeout } = this.#options
    if (!(error instanceof RespoolError)) throw error
    const isMoved = error.code === 'POOL_CLOSED' && endpoint.error !== undefined
    if (this.#route.isClosed) throw isMoved || outcomeOf(error) === 'not-sent' ? closedError(error) : error
    if (!isMoved && !isRetriable(error, isReadOnly(this.#command) || isIdempotent)) throw error
    if (error.mayHaveExecuted && error instanceof ConnectionError) {
      this.#lost = error
      if (this.#exchange.needsLease)
        this.#giveUpAt = Math.min(this.#expiresAt, performance.now() + (timeout || Infinity))
    }
    this.#route.report(endpoint, error)
    if (signal?.aborted) throw new AbortError(signal)
    const leftMs = this.#giveUpAt - performance.now()
    if (leftMs <= 0) throw this.#late(error)
    // somebody else takes it at once; the same server needs a moment, and then some time to answer in
    return this.#pick() === endpoint ? Math.min(RETRY_MS, leftMs) : 0
  }

  async #rest(ms: number, error: unknown): Promise<void> {
    const { signal } = this.#options
    await sleep(ms)
    if (signal?.aborted) throw new AbortError(signal)
    if (ms < RETRY_MS || performance.now() >= this.#giveUpAt) throw this.#late(error)
  }

  #late(cause: unknown): TimeoutError {
    const { timeout } = this.#options
    return new TimeoutError(`not done within ${timeout} ms: ${(cause as Error).message}`, { timeout, cause })
  }

  /** The error of the last attempt as that of the whole: with the deadline as it was set, and the true outcome. */
  #lastWord(error: unknown): unknown {
    if (!(error instanceof RespoolError) || error instanceof ReplyError) return error
    const mayHaveExecuted = error.mayHaveExecuted || this.#lost !== undefined
    const { signal, timeout } = this.#options
    if (error instanceof TimeoutError) {
      const isWhole = error.timeout === timeout || error.timeout === this.#totalMs
      if (isWhole && mayHaveExecuted === error.mayHaveExecuted) return error
      const message = isWhole ? error.message : `not done within ${this.#totalMs} ms: ${error.message}`
      return new TimeoutError(message, { timeout: this.#totalMs, cause: error, mayHaveExecuted })
    }
    if (this.#lost === undefined || error.mayHaveExecuted) return error
    if (error instanceof AbortError && signal !== undefined)
      return new AbortError(signal, { mayHaveExecuted })
    const { code, address, phase } = this.#lost
    const message = `${this.#lost.message}; tried again, but: ${error.message}`
    return new ConnectionError(code as 'CONNECTION_LOST', message, {
      address,
      phase,
      mayHaveExecuted,
      cause: error,
    })
  }
}

/** What a blocking command may take: its own time, 0 for ever, and the usual margin. */
function totalOf(command: readonly Argument[], timeout: number): number {
  const own = blockingTimeout(command)
  return timeout === 0 || own === 0 ? 0 : (own ?? 0) + timeout
}
