// Pools that wait: redigo's tests of it with their numbers, order, cancellation, statistics.

import assert from 'node:assert/strict'
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
  const all = { dial: dialer.dial, maxIdle: 1, maxActive: 1, wait: true, ...options }
  return { dialer, clock, pool: new Pool(all, clock.now) }
}

/** Ten borrowers that do something with a connection and give it back; how each of them ends. */
function tenBorrowers(
  pool: Pool<FakeConnection>,
  work: (lease: Lease<FakeConnection>) => unknown = (lease) => lease.call('PING'),
): Promise<PromiseSettledResult<unknown>[]> {
  return Promise.allSettled(Array.from({ length: 10 }, () => pool.use(work)))
}

function failures(results: readonly PromiseSettledResult<unknown>[]): unknown[] {
  return results.flatMap((result) => (result.status === 'rejected' ? [result.reason] : []))
}

test('borrowers wait for a place, and all are served', async () => {
  const { pool, dialer } = setup()
  const lease = await pool.get()
  const all = tenBorrowers(pool)
  dialer.check(pool, { dialed: 1, open: 1, inUse: 1 })
  assert.equal(pool.stats().waitingCount, 10)
  await lease.close()
  assert.deepEqual(failures(await all), [])
  dialer.check(pool, { dialed: 1, open: 1, inUse: 0 })
  assert.equal(pool.stats().waitCount, 10)
})

test('wait has no effect without maxActive', async () => {
  const { pool, dialer } = setup({ maxActive: 0 })
  await Promise.all([pool.get(), pool.get()])
  dialer.check(pool, { dialed: 2, open: 2, inUse: 2 })
  assert.equal(pool.stats().waitCount, 0)
})

test('twenty waiters are served in the order they came', async () => {
  const { pool } = setup()
  const lease = await pool.get()
  const order: number[] = []
  const all = Array.from({ length: 20 }, (_, i) => pool.use(() => order.push(i)))
  await lease.close()
  await Promise.all(all)
  assert.deepEqual(
    order,
    Array.from({ length: 20 }, (_, i) => i),
  )
})

test('a returned connection is with the next waiter before anyone who comes later', async () => {
  const { pool } = setup()
  const lease = await pool.get()
  const first = pool.get()
  void lease.close()
  assert.deepEqual([pool.stats().idleCount, pool.stats().waitingCount], [0, 0])
  const second = pool.get()
  assert.equal(pool.stats().waitingCount, 1)
  await (await first).close()
  await (await second).close()
})

test('waits are counted and measured when they end with a place', async () => {
  const { pool, dialer, clock } = setup({ maxIdle: 2, maxActive: 2 })
  const [first] = [await pool.get(), await pool.get()]
  assert.deepEqual([pool.stats().waitCount, pool.stats().waitDuration], [0, 0])
  const third = pool.get()
  clock.advance(100)
  assert.deepEqual([pool.stats().waitCount, pool.stats().waitDuration], [0, 0])
  await first?.close()
  await third
  dialer.check(pool, { dialed: 2, open: 2, inUse: 2 })
  assert.deepEqual([pool.stats().waitCount, pool.stats().waitDuration], [1, 100])
})

test('a wait that was aborted is not counted', async () => {
  const { pool, clock } = setup()
  const lease = await pool.get()
  const controller = new AbortController()
  const waiting = pool.get({ signal: controller.signal })
  clock.advance(50)
  controller.abort()
  await assert.rejects(waiting, AbortError)
  await lease.close()
  assert.deepEqual([pool.stats().waitCount, pool.stats().waitDuration], [0, 0])
})

test('closing the pool wakes all who wait, counts them, and is no exhaustion', async () => {
  const { pool, dialer, clock } = setup()
  const lease = await pool.get()
  const all = tenBorrowers(pool)
  clock.advance(5)
  void pool.close()
  const errors = failures(await all)
  assert.equal(errors.length, 10)
  for (const error of errors) assert.ok(error instanceof PoolError && error.code === 'POOL_CLOSED')
  assert.equal(new Set(errors).size, 10)
  assert.deepEqual([pool.stats().waitCount, pool.stats().waitDuration], [10, 50])
  await lease.close()
  dialer.check(pool, { dialed: 1, open: 0, inUse: 0 })
})

