// The laws of redigo's own tests of its pool, with its numbers, on fake connections; waiting is in
// pool-wait.test.ts, cleaning in lease.test.ts, the end in pool-end.test.ts.

import assert from 'node:assert/strict'
import { getEventListeners } from 'node:events'
import { test } from 'node:test'
import { AbortError, PoolError } from '../../lib/errors.ts'
import { type Lease, Pool, type PoolOptions } from '../../lib/pool/index.ts'
import { ManualClock, settled } from '../support/clock.ts'
import { CountingDialer } from '../support/counting-dialer.ts'
import type { FakeConnection } from '../support/fake-connection.ts'

interface Setup {
  readonly dialer: CountingDialer
  readonly clock: ManualClock
  readonly pool: Pool<FakeConnection>
}

function setup(options: Omit<PoolOptions<FakeConnection>, 'dial'> = {}): Setup {
  const dialer = new CountingDialer()
  const clock = new ManualClock()
  return { dialer, clock, pool: new Pool({ dial: dialer.dial, ...options }, clock.now) }
}

/** Borrows that many at a time, and gives them back in that order. */
async function round(pool: Pool<FakeConnection>, count: number): Promise<void> {
  const leases: Lease<FakeConnection>[] = []
  for (let i = 0; i < count; i++) {
    const lease = await pool.get()
    await lease.call('PING')
    leases.push(lease)
  }
  for (const lease of leases) await lease.close()
}

/** The connections of a pool, borrowed all at once. */
async function borrow(pool: Pool<FakeConnection>, count: number): Promise<Lease<FakeConnection>[]> {
  const leases: Lease<FakeConnection>[] = []
  for (let i = 0; i < count; i++) leases.push(await pool.get())
  return leases
}

async function fill(pool: Pool<FakeConnection>, count: number): Promise<void> {
  for (const lease of await borrow(pool, count)) await lease.close()
}

test('connections are reused', async () => {
  const { pool, dialer } = setup({ maxIdle: 2 })
  for (let i = 0; i < 10; i++) await round(pool, 2)
  dialer.check(pool, { dialed: 2, open: 2, inUse: 0 })
  await pool.close()
  dialer.check(pool, { dialed: 2, open: 0, inUse: 0 })
})

test('no more than maxIdle connections are kept', async () => {
  const { pool, dialer } = setup({ maxIdle: 2 })
  for (let i = 0; i < 10; i++) await round(pool, 3)
  dialer.check(pool, { dialed: 12, open: 2, inUse: 0 })
  assert.equal(pool.stats().evictions.overflow, 10)
  await pool.close()
  dialer.check(pool, { dialed: 12, open: 0, inUse: 0 })
})

test('with a maxIdle of 0, the default, no connection is kept', async () => {
  const { pool, dialer } = setup()
  for (let i = 0; i < 3; i++) await round(pool, 1)
  dialer.check(pool, { dialed: 3, open: 0, inUse: 0 })
  assert.equal(dialer.connection(0).ended, 'closed')
})

test('one above maxIdle costs the connection that has been idle longest, not the one that comes back', async () => {
  const { pool, dialer } = setup({ maxIdle: 2 })
  const leases = await borrow(pool, 3)
  for (const lease of leases) await lease.close()
  assert.deepEqual(
    dialer.connections.map(({ ended }) => ended),
    ['closed', undefined, undefined],
  )
})

test('what is lent or being dialed is busy, what is idle is not', async () => {
  const { pool } = setup({ maxIdle: 2 })
  assert.equal(pool.busyCount, 0)
  const dialed = pool.get()
  assert.equal(pool.busyCount, 1)
  const [first, second] = [await dialed, await pool.get()]
  assert.equal(pool.busyCount, 2)
  await first.close()
  const { activeCount, idleCount } = pool.stats()
  assert.deepEqual([pool.busyCount, activeCount, idleCount], [1, 2, 1])
  await second.close()
  assert.equal(pool.busyCount, 0)
})

test('the connection that came back last is lent first', async () => {
  const { pool, dialer } = setup({ maxIdle: 3 })
  await fill(pool, 3)
  const [first, second, third] = await borrow(pool, 3)
  assert.equal(first?.connection, dialer.connection(2))
  assert.equal(second?.connection, dialer.connection(1))
  assert.equal(third?.connection, dialer.connection(0))
})

