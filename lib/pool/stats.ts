// What a pool counts, and the snapshot that users see of it. The first four figures are redigo's, with its rules.

/** Why the pool gave up a connection. */
export type EvictionReason =
  | 'overflow'
  | 'idleTimeout'
  | 'lifetime'
  | 'failedTest'
  | 'broken'
  | 'dirty'
  | 'suspect'
  | 'retired'

/** How many connections the pool gave up, by reason; those that its own end cost are not counted. */
export interface PoolEvictions {
  /** Closed because more than `maxIdle` were idle. Near to `dials`, it says that `maxIdle` is too small. */
  readonly overflow: number
  /** Closed because it had been idle for longer than `idleTimeout`. */
  readonly idleTimeout: number
  /** Closed because it had reached `maxConnLifetime`. */
  readonly lifetime: number
  /** Destroyed because its borrow test failed or was interrupted. */
  readonly failedTest: number
  /** Died idle, was found dead when it was returned, or destroyed by its borrower. */
  readonly broken: number
  /** Destroyed because it could not be made clean, or not in time, after its borrower had returned it. */
  readonly dirty: number
  /** Destroyed untested because another was lost to the network: see `distrust`. */
  readonly suspect: number
  /** Closed because the pool was told to `retire()` it. */
  readonly retired: number
}

/** A frozen snapshot of what a pool has and what it has done. */
export interface PoolStats {
  /** Connections of the pool now: idle, lent, being dialed, and about to be when `maxConcurrentDials` allows. */
  readonly activeCount: number
  /** Idle connections now. */
  readonly idleCount: number
  /**
   * How many calls of `get()` have waited for a place and came to the end of the queue: by a place, or because the
   * pool was closed. Those that were aborted or ran out of time while waiting are not counted.
   */
  readonly waitCount: number
  /** How long those have waited together, in milliseconds. */
  readonly waitDuration: number
  /** The longest of those waits, in milliseconds. */
  readonly longestWait: number
  /** Calls of `get()` that wait now, for a place or for their turn to dial. */
  readonly waitingCount: number
  /** Calls of `get()` that got an idle connection. */
  readonly hits: number
  /** Calls of `get()` that found no idle connection they could have, whether they dialed one or failed. */
  readonly misses: number
  /** Calls of `get()` that failed because `waitTimeout` had passed. */
  readonly timeouts: number
  /** Calls of `get()` that were ended by their signal. */
  readonly aborts: number
  /** Calls of `get()` that were turned away with `QUEUE_FULL`. */
  readonly rejections: number
  /** Calls of `dial`, the failed ones included. */
  readonly dials: number
  /** Calls of `dial` that failed, be it because they were aborted. */
  readonly dialFailures: number
  /** Leases that were out for longer than `leakTimeout`; see there. */
  readonly leaks: number
  readonly evictions: PoolEvictions
}

/** The counters behind {@link PoolStats}. */
export class PoolCounters {
  hits = 0
  misses = 0
  timeouts = 0
  aborts = 0
  rejections = 0
  dials = 0
  dialFailures = 0
  leaks = 0
  waitCount = 0
  waitDurationMs = 0
  longestWaitMs = 0
  readonly evictions: Record<EvictionReason, number> = {
    overflow: 0,
    idleTimeout: 0,
    lifetime: 0,
    failedTest: 0,
    broken: 0,
    dirty: 0,
    suspect: 0,
    retired: 0,
  }

  waited(durationMs: number): void {
    this.waitCount++
    this.waitDurationMs += durationMs
    if (durationMs > this.longestWaitMs) this.longestWaitMs = durationMs
  }

  snapshot(now: Pick<PoolStats, 'activeCount' | 'idleCount' | 'waitingCount'>): PoolStats {
    const { waitDurationMs, longestWaitMs, evictions, ...counts } = this
    return Object.freeze({
      ...now,
      ...counts,
      waitDuration: waitDurationMs,
      longestWait: longestWaitMs,
      evictions: Object.freeze({ ...evictions }),
    })
  }
}
