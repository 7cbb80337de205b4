// What a pool counts, and the snapshot that users see of it. The first four figures are redigo's, with its rules.

/** Why the pool gave up a connection. */
export type EvictionReason = 'overflow' | 'idleTimeout' | 'lifetime' | 'failedTest' | 'broken' | 'dirty'

/** How many connections the pool gave up, by reason; those that its own end cost are not counted. */
export interface PoolEvictions {
  /** Closed because more than `maxIdle` were idle. Near to `dials`, it says that `maxIdle` is too small. */
  readonly overflow: number
  /** Closed because it had been idle for longer than `idleTimeout`. */
  readonly idleTimeout: number
  /** Closed because it had reached `maxConnLifetime`. */
  readonly lifetime: number
  /** Destroyed because `testOnBorrow` failed or was interrupted. */
  readonly failedTest: number
  /** Found dead when it was returned or about to be lent, or destroyed by its borrower. */
  readonly broken: number
  /** Destroyed because it could not be made clean, or not in time, after its borrower had returned it. */
  readonly dirty: number
}

/** A frozen snapshot of what a pool has and what it has done. */
export interface PoolStats {
  /** Connections of the pool now: idle, lent, and being dialed. */
  readonly activeCount: number
  /** Idle connections now. */
  readonly idleCount: number
  /**
   * How many calls of `get()` have waited and came to the end of the queue: by a place, or because the pool was
   * closed. Those that were aborted while waiting are not counted.
   */
  readonly waitCount: number
  /** How long those have waited together, in milliseconds. */
  readonly waitDuration: number
  /** Calls of `get()` that wait now. */
  readonly waitingCount: number
  /** Calls of `get()` that got an idle connection. */
  readonly hits: number
  /** Calls of `get()` that found no idle connection they could have, whether they dialed one or failed. */
  readonly misses: number
  /** Calls of `dial`, the failed ones included. */
  readonly dials: number
  /** Calls of `dial` that failed, be it because they were aborted. */
  readonly dialFailures: number
  readonly evictions: PoolEvictions
}

/** The counters behind {@link PoolStats}. */
export class PoolCounters {
  hits = 0
  misses = 0
  dials = 0
  dialFailures = 0
  waitCount = 0
  waitDurationMs = 0
  readonly evictions: Record<EvictionReason, number> = {
    overflow: 0,
    idleTimeout: 0,
    lifetime: 0,
    failedTest: 0,
    broken: 0,
    dirty: 0,
  }

  waited(durationMs: number): void {
    this.waitCount++
    this.waitDurationMs += durationMs
  }

  snapshot(now: Pick<PoolStats, 'activeCount' | 'idleCount' | 'waitingCount'>): PoolStats {
    return Object.freeze({
      ...now,
      waitCount: this.waitCount,
      waitDuration: this.waitDurationMs,
      hits: this.hits,
      misses: this.misses,
      dials: this.dials,
      dialFailures: this.dialFailures,
      evictions: Object.freeze({ ...this.evictions }),
    })
  }
}
