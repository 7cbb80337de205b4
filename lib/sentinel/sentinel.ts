// What the user holds of a Sentinel deployment: the pools of the master and of the replicas, whoever they are,
// the topology and its events. The work is done in router.ts.

import { type EndpointStats, RolePool } from '../endpoint/index.ts'
import { PoolError } from '../errors.ts'
import { BoundEmitter, tellEach } from './bound-emitter.ts'
import type { SwitchEvent } from './mastership.ts'
import { resolveSentinelOptions, type SentinelOptions } from './options.ts'
import { SentinelRouter } from './router.ts'
import type { Topology } from './topology.ts'

/** None of them is needed to work; there is no event named `error`. */
export interface SentinelEvents {
  /** A failover was followed: the endpoints have been swapped, the old ones fenced. */
  switch: [event: SwitchEvent]
  /** Something about the topology has changed. */
  topology: [topology: Topology]
}

/**
 * The servers behind a name that sentinels watch. Connects on first use.
 *
 * @example
 * const ha = new Sentinel({ name: 'localmaster', sentinels: ['127.0.0.1:26379'], pool: { maxIdle: 10 } })
 * await ha.master.use((lease) => lease.call('SET', 'key', 'value'))
 * await ha.close()
 */
export class Sentinel extends BoundEmitter<SentinelEvents> {
  /** The pool of the current master. */
  readonly master: RolePool
  /** The pool of a healthy replica, as `readFrom` says. */
  readonly replica: RolePool
  readonly #router: SentinelRouter
  readonly #holdTimeoutMs: number

  /** @throws {TypeError} {RangeError} an option that is wrong */
  constructor(options: SentinelOptions) {
    super()
    const resolved = resolveSentinelOptions(options)
    this.#holdTimeoutMs = resolved.holdTimeout
    this.#router = new SentinelRouter(resolved, {
      onSwitch: (event) => tellEach<SentinelEvents, 'switch'>(this, 'switch', event),
      onTopology: (topology) => tellEach<SentinelEvents, 'topology'>(this, 'topology', topology),
    })
    this.master = new RolePool(this.#router, 'write', resolved.holdTimeout)
    this.replica = new RolePool(this.#router, resolved.readFrom, resolved.holdTimeout)
  }

  /** Who is master and who are the replicas, as known now: a frozen snapshot. */
  get topology(): Topology {
    return this.#router.topology
  }

  /**
   * Resolves when the master is known and verified.
   *
   * @throws what {@link RolePool.get} throws
   */
  async ready({ signal }: { readonly signal?: AbortSignal | undefined } = {}): Promise<void> {
    const timeout = this.#holdTimeoutMs
    const expiresAt = timeout === 0 ? Number.POSITIVE_INFINITY : performance.now() + timeout
    while (this.#router.isClosed || this.#router.pick('write') === undefined) {
      await this.#router.hold({ bytes: 0, expiresAt, timeout, signal })
    }
  }

  /** What is held open to each server. */
  stats(): { readonly master: EndpointStats | undefined; readonly replicas: readonly EndpointStats[] } {
    return this.#router.stats()
  }

  /** Finishes the work: nothing new is taken, what is in flight and lent is waited for. */
  close(): Promise<void> {
    return this.#router.close()
  }

  /** Fails the work: all connections are destroyed, lent ones too. */
  destroy(error: Error = new PoolError('CLIENT_CLOSED', 'the client was destroyed')): void {
    this.#router.destroy(error)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }
}
