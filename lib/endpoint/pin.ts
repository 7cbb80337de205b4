// The connection of its own that a lazy lease has from its first command on that needs one.
//
//     borrowing ── borrowed, and the lease's earlier commands answered ──► ready ──► closed
//         └─────── no connection to be had, close(), destroy() ──► failed
//
// Commands that come while it is borrowed wait here, each within its deadline, and go in their order. When there is
// no connection to be had, all of them fail, and later ones too: none of them may run without those before it.

import { isBlocking } from '../commands/index.ts'
import type { Connection, ExecuteOptions } from '../connection/index.ts'
import { PoolError } from '../errors.ts'
import type { Lease } from '../pool/index.ts'
import { type Argument, checkCommand, type Reply } from '../resp/index.ts'
import { deadlineOf, executeBefore } from './deadline.ts'
import { type HoldLimits, HoldQueue, heldBytes, ownCommand } from './hold-queue.ts'

/** What a pin needs of the endpoint. */
export interface PinHost {
  readonly address: string
  /** Why the endpoint ended. */
  readonly error: Error | undefined
  /** Milliseconds for a command that says nothing else; 0 = no limit. */
  readonly commandTimeout: number
  /** Milliseconds for what still waits when the lease is given back; 0 = no limit. */
  readonly resetTimeoutMs: number
  readonly limits: HoldLimits
  /** Lends a connection of the pool. */
  borrow(signal: AbortSignal): Promise<Lease<Connection>>
}

export class Pin {
  readonly #host: PinHost
  readonly #held: HoldQueue
  /** Ends the wait for a connection. */
  readonly #ending = new AbortController()
  /** Commands that wait, and those that have just been released and are about to go. */
  #queued = 0
  #lease: Lease<Connection> | undefined
  #isReady = false
  #error: Error | undefined
  /** Tells a `close()` that nothing waits any more. */
  #onDrained: (() => void) | undefined

  /** @param answered resolves when the lease's commands on the shared connection have ended; never rejects */
  constructor(host: PinHost, answered: Promise<void>) {
    this.#host = host
    this.#held = new HoldQueue(`connection of its own to ${host.address}`, host.limits, () => undefined)
    void this.#borrow(answered)
  }

  /** Why there is no connection, or why it died. */
  get error(): Error | undefined {
    return this.#error ?? this.#lease?.error ?? this.#host.error
  }

  /** `undefined` until it is ready. */
  get connection(): Connection | undefined {
    return this.#isReady ? this.#lease?.connection : undefined
  }

  /** Runs the command on it, as soon as it is there. */
  execute(command: readonly Argument[], options?: ExecuteOptions): Promise<Reply> {
    if (this.#error !== undefined) return Promise.reject(this.#error)
    if (this.#isReady && this.#queued === 0) return this.#owned.execute(command, options)
    checkCommand(command)
    return this.#executeWhenReady(ownCommand(command), options)
  }

  /** Resolves when it is there. */
  async ready(signal: AbortSignal | undefined): Promise<Connection> {
    if (this.#error !== undefined) throw this.#error
    if (!this.#isReady) {
      await this.#held.wait({ bytes: 0, expiresAt: Number.POSITIVE_INFINITY, timeout: 0, signal })
    }
    return this.#owned.connection
  }

  /** Lets what waits go, within the bound, and gives the connection back. Never rejects. */
  async close(): Promise<void> {
    if (this.#queued > 0) await this.#drained()
    if (this.#isReady) await this.#lease?.close()
    else this.#fail(leaseReturned())
  }

  /** Fails what waits, destroys the connection. */
  destroy(error: Error | undefined): void {
    if (this.#isReady) this.#lease?.destroy(error)
    else this.#fail(error ?? leaseReturned())
  }

  get #owned(): Lease<Connection> {
    return this.#lease as Lease<Connection>
  }

  async #borrow(answered: Promise<void>): Promise<void> {
    let lease: Lease<Connection>
    try {
      lease = await this.#host.borrow(this.#ending.signal)
    } catch (error) {
      // a pool that was destroyed says only that: the endpoint knows why
      this.#fail(this.#host.error ?? (error as Error))
      return
    }
    if (this.#error !== undefined) return void lease.close() // it came too late
    this.#lease = lease
    await answered
    if (this.#error !== undefined) return
    this.#isReady = true
    this.#held.release()
  }

  async #executeWhenReady(command: readonly Argument[], options: ExecuteOptions | undefined): Promise<Reply> {
    const deadline = deadlineOf(options, this.#host.commandTimeout)
    this.#queued += 1
    let reply: Promise<Reply>
    try {
      if (this.#isReady)
        await undefined // behind those that were released a moment ago
      else await this.#held.wait({ ...deadline, bytes: heldBytes(command), signal: options?.signal })
      // the time that a blocking command brings along begins at the server
      const hasOwnTime = options?.timeout === undefined && isBlocking(command)
      reply = hasOwnTime
        ? this.#owned.execute(command, options)
        : executeBefore(deadline, this.#owned, command, options)
    } finally {
      this.#queued -= 1
      if (this.#queued === 0) this.#onDrained?.()
    }
    return await reply
  }

  async #drained(): Promise<void> {
    const { resetTimeoutMs } = this.#host
    let timer: NodeJS.Timeout | undefined
    await new Promise<void>((resolve) => {
      this.#onDrained = resolve
      if (resetTimeoutMs > 0) timer = setTimeout(resolve, resetTimeoutMs)
    })
    clearTimeout(timer)
  }

  #fail(error: Error): void {
    if (this.#error !== undefined) return
    this.#error = error
    this.#held.fail(error)
    this.#ending.abort(error)
    void this.#lease?.close() // nothing was sent there
  }
}

export function leaseReturned(): PoolError {
  return new PoolError('LEASE_RETURNED', 'the lease was given back')
}
