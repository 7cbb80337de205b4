// A lease that has no connection of its own until it needs one: a permit, whose commands travel on the endpoint's
// shared connection with everybody else's.
//
//     shared ── a command that blocks, or changes its connection; pin() ──► pinned
//        └──────────────────────── close(), destroy() ───────────────────────┴──► returned
//
// From the first command that needs it on, all go over the connection of its own, in their order, and the first of
// them leaves when those on the shared connection have ended. So no command changes what others share, and none
// overtakes another of the same lease. What is not isolated is in docs/lazy-lease.md.

import { setTimeout as sleep } from 'node:timers/promises'
import { connectionEffect, isBlocking, isOrdinary, StateBit } from '../commands/index.ts'
import type { Connection, ExecuteOptions } from '../connection/index.ts'
import { PoolError } from '../errors.ts'
import { type Argument, checkCommand, type Reply } from '../resp/index.ts'
import { leaseReturned, Pin, type PinHost } from './pin.ts'
import { RETRY_MS } from './route.ts'

/**
 * What lazy leases need of the endpoint.
 *
 * @internal
 */
export interface LazyHost extends PinHost {
  /** Runs a command on the shared connection; its bytes are the caller's when this returns. */
  execute(command: readonly Argument[], options?: ExecuteOptions): Promise<Reply>
  executeAll(commands: readonly (readonly Argument[])[], options?: ExecuteOptions): Promise<(Reply | Error)[]>
  /** Takes the permit back. */
  giveBack(): void
}

/**
 * A lease whose commands share a connection with others, until the first one that cannot: `lease({ lazy: true })`.
 * The caller has to give it back: by {@link LazyLease.close}, by `await using`, or by {@link LazyLease.destroy}.
 *
 * @see docs/lazy-lease.md
 */
export class LazyLease {
  readonly #host: LazyHost
  #pin: Pin | undefined
  #closed: Promise<void> | undefined
  /** The last command on the shared connection with the usual deadline: those like it have ended when it has. */
  #last: Promise<unknown> | undefined
  /** Commands there that may end before or after those around them: with a deadline or a signal of their own. */
  #strayCount = 0
  /** Tells the pin that there are none any more. */
  #onNoStrays: (() => void) | undefined

  /**
   * For the endpoint.
   *
   * @internal
   */
  constructor(host: LazyHost) {
    this.#host = host
  }

  /** Whose lease it is: `host:port` or the path of a unix socket. */
  get address(): string {
    return this.#host.address
  }

  /** Whether it has a connection of its own. */
  get isPinned(): boolean {
    return this.#closed === undefined && this.#pin?.connection !== undefined
  }

