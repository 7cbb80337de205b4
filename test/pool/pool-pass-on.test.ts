// A connection that comes back while somebody waits for a place: it goes to the first of them, without being idle in
// between where nothing has to be done to it, and with all that is due where something has.

import assert from 'node:assert/strict'
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { test } from 'node:test'
import type { PoolOptions } from '../../lib/pool/index.ts'
import { settled } from '../support/clock.ts'
import { type CountedPool, countedPool, outcome } from '../support/counted-pool.ts'
import type { FakeConnection } from '../support/fake-connection.ts'

/** One connection, lent, and one who waits for it. */
async function contended(options: Omit<PoolOptions<FakeConnection>, 'dial'> = {}) {
  const counted: CountedPool = countedPool({ maxIdle: 1, maxActive: 1, wait: true, ...options })
  const lent = await counted.pool.get()
  return { ...counted, lent, waiting: counted.pool.get() }
}

test('it is with the next borrower when close() returns, and idle at no time', async () => {
  const { pool, dialer, lent, waiting } = await contended()
  const { connection } = lent
  const closed = lent.close()
  const { activeCount, idleCount, waitingCount, hits, misses, waitCount } = pool.stats()
  assert.deepEqual([activeCount, idleCount, waitingCount], [1, 0, 0])
  assert.deepEqual([hits, misses, waitCount], [1, 1, 1])
  await closed
  assert.equal((await waiting).connection, connection)
  dialer.check(pool, { dialed: 1, open: 1, inUse: 1 })
})

test('one that was cleaned, and one that was dialed for somebody who has gone, go the same way', async () => {
  const { pool, dialer, lent, waiting } = await contended()
  await lent.call('WATCH', 'key')
  await lent.close()
  const second = await waiting
  assert.deepEqual(dialer.commands, ['WATCH', 'UNWATCH'])
  second.destroy()
  dialer.isHeld = true
  const controller = new AbortController()
  const gone = pool.get({ signal: controller.signal })
  const third = pool.get()
  controller.abort()
  await assert.rejects(gone)
  dialer.held[0]?.succeed()
  assert.equal((await third).connection, dialer.connection(1))
  dialer.check(pool, { dialed: 2, open: 2 - 1, inUse: 1 })
})

test('with a maxIdle of 0 it is closed, and another dialed', async () => {
  const { pool, dialer, lent, waiting } = await contended({ maxIdle: 0 })
  await lent.close()
  await waiting
  assert.equal(dialer.connection(0).ended, 'closed')
  assert.equal(pool.stats().evictions.overflow, 1)
  dialer.check(pool, { dialed: 2, open: 1, inUse: 1 })
})

test('one that has reached maxConnLifetime is closed, and another dialed; just before, it is lent', async () => {
  for (const [age, dialed] of [
    [99, 1],
    [100, 2],
  ] as const) {
    const { pool, dialer, clock, lent, waiting } = await contended({ maxConnLifetime: 100 })
    clock.advance(age)
    await lent.close()
    await waiting
    assert.equal(pool.stats().evictions.lifetime, dialed - 1)
    dialer.check(pool, { dialed, open: 1, inUse: 1 })
  }
})

test('with a test it is tested before', async () => {
  const tested: number[] = []
  const testOnBorrow = (_: FakeConnection, lastUsedAt: number): number => tested.push(lastUsedAt)
  const { clock, lent, waiting } = await contended({ testOnBorrow })
  clock.advance(7)
  await lent.close()
  await waiting
  assert.deepEqual(tested, [clock.now()])
})

test('its return, the end of the wait and the next lease are told, in this order', async (t) => {
  const { pool, lent, waiting } = await contended()
  const heard: string[] = []
  for (const name of ['lend', 'return', 'wait']) {
    const listener = (message: unknown): void => {
      if ((message as { pool: unknown }).pool === pool) heard.push(name)
    }
    subscribe(`respool:pool:${name}`, listener)
    t.after(() => unsubscribe(`respool:pool:${name}`, listener))
  }
  await lent.close()
  await waiting
  assert.deepEqual(heard, ['return', 'wait', 'lend'])
})

for (const name of ['return', 'wait'] as const) {
  test(`who waits is not lent a connection that a listener of '${name}' destroyed, pool and all`, async (t) => {
    const { pool, dialer, lent, waiting } = await contended()
    const reason = new Error('enough')
    const listener = (message: unknown): void => {
      if ((message as { pool: unknown }).pool === pool) pool.destroy(reason)
    }
    subscribe(`respool:pool:${name}`, listener)
    t.after(() => unsubscribe(`respool:pool:${name}`, listener))
    const told = assert.rejects(waiting, reason)
    await lent.close()
    await told
    assert.equal(dialer.open, 0)
    assert.equal(pool.stats().activeCount, 0)
  })
}

test('who waits in a pool that is drained gets it, and with the last one served the pool is closed', async () => {
  const { pool, dialer, lent, waiting } = await contended()
  const drained = pool.drain()
  await lent.close()
  const last = await waiting
  assert.equal(await outcome(drained), 'pending')
  await last.close()
  await drained
  await settled()
  dialer.check(pool, { dialed: 1, open: 0, inUse: 0 })
})

test('a thousand who wait and give back at once are served in order, and exhaust no stack', async () => {
  const { pool, dialer, lent, waiting } = await contended()
  const served: number[] = []
  const others = Array.from({ length: 1000 }, async (_, i) => {
    const lease = await pool.get()
    served.push(i)
    await lease.close()
  })
  await lent.close()
  await (await waiting).close()
  await Promise.all(others)
  assert.deepEqual(
    served,
    served.map((_, i) => i),
  )
  dialer.check(pool, { dialed: 1, open: 1, inUse: 0 })
})
