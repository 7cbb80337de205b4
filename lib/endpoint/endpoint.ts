// All that is held open to one server: a shared connection for ordinary commands, pipelined, and a pool for
// whatever needs a connection of its own. They are opened, fenced and closed together, and so are the permits of
// lazy leases, which use the first and then the other.
//
//   open ──fence(error)──► ended        no new command starts, all that is in flight ends, waiters are told
//     └────close()───────► ended        what is in flight is finished first
//
// The shared connection is made at the first command and replaced when it dies, as long as a command waits
// for it; those that wait are bounded, and each has its deadline. Every connection passes `verify` before it
// is used, so that no command reaches a server whose role was not looked at since the interruption.

import { setImmediate as afterReading } from 'node:timers/promises'
import {
  type Connection,
  type ConnectionOptions,
  connect,
  type ExecuteOptions,
  type Rescuer,
  resolveConnectionOptions,
  watchAbort,
} from '../connection/index.ts'
import { AbortError, ConnectionError } from '../errors.ts'
import { type BorrowOptions, type Lease, Pool, type PoolOptions, type PoolStats } from '../pool/index.ts'
import type { Argument, Reply } from '../resp/index.ts'
import { type Deadline, deadlineOf, executeBefore, leftOf } from './deadline.ts'
import { type HoldLimits, HoldQueue, heldBytes, type Waiting } from './hold-queue.ts'
import { Informer } from './informer.ts'
import type { LazyLease } from './lazy-lease.ts'
import { LazyLending } from './lazy-lending.ts'
import { isPermanent } from './outcome.ts'
import { SilenceWatch } from './silence-watch.ts'

/**
 * A dead server is dialed at once, then after the first of these, then always after the last, as long as somebody
 * waits: the end of a failover must not be slept through, and a refused dial costs little. One that is not
 * answered at all takes `connectTimeout` besides.
 */
const FIRST_BACKOFF_MS = 50
const LAST_BACKOFF_MS = 100
/** An idle connection whose peer is gone without a word is found within twice this. */
export const DEFAULT_PING_INTERVAL = 1_000

export interface EndpointOptions extends HoldLimits {
  /** How its connections are made; checked and completed by the caller. */
  readonly connection: ConnectionOptions & { readonly commandTimeout: number }
  /** The pool's options, without `dial`. */
  readonly pool: Omit<PoolOptions<Connection>, 'dial'>
  /** Milliseconds of silence after which an idle shared connection is asked whether it is there; 0 = never. */
  readonly pingInterval: number
  /**
   * Milliseconds for which the shared connection may owe replies without a byte, before nothing more is written to it
   * and a new connection is tried; 0 = never.
   */
  readonly suspectAfter: number
  /** Looks at each new connection; when it throws, the connection is not used. */
  readonly verify?: ((connection: Connection) => Promise<void>) | undefined
  /**
   * Told of each failed dial, each shared connection that is lost or suspect, each connection lost while it is lent by
   * `lend()`, and of error replies that say something about the server, on any connection. Must not throw.
   */
  readonly onTrouble?: ((error: Error) => void) | undefined
  /** Told of each shared connection that comes up, and once of its end. Must not throw. */
  readonly onConnect?: (() => void) | undefined
  readonly onDisconnect?: ((error: Error) => void) | undefined
}

/** What `stats()` says of one server. */
export interface EndpointStats {
  readonly address: string
  readonly pool: PoolStats
  /** Whether the shared connection is up. */
  readonly connected: boolean
  /** Whether it has owed replies without a sign for so long that nothing more is written to it for now. */
  readonly suspect: boolean
  /** Commands on the shared connection that are owed a reply, and those that wait for it to come up. */
  readonly pending: number
  readonly held: number
  /** Lazy leases that are out, and callers that wait for one. */
  readonly lazy: { readonly out: number; readonly waiting: number }
}

