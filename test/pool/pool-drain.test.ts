// drain(): the end of a pool that serves all who wait; what it does not serve in time is destroyed.

import assert from 'node:assert/strict'
import { getEventListeners } from 'node:events'
import { test } from 'node:test'
import { settled } from '../support/clock.ts'
import { countedPool, outcome } from '../support/counted-pool.ts'

const WAITING = { maxIdle: 1, maxActive: 1, wait: true } as const

test('drain() serves those who wait, then closes; later calls of get() fail', async () => {
  const { pool, dialer } = countedPool(WAITING)
  const lent = await pool.get()
  const order: number[] = []
  const waiting = [0, 1, 2].map((i) => pool.use(() => order.push(i)))
  const drained = pool.drain()
  await assert.rejects(pool.get(), { code: 'POOL_CLOSED' })
  await assert.rejects(pool.warmUp(), { code: 'POOL_CLOSED' })
  assert.equal(await outcome(drained), 'pending')
  await lent.close()
  await Promise.all(waiting)
  await drained
  assert.deepEqual(order, [0, 1, 2])
  dialer.check(pool, { dialed: 1, open: 0, inUse: 0 })
})

test('those who wait may still dial while the pool drains, and fail while it drains', async () => {
  const { pool, dialer } = countedPool(WAITING)
  dialer.isHeld = true
  const [first, second] = [pool.get(), pool.get()]
  const drained = pool.drain()
  dialer.held.shift()?.fail(new Error('no route'))
  await assert.rejects(first, /no route/)
  dialer.held.shift()?.succeed()
  await (await second).close()
  await drained
  dialer.check(pool, { dialed: 2, open: 0, inUse: 0 })
})

test('a pool with nothing to do is drained at once, and more than once', async () => {
  const { pool, dialer } = countedPool({ maxIdle: 2 })
  await pool.use(() => undefined)
  await pool.drain()
  await pool.drain({ signal: new AbortController().signal })
  await pool.close()
  assert.equal(dialer.open, 0)
})

test('an abort destroys what is left, and drain() says so; the signal has no listener any more', async () => {
  const { pool, dialer } = countedPool(WAITING)
  const lent = await pool.get()
  const waiting = pool.get()
  const controller = new AbortController()
  const drained = pool.drain({ signal: controller.signal })
  controller.abort()
  await assert.rejects(drained, { code: 'ABORT_ERR' })
  await assert.rejects(waiting, { code: 'ABORT_ERR' })
  assert.equal(dialer.connection(0).ended, 'destroyed')
  await lent.close()
  await settled()
  assert.equal(getEventListeners(controller.signal, 'abort').length, 0)
  assert.equal(pool.stats().activeCount, 0)
})

test('a signal that was aborted before destroys at once what there is', async () => {
  const { pool, dialer } = countedPool(WAITING)
  await pool.get()
  await assert.rejects(pool.drain({ signal: AbortSignal.abort() }), { code: 'ABORT_ERR' })
  assert.equal(dialer.open, 0)
})

test('an abort after the end changes nothing', async () => {
  const { pool } = countedPool(WAITING)
  const controller = new AbortController()
  await pool.drain({ signal: controller.signal })
  controller.abort()
  assert.equal(getEventListeners(controller.signal, 'abort').length, 0)
  await pool.drain()
})

test('close() in a drain dismisses those who wait, and ends the drain', async () => {
  const { pool } = countedPool(WAITING)
  const lent = await pool.get()
  const waiting = pool.get()
  const drained = pool.drain()
  const closed = pool.close()
  await assert.rejects(waiting, { code: 'POOL_CLOSED' })
  await lent.close()
  await Promise.all([drained, closed])
})

test('destroy() in a drain ends it', async () => {
  const { pool } = countedPool(WAITING)
  await pool.get()
  const drained = pool.drain()
  pool.destroy()
  await drained
})

test('a waiter that aborts while the pool drains may be the last', async () => {
  const { pool } = countedPool(WAITING)
  const lent = await pool.get()
  const controller = new AbortController()
  const waiting = pool.get({ signal: controller.signal })
  const drained = pool.drain()
  controller.abort()
  await assert.rejects(waiting, { code: 'ABORT_ERR' })
  await lent.close()
  await drained
})

test('a pool that drains dials for those who wait, and no more to have minIdle connections ready', async () => {
  const { pool, dialer } = countedPool({ minIdle: 1, maxIdle: 1, maxActive: 2, wait: true })
  const leases = await Promise.all([pool.get(), pool.get()])
  const warm = pool.warmUp()
  const waiting = pool.use(() => undefined)
  const drained = pool.drain()
  await warm // there are maxActive: it was done at once
  for (const lease of leases) await lease.close()
  await Promise.all([waiting, drained])
  dialer.check(pool, { dialed: 2, open: 0, inUse: 0 })
})

test('a warmUp() under way fails when the pool drains, and its dials are undone', async () => {
  const { pool, dialer } = countedPool({ minIdle: 1, maxIdle: 1 })
  dialer.isHeld = true
  const warm = pool.warmUp()
  const drained = pool.drain()
  await assert.rejects(warm, { code: 'POOL_CLOSED' })
  assert.equal(dialer.held[0]?.signal.aborted, true)
  dialer.held[0]?.fail(new Error('aborted'))
  await drained
  assert.equal(dialer.open, 0)
})
