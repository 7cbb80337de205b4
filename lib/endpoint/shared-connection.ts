// The one connection that the ordinary commands of an endpoint share, pipelined, and those that wait for it.
//
//   none ──somebody waits──► dialing ──────────► up ◄──► suspect: see silence-watch.ts
//     ▲                     failed │ ▲             │
//     │                            ▼ │ somebody    │
//     ├──────nobody waits─────── a pause           │
//     └──────────────────lost──────────────────────┘
//
// It is made at the first command and replaced when it dies, as long as a command waits for it; those that wait are
// bounded, and each has its deadline. How it is dialed and verified, and what else leads to the server, is not
// known here.

import type { Connection, ExecuteOptions } from '../connection/index.ts'
import type { Argument, Reply } from '../resp/index.ts'
import { type Deadline, deadlineOf, executeBefore, leftOf } from './deadline.ts'
import { HoldQueue, heldBytes, type Waiting } from './hold-queue.ts'
import type { EndpointOptions } from './options.ts'
import { isPermanent } from './outcome.ts'
import { PingWatch, silentError } from './ping-watch.ts'
import { SilenceWatch } from './silence-watch.ts'

/**
 * A dead server is dialed at once, then after the first of these, then always after the last, as long as somebody
 * waits: the end of a failover must not be slept through, and a refused dial costs little. One that is not
 * answered at all takes `connectTimeout` besides.
 */
const FIRST_BACKOFF_MS = 50
const LAST_BACKOFF_MS = 100

/** What it needs of its endpoint. */
export interface SharedGround {
  /** Makes a connection, verified; must not retry. */
  readonly dial: (signal: AbortSignal) => Promise<Connection>
  /** Aborts at the end of the endpoint, with the reason, right before {@link SharedConnection.stop}. */
  readonly ending: AbortSignal
  /** It was found dead by its silence while another is answered, and has been replaced by that one. */
  readonly onSilentDeath: (error: Error) => void
}

export class SharedConnection {
  readonly #address: string
  readonly #options: EndpointOptions
  readonly #ground: SharedGround
  readonly #held: HoldQueue
  readonly #silence: SilenceWatch
  readonly #idle: PingWatch
  #connection: Connection | undefined
  #count = 0
  #connecting: Promise<Connection> | undefined
  #backoffTimer: NodeJS.Timeout | undefined
  /** Dials that have failed since the last connection, and why there is none. */
  #failures = 0
  #lastFailure: Error | undefined

