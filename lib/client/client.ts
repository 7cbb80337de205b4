// What users call: commands over whatever the router stands for. A view made by `with()` shares everything with
// its client but the settings of the single command.

import type { Connection } from '../connection/index.ts'
import {
  checkMaxStaleness,
  checkReadFrom,
  type LazyLease,
  type LeaseOptions,
  type ReadFrom,
  RolePool,
} from '../endpoint/index.ts'
import { PoolError } from '../errors.ts'
import type { Lease } from '../pool/index.ts'
import type { Argument, Reply } from '../resp/index.ts'
import { BoundEmitter, type SentinelEvents, SentinelRouter, type Topology } from '../sentinel/index.ts'
import type { Commands } from './commands.gen.ts'
import { Dispatcher, type DispatchOptions, dispatch } from './dispatch.ts'
import { checkDurable } from './durable.ts'
import { contextualEmit } from './listeners.ts'
import { defineMethods } from './methods.ts'
import { runMulti } from './multi.ts'
import { type ClientOptions, resolveClientOptions } from './options.ts'
import { Pipeline, type PipelineHost } from './pipeline.ts'
import { type Ground, runPipeline } from './pipeline-run.ts'
import type { Shaper } from './replies.ts'
import type { Router, RouterStats } from './router.ts'
import { type ScanIterator, scanIterator } from './scan.ts'
import type { KeyScanOptions, ScanOptions } from './scan-options.ts'
import { defineScript, type Script } from './script.ts'
import type { Caller } from './script-call.ts'
import { defineLibrary, type FunctionCalls } from './script-library.ts'
import type { FunctionTable, KeyCount, LibraryOptions, ScriptOptions } from './script-options.ts'
import { Session, type SessionOptions } from './session.ts'
import { SingleRouter } from './single-router.ts'
import { type MessageListener, Subscribers } from './subscribers.ts'
import type { Subscription } from './subscription.ts'
import type { SubscriptionIterator } from './subscription-iterator.ts'
import type { Gap, Replies, SubscribeOptions, SubscriptionOptions } from './subscription-options.ts'
import type { Transaction, TransactionEnd, TransactionResult } from './transaction.ts'
import { runTransaction, type TransactionOptions } from './transaction-run.ts'
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
  /**
   * A write is done when so many replicas have acknowledged it: 1 or more, within `timeout`, which must not be 0. It
   * goes over a connection of its own, from the master's pool. Read-only commands are as ever; those that block throw
   * a `TypeError`. @default off
   */
  readonly durable?: number | undefined
}

/** Whose connection a lease is of, and how it is lent. */
export interface ClientLeaseOptions extends LeaseOptions {
  readonly readFrom?: ReadFrom | undefined
}

const COMMAND_OPTIONS = new Set([
  'replies',
  'timeout',
  'signal',
  'readFrom',
  'maxStaleness',
  'idempotent',
  'durable',
])

const LEASE_OPTIONS = new Set(['readFrom', 'signal', 'lazy'])

/** What the typed commands of a view do, and of its client through its own view. */
let runTyped: (view: CommandView, command: Argument[], shaper: Shaper | undefined) => Promise<unknown>

/** Commands with settings of their own: what `with()` gives. `T` is what strings in replies are. */
export interface CommandView<T extends string | Buffer = string> extends Commands<T> {}

