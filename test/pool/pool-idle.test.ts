// Idle connections: kept ready, swept, dropped when their peer ends them, asked when they may be dead.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { RespoolError } from '../../lib/errors.ts'
import { settled } from '../support/clock.ts'
import { countedPool, fill, outcome, pass } from '../support/counted-pool.ts'

const down = new Error('no route')
const isDown = (error: unknown): boolean => error === down
const lost = new RespoolError('CONNECTION_LOST', 'the peer closed the connection')

test('warmUp() dials minIdle connections, and resolves when they are idle', async () => {
  const { pool, dialer } = countedPool({ minIdle: 3, maxIdle: 5 })
  assert.equal(dialer.dialed, 0)
  await pool.warmUp()
  dialer.check(pool, { dialed: 3, open: 3, inUse: 0 })
  await pool.warmUp()
  assert.equal(dialer.dialed, 3)
})

test('without minIdle there is nothing to warm up', async () => {
  const { pool, dialer } = countedPool({ maxIdle: 5 })
  await pool.warmUp()
  assert.equal(dialer.dialed, 0)
})

test('warmUp() rejects with what a dial fails with, and the pool goes on trying, one dial a second', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const { pool, dialer, clock } = countedPool({ minIdle: 3, maxIdle: 5 })
  dialer.error = down
  await assert.rejects(pool.warmUp(), isDown)
  await settled()
  const { dialed } = dialer
  for (let second = 1; second <= 5; second++) {
    pass(1000, clock, t.mock.timers)
    await settled()
    assert.equal(dialer.dialed, dialed + second)
  }
  dialer.error = undefined
  pass(1000, clock, t.mock.timers)
  await settled()
  assert.equal(pool.stats().idleCount, 3)
})

test('warmUp() ends with its signal and with the pool; the dials go on for the pool', async () => {
  const { pool, dialer } = countedPool({ minIdle: 1, maxIdle: 1 })
  await assert.rejects(pool.warmUp({ signal: AbortSignal.abort() }), { code: 'ABORT_ERR' })
  dialer.isHeld = true
  const controller = new AbortController()
  const [first, second] = [pool.warmUp({ signal: controller.signal }), pool.warmUp()]
  controller.abort()
  await assert.rejects(first, { code: 'ABORT_ERR' })
  assert.equal(dialer.held[0]?.signal.aborted, false)
  const closed = pool.close()
  await assert.rejects(second, { code: 'POOL_CLOSED' })
  await assert.rejects(pool.warmUp(), { code: 'POOL_CLOSED' })
  assert.equal(dialer.held[0]?.signal.aborted, true)
  dialer.held[0]?.succeed()
  await closed
  assert.equal(dialer.open, 0)
})

test('warmUp() is done when there are maxActive connections, lent ones too', async () => {
  const { pool, dialer } = countedPool({ minIdle: 2, maxIdle: 2, maxActive: 2, wait: true })
  await Promise.all([pool.get(), pool.get()])
  await pool.warmUp()
  dialer.check(pool, { dialed: 2, open: 2, inUse: 2 })
})

test('with a pause between dials warmUp() fails at once, with the cause', async () => {
  const { pool, dialer } = countedPool({ minIdle: 1, maxIdle: 1, dialBackoff: 100 })
  dialer.error = down
  await assert.rejects(pool.get(), isDown)
  await assert.rejects(pool.warmUp(), isDown)
  assert.equal(dialer.dialed, 1)
  await pool.close()
})

test('when an idle connection is lent another is dialed, so that minIdle are idle', async () => {
  const { pool, dialer } = countedPool({ minIdle: 1, maxIdle: 5, maxActive: 3, wait: true })
  await pool.get()
  await settled()
  dialer.check(pool, { dialed: 2, open: 2, inUse: 1 })
  await pool.get()
  await settled()
  dialer.check(pool, { dialed: 3, open: 3, inUse: 2 })
  await pool.get()
  await settled()
  dialer.check(pool, { dialed: 3, open: 3, inUse: 3 }) // maxActive
})

test('dials for the stock take turns with all others, and serve those who need one', async () => {
  const { pool, dialer } = countedPool({ minIdle: 2, maxIdle: 2, maxConcurrentDials: 1 })
  dialer.isHeld = true
  const warm = pool.warmUp()
  const call = pool.get()
  assert.equal(dialer.held.length, 1)
  dialer.held.shift()?.succeed()
  await call
  for (let i = 0; i < 2; i++) {
    assert.equal(dialer.held.length, 1)
    dialer.held.shift()?.succeed()
    await settled()
  }
  await warm
  dialer.check(pool, { dialed: 3, open: 3, inUse: 1 })
})

