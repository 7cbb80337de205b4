// What users hold in their hands: commands of any kind, leases, subscriptions, events, the end.

import type { Connection } from '../connection/index.ts'
import { type LazyLease, RolePool } from '../endpoint/index.ts'
import { PoolError } from '../errors.ts'
import type { Lease } from '../pool/index.ts'
import type { Argument, Reply } from '../resp/index.ts'
import { BoundEmitter, SentinelRouter, type Topology, tellEach } from '../sentinel/index.ts'
import type { ClientEvents, ConnectEvent } from './client-events.ts'
import type { Commands } from './commands.gen.ts'
import { dispatch } from './dispatch.ts'
import { type ClientLeaseOptions, checkLeaseOptions } from './lease-options.ts'
import { defineMethods } from './methods.ts'
import { type ClientOptions, resolveClientOptions } from './options.ts'
import type { Pipeline } from './pipeline.ts'
import type { ClientStats, Router } from './router.ts'
import type { ScanIterator } from './scan.ts'
import type { HashScanOptions, KeyScanOptions, ScanOptions } from './scan-options.ts'
import type { Script } from './script.ts'
import type { FunctionCalls } from './script-library.ts'
import type { FunctionTable, KeyCount, LibraryOptions, ScriptOptions } from './script-options.ts'
import type { SessionOptions } from './session.ts'
import { SingleRouter } from './single-router.ts'
import { type MessageListener, Subscribers } from './subscribers.ts'
import type { Subscription } from './subscription.ts'
import type { SubscriptionIterator } from './subscription-iterator.ts'
import type { Replies, SubscribeOptions, SubscriptionOptions } from './subscription-options.ts'
import type { Transaction, TransactionEnd, TransactionResult } from './transaction.ts'
import type { TransactionOptions } from './transaction-run.ts'
import { CommandView, runTyped } from './view.ts'
import { type CommandOptions, checkSignal } from './view-options.ts'
import { closedError, Work } from './work.ts'

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
  hscanIterator(
    key: Argument,
    options?: HashScanOptions & { readonly values?: true | undefined },
  ): ScanIterator<[field: string, value: string]>
  /** See {@link CommandView.hscanIterator}. */
  hscanIterator(key: Argument, options: HashScanOptions & { readonly values: false }): ScanIterator<string>
  hscanIterator(key: Argument, options?: HashScanOptions): ScanIterator<string | [string, string]> {
    return this.#view.hscanIterator(key, options as never)
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

  #tell<K extends keyof ClientEvents>(event: K, ...args: ClientEvents[K]): void {
    tellEach<ClientEvents, K>(this, event, ...args)
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