// biome-ignore lint/suspicious/noUnsafeDeclarationMerging: the methods of Commands are there, by defineMethods() below
export class CommandView<T extends string | Buffer = string> {
  static {
    runTyped = (view, command, shaper) => {
      const shape = shaper?.(command, view.#options.replies === 'buffer')
      if (shape === undefined) return view.#dispatcher.dispatch(command)
      return view.#dispatcher.dispatch(command, true).then(shape)
    }
    defineMethods(CommandView.prototype, runTyped)
  }

  readonly #router: Router
  readonly #work: Work
  readonly #options: DispatchOptions
  readonly #dispatcher: Dispatcher

  /** For {@link Client}. */
  /** @internal A client makes them. */
  constructor(router: Router, work: Work, options: DispatchOptions) {
    this.#router = router
    this.#work = work
    this.#options = options
    this.#dispatcher = new Dispatcher(router, work, options)
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
   * @throws {DurabilityError} `NOT_DURABLE`: it ran, but too few replicas acknowledged it; with option `durable`
   * @throws {AbortError} `ABORT_ERR`
   * @throws {TypeError} at once: an argument that is none, a command that changes the state of its connection
   */
  call(...command: [name: string, ...args: Argument[]]): Promise<Reply> {
    return this.#dispatcher.dispatch(command)
  }

  /**
   * Begins a chain of commands that are sent in one piece and have one promise:
   * `const [a, n] = await redis.pipeline().get('a').incr('n').exec()`. With reads only it goes where `readFrom` says,
   * else all of it to the master. Each command has an outcome of its own; they are not a transaction.
   *
   * @typeParam R what a loop adds, which no chain tells: `pipeline<(string | null)[]>()`
   * @throws {TypeError} at once: the view is `durable`
   * @see docs/pipelines.md
   */
  pipeline<R extends unknown[] = []>(): Pipeline<R, T> {
    return new Pipeline(this.#hostOf('pipeline', runPipeline))
  }

  /**
   * The same as a transaction: MULTI, the commands, EXEC. All are run with nothing between them, or none is.
   *
   * @throws {TypeError} at once: the view is `durable`
   * @see docs/pipelines.md
   */
  multi<R extends unknown[] = []>(): Pipeline<R, T, 'multi'> {
    return new Pipeline(this.#hostOf('multi', runMulti))
  }

  /**
   * Reads, then writes if nobody has changed what was read: WATCH, MULTI, EXEC on a connection of its own. The function
   * is called again when a watched key was changed meanwhile, and when its server was replaced.
   *
   * @param keys what is watched, before the first read
   * @param work reads with `tx`, and returns the chain of `tx.multi()` that is to be executed, or nothing; it may be
   *   called more than once
   * @returns the values of the chain's commands; `undefined` if there was none
   * @throws {RespoolError} `TRANSACTION_CONFLICT`, `BATCH_FAILED`
   * @throws what {@link CommandView.call} and {@link Client.lease} throw, and what `work` throws
   * @throws {TypeError} {RangeError} at once: keys, function or options that are none
   * @see docs/pipelines.md
   * @example
   * await redis.transaction('stock', async (tx) => {
   *   if (Number(await tx.get('stock')) < 1) return
   *   return tx.multi().decr('stock').rpush('orders', 'id')
   * }) // [7, 12], or undefined
   */
  transaction<E extends TransactionEnd>(
    keys: Argument | readonly Argument[],
    work: (tx: Transaction<T>) => E | Promise<E>,
    options: TransactionOptions = {},
  ): Promise<TransactionResult<E>> {
    const values = runTransaction(this.#ground, keys, work as never, this.#options, options)
    return values as Promise<TransactionResult<E>>
  }

  /** A view with other settings; cheap, and with the same methods. That of a session belongs to the session. */
  with(options: CommandOptions & { readonly replies: 'buffer' }): CommandView<Buffer>
  with(options: CommandOptions & { readonly replies: 'string' }): CommandView<string>
  with(options: CommandOptions & { readonly replies?: undefined }): CommandView<T>
  with(options: CommandOptions): CommandView<string | Buffer>
  with(options: CommandOptions): CommandView<string | Buffer> {
    return new CommandView(this.#router, this.#work, merge(this.#options, options))
  }

  /**
   * A view whose reads see its own writes, wherever `readFrom` sends them: a replica's value is taken only if the replica
   * has all that the session wrote; else the master is asked. Cheap, and nothing to close. See docs/consistency.md.
   *
   * @param options `after`: the `token` of an earlier session, whose writes this one's reads shall see as well
   * @throws {TypeError} `after` is no token
   * @example
   * const s = redis.session()
   * await s.call('SET', 'name', 'Ada')
   * await s.with({ readFrom: 'replica' }).call('GET', 'name') // 'Ada'
   */
  session(options?: SessionOptions): CommandView<T> {
    const session = new Session(options)
    return new CommandView(this.#router, this.#work, { ...this.#options, session })
  }

  /**
   * Defines a script that runs on the server: once, to be called as often as one likes. It is called by its hash, and sent
   * in full where a server does not have it. It counts as a write, unless it is `readOnly`. See docs/scripts.md.
   *
   * @returns a function of keys and arguments, with a `with()` of its own
   * @throws {TypeError} {RangeError} at once: an option that is wrong
   * @example
   * const addUpTo = redis.script({
   *   lua: `local n = redis.call('INCR', KEYS[1]) return math.min(n, ARGV[1])`,
   *   keys: 1,
   *   parse: Number,
   * })
   * await addUpTo(['visits'], [100])
   */
  script<K extends KeyCount, R = Reply>(options: ScriptOptions<K, R>): Script<K, R> {
    return defineScript(callerOf(this.#router, this.#work, this.#options), options)
  }

  /**
   * Defines a library of functions that run on the server (Redis 7, Valkey): each is called by its name, and the library
   * is loaded, replacing what has its name, where a function is found to be missing. See docs/scripts.md.
   *
   * @returns the functions that `functions` names, each as {@link script} gives one
   * @throws {TypeError} {RangeError} at once: an option that is wrong
   */
  functions<const F extends FunctionTable>(options: LibraryOptions<F>): FunctionCalls<F> {
    return defineLibrary(callerOf(this.#router, this.#work, this.#options), options)
  }

  /**
   * All keys of the database, for a `for await` loop: page by page, at the consumer's pace. As the server's SCAN has it, what
   * is there all the time comes at least once, perhaps twice; what comes or goes meanwhile may come or not. All pages are
   * of one server, the one that `readFrom` says at the beginning. `timeout` is for each page. See docs/iteration.md.
   *
   * @throws {ConnectionError} out of the loop: `SCAN_INTERRUPTED`, its server is gone or was replaced
   * @throws out of the loop, what {@link CommandView.call} throws
   * @throws {TypeError} {RangeError} at once: an option that is wrong
   */
  scanIterator(options?: KeyScanOptions): ScanIterator<T> {
    return scanIterator(callerOf(this.#router, this.#work, this.#options), 'SCAN', undefined, options)
  }

  /** The fields of a hash and their values; see {@link scanIterator}. */
  hscanIterator(key: Argument, options?: ScanOptions): ScanIterator<[field: T, value: T]> {
    return scanIterator(callerOf(this.#router, this.#work, this.#options), 'HSCAN', key, options)
  }

  /** The members of a set; see {@link scanIterator}. */
  sscanIterator(key: Argument, options?: ScanOptions): ScanIterator<T> {
    return scanIterator(callerOf(this.#router, this.#work, this.#options), 'SSCAN', key, options)
  }

  /** The members of a sorted set and their scores; see {@link scanIterator}. */
  zscanIterator(key: Argument, options?: ScanOptions): ScanIterator<[member: T, score: number]> {
    return scanIterator(callerOf(this.#router, this.#work, this.#options), 'ZSCAN', key, options)
  }

  /**
   * Of a session: what its reads have to have seen, as a short string of `[\w.-]` for {@link session} there or
   * in another process. Take it when the writes have ended: while one is under way, or in doubt, it only says that
   * reads go to the master first. `undefined` before the session's first write, and where there is no session.
   */
  get token(): string | undefined {
    return this.#options.session?.token
  }

  get #ground(): Ground {
    return { router: this.#router, work: this.#work }
  }

  #hostOf(kind: 'pipeline' | 'multi', run: typeof runPipeline): PipelineHost {
    const options = this.#options
    if (options.durable !== undefined) throw new TypeError(`option durable is not for ${kind}()`)
    return {
      kind,
      asBytes: options.replies === 'buffer',
      run: (commands) => run(this.#ground, commands, options),
    }
  }
}

/** The server at the end of a connection that came up, or has ended. */
export interface ConnectEvent {
  readonly address: string
  /** What it was dialed as; `undefined` for a client of one server. */
  readonly role: 'master' | 'replica' | undefined
}

/** A connection that has ended. */
export interface DisconnectEvent extends ConnectEvent {
  /** Why: `CONNECTION_LOST`, `FENCED`, or `CONNECTION_CLOSED` at the end of the client. */
  readonly error: Error
}

/**
 * None of them is needed to work; there is no event named `error`. Listeners run on a tick of their own, in the
 * asynchronous context of their registration; what one throws is an uncaught exception, and harms no other.
 */
export interface ClientEvents extends SentinelEvents {
  /** The server, or the master, has been reached for the first time. */
  ready: []
  /** A shared connection came up: each server has one, for ordinary commands, and replaces it when it is lost. */
  connect: [event: ConnectEvent]
  /** A shared connection has ended, for whatever reason. */
  disconnect: [event: DisconnectEvent]
  /** Subscriptions were interrupted and are whole again; told once for each connection of theirs. */
  gap: [gap: Gap]
}

/** What a client holds open and has to do, now. */
export interface ClientStats extends RouterStats {
  /** Commands that look for a server, or go on to the next one, or have a connection of their own. */
  readonly working: number
  /** Channels and patterns that are subscribed to, each once for each connection, and the connections of all that. */
  readonly subscriptions: { readonly channels: number; readonly connections: number }
}

export interface Client extends Commands {}

/**
 * A client of one server or of a Sentinel deployment. Connects on first use.
 *
 * @example
 * const redis = createClient({ sentinel: { name: 'localmaster', sentinels: ['127.0.0.1:26379'] } })
 * await redis.call('SET', 'key', 'value')
 * await redis.close()
 */
// biome-ignore lint/suspicious/noUnsafeDeclarationMerging: the methods of Commands are there, by defineMethods() below
export class Client extends BoundEmitter<ClientEvents> {
  static {
    defineMethods(Client.prototype, (client, command, shaper) => runTyped(client.#view, command, shaper))
  }

  readonly #router: Router
  readonly #work = new Work()
  readonly #view: CommandView
  readonly #commandTimeout: number
  readonly #subscribers: Subscribers
  readonly #tell = contextualEmit<ClientEvents>(this)
  #hasBeenReady = false

  /** For {@link createClient}. */
  constructor(options: ClientOptions | string | URL) {
    super()
    const resolved = resolveClientOptions(options)
    this.#commandTimeout = resolved.commandTimeout
    this.#router =
      resolved.kind === 'single'
        ? new SingleRouter(resolved.address, {
            ...resolved.endpoint,
            onConnect: () => this.#connected(resolved.address, undefined),
            onDisconnect: (error) => this.#disconnected(resolved.address, undefined, error),
          })
        : new SentinelRouter(resolved.sentinel, {
            onSwitch: (event) => this.#tell('switch', event),
            onTopology: (topology) => {
              this.#subscribers.reconsider()
              this.#tell('topology', topology)
            },
            onConnect: (address, role) => this.#connected(address, role),
            onDisconnect: (address, role, error) => this.#disconnected(address, role, error),
          })
    this.#subscribers = new Subscribers(this.#router, {
      commandTimeout: resolved.commandTimeout,
      pingInterval: (resolved.kind === 'single' ? resolved.endpoint : resolved.sentinel).pingInterval,
      onGap: (gap) => this.#tell('gap', gap),
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
  call(...command: [name: string, ...args: Argument[]]): Promise<Reply> {
    return this.#view.call(...command)
  }

  /** See {@link CommandView.pipeline}. */
  pipeline<R extends unknown[] = []>(): Pipeline<R> {
    return this.#view.pipeline()
  }

  /** See {@link CommandView.multi}. */
  multi<R extends unknown[] = []>(): Pipeline<R, string, 'multi'> {
    return this.#view.multi()
  }

  /** See {@link CommandView.transaction}. */
  transaction<E extends TransactionEnd>(
    keys: Argument | readonly Argument[],
    work: (tx: Transaction) => E | Promise<E>,
    options?: TransactionOptions,
  ): Promise<TransactionResult<E>> {
    return this.#view.transaction(keys, work, options)
  }

  /** See {@link CommandView.with}. */
  with(options: CommandOptions & { readonly replies: 'buffer' }): CommandView<Buffer>
  with(options: CommandOptions & { readonly replies?: 'string' | undefined }): CommandView
  with(options: CommandOptions): CommandView<string | Buffer>
  with(options: CommandOptions): CommandView<string | Buffer> {
    return this.#view.with(options)
  }

  /** See {@link CommandView.session}. */
  session(options?: SessionOptions): CommandView {
    return this.#view.session(options)
  }

  /** See {@link CommandView.script}. */
  script<K extends KeyCount, R = Reply>(options: ScriptOptions<K, R>): Script<K, R> {
    return this.#view.script(options)
  }

  /** See {@link CommandView.functions}. */
  functions<const F extends FunctionTable>(options: LibraryOptions<F>): FunctionCalls<F> {
    return this.#view.functions(options)
  }

  /** See {@link CommandView.scanIterator}. */
  scanIterator(options?: KeyScanOptions): ScanIterator<string> {
    return this.#view.scanIterator(options)
  }

  /** See {@link CommandView.hscanIterator}. */
  hscanIterator(key: Argument, options?: ScanOptions): ScanIterator<[field: string, value: string]> {
    return this.#view.hscanIterator(key, options)
  }

  /** See {@link CommandView.sscanIterator}. */
  sscanIterator(key: Argument, options?: ScanOptions): ScanIterator<string> {
    return this.#view.sscanIterator(key, options)
  }

  /** See {@link CommandView.zscanIterator}. */
  zscanIterator(key: Argument, options?: ScanOptions): ScanIterator<[member: string, score: number]> {
    return this.#view.zscanIterator(key, options)
  }

  /**
   * Resolves when the server, or the master, has been reached.
   *
   * @throws what a command throws that finds nobody within the deadline
   */
  async ready({ signal }: { readonly signal?: AbortSignal | undefined } = {}): Promise<void> {
    checkSignal(signal)
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
   * @param options `readFrom`: whose connection. @default 'master', which waits while a failover is under way.
   *   `lazy`: shares a connection with others until the first command that needs one of its own. @default false
   * @throws what {@link RolePool.get} throws
   */
  lease(options: ClientLeaseOptions & { readonly lazy: true }): Promise<LazyLease>
  lease(options?: ClientLeaseOptions & { readonly lazy?: false | undefined }): Promise<Lease<Connection>>
  lease(options?: ClientLeaseOptions): Promise<Lease<Connection> | LazyLease>
  async lease(options: ClientLeaseOptions = {}): Promise<Lease<Connection> | LazyLease> {
    checkLeaseOptions(options)
    const { readFrom = 'master', signal, lazy } = options
    if (this.#work.isClosing) throw closedError()
    const target = readFrom === 'master' ? 'write' : readFrom // to write is what it is borrowed for, as a rule
    return await new RolePool(this.#router, target, this.#commandTimeout).get({ signal, lazy })
  }

  /** Borrows, runs, gives back, whatever comes of it. */
  use<R>(
    work: (lease: LazyLease) => R | Promise<R>,
    options: ClientLeaseOptions & { readonly lazy: true },
  ): Promise<R>
  use<R>(
    work: (lease: Lease<Connection>) => R | Promise<R>,
    options?: ClientLeaseOptions & { readonly lazy?: false | undefined },
  ): Promise<R>
  async use<R>(work: (lease: never) => R | Promise<R>, options?: ClientLeaseOptions): Promise<R> {
    if (typeof work !== 'function') throw new TypeError(`use() needs a function, got ${typeof work}`)
    const lease = await this.lease(options)
    try {
      return await work(lease as never)
    } finally {
      await lease.close()
    }
  }

  /**
   * Subscribes a listener to one or more channels, over a connection that belongs to subscriptions alone. Lost, it is
   * replaced, everything is subscribed again in the same order, and `onGap` and the event `gap` tell of it; with a
   * deployment, subscriptions move to the new master. Keeps the process alive until it is closed.
   *
   * @returns when the server has confirmed
   * @throws {ReplyError} the server refuses: `NOPERM`
   * @throws {TimeoutError} `COMMAND_TIMEOUT`: not confirmed in time; the cause tells why
   * @throws {ConnectionError} `HANDSHAKE_FAILED`: a wrong password
   * @throws {SentinelError} `MASTER_UNKNOWN`
   * @throws {PoolError} `CLIENT_CLOSED`
   * @throws {AbortError} `ABORT_ERR`
   * @throws {TypeError} {RangeError} at once: a channel, listener or option that is none
   */
  subscribe<R extends Replies = 'string'>(
    channels: string | readonly string[],
    listener: MessageListener<R>,
    options?: SubscribeOptions<R>,
  ): Promise<Subscription> {
    return this.#subscribers.subscribe('subscribe', channels, listener, options)
  }

  /** {@link subscribe} to the channels that match one of the patterns: `h?llo`, `h*llo`, `h[ae]llo`. */
  psubscribe<R extends Replies = 'string'>(
    patterns: string | readonly string[],
    listener: MessageListener<R>,
    options?: SubscribeOptions<R>,
  ): Promise<Subscription> {
    return this.#subscribers.subscribe('psubscribe', patterns, listener, options)
  }

  /** {@link subscribe} to shard channels, to which SPUBLISH publishes. Redis 7 and Valkey have them. */
  ssubscribe<R extends Replies = 'string'>(
    channels: string | readonly string[],
    listener: MessageListener<R>,
    options?: SubscribeOptions<R>,
  ): Promise<Subscription> {
    return this.#subscribers.subscribe('ssubscribe', channels, listener, options)
  }

  /**
   * The messages of one or more channels, for a `for await` loop: at the consumer's pace, with a bounded buffer between.
   * Subscribes when the loop begins, or with `ready()`; `break` ends the subscription.
   *
   * @returns an iterator, which throws what {@link subscribe} rejects with, and `QUEUE_FULL` with overflow `'close'`;
   *   it ends when the client is closed
   * @throws {TypeError} {RangeError} at once: a channel or option that is none
   */
  subscription<R extends Replies = 'string'>(
    channels: string | readonly string[],
    options?: SubscriptionOptions<R>,
  ): SubscriptionIterator<R> {
    return this.#subscribers.iterate('subscribe', channels, options)
  }

  /** {@link subscription} to the channels that match one of the patterns. */
  psubscription<R extends Replies = 'string'>(
    patterns: string | readonly string[],
    options?: SubscriptionOptions<R>,
  ): SubscriptionIterator<R> {
    return this.#subscribers.iterate('psubscribe', patterns, options)
  }

  /** {@link subscription} to shard channels. */
  ssubscription<R extends Replies = 'string'>(
    channels: string | readonly string[],
    options?: SubscriptionOptions<R>,
  ): SubscriptionIterator<R> {
    return this.#subscribers.iterate('ssubscribe', channels, options)
  }

  /** What is held open and under way, now: of each server its pool with redigo's figures, and the rest. Cheap. */
  stats(): ClientStats {
    const working = this.#work.count
    return Object.freeze({ ...this.#router.stats(), working, subscriptions: this.#subscribers.stats() })
  }

  /**
   * Finishes the work: nothing new is taken; what is in flight, waits for a server, or is lent is waited for.
   * Commands end within their deadlines, so with one that nobody answers this takes as long. Subscriptions end, and
   * iterators when they have given what is buffered.
   */
  async close(): Promise<void> {
    await Promise.all([this.#subscribers.end(undefined), this.#work.finish()])
    await this.#router.close()
  }

  /** Fails the work: all connections are destroyed, lent ones too; iterators of subscriptions throw the error. */
  destroy(error: Error = new PoolError('CLIENT_CLOSED', 'the client was destroyed')): void {
    void this.#subscribers.end(error)
    this.#router.destroy(error)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  #connected(address: string, role: ConnectEvent['role']): void {
    this.#tell('connect', Object.freeze({ address, role }))
    if (this.#hasBeenReady || role === 'replica') return
    this.#hasBeenReady = true
    this.#tell('ready')
  }

  #disconnected(address: string, role: ConnectEvent['role'], error: Error): void {
    this.#tell('disconnect', Object.freeze({ address, role, error }))
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

function callerOf(route: Router, work: Work, options: DispatchOptions): Caller {
  return { route, work, options, with: (others) => callerOf(route, work, merge(options, others)) }
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
    durable = base.durable,
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
  checkSignal(signal)
  if (typeof idempotent !== 'boolean') {
    throw new TypeError(`option idempotent must be a boolean, got ${typeof idempotent}`)
  }
  checkDurable(durable, timeout)
  const { session } = base
  return { readFrom, maxStaleness, timeout, replies, signal, isIdempotent: idempotent, durable, session }
}

function checkLeaseOptions(options: unknown): void {
  if (options === null || typeof options !== 'object') throw new TypeError('lease options must be an object')
  for (const name of Object.keys(options)) {
    if (!LEASE_OPTIONS.has(name)) throw new TypeError(`unknown lease option '${name}'`)
  }
  const { readFrom = 'master', signal }: ClientLeaseOptions = options
  checkReadFrom(readFrom)
  checkSignal(signal)
}

function checkSignal(signal: unknown): void {
  if (signal !== undefined && !(signal instanceof AbortSignal))
    throw new TypeError('option signal must be an AbortSignal')
}
