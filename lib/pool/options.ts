// The pool's options: what they mean, their defaults, their check. The defaults are the zero values of redigo's
// Pool, so that an option left out means here what it means there.

import type { Connection } from '../connection/index.ts'
import { MAX_TIMER_MS } from './alarm.ts'
import {
  count,
  describe,
  duration,
  flag,
  optionalFunction,
  outOfRange,
  rejectUnknown,
  wrongType,
} from './option-checks.ts'
import type { PooledConnection } from './pooled-connection.ts'

/**
 * A clean-up is one round trip. A second is far beyond any healthy one and, as it is also the longest time that
 * a connection on its way back can keep a place from those who wait, not too long for them.
 */
const DEFAULT_RESET_TIMEOUT_MS = 1000

/** A dead server is dialed every ten seconds then, or a little more often. */
const DEFAULT_MAX_DIAL_BACKOFF_MS = 10_000

/** How a {@link Pool} opens its connections, how many it keeps, and for how long. */
export interface PoolOptions<T extends PooledConnection = Connection> {
  /**
   * Opens a connection. Called whenever one is wanted and none is idle, never retried: what it throws or rejects
   * with is what `get()` rejects with. The connection belongs to the pool from then on.
   *
   * The signal aborts when the caller of `get()` aborts and nobody else waits for a turn to dial, when the pool is
   * destroyed, and by `retire()`; `dial` has to settle then, for its place in the pool is taken until it does.
   */
  readonly dial: (signal: AbortSignal) => Promise<T>
  /**
   * How many idle connections are kept. One more, and the one that has been idle longest is closed.
   * `0` keeps none: every returned connection is closed.
   * @default 0
   */
  readonly maxIdle?: number | undefined
  /**
   * How many connections there may be at a time: idle, lent and being dialed together. `0` sets no limit.
   * @default 0
   */
  readonly maxActive?: number | undefined
  /**
   * Whether `get()` waits for a place, in the order of the calls, when `maxActive` connections are there already.
   * Otherwise it rejects at once with `POOL_EXHAUSTED`. Without `maxActive` it has no effect.
   * @default false
   */
  readonly wait?: boolean | undefined
  /**
   * Connections idle for longer than this many milliseconds are closed, by the next `get()` or by the sweeper. Choose less than the
   * server's own `timeout`. `0` keeps them for any time.
   * @default 0
   */
  readonly idleTimeout?: number | undefined
  /**
   * Connections of this age in milliseconds, or older, are closed instead of lent. Looked at when one is about to
   * be lent, and by the sweeper. `0` sets no limit.
   * @default 0
   */
  readonly maxConnLifetime?: number | undefined
  /**
   * Checks an idle connection before it is lent. If it throws or rejects, the connection is destroyed and the
   * next idle one is tried; what it returns does not matter. New connections are not tested.
   *
   * `lastUsedAt` is when the connection came back to the pool, in milliseconds of `performance.now()`. The signal
   * aborts as that of `dial` does; the connection under test is destroyed then.
   * @default no test
   */
  readonly testOnBorrow?: ((connection: T, lastUsedAt: number, signal: AbortSignal) => unknown) | undefined
  /**
   * How many milliseconds there are for cleaning a returned connection, and for closing one politely, before it is
   * destroyed. At most 2147483647. `0` sets no limit.
   * @default 1000
   */
  readonly resetTimeout?: number | undefined
  /**
   * How many idle connections are kept ready, from `warmUp()` or the first `get()` on: whenever there are less, the
   * pool dials in the background, as far as `maxActive` allows. At most `maxIdle`, and `maxActive` if that is set.
   * @default 0
   */
  readonly minIdle?: number | undefined
  /**
   * How many milliseconds a `get()` waits for a place before it rejects with `POOL_EXHAUSTED`; and, where
   * `maxConcurrentDials` makes it wait, for its turn to dial. At most 2147483647. `0` sets no limit.
   * @default 0
   */
  readonly waitTimeout?: number | undefined
  /**
   * How many calls of `get()` may wait at a time. One more is rejected with `QUEUE_FULL`. `0` sets no limit.
   * @default 0
   */
  readonly maxWaiting?: number | undefined
  /**
   * Every how many milliseconds idle connections are looked through for those that `idleTimeout` and
   * `maxConnLifetime` concern. The timer does not keep the process, and is there only while a connection is idle.
   * At most 2147483647. `0` leaves it to `get()`.
   * @default 0
   */
  readonly sweepInterval?: number | undefined
  /**
   * By how many milliseconds at most a connection's own lifetime is shorter than `maxConnLifetime`, at random, so
   * that connections that were dialed together do not end together. At most `maxConnLifetime`.
   * @default 0
   */
  readonly lifetimeJitter?: number | undefined
  /**
   * How many dials may be under way at a time. Further ones wait for their turn, in the order of the calls, unless a
   * connection comes back before that. `0` sets no limit.
   * @default 0
   */
  readonly maxConcurrentDials?: number | undefined
  /**
   * After a failed dial nobody dials for about this many milliseconds, doubled with each further failure up to
   * `maxDialBackoff`; then one at a time, until one succeeds. Whoever would have to dial meanwhile is rejected with
   * what the last dial failed with. Dials that were aborted do not count. `0` dials whenever it is asked to.
   * @default 0
   */
  readonly dialBackoff?: number | undefined
  /**
   * The longest pause between dials, in milliseconds. At least `dialBackoff`.
   * @default 10000, or `dialBackoff` if that is longer
   */
  readonly maxDialBackoff?: number | undefined
  /**
   * Connections that have been idle for longer than this many milliseconds are asked for a `PING`, within
   * `resetTimeout`, before they are lent, and before `testOnBorrow`. `0` asks none.
   * @default 0
   */
  readonly pingIfIdleLongerThan?: number | undefined
  /**
   * Whether one connection that is lost to the network, while it is lent or tested, makes the idle ones suspect: they
   * are tested at once, all together, and not one by one as they are borrowed. With nothing to test them by they are
   * destroyed.
   * @default false
   */
  readonly distrust?: boolean | undefined
  /**
   * Leases that are out for longer than this many milliseconds are counted as leaks and reported on the channel
   * `respool:pool:leak`, once each; they are not taken away. At most 2147483647. `0` watches none.
   * @default 0
   */
  readonly leakTimeout?: number | undefined
  /**
   * Whether the stack of each `get()` is kept while its lease is out, for `holders()` and the reports of leaks. It
   * costs some microseconds a lease.
   * @default false
   */
  readonly leakStacks?: boolean | undefined
}

