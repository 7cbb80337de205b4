// What knows where a command goes: one server, a Sentinel deployment and, later, a Cluster each satisfy it.

import type { Endpoint } from './endpoint.ts'
import type { HoldRequest, Waiting } from './hold-queue.ts'
import type { Target } from './read-from.ts'

export interface Route {
  readonly isClosed: boolean
  /**
   * Where a command goes now; `undefined`: nowhere yet, `hold()` until it is worth asking again.
   *
   * @param maxStaleness milliseconds by which what a replica has may be old; 0 = any age. @default the route's own
   * @throws {TypeError} a function given as `readFrom` threw, or chose what was not there
   */
  pick(target: Target, maxStaleness?: number): Endpoint | undefined
  /**
   * Waits until `pick()` is worth another try.
   *
   * @throws {PoolError} `QUEUE_FULL`, `CLIENT_CLOSED`
   * @throws {TimeoutError} `COMMAND_TIMEOUT`; its cause tells why there was nobody
   * @throws {SentinelError} `MASTER_UNKNOWN`, at once: no sentinel knows the name
   * @throws {AbortError} `ABORT_ERR`
   */
  hold(request: HoldRequest): Promise<void>
  /** {@link hold} without a promise: it proceeds when `pick()` is worth another try. */
  enqueue(waiting: Waiting): void
  /** A command failed there in a way that says something about the server. */
  report(endpoint: Endpoint, error: Error): void
}

/** Between two attempts at the same server: flat, so that the end of a failover is not slept through. */
export const RETRY_MS = 50
