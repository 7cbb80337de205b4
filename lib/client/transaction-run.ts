// The attempts at a transaction that watches keys, on a connection of its own:
//
//   borrow ──► WATCH keys, function(tx) ──► MULTI … EXEC ──► done
//     ▲              ▲                          │
//     │              └──── conflict: a pause ───┤ null
//     └─ connection lost, server replaced ──────┘ nothing was run
//
// Keys that are watched are watched on one connection of one master, and so neither the watch nor what was read outlives
// it: the function is called again, on the next. Only an EXEC that was sent and not answered ends it in doubt. All of
// it has one deadline.

import { setTimeout as sleep } from 'node:timers/promises'
import { type Connection, watchAbort } from '../connection/index.ts'
import { isRetriable, ownCommand, RETRY_MS, RolePool } from '../endpoint/index.ts'
import { AbortError, ConnectionError, ReplyError, RespoolError, TimeoutError } from '../errors.ts'
import type { Lease } from '../pool/index.ts'
import { type Argument, checkCommand } from '../resp/index.ts'
import { BatchExchange, type Ground } from './batch.ts'
import type { DispatchOptions } from './dispatch.ts'
import { lastWord } from './last-word.ts'
import { MultiBatch } from './multi.ts'
import { batchError, type Collected } from './pipeline.ts'
import { Transaction } from './transaction.ts'
import { checkSignal } from './view-options.ts'
import { closedError } from './work.ts'

/** How a transaction is run. */
export interface TransactionOptions {
  /** How often it may meet a change of the watched keys before it is given up; 0 = for ever. @default 10 */
  readonly attempts?: number | undefined
  /** Milliseconds for all of it, the function's own time included; 0 = no limit. @default that of commands */
  readonly timeout?: number | undefined
  /** Gives it up. */
  readonly signal?: AbortSignal | undefined
}

/** Measured: of 20 transactions at a time on one key none needs more than 8; see docs/pipelines.md. */
const DEFAULT_ATTEMPTS = 10
/** The longest pause after a conflict. Pauses are random, so that those that met once do not meet again. */
const MAX_PAUSE_MS = 32
const MAX_TIMEOUT_MS = 2 ** 31 - 1

const KNOWN = new Set(['attempts', 'timeout', 'signal'])

/** What becomes of one attempt; beside that it may throw. */
type Attempt =
  | { readonly is: 'done'; readonly values: unknown[] | undefined }
  | { readonly is: 'conflict' }
  | { readonly is: 'lost'; readonly error: RespoolError }

/**
 * @throws {TypeError} {RangeError} at once: keys, function or options that are none
 * @returns the values of the commands that the function returned; `undefined` if it returned none
 *
 * @internal
 */
export function runTransaction(
  ground: Ground,
  keys: Argument | readonly Argument[],
  work: (tx: Transaction<string | Buffer>) => unknown,
  options: DispatchOptions,
  own: TransactionOptions,
): Promise<unknown[] | undefined> {
  const list: readonly Argument[] = Array.isArray(keys) ? keys : [keys as Argument]
  if (list.length === 0) throw new TypeError('a transaction needs a key to watch: without one, use multi()')
  checkCommand(['WATCH', ...list])
  if (typeof work !== 'function')
    throw new TypeError(`a transaction's function must be a function, got ${typeof work}`)
  if (options.durable !== undefined) throw new TypeError('option durable is not for transactions')
  const attempts = checkOptions(own)
  if (ground.work.isClosing) return Promise.reject(closedError())
  const { timeout = options.timeout, signal = options.signal } = own
  return ground.work.do(() =>
    new TransactionRun(ground, ownCommand(list), work, { ...options, timeout, signal }, attempts).run(),
  )
}

class TransactionRun {
  readonly #ground: Ground
  readonly #keys: readonly Argument[]
  readonly #work: (tx: Transaction<string | Buffer>) => unknown
  readonly #options: DispatchOptions
  readonly #attempts: number
  readonly #expiresAt: number
  /** Aborted with the error that ends all of it: the deadline's, or the caller's signal's. */
  readonly #ending = new AbortController()
  /** The EXEC whose outcome is not known, and that was repeated nevertheless. */
  #lost: ConnectionError | undefined

