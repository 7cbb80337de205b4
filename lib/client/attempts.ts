// The long way of a command: it waits for a server, goes there and, by the outcome of a failure, to the next one. What
// was not sent or was refused is tried again until the deadline; what may have run only if running it twice does no
// harm. What is sent, and whether over a connection of its own, is its exchange's; when and whether again is decided
// here.
//
//   go ──┬── a server ──► go to it ──┬── connected ──► sent ──► reply
//        └── nobody: enqueued         └── not yet: enqueued there
//
//   released: goes on      failed, there or sent: judged, then go again, at once or after a pause, or the last word
//
// Thousands go this way at once while a master is replaced, and all that they keep has to be collected: so there is
// one object for each, which waits in the queues itself, and one promise until it is sent, instead of async functions.

import { blockingTimeout, isBlocking, isReadOnly } from '../commands/index.ts'
import { type Connection, type ExecuteOptions, type Rescuer, watchAbort } from '../connection/index.ts'
import {
  type Endpoint,
  heldBytes,
  isMadeUp,
  isRetriable,
  outcomeOf,
  RETRY_MS,
  type ReadFrom,
  type Route,
  type Target,
  type Waiting,
} from '../endpoint/index.ts'
import { AbortError, ConnectionError, RespoolError, TimeoutError } from '../errors.ts'
import type { Lease } from '../pool/index.ts'
import type { Argument, Reply } from '../resp/index.ts'
import { executeUnblockably } from './blocking.ts'
import type { AttemptOptions, Exchange } from './exchange.ts'
import { lastWord } from './last-word.ts'
import type { Session } from './session.ts'
import { closedError, type Work } from './work.ts'

/** With less than this left there is no other attempt: its answer would come too late to say what became of it. */
const ANSWER_MS = 5

/** How a command is run: what the connection needs to know, and where it may go and go again. */
export interface DispatchOptions extends ExecuteOptions {
  readonly readFrom: ReadFrom
  /** Milliseconds by which a replica's data may be old; `undefined`: as the route has it. */
  readonly maxStaleness?: number | undefined
  /** Running it twice does no harm, though it is not read-only. */
  readonly isIdempotent: boolean
  /** Milliseconds for all attempts together; 0 = no limit. */
  readonly timeout: number
  /** So many replicas have to acknowledge a write. */
  readonly durable?: number | undefined
  /** Whose reads see whose writes. */
  readonly session?: Session | undefined
}

/** The way of one command, all of it or after a first attempt. One `run()` at a time. */
export class Attempts implements Waiting, Rescuer {
  readonly #route: Route
  readonly #work: Work
  readonly #options: DispatchOptions
  readonly #command: readonly Argument[]
  readonly #exchange: Exchange | undefined
  /** Milliseconds for everything; 0 = no limit. A blocking command's own timeout counts in addition. */
  readonly #totalMs: number
  readonly #expiresAt: number
  /** Until when a server that takes it is looked for: a blocking command may wait there for ever, not before. */
  #giveUpAt: number
  /** Where it is, or waits to go; `undefined`: it waits for a server. */
  #at: Endpoint | undefined
  /** The attempt whose outcome is not known; if the command was tried again, that stays true of it. */
  #lost: ConnectionError | undefined
  /** Of the promise of this run. */
  #resolve!: (reply: Reply | Promise<Reply>) => void
  #reject!: (error: unknown) => void

  /**
   * @param command what it amounts to; of a batch nothing, its exchange tells
   * @param exchange what is sent; `undefined`: the command alone, over the shared connection
   * @param startedAt instant of `performance.now()`
   */
  constructor(
    route: Route,
    work: Work,
    options: DispatchOptions,
    command: readonly Argument[],
    exchange: Exchange | undefined,
    startedAt: number,
  ) {
    this.#route = route
    this.#work = work
    this.#options = options
    this.#command = command
    this.#exchange = exchange
    this.#totalMs = exchange?.needsLease ? totalOf(command, options.timeout) : options.timeout
    this.#expiresAt = this.#totalMs === 0 ? Number.POSITIVE_INFINITY : startedAt + this.#totalMs
    this.#giveUpAt = options.timeout === 0 ? Number.POSITIVE_INFINITY : startedAt + options.timeout
  }

