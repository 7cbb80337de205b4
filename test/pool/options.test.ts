import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Pool } from '../../lib/pool/index.ts'
import { type PoolOptions, resolvePoolOptions } from '../../lib/pool/options.ts'
import { FakeConnection } from '../support/fake-connection.ts'

const dial = async (): Promise<FakeConnection> => new FakeConnection()

/** Options as JavaScript may pass them. */
function resolveLoose(options: unknown): unknown {
  return resolvePoolOptions(options as PoolOptions<FakeConnection>)
}

test("the defaults are redigo's zero values, and a bound for cleaning", () => {
  assert.deepEqual(resolvePoolOptions({ dial }), {
    dial,
    maxIdle: 0,
    maxActive: 0,
    wait: false,
    idleTimeoutMs: 0,
    maxConnLifetimeMs: 0,
    testOnBorrow: undefined,
    resetTimeoutMs: 1000,
    minIdle: 0,
    waitTimeoutMs: 0,
    maxWaiting: 0,
    sweepIntervalMs: 0,
    lifetimeJitterMs: 0,
    maxConcurrentDials: 0,
    dialBackoffMs: 0,
    maxDialBackoffMs: 10_000,
    pingIfIdleLongerThanMs: 0,
    distrust: false,
    leakTimeoutMs: 0,
    leakStacks: false,
  })
})

test('undefined is the default of every option', () => {
  const options = {
    dial,
    maxIdle: undefined,
    maxActive: undefined,
    wait: undefined,
    idleTimeout: undefined,
    maxConnLifetime: undefined,
    testOnBorrow: undefined,
    resetTimeout: undefined,
    minIdle: undefined,
    waitTimeout: undefined,
    maxWaiting: undefined,
    sweepInterval: undefined,
    lifetimeJitter: undefined,
    maxConcurrentDials: undefined,
    dialBackoff: undefined,
    maxDialBackoff: undefined,
    pingIfIdleLongerThan: undefined,
    distrust: undefined,
    leakTimeout: undefined,
    leakStacks: undefined,
  }
  assert.deepEqual(resolvePoolOptions(options), resolvePoolOptions({ dial }))
})

test("what is given is taken over, frozen, and the caller's object left alone", () => {
  const testOnBorrow = (): void => undefined
  const options = Object.freeze({
    dial,
    maxIdle: 3,
    maxActive: 10,
    wait: true,
    idleTimeout: 240_000,
    maxConnLifetime: 0.5,
    testOnBorrow,
    resetTimeout: 2 ** 31 - 1,
    minIdle: 3,
    waitTimeout: 50,
    maxWaiting: 100,
    sweepInterval: 1000,
    lifetimeJitter: 0.5,
    maxConcurrentDials: 4,
    dialBackoff: 100,
    maxDialBackoff: 100,
    pingIfIdleLongerThan: 60_000,
    distrust: true,
    leakTimeout: 30_000,
    leakStacks: true,
  })
  const resolved = resolvePoolOptions(options)
  assert.ok(Object.isFrozen(resolved))
  assert.deepEqual(resolved, {
    dial,
    maxIdle: 3,
    maxActive: 10,
    wait: true,
    idleTimeoutMs: 240_000,
    maxConnLifetimeMs: 0.5,
    testOnBorrow,
    resetTimeoutMs: 2 ** 31 - 1,
    minIdle: 3,
    waitTimeoutMs: 50,
    maxWaiting: 100,
    sweepIntervalMs: 1000,
    lifetimeJitterMs: 0.5,
    maxConcurrentDials: 4,
    dialBackoffMs: 100,
    maxDialBackoffMs: 100,
    pingIfIdleLongerThanMs: 60_000,
    distrust: true,
    leakTimeoutMs: 30_000,
    leakStacks: true,
  })
})