  /**
   * The connection of its own; `undefined` as long as there is none. Do not keep it beyond the lease, and send no
   * command through it that changes its state: only what passes through the lease is sure to be undone.
   *
   * @throws {PoolError} `LEASE_RETURNED`
   */
  get connection(): Connection | undefined {
    if (this.#closed !== undefined) throw leaseReturned()
    return this.#pin?.connection
  }

  /**
   * Why no command can be run any more: its connection died, or there was none to be had, or the endpoint ended; a
   * `PoolError` with `LEASE_RETURNED` after the end; `undefined` while it can be used. As long as nothing is pinned, the
   * loss of the shared connection is none: the next command brings it up again.
   */
  get error(): Error | undefined {
    if (this.#closed !== undefined) return leaseReturned()
    return this.#pin === undefined ? this.#host.error : this.#pin.error
  }

  /**
   * Runs a command: `call('SET', 'key', 'value')`.
   *
   * @throws {PoolError} `LEASE_RETURNED`; of one that needs a connection of its own, and of those behind it, also
   *   `POOL_EXHAUSTED`, `QUEUE_FULL`, and whatever else there was no connection for
   * @throws for the rest see {@link Connection.call}
   */
  call(...command: [name: string, ...args: Argument[]]): Promise<Reply> {
    return this.execute(command)
  }

  /** {@link LazyLease.call} with options. Time that a command waits for its connection counts to its deadline. */
  execute(command: readonly Argument[], options?: ExecuteOptions): Promise<Reply> {
    if (this.#closed !== undefined) return Promise.reject(leaseReturned())
    const needsPin = !isOrdinary(command) && needsOwn(command)
    if (needsPin || this.#pin !== undefined) return this.#pinned().execute(command, options)
    return this.#follow(this.#host.execute(command, options), options)
  }

  /**
   * Runs several commands, in order. With one among them that needs a connection of its own, all of them go there.
   *
   * @returns for each its reply, or the error it ended with: one that failed says nothing of the others
   * @throws what {@link LazyLease.execute} throws when nothing of it was taken
   */
  executeAll(
    commands: readonly (readonly Argument[])[],
    options?: ExecuteOptions,
  ): Promise<(Reply | Error)[]> {
    if (this.#closed !== undefined) return Promise.reject(leaseReturned())
    let needsPin = this.#pin !== undefined
    for (const command of commands) {
      if (!isOrdinary(command) && needsOwn(command)) needsPin = true
    }
    if (!needsPin) return this.#follow(this.#host.executeAll(commands, options), options)
    for (const command of commands) checkCommand(command) // all of them before the first is sent
    const pin = this.#pinned()
    const outcome = (command: readonly Argument[]): Promise<Reply | Error> =>
      pin.execute(command, options).catch((error: Error) => error)
    return Promise.all(commands.map(outcome))
  }

  /**
   * Takes a connection of its own now, without a command that needs it: for what speaks of its connection (WAIT), and
   * to set `onPush` before SUBSCRIBE.
   *
   * @param options the signal ends the waiting, not the borrowing
   * @throws {AbortError} `ABORT_ERR`
   * @throws {PoolError} `LEASE_RETURNED`, `POOL_EXHAUSTED`, `QUEUE_FULL`
   * @throws why the server could not be connected to
   */
  async pin({ signal }: { readonly signal?: AbortSignal | undefined } = {}): Promise<Connection> {
    if (this.#closed !== undefined) throw leaseReturned()
    const connection = await this.#pinned().ready(signal)
    if (this.#closed !== undefined) throw leaseReturned()
    return connection
  }

  /**
   * Gives it back. A connection of its own returns to the pool as that of any lease does, and commands that wait for it
   * still go first, within `resetTimeout`. Those on the shared connection get their replies, which are not waited for.
   *
   * @returns a promise that resolves when the lease has ended; it never rejects. Later calls change nothing.
   */
  close(): Promise<void> {
    this.#closed ??= this.#giveBack()
    return this.#closed
  }

  /**
   * Gives it up: a connection of its own is destroyed, what is pending on it or waits for it rejects. What is on the
   * shared connection stays there. After the lease has ended it does nothing.
   */
  destroy(error?: Error): void {
    this.#pin?.destroy(error)
    void this.close()
  }

  /** {@link LazyLease.close} */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  /** {@link LazyLease.close}, without waiting for what there is to undo. */
  [Symbol.dispose](): void {
    void this.close()
  }

  #giveBack(): Promise<void> {
    this.#last = undefined // and with it the reply
    if (this.#pin !== undefined) return this.#pin.close().then(() => this.#host.giveBack())
    this.#host.giveBack()
    return RETURNED
  }

  #follow<R>(reply: Promise<R>, options: ExecuteOptions | undefined): Promise<R> {
    if (options?.timeout !== undefined || options?.signal !== undefined) return this.#followStray(reply)
    this.#last = reply
    return reply
  }

  async #followStray<R>(reply: Promise<R>): Promise<R> {
    this.#strayCount += 1
    try {
      return await reply
    } finally {
      this.#strayCount -= 1
      if (this.#strayCount === 0) this.#onNoStrays?.()
    }
  }

  #pinned(): Pin {
    this.#pin ??= new Pin(this.#host, this.#answered())
    return this.#pin
  }

  /** Resolves when all commands on the shared connection have ended. */
  async #answered(): Promise<void> {
    const last = this.#last
    this.#last = undefined
    if (last !== undefined && !(await wasTaken(last))) {
      // one that there was no room for says nothing of those before it: one that is taken comes behind them
      while (!(await wasTaken(this.#host.execute(['PING'])))) await sleep(RETRY_MS)
    }
    if (this.#strayCount > 0) {
      await new Promise<void>((resolve) => {
        this.#onNoStrays = resolve
      })
    }
  }
}

/** What most leases end with; one for all, since nothing is told by it. */
const RETURNED = Promise.resolve()

/** Resolves when the command has ended: to whether there was room for it. */
async function wasTaken(reply: Promise<unknown>): Promise<boolean> {
  try {
    await reply
    return true
  } catch (error) {
    return !(error instanceof PoolError && error.code === 'QUEUE_FULL')
  }
}

/** @throws {TypeError} what is none, and what no connection takes */
function needsOwn(command: readonly Argument[]): boolean {
  checkCommand(command)
  const effect = connectionEffect(command)
  if (effect === undefined) return isBlocking(command)
  if ((effect.sets & StateBit.reply) !== 0) {
    throw new TypeError('CLIENT REPLY is not supported: a command here is the promise of its reply')
  }
  return true
}