test('a connection that died while it was lent is not reused', async () => {
  const { pool, dialer } = setup({ maxIdle: 2 })
  for (let i = 0; i < 2; i++) {
    const lease = await pool.get()
    lease.connection.break()
    assert.match(String(lease.error), /broken/)
    await lease.close()
  }
  dialer.check(pool, { dialed: 2, open: 0, inUse: 0 })
  assert.equal(pool.stats().evictions.broken, 2)
})

test('a connection that died while it was idle is skipped without a test', async () => {
  let tests = 0
  const { pool, dialer } = setup({ maxIdle: 3, testOnBorrow: () => tests++ })
  await fill(pool, 3)
  dialer.connection(2).break()
  dialer.connection(1).break()
  const lease = await pool.get()
  assert.equal(lease.connection, dialer.connection(0))
  assert.equal(tests, 1)
  assert.equal(pool.stats().evictions.broken, 2)
  assert.equal(dialer.connection(2).ended, 'destroyed')
  dialer.check(pool, { dialed: 3, open: 1, inUse: 1 })
})

test('an idle connection is lent without a wait in between', () => {
  const { pool } = setup({ maxIdle: 1 })
  return fill(pool, 1).then(() => {
    void pool.get()
    assert.deepEqual([pool.stats().idleCount, pool.stats().hits], [0, 1])
  })
})

test('a connection idle for longer than idleTimeout is closed by the next get()', async () => {
  const { pool, dialer, clock } = setup({ maxIdle: 2, idleTimeout: 300_000 })
  await round(pool, 1)
  dialer.check(pool, { dialed: 1, open: 1, inUse: 0 })
  clock.advance(300_001)
  await round(pool, 1)
  dialer.check(pool, { dialed: 2, open: 1, inUse: 0 })
  assert.equal(pool.stats().evictions.idleTimeout, 1)
  assert.equal(dialer.connection(0).ended, 'closed')
})

test('a connection idle for exactly idleTimeout is kept', async () => {
  const { pool, dialer, clock } = setup({ maxIdle: 2, idleTimeout: 300_000 })
  await round(pool, 1)
  clock.advance(300_000)
  await round(pool, 1)
  dialer.check(pool, { dialed: 1, open: 1, inUse: 0 })
})

test('idle connections are pruned from the back, though a younger one is lent', async () => {
  const { pool, dialer, clock } = setup({ maxIdle: 3, idleTimeout: 100 })
  const leases = await borrow(pool, 3)
  for (const lease of leases) {
    await lease.close()
    clock.advance(50)
  }
  clock.advance(1) // returned 151, 101 and 51 ms ago
  const lease = await pool.get()
  assert.equal(lease.connection, dialer.connection(2))
  dialer.check(pool, { dialed: 3, open: 1, inUse: 1 })
})

test('a connection of maxConnLifetime is closed instead of lent', async () => {
  const { pool, dialer, clock } = setup({ maxIdle: 2, maxConnLifetime: 300_000 })
  await round(pool, 1)
  dialer.check(pool, { dialed: 1, open: 1, inUse: 0 })
  clock.advance(300_001)
  await round(pool, 1)
  dialer.check(pool, { dialed: 2, open: 1, inUse: 0 })
  assert.equal(pool.stats().evictions.lifetime, 1)
  assert.equal(dialer.connection(0).ended, 'closed')
})

test('a connection just below maxConnLifetime is lent, at exactly that it is not', async () => {
  const { pool, dialer, clock } = setup({ maxIdle: 2, maxConnLifetime: 300_000 })
  await round(pool, 1)
  clock.advance(299_999)
  await round(pool, 1)
  dialer.check(pool, { dialed: 1, open: 1, inUse: 0 })
  clock.advance(1)
  await round(pool, 1)
  dialer.check(pool, { dialed: 2, open: 1, inUse: 0 })
})

test('age is looked at when a connection is borrowed, not when it comes back', async () => {
  const { pool, dialer, clock } = setup({ maxIdle: 2, maxConnLifetime: 100, idleTimeout: 100 })
  const lease = await pool.get()
  clock.advance(1000)
  await lease.close()
  dialer.check(pool, { dialed: 1, open: 1, inUse: 0 })
})