test('waiters that break their connection leave the place to the next, who dials', async () => {
  const { pool, dialer } = setup()
  const lease = await pool.get()
  const all = tenBorrowers(pool, (waiter) => waiter.connection.break())
  await lease.close()
  assert.deepEqual(failures(await all), [])
  dialer.check(pool, { dialed: 10, open: 0, inUse: 0 })
})

test('a failed dial gives its place to the next waiter', async () => {
  const { pool, dialer } = setup()
  const lease = await pool.get()
  const all = tenBorrowers(pool, (waiter) => waiter.connection.break())
  dialer.error = new Error('dial')
  await lease.close()
  const errors = failures(await all)
  assert.equal(errors.length, 9)
  for (const error of errors) assert.equal(error, dialer.error)
  dialer.check(pool, { dialed: 10, open: 0, inUse: 0 })
})

test('a thousand waiters and a dial that throws at once do not exhaust the stack', async () => {
  let isUp = true
  const dialer = new CountingDialer()
  const dial = (signal: AbortSignal): Promise<FakeConnection> => {
    if (!isUp) throw new Error('down')
    return dialer.dial(signal)
  }
  const pool = new Pool({ dial, maxActive: 1, wait: true })
  const lease = await pool.get()
  const all = Promise.allSettled(Array.from({ length: 20_000 }, () => pool.get()))
  isUp = false
  lease.destroy()
  assert.equal(failures(await all).length, 20_000)
  assert.deepEqual([pool.stats().activeCount, pool.stats().waitingCount], [0, 0])
})

test('a get() that comes in while places are granted waits its turn', async () => {
  const order: string[] = []
  const dialer = new CountingDialer()
  let onDial = (): void => undefined
  const dial = (signal: AbortSignal): Promise<FakeConnection> => {
    onDial()
    return dialer.dial(signal)
  }
  const pool: Pool<FakeConnection> = new Pool({ dial, maxActive: 1, wait: true })
  const lease = await pool.get()
  const first = pool.use(() => order.push('first'))
  const second = pool.use(() => order.push('second'))
  let third: Promise<unknown> | undefined
  onDial = () => {
    third ??= pool.use(() => order.push('third'))
  }
  lease.destroy()
  await Promise.all([first, second])
  await third
  assert.deepEqual(order, ['first', 'second', 'third'])
})

test('a signal that does not abort changes nothing', async () => {
  const { pool } = setup()
  const { signal } = new AbortController()
  const lease = await pool.get({ signal })
  const waiting = pool.get({ signal })
  await lease.close()
  await (await waiting).close()
})

test('an abort at the very time of the grant loses no place (redigo #520)', async () => {
  for (const isAbortFirst of [true, false]) {
    const { pool } = setup()
    const lease = await pool.get()
    const controller = new AbortController()
    const waiting = pool.get({ signal: controller.signal })
    if (isAbortFirst) controller.abort()
    void lease.close()
    controller.abort()
    const [result] = await Promise.allSettled([waiting])
    assert.equal(result?.status, isAbortFirst ? 'rejected' : 'fulfilled')
    if (result?.status === 'fulfilled') await result.value.close()
    await (await pool.get()).close()
  }
})

test('a waiter whose signal is aborted does not get the place that another listener of the signal vacates', async () => {
  const { pool } = setup()
  const lease = await pool.get()
  const controller = new AbortController()
  controller.signal.addEventListener('abort', () => void lease.close())
  const aborted = pool.get({ signal: controller.signal })
  const next = pool.get()
  controller.abort()
  await assert.rejects(aborted, AbortError)
  await (await next).close()
  assert.equal(pool.stats().waitCount, 1)
})

for (const gone of [0, 1, 2]) {
  test(`of three waiters number ${gone} gives up, and the others are served in order`, async () => {
    const { pool } = setup()
    const lease = await pool.get()
    const order: number[] = []
    const controllers = [0, 1, 2].map(() => new AbortController())
    const all = controllers.map(({ signal }, i) => pool.use(() => order.push(i), { signal }))
    controllers[gone]?.abort()
    await assert.rejects(all[gone] as Promise<unknown>, AbortError)
    assert.equal(pool.stats().waitingCount, 2)
    await lease.close()
    await Promise.allSettled(all)
    assert.deepEqual(
      order,
      [0, 1, 2].filter((i) => i !== gone),
    )
  })
}