export class Endpoint {
  readonly address: string
  readonly pool: Pool<Connection>
  /** Whether its owner still finds it fit to be read from: whoever has waited for a lease looks again. */
  isFit = true
  readonly #options: EndpointOptions
  readonly #connectTimeoutMs: number
  readonly #held: HoldQueue
  readonly #lazy: LazyLending
  readonly #informer: Informer | undefined
  #closing: Promise<void> | undefined
  #shared: Connection | undefined
  #sharedCount = 0
  #connecting: Promise<Connection> | undefined
  readonly #silence: SilenceWatch
  /** What `dial()` gave out and is open. */
  readonly #own = new Set<Connection>()
  #pingTimer: NodeJS.Timeout | undefined
  #backoffTimer: NodeJS.Timeout | undefined
  #failures = 0
  #lastFailure: Error | undefined
  /** Ends the dial that is going on. */
  readonly #ending = new AbortController()
  #ended: Error | undefined

  constructor(address: string, options: EndpointOptions) {
    this.address = address
    this.#options = options
    this.#connectTimeoutMs = resolveConnectionOptions(options.connection).connectTimeout
    this.#held = new HoldQueue(`connection to ${address}`, options, () => this.#lastFailure)
    this.#silence = new SilenceWatch(options.suspectAfter, {
      dial: (signal) => this.#dial(signal),
      onSuspect: () => this.#suspect(),
      onCalm: () => this.#held.release(),
      onReplaced: (dead, fresh) => {
        const error = silent(address, 'a new connection is answered, and this one is not')
        dead.destroy(error)
        this.#use(fresh)
        this.#doubtOthers(error)
      },
    })
    this.pool = new Pool({ ...options.pool, dial: (signal) => this.#dial(signal) })
    this.#lazy = new LazyLending(options, {
      address,
      error: () => this.#ended,
      flowing: () => this.#flow(),
      executeLater: (command, ownOptions) => this.#executeWhenConnected(command, ownOptions),
      borrow: (signal) => this.lend({ signal }),
    })
    const { onTrouble } = options
    if (onTrouble !== undefined) {
      this.#informer = new Informer((error) => {
        if (this.#ended === undefined) onTrouble(error)
      })
    }
  }

  /** Why it ended; `undefined` while it takes commands. */
  get error(): Error | undefined {
    return this.#ended ?? (this.#closing === undefined ? undefined : this.#closedError())
  }

  /** Whether the shared connection is up. */
  get isConnected(): boolean {
    return this.#shared !== undefined && this.#shared.error === undefined
  }

  /** How many shared connections there have been: another number, another connection. */
  get connectionCount(): number {
    return this.#sharedCount
  }

  /** Whether the shared connection owes replies and has been silent for `suspectAfter`: commands wait. */
  get isSuspect(): boolean {
    return this.#silence.isSuspect
  }

  /** Milliseconds for which the shared connection has waited for a sign of the peer; see {@link Connection.silence}. */
  get silence(): number {
    return this.#shared?.silence ?? 0
  }

  /** Commands under way, here and on leases: what balancing goes by, for each read. */
  get load(): number {
    return (this.#shared?.pendingCount ?? 0) + this.#held.length + this.pool.busyCount
  }

  /**
   * Runs a command on the shared connection, which it brings up if need be. The caller's bytes must stay
   * unchanged until then.
   *
   * @throws what {@link Connection.call} throws; `FENCED` when the endpoint has ended
   */
  execute(command: readonly Argument[], options?: ExecuteOptions): Promise<Reply> {
    if (this.#closing !== undefined) return Promise.reject(this.#ended ?? this.#closedError())
    const shared = this.#flow()
    return shared === undefined
      ? this.#executeWhenConnected(command, options)
      : shared.execute(command, options)
  }

  /** {@link execute} with a rescuer, if the command can go at once; `undefined`: it has to wait, see {@link enqueue}. */
  attempt(
    command: readonly Argument[],
    options: ExecuteOptions,
    rescuer: Rescuer,
    isFlat = false,
  ): Promise<Reply> | undefined {
    if (this.#closing !== undefined) return undefined
    return this.#flow()?.attempt(command, options, rescuer, isFlat)
  }

  /** Lets somebody wait for the shared connection, which it brings up if need be, to try {@link attempt} again then. */
  enqueue(waiting: Waiting): void {
    if (this.error === undefined) this.#wait(waiting)
    else waiting.fail(this.error)
  }

  /**
   * Runs several commands on the shared connection as {@link Connection.executeAll} does, nothing between them; they wait
   * for it as one.
   *
   * @throws what {@link Connection.executeAll} throws; `FENCED` when the endpoint has ended
   */
  executeAll(
    commands: readonly (readonly Argument[])[],
    options?: ExecuteOptions,
  ): Promise<(Reply | Error)[]> {
    if (this.#closing !== undefined) return Promise.reject(this.#ended ?? this.#closedError())
    const shared = this.#flow()
    if (shared !== undefined) return shared.executeAll(commands, options)
    const bytes = commands.reduce((sum, command) => sum + heldBytes(command), 0)
    return this.#whenConnected({ count: commands.length, bytes }, options, async (connection, deadline) =>
      connection.executeAll(commands, { ...options, timeout: leftOf(deadline) }),
    )
  }

  /**
   * Lends a connection of the pool; `onTrouble` is told if the server ends it before it comes back. While the server is
   * suspect, none is lent.
   *
   * @param options with milliseconds for which it may be waited to be heard; 0 = no limit. @default `commandTimeout`
   * @throws what {@link Pool.get} throws; `COMMAND_TIMEOUT` when the server has been suspect for so long
   */
  async lend(options: BorrowOptions & { readonly timeout?: number }): Promise<Lease<Connection>> {
    if (this.isSuspect) await this.#hear(options)
    const lease = await this.pool.get(options)
    this.#informer?.lent(lease)
    return lease
  }

  /**
   * Gives a lazy lease, by the pool's rules for leases; see {@link LazyLease}.
   *
   * @throws {PoolError} `POOL_EXHAUSTED`, `QUEUE_FULL`, `POOL_CLOSED`
   * @throws {AbortError} `ABORT_ERR`
   */
  lendLazily({ signal }: BorrowOptions): Promise<LazyLease> {
    return this.#lazy.get(signal)
  }

  /** Brings the shared connection up: one attempt, or the one that is going on. */
  connect(): Promise<Connection> {
    if (this.#ended !== undefined) return Promise.reject(this.#ended)
    if (this.#shared !== undefined && this.#shared.error === undefined) return Promise.resolve(this.#shared)
    this.#connecting ??= this.#connect()
    return this.#connecting
  }

  /** Opens as many connections of the pool as another one had, ahead of those who will want them. */
  warm(count: number): void {
    const { maxIdle = 0, maxActive = 0 } = this.#options.pool
    const most = Math.min(count, maxIdle, maxActive === 0 ? maxIdle : maxActive)
    for (let i = 0; i < most; i += 1) {
      this.pool.get().then(
        (lease) => lease.close(),
        () => undefined, // who wants one is told why there is none
      )
    }
  }

  /**
   * A connection of the caller's own, beside the pool and the shared one, and verified as all are. The caller closes
   * it; `close()` closes it too, and `fence()` destroys it.
   *
   * @throws what {@link connect} throws; why the endpoint has ended
   */
  async dial(signal: AbortSignal): Promise<Connection> {
    if (this.error !== undefined) throw this.error
    const ending = new AbortController()
    const unwatch = [signal, this.#ending.signal].map((it) => watchAbort(it, () => ending.abort(it.reason)))
    if (signal.aborted) ending.abort(signal.reason)
    try {
      const connection = await this.#dial(ending.signal)
      const error = this.error ?? (signal.aborted ? new AbortError(signal) : undefined)
      if (error !== undefined) {
        connection.destroy(error) // between the end of the handshake and here
        throw error
      }
      this.#own.add(connection)
      void connection.closed.then(() => this.#own.delete(connection))
      return connection
    } finally {
      for (const end of unwatch) end()
    }
  }

  stats(): EndpointStats {
    return Object.freeze({
      address: this.address,
      pool: this.pool.stats(),
      connected: this.isConnected,
      suspect: this.isSuspect,
      pending: this.#shared?.pendingCount ?? 0,
      held: this.#held.length,
      lazy: this.#lazy.counts,
    })
  }

  /**
   * From this moment on no command starts here: connections are destroyed, idle and lent, not ended politely
   * (the peer may be hung); what waits and what is in flight fails with the error, by the outcome rule. Also
   * cuts short a `close()` that waits.
   */
  fence(error: Error): void {
    if (this.#ended === undefined) this.#stop(error)
    this.#shared?.destroy(error)
    for (const connection of this.#own) connection.destroy(error)
    this.pool.destroy(error)
    this.#lazy.destroy(error)
  }

  /**
   * Finishes the work: takes no command any more; those in flight, those that wait for a connection and leases that
   * are out are waited for, each within its own deadline.
   */
  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    const lazyClosed = this.#lazy.close()
    // one that is out may yet need a connection of its own
    if (this.#lazy.counts.out > 0) await lazyClosed
    const poolClosed = this.pool.close()
    const ownClosed = [...this.#own].map((connection) => connection.close())
    while (this.#held.length > 0) await this.#held.emptied
    if (this.#ended === undefined) this.#stop(this.#closedError())
    await Promise.all([this.#shared?.close(), poolClosed, ...ownClosed])
  }

  #closedError(): ConnectionError {
    const message = `the endpoint was closed (${this.address})`
    return new ConnectionError('CONNECTION_CLOSED', message, { address: this.address, phase: 'ready' })
  }

  #stop(error: Error): void {
    this.#ended = error
    this.#ending.abort(error)
    clearTimeout(this.#backoffTimer)
    clearInterval(this.#pingTimer)
    this.#silence.stop()
    this.#held.fail(error)
  }

  /** The shared connection, if a command can go at once: it is about to. */
  #flow(): Connection | undefined {
    const shared = this.#shared
    if (shared === undefined || shared.error !== undefined || this.isSuspect) return undefined
    this.#silence.wake()
    return shared
  }

  /** Resolves when the server has been heard, or is connected to anew. */
  async #hear({ signal, timeout }: BorrowOptions & { readonly timeout?: number }): Promise<void> {
    const deadline = deadlineOf({ timeout }, this.#options.connection.commandTimeout)
    await this.#held.wait({ ...deadline, bytes: 0, signal })
  }

  #executeWhenConnected(command: readonly Argument[], options: ExecuteOptions | undefined): Promise<Reply> {
    return this.#whenConnected({ count: 1, bytes: heldBytes(command) }, options, (shared, deadline) =>
      executeBefore(deadline, shared, command, options),
    )
  }

  /** @param send gives what waited to the connection before it returns; must not throw */
  #whenConnected<R>(
    held: { readonly count: number; readonly bytes: number },
    options: ExecuteOptions | undefined,
    send: (shared: Connection, deadline: Deadline) => Promise<R>,
  ): Promise<R> {
    return new Promise((resolve, reject) => {
      const deadline = deadlineOf(options, this.#options.connection.commandTimeout)
      const waiting: Waiting = {
        ...deadline,
        ...held,
        signal: options?.signal,
        // at once: commands leave in the order in which they were given
        proceed: () => {
          const shared = this.#flow()
          if (shared === undefined) this.#wait(waiting)
          else resolve(send(shared, deadline))
        },
        fail: reject,
      }
      this.#wait(waiting)
    })
  }

  #wait(waiting: Waiting): void {
    if (this.#ended !== undefined) {
      waiting.fail(this.#ended)
      return
    }
    if (!this.isConnected) this.#reconnect()
    this.#held.add(waiting)
  }

  /** Dials, unless that is under way or about to be. What becomes of it is seen to in `#connect()`. */
  #reconnect(): void {
    if (this.#connecting !== undefined || this.#backoffTimer !== undefined) return
    this.connect().catch(() => undefined)
  }

  /** Dials again and again, with pauses, as long as somebody waits. */
  #reconnectLater(): void {
    if (this.#ended !== undefined || this.#held.length === 0) return
    const pause = Math.min(FIRST_BACKOFF_MS * 2 ** (this.#failures - 1), LAST_BACKOFF_MS)
    clearTimeout(this.#backoffTimer)
    this.#backoffTimer = setTimeout(() => {
      this.#backoffTimer = undefined
      if (this.#held.length > 0) this.#reconnect()
    }, pause)
  }

  async #connect(): Promise<Connection> {
    try {
      const connection = await this.#dial(this.#ending.signal)
      this.#connecting = undefined
      if (this.#ended !== undefined) {
        connection.destroy(this.#ended)
        throw this.#ended
      }
      this.#use(connection)
      return connection
    } catch (error) {
      this.#connecting = undefined
      this.#failures += 1
      this.#lastFailure = error as Error
      if (isPermanent(error)) this.#held.fail(error as Error)
      this.#reconnectLater()
      throw error
    }
  }

  /** From now on it is the shared connection. */
  #use(connection: Connection): void {
    this.#shared = connection
    this.#sharedCount += 1
    this.#failures = 0
    this.#lastFailure = undefined
    this.#options.onConnect?.()
    void connection.closed.then(() => {
      this.#options.onDisconnect?.(connection.error as Error)
      this.#lose(connection)
    })
    this.#watch(connection)
    this.#silence.follow(connection)
    this.#held.release()
  }

  #suspect(): void {
    this.#lastFailure = silent(this.address, `no byte for ${this.#options.suspectAfter} ms`)
    this.#options.onTrouble?.(this.#lastFailure)
  }

  async #dial(signal: AbortSignal): Promise<Connection> {
    try {
      const connection = await connect({ ...this.#options.connection, signal })
      await this.#verify(connection, signal)
      this.#informer?.watch(connection)
      return connection
    } catch (error) {
      if (this.#ended === undefined && !signal.aborted) this.#options.onTrouble?.(error as Error)
      throw this.#ended ?? error
    }
  }

  /** The last step of the handshake, and bounded like it. */
  async #verify(connection: Connection, signal: AbortSignal): Promise<void> {
    const { verify } = this.#options
    if (verify === undefined) return
    const giveUp = () => connection.destroy()
    const timer = this.#connectTimeoutMs === 0 ? undefined : setTimeout(giveUp, this.#connectTimeoutMs)
    signal.addEventListener('abort', giveUp)
    try {
      if (signal.aborted) giveUp() // between the end of the handshake and here
      await verify(connection)
    } catch (error) {
      connection.destroy()
      throw unverified(this.address, error as Error)
    } finally {
      clearTimeout(timer)
      signal.removeEventListener('abort', giveUp)
    }
  }

  #lose(connection: Connection): void {
    if (this.#shared !== connection) return
    this.#shared = undefined
    clearInterval(this.#pingTimer)
    this.#silence.stop()
    if (this.#ended !== undefined) return
    this.#lastFailure = connection.error
    this.#options.onTrouble?.(connection.error as Error)
    if (this.#held.length > 0) this.#reconnect()
  }

  /** An idle connection whose peer is gone without a word is found by asking. */
  #watch(connection: Connection): void {
    const { pingInterval } = this.#options
    clearInterval(this.#pingTimer)
    if (pingInterval === 0) return
    this.#pingTimer = setInterval(() => {
      if (connection.pendingCount > 0 || performance.now() - connection.heardAt < pingInterval) return
      void this.#ping(connection, pingInterval)
    }, pingInterval).unref() // idle bookkeeping: a process that is done exits
  }

  /** What one connection died of in silence, the others may have, too: idle ones are dialed anew, the rest is asked. */
  #doubtOthers(error: Error): void {
    const { idleCount } = this.pool.stats()
    this.pool.retire(error)
    this.warm(idleCount)
    for (const connection of this.#own) void this.#ping(connection, this.#options.suspectAfter)
  }

  /** Ends the connection if nothing is heard; an error reply is an answer, too. */
  async #ping(connection: Connection, withinMs: number): Promise<void> {
    const askedAt = performance.now()
    try {
      await connection.execute(['PING'], { timeout: withinMs })
    } catch (error) {
      await afterReading() // it may be our own loop that was busy: what has come meanwhile is read first
      if (connection.heardAt < askedAt)
        connection.destroy(silent(this.address, 'no answer to PING', error as Error))
    }
  }
}

/** What was asked of the server there is not the caller's command, which certainly did not run. */
function unverified(address: string, error: Error): ConnectionError {
  if (error instanceof ConnectionError && error.code === 'HANDSHAKE_FAILED') return error
  const message = `the look at a new connection failed: ${error.message}`
  return new ConnectionError('HANDSHAKE_FAILED', message, { address, phase: 'handshake', cause: error })
}

function silent(address: string, how: string, cause?: Error): ConnectionError {
  const message = `the peer does not answer: ${how} (${address})`
  const details = { address, phase: 'ready' as const, ...(cause === undefined ? {} : { cause }) }
  return new ConnectionError('CONNECTION_LOST', message, details)
}
