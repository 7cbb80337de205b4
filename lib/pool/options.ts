// The pool's options: what they mean, their defaults, their check. The defaults are the zero values of redigo's
// Pool, so that an option left out means here what it means there.

import type { Connection } from '../connection/index.ts'
import type { PooledConnection } from './pooled-connection.ts'

/**
 * A clean-up is one round trip. A second is far beyond any healthy one and, as it is also the longest time that
 * a connection on its way back can keep a place from those who wait, not too long for them.
 */
const DEFAULT_RESET_TIMEOUT_MS = 1000

/** The longest delay that Node's timers can do; a longer one would fire at once. */
const MAX_TIMER_MS = 2 ** 31 - 1

/** How a {@link Pool} opens its connections, how many it keeps, and for how long. */
export interface PoolOptions<T extends PooledConnection = Connection> {
  /**
   * Opens a connection. Called whenever one is wanted and none is idle, never retried: what it throws or rejects
   * with is what `get()` rejects with. The connection belongs to the pool from then on.
   *
   * The signal aborts when the caller of `get()` aborts or the pool is destroyed; `dial` has to settle then, for
   * its place in the pool is taken until it does.
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
   * Connections idle for longer than this many milliseconds are closed by the next `get()`. Choose less than the
   * server's own `timeout`. `0` keeps them for any time.
   * @default 0
   */
  readonly idleTimeout?: number | undefined
  /**
   * Connections of this age in milliseconds, or older, are closed instead of lent. Looked at when one is about to
   * be lent, and only then. `0` sets no limit.
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
}

const optionNames: readonly (keyof PoolOptions)[] = [
  'dial',
  'maxIdle',
  'maxActive',
  'wait',
  'idleTimeout',
  'maxConnLifetime',
  'testOnBorrow',
  'resetTimeout',
]

/**
 * Checks the options and fills in the defaults, without writing to the caller's object.
 *
 * @throws {TypeError} an option has the wrong type, or there is no option of that name
 * @throws {RangeError} a number is out of its range
 */
export function resolvePoolOptions<T extends PooledConnection>(
  options: PoolOptions<T>,
): ResolvedPoolOptions<T> {
  if (typeof options !== 'object' || options === null) {
    throw new TypeError(`the options of a pool must be an object, got ${describe(options)}`)
  }
  for (const name of Object.keys(options)) rejectUnknown(name)
  const { dial, testOnBorrow, wait = false } = options
  if (typeof dial !== 'function') throw wrongType('dial', 'a function', dial)
  if (testOnBorrow !== undefined && typeof testOnBorrow !== 'function') {
    throw wrongType('testOnBorrow', 'a function', testOnBorrow)
  }
  if (typeof wait !== 'boolean') throw wrongType('wait', 'a boolean', wait)
  return Object.freeze({
    dial,
    testOnBorrow,
    wait,
    maxIdle: count('maxIdle', options.maxIdle),
    maxActive: count('maxActive', options.maxActive),
    idleTimeoutMs: duration('idleTimeout', options.idleTimeout, 0, Number.MAX_SAFE_INTEGER),
    maxConnLifetimeMs: duration('maxConnLifetime', options.maxConnLifetime, 0, Number.MAX_SAFE_INTEGER),
    resetTimeoutMs: duration('resetTimeout', options.resetTimeout, DEFAULT_RESET_TIMEOUT_MS, MAX_TIMER_MS),
  })
}

function count(name: keyof PoolOptions, value: number | undefined): number {
  if (value === undefined) return 0
  if (typeof value !== 'number') throw wrongType(name, 'an integer', value)
  if (!Number.isSafeInteger(value) || value < 0) throw outOfRange(name, 'an integer, 0 or more', value)
  return value
}

function duration(
  name: keyof PoolOptions,
  value: number | undefined,
  byDefault: number,
  max: number,
): number {
  if (value === undefined) return byDefault
  if (typeof value !== 'number') throw wrongType(name, 'a number of milliseconds', value)
  if (!(value >= 0 && value <= max)) throw outOfRange(name, `from 0 to ${max} milliseconds`, value)
  return value
}

function wrongType(name: string, expected: string, value: unknown): TypeError {
  return new TypeError(`the pool's option ${name} must be ${expected}, got ${describe(value)}`)
}

function outOfRange(name: string, expected: string, value: number): RangeError {
  return new RangeError(`the pool's option ${name} must be ${expected}, got ${value}`)
}

/** Numbers and booleans as they are; of anything else only the type, for it may hold a secret. */
function describe(value: unknown): string {
  if (value === null) return 'null'
  return typeof value === 'number' || typeof value === 'boolean' ? String(value) : typeof value
}

function rejectUnknown(name: string): void {
  if (optionNames.some((known) => known === name)) return
  const [nearest] = optionNames
    .map((known) => ({ known, distance: editDistance(known.toLowerCase(), name.toLowerCase()) }))
    .sort((a, b) => a.distance - b.distance)
  throw new TypeError(`a pool has no option ${name}, the nearest is ${nearest?.known}`)
}

/** How many letters have to be put in, taken out or replaced to make `b` of `a`. */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i)
  for (const [i, letter] of [...a].entries()) {
    const next = [i + 1]
    for (let j = 0; j < b.length; j++) {
      const replaced = (row[j] ?? 0) + (b[j] === letter ? 0 : 1)
      next.push(Math.min(replaced, (row[j + 1] ?? 0) + 1, (next[j] ?? 0) + 1))
    }
    row = next
  }
  return row[b.length] ?? 0
}
