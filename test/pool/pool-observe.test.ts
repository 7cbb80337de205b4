// What can be seen of a pool from outside: who holds what, and what it tells on its channels.

import assert from 'node:assert/strict'
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { type TestContext, test } from 'node:test'
import type { Lease, Pool } from '../../lib/pool/index.ts'
import { settled } from '../support/clock.ts'
import { countedPool, fill, pass } from '../support/counted-pool.ts'
import type { FakeConnection } from '../support/fake-connection.ts'

const CHANNELS = ['breaker', 'dial', 'evict', 'leak', 'lend', 'retire', 'return', 'wait'] as const

/** All that is published about a pool: the channel and the message without the pool. */
function listen(t: TestContext, pool: Pool<FakeConnection>): [string, object][] {
  const heard: [string, object][] = []
  for (const name of CHANNELS) {
    const listener = (message: unknown): void => {
      const { pool: about, ...rest } = message as { pool: unknown }
      if (about === pool) heard.push([name, rest])
    }
    subscribe(`respool:pool:${name}`, listener)
    t.after(() => unsubscribe(`respool:pool:${name}`, listener))
  }
  return heard
}

async function borrowHere(pool: Pool<FakeConnection>): Promise<Lease<FakeConnection>> {
  // not `return pool.get()`: engines with proper tail calls forget the frame
  const lease = await pool.get()
  return lease
}

test('holders() tells who holds what, for how long, the longest first, with the stack if that was asked for', async () => {
  const { pool, dialer, clock } = countedPool({ maxIdle: 3, leakStacks: true })
  const first = await borrowHere(pool)
  clock.advance(10)
  await pool.get()
  clock.advance(5)
  const [one, two, ...others] = pool.holders()
  assert.equal(others.length, 0)
  assert.equal(one?.connection, dialer.connection(0))
  assert.deepEqual([one?.heldFor, two?.heldFor], [15, 5])
  assert.match(String(one?.stack), /borrowHere/)
  assert.ok(Object.isFrozen(one))
  await first.close()
  assert.equal(pool.holders().length, 1)
})

test('holders() goes by when they were lent, not by when they were dialed', async () => {
  const { pool, dialer, clock } = countedPool({ maxIdle: 2, leakTimeout: 1000 })
  const first = await pool.get()
  clock.advance(10)
  await pool.get()
  clock.advance(10)
  await first.close()
  await pool.get()
  clock.advance(1)
  const held = pool.holders().map(({ connection, heldFor }) => [connection, heldFor])
  assert.deepEqual(held, [
    [dialer.connection(1), 11],
    [dialer.connection(0), 1],
  ])
})

test('the stack is that of the call of get(), though the lease came later', async () => {
  const { pool } = countedPool({ maxActive: 1, wait: true, leakStacks: true })
  const lent = await pool.get()
  const waiting = borrowHere(pool)
  await lent.close()
  await waiting
  assert.match(String(pool.holders()[0]?.stack), /borrowHere/)
})

test('without leakTimeout or leakStacks leases are not watched', async () => {
  const { pool } = countedPool()
  await pool.get()
  assert.deepEqual(pool.holders(), [])
})

test('what is idle or being tested is held by nobody', async () => {
  const { pool } = countedPool({
    maxIdle: 1,
    leakTimeout: 1000,
    testOnBorrow: () => new Promise(() => undefined),
  })
  await fill(pool, 1)
  void pool.get().catch(() => undefined)
  assert.deepEqual([pool.stats().activeCount, pool.stats().idleCount, pool.holders().length], [1, 0, 0])
  pool.destroy()
})

test('a lease that is out for leakTimeout is reported once, and stays with its borrower', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const { pool, clock, dialer } = countedPool({ maxIdle: 3, leakTimeout: 100 })
  const heard = listen(t, pool)
  const leaked = await pool.get()
  pass(60, clock, t.mock.timers)
  const other = await pool.get()
  pass(40, clock, t.mock.timers)
  const leaks = (): object[] => heard.filter(([name]) => name === 'leak').map(([, message]) => message)
  assert.deepEqual(leaks(), [{ connection: dialer.connection(0), heldFor: 100, stack: undefined }])
  await other.close()
  for (let i = 0; i < 10; i++) pass(100, clock, t.mock.timers)
  assert.equal(leaks().length, 1)
  assert.equal(pool.stats().leaks, 1)
  assert.equal(await leaked.call('PING'), 'PONG')
  await leaked.close()
})

