// What the parts of one pool share.

import type { ResolvedPoolOptions } from './options.ts'
import type { PooledConnection } from './pooled-connection.ts'
import type { PoolCounters } from './stats.ts'

export interface PoolContext<T extends PooledConnection> {
  readonly options: ResolvedPoolOptions<T>
  /** The clock: milliseconds, monotonic. */
  readonly now: () => number
  readonly counters: PoolCounters
  /** The pool itself, for those who trace it. */
  readonly pool: object
}
