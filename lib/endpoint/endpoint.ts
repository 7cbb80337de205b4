// All that is held open to one server: a shared connection for ordinary commands, pipelined, and a pool for
// whatever needs a connection of its own. They are opened, fenced and closed together.
//
//   open ──fence(error)──► ended        no new command starts, all that is in flight ends, waiters are told
//     └────close()───────► ended        what is in flight is finished first
//
// The shared connection is made at the first command and replaced when it dies, as long as a command waits
// for it; those that wait are bounded, and each has its deadline. Every connection passes `verify` before it
// is used, so that no command reaches a server whose role was not looked at since the interruption.

import {
  type Connection,
  type ConnectionOptions,
  connect,
  type ExecuteOptions,
  resolveConnectionOptions,
} from '../connection/index.ts'
import { ConnectionError } from '../errors.ts'
import { Pool, type PoolOptions, type PoolStats } from '../pool/index.ts'
import type { Argument, Reply } from '../resp/index.ts'
import { type HoldLimits, HoldQueue, heldBytes } from './hold-queue.ts'
import { isPermanent } from './outcome.ts'

/** A dead server is dialed at once, then with pauses that double from the first to the last of these. */
const FIRST_BACKOFF_MS = 50
const LAST_BACKOFF_MS = 1_000
/** Silent for so long with commands outstanding, a peer is suspected to hang. */
const SUSPECT_MS = 250
/** An idle connection whose peer is gone without a word is found within twice this. */
export const DEFAULT_PING_INTERVAL = 1_000

export interface EndpointOptions extends HoldLimits {
  /** How its connections are made; checked and completed by the caller. */
  readonly connection: ConnectionOptions & { readonly commandTimeout: number }
  /** The pool's options, without `dial`. */
  readonly pool: Omit<PoolOptions<Connection>, 'dial'>
  /** Milliseconds of silence after which an idle shared connection is asked whether it is there; 0 = never. */
  readonly pingInterval: number
  /** Looks at each new connection; when it throws, the connection is not used. */
  readonly verify?: ((connection: Connection) => Promise<void>) | undefined
  /** Told of each failed dial and each lost shared connection. Must not throw. */
  readonly onTrouble?: ((error: Error) => void) | undefined
}

/** What `stats()` says of one server. */
export interface EndpointStats {
  readonly address: string
  readonly pool: PoolStats
  /** Whether the shared connection is up. */
  readonly connected: boolean
  /** Commands on the shared connection that are owed a reply, and those that wait for it to come up. */
  readonly pending: number
  readonly held: number
}

