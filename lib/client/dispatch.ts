// Brings a command to a server and, by the outcome of a failure, to the next one: what was not sent or was
// refused is tried again until the deadline; what may have run only if running it twice does no harm.
//
// Reads go where `readFrom` says, by the command's own flags; blocking commands go over a connection of their
// own, from the pool of the same server; commands that change the state of a connection are not taken here. What is
// sent beside a command, for a session or a durable write, is its exchange's; when and whether again is decided here.

import { setTimeout as sleep } from 'node:timers/promises'
import { blockingTimeout, commandName, isBlocking, isReadOnly, isStateful } from '../commands/index.ts'
import { type Connection, type ExecuteOptions, watchAbort } from '../connection/index.ts'
import {
  type Endpoint,
  heldBytes,
  isMadeUp,
  isRetriable,
  outcomeOf,
  RETRY_MS,
  type ReadFrom,
  type Route,
} from '../endpoint/index.ts'
import { AbortError, ConnectionError, ReplyError, RespoolError, TimeoutError } from '../errors.ts'
import type { Lease } from '../pool/index.ts'
import { type Argument, checkCommand, type Reply } from '../resp/index.ts'
import { executeUnblockably } from './blocking.ts'
import { durableExchange } from './durable.ts'
import { type Exchange, plainExchange } from './exchange.ts'
import { type Session, SessionRead, sessionWrite } from './session.ts'
import { closedError, type Work } from './work.ts'

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

/**
 * @throws {TypeError} at once: an argument that is none, or a command that is not for a shared connection
 */
export function dispatch(
  route: Route,
  work: Work,
  command: readonly Argument[],
  options: DispatchOptions,
): Promise<Reply> {
  checkCommand(command)
  if (isStateful(command)) {
    throw new TypeError(
      `${commandName(command)} changes the state of its connection: borrow one with lease() or use() for it`,
    )
  }
  if (work.isClosing) return Promise.reject(closedError())
  const startedAt = performance.now()
  const owned = ownCommand(command)
  const isPlain = options.durable === undefined && options.session === undefined
  if (!isPlain || isBlocking(command)) {
    const exchange = exchangeOf(owned, options)
    return work.do(() => new Attempts(route, owned, options, exchange, startedAt).run())
  }
  let endpoint: Endpoint | undefined
  try {
    endpoint = route.pick(isReadOnly(command) ? options.readFrom : 'write', options.maxStaleness)
  } catch (error) {
    return Promise.reject(error) // a function that the user gave for readFrom
  }
  if (endpoint === undefined) {
    const exchange = plainExchange(owned, options.readFrom)
    return work.do(() => new Attempts(route, owned, options, exchange, startedAt).run())
  }
  const first = endpoint
  return first.execute(owned, options).catch((error: unknown) => {
    const exchange = plainExchange(owned, options.readFrom)
    const attempts = new Attempts(route, owned, options, exchange, startedAt)
    return work.do(() => attempts.run({ endpoint: first, error }))
  })
}

/**
 * {@link dispatch} of what is more than a command: the exchange sends it.
 *
 * @param command what it amounts to; checked and ours
 * @param startedAt instant of `performance.now()` from which its deadline counts
 */
export function dispatchExchange(
  route: Route,
  work: Work,
  command: readonly Argument[],
  options: DispatchOptions,
  exchange: Exchange,
  startedAt: number,
): Promise<Reply> {
  if (work.isClosing) return Promise.reject(closedError())
  return work.do(() => new Attempts(route, command, options, exchange, startedAt).run())
}

/** @param sent what is sent of it, with what a session and `durable` send besides */
export function exchangeOf(
  command: readonly Argument[],
  options: DispatchOptions,
  sent: Exchange = plainExchange(command, options.readFrom),
): Exchange {
  const { durable, session } = options
  let exchange = sent
  if (isReadOnly(command)) return session === undefined ? exchange : new SessionRead(session, exchange)
  if (durable !== undefined) {
    if (exchange.needsLease)
      throw new TypeError(`${commandName(command)} blocks: option durable is not for it`)
    exchange = durableExchange(exchange, durable)
  }
  return session === undefined ? exchange : sessionWrite(session, exchange)
}

/** The way of one command, all of it or after a first, quick attempt. */
class Attempts {
  readonly #route: Route
  readonly #command: readonly Argument[]
  readonly #options: DispatchOptions
  readonly #exchange: Exchange
  /** Milliseconds for everything; 0 = no limit. A blocking command's own timeout counts in addition. */
  readonly #totalMs: number
  readonly #expiresAt: number
  /** Until when a server that takes it is looked for: a blocking command may wait there for ever, not before. */
  #giveUpAt: number
  /** The attempt whose outcome is not known; if the command was tried again, that stays true of it. */
  #lost: ConnectionError | undefined