  constructor(
    ground: Ground,
    keys: readonly Argument[],
    work: (tx: Transaction<string | Buffer>) => unknown,
    options: DispatchOptions,
    attempts: number,
  ) {
    this.#ground = ground
    this.#keys = keys
    this.#work = work
    this.#options = options
    this.#attempts = attempts
    const { timeout } = options
    this.#expiresAt = timeout === 0 ? Number.POSITIVE_INFINITY : performance.now() + timeout
  }

  async run(): Promise<unknown[] | undefined> {
    const { timeout, signal } = this.#options
    const expire = () =>
      this.#ending.abort(new TimeoutError(`the transaction was not done within ${timeout} ms`, { timeout }))
    const timer = timeout === 0 ? undefined : setTimeout(expire, timeout)
    const unwatch = signal && watchAbort(signal, () => this.#ending.abort(new AbortError(signal)))
    try {
      if (signal?.aborted) throw new AbortError(signal)
      return await this.#run()
    } catch (error) {
      throw this.#lastWord(error)
    } finally {
      clearTimeout(timer)
      unwatch?.()
    }
  }

  async #run(): Promise<unknown[] | undefined> {
    let conflicts = 0
    for (let losses = 0; ; losses += 1) {
      const lease = await this.#borrow()
      try {
        let attempt = await this.#attempt(lease)
        while (attempt.is === 'conflict') {
          conflicts += 1
          if (conflicts === this.#attempts) throw conflict(conflicts)
          await this.#pause(Math.random() * Math.min(2 ** conflicts, MAX_PAUSE_MS))
          attempt = await this.#attempt(lease)
        }
        if (attempt.is === 'done') return attempt.values
        await this.#recover(attempt.error, losses)
      } finally {
        const closed = lease.close()
        if (!this.#ending.signal.aborted) await closed
      }
    }
  }

  async #borrow(): Promise<Lease<Connection>> {
    try {
      return await new RolePool(this.#ground.router, 'write', this.#leftMs()).get({
        signal: this.#ending.signal,
      })
    } catch (error) {
      this.#ending.signal.throwIfAborted()
      throw error
    }
  }

  async #attempt(lease: Lease<Connection>): Promise<Attempt> {
    const { replies, isIdempotent } = this.#options
    const { signal } = this.#ending
    const tx = new Transaction<string | Buffer>(
      { line: lease, replies, signal, leftMs: () => this.#leftMs() },
      this.#keys,
    )
    let collected: Collected | undefined
    try {
      collected = tx.collected(await this.#within(this.#call(tx), lease))
      if (collected === undefined) return { is: 'done', values: undefined }
      await tx.watched()
    } catch (error) {
      signal.throwIfAborted()
      // what was read on a connection that is gone can be read again
      if (tx.gave(error) && error instanceof RespoolError && isRetriable(error, true))
        return { is: 'lost', error }
      throw error
    } finally {
      tx.end()
    }
    const batch = new MultiBatch(collected.commands, collected.isRead || isIdempotent)
    const error = await this.#execute(lease, batch)
    if (error === undefined) return valuesOf(collected, batch)
    if (!(error instanceof RespoolError) || !isRetriable(error, batch.isRepeatable)) throw error
    if (error.mayHaveExecuted && error instanceof ConnectionError) this.#lost = error
    return { is: 'lost', error }
  }

  /** What nothing was executed for, or nobody knows; `undefined`: EXEC was answered. */
  async #execute(lease: Lease<Connection>, batch: MultiBatch): Promise<unknown> {
    const { replies } = this.#options
    const own = { replies, signal: this.#ending.signal, timeout: this.#leftMs() }
    const exchange = new BatchExchange(batch, false, this.#options)
    try {
      await exchange.attempt(lease, lease.connection.address, own)
      return undefined
    } catch (error) {
      return error
    }
  }

  /** Calls the function; what it throws at once is a rejection. */
  async #call(tx: Transaction<string | Buffer>): Promise<unknown> {
    return await this.#work(tx)
  }

  /** What the function's promise gives, unless the end of it all, or of the client, comes first. */
  async #within(result: Promise<unknown>, { connection }: Lease<Connection>): Promise<unknown> {
    const { signal } = this.#ending
    let unwatch: (() => void)[] = []
    const end = new Promise<never>((_, reject) => {
      const destroyed = () => {
        if (this.#ground.router.isClosed) reject(closedError(connection.error))
      }
      unwatch = [watchAbort(signal, () => reject(signal.reason)), watchEnd(connection, destroyed)]
    })
    result.catch(() => undefined) // it may come when nobody waits any more
    try {
      signal.throwIfAborted()
      return await Promise.race([result, end])
    } finally {
      for (const forget of unwatch) forget()
    }
  }

  /** Returns when a new connection may be tried; the informer of the endpoint has told the router why. */
  async #recover(error: RespoolError, losses: number): Promise<void> {
    if (this.#ground.router.isClosed) throw error.mayHaveExecuted ? error : closedError(error)
    // a connection that was lost is replaced at once; a server that refuses, or goes on dying, needs a moment
    if (error instanceof ReplyError || losses > 0) await this.#pause(RETRY_MS)
  }

  async #pause(pauseMs: number): Promise<void> {
    const { signal } = this.#ending
    await sleep(pauseMs, undefined, { signal }).catch(() => undefined)
    signal.throwIfAborted()
  }

