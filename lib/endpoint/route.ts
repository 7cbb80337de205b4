// What knows where a command goes: one server, a Sentinel deployment and, later, a Cluster each satisfy it.

import type { Endpoint } from './endpoint.ts'
import type { HoldRequest } from './hold-queue.ts'

/** Which server a read goes to. A preference falls back to the other kind, the others do not. */
export type ReadFrom = 'master' | 'prefer-master' | 'replica' | 'prefer-replica'

/** What a command wants of a server. */
export type Target = 'write' | ReadFrom

const READ_FROM: readonly ReadFrom[] = Object.freeze(['master', 'prefer-master', 'replica', 'prefer-replica'])

/** @throws {RangeError} */
export function checkReadFrom(readFrom: unknown): asserts readFrom is ReadFrom {
  if (!READ_FROM.includes(readFrom as ReadFrom)) {
    throw new RangeError(
      `option readFrom must be one of ${READ_FROM.join(', ')}, got ${JSON.stringify(readFrom)}`,
    )
  }
}

export interface Route {
  readonly isClosed: boolean
  /** Where a command goes now; `undefined`: nowhere yet, `hold()` until it is worth asking again. */
  pick(target: Target): Endpoint | undefined
  /**
   * Waits until `pick()` is worth another try.
   *
   * @throws {PoolError} `QUEUE_FULL`, `CLIENT_CLOSED`
   * @throws {TimeoutError} `COMMAND_TIMEOUT`; its cause tells why there was nobody
   * @throws {SentinelError} `MASTER_UNKNOWN`, at once: no sentinel knows the name
   * @throws {AbortError} `ABORT_ERR`
   */
  hold(request: HoldRequest): Promise<void>
  /** A command failed there in a way that says something about the server. */
  report(endpoint: Endpoint, error: Error): void
}

/** Between two attempts at the same server: flat, so that the end of a failover is not slept through. */
export const RETRY_MS = 50
