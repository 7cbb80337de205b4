// Brings commands that were collected to a server, in one piece, and by the outcomes to the next one. The outcome rule
// is that of attempts.ts, and the order of the commands is kept beside it:
//
//   outcomes   v v v ✗ v ✗ …      what failed first, and may be tried again, is tried again with all behind it,
//                    └──tail──     or not at all: if each command of the tail either certainly did not run or may
//                                  run twice
//
// So no command overtakes another, and none runs twice that must not. All attempts share one deadline, and all of a
// batch waits for a server as one.

import { setTimeout as sleep } from 'node:timers/promises'
import { isReadOnly } from '../commands/index.ts'
import {
  type Endpoint,
  heldBytes,
  isRetriable,
  outcomeOf,
  RETRY_MS,
  type ReadFrom,
} from '../endpoint/index.ts'
import { AbortError, ConnectionError, ReplyError, RespoolError, TimeoutError } from '../errors.ts'
import type { Argument, Reply } from '../resp/index.ts'
import type { DispatchOptions } from './dispatch.ts'
import type { AttemptOptions, Exchange, Line } from './exchange.ts'
import type { Router } from './router.ts'
import { SessionRead, sessionWrite } from './session.ts'
import { closedError, type Work } from './work.ts'

/**
 * What commands of a client stand on.
 *
 * @internal
 */
export interface Ground {
  readonly router: Router
  readonly work: Work
}

/**
 * What is sent in one piece, perhaps more than once.
 *
 * @internal
 */
export interface Batch {
  /** What the next attempt sends. */
  readonly commands: readonly (readonly Argument[])[]
  /** Whether that may be sent again though the last attempt was lost. */
  readonly isRepeatable: boolean
  /**
   * Takes the outcomes of an attempt.
   *
   * @param lastWord what an error is called in the end
   * @returns what to recover from before the next attempt; `undefined`: it is over
   * @throws what all of it failed with, for good
   */
  take(outcomes: (Reply | Error)[], lastWord: (error: Error) => Error): Error | undefined
}

/**
 * A connection, or a server's shared one.
 *
 * @internal
 */
export interface BatchLine extends Line {
  executeAll(commands: readonly (readonly Argument[])[], options?: AttemptOptions): Promise<(Reply | Error)[]>
}

/**
 * Runs the commands in order, each for itself.
 *
 * @returns the outcome of each
 * @throws what nothing of it was sent for
 *
 * @internal
 */
export async function runPipeline(
  ground: Ground,
  commands: readonly (readonly Argument[])[],
  options: DispatchOptions,
): Promise<(Reply | Error)[]> {
  const batch = new PipelineBatch(commands, options.isIdempotent)
  try {
    await runBatch(ground, batch, areReads(commands), options)
  } catch (error) {
    batch.fail(error)
  }
  return batch.results
}

/**
 * Whether a replica can serve all of them.
 *
 * @internal
 */
export function areReads(commands: readonly (readonly Argument[])[]): boolean {
  return commands.every(isReadOnly)
}

/**
 * Sends a batch until it is over.
 *
 * @internal
 */
export function runBatch(
  { router, work }: Ground,
  batch: Batch,
  isRead: boolean,
  options: DispatchOptions,
): Promise<void> {
  if (work.isClosing) return Promise.reject(closedError())
  return work.do(() => new BatchAttempts(router, batch, isRead, options).run())
}

/**
 * One attempt at a batch, with what a session sends beside it. What it gives are the outcomes, not one reply.
 *
 * @internal
 */
export function batchExchange(batch: Batch, isRead: boolean, options: DispatchOptions): Exchange {
  const target: 'write' | ReadFrom = isRead ? options.readFrom : 'write'
  const plain: Exchange = {
    needsLease: false,
    target: () => target,
    // a session passes on what it is given
    attempt: (line, _, own) => (line as BatchLine).executeAll(batch.commands, own) as Promise<Reply>,
  }
  const { session } = options
  if (session === undefined) return plain
  return isRead ? new SessionRead(session, plain) : sessionWrite(session, plain)
}