test('a server that ends every idle connection is not dialed more than once a second for each', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const { pool, dialer, clock } = countedPool({ minIdle: 2, maxIdle: 2 })
  await pool.warmUp()
  for (let second = 0; second < 5; second++) {
    for (const connection of dialer.connections) connection.break(lost)
    await settled()
    assert.equal(dialer.dialed, 2 + 2 * second)
    pass(1000, clock, t.mock.timers)
    await settled()
  }
})

test('timers that keep connections ready do not keep the process', async (t) => {
  const timers = t.mock.method(globalThis, 'setTimeout')
  const { pool, dialer } = countedPool({
    minIdle: 1,
    maxIdle: 1,
    idleTimeout: 1000,
    sweepInterval: 500,
    leakTimeout: 1000,
  })
  dialer.error = down
  await assert.rejects(pool.warmUp(), isDown)
  dialer.error = undefined
  await (await pool.get()).close()
  assert.ok(timers.mock.callCount() >= 3)
  for (const { result } of timers.mock.calls) assert.equal(result?.hasRef(), false)
  await pool.close()
})

test('an idle connection whose peer ends it leaves the pool at once, though nobody borrows', async () => {
  const { pool, dialer } = countedPool({ maxIdle: 3 })
  await fill(pool, 3)
  dialer.connection(1).break(lost) // in the middle of the list
  await settled()
  dialer.check(pool, { dialed: 3, open: 2, inUse: 0 })
  assert.equal(pool.stats().evictions.broken, 1)
  assert.deepEqual(dialer.commands, [])
  assert.equal((await pool.get()).connection, dialer.connection(2))
  assert.equal((await pool.get()).connection, dialer.connection(0))
})

test('a lent connection whose peer ends it is counted out when it comes back, once', async () => {
  const { pool, dialer } = countedPool({ maxIdle: 3 })
  const lease = await pool.get()
  dialer.connection(0).break(lost)
  await settled()
  assert.equal(pool.stats().activeCount, 1)
  await lease.close()
  dialer.check(pool, { dialed: 1, open: 0, inUse: 0 })
  assert.equal(pool.stats().evictions.broken, 1)
})

test('a connection that tells nothing of its end can be pooled all the same', async () => {
  const { pool, dialer } = countedPool({ maxIdle: 1 })
  for (const closed of [undefined, false]) {
    const dialing = pool.get()
    Object.defineProperty(dialer.connections.at(-1), 'closed', { value: closed })
    await (await dialing).close()
    await (await pool.get()).destroy()
  }
})

test('the sweeper closes what has been idle for longer than idleTimeout, without a get()', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const { pool, dialer, clock } = countedPool({ maxIdle: 3, idleTimeout: 100, sweepInterval: 50 })
  await fill(pool, 2)
  pass(50, clock, t.mock.timers)
  pass(50, clock, t.mock.timers)
  assert.equal(pool.stats().idleCount, 2) // idle for exactly idleTimeout is kept
  pass(50, clock, t.mock.timers)
  dialer.check(pool, { dialed: 2, open: 0, inUse: 0 })
  assert.equal(pool.stats().evictions.idleTimeout, 2)
})

test('the sweeper closes what has reached maxConnLifetime, wherever it is in the list', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const { pool, dialer, clock } = countedPool({ maxIdle: 3, maxConnLifetime: 100, sweepInterval: 50 })
  const old = await pool.get()
  pass(50, clock, t.mock.timers)
  const young = await pool.get()
  await young.close()
  await old.close() // the old one is in front
  pass(50, clock, t.mock.timers)
  assert.deepEqual(
    dialer.connections.map(({ ended }) => ended),
    ['closed', undefined],
  )
  assert.equal(pool.stats().evictions.lifetime, 1)
})

test('what was swept is dialed again as far as minIdle goes', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const options = { minIdle: 1, maxIdle: 3, maxConnLifetime: 100, sweepInterval: 100 }
  const { pool, dialer, clock } = countedPool(options)
  await pool.warmUp()
  pass(100, clock, t.mock.timers)
  await settled()
  dialer.check(pool, { dialed: 2, open: 1, inUse: 0 })
})

test('a sweeper with nothing idle, or nothing to look for, has no timer', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const timers = t.mock.method(globalThis, 'setTimeout')
  const nothingToLookFor = countedPool({ maxIdle: 3, sweepInterval: 50, resetTimeout: 0 })
  await fill(nothingToLookFor.pool, 1)
  const options = { maxIdle: 3, idleTimeout: 10, sweepInterval: 50, resetTimeout: 0 }
  const { pool, clock } = countedPool(options)
  assert.equal(timers.mock.callCount(), 0)
  await fill(pool, 1)
  assert.equal(timers.mock.callCount(), 1)
  pass(50, clock, t.mock.timers)
  assert.equal(pool.stats().idleCount, 0)
  pass(1_000_000, clock, t.mock.timers)
  assert.equal(timers.mock.callCount(), 1)
})

