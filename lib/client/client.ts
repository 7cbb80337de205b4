// What users call: commands over whatever the router stands for. A view made by `with()` shares everything with
// its client but the settings of the single command.

import { EventEmitter } from 'node:events'
import type { Connection } from '../connection/index.ts'
import {
  checkMaxStaleness,
  checkReadFrom,
  type EndpointStats,
  type ReadFrom,
  RolePool,
} from '../endpoint/index.ts'
import { PoolError } from '../errors.ts'
import type { Lease } from '../pool/index.ts'
import type { Argument, Reply } from '../resp/index.ts'
import { type SentinelEvents, SentinelRouter, type Topology } from '../sentinel/index.ts'
import { type DispatchOptions, dispatch } from './dispatch.ts'
import { type ClientOptions, resolveClientOptions } from './options.ts'
import type { Router } from './router.ts'
import { SingleRouter } from './single-router.ts'
import { closedError, Work } from './work.ts'

/** How the commands of a view differ from the client's settings. */
export interface CommandOptions {
  /** Strings in replies as strings or as `Buffer`. @default 'string' */
  readonly replies?: 'string' | 'buffer' | undefined
  /** Milliseconds for all attempts at a command together; 0 = no limit. @default the client's `commandTimeout` */
  readonly timeout?: number | undefined
  /** Gives up whatever is under way. */
  readonly signal?: AbortSignal | undefined
  /** Where read-only commands go. @default the client's `readFrom` */
  readonly readFrom?: ReadFrom | undefined
  /** How old what replicas give may be; see {@link SentinelOptions.maxStaleness}. @default the client's `maxStaleness` */
  readonly maxStaleness?: number | undefined
  /** Running the command twice does no harm, so it may be tried again when its outcome is unknown. @default false */
  readonly idempotent?: boolean | undefined
}

const COMMAND_OPTIONS = new Set(['replies', 'timeout', 'signal', 'readFrom', 'maxStaleness', 'idempotent'])

/** Commands with settings of their own: what `with()` gives. */
export class CommandView {
  readonly #router: Router
  readonly #work: Work
  readonly #options: DispatchOptions

  /** For {@link Client}. */
  constructor(router: Router, work: Work, options: DispatchOptions) {
    this.#router = router
    this.#work = work
    this.#options = options
  }

  /**
   * Runs any command: `call('SET', 'key', 'value', 'EX', 10)`. Read-only commands go where `readFrom` says, all
   * others to the master; blocking ones over a connection of their own. What was not sent, or was refused by a
   * server that is not the right one (any more), is tried again until the deadline.
   *
   * @returns the reply: maps as `Map`, sets as `Set`, integers beyond the safe range as `bigint`
   * @throws {ReplyError} the server's error reply
   * @throws {TimeoutError} `COMMAND_TIMEOUT`
   * @throws {ConnectionError} with `mayHaveExecuted: true`: sent, and no reply seen
   * @throws {PoolError} `QUEUE_FULL`, `CLIENT_CLOSED`
   * @throws {SentinelError} `MASTER_UNKNOWN`
   * @throws {AbortError} `ABORT_ERR`
   * @throws {TypeError} at once: an argument that is none, a command that changes the state of its connection
   */
  call(name: string, ...args: Argument[]): Promise<Reply> {
    return dispatch(this.#router, this.#work, [name, ...args], this.#options)
  }

  /** A view with other settings; cheap, and with the same methods. */
  with(options: CommandOptions): CommandView {
    return new CommandView(this.#router, this.#work, merge(this.#options, options))
  }
}

/**
 * A client of one server or of a Sentinel deployment. Connects on first use.
 *
 * @example
 * const redis = createClient({ sentinel: { name: 'localmaster', sentinels: ['127.0.0.1:26379'] } })
 * await redis.call('SET', 'key', 'value')
 * await redis.close()
 */
export class Client extends EventEmitter<SentinelEvents> {
  readonly #router: Router
  readonly #work = new Work()
  readonly #view: CommandView
  readonly #commandTimeout: number

  /** For {@link createClient}. */
  constructor(options: ClientOptions | string | URL) {
    super()
    const resolved = resolveClientOptions(options)
    this.#commandTimeout = resolved.commandTimeout
    this.#router =
      resolved.kind === 'single'
        ? new SingleRouter(resolved.address, resolved.endpoint)
        : new SentinelRouter(resolved.sentinel, {
            onSwitch: (event) => this.emit('switch', event),
            onTopology: (topology) => this.emit('topology', topology),
          })
    this.#view = new CommandView(this.#router, this.#work, {
      readFrom: resolved.readFrom,
      timeout: resolved.commandTimeout,
      isIdempotent: false,
    })
  }

