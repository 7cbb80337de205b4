// The bounds of a wait: how long, and how many; and that a long queue costs no more than a short one, each.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Lease } from '../../lib/pool/index.ts'
import { settled } from '../support/clock.ts'
import { countedPool, outcome, pass } from '../support/counted-pool.ts'
import type { FakeConnection } from '../support/fake-connection.ts'

const WAITING = { maxIdle: 1, maxActive: 1, wait: true } as const

test('a wait that is longer than waitTimeout fails, and the error has the numbers', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const { pool, clock } = countedPool({ ...WAITING, waitTimeout: 50 })
  const lent = await pool.get()
  const first = pool.get()
  pass(10, clock, t.mock.timers)
  const others = [pool.get(), pool.get()]
  pass(40, clock, t.mock.timers)
  const message = 'waited 50 ms for one of 1 connections, 2 others wait'
  await assert.rejects(first, { name: 'PoolError', code: 'POOL_EXHAUSTED', message })
  assert.deepEqual([pool.stats().timeouts, pool.stats().waitingCount, pool.stats().waitCount], [1, 2, 0])
  await lent.close()
  await (await others[0])?.close()
  await others[1]
})

test('waits end in order, each at its own time, and the place is not lost', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const { pool, clock } = countedPool({ ...WAITING, waitTimeout: 50 })
  const lent = await pool.get()
  const calls: Promise<Lease<FakeConnection>>[] = []
  for (let i = 0; i < 3; i++) {
    calls.push(pool.get())
    pass(20, clock, t.mock.timers)
  }
  assert.deepEqual(await Promise.all(calls.map(outcome)), ['rejected', 'pending', 'pending'])
  pass(10, clock, t.mock.timers)
  assert.deepEqual(await Promise.all(calls.map(outcome)), ['rejected', 'rejected', 'pending'])
  await lent.close()
  assert.equal((await calls[2])?.error, undefined)
})

test('waitTimeout bounds the wait, not the dial', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const { pool, clock, dialer } = countedPool({ ...WAITING, waitTimeout: 50 })
  dialer.isHeld = true
  const call = pool.get()
  pass(1000, clock, t.mock.timers)
  assert.equal(await outcome(call), 'pending')
  dialer.held[0]?.succeed()
  await call
})

test('waitTimeout bounds the wait for a turn to dial, which is given on', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const { pool, clock, dialer } = countedPool({ maxConcurrentDials: 1, waitTimeout: 50 })
  dialer.isHeld = true
  const [first, second] = [pool.get(), pool.get()]
  pass(20, clock, t.mock.timers)
  const third = pool.get()
  pass(30, clock, t.mock.timers)
  await assert.rejects(second, {
    code: 'POOL_EXHAUSTED',
    message: 'waited 50 ms for a turn to dial, 1 other waits',
  })
  dialer.held.shift()?.succeed()
  await first
  dialer.held.shift()?.succeed()
  await third
  dialer.check(pool, { dialed: 2, open: 2, inUse: 2 })
})

test('one timer serves a whole queue, and no timer is left when nobody waits', async (t) => {
  const timers = t.mock.method(globalThis, 'setTimeout')
  const { pool } = countedPool({ ...WAITING, waitTimeout: 1_000_000 })
  const lent = await pool.get()
  const calls = Array.from({ length: 1000 }, () => pool.use(() => undefined))
  assert.equal(timers.mock.callCount(), 1)
  const timer = timers.mock.calls[0]?.result
  assert.equal(timer?.hasRef(), true, 'somebody waits for it')
  await lent.close()
  await Promise.all(calls)
  assert.equal(timer?.hasRef(), false, 'nobody waits for it')
  assert.equal(timers.mock.callCount(), 1)
  const again = await pool.get()
  const waiting = pool.get()
  assert.equal(timer?.hasRef(), true)
  const closed = pool.close()
  await assert.rejects(waiting, { code: 'POOL_CLOSED' })
  await again.close()
  await closed
})

test('without waitTimeout there is no timer', async (t) => {
  const timers = t.mock.method(globalThis, 'setTimeout')
  const { pool } = countedPool(WAITING)
  const lent = await pool.get()
  const waiting = pool.get()
  await lent.close()
  await waiting
  assert.equal(timers.mock.callCount(), 0)
})

test('a wait that timed out and is then aborted was a timeout, once', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const { pool, clock } = countedPool({ ...WAITING, waitTimeout: 50 })
  await pool.get()
  const controller = new AbortController()
  const call = pool.get({ signal: controller.signal })
  pass(50, clock, t.mock.timers)
  controller.abort()
  await assert.rejects(call, { code: 'POOL_EXHAUSTED' })
  assert.deepEqual([pool.stats().timeouts, pool.stats().aborts], [1, 0])
})