test('the next lease of a connection that was leaked and came back is a new one', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const { pool, clock } = countedPool({ maxIdle: 1, leakTimeout: 100 })
  for (let i = 1; i <= 3; i++) {
    const lease = await pool.get()
    pass(100, clock, t.mock.timers)
    await lease.close()
    assert.equal(pool.stats().leaks, i)
  }
})

test('leases that come back in time are no leaks, and cost no timer each', async (t) => {
  const { pool } = countedPool({ maxIdle: 1, leakTimeout: 1_000_000 })
  const timers = t.mock.method(globalThis, 'setTimeout')
  for (let i = 0; i < 100; i++) await fill(pool, 1)
  assert.equal(timers.mock.callCount(), 1)
  assert.equal(timers.mock.calls[0]?.result?.hasRef(), false)
  await pool.close()
})

test('a dial, a lease, its return and what is given up are told, in this order', async (t) => {
  const { pool, dialer, clock } = countedPool({ maxIdle: 1 })
  const heard = listen(t, pool)
  const [first, second] = [await pool.get(), await pool.get()]
  clock.advance(5)
  await first.close()
  await second.close()
  const [a, b] = dialer.connections
  const dial = ['dial', { duration: 0, error: undefined }]
  assert.deepEqual(heard, [
    dial,
    ['lend', { connection: a }],
    dial,
    ['lend', { connection: b }],
    ['return', { connection: a, as: 'clean' }],
    ['evict', { connection: a, reason: 'overflow' }],
    ['return', { connection: b, as: 'clean' }],
  ])
})

test('every wait is told, with how it ended and how long it took', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const { pool, clock } = countedPool({ maxIdle: 1, maxActive: 1, wait: true, waitTimeout: 50 })
  const heard = listen(t, pool)
  const lent = await pool.get()
  const controller = new AbortController()
  const calls = [pool.get(), pool.get({ signal: controller.signal })]
  pass(10, clock, t.mock.timers)
  controller.abort()
  pass(40, clock, t.mock.timers)
  calls.push(pool.get())
  pass(5, clock, t.mock.timers)
  await lent.close()
  calls.push(pool.get())
  void pool.close()
  await Promise.allSettled(calls)
  assert.deepEqual(
    heard.filter(([name]) => name === 'wait').map(([, message]) => message),
    [
      { duration: 10, outcome: 'aborted' },
      { duration: 50, outcome: 'timeout' },
      { duration: 5, outcome: 'place' },
      { duration: 0, outcome: 'closed' },
    ],
  )
})

test('the breaker and a new generation are told', async (t) => {
  const { pool, dialer, clock } = countedPool({ dialBackoff: 100 })
  const heard = listen(t, pool)
  const error = new Error('no route')
  dialer.error = error
  await assert.rejects(pool.get())
  dialer.error = undefined
  clock.advance(100)
  await pool.get()
  const reason = new Error('moved')
  pool.retire(reason)
  assert.deepEqual(
    heard.filter(([name]) => name === 'breaker' || name === 'retire'),
    [
      ['breaker', { state: 'open', error }],
      ['breaker', { state: 'closed', error: undefined }],
      ['retire', { reason }],
    ],
  )
})

test('a listener may call the pool', async (t) => {
  const { pool, dialer } = countedPool({ maxIdle: 1, maxActive: 1, wait: true })
  const nested: Promise<unknown>[] = []
  const listener = (): void => {
    if (nested.length < 3) nested.push(pool.use(() => undefined))
  }
  for (const name of CHANNELS) {
    subscribe(`respool:pool:${name}`, listener)
    t.after(() => unsubscribe(`respool:pool:${name}`, listener))
  }
  await pool.use(() => undefined)
  await Promise.all(nested)
  await settled()
  dialer.check(pool, { dialed: 1, open: 1, inUse: 0 })
})
