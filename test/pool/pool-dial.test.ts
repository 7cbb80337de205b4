// Dials: whoever waits for one takes what comes first; how many there are at a time; a server that is down.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { settled } from '../support/clock.ts'
import { countedPool, outcome } from '../support/counted-pool.ts'
import type { FakeConnection } from '../support/fake-connection.ts'

const down = new Error('no route')
const isDown = (error: unknown): boolean => error === down

test('a get() that dials takes a connection that comes back first; the dialed one becomes idle', async () => {
  const { pool, dialer } = countedPool({ maxIdle: 2 })
  const first = await pool.get()
  dialer.isHeld = true
  const second = pool.get()
  await first.close()
  const lease = await second
  assert.equal(lease.connection, dialer.connection(0))
  assert.equal(dialer.held[0]?.signal.aborted, false)
  assert.equal(pool.stats().activeCount, 2)
  dialer.held[0]?.succeed()
  await settled()
  dialer.check(pool, { dialed: 2, open: 2, inUse: 1 })
  assert.deepEqual([pool.stats().hits, pool.stats().misses], [0, 2])
})

test('a dial comes first: the connection that comes back later becomes idle', async () => {
  const { pool, dialer } = countedPool({ maxIdle: 2 })
  const first = await pool.get()
  dialer.isHeld = true
  const second = pool.get()
  const dialed = dialer.held[0]?.succeed()
  assert.equal((await second).connection, dialed)
  await first.close()
  dialer.check(pool, { dialed: 2, open: 2, inUse: 1 })
})

test('with a maxIdle of 0 nothing comes back, and a get() waits for its own dial', async () => {
  const { pool, dialer } = countedPool()
  const first = await pool.get()
  dialer.isHeld = true
  const second = pool.get()
  await first.close()
  assert.equal(await outcome(second), 'pending')
  const dialed = dialer.held[0]?.succeed()
  assert.equal((await second).connection, dialed)
})

test('of several that dial, the one that came first gets what comes back', async () => {
  const { pool, dialer } = countedPool({ maxIdle: 4 })
  const first = await pool.get()
  dialer.isHeld = true
  const calls = [pool.get(), pool.get(), pool.get()]
  await first.close()
  assert.deepEqual(await Promise.all(calls.map(outcome)), ['resolved', 'pending', 'pending'])
  dialer.held[0]?.succeed() // the first one's, who needs it no more: the next one's
  await settled()
  assert.deepEqual(await Promise.all(calls.map(outcome)), ['resolved', 'resolved', 'pending'])
})

test('a dial that nobody waits for any more may fail without anyone being told', async () => {
  const { pool, dialer } = countedPool({ maxIdle: 2, maxActive: 2, wait: true })
  const first = await pool.get()
  dialer.isHeld = true
  const second = pool.get()
  await first.close()
  await second
  const third = pool.get()
  assert.equal(await outcome(third), 'pending') // one is lent, one is being dialed
  dialer.held[0]?.fail(down)
  await settled()
  dialer.held[1]?.succeed()
  await third
  dialer.check(pool, { dialed: 3, open: 2, inUse: 2 })
})

test('who waits for a place comes after who waits for a dial', async () => {
  const { pool, dialer } = countedPool({ maxIdle: 2, maxActive: 2, wait: true })
  const first = await pool.get()
  dialer.isHeld = true
  const dialing = pool.get()
  const waiting = pool.get()
  await first.close()
  assert.deepEqual([await outcome(dialing), await outcome(waiting)], ['resolved', 'pending'])
  dialer.held[0]?.succeed()
  await waiting
  dialer.check(pool, { dialed: 2, open: 2, inUse: 2 })
})

test('the connection that comes back is tested for the one who dials; if it fails, the dial is still there', async () => {
  const { pool, dialer } = countedPool({
    maxIdle: 2,
    testOnBorrow: () => Promise.reject(new Error('a bad one')),
  })
  const first = await pool.get()
  dialer.isHeld = true
  const second = pool.get()
  await first.close()
  assert.equal(await outcome(second), 'pending')
  const dialed = dialer.held[0]?.succeed()
  assert.equal((await second).connection, dialed)
  dialer.check(pool, { dialed: 2, open: 1, inUse: 1 })
})