  constructor(address: string, options: EndpointOptions, ground: SharedGround) {
    this.#address = address
    this.#options = options
    this.#ground = ground
    this.#held = new HoldQueue(`connection to ${address}`, options, () => this.#lastFailure)
    this.#idle = new PingWatch(address, options.pingInterval)
    this.#silence = new SilenceWatch(options.suspectAfter, {
      dial: ground.dial,
      onSuspect: () => this.#suspect(),
      onCalm: () => this.#held.release(),
      onReplaced: (dead, fresh) => {
        const error = silentError(address, 'a new connection is answered, and this one is not')
        dead.destroy(error)
        this.#use(fresh)
        ground.onSilentDeath(error)
      },
    })
  }

  get isUp(): boolean {
    return this.#connection !== undefined && this.#connection.error === undefined
  }

  /** How many there have been: another number, another connection. */
  get count(): number {
    return this.#count
  }

  /** Whether it owes replies and has been silent for `suspectAfter`. */
  get isSuspect(): boolean {
    return this.#silence.isSuspect
  }

  /** See {@link Connection.silence}. */
  get silence(): number {
    return this.#connection?.silence ?? 0
  }

  /** Commands that are owed a reply. */
  get pendingCount(): number {
    return this.#connection?.pendingCount ?? 0
  }

  /** Those who wait. */
  get heldCount(): number {
    return this.#held.length
  }

  /** Resolves when nobody waits any more. */
  get emptied(): Promise<void> {
    return this.#held.emptied
  }

  /** The connection, if a command can go at once: it is about to. */
  flow(): Connection | undefined {
    const connection = this.#connection
    if (connection === undefined || connection.error !== undefined || this.isSuspect) return undefined
    this.#silence.wake()
    return connection
  }

  /** Runs a command when it is up, which is seen to. The bytes must stay unchanged until then. */
  executeLater(command: readonly Argument[], options: ExecuteOptions | undefined): Promise<Reply> {
    return this.#whenUp({ count: 1, bytes: heldBytes(command) }, options, (connection, deadline) =>
      executeBefore(deadline, connection, command, options),
    )
  }

  /** The same for several, nothing between them; they wait as one. */
  executeAllLater(
    commands: readonly (readonly Argument[])[],
    options: ExecuteOptions | undefined,
  ): Promise<(Reply | Error)[]> {
    const bytes = commands.reduce((sum, command) => sum + heldBytes(command), 0)
    return this.#whenUp({ count: commands.length, bytes }, options, async (connection, deadline) =>
      connection.executeAll(commands, { ...options, timeout: leftOf(deadline) }),
    )
  }

  /** Lets somebody wait for it, which it brings up if need be. */
  wait(waiting: Waiting): void {
    const { ending } = this.#ground
    if (ending.aborted) {
      waiting.fail(ending.reason)
      return
    }
    if (!this.isUp) this.#reconnect()
    this.#held.add(waiting)
  }

  /** Resolves when the server has been heard, or is connected to anew. */
  async heard({ timeout, signal }: Pick<ExecuteOptions, 'timeout' | 'signal'>): Promise<void> {
    const deadline = deadlineOf({ timeout }, this.#options.connection.commandTimeout)
    await this.#held.wait({ ...deadline, bytes: 0, signal })
  }

  /** Brings it up: one attempt, or the one that is going on. */
  connect(): Promise<Connection> {
    const { ending } = this.#ground
    if (ending.aborted) return Promise.reject(ending.reason)
    if (this.#connection !== undefined && this.#connection.error === undefined) {
      return Promise.resolve(this.#connection)
    }
    this.#connecting ??= this.#connect()
    return this.#connecting
  }

  /** Nothing is dialed, asked or waited for any more; what is in flight goes on. */
  stop(error: Error): void {
    clearTimeout(this.#backoffTimer)
    this.#idle.stop()
    this.#silence.stop()
    this.#held.fail(error)
  }

  /** Finishes what is in flight. */
  async close(): Promise<void> {
    await this.#connection?.close()
  }

  destroy(error: Error): void {
    this.#connection?.destroy(error)
  }

  /** @param send gives what waited to the connection before it returns; must not throw */
  #whenUp<R>(
    held: { readonly count: number; readonly bytes: number },
    options: ExecuteOptions | undefined,
    send: (connection: Connection, deadline: Deadline) => Promise<R>,
  ): Promise<R> {
    return new Promise((resolve, reject) => {
      const deadline = deadlineOf(options, this.#options.connection.commandTimeout)
      const waiting: Waiting = {
        ...deadline,
        ...held,
        signal: options?.signal,
        // at once: commands leave in the order in which they were given
        proceed: () => {
          const connection = this.flow()
          if (connection === undefined) this.wait(waiting)
          else resolve(send(connection, deadline))
        },
        fail: reject,
      }
      this.wait(waiting)
    })
  }

  /** Dials, unless that is under way or about to be. What becomes of it is seen to in `#connect()`. */
  #reconnect(): void {
    if (this.#connecting !== undefined || this.#backoffTimer !== undefined) return
    this.connect().catch(() => undefined)
  }

  /** Dials again and again, with pauses, as long as somebody waits. */
  #reconnectLater(): void {
    if (this.#held.length === 0) return
    const pause = Math.min(FIRST_BACKOFF_MS * 2 ** (this.#failures - 1), LAST_BACKOFF_MS)
    clearTimeout(this.#backoffTimer)
    this.#backoffTimer = setTimeout(() => {
      this.#backoffTimer = undefined
      if (this.#held.length > 0) this.#reconnect()
    }, pause)
  }

  async #connect(): Promise<Connection> {
    const { dial, ending } = this.#ground
    try {
      const connection = await dial(ending)
      this.#connecting = undefined
      if (ending.aborted) {
        connection.destroy(ending.reason)
        throw ending.reason
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

  /** From now on it is this one. */
  #use(connection: Connection): void {
    this.#connection = connection
    this.#count += 1
    this.#failures = 0
    this.#lastFailure = undefined
    this.#options.onConnect?.()
    void connection.closed.then(() => {
      this.#options.onDisconnect?.(connection.error as Error)
      this.#lose(connection)
    })
    this.#idle.follow(connection)
    this.#silence.follow(connection)
    this.#held.release()
  }

  #suspect(): void {
    this.#lastFailure = silentError(this.#address, `no byte for ${this.#options.suspectAfter} ms`)
    this.#options.onTrouble?.(this.#lastFailure)
  }

  #lose(connection: Connection): void {
    if (this.#connection !== connection) return
    this.#connection = undefined
    this.#idle.stop()
    this.#silence.stop()
    if (this.#ground.ending.aborted) return
    this.#lastFailure = connection.error
    this.#options.onTrouble?.(connection.error as Error)
    if (this.#held.length > 0) this.#reconnect()
  }
}
