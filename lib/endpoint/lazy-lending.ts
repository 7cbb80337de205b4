// The lazy leases of one endpoint: their permits, and what they stand on, which is the endpoint's shared connection
// and its pool.

import type { Connection, ExecuteOptions } from '../connection/index.ts'
import { type Lease, resolvePoolOptions } from '../pool/index.ts'
import { type Argument, checkCommand, type Reply } from '../resp/index.ts'
import { ownCommand } from './hold-queue.ts'
import { type LazyHost, LazyLease } from './lazy-lease.ts'
import type { EndpointOptions } from './options.ts'
import { Permits } from './permits.ts'

/** What the endpoint lets its lazy leases use, to the very end: its `close()` waits for them. */
export interface LazyGround {
  readonly address: string
  /** Why it ended. */
  error(): Error | undefined
  /** The shared connection, if a command can go at once. */
  flowing(): Connection | undefined
  /** Runs a command on it when it is there. The bytes must stay unchanged until then. */
  executeLater(command: readonly Argument[], options: ExecuteOptions | undefined): Promise<Reply>
  /** Lends a connection of the pool. */
  borrow(signal: AbortSignal): Promise<Lease<Connection>>
}

export class LazyLending implements LazyHost {
  readonly address: string
  readonly commandTimeout: number
  readonly resetTimeoutMs: number
  readonly limits: LazyHost['limits']
  readonly #ground: LazyGround
  readonly #permits: Permits<LazyLease>

  /** @throws {TypeError} {RangeError} an option of the pool that is wrong */
  constructor(
    options: Pick<EndpointOptions, 'connection' | 'pool' | 'maxHeld' | 'maxHeldBytes'>,
    ground: LazyGround,
  ) {
    const { connection, pool, maxHeld, maxHeldBytes } = options
    const resolved = resolvePoolOptions({ ...pool, dial: () => Promise.reject(new Error('never dialed')) })
    this.address = ground.address
    this.commandTimeout = connection.commandTimeout
    this.resetTimeoutMs = resolved.resetTimeoutMs
    this.limits = { maxHeld, maxHeldBytes }
    this.#ground = ground
    this.#permits = new Permits(resolved, () => new LazyLease(this))
  }

  /** Leases that are out, and callers that wait for one. */
  get counts(): { readonly out: number; readonly waiting: number } {
    return Object.freeze({ out: this.#permits.outCount, waiting: this.#permits.waitingCount })
  }

  get error(): Error | undefined {
    return this.#ground.error()
  }

  /** Lends one; see {@link Permits.take}. */
  get(signal: AbortSignal | undefined): Promise<LazyLease> {
    return this.#permits.take(signal)
  }

  execute(command: readonly Argument[], options?: ExecuteOptions): Promise<Reply> {
    const shared = this.#ground.flowing()
    if (shared !== undefined) return shared.execute(command, options)
    checkCommand(command)
    return this.#ground.executeLater(ownCommand(command), options)
  }

  executeAll(
    commands: readonly (readonly Argument[])[],
    options?: ExecuteOptions,
  ): Promise<(Reply | Error)[]> {
    const shared = this.#ground.flowing()
    if (shared !== undefined) return shared.executeAll(commands, options)
    for (const command of commands) checkCommand(command)
    return Promise.all(
      commands.map((command) => this.execute(command, options).catch((error: Error) => error)),
    )
  }

  borrow(signal: AbortSignal): Promise<Lease<Connection>> {
    return this.#ground.borrow(signal)
  }

  giveBack(): void {
    this.#permits.giveBack()
  }

  /** Nobody gets one any more; resolves when all are back. */
  close(): Promise<void> {
    return this.#permits.close()
  }

  /** Those who wait fail with the error; what is out is not waited for. */
  destroy(error: Error): void {
    this.#permits.destroy(error)
  }
}