  #leftMs(): number {
    return this.#options.timeout === 0 ? 0 : Math.max(Math.ceil(this.#expiresAt - performance.now()), 1)
  }

  #lastWord(error: unknown): unknown {
    if (!(error instanceof RespoolError) || error instanceof ReplyError) return error
    const { signal } = this.#ending
    // a connection knows only of our signal
    const isOurs = error instanceof AbortError && error.cause === signal.reason
    const { mayHaveExecuted } = error
    return lastWord(isOurs ? this.#ended(mayHaveExecuted) : error, this.#options, this.#lost)
  }

  /** Why all of it ended, as the error of an EXEC that had been sent, or of none. */
  #ended(mayHaveExecuted: boolean): RespoolError {
    const { reason } = this.#ending.signal
    const { signal } = this.#options
    if (reason instanceof AbortError && signal !== undefined)
      return new AbortError(signal, { mayHaveExecuted })
    const { message, timeout } = reason as TimeoutError
    return new TimeoutError(message, { timeout, mayHaveExecuted })
  }
}

/** Who is to be told of the end of a connection: it outlives them by far, and its promise would keep them all. */
const endWatches = new WeakMap<Connection, Set<() => void>>()

/** Calls back when the connection has ended; the function returned puts an end to that. */
function watchEnd(connection: Connection, callback: () => void): () => void {
  const waiting = endWatches.get(connection) ?? beginWatch(connection)
  waiting.add(callback)
  return () => void waiting.delete(callback)
}

function beginWatch(connection: Connection): Set<() => void> {
  const waiting = new Set<() => void>()
  endWatches.set(connection, waiting)
  void connection.closed.then(() => {
    for (const callback of waiting) callback()
  })
  return waiting
}

function valuesOf(collected: Collected, { results }: MultiBatch): Attempt {
  if (results === undefined) return { is: 'conflict' }
  const values = collected.shape(results)
  const index = values.findIndex((value) => value instanceof Error)
  if (index >= 0) throw batchError(collected.commands, values, index)
  return { is: 'done', values }
}

function conflict(count: number): RespoolError {
  const times = count === 1 ? 'once' : `${count} times`
  const message = `the watched keys were changed by others ${times}, and so many attempts were allowed`
  return new RespoolError('TRANSACTION_CONFLICT', message)
}

/** @throws {TypeError} {RangeError} @returns how many attempts */
function checkOptions(options: TransactionOptions): number {
  if (options === null || typeof options !== 'object')
    throw new TypeError('transaction options must be an object')
  for (const name of Object.keys(options)) {
    if (!KNOWN.has(name)) throw new TypeError(`unknown transaction option '${name}'`)
  }
  const { attempts = DEFAULT_ATTEMPTS, timeout = 0, signal } = options
  if (!(Number.isInteger(attempts) && attempts >= 0))
    throw new RangeError(`option attempts must be an integer from 0, got ${String(attempts)}`)
  if (typeof timeout !== 'number' || !(timeout >= 0 && timeout <= MAX_TIMEOUT_MS)) {
    throw new RangeError(
      `option timeout must be from 0 to ${MAX_TIMEOUT_MS} milliseconds, got ${String(timeout)}`,
    )
  }
  checkSignal(signal)
  return attempts
}