test('with leases watched, the error of a wait says how long the longest has been held', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const { pool, clock } = countedPool({ ...WAITING, waitTimeout: 50, leakTimeout: 60_000 })
  await pool.get()
  pass(1950, clock, t.mock.timers)
  const call = pool.get()
  pass(50, clock, t.mock.timers)
  await assert.rejects(call, { message: /0 others wait, the longest is held for 2000 ms$/ })
})

test('one more than maxWaiting is turned away at once, with the numbers', async () => {
  const { pool } = countedPool({ ...WAITING, maxWaiting: 2 })
  const lent = await pool.get()
  const calls = [pool.get(), pool.get()]
  await assert.rejects(pool.get(), {
    name: 'PoolError',
    code: 'QUEUE_FULL',
    message: '2 wait for one of 1 connections already, and maxWaiting is 2',
  })
  assert.deepEqual([pool.stats().rejections, pool.stats().waitingCount], [1, 2])
  await lent.close()
  await calls[0]
  const third = pool.get() // there is room again
  await (await calls[0])?.close()
  await (await calls[1])?.close()
  await third
})

test('maxWaiting bounds those who wait for their turn to dial as well', async () => {
  const { pool, dialer } = countedPool({ maxConcurrentDials: 1, maxWaiting: 1 })
  dialer.isHeld = true
  const calls = [pool.get(), pool.get()]
  const message = '1 wait for a connection already, and maxWaiting is 1'
  await assert.rejects(pool.get(), { code: 'QUEUE_FULL', message })
  assert.equal(pool.stats().activeCount, 2)
  for (const call of calls) {
    dialer.held.shift()?.succeed()
    await call
  }
})

test('an idle connection is lent though maxWaiting wait: nobody does then', async () => {
  const { pool } = countedPool({ maxIdle: 1, maxWaiting: 1, maxActive: 1, wait: true })
  for (let i = 0; i < 3; i++) await pool.use(() => undefined)
  assert.equal(pool.stats().rejections, 0)
})

test('ten thousand waiters are served in the order they came, each at the same cost', async () => {
  const { dialer, clock } = countedPool()
  let asked = 0
  const now = (): number => {
    asked++
    return clock.now()
  }
  const { Pool } = await import('../../lib/pool/index.ts')
  const pool = new Pool({ dial: dialer.dial, ...WAITING }, now)
  /** How often the pool looks at the clock for that many waiters: what it does is done once for each. */
  const costOf = async (count: number): Promise<number> => {
    const lent = await pool.get()
    const before = asked
    const order: number[] = []
    const calls = Array.from({ length: count }, (_, i) => pool.use(() => order.push(i)))
    await lent.close()
    await Promise.all(calls)
    assert.ok(order.every((at, i) => at === i))
    return asked - before
  }
  const cost = await costOf(100)
  assert.ok((await costOf(10_000)) <= cost * 100)
  assert.equal(pool.stats().waitCount, 10_100)
})

test('of twenty thousand waiters each costs what each of a thousand does', async () => {
  /** Microseconds of the process for each of them. */
  const costOf = async (count: number): Promise<number> => {
    const { pool } = countedPool(WAITING)
    const lent = await pool.get()
    const before = process.cpuUsage()
    const calls = Array.from({ length: count }, () => pool.use(() => undefined))
    await lent.close()
    await Promise.all(calls)
    const { user, system } = process.cpuUsage(before)
    return (user + system) / count
  }
  await costOf(1000)
  const cost = await costOf(1000)
  // if each of them looked at the others, 20 times as much
  assert.ok((await costOf(20_000)) < Math.max(cost, 1) * 8)
})

test('of ten thousand waiters every other gives up, from the middle, and the rest are served in order', async () => {
  const { pool } = countedPool(WAITING)
  const lent = await pool.get()
  const controllers = Array.from({ length: 10_000 }, () => new AbortController())
  const order: number[] = []
  const calls = controllers.map(({ signal }, i) => pool.use(() => order.push(i), { signal }))
  const results = Promise.allSettled(calls)
  for (const [i, controller] of controllers.entries()) if (i % 2 === 1) controller.abort()
  assert.equal(pool.stats().waitingCount, 5000)
  await lent.close()
  await results
  assert.deepEqual(
    order,
    Array.from({ length: 5000 }, (_, i) => 2 * i),
  )
  assert.equal(pool.stats().aborts, 5000)
})

test('the longest wait is remembered', async () => {
  const { pool, clock } = countedPool(WAITING)
  for (const ms of [5, 30, 10]) {
    const lent = await pool.get()
    const call = pool.use(() => undefined)
    clock.advance(ms)
    await lent.close()
    await call
  }
  assert.deepEqual([pool.stats().longestWait, pool.stats().waitDuration], [30, 45])
})

test('an abort is counted, before the call too', async () => {
  const { pool } = countedPool(WAITING)
  await assert.rejects(pool.get({ signal: AbortSignal.abort() }))
  await settled()
  assert.equal(pool.stats().aborts, 1)
})
