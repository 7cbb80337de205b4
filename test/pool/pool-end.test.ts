// The end of a pool: close() finishes the work, destroy() fails it.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { PoolError } from '../../lib/errors.ts'
import { Pool, type PoolOptions } from '../../lib/pool/index.ts'
import { settled } from '../support/clock.ts'
import { CountingDialer } from '../support/counting-dialer.ts'
import type { FakeConnection } from '../support/fake-connection.ts'

interface Setup {
  readonly dialer: CountingDialer
  readonly pool: Pool<FakeConnection>
}

function setup(options: Omit<PoolOptions<FakeConnection>, 'dial'> = {}): Setup {
  const dialer = new CountingDialer()
  return { dialer, pool: new Pool({ dial: dialer.dial, maxIdle: 2, ...options }) }
}

/** Whether it has settled by now. */
async function isSettled(promise: Promise<unknown>): Promise<boolean> {
  let has = false
  void promise.finally(() => {
    has = true
  })
  await settled()
  return has
}

test('a closed pool has no idle connections, leaves leases usable, and closes theirs when they come back', async () => {
  const { pool, dialer } = setup()
  const [first, second, third] = [await pool.get(), await pool.get(), await pool.get()]
  await first.close()
  await assert.rejects(first.call('PING'), { code: 'LEASE_RETURNED' })
  await second.close()
  await second.close()
  dialer.check(pool, { dialed: 3, open: 3, inUse: 1 })
  const closed = pool.close()
  dialer.check(pool, { dialed: 3, open: 1, inUse: 1 })
  await assert.rejects(first.call('PING'), { code: 'LEASE_RETURNED' })
  assert.equal(await third.call('PING'), 'PONG')
  assert.equal(await isSettled(closed), false)
  await third.close()
  await closed
  dialer.check(pool, { dialed: 3, open: 0, inUse: 0 })
  assert.equal(dialer.connection(2).ended, 'closed')
  await assert.rejects(pool.get(), (error) => error instanceof PoolError && error.code === 'POOL_CLOSED')
})

test('an empty pool is closed at once, and close() may be called again', async () => {
  const { pool } = setup()
  await pool.close()
  await pool.close()
  await pool[Symbol.asyncDispose]()
})

test('the end of a pool is no eviction', async () => {
  const { pool } = setup()
  const [first, second] = [await pool.get(), await pool.get()]
  await first.close()
  const closed = pool.close()
  await second.close()
  await closed
  assert.deepEqual(Object.values(pool.stats().evictions), [0, 0, 0, 0, 0, 0, 0, 0])
})

test('a get() that is testing when the pool closes is still served', async () => {
  let pass = (): void => undefined
  const { pool, dialer } = setup({ testOnBorrow: () => new Promise<void>((resolve) => (pass = resolve)) })
  await (await pool.get()).close()
  const got = pool.get()
  const closed = pool.close()
  pass()
  const lease = await got
  assert.equal(await lease.call('PING'), 'PONG')
  await lease.close()
  await closed
  dialer.check(pool, { dialed: 1, open: 0, inUse: 0 })
})

for (const wait of [true, false]) {
  test(`a get() whose test fails after the pool was closed dials no more (wait ${wait})`, async () => {
    let fail = (_: Error): void => undefined
    const testOnBorrow = (): Promise<void> => new Promise((_, reject) => (fail = reject))
    const { pool, dialer } = setup({ maxActive: 1, wait, testOnBorrow })
    await (await pool.get()).close()
    const got = pool.get()
    const closed = pool.close()
    fail(new Error('no'))
    await assert.rejects(got, { code: 'POOL_CLOSED' })
    await closed
    dialer.check(pool, { dialed: 1, open: 0, inUse: 0 })
  })
}

test('a get() that is dialing when the pool closes is still served', async () => {
  const { pool, dialer } = setup()
  dialer.isHeld = true
  const got = pool.get()
  const closed = pool.close()
  assert.equal(dialer.held[0]?.signal.aborted, false)
  dialer.held[0]?.succeed()
  const lease = await got
  assert.equal(await isSettled(closed), false)
  await lease.close()
  await closed
})

test('close() comes to its end when the last dial fails', async () => {
  const { pool, dialer } = setup()
  dialer.isHeld = true
  const got = pool.get()
  const closed = pool.close()
  assert.equal(await isSettled(closed), false)
  dialer.held[0]?.fail(new Error('no'))
  await assert.rejects(got, { message: 'no' })
  await closed
})

test('a dial whose caller has gone is closed by a closed pool', async () => {
  const { pool, dialer } = setup()
  dialer.isHeld = true
  const controller = new AbortController()
  const got = pool.get({ signal: controller.signal })
  controller.abort()
  await assert.rejects(got)
  const closed = pool.close()
  dialer.held[0]?.succeed()
  await closed
  assert.equal(dialer.open, 0)
})

test('a silent peer holds up close() for resetTimeout, no longer', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const { pool, dialer } = setup({ resetTimeout: 300 })
  await (await pool.get()).close()
  dialer.connection(0).isStuck = true
  const closed = pool.close()
  assert.equal(await isSettled(closed), false)
  t.mock.timers.tick(299)
  assert.equal(await isSettled(closed), false)
  t.mock.timers.tick(1)
  await closed
})