/** {@link PoolOptions}, checked, complete and frozen. */
export interface ResolvedPoolOptions<T extends PooledConnection> {
  readonly dial: (signal: AbortSignal) => Promise<T>
  readonly maxIdle: number
  readonly maxActive: number
  readonly wait: boolean
  readonly idleTimeoutMs: number
  readonly maxConnLifetimeMs: number
  readonly testOnBorrow: ((connection: T, lastUsedAt: number, signal: AbortSignal) => unknown) | undefined
  readonly resetTimeoutMs: number
  readonly minIdle: number
  readonly waitTimeoutMs: number
  readonly maxWaiting: number
  readonly sweepIntervalMs: number
  readonly lifetimeJitterMs: number
  readonly maxConcurrentDials: number
  readonly dialBackoffMs: number
  readonly maxDialBackoffMs: number
  readonly pingIfIdleLongerThanMs: number
  readonly distrust: boolean
  readonly leakTimeoutMs: number
  readonly leakStacks: boolean
}

const optionNames: Readonly<Record<keyof PoolOptions, true>> = {
  dial: true,
  maxIdle: true,
  maxActive: true,
  wait: true,
  idleTimeout: true,
  maxConnLifetime: true,
  testOnBorrow: true,
  resetTimeout: true,
  minIdle: true,
  waitTimeout: true,
  maxWaiting: true,
  sweepInterval: true,
  lifetimeJitter: true,
  maxConcurrentDials: true,
  dialBackoff: true,
  maxDialBackoff: true,
  pingIfIdleLongerThan: true,
  distrust: true,
  leakTimeout: true,
  leakStacks: true,
}