test('a dial that comes while a connection is tested for the same caller wins, and the tested one is kept', async () => {
  let end = (): void => undefined
  const { pool, dialer } = countedPool({
    maxIdle: 2,
    maxActive: 2,
    wait: true,
    testOnBorrow: () => new Promise<void>((resolve) => (end = resolve)),
  })
  const first = await pool.get()
  dialer.isHeld = true
  const second = pool.get()
  await first.close() // is being tested now
  const dialed = dialer.held[0]?.succeed()
  assert.equal((await second).connection, dialed)
  end()
  await settled()
  dialer.check(pool, { dialed: 2, open: 2, inUse: 1 })
})

for (const passes of [true, false]) {
  test(`a dial that fails while a connection is tested fails the call only if the test does (passes: ${passes})`, async () => {
    let end = (_error?: Error): void => undefined
    const { pool, dialer } = countedPool({
      maxIdle: 2,
      maxActive: 2,
      wait: true,
      testOnBorrow: () => new Promise<void>((resolve, reject) => (end = (e) => (e ? reject(e) : resolve()))),
    })
    const first = await pool.get()
    dialer.isHeld = true
    const second = pool.get()
    await first.close()
    dialer.held[0]?.fail(down)
    assert.equal(await outcome(second), 'pending')
    end(passes ? undefined : new Error('a bad one'))
    if (passes) assert.equal((await second).connection, dialer.connection(0))
    else await assert.rejects(second, isDown)
    dialer.check(pool, passes ? { dialed: 2, open: 1, inUse: 1 } : { dialed: 2, open: 0, inUse: 0 })
    dialer.isHeld = false // and no place was lost
    await Promise.all(passes ? [pool.get()] : [pool.get(), pool.get()])
  })
}

test('an abort while a connection is tested and another dialed ends both', async () => {
  const { pool, dialer } = countedPool({
    maxIdle: 2,
    maxActive: 2,
    wait: true,
    testOnBorrow: () => new Promise(() => undefined),
  })
  const first = await pool.get()
  dialer.isHeld = true
  const controller = new AbortController()
  const second = pool.get({ signal: controller.signal })
  await first.close()
  controller.abort()
  await assert.rejects(second, { code: 'ABORT_ERR' })
  assert.equal(dialer.held[0]?.signal.aborted, true)
  dialer.held[0]?.fail(down)
  await settled()
  dialer.check(pool, { dialed: 2, open: 0, inUse: 0 })
  dialer.isHeld = false
  await Promise.all([pool.get(), pool.get()])
})

test('no more than maxConcurrentDials are under way; the others follow in order', async () => {
  const { pool, dialer } = countedPool({ maxConcurrentDials: 2 })
  dialer.isHeld = true
  const calls = Array.from({ length: 5 }, () => pool.get())
  assert.equal(dialer.dialed, 2)
  assert.deepEqual([pool.stats().activeCount, pool.stats().waitingCount], [5, 3])
  const served: FakeConnection[] = []
  for (const call of calls) {
    const connection = dialer.held.shift()?.succeed()
    assert.ok(connection)
    served.push((await call).connection)
    assert.equal(served.at(-1), connection)
    assert.ok(dialer.held.length <= 2)
  }
  dialer.check(pool, { dialed: 5, open: 5, inUse: 5 })
})

test('those who wait for their turn to dial count towards maxActive', async () => {
  const { pool, dialer } = countedPool({ maxConcurrentDials: 1, maxActive: 2 })
  dialer.isHeld = true
  const calls = [pool.get(), pool.get()]
  await assert.rejects(pool.get(), { code: 'POOL_EXHAUSTED' })
  for (const call of calls) {
    dialer.held.shift()?.succeed()
    await call
  }
  dialer.check(pool, { dialed: 2, open: 2, inUse: 2 })
})

