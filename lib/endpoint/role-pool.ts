// The pool of whoever has a role at the moment: `get()` borrows from the master's pool, or a replica's, and
// goes on to the next one when a failover replaces it while the caller waits.

import { setTimeout as sleep } from 'node:timers/promises'
import type { Connection } from '../connection/index.ts'
import { AbortError, RespoolError } from '../errors.ts'
import type { Lease } from '../pool/index.ts'
import type { Endpoint } from './endpoint.ts'
import { isRetriable } from './outcome.ts'
import type { ReadFrom } from './read-from.ts'
import { RETRY_MS, type Route } from './route.ts'

export class RolePool {
  readonly #route: Route
  readonly #target: 'write' | ReadFrom
  readonly #holdTimeoutMs: number

  /** For whoever knows the route; users get one from `Sentinel`. */
  constructor(route: Route, target: 'write' | ReadFrom, holdTimeoutMs: number) {
    this.#route = route
    this.#target = target
    this.#holdTimeoutMs = holdTimeoutMs
  }

  /**
   * Borrows a connection; give it back with `lease.close()`. `lease.connection.address` tells whose it is. A
   * lease does not move: when its server is replaced while it is out, it dies with `FENCED`.
   *
   * @throws {TimeoutError} `COMMAND_TIMEOUT`: no such server within `holdTimeout`; the cause tells why
   * @throws {SentinelError} `MASTER_UNKNOWN`
   * @throws {PoolError} `POOL_EXHAUSTED`, `CLIENT_CLOSED`
   * @throws {ConnectionError} why the server could not be connected to, when `holdTimeout` has passed
   * @throws {AbortError} `ABORT_ERR`
   */
  async get({ signal }: { readonly signal?: AbortSignal | undefined } = {}): Promise<Lease<Connection>> {
    const timeout = this.#holdTimeoutMs
    const expiresAt = timeout === 0 ? Number.POSITIVE_INFINITY : performance.now() + timeout
    let last: Endpoint | undefined
    for (;;) {
      if (signal?.aborted) throw new AbortError(signal)
      const endpoint = this.#route.isClosed ? undefined : this.#route.pick(this.#target)
      if (endpoint === undefined) {
        await this.#route.hold({ bytes: 0, expiresAt, timeout, signal, target: this.#target })
        continue
      }
      if (endpoint === last) await sleep(RETRY_MS)
      try {
        const lease = await endpoint.pool.get({ signal })
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
  async use<R>(
    work: (lease: Lease<Connection>) => R | Promise<R>,
    options?: { readonly signal?: AbortSignal | undefined },
  ): Promise<R> {
    const lease = await this.get(options)
    try {
      return await work(lease)
    } finally {
      await lease.close()
    }
  }
}