test('the sweeper stops with the pool', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const cleared = t.mock.method(globalThis, 'clearTimeout')
  const { pool } = countedPool({ maxIdle: 3, idleTimeout: 10, sweepInterval: 50 })
  await fill(pool, 1)
  const before = cleared.mock.callCount()
  await pool.close()
  assert.ok(cleared.mock.callCount() > before)
})

for (const [name, options, callbacks] of [
  ['the options of redigo', { idleTimeout: 240_000, maxConnLifetime: 3_600_000 }, 0],
  [
    'every option of ours',
    { idleTimeout: 240_000, sweepInterval: 10_000, minIdle: 1000, leakTimeout: 1000 },
    6,
  ],
] as const) {
  test(`a thousand connections idle for a minute cost ${callbacks} callbacks with ${name}`, async (t) => {
    t.mock.timers.enable({ apis: ['setTimeout', 'setInterval', 'setImmediate'] })
    const { pool, dialer } = countedPool({ maxIdle: 1000, resetTimeout: 0, ...options })
    await Promise.all(Array.from({ length: 1000 }, () => pool.get())).then((leases) => {
      for (const lease of leases) void lease.close()
    })
    t.mock.timers.tick(10_000) // what the leases left behind
    await Promise.resolve()
    const timers = t.mock.method(globalThis, 'setTimeout')
    const { dialed, commands } = dialer
    for (let second = 0; second < 60; second++) t.mock.timers.tick(1000)
    assert.equal(timers.mock.callCount(), callbacks)
    assert.deepEqual([dialer.dialed, dialer.commands], [dialed, commands])
    assert.equal(pool.stats().idleCount, 1000)
  })
}

test('lifetimeJitter makes lifetimes shorter, at random, never longer', async (t) => {
  const random = t.mock.method(Math, 'random', () => 0)
  const { pool, dialer, clock } = countedPool({ maxIdle: 3, maxConnLifetime: 100, lifetimeJitter: 40 })
  const first = await pool.get()
  random.mock.mockImplementation(() => 0.5)
  const second = await pool.get()
  clock.advance(79)
  await first.close()
  await second.close()
  const both = [await pool.get(), await pool.get()]
  assert.equal(dialer.dialed, 2)
  clock.advance(1)
  for (const lease of both.reverse()) await lease.close()
  assert.equal((await pool.get()).connection, dialer.connection(0)) // the second, in front, had 80
  assert.equal(pool.stats().evictions.lifetime, 1)
})

test('only a connection that was idle for longer than pingIfIdleLongerThan is asked for a PING', async () => {
  const { pool, dialer, clock } = countedPool({ maxIdle: 1, pingIfIdleLongerThan: 60 })
  await fill(pool, 1)
  clock.advance(60)
  await fill(pool, 1)
  assert.deepEqual(dialer.commands, [])
  clock.advance(61)
  await fill(pool, 1)
  assert.deepEqual(dialer.commands, ['PING'])
  dialer.check(pool, { dialed: 1, open: 1, inUse: 0 })
})

test('it is idle from its return on, not from its dial', async () => {
  const { pool, dialer, clock } = countedPool({ maxIdle: 1, pingIfIdleLongerThan: 50 })
  const lease = await pool.get()
  clock.advance(1000)
  await lease.close()
  clock.advance(50)
  await pool.get()
  assert.deepEqual(dialer.commands, [])
})

test('one that does not answer its PING, or with an error, is destroyed, and the next one tried', async () => {
  const { pool, dialer, clock } = countedPool({ maxIdle: 2, pingIfIdleLongerThan: 60 })
  await fill(pool, 2)
  dialer.connection(1).answers.set('PING', new Error('LOADING'))
  clock.advance(61)
  assert.equal((await pool.get()).connection, dialer.connection(0))
  assert.equal(dialer.connection(1).ended, 'destroyed')
  assert.equal(pool.stats().evictions.failedTest, 1)
})

test('the PING has resetTimeout, ends with the caller, and comes before testOnBorrow', async () => {
  const tested: number[] = []
  const { pool, dialer, clock } = countedPool({
    maxIdle: 1,
    pingIfIdleLongerThan: 60,
    resetTimeout: 123,
    testOnBorrow: (connection) => tested.push(connection.commands.length),
  })
  await fill(pool, 1)
  clock.advance(61)
  await fill(pool, 1)
  assert.deepEqual(tested, [1])
  const [options] = dialer.connection(0).options
  assert.equal(options?.timeout, 123)
  assert.ok(options?.signal)
})