test('a failed dial fails its own caller and gives its turn to the next', async () => {
  const { pool, dialer } = countedPool({ maxConcurrentDials: 1, maxActive: 2, wait: true })
  dialer.isHeld = true
  const [first, second] = [pool.get(), pool.get()]
  dialer.held.shift()?.fail(down)
  await assert.rejects(first, isDown)
  dialer.held.shift()?.succeed()
  await second
  dialer.check(pool, { dialed: 2, open: 1, inUse: 1 })
})

test('who waits for its turn to dial takes a connection that comes back, and dials no more', async () => {
  const { pool, dialer } = countedPool({ maxConcurrentDials: 1, maxIdle: 3, maxActive: 3, wait: true })
  const lent = await pool.get()
  dialer.isHeld = true
  const controller = new AbortController()
  const hung = pool.get({ signal: controller.signal })
  const queued = pool.get()
  await lent.close()
  assert.equal((await hung).connection, dialer.connection(0)) // it came first
  dialer.held[0]?.succeed() // the dial was handed on to the one who was queued
  assert.equal((await queued).connection, dialer.connection(1))
  dialer.check(pool, { dialed: 2, open: 2, inUse: 2 })
})

test('a dial whose caller aborts is not aborted but handed on while others wait for their turn', async () => {
  const { pool, dialer } = countedPool({ maxConcurrentDials: 1, maxActive: 2, wait: true })
  dialer.isHeld = true
  const controller = new AbortController()
  const first = pool.get({ signal: controller.signal })
  const second = pool.get()
  controller.abort()
  await assert.rejects(first, { code: 'ABORT_ERR' })
  assert.equal(dialer.held[0]?.signal.aborted, false)
  dialer.held[0]?.succeed()
  await second
  dialer.check(pool, { dialed: 1, open: 1, inUse: 1 })
})

test('who aborts while it waits for its turn leaves nothing behind', async () => {
  const { pool, dialer } = countedPool({ maxConcurrentDials: 1, maxActive: 2, wait: true })
  dialer.isHeld = true
  const first = pool.get()
  const controller = new AbortController()
  const second = pool.get({ signal: controller.signal })
  const third = pool.get()
  controller.abort()
  await assert.rejects(second, { code: 'ABORT_ERR' })
  dialer.held.shift()?.succeed()
  await first
  dialer.held.shift()?.succeed()
  await third
  dialer.check(pool, { dialed: 2, open: 2, inUse: 2 })
})

test('ten thousand who wait for a turn, and a dial that throws at once, do not exhaust the stack', async () => {
  const { pool, dialer } = countedPool({ maxConcurrentDials: 1 })
  dialer.isHeld = true
  const calls = Array.from({ length: 10_000 }, () => pool.get())
  dialer.isHeld = false
  dialer.error = down
  dialer.held[0]?.fail(down)
  const results = await Promise.allSettled(calls)
  assert.ok(results.every(({ status }) => status === 'rejected'))
  assert.equal(pool.stats().activeCount, 0)
})

test('closing the pool fails those who wait for their turn, and serves the one that dials', async () => {
  const { pool, dialer } = countedPool({ maxConcurrentDials: 1 })
  dialer.isHeld = true
  const [first, second] = [pool.get(), pool.get()]
  const closed = pool.close()
  await assert.rejects(second, { code: 'POOL_CLOSED' })
  dialer.held[0]?.succeed()
  await (await first).close()
  await closed
  dialer.check(pool, { dialed: 1, open: 0, inUse: 0 })
})

test('destroying the pool fails all who dial or wait for it, and aborts dials that nobody waits for', async () => {
  const { pool, dialer } = countedPool({ maxConcurrentDials: 2, maxIdle: 2 })
  const lent = await pool.get()
  dialer.isHeld = true
  const calls = [pool.get(), pool.get(), pool.get()]
  await lent.close()
  await calls[0]
  pool.destroy(down)
  await Promise.all(calls.slice(1).map((call) => assert.rejects(call, isDown)))
  assert.ok(dialer.held.every(({ signal }) => signal.aborted))
  for (const { succeed } of dialer.held) succeed()
  await settled()
  dialer.check(pool, { dialed: 3, open: 0, inUse: 0 })
})