test('a connection that is too old is still tested first', async () => {
  let tests = 0
  const { pool, dialer, clock } = setup({ maxIdle: 1, maxConnLifetime: 100, testOnBorrow: () => tests++ })
  await round(pool, 1)
  clock.advance(100)
  await round(pool, 1)
  assert.equal(tests, 1)
  assert.equal(pool.stats().evictions.lifetime, 1)
  dialer.check(pool, { dialed: 2, open: 1, inUse: 0 })
})

test('commands of one lease may be in flight together, and are answered in order', async () => {
  const { pool } = setup()
  const lease = await pool.get()
  const order: string[] = []
  const first = lease.call('PING').then(() => order.push('first'))
  const second = lease.execute(['ECHO', 'x']).then((reply) => order.push(String(reply)))
  await Promise.all([first, second])
  assert.deepEqual(order, ['first', 'x'])
})

test('options of a command reach the connection', async () => {
  const { pool, dialer } = setup()
  const lease = await pool.get()
  const options = { timeout: 60_000, replies: 'buffer' } as const
  await lease.execute(['GET', 'k'], options)
  await lease.call('GET', 'k')
  assert.equal(dialer.connection(0).options[0], options)
  assert.equal(dialer.connection(0).options[1], undefined)
})

for (const [how, testOnBorrow] of [
  ['rejects', () => Promise.reject(new Error('no'))],
  [
    'throws',
    () => {
      throw new Error('no')
    },
  ],
] as const) {
  test(`a connection whose test ${how} is destroyed, and another dialed`, async () => {
    const { pool, dialer } = setup({ maxIdle: 2, testOnBorrow })
    for (let i = 0; i < 10; i++) await round(pool, 1)
    dialer.check(pool, { dialed: 10, open: 1, inUse: 0 })
    assert.equal(pool.stats().evictions.failedTest, 9)
    assert.equal(dialer.connection(0).ended, 'destroyed')
  })
}

test('a test passes whatever it returns, is told when the connection came back, and spares new ones', async () => {
  const lastUsed: number[] = []
  const { pool, dialer, clock } = setup({
    maxIdle: 2,
    testOnBorrow: (connection, lastUsedAt, signal) => {
      assert.equal(signal.aborted, false)
      lastUsed.push(lastUsedAt)
      return connection.call('PING').then(() => false)
    },
  })
  const startedAt = clock.now()
  for (let i = 0; i < 10; i++) {
    clock.advance(1)
    await round(pool, 1)
  }
  dialer.check(pool, { dialed: 1, open: 1, inUse: 0 })
  assert.deepEqual(
    lastUsed,
    Array.from({ length: 9 }, (_, i) => startedAt + i + 1),
  )
})

test('a get() aborted while it tests rejects at once; connection and signal are taken back', async () => {
  const controller = new AbortController()
  const reason = new Error('enough')
  let seen: AbortSignal | undefined
  const { pool, dialer } = setup({
    maxIdle: 2,
    testOnBorrow: (connection, _, signal) => {
      seen = signal
      connection.isHeld = true
      return connection.execute(['PING'], { signal })
    },
  })
  await round(pool, 1)
  const got = pool.get({ signal: controller.signal })
  dialer.check(pool, { dialed: 1, open: 1, inUse: 1 })
  controller.abort(reason)
  await assert.rejects(got, (error) => error instanceof AbortError && error.cause === reason)
  assert.deepEqual([seen?.aborted, seen?.reason], [true, reason])
  await settled()
  dialer.check(pool, { dialed: 1, open: 0, inUse: 0 })
  assert.equal(pool.stats().evictions.failedTest, 1)
})

test('a test that never ends does not hold its place once its caller has aborted', async () => {
  const controller = new AbortController()
  let isStuck = true
  const { pool } = setup({
    maxIdle: 1,
    maxActive: 1,
    wait: true,
    testOnBorrow: () => (isStuck ? new Promise(() => undefined) : undefined),
  })
  await round(pool, 1)
  const got = pool.get({ signal: controller.signal })
  const next = pool.get()
  isStuck = false
  controller.abort()
  await assert.rejects(got, AbortError)
  await (await next).close()
})