test('one signal for all ends all waits', async () => {
  const { pool } = setup()
  const lease = await pool.get()
  const controller = new AbortController()
  const { signal } = controller
  const all = Promise.allSettled(Array.from({ length: 10 }, () => pool.get({ signal })))
  controller.abort()
  for (const error of failures(await all)) assert.ok(error instanceof AbortError)
  assert.equal(pool.stats().waitingCount, 0)
  await lease.close()
  await (await pool.get()).close()
})

test('a dial under way is aborted with the signal, and its place is free when it has ended', async () => {
  const { pool, dialer } = setup()
  dialer.isHeld = true
  const controller = new AbortController()
  const got = pool.get({ signal: controller.signal })
  const next = pool.get()
  controller.abort()
  await assert.rejects(got, AbortError)
  assert.equal(pool.stats().waitingCount, 1)
  dialer.isHeld = false
  dialer.held[0]?.fail(new Error('aborted'))
  await (await next).close()
  dialer.check(pool, { dialed: 2, open: 1, inUse: 0 })
})

test('a dial that succeeds though its caller has gone serves the next waiter', async () => {
  const { pool, dialer } = setup({ maxIdle: 1 })
  dialer.isHeld = true
  const controller = new AbortController()
  const got = pool.get({ signal: controller.signal })
  const next = pool.get()
  controller.abort()
  await assert.rejects(got, AbortError)
  dialer.held[0]?.succeed()
  const lease = await next
  assert.equal(lease.connection, dialer.connection(0))
  dialer.check(pool, { dialed: 1, open: 1, inUse: 1 })
})

test('an aborted signal wins, with a vacant place and without', async () => {
  const { pool, dialer } = setup()
  const reason = new Error('gone')
  const signal = AbortSignal.abort(reason)
  await assert.rejects(pool.get({ signal }), (error) => error instanceof AbortError && error.cause === reason)
  const lease = await pool.get()
  await assert.rejects(pool.get({ signal }), AbortError)
  dialer.check(pool, { dialed: 1, open: 1, inUse: 1 })
  await lease.close()
})

test('a pool that was closed before its first use rejects and does not hang', async () => {
  const { pool, dialer } = setup()
  await pool.close()
  await assert.rejects(pool.get(), { code: 'POOL_CLOSED' })
  assert.equal(dialer.dialed, 0)
})

test('an aborted signal and a closed pool together throw nothing from inside (B1)', async () => {
  const { pool } = setup()
  const lease = await pool.get()
  const controller = new AbortController()
  const waiting = pool.get({ signal: controller.signal })
  void pool.close()
  controller.abort()
  await assert.rejects(waiting, { code: 'POOL_CLOSED' })
  await assert.rejects(pool.get({ signal: controller.signal }), AbortError)
  await assert.rejects(pool.get(), { code: 'POOL_CLOSED' })
  await lease.close()
})

for (const [how, testOnBorrow] of [
  [
    'throws',
    () => {
      throw new Error('no')
    },
  ],
  ['rejects', () => Promise.reject(new Error('no'))],
] as const) {
  test(`a test that ${how} costs the connection, not the place (B2)`, async () => {
    const { pool, dialer } = setup({ testOnBorrow })
    for (let i = 0; i < 3; i++) await (await pool.get()).close()
    dialer.check(pool, { dialed: 3, open: 1, inUse: 0 })
    const all = await tenBorrowers(pool)
    assert.deepEqual(failures(all), [])
  })
}

test('a test that aborts its own caller ends the get(), with the place free', async () => {
  const controller = new AbortController()
  const { pool, dialer } = setup({ testOnBorrow: () => controller.abort() })
  await (await pool.get()).close()
  await assert.rejects(pool.get({ signal: controller.signal }), AbortError)
  await settled()
  dialer.check(pool, { dialed: 1, open: 0, inUse: 0 })
  await (await pool.get()).close()
})
