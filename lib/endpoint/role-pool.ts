// The pool of whoever has a role at the moment: `get()` borrows from the master's pool, or a replica's, and
// goes on to the next one when a failover replaces it while the caller waits.

import { setTimeout as sleep } from 'node:timers/promises'
import type { Connection } from '../connection/index.ts'
import { AbortError, RespoolError } from '../errors.ts'
import type { Lease } from '../pool/index.ts'
import type { Endpoint } from './endpoint.ts'
import type { LazyLease } from './lazy-lease.ts'
import { isRetriable } from './outcome.ts'
import type { ReadFrom } from './read-from.ts'
import { RETRY_MS, type Route } from './route.ts'

/** How one lease differs. */
export interface LeaseOptions {
  /** Ends the wait for a lease. Once it is there, it has no effect. */
  readonly signal?: AbortSignal | undefined
  /**
   * Whether it has a connection of its own only from the first command on that needs one, and shares one until then:
   * a {@link LazyLease}. @default false
   */
  readonly lazy?: boolean | undefined
}

type Lazily = LeaseOptions & { readonly lazy: true }
type Exclusively = LeaseOptions & { readonly lazy?: false | undefined }

export class RolePool {
  readonly #route: Route
  readonly #target: 'write' | ReadFrom
  readonly #holdTimeoutMs: number

  /**
   * For whoever knows the route; users get one from `Sentinel`.
   *
   * @internal
   */
  constructor(route: Route, target: 'write' | ReadFrom, holdTimeoutMs: number) {
    this.#route = route
    this.#target = target
    this.#holdTimeoutMs = holdTimeoutMs
  }

  /**
   * Borrows a connection; give it back with `lease.close()`. `lease.connection.address` tells whose it is. A
   * lease does not move: when its server is replaced while it is out, it dies with `FENCED`.
   *
   * With `lazy: true` no connection is needed yet, so that it waits for a server and for its turn only.
   *
   * @throws {TimeoutError} `COMMAND_TIMEOUT`: no such server within `holdTimeout`; the cause tells why
   * @throws {SentinelError} `MASTER_UNKNOWN`
   * @throws {PoolError} `POOL_EXHAUSTED`, `QUEUE_FULL`, `CLIENT_CLOSED`
   * @throws {ConnectionError} why the server could not be connected to, when `holdTimeout` has passed
   * @throws {AbortError} `ABORT_ERR`
   * @throws {TypeError} an option that is wrong
   */
  get(options: Lazily): Promise<LazyLease>
  get(options?: Exclusively): Promise<Lease<Connection>>
  get(options?: LeaseOptions): Promise<Lease<Connection> | LazyLease>
  async get({ signal, lazy = false }: LeaseOptions = {}): Promise<Lease<Connection> | LazyLease> {
    if (typeof lazy !== 'boolean') throw new TypeError(`option lazy must be a boolean, got ${typeof lazy}`)
    const timeout = this.#holdTimeoutMs
    const expiresAt = timeout === 0 ? Number.POSITIVE_INFINITY : performance.now() + timeout
    let last: Endpoint | undefined
    for (;;) {
      if (signal?.aborted) throw new AbortError(signal)
      const endpoint = this.#route.isClosed ? undefined : this.#route.pick(this.#target)
      if (endpoint === undefined) {
        await this.#route.hold({ bytes: 0, expiresAt, timeout, signal, target: () => this.#target })
        continue
      }
      if (endpoint === last) await sleep(RETRY_MS)
      try {
        const lease = await (lazy ? endpoint.lendLazily({ signal }) : endpoint.lend({ signal }))
        if (endpoint.isFit) return lease
        await lease.close() // while it was waited for, its replica fell behind or lost its master
      } catch (error) {
        const isMoved = endpoint.error !== undefined && !this.#route.isClosed
        if (!(isMoved || isRetriable(error, false)) || signal?.aborted) throw error
        if (performance.now() >= expiresAt) throw error
        if (error instanceof RespoolError) this.#route.report(endpoint, error)
        last = endpoint
      }
    }
  }

  /** Borrows, runs, gives back, whatever comes of it. */
  use<R>(work: (lease: LazyLease) => R | Promise<R>, options: Lazily): Promise<R>
  use<R>(work: (lease: Lease<Connection>) => R | Promise<R>, options?: Exclusively): Promise<R>
  async use<R>(work: (lease: never) => R | Promise<R>, options?: LeaseOptions): Promise<R> {
    const lease = await this.get(options)
    try {
      return await work(lease as never)
    } finally {
      await lease.close()
    }
  }
}