test('an aborted signal rejects before anything else, though a connection is idle or none is needed (B14)', async () => {
  const { pool, dialer } = setup({ maxIdle: 1 })
  const signal = AbortSignal.abort(new Error('before'))
  await assert.rejects(pool.get({ signal }), AbortError)
  dialer.check(pool, { dialed: 0, open: 0, inUse: 0 })
  await round(pool, 1)
  await assert.rejects(pool.get({ signal }), { name: 'AbortError', code: 'ABORT_ERR' })
  dialer.check(pool, { dialed: 1, open: 1, inUse: 0 })
})

test('an abort after get() changes nothing', async () => {
  const { pool, dialer } = setup({ maxIdle: 1 })
  const controller = new AbortController()
  const lease = await pool.get({ signal: controller.signal })
  controller.abort()
  assert.equal(await lease.call('PING'), 'PONG')
  await lease.close()
  dialer.check(pool, { dialed: 1, open: 1, inUse: 0 })
})

test('without wait, get() rejects when maxActive connections are in use', async () => {
  const { pool, dialer } = setup({ maxIdle: 2, maxActive: 2 })
  const [first, second] = await borrow(pool, 2)
  dialer.check(pool, { dialed: 2, open: 2, inUse: 2 })
  await assert.rejects(pool.get(), (error) => {
    assert.ok(error instanceof PoolError)
    assert.equal(error.code, 'POOL_EXHAUSTED')
    assert.match(error.message, /all 2 connections/)
    return true
  })
  dialer.check(pool, { dialed: 2, open: 2, inUse: 2 })
  await second?.close()
  dialer.check(pool, { dialed: 2, open: 2, inUse: 1 })
  const third = await pool.get()
  await third.close()
  dialer.check(pool, { dialed: 2, open: 2, inUse: 1 })
  await first?.close()
  const { misses, dials } = pool.stats()
  assert.deepEqual([misses, dials], [3, 2])
})

test('connections that are being dialed count towards maxActive', async () => {
  const { pool, dialer } = setup({ maxActive: 1 })
  dialer.isHeld = true
  const first = pool.get()
  assert.equal(pool.stats().activeCount, 1)
  await assert.rejects(pool.get(), { code: 'POOL_EXHAUSTED' })
  dialer.held[0]?.succeed()
  await (await first).close()
})

test('a hundred borrowers at once destroy a hundred idle connections that fail their test and dial a hundred', async () => {
  const { pool, dialer } = setup({
    maxIdle: 100,
    maxActive: 100,
    testOnBorrow: () => Promise.reject(new Error('no')),
  })
  await fill(pool, 100)
  dialer.check(pool, { dialed: 100, open: 100, inUse: 0 })
  await Promise.all(Array.from({ length: 100 }, () => pool.use((lease) => lease.call('PING'))))
  assert.equal(dialer.dialed, 200)
})

test('dial gets a signal, which aborts with the one of the caller', async () => {
  const { pool, dialer } = setup()
  dialer.isHeld = true
  const controller = new AbortController()
  const got = pool.get({ signal: controller.signal })
  const [held] = dialer.held
  assert.equal(held?.signal.aborted, false)
  controller.abort('reason')
  await assert.rejects(got, AbortError)
  assert.equal(held?.signal.reason, 'reason')
  held?.fail(new Error('given up'))
  await settled()
  dialer.check(pool, { dialed: 1, open: 0, inUse: 0 })
  assert.equal(pool.stats().dialFailures, 1)
})

test('a dial that succeeds though its caller has aborted fills the idle list', async () => {
  const { pool, dialer } = setup({ maxIdle: 1 })
  dialer.isHeld = true
  const controller = new AbortController()
  const got = pool.get({ signal: controller.signal })
  controller.abort()
  await assert.rejects(got, AbortError)
  assert.equal(pool.stats().activeCount, 1)
  dialer.held[0]?.succeed()
  await settled()
  dialer.check(pool, { dialed: 1, open: 1, inUse: 0 })
})