  /**
   * @param endpoint where it goes first, if that is known
   * @param failure of the attempt there, if that has been made: then its connection is in the midst of things, and
   *   nothing is done to it before the next microtask
   */
  run(endpoint?: Endpoint, failure?: Error): Promise<Reply> {
    this.#work.begin()
    return new Promise((resolve, reject) => {
      this.#resolve = resolve
      this.#reject = reject
      this.#at = endpoint
      if (failure !== undefined) queueMicrotask(() => this.#recover(failure))
      else if (endpoint === undefined) this.#go()
      else this.#goTo(endpoint)
    })
  }

  get bytes(): number {
    return this.#exchange?.held?.bytes ?? heldBytes(this.#command)
  }

  get count(): number {
    return this.#exchange?.held?.count ?? 1
  }

  get expiresAt(): number {
    return this.#giveUpAt
  }

  get timeout(): number {
    return this.#options.timeout
  }

  get signal(): AbortSignal | undefined {
    return this.#options.signal
  }

  target(): Target {
    if (this.#exchange !== undefined) return this.#exchange.target()
    return isReadOnly(this.#command) ? this.#options.readFrom : 'write'
  }

  /** For the queue in which it waits. */
  proceed(): void {
    const at = this.#at
    if (at === undefined || at.error !== undefined) this.#go()
    else this.#goTo(at)
  }

  /** For the queue in which it waits. */
  fail(error: Error): void {
    if (this.#at === undefined) this.#end(error)
    else this.#recover(error)
  }

  /** For the connection that had it. */
  rescue(error: Error): Promise<Reply> {
    return this.run(this.#at, error)
  }

  #pick(): Endpoint | undefined {
    return this.#route.pick(this.target(), this.#options.maxStaleness)
  }

  /** Without a pause where there is one to go to: commands leave in the order in which they are given. */
  #go(): void {
    let endpoint: Endpoint | undefined
    try {
      endpoint = this.#pick()
    } catch (error) {
      this.#end(error) // a function that the user gave for readFrom
      return
    }
    this.#at = endpoint
    if (endpoint === undefined) this.#route.enqueue(this)
    else this.#goTo(endpoint)
  }

  #goTo(endpoint: Endpoint): void {
    this.#at = endpoint
    if (this.#exchange !== undefined) {
      void this.#exchangeAt(endpoint, this.#exchange)
      return
    }
    let reply: Promise<Reply> | undefined
    try {
      reply = endpoint.attempt(this.#command, this.#attemptOptions(), this)
    } catch (error) {
      this.#end(error)
      return
    }
    if (reply === undefined) {
      endpoint.enqueue(this)
    } else {
      this.#work.end() // the endpoint's from here on
      this.#resolve(reply)
    }
  }

  /** Never rejects. */
  async #exchangeAt(endpoint: Endpoint, exchange: Exchange): Promise<void> {
    let reply: Reply | undefined
    try {
      reply = await (exchange.needsLease
        ? this.#exchangeOnLease(endpoint, exchange)
        : exchange.attempt(endpoint, endpoint.address, this.#attemptOptions()))
    } catch (error) {
      this.#recover(error)
      return
    }
    if (reply === undefined) {
      this.#go()
    } else {
      this.#work.end()
      this.#resolve(reply)
    }
  }

  async #exchangeOnLease(endpoint: Endpoint, exchange: Exchange): Promise<Reply | undefined> {
    const { signal } = this.#options
    const lease = await this.#borrow(endpoint)
    const attempt = (ending: AbortSignal | undefined) =>
      exchange.attempt(lease, endpoint.address, { ...this.#attemptOptions(), signal: ending })
    try {
      if (!endpoint.isFit) throw unfit(endpoint)
      if (signal === undefined || !isBlocking(this.#command)) return await attempt(signal)
      return await executeUnblockably(endpoint, lease, signal, attempt)
    } finally {
      await lease.close()
    }
  }

  #attemptOptions(): AttemptOptions {
    const { replies, signal } = this.#options
    const timeout = this.#totalMs === 0 ? 0 : Math.max(Math.ceil(this.#expiresAt - performance.now()), 1)
    return { replies, signal, timeout }
  }

  /** Waits for a connection of the command's own no longer than for a server. */
  async #borrow(endpoint: Endpoint): Promise<Lease<Connection>> {
    const { signal, timeout } = this.#options
    if (timeout === 0) return await endpoint.lend({ signal, timeout })
    const ending = new AbortController()
    const timer = setTimeout(() => ending.abort(), Math.max(this.#giveUpAt - performance.now(), 1))
    const unwatch = signal === undefined ? undefined : watchAbort(signal, () => ending.abort())
    try {
      if (signal?.aborted) throw new AbortError(signal)
      return await endpoint.lend({ signal: ending.signal, timeout: 0 })
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

  /** Goes on after a failed attempt, if it may. */
  #recover(error: unknown): void {
    let pauseMs: number
    try {
      pauseMs = this.#judge(this.#at as Endpoint, error)
    } catch (final) {
      this.#end(final)
      return
    }
    if (pauseMs === 0) this.#go()
    else setTimeout(() => this.#goAfterPause(error as Error), pauseMs)
  }

  /** @returns after how many milliseconds the command may be tried again; throws why not */
  #judge(endpoint: Endpoint, error: unknown): number {
    const { signal, isIdempotent, timeout } = this.#options
    if (!(error instanceof RespoolError) || isMadeUp(error, this.#command)) throw error
    const isMoved = error.code === 'POOL_CLOSED' && endpoint.error !== undefined
    if (this.#route.isClosed) throw isMoved || outcomeOf(error) === 'not-sent' ? closedError(error) : error
    const isRepeatable = isIdempotent || (this.#exchange?.isRepeatable ?? isReadOnly(this.#command))
    if (!isMoved && !isRetriable(error, isRepeatable)) throw error
    if (error.mayHaveExecuted && error instanceof ConnectionError) {
      this.#lost = error
      if (this.#exchange?.needsLease)
        this.#giveUpAt = Math.min(this.#expiresAt, performance.now() + (timeout || Infinity))
    }
    this.#route.report(endpoint, error)
    if (signal?.aborted) throw new AbortError(signal)
    const leftMs = this.#giveUpAt - performance.now()
    if (leftMs <= 0) throw this.#late(error)
    // somebody else takes it at once; the same server needs a moment, and then some time to answer in
    if (this.#pick() !== endpoint) return 0
    return leftMs <= RETRY_MS + ANSWER_MS ? leftMs : RETRY_MS
  }

  #goAfterPause(error: Error): void {
    const { signal } = this.#options
    if (signal?.aborted) this.#end(new AbortError(signal))
    else if (performance.now() + ANSWER_MS > this.#giveUpAt) this.#end(this.#late(error))
    else this.#go()
  }

  #late(cause: Error): TimeoutError {
    const { timeout } = this.#options
    return new TimeoutError(`not done within ${timeout} ms: ${cause.message}`, { timeout, cause })
  }

  #end(error: unknown): void {
    this.#work.end()
    const { timeout, signal } = this.#options
    this.#reject(lastWord(error, { timeout, totalMs: this.#totalMs, signal }, this.#lost))
  }
}

/** While a lease was waited for, its replica fell behind or lost its master: another one takes the read. */
function unfit({ address }: Endpoint): ConnectionError {
  const message = `${address} is no longer fit to be read from`
  return new ConnectionError('FENCED', message, { address, phase: 'ready' })
}

/** What a blocking command may take: its own time, 0 for ever, and the usual margin. */
function totalOf(command: readonly Argument[], timeout: number): number {
  const own = blockingTimeout(command)
  return timeout === 0 || own === 0 ? 0 : (own ?? 0) + timeout
}