/**
 * Checks the options and fills in the defaults, without writing to the caller's object.
 *
 * @throws {TypeError} an option has the wrong type, or there is no option of that name
 * @throws {RangeError} a number is out of its range, or two contradict each other
 */
export function resolvePoolOptions<T extends PooledConnection>(
  options: PoolOptions<T>,
): ResolvedPoolOptions<T> {
  if (typeof options !== 'object' || options === null) {
    throw new TypeError(`the options of a pool must be an object, got ${describe(options)}`)
  }
  for (const name of Object.keys(options)) rejectUnknown(name, Object.keys(optionNames))
  const { dial } = options
  if (typeof dial !== 'function') throw wrongType('dial', 'a function', dial)
  const dialBackoffMs = duration('dialBackoff', options.dialBackoff)
  const resolved: ResolvedPoolOptions<T> = {
    dial,
    testOnBorrow: optionalFunction('testOnBorrow', options.testOnBorrow),
    wait: flag('wait', options.wait),
    maxIdle: count('maxIdle', options.maxIdle),
    maxActive: count('maxActive', options.maxActive),
    idleTimeoutMs: duration('idleTimeout', options.idleTimeout),
    maxConnLifetimeMs: duration('maxConnLifetime', options.maxConnLifetime),
    resetTimeoutMs: duration('resetTimeout', options.resetTimeout, DEFAULT_RESET_TIMEOUT_MS, MAX_TIMER_MS),
    minIdle: count('minIdle', options.minIdle),
    waitTimeoutMs: duration('waitTimeout', options.waitTimeout, 0, MAX_TIMER_MS),
    maxWaiting: count('maxWaiting', options.maxWaiting),
    sweepIntervalMs: duration('sweepInterval', options.sweepInterval, 0, MAX_TIMER_MS),
    lifetimeJitterMs: duration('lifetimeJitter', options.lifetimeJitter),
    maxConcurrentDials: count('maxConcurrentDials', options.maxConcurrentDials),
    dialBackoffMs,
    maxDialBackoffMs: duration(
      'maxDialBackoff',
      options.maxDialBackoff,
      Math.max(DEFAULT_MAX_DIAL_BACKOFF_MS, dialBackoffMs),
    ),
    pingIfIdleLongerThanMs: duration('pingIfIdleLongerThan', options.pingIfIdleLongerThan),
    distrust: flag('distrust', options.distrust),
    leakTimeoutMs: duration('leakTimeout', options.leakTimeout, 0, MAX_TIMER_MS),
    leakStacks: flag('leakStacks', options.leakStacks),
  }
  rejectContradictions(resolved)
  return Object.freeze(resolved)
}

function rejectContradictions<T extends PooledConnection>(options: ResolvedPoolOptions<T>): void {
  const { minIdle, maxIdle, maxActive, lifetimeJitterMs, maxConnLifetimeMs } = options
  const { dialBackoffMs, maxDialBackoffMs } = options
  if (minIdle > maxIdle) throw outOfRange('minIdle', `at most maxIdle, ${maxIdle}`, minIdle)
  if (maxActive > 0 && minIdle > maxActive) {
    throw outOfRange('minIdle', `at most maxActive, ${maxActive}`, minIdle)
  }
  if (lifetimeJitterMs > maxConnLifetimeMs) {
    const limit = `at most maxConnLifetime, ${maxConnLifetimeMs} milliseconds`
    throw outOfRange('lifetimeJitter', limit, lifetimeJitterMs)
  }
  if (maxDialBackoffMs < dialBackoffMs) {
    const limit = `at least dialBackoff, ${dialBackoffMs} milliseconds`
    throw outOfRange('maxDialBackoff', limit, maxDialBackoffMs)
  }
}
