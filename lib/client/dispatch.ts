// Brings a command to a server and, by the outcome of a failure, to the next one: what was not sent or was
// refused is tried again until the deadline; what may have run only if running it twice does no harm.
//
// Reads go where `readFrom` says, by the command's own flags; blocking commands go over a connection of their
// own, from the pool of the same server; commands that change the state of a connection are not taken here.

import { setTimeout as sleep } from 'node:timers/promises'
import { commandName, isBlocking, isReadOnly, isStateful } from '../commands/index.ts'
import type { ExecuteOptions } from '../connection/index.ts'
import { type Endpoint, isRetriable, RETRY_MS, type ReadFrom, type Route } from '../endpoint/index.ts'
import { AbortError, RespoolError, TimeoutError } from '../errors.ts'
import { type Argument, checkCommand, type Reply } from '../resp/index.ts'

/** How a command is run: what the connection needs to know, and where it may go and go again. */
export interface DispatchOptions extends ExecuteOptions {
  readonly readFrom: ReadFrom
  /** Running it twice does no harm, though it is not read-only. */
  readonly isIdempotent: boolean
  /** Milliseconds for all attempts together; 0 = no limit. */
  readonly timeout: number
}

/**
 * @throws {TypeError} at once: an argument that is none, or a command that is not for a shared connection
 */
export function dispatch(
  route: Route,
  command: readonly Argument[],
  options: DispatchOptions,
): Promise<Reply> {
  checkCommand(command)
  if (isStateful(command)) {
    throw new TypeError(
      `${commandName(command)} changes the state of its connection: borrow one with lease() or use() for it`,
    )
  }
  if (isBlocking(command)) return new Attempts(route, command, options, true).run()
  const isRead = isReadOnly(command)
  const endpoint = route.pick(isRead ? options.readFrom : 'write')
  if (endpoint === undefined) return new Attempts(route, command, options, false).run()
  const owned = ownCommand(command)
  return endpoint
    .execute(owned, options)
    .catch((error: unknown) => new Attempts(route, owned, options, false).goOn(endpoint, error))
}

/** The way of one command after its first, quick attempt. */
class Attempts {
  readonly #route: Route
  readonly #command: readonly Argument[]
  readonly #options: DispatchOptions
  readonly #needsLease: boolean
  readonly #isRead: boolean
  readonly #expiresAt: number

  constructor(route: Route, command: readonly Argument[], options: DispatchOptions, needsLease: boolean) {
    this.#route = route
    this.#command = ownCommand(command)
    this.#options = options
    this.#needsLease = needsLease
    this.#isRead = isReadOnly(command)
    this.#expiresAt = options.timeout === 0 ? Number.POSITIVE_INFINITY : performance.now() + options.timeout
  }

  async run(): Promise<Reply> {
    for (;;) {
      const endpoint = await this.#pick()
      try {
        return await this.#execute(endpoint)
      } catch (error) {
        await this.#recover(endpoint, error)
      }
    }
  }

  /** The first attempt failed at that server. */
  async goOn(endpoint: Endpoint, error: unknown): Promise<Reply> {
    await this.#recover(endpoint, error)
    return await this.run()
  }

  async #pick(): Promise<Endpoint> {
    const { timeout, signal, readFrom } = this.#options
    for (;;) {
      const endpoint = this.#route.pick(this.#isRead ? readFrom : 'write')
      if (endpoint !== undefined) return endpoint
      await this.#route.hold({
        bytes: byteLength(this.#command),
        expiresAt: this.#expiresAt,
        timeout,
        signal,
      })
    }
  }

  #execute(endpoint: Endpoint): Promise<Reply> {
    const { timeout, replies, signal } = this.#options
    if (this.#needsLease) {
      // its deadline is its own timeout and a margin, which the connection knows
      return endpoint.pool.use((lease) => lease.execute(this.#command, { replies, signal }), { signal })
    }
    const left = timeout === 0 ? 0 : Math.max(this.#expiresAt - performance.now(), 1)
    return endpoint.execute(this.#command, { replies, signal, timeout: left })
  }

  /** Returns when the command may be tried again; else throws why not. */
  async #recover(endpoint: Endpoint, error: unknown): Promise<void> {
    const { signal, isIdempotent, timeout } = this.#options
    if (this.#route.isClosed || !(error instanceof RespoolError)) throw error
    const isMoved = endpoint.error !== undefined && !error.mayHaveExecuted
    if (!isMoved && !isRetriable(error, this.#isRead || isIdempotent)) throw error
    this.#route.report(endpoint, error)
    const target = this.#isRead ? this.#options.readFrom : 'write'
    // somebody else takes it at once; the same server needs a moment
    if (this.#route.pick(target) === endpoint) await sleep(RETRY_MS)
    if (signal?.aborted) throw new AbortError(signal)
    if (performance.now() >= this.#expiresAt) {
      throw new TimeoutError(`not done within ${timeout} ms: ${error.message}`, { timeout, cause: error })
    }
  }
}

/** The caller's bytes may change as soon as it has control again, an attempt may come later. */
function ownCommand(command: readonly Argument[]): readonly Argument[] {
  if (!command.some((argument) => typeof argument === 'object')) return command
  return command.map((argument) => (typeof argument === 'object' ? Buffer.from(argument) : argument))
}

/** About what a command takes: exact for bytes, at least for strings. */
function byteLength(command: readonly Argument[]): number {
  let bytes = 0
  for (const argument of command)
    bytes += typeof argument === 'string' ? argument.length : argumentLength(argument)
  return bytes
}

function argumentLength(argument: number | bigint | Uint8Array): number {
  return typeof argument === 'object' ? argument.length : 8
}