  constructor(
    route: Route,
    command: readonly Argument[],
    options: DispatchOptions,
    exchange: Exchange,
    startedAt: number,
  ) {
    this.#route = route
    this.#command = command
    this.#options = options
    this.#exchange = exchange
    this.#totalMs = isBlocking(command) ? totalOf(command, options.timeout) : options.timeout
    this.#expiresAt = this.#totalMs === 0 ? Number.POSITIVE_INFINITY : startedAt + this.#totalMs
    this.#giveUpAt = options.timeout === 0 ? Number.POSITIVE_INFINITY : startedAt + options.timeout
  }

  /** @param failed the first attempt, if it has been made */
  async run(failed?: { readonly endpoint: Endpoint; readonly error: unknown }): Promise<Reply> {
    try {
      if (failed !== undefined) await this.#recover(failed.endpoint, failed.error)
      for (;;) {
        // without a pause where there is one: commands leave in the order in which they are given
        const endpoint = this.#pick() ?? (await this.#hold())
        try {
          const reply = await this.#execute(endpoint)
          if (reply !== undefined) return reply
        } catch (error) {
          await this.#recover(endpoint, error)
        }
      }
    } catch (error) {
      throw this.#lastWord(error)
    }
  }

  #pick(): Endpoint | undefined {
    return this.#route.pick(this.#exchange.target(), this.#options.maxStaleness)
  }

  async #hold(): Promise<Endpoint> {
    const { timeout, signal } = this.#options
    for (;;) {
      await this.#route.hold({
        bytes: heldBytes(this.#command),
        expiresAt: this.#giveUpAt,
        timeout,
        signal,
        target: this.#exchange.target(),
      })
      const endpoint = this.#pick()
      if (endpoint !== undefined) return endpoint
    }
  }

  async #execute(endpoint: Endpoint): Promise<Reply | undefined> {
    const { replies, signal } = this.#options
    const exchange = this.#exchange
    if (!exchange.needsLease) {
      return await exchange.attempt(endpoint, endpoint.address, { replies, signal, timeout: this.#leftMs() })
    }
    const lease = await this.#borrow(endpoint)
    const attempt = (ending: AbortSignal | undefined) =>
      exchange.attempt(lease, endpoint.address, { replies, signal: ending, timeout: this.#leftMs() })
    try {
      if (!endpoint.isFit) throw unfit(endpoint)
      if (signal === undefined || !isBlocking(this.#command)) return await attempt(signal)
      return await executeUnblockably(endpoint, lease.connection, signal, attempt)
    } finally {
      await lease.close()
    }
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

  /** Returns when the command may be tried again; else throws why not. */
  async #recover(endpoint: Endpoint, error: unknown): Promise<void> {
    const { signal, isIdempotent, timeout } = this.#options
    if (!(error instanceof RespoolError) || isMadeUp(error, this.#command)) throw error
    const isMoved = error.code === 'POOL_CLOSED' && endpoint.error !== undefined
    if (this.#route.isClosed) throw isMoved || outcomeOf(error) === 'not-sent' ? closedError(error) : error
    const readsOnly = this.#exchange.isReadOnly ?? isReadOnly(this.#command)
    if (!isMoved && !isRetriable(error, readsOnly || isIdempotent)) throw error
    if (error.mayHaveExecuted && error instanceof ConnectionError) {
      this.#lost = error
      if (this.#exchange.needsLease)
        this.#giveUpAt = Math.min(this.#expiresAt, performance.now() + (timeout || Infinity))
    }
    this.#route.report(endpoint, error)
    // somebody else takes it at once; the same server needs a moment, and then some time to answer in
    const isSame = this.#pick() === endpoint
    const leftMs = this.#giveUpAt - performance.now()
    if (isSame && leftMs > 0) await sleep(Math.min(RETRY_MS, leftMs))
    if (signal?.aborted) throw new AbortError(signal)
    if (performance.now() >= this.#giveUpAt || (isSame && leftMs <= RETRY_MS)) {
      throw new TimeoutError(`not done within ${timeout} ms: ${error.message}`, { timeout, cause: error })
    }
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

/** The caller's bytes may change as soon as it has control again, an attempt may come later. */
function ownCommand(command: readonly Argument[]): readonly Argument[] {
  if (!command.some((argument) => typeof argument === 'object')) return command
  return command.map((argument) => (typeof argument === 'object' ? Buffer.from(argument) : argument))
}