/** Outcomes of commands that are each for themselves. */
class PipelineBatch implements Batch {
  /** Of all commands; those behind {@link from} are not final. */
  results: (Reply | Error)[] = []
  /** Each command of the tail was judged for itself. */
  isRepeatable = false
  readonly #all: readonly (readonly Argument[])[]
  readonly #isIdempotent: boolean
  /** Where the tail begins. */
  #from = 0

  constructor(commands: readonly (readonly Argument[])[], isIdempotent: boolean) {
    this.#all = commands
    this.#isIdempotent = isIdempotent
  }

  get commands(): readonly (readonly Argument[])[] {
    return this.#from === 0 ? this.#all : this.#all.slice(this.#from)
  }

  take(outcomes: (Reply | Error)[], lastWord: (error: Error) => Error): Error | undefined {
    if (this.#from === 0) this.results = outcomes
    else {
      this.results.length = this.#from
      for (const outcome of outcomes) this.results.push(outcome)
    }
    const first = outcomes.findIndex((it) => it instanceof Error && isRetriable(it, true))
    if (first >= 0 && outcomes.every((it, at) => at < first || this.#mayRun(it, this.#from + at))) {
      this.#from += first
      this.isRepeatable = true
      const last = outcomes.at(-1)
      // what was lost is at the end, and says more than a refusal before it
      return (last instanceof ConnectionError ? last : outcomes[first]) as Error
    }
    this.#finish(lastWord)
    const [only] = this.results
    if (isUnsent(only) && this.results.every((it) => it === only)) throw only
    return undefined
  }

  /** @throws the error, if nothing ever was sent */
  fail(error: unknown): void {
    if (!(error instanceof RespoolError) || (this.#from === 0 && !error.mayHaveExecuted)) throw error
    this.results.length = this.#from
    while (this.results.length < this.#all.length) this.results.push(error)
  }

  /** Whether the command at that place may be run, after that outcome. */
  #mayRun(outcome: Reply | Error, place: number): boolean {
    const isRepeatable = this.#isIdempotent || isReadOnly(this.#all[place] as readonly Argument[])
    if (outcome instanceof Error && isRetriable(outcome, isRepeatable)) return true
    // a deadline or a signal is the caller's last word
    const isAnswer = !(outcome instanceof Error) || outcome instanceof ReplyError
    return isAnswer && isRepeatable
  }

  /** Most of the errors are one and the same, and stay that. */
  #finish(lastWord: (error: Error) => Error): void {
    let last: Error | undefined
    let word: Error | undefined
    for (let at = this.#from; at < this.results.length; at += 1) {
      const result = this.results[at]
      if (!(result instanceof Error)) continue
      if (result !== last) {
        last = result
        word = lastWord(result)
      }
      this.results[at] = word as Error
    }
  }
}

/** The attempts at one batch. */
class BatchAttempts {
  readonly #router: Router
  readonly #batch: Batch
  readonly #options: DispatchOptions
  readonly #exchange: Exchange
  readonly #expiresAt: number
  /** The attempt whose outcome is not known; if it was tried again, that stays true. */
  #lost: ConnectionError | undefined

  constructor(router: Router, batch: Batch, isRead: boolean, options: DispatchOptions) {
    this.#router = router
    this.#batch = batch
    this.#options = options
    this.#exchange = batchExchange(batch, isRead, options)
    const { timeout } = options
    this.#expiresAt = timeout === 0 ? Number.POSITIVE_INFINITY : performance.now() + timeout
  }

  async run(): Promise<void> {
    try {
      for (;;) {
        // without a pause where there is one: what is given leaves in that order
        const endpoint = this.#pick() ?? (await this.#hold())
        const failure = await this.#attempt(endpoint)
        if (failure === DONE) return
        if (failure !== undefined) await this.#recover(endpoint, failure)
      }
    } catch (error) {
      throw this.#lastWord(error)
    }
  }

  #pick(): Endpoint | undefined {
    return this.#router.pick(this.#exchange.target(), this.#options.maxStaleness)
  }

  async #hold(): Promise<Endpoint> {
    const { timeout, signal } = this.#options
    const { commands } = this.#batch
    const bytes = commands.reduce((sum, command) => sum + heldBytes(command), 0)
    for (;;) {
      await this.#router.hold({
        bytes,
        count: commands.length,
        expiresAt: this.#expiresAt,
        timeout,
        signal,
        target: () => this.#exchange.target(),
      })
      const endpoint = this.#pick()
      if (endpoint !== undefined) return endpoint
    }
  }

  /** What to recover from, or that it is over; `undefined`: another server is to be asked. */
  async #attempt(endpoint: Endpoint): Promise<unknown> {
    const { replies, signal, timeout } = this.#options
    const leftMs = timeout === 0 ? 0 : Math.max(Math.ceil(this.#expiresAt - performance.now()), 1)
    let outcomes: unknown
    try {
      outcomes = await this.#exchange.attempt(endpoint, endpoint.address, {
        replies,
        signal,
        timeout: leftMs,
      })
    } catch (error) {
      return error // nothing of it was taken
    }
    if (outcomes === undefined) return undefined
    const lastWord = (error: Error): Error => this.#lastWord(error) as Error
    return this.#batch.take(outcomes as (Reply | Error)[], lastWord) ?? DONE
  }

  /** Returns when the batch may be tried again; else throws why not. */
  async #recover(endpoint: Endpoint, error: unknown): Promise<void> {
    const { signal, timeout } = this.#options
    if (!(error instanceof RespoolError)) throw error
    if (this.#router.isClosed) throw outcomeOf(error) === 'not-sent' ? closedError(error) : error
    if (!isRetriable(error, this.#batch.isRepeatable)) throw error
    if (error.mayHaveExecuted && error instanceof ConnectionError) this.#lost = error
    this.#router.report(endpoint, error)
    // somebody else takes it at once; the same server needs a moment, and then some time to answer in
    const isSame = this.#pick() === endpoint
    const leftMs = this.#expiresAt - performance.now()
    if (isSame && leftMs > 0) await sleep(Math.min(RETRY_MS, leftMs))
    if (signal?.aborted) throw new AbortError(signal)
    if (performance.now() >= this.#expiresAt || (isSame && leftMs <= RETRY_MS))
      throw new TimeoutError(`not done within ${timeout} ms: ${error.message}`, { timeout, cause: error })
  }

  /** An error as that of the whole: with the deadline as it was set, and the true outcome. */
  #lastWord(error: unknown): unknown {
    if (!(error instanceof RespoolError) || error instanceof ReplyError) return error
    return inTheEnd(error, this.#options, this.#lost)
  }
}

const DONE = Symbol('done')

/**
 * @param lost the attempt whose outcome is not known
 *
 * @internal
 */
export function inTheEnd(
  error: RespoolError,
  { timeout, signal }: DispatchOptions,
  lost: ConnectionError | undefined,
): RespoolError {
  const mayHaveExecuted = error.mayHaveExecuted || lost !== undefined
  if (error instanceof TimeoutError) {
    if (error.timeout === timeout && mayHaveExecuted === error.mayHaveExecuted) return error
    const message =
      error.timeout === timeout ? error.message : `not done within ${timeout} ms: ${error.message}`
    return new TimeoutError(message, { timeout, cause: error, mayHaveExecuted })
  }
  if (lost === undefined || error.mayHaveExecuted) return error
  if (error instanceof AbortError && signal !== undefined) return new AbortError(signal, { mayHaveExecuted })
  const { code, address, phase } = lost
  const message = `${lost.message}; tried again, but: ${error.message}`
  return new ConnectionError(code as 'CONNECTION_LOST', message, {
    address,
    phase,
    mayHaveExecuted,
    cause: error,
  })
}

/** What a command ended with that certainly was not sent. */
function isUnsent(outcome: unknown): outcome is Error {
  return outcome instanceof RespoolError && !(outcome instanceof ReplyError) && !outcome.mayHaveExecuted
}