test('with a resetTimeout of 0 a connection may take any time to close', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const { pool, dialer } = setup({ resetTimeout: 0 })
  await (await pool.get()).close()
  dialer.connection(0).isStuck = true
  const closed = pool.close()
  t.mock.timers.tick(2 ** 31 - 1)
  assert.equal(await isSettled(closed), false)
  pool.destroy()
  await closed
})

test('destroy() destroys idle and lent connections with the error, before it returns', async () => {
  const { pool, dialer } = setup()
  const [idle, lent] = [await pool.get(), await pool.get()]
  await idle.close()
  dialer.connection(1).isHeld = true
  const pending = lent.call('GET', 'k')
  const fenced = new Error('fenced')
  pool.destroy(fenced)
  dialer.check(pool, { dialed: 2, open: 0, inUse: 0 })
  assert.deepEqual(
    dialer.connections.map(({ error, ended }) => [error, ended]),
    [
      [fenced, 'destroyed'],
      [fenced, 'destroyed'],
    ],
  )
  assert.equal(lent.error, fenced)
  for (const reply of [pending, lent.call('PING')]) await assert.rejects(reply, (error) => error === fenced)
  await lent.close()
  dialer.check(pool, { dialed: 2, open: 0, inUse: 0 })
  assert.deepEqual(Object.values(pool.stats().evictions), [0, 0, 0, 0, 0, 0, 0, 0])
})

test('destroy() rejects those who wait with the error, and later ones with it as the cause', async () => {
  const { pool } = setup({ maxActive: 1, wait: true })
  await pool.get()
  const waiting = Promise.allSettled([pool.get(), pool.get()])
  const fenced = new Error('fenced')
  pool.destroy(fenced)
  for (const result of await waiting) assert.deepEqual(result, { status: 'rejected', reason: fenced })
  assert.equal(pool.stats().waitingCount, 0)
  await assert.rejects(pool.get(), (error) => {
    return error instanceof PoolError && error.code === 'POOL_CLOSED' && error.cause === fenced
  })
})

test('destroy() rejects a get() that is testing, and destroys the connection under test', async () => {
  let signal: AbortSignal | undefined
  const { pool, dialer } = setup({
    testOnBorrow: (_connection, _lastUsedAt, interruption) => {
      signal = interruption
      return new Promise(() => undefined)
    },
  })
  await (await pool.get()).close()
  const got = pool.get()
  const fenced = new Error('fenced')
  pool.destroy(fenced)
  await assert.rejects(got, (error) => error === fenced)
  assert.equal(signal?.reason, fenced)
  assert.equal(dialer.connection(0).error, fenced)
  dialer.check(pool, { dialed: 1, open: 0, inUse: 0 })
})

test('destroy() rejects a get() that is dialing, aborts the dial, and undoes one that still succeeds', async () => {
  const { pool, dialer } = setup({ maxActive: 1, wait: true })
  dialer.isHeld = true
  const got = pool.get()
  const fenced = new Error('fenced')
  pool.destroy(fenced)
  await assert.rejects(got, (error) => error === fenced)
  assert.equal(dialer.held[0]?.signal.reason, fenced)
  assert.equal(pool.stats().activeCount, 1)
  const connection = dialer.held[0]?.succeed()
  await settled()
  assert.equal(connection?.error, fenced)
  dialer.check(pool, { dialed: 1, open: 0, inUse: 0 })
})

test("a dial that fails after destroy() is nobody's business", async () => {
  const { pool, dialer } = setup()
  dialer.isHeld = true
  const got = pool.get()
  pool.destroy()
  await assert.rejects(got, { code: 'POOL_CLOSED', message: 'the pool was destroyed' })
  dialer.held[0]?.fail(new Error('late'))
  await settled()
  dialer.check(pool, { dialed: 1, open: 0, inUse: 0 })
})

test('destroy() ends what close() was waiting for', async () => {
  const { pool, dialer } = setup()
  const lease = await pool.get()
  const closed = pool.close()
  assert.equal(await isSettled(closed), false)
  pool.destroy(new Error('enough'))
  await closed
  assert.equal(dialer.connection(0).ended, 'destroyed')
  await lease.close()
})

test('destroy() ends what is being cleaned, and what is being closed', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const { pool, dialer } = setup({ maxIdle: 1 })
  const [first, second] = [await pool.get(), await pool.get()]
  dialer.connection(0).isStuck = true
  dialer.connection(1).isHeld = true
  void second.call('GET', 'k').catch(() => undefined)
  const given = [first.close(), second.close()]
  const third = await pool.get()
  await third.close()
  pool.destroy()
  await Promise.all(given)
  dialer.check(pool, { dialed: 2, open: 0, inUse: 0 })
})

test('only the first destroy() counts, and close() after it is at its end', async () => {
  const { pool } = setup()
  const lease = await pool.get()
  const first = new Error('first')
  pool.destroy(first)
  pool.destroy(new Error('second'))
  await pool.close()
  assert.equal(lease.error, first)
})

test('a pool that is disposed of is closed', async () => {
  const { pool, dialer } = setup()
  {
    await using disposed = pool
    await using lease = await disposed.get()
    assert.equal(await lease.call('PING'), 'PONG')
  }
  dialer.check(pool, { dialed: 1, open: 0, inUse: 0 })
  await assert.rejects(pool.get(), { code: 'POOL_CLOSED' })
})
