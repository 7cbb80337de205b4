// retire(): a new generation of connections, for a dial that leads elsewhere now.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { settled } from '../support/clock.ts'
import { countedPool, fill, outcome } from '../support/counted-pool.ts'

test('idle connections are closed at once, lent ones when they come back', async () => {
  const { pool, dialer } = countedPool({ maxIdle: 3 })
  const lent = await pool.get()
  await fill(pool, 2)
  pool.retire()
  dialer.check(pool, { dialed: 3, open: 1, inUse: 1 })
  assert.equal(await lent.call('PING'), 'PONG')
  await lent.close()
  dialer.check(pool, { dialed: 3, open: 0, inUse: 0 })
  assert.deepEqual(
    dialer.connections.map(({ ended }) => ended),
    ['closed', 'closed', 'closed'],
  )
  assert.equal(pool.stats().evictions.retired, 3)
})

test('connections dialed afterwards are kept as ever', async () => {
  const { pool, dialer } = countedPool({ maxIdle: 1 })
  await fill(pool, 1)
  pool.retire()
  await fill(pool, 1)
  await fill(pool, 1)
  dialer.check(pool, { dialed: 2, open: 1, inUse: 0 })
})

test('those who wait for a place move on to new connections', async () => {
  const { pool, dialer } = countedPool({ maxIdle: 1, maxActive: 1, wait: true })
  const lent = await pool.get()
  const waiting = [0, 1].map(() => pool.use(({ connection }) => connection))
  pool.retire()
  await lent.close()
  for (const connection of await Promise.all(waiting)) assert.equal(connection, dialer.connection(1))
  dialer.check(pool, { dialed: 2, open: 1, inUse: 0 })
})

for (const ends of ['fails', 'succeeds'] as const) {
  test(`a dial under way is aborted and begun again for its caller, when it ${ends}`, async () => {
    const { pool, dialer } = countedPool({ maxIdle: 1, maxActive: 1, wait: true })
    dialer.isHeld = true
    const call = pool.get()
    const moved = new Error('moved')
    pool.retire(moved)
    const old = dialer.held.shift()
    assert.equal(old?.signal.reason, moved)
    if (ends === 'fails') old?.fail(moved)
    else old?.succeed()
    await settled()
    assert.equal(await outcome(call), 'pending')
    const connection = dialer.held.shift()?.succeed()
    assert.equal((await call).connection, connection)
    dialer.check(pool, { dialed: 2, open: 1, inUse: 1 })
  })
}

test('a caller that aborts after that is not dialed for again', async () => {
  const { pool, dialer } = countedPool({ maxActive: 1, wait: true })
  dialer.isHeld = true
  const controller = new AbortController()
  const call = pool.get({ signal: controller.signal })
  pool.retire()
  controller.abort()
  await assert.rejects(call, { code: 'ABORT_ERR' })
  dialer.held.shift()?.fail(new Error('moved'))
  await settled()
  assert.equal(dialer.dialed, 1)
  dialer.isHeld = false
  await pool.get()
})

test('a connection that is being tested does not pass any more', async () => {
  let end = (): void => undefined
  const { pool, dialer } = countedPool({
    maxIdle: 1,
    testOnBorrow: () => new Promise<void>((resolve) => (end = resolve)),
  })
  await fill(pool, 1)
  const call = pool.get()
  pool.retire()
  end()
  assert.equal((await call).connection, dialer.connection(1))
  assert.equal(pool.stats().evictions.retired, 1)
})

test('a pause between dials ends: it was about another server', async () => {
  const { pool, dialer } = countedPool({ dialBackoff: 1000 })
  dialer.error = new Error('no route')
  await assert.rejects(pool.get())
  dialer.error = undefined
  await assert.rejects(pool.get())
  pool.retire()
  await pool.get()
})

test('minIdle connections are dialed anew', async () => {
  const { pool, dialer } = countedPool({ minIdle: 2, maxIdle: 2 })
  await pool.warmUp()
  pool.retire()
  await settled()
  dialer.check(pool, { dialed: 4, open: 2, inUse: 0 })
})

test('a warmUp() that is under way goes on with the new generation', async () => {
  const { pool, dialer } = countedPool({ minIdle: 1, maxIdle: 1 })
  dialer.isHeld = true
  const warm = pool.warmUp()
  pool.retire()
  dialer.held.shift()?.fail(new Error('moved'))
  await settled()
  dialer.held.shift()?.succeed()
  await warm
  dialer.check(pool, { dialed: 2, open: 1, inUse: 0 })
})

test('in a pool that was closed, or destroyed, it changes nothing', async () => {
  const { pool, dialer } = countedPool({ maxIdle: 1 })
  const lent = await pool.get()
  const closed = pool.close()
  pool.retire()
  await lent.close()
  await closed
  pool.destroy()
  pool.retire()
  assert.equal(dialer.open, 0)
  await assert.rejects(pool.get(), { code: 'POOL_CLOSED' })
})