export class Endpoint {
  readonly address: string
  readonly pool: Pool<Connection>
  /** Whether its owner still finds it fit to be read from: whoever has waited for a lease looks again. */
  isFit = true
  readonly #options: EndpointOptions
  readonly #connectTimeoutMs: number
  readonly #held: HoldQueue
  /** Commands that wait, and those that have just been released and are about to go. */
  #queued = 0
  #closing: Promise<void> | undefined
  /** Tells a `close()` that nobody waits any more. */
  #onDrained: (() => void) | undefined
  #shared: Connection | undefined
  #connecting: Promise<Connection> | undefined
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
    this.pool = new Pool({ ...options.pool, dial: (signal) => this.#dial(signal) })
  }

  /** Why it ended; `undefined` while it takes commands. */
  get error(): Error | undefined {
    return this.#ended ?? (this.#closing === undefined ? undefined : this.#closedError())
  }

  /** Whether the shared connection is up. */
  get isConnected(): boolean {
    return this.#shared !== undefined && this.#shared.error === undefined
  }

  /** Milliseconds for which the shared connection has waited for a sign of the peer; see {@link Connection.silence}. */
  get silence(): number {
    return this.#shared?.silence ?? 0
  }

  /** Whether it has been silent with commands outstanding for long enough to be doubted. */
  get isSuspect(): boolean {
    return this.silence >= SUSPECT_MS
  }

  /** Commands under way, here and on leases: what balancing goes by. */
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
    const shared = this.#shared
    if (this.#closing !== undefined) return Promise.reject(this.#ended ?? this.#closedError())
    if (shared !== undefined && shared.error === undefined && this.#queued === 0) {
      return shared.execute(command, options)
    }
    return this.#executeWhenConnected(command, options)
  }

  /** Brings the shared connection up: one attempt, or the one that is going on. */
  connect(): Promise<Connection> {
    if (this.#ended !== undefined) return Promise.reject(this.#ended)
    if (this.#shared !== undefined && this.#shared.error === undefined) return Promise.resolve(this.#shared)
    this.#connecting ??= this.#connect()
    return this.#connecting
  }

  stats(): EndpointStats {
    return Object.freeze({
      address: this.address,
      pool: this.pool.stats(),
      connected: this.isConnected,
      pending: this.#shared?.pendingCount ?? 0,
      held: this.#held.length,
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
    this.pool.destroy(error)
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
    const poolClosed = this.pool.close()
    if (this.#queued > 0) {
      await new Promise<void>((resolve) => {
        this.#onDrained = resolve
      })
    }
    if (this.#ended === undefined) this.#stop(this.#closedError())
    await Promise.all([this.#shared?.close(), poolClosed])
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
    this.#held.fail(error)
  }

  async #executeWhenConnected(
    command: readonly Argument[],
    options: ExecuteOptions | undefined,
  ): Promise<Reply> {
    if (this.#ended !== undefined) throw this.#ended
    const timeout = options?.timeout ?? this.#options.connection.commandTimeout
    const expiresAt = timeout === 0 ? Number.POSITIVE_INFINITY : performance.now() + timeout
    this.#queued += 1
    try {
      if (this.isConnected) {
        await undefined // behind those that were released a moment ago: they go in the same microtasks
      } else {
        this.#reconnect()
        await this.#held.wait({ bytes: heldBytes(command), expiresAt, timeout, signal: options?.signal })
      }
    } finally {
      this.#queued -= 1
      // behind the last command, which is given to the connection in this same microtask
      if (this.#queued === 0 && this.#onDrained !== undefined) setImmediate(this.#onDrained)
    }
    const shared = this.isConnected ? (this.#shared as Connection) : await this.connect()
    const left = timeout === 0 ? 0 : Math.max(expiresAt - performance.now(), 1)
    return await shared.execute(command, { ...options, timeout: left })
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
      this.#shared = connection
      this.#failures = 0
      this.#lastFailure = undefined
      void connection.closed.then(() => this.#lose(connection))
      this.#watch(connection)
      this.#held.release()
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

  async #dial(signal: AbortSignal): Promise<Connection> {
    try {
      const connection = await connect({ ...this.#options.connection, signal })
      await this.#verify(connection, signal)
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
    if (this.#ended !== undefined) return
    this.#lastFailure = connection.error
    this.#options.onTrouble?.(connection.error as Error)
  }

  /** An idle connection whose peer is gone without a word is found by asking. */
  #watch(connection: Connection): void {
    const { pingInterval } = this.#options
    clearInterval(this.#pingTimer)
    if (pingInterval === 0) return
    this.#pingTimer = setInterval(() => {
      if (connection.pendingCount > 0 || performance.now() - connection.heardAt < pingInterval) return
      connection.execute(['PING'], { timeout: pingInterval }).catch((error: Error) => {
        // an error reply is an answer too: somebody is there
        if (performance.now() - connection.heardAt >= pingInterval)
          connection.destroy(silent(this.address, error))
      })
    }, pingInterval).unref() // idle bookkeeping: a process that is done exits
  }
}

/** What was asked of the server there is not the caller's command, which certainly did not run. */
function unverified(address: string, error: Error): ConnectionError {
  if (error instanceof ConnectionError && error.code === 'HANDSHAKE_FAILED') return error
  const message = `the look at a new connection failed: ${error.message}`
  return new ConnectionError('HANDSHAKE_FAILED', message, { address, phase: 'handshake', cause: error })
}

function silent(address: string, cause: Error): ConnectionError {
  return new ConnectionError('CONNECTION_LOST', `the peer does not answer (${address})`, {
    address,
    phase: 'ready',
    cause,
  })
}