test('with distrust, one connection lost while lent drops the idle ones, where nothing can test them', async () => {
  const { pool, dialer } = countedPool({ maxIdle: 5, distrust: true })
  const lent = await pool.get()
  await fill(pool, 3)
  dialer.connection(0).break(lost)
  await lent.close()
  dialer.check(pool, { dialed: 4, open: 0, inUse: 0 })
  assert.deepEqual([pool.stats().evictions.broken, pool.stats().evictions.suspect], [1, 3])
})

for (const [why, end] of [
  ['its borrower destroyed it', (lease: { destroy(): void }) => lease.destroy()],
  ['it came back clean', () => undefined],
] as const) {
  test(`a lease that ends because ${why} makes no other suspect`, async () => {
    const { pool } = countedPool({ maxIdle: 5, distrust: true })
    const lent = await pool.get()
    await fill(pool, 3)
    end(lent)
    await lent.close()
    assert.equal(pool.stats().evictions.suspect, 0)
  })
}

test('without distrust a lost connection makes no other suspect', async () => {
  const { pool, dialer } = countedPool({ maxIdle: 5 })
  const lent = await pool.get()
  await fill(pool, 3)
  dialer.connection(0).break(lost)
  await lent.close()
  assert.equal(pool.stats().idleCount, 3)
})

test('with distrust and a test, the idle ones are tested at once and together, not borrow by borrow (#328 of redigo)', async () => {
  let tests = 0
  const dead = new Set([1, 3])
  const ends: (() => void)[] = []
  const { pool, dialer } = countedPool({
    maxIdle: 5,
    maxActive: 5,
    wait: true,
    distrust: true,
    testOnBorrow: (connection) => {
      tests++
      const isDead = dead.has(dialer.connections.indexOf(connection))
      return new Promise((resolve, reject) => ends.push(() => (isDead ? reject(lost) : resolve(undefined))))
    },
  })
  const leases = await Promise.all(Array.from({ length: 5 }, () => pool.get()))
  for (const lease of leases.slice(1)) await lease.close()
  dialer.connection(0).break(lost)
  await leases[0]?.close()
  assert.equal(tests, 4)
  const calls = [pool.get(), pool.get()] // one place is vacant, of the lost one
  assert.equal(dialer.dialed, 6)
  for (const end of ends.splice(0)) end()
  await settled()
  for (const end of ends.splice(0)) end() // the tests for the borrower
  await Promise.all(calls)
  const { idleCount, evictions } = pool.stats()
  assert.deepEqual([evictions.failedTest, evictions.broken, idleCount], [2, 1, 1])
})

test('a test that meets a silent peer makes the others suspect', async () => {
  const silent = new RespoolError('COMMAND_TIMEOUT', 'no reply')
  let tests = 0
  const { pool, dialer } = countedPool({
    maxIdle: 5,
    distrust: true,
    testOnBorrow: () => {
      tests++
      return Promise.reject(silent)
    },
  })
  await fill(pool, 5)
  const call = pool.get()
  await call
  assert.equal(tests, 5)
  await settled()
  dialer.check(pool, { dialed: 6, open: 1, inUse: 1 })
})

test('suspects that are dead already need no test, and cost no place', async () => {
  const options = { maxIdle: 3, maxActive: 3, wait: true, distrust: true, testOnBorrow: () => true }
  const { pool, dialer } = countedPool(options)
  const leases = await Promise.all([pool.get(), pool.get(), pool.get()])
  await leases[1]?.close()
  await leases[2]?.close()
  for (const connection of dialer.connections) connection.break(lost)
  void leases[0]?.close() // before the pool was told of the others' end
  assert.equal(pool.stats().evictions.broken, 3)
  await settled()
  await Promise.all([pool.get(), pool.get(), pool.get()])
  dialer.check(pool, { dialed: 6, open: 3, inUse: 3 })
})

test('destroy() ends the tests of suspects, whose connections are gone', async () => {
  const signals: AbortSignal[] = []
  const { pool, dialer } = countedPool({
    maxIdle: 3,
    distrust: true,
    testOnBorrow: (_connection, _at, signal) => {
      signals.push(signal)
      return new Promise(() => undefined)
    },
  })
  const leases = await Promise.all([pool.get(), pool.get(), pool.get()])
  await leases[1]?.close()
  await leases[2]?.close()
  dialer.connection(0).break(lost)
  await leases[0]?.close()
  assert.equal(await outcome(pool.get()), 'resolved') // a new one
  pool.destroy()
  assert.ok(signals.length === 2 && signals.every(({ aborted }) => aborted))
  assert.equal(dialer.open, 0)
})