  /** Who is master and who are the replicas; `undefined` for a client of one server. */
  get topology(): Topology | undefined {
    return this.#router.topology
  }

  /** See {@link CommandView.call}. */
  call(name: string, ...args: Argument[]): Promise<Reply> {
    return this.#view.call(name, ...args)
  }

  /** See {@link CommandView.with}. */
  with(options: CommandOptions): CommandView {
    return this.#view.with(options)
  }

  /**
   * Resolves when the server, or the master, has been reached.
   *
   * @throws what a command throws that finds nobody within the deadline
   */
  async ready({ signal }: { readonly signal?: AbortSignal | undefined } = {}): Promise<void> {
    await dispatch(this.#router, this.#work, ['PING'], {
      readFrom: 'master',
      timeout: this.#commandTimeout,
      isIdempotent: true,
      signal,
    })
  }

  /**
   * Borrows a connection of one's own, for WATCH, MULTI, SUBSCRIBE and whatever else changes a connection's
   * state. Give it back with `lease.close()`. It dies with `FENCED` when its server is replaced.
   *
   * @param options `readFrom`: whose connection. @default 'master', which waits while a failover is under way
   * @throws what {@link RolePool.get} throws
   */
  async lease(
    options: { readonly readFrom?: ReadFrom; readonly signal?: AbortSignal } = {},
  ): Promise<Lease<Connection>> {
    const { readFrom = 'master', signal } = options
    checkReadFrom(readFrom)
    if (this.#work.isClosing) throw closedError()
    const target = readFrom === 'master' ? 'write' : readFrom // to write is what it is borrowed for, as a rule
    return await new RolePool(this.#router, target, this.#commandTimeout).get({ signal })
  }

  /** Borrows, runs, gives back, whatever comes of it. */
  async use<R>(
    work: (lease: Lease<Connection>) => R | Promise<R>,
    options?: { readonly readFrom?: ReadFrom; readonly signal?: AbortSignal },
  ): Promise<R> {
    const lease = await this.lease(options)
    try {
      return await work(lease)
    } finally {
      await lease.close()
    }
  }

  /** What is held open to each server. */
  stats(): { readonly master: EndpointStats | undefined; readonly replicas: readonly EndpointStats[] } {
    return this.#router.stats()
  }

  /**
   * Finishes the work: nothing new is taken; what is in flight, waits for a server, or is lent is waited for.
   * Commands end within their deadlines, so with one that nobody answers this takes as long.
   */
  async close(): Promise<void> {
    await this.#work.finish()
    await this.#router.close()
  }

  /** Fails the work: all connections are destroyed, lent ones too. */
  destroy(error: Error = new PoolError('CLIENT_CLOSED', 'the client was destroyed')): void {
    this.#router.destroy(error)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }
}

/**
 * A client of one server (`redis://…`, `rediss://…`, `redis+unix://…` or options) or of a Sentinel deployment
 * (`redis+sentinel://…` or option `sentinel`). Returns at once and connects on first use; the caller closes it.
 *
 * @throws {TypeError} {RangeError} an option that is wrong
 */
export function createClient(options: ClientOptions | string | URL = {}): Client {
  return new Client(options)
}

function merge(base: DispatchOptions, options: CommandOptions): DispatchOptions {
  if (options === null || typeof options !== 'object')
    throw new TypeError('command options must be an object')
  for (const name of Object.keys(options)) {
    if (!COMMAND_OPTIONS.has(name)) throw new TypeError(`unknown command option '${name}'`)
  }
  const {
    readFrom = base.readFrom,
    maxStaleness = base.maxStaleness,
    timeout = base.timeout,
    replies = base.replies,
    signal = base.signal,
    idempotent = base.isIdempotent,
  } = options
  checkReadFrom(readFrom)
  if (maxStaleness !== undefined) checkMaxStaleness(maxStaleness)
  if (typeof timeout !== 'number' || !(timeout >= 0 && timeout <= 2 ** 31 - 1)) {
    throw new RangeError(
      `option timeout must be from 0 to ${2 ** 31 - 1} milliseconds, got ${String(timeout)}`,
    )
  }
  if (replies !== undefined && replies !== 'string' && replies !== 'buffer') {
    throw new RangeError(`option replies must be 'string' or 'buffer', got ${JSON.stringify(replies)}`)
  }
  if (signal !== undefined && !(signal instanceof AbortSignal)) {
    throw new TypeError('option signal must be an AbortSignal')
  }
  if (typeof idempotent !== 'boolean') {
    throw new TypeError(`option idempotent must be a boolean, got ${typeof idempotent}`)
  }
  return { readFrom, maxStaleness, timeout, replies, signal, isIdempotent: idempotent }
}