const wrongTypes: readonly (readonly [unknown, RegExp])[] = [
  [undefined, /options of a pool must be an object, got undefined/],
  [null, /got null/],
  ['redis://user:secret@host', /got string$/],
  [{}, /dial must be a function, got undefined/],
  [{ dial: 'secret' }, /dial must be a function, got string$/],
  [{ dial, maxIdle: '3' }, /maxIdle must be an integer, got string$/],
  [{ dial, wait: 1 }, /wait must be a boolean, got 1$/],
  [{ dial, idleTimeout: null }, /idleTimeout must be a number of milliseconds, got null$/],
  [{ dial, testOnBorrow: true }, /testOnBorrow must be a function, got true$/],
  [{ dial, distrust: 'yes' }, /distrust must be a boolean, got string$/],
  [{ dial, leakStacks: 1 }, /leakStacks must be a boolean, got 1$/],
  [{ dial, minIdle: '1' }, /minIdle must be an integer, got string$/],
  [{ dial, maxConcurrentDials: true }, /maxConcurrentDials must be an integer, got true$/],
  [{ dial, waitTimeout: '50' }, /waitTimeout must be a number of milliseconds, got string$/],
  [{ dial, pingIfIdleLongerThan: {} }, /pingIfIdleLongerThan must be a number of milliseconds, got object$/],
  [{ dial, maxidle: 3 }, /no option maxidle, the nearest is maxIdle$/],
  [{ dial, MaxActive: 3 }, /no option MaxActive, the nearest is maxActive$/],
  [{ dial, idle_timeout: 3 }, /no option idle_timeout, the nearest is idleTimeout$/],
  [{ dial, testOnBorow: dial }, /no option testOnBorow, the nearest is testOnBorrow$/],
  [{ dial, lifetime: 3 }, /no option lifetime, the nearest is/],
]
for (const [options, message] of wrongTypes) {
  test(`a TypeError says ${message.source}`, () => {
    assert.throws(() => resolveLoose(options), { name: 'TypeError', message })
  })
}

const wrongRanges: readonly (readonly [object, RegExp])[] = [
  [{ maxIdle: -1 }, /maxIdle must be an integer, 0 or more, got -1$/],
  [{ maxActive: 1.5 }, /maxActive must be an integer, 0 or more, got 1.5$/],
  [{ maxActive: Number.NaN }, /maxActive must be an integer, 0 or more, got NaN$/],
  [{ idleTimeout: -1 }, /idleTimeout must be from 0 to 9007199254740991 milliseconds, got -1$/],
  [{ maxConnLifetime: Number.POSITIVE_INFINITY }, /maxConnLifetime must be .* got Infinity$/],
  [{ minIdle: 3, maxIdle: 2 }, /minIdle must be at most maxIdle, 2, got 3$/],
  [{ minIdle: 3, maxIdle: 3, maxActive: 2 }, /minIdle must be at most maxActive, 2, got 3$/],
  [{ lifetimeJitter: 1 }, /lifetimeJitter must be at most maxConnLifetime, 0 milliseconds, got 1$/],
  [
    { dialBackoff: 2, maxDialBackoff: 1 },
    /maxDialBackoff must be at least dialBackoff, 2 milliseconds, got 1$/,
  ],
  [{ maxWaiting: -1 }, /maxWaiting must be an integer, 0 or more, got -1$/],
  [{ waitTimeout: 2 ** 31 }, /waitTimeout must be from 0 to 2147483647 milliseconds, got 2147483648$/],
  [{ sweepInterval: 2 ** 31 }, /sweepInterval must be .* got 2147483648$/],
  [{ leakTimeout: -1 }, /leakTimeout must be .* got -1$/],
  [{ resetTimeout: Number.NaN }, /resetTimeout must be from 0 to 2147483647 milliseconds, got NaN$/],
  [{ resetTimeout: 2 ** 31 }, /resetTimeout must be .* got 2147483648$/],
]
for (const [options, message] of wrongRanges) {
  test(`a RangeError says ${message.source}`, () => {
    assert.throws(() => resolveLoose({ dial, ...options }), { name: 'RangeError', message })
  })
}

test('a pause between dials that is longer than the default maximum is its own maximum', () => {
  const { dialBackoffMs, maxDialBackoffMs } = resolvePoolOptions({ dial, dialBackoff: 60_000 })
  assert.deepEqual([dialBackoffMs, maxDialBackoffMs], [60_000, 60_000])
})

test('minIdle may be more than nothing while maxActive sets no limit', () => {
  assert.equal(resolvePoolOptions({ dial, minIdle: 2, maxIdle: 2 }).minIdle, 2)
})

test('a pool is not made of wrong options', () => {
  assert.throws(() => new Pool({ dial, maxIdle: -1 }), RangeError)
})