test('a dead server costs one dial at a time, and everyone is told why (#384 of redigo)', async () => {
  const { pool, dialer, clock } = countedPool({ maxConcurrentDials: 1, dialBackoff: 100 })
  dialer.isHeld = true
  const calls = Array.from({ length: 100 }, () => pool.get())
  dialer.held.shift()?.fail(down)
  await Promise.all(calls.map((call) => assert.rejects(call, isDown)))
  await assert.rejects(pool.get(), isDown) // in the pause, without a dial
  assert.equal(dialer.dialed, 1)
  clock.advance(100)
  const probes = Array.from({ length: 100 }, () => pool.get())
  assert.equal(dialer.dialed, 2)
  dialer.held.shift()?.fail(down)
  await Promise.all(probes.map((probe) => assert.rejects(probe, isDown)))
  assert.equal(dialer.dialed, 2)
})

test('after the pause one dial at a time tries; when one succeeds all may dial again', async () => {
  const { pool, dialer, clock } = countedPool({ dialBackoff: 100 })
  dialer.error = down
  await assert.rejects(pool.get(), isDown)
  dialer.error = undefined
  dialer.isHeld = true
  clock.advance(100)
  const calls = [pool.get(), pool.get(), pool.get()]
  assert.equal(dialer.dialed, 2)
  dialer.held.shift()?.succeed()
  await settled()
  assert.equal(dialer.dialed, 4)
  for (const { succeed } of dialer.held) succeed()
  await Promise.all(calls)
})

test('while there is a pause idle connections are lent as ever', async () => {
  const { pool, dialer } = countedPool({ maxIdle: 1, dialBackoff: 100 })
  const lent = await pool.get()
  dialer.error = down
  await assert.rejects(pool.get(), isDown)
  await lent.close()
  assert.equal((await pool.get()).connection, dialer.connection(0))
  assert.equal(dialer.dialed, 2)
})

test('in a pool that waits the pause fails those who get a place, with no place lost', async () => {
  const { pool, dialer, clock } = countedPool({ maxActive: 2, wait: true, dialBackoff: 100 })
  dialer.isHeld = true
  const calls = Array.from({ length: 1000 }, () => pool.get())
  for (const { fail } of dialer.held.splice(0)) fail(down)
  const results = await Promise.allSettled(calls)
  assert.ok(results.every((result) => result.status === 'rejected' && result.reason === down))
  assert.equal(dialer.dialed, 2)
  clock.advance(1000)
  dialer.isHeld = false
  await pool.use(() => undefined)
  await Promise.all([pool.get(), pool.get()])
})

test('a dial that was aborted by its caller says nothing of the server', async () => {
  const { pool, dialer } = countedPool({ dialBackoff: 100 })
  dialer.isHeld = true
  const controller = new AbortController()
  const call = pool.get({ signal: controller.signal })
  controller.abort()
  dialer.held[0]?.fail(down)
  await assert.rejects(call, { code: 'ABORT_ERR' })
  await settled()
  dialer.isHeld = false
  await pool.get()
})

test('without dialBackoff every get() dials, as in redigo', async () => {
  const { pool, dialer } = countedPool()
  dialer.error = down
  for (let i = 0; i < 3; i++) await assert.rejects(pool.get(), isDown)
  assert.equal(dialer.dialed, 3)
})

test('a caller whose signal is aborted while it dials does not get what another listener of the signal gives back', async () => {
  const { pool, dialer } = countedPool({ maxIdle: 2, maxActive: 3, wait: true })
  const lent = await pool.get()
  dialer.isHeld = true
  const controller = new AbortController()
  controller.signal.addEventListener('abort', () => void lent.close()) // before the pool's own
  const [first, second] = [pool.get({ signal: controller.signal }), pool.get()]
  controller.abort()
  await assert.rejects(first, { code: 'ABORT_ERR' })
  assert.equal((await second).connection, dialer.connection(0))
  assert.equal(pool.stats().aborts, 1)
})