test('what a dial fails with is what get() rejects with', async () => {
  const { pool, dialer } = setup({ maxActive: 1 })
  dialer.error = new Error('no route')
  await assert.rejects(pool.get(), (error) => error === dialer.error)
  dialer.check(pool, { dialed: 1, open: 0, inUse: 0 })
  dialer.error = undefined
  await round(pool, 1)
  const { dials, dialFailures } = pool.stats()
  assert.deepEqual([dials, dialFailures], [2, 1])
})

test('a dial that throws, or gives what is no connection, leaves place and count as they were (B2)', async () => {
  const results: (() => unknown)[] = [
    () => {
      throw new Error('thrown')
    },
    () => undefined,
    () => null,
    () => Promise.resolve({ execute: 1 }),
  ]
  const dial = (): Promise<FakeConnection> => results.shift()?.() as Promise<FakeConnection>
  const pool = new Pool({ dial, maxActive: 1, wait: true })
  const gets = Array.from({ length: 4 }, () => pool.get())
  await assert.rejects(gets[0] as Promise<unknown>, { message: 'thrown' })
  for (const got of gets.slice(1)) {
    await assert.rejects(got, { name: 'TypeError', message: 'dial must resolve to a connection' })
  }
  assert.equal(pool.stats().activeCount, 0)
  assert.equal(pool.stats().dialFailures, 4)
})

test('use() lends a connection for the time of a function, and takes it back when that throws', async () => {
  const { pool, dialer } = setup({ maxIdle: 1 })
  assert.equal(await pool.use((lease) => lease.call('PING')), 'PONG')
  assert.equal(await pool.use(() => 7), 7)
  const error = new Error('mine')
  await assert.rejects(
    pool.use(() => {
      throw error
    }),
    (thrown) => thrown === error,
  )
  await assert.rejects(
    pool.use(() => Promise.reject(error)),
    (thrown) => thrown === error,
  )
  dialer.check(pool, { dialed: 1, open: 1, inUse: 0 })
  await assert.rejects(
    pool.use(() => 7, { signal: AbortSignal.abort() }),
    AbortError,
  )
})

test('use() resolves when its connection is clean and back', async () => {
  const { pool, dialer } = setup({ maxIdle: 1 })
  await pool.use((lease) => lease.call('WATCH', 'k'))
  dialer.check(pool, { dialed: 1, open: 1, inUse: 0 })
  assert.deepEqual(dialer.commands, ['WATCH', 'UNWATCH'])
})

test('a get() leaves no listener on its signal, however it ends', async () => {
  const { pool, dialer } = setup({ maxActive: 1, wait: true })
  const { signal } = new AbortController()
  const lease = await pool.get({ signal })
  const waiting = pool.get({ signal })
  assert.equal(getEventListeners(signal, 'abort').length, 1)
  dialer.error = new Error('no route')
  await lease.close()
  await assert.rejects(waiting)
  assert.equal(getEventListeners(signal, 'abort').length, 0)
})

test('statistics are a frozen snapshot', async () => {
  const { pool } = setup({ maxIdle: 1 })
  const before = pool.stats()
  assert.ok(Object.isFrozen(before) && Object.isFrozen(before.evictions))
  await round(pool, 1)
  await round(pool, 1)
  assert.equal(before.dials, 0)
  assert.deepEqual(pool.stats(), {
    activeCount: 1,
    idleCount: 1,
    waitingCount: 0,
    waitCount: 0,
    waitDuration: 0,
    longestWait: 0,
    hits: 1,
    misses: 1,
    timeouts: 0,
    aborts: 0,
    rejections: 0,
    dials: 1,
    dialFailures: 0,
    leaks: 0,
    evictions: {
      overflow: 0,
      idleTimeout: 0,
      lifetime: 0,
      failedTest: 0,
      broken: 0,
      dirty: 0,
      suspect: 0,
      retired: 0,
    },
  })
})

test('without a clock of its own a pool goes by performance.now()', async () => {
  const dialer = new CountingDialer()
  const lastUsed: number[] = []
  const pool = new Pool({
    dial: dialer.dial,
    maxIdle: 1,
    testOnBorrow: (_, lastUsedAt) => lastUsed.push(lastUsedAt),
  })
  const startedAt = performance.now()
  await round(pool, 1)
  await round(pool, 1)
  const [at] = lastUsed
  assert.ok(at !== undefined && startedAt <= at && at <= performance.now())
})
