// All that is held open to one server: a shared connection for ordinary commands, pipelined, and a pool for
// whatever needs a connection of its own. They are opened, fenced and closed together, and so are the permits of
// lazy leases, which use the first and then the other.
//
//   open ──fence(error)──► ended        no new command starts, all that is in flight ends, waiters are told
//     └────close()───────► ended        what is in flight is finished first
//
// Every connection passes `verify` before it is used, so that no command reaches a server whose role was not looked
// at since the interruption. How the shared one is brought up, replaced and waited for is in shared-connection.ts.

import { type Connection, type ExecuteOptions, type Rescuer, watchAbort } from '../connection/index.ts'
import { AbortError, ConnectionError } from '../errors.ts'
import { type BorrowOptions, type Lease, Pool, type PoolStats } from '../pool/index.ts'
import type { Argument, Reply } from '../resp/index.ts'
import { Dialer } from './dialer.ts'
import type { Waiting } from './hold-queue.ts'
import { Informer } from './informer.ts'
import type { LazyLease } from './lazy-lease.ts'
import { LazyLending } from './lazy-lending.ts'
import type { EndpointOptions } from './options.ts'
import { ping } from './ping-watch.ts'
import { SharedConnection } from './shared-connection.ts'

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

/** @internal */
export class Endpoint {
  readonly address: string
  readonly pool: Pool<Connection>
  /** Whether its owner still finds it fit to be read from: whoever has waited for a lease looks again. */
  isFit = true
  readonly #options: EndpointOptions
  readonly #shared: SharedConnection
  readonly #lazy: LazyLending
  readonly #dialer: Dialer
  readonly #informer: Informer | undefined
  /** What `dial()` gave out and is open. */
  readonly #own = new Set<Connection>()
  /** Aborts at its end, with the reason. */
  readonly #ending = new AbortController()
  #closing: Promise<void> | undefined

  constructor(address: string, options: EndpointOptions) {
    this.address = address
    this.#options = options
    const { signal: ending } = this.#ending
    const { onTrouble } = options
    if (onTrouble !== undefined) {
      this.#informer = new Informer((error) => {
        if (!ending.aborted) onTrouble(error)
      })
    }
    this.#dialer = new Dialer(address, options, this.#informer, ending)
    const dial = (signal: AbortSignal) => this.#dialer.dial(signal)
    this.#shared = new SharedConnection(address, options, {
      dial,
      ending,
      onSilentDeath: (error) => this.#doubtOthers(error),
    })
    this.pool = new Pool({ ...options.pool, dial })
    this.#lazy = new LazyLending(options, {
      address,
      error: () => this.#ended,
      flowing: () => this.#shared.flow(),
      executeLater: (command, ownOptions) => this.#shared.executeLater(command, ownOptions),
      borrow: (signal) => this.lend({ signal }),
    })
  }

  /** Why it ended; `undefined` while it takes commands. */
  get error(): Error | undefined {
    return this.#ended ?? (this.#closing === undefined ? undefined : this.#closedError())
  }

  /** Whether the shared connection is up. */
  get isConnected(): boolean {
    return this.#shared.isUp
  }

  /** How many shared connections there have been: another number, another connection. */
  get connectionCount(): number {
    return this.#shared.count
  }

  /** Whether the shared connection owes replies and has been silent for `suspectAfter`: commands wait. */
  get isSuspect(): boolean {
    return this.#shared.isSuspect
  }

  /** Milliseconds for which the shared connection has waited for a sign of the peer; see {@link Connection.silence}. */
  get silence(): number {
    return this.#shared.silence
  }

  /** Commands under way, here and on leases: what balancing goes by, for each read. */
  get load(): number {
    return this.#shared.pendingCount + this.#shared.heldCount + this.pool.busyCount
  }

  /**
   * Runs a command on the shared connection, which it brings up if need be. The caller's bytes must stay
   * unchanged until then.
   *
   * @throws what {@link Connection.call} throws; `FENCED` when the endpoint has ended
   */
  execute(command: readonly Argument[], options?: ExecuteOptions): Promise<Reply> {
    if (this.#closing !== undefined) return Promise.reject(this.#ended ?? this.#closedError())
    const connection = this.#shared.flow()
    return connection === undefined
      ? this.#shared.executeLater(command, options)
      : connection.execute(command, options)
  }

  /** {@link execute} with a rescuer, if the command can go at once; `undefined`: it has to wait, see {@link enqueue}. */
  attempt(
    command: readonly Argument[],
    options: ExecuteOptions,
    rescuer: Rescuer,
    isFlat = false,
  ): Promise<Reply> | undefined {
    if (this.#closing !== undefined) return undefined
    return this.#shared.flow()?.attempt(command, options, rescuer, isFlat)
  }

  /** Lets somebody wait for the shared connection, which it brings up if need be, to try {@link attempt} again then. */
  enqueue(waiting: Waiting): void {
    if (this.error === undefined) this.#shared.wait(waiting)
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
    const connection = this.#shared.flow()
    return connection === undefined
      ? this.#shared.executeAllLater(commands, options)
      : connection.executeAll(commands, options)
  }

  /**
   * Lends a connection of the pool; `onTrouble` is told if the server ends it before it comes back. While the server is
   * suspect, none is lent.
   *
   * @param options with milliseconds for which it may be waited to be heard; 0 = no limit. @default `commandTimeout`
   * @throws what {@link Pool.get} throws; `COMMAND_TIMEOUT` when the server has been suspect for so long
   */
  async lend(options: BorrowOptions & { readonly timeout?: number }): Promise<Lease<Connection>> {
    if (this.isSuspect) await this.#shared.heard(options)
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
    return this.#shared.connect()
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
      const connection = await this.#dialer.dial(ending.signal)
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
      pending: this.#shared.pendingCount,
      held: this.#shared.heldCount,
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
    this.#shared.destroy(error)
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
    while (this.#shared.heldCount > 0) await this.#shared.emptied
    if (this.#ended === undefined) this.#stop(this.#closedError())
    await Promise.all([this.#shared.close(), poolClosed, ...ownClosed])
  }

  get #ended(): Error | undefined {
    const { signal } = this.#ending
    return signal.aborted ? signal.reason : undefined
  }

  #closedError(): ConnectionError {
    const message = `the endpoint was closed (${this.address})`
    return new ConnectionError('CONNECTION_CLOSED', message, { address: this.address, phase: 'ready' })
  }

  #stop(error: Error): void {
    this.#ending.abort(error)
    this.#shared.stop(error)
  }

  /** What one connection died of in silence, the others may have, too: idle ones are dialed anew, the rest is asked. */
  #doubtOthers(error: Error): void {
    const { idleCount } = this.pool.stats()
    this.pool.retire(error)
    this.warm(idleCount)
    for (const connection of this.#own) void ping(connection, this.address, this.#options.suspectAfter)
  }
}
