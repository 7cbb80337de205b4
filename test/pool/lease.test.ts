// What a lease does with the connection it stands for, and in what state it gives it back.

import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { PoolError, ReplyError } from '../../lib/errors.ts'
import { type Lease, Pool, type PoolOptions } from '../../lib/pool/index.ts'
import { settled } from '../support/clock.ts'
import { CountingDialer } from '../support/counting-dialer.ts'
import type { FakeConnection } from '../support/fake-connection.ts'

interface Setup {
  readonly dialer: CountingDialer
  readonly pool: Pool<FakeConnection>
}

function setup(options: Omit<PoolOptions<FakeConnection>, 'dial'> = {}): Setup {
  const dialer = new CountingDialer()
  return { dialer, pool: new Pool({ dial: dialer.dial, maxIdle: 2, maxActive: 2, ...options }) }
}

/** Sends commands through a lease, waits for them, gives it back. What the connection was sent. */
async function trace(commands: readonly string[]): Promise<{ sent: string[]; isKept: boolean }> {
  const { pool, dialer } = setup()
  const lease = await pool.get()
  await send(lease, commands)
  await lease.close()
  const isKept = pool.stats().idleCount === 1
  if (isKept) assert.ok(dialer.connection(0).isPristine, 'kept, and not clean')
  return { sent: dialer.commands, isKept }
}

async function send(lease: Lease<FakeConnection>, commands: readonly string[]): Promise<void> {
  for (const command of commands) await lease.execute(command.split(' ')).catch(() => undefined)
}

function mockTimers(t: TestContext): void {
  t.mock.timers.enable({ apis: ['setTimeout'] })
}

const cleaned: readonly (readonly [readonly string[], readonly string[]])[] = [
  [['SUBSCRIBE x'], ['SUBSCRIBE', 'UNSUBSCRIBE', 'PUNSUBSCRIBE', 'ECHO']],
  [['PSUBSCRIBE x*'], ['PSUBSCRIBE', 'UNSUBSCRIBE', 'PUNSUBSCRIBE', 'ECHO']],
  [['SSUBSCRIBE x'], ['SSUBSCRIBE', 'SUNSUBSCRIBE', 'ECHO']],
  [
    ['SUBSCRIBE x', 'SSUBSCRIBE y'],
    ['SUBSCRIBE', 'SSUBSCRIBE', 'UNSUBSCRIBE', 'PUNSUBSCRIBE', 'SUNSUBSCRIBE', 'ECHO'],
  ],
  [
    ['WATCH k', 'PING'],
    ['WATCH', 'PING', 'UNWATCH'],
  ],
  [
    ['WATCH k', 'UNWATCH', 'PING'],
    ['WATCH', 'UNWATCH', 'PING'],
  ],
  [
    ['WATCH k', 'MULTI', 'PING'],
    ['WATCH', 'MULTI', 'PING', 'DISCARD'],
  ],
  [
    ['WATCH k', 'MULTI', 'DISCARD', 'PING'],
    ['WATCH', 'MULTI', 'DISCARD', 'PING'],
  ],
  [
    ['WATCH k', 'MULTI', 'EXEC', 'PING'],
    ['WATCH', 'MULTI', 'EXEC', 'PING'],
  ],
  [
    ['MULTI', 'UNWATCH'],
    ['MULTI', 'UNWATCH', 'DISCARD'],
  ],
  [
    ['WATCH k', 'EXEC'],
    ['WATCH', 'EXEC', 'UNWATCH'],
  ], // redigo leaves the keys watched
  [
    ['WATCH k', 'DISCARD'],
    ['WATCH', 'DISCARD', 'UNWATCH'],
  ],
  [['MULTI too many'], ['MULTI', 'DISCARD']], // refused, so that DISCARD is refused too
  [
    ['SUBSCRIBE x', 'MULTI'],
    ['SUBSCRIBE', 'MULTI', 'DISCARD', 'UNSUBSCRIBE', 'PUNSUBSCRIBE', 'ECHO'],
  ],
]
for (const [commands, sent] of cleaned) {
  test(`a lease that sent ${commands.join(', ')} comes back clean by ${sent.join(', ')}`, async () => {
    assert.deepEqual(await trace(commands), { sent, isKept: true })
  })
}

for (const command of ['select 1', 'MONITOR', 'AUTH secret', 'CLIENT SETNAME me', 'HELLO 3', 'READONLY']) {
  test(`a lease that sent ${command} costs a connection without reset(), and nothing is sent for it`, async () => {
    const { sent, isKept } = await trace([command])
    assert.equal(isKept, false)
    assert.deepEqual(sent, [command.split(' ')[0]])
  })
}

test('a connection that is given up for its state is counted as dirty, and its place is free', async () => {
  const { pool, dialer } = setup()
  const lease = await pool.get()
  await lease.call('MONITOR')
  await lease.close()
  dialer.check(pool, { dialed: 1, open: 0, inUse: 0 })
  assert.equal(pool.stats().evictions.dirty, 1)
  assert.equal(dialer.connection(0).ended, 'destroyed')
})

test('a refused MULTI after WATCH costs the connection: the keys are watched still', async () => {
  assert.deepEqual(await trace(['WATCH k', 'MULTI too many']), {
    sent: ['WATCH', 'MULTI', 'DISCARD'],
    isKept: false,
  })
})

for (const [name, command] of [
  ['DISCARD', 'MULTI'],
  ['UNWATCH', 'WATCH k'],
  ['UNSUBSCRIBE', 'SUBSCRIBE x'],
  ['ECHO', 'PSUBSCRIBE x*'],
] as const) {
  test(`a server that denies ${name} costs the connection`, async () => {
    const { pool, dialer } = setup()
    const lease = await pool.get()
    dialer.connection(0).answers.set(name, new ReplyError('NOPERM this user has no permissions'))
    await send(lease, [command])
    await lease.close()
    dialer.check(pool, { dialed: 1, open: 0, inUse: 0 })
  })
}

test('an ECHO that answers something else costs the connection', async () => {
  const { pool, dialer } = setup()
  const lease = await pool.get()
  dialer.connection(0).answers.set('ECHO', 'message')
  await lease.call('SUBSCRIBE', 'x')
  await lease.close()
  dialer.check(pool, { dialed: 1, open: 0, inUse: 0 })
})

test('the sentinel is random, 16 bytes or more, and asked for as a string', async () => {
  const { pool, dialer } = setup()
  const lease = await pool.get()
  await lease.call('SUBSCRIBE', 'x')
  await lease.close()
  const connection = dialer.connection(0)
  assert.match(String(connection.commands.at(-1)?.[1]), /^[0-9a-f]{32,}$/)
  assert.deepEqual(connection.options.at(-1), { replies: 'string' })
})

test('the commands of a clean-up leave together', async () => {
  const { pool, dialer } = setup()
  const lease = await pool.get()
  await send(lease, ['SUBSCRIBE x', 'WATCH k', 'MULTI'])
  const connection = dialer.connection(0)
  connection.isHeld = true
  const closed = lease.close()
  assert.deepEqual(connection.names.slice(3), ['DISCARD', 'UNSUBSCRIBE', 'PUNSUBSCRIBE', 'ECHO'])
  connection.isHeld = false
  connection.answer()
  await closed
  dialer.check(pool, { dialed: 1, open: 1, inUse: 0 })
})

test('with nothing to undo the connection is back when close() returns', async () => {
  const { pool } = setup()
  const lease = await pool.get()
  await lease.call('PING')
  void lease.close()
  assert.equal(pool.stats().idleCount, 1)
})

test('replies that were not waited for never reach the next borrower', async () => {
  const { pool, dialer } = setup()
  const lease = await pool.get()
  const connection = dialer.connection(0)
  connection.isHeld = true
  const owed = lease.call('GET', 'k')
  const closed = lease.close()
  await settled()
  dialer.check(pool, { dialed: 1, open: 1, inUse: 1 })
  connection.answer(1)
  assert.equal(await owed, 'OK')
  dialer.check(pool, { dialed: 1, open: 1, inUse: 1 })
  connection.answer(1)
  await closed
  dialer.check(pool, { dialed: 1, open: 1, inUse: 0 })
  assert.deepEqual(connection.names, ['GET', 'ECHO'])
})

test('what is owed is let in even when the connection will be given up', async () => {
  const { pool, dialer } = setup()
  const lease = await pool.get()
  const replies = Promise.all([lease.call('SELECT', 1), lease.call('SET', 'k', 'v')])
  await lease.close()
  assert.deepEqual(await replies, ['OK', 'OK'])
  dialer.check(pool, { dialed: 1, open: 0, inUse: 0 })
})

test('without replies nothing is waited for', async () => {
  const { pool, dialer } = setup()
  const lease = await pool.get()
  dialer.connection(0).isHeld = true
  const pending = lease.call('CLIENT', 'REPLY', 'OFF')
  void lease.close()
  dialer.check(pool, { dialed: 1, open: 0, inUse: 0 })
  await assert.rejects(pending, { code: 'LEASE_RETURNED' })
})

test('a blocking command under way costs the connection at once', async () => {
  const { pool, dialer } = setup()
  const lease = await pool.get()
  dialer.connection(0).isHeld = true
  const popped = lease.call('BLPOP', 'list', 0)
  void lease.close()
  dialer.check(pool, { dialed: 1, open: 0, inUse: 0 })
  await assert.rejects(popped, { code: 'LEASE_RETURNED' })
  assert.equal(pool.stats().evictions.dirty, 1)
})

test('a blocking command that was aborted is still under way', async () => {
  const { pool, dialer } = setup()
  const lease = await pool.get()
  dialer.connection(0).isHeld = true
  const controller = new AbortController()
  const popped = lease.execute(['BLPOP', 'list', 0], { signal: controller.signal })
  controller.abort()
  await assert.rejects(popped, { code: 'ABORT_ERR' })
  void lease.close()
  dialer.check(pool, { dialed: 1, open: 0, inUse: 0 })
})

for (const answer of [null, new ReplyError('WRONGTYPE')]) {
  test(`a blocking command that was answered is over (${answer === null ? 'nothing' : 'an error'})`, async () => {
    const { pool, dialer } = setup()
    const lease = await pool.get()
    dialer.connection(0).answers.set('BLPOP', answer)
    await lease.call('BLPOP', 'list', 1).catch(() => undefined)
    dialer.connection(0).isHeld = true
    const owed = lease.call('GET', 'k')
    const closed = lease.close()
    dialer.check(pool, { dialed: 1, open: 1, inUse: 1 })
    dialer.connection(0).answer()
    await owed
    await closed
    dialer.check(pool, { dialed: 1, open: 1, inUse: 0 })
  })
}

test('an EXEC that did not go through leaves the transaction open, and it is discarded', async () => {
  const { pool, dialer } = setup()
  const lease = await pool.get()
  await send(lease, ['WATCH k', 'MULTI'])
  const connection = dialer.connection(0)
  connection.answers.set('EXEC', new PoolError('QUEUE_FULL', 'not sent'))
  await assert.rejects(lease.call('EXEC'), { code: 'QUEUE_FULL' })
  await lease.close()
  assert.deepEqual(connection.names, ['WATCH', 'MULTI', 'EXEC', 'DISCARD'])
  assert.ok(connection.isPristine)
  dialer.check(pool, { dialed: 1, open: 1, inUse: 0 })
})

for (const [name, before] of [
  ['EXEC', 'MULTI'],
  ['UNWATCH', 'WATCH k'],
] as const) {
  test(`${name} that is found not to have gone through during the clean-up costs the connection`, async () => {
    const { pool, dialer } = setup()
    const lease = await pool.get()
    await send(lease, [before])
    dialer.connection(0).answers.set(name, new PoolError('QUEUE_FULL', 'not sent'))
    const executed = assert.rejects(lease.call(name), { code: 'QUEUE_FULL' })
    await lease.close()
    await executed
    dialer.check(pool, { dialed: 1, open: 0, inUse: 0 })
  })
}

test('an EXEC that was answered with EXECABORT is over', async () => {
  const { pool, dialer } = setup()
  const lease = await pool.get()
  await lease.call('MULTI')
  const connection = dialer.connection(0)
  connection.answers.set(
    'EXEC',
    new ReplyError('EXECABORT Transaction discarded because of previous errors.'),
  )
  connection.server.isMulti = false
  await assert.rejects(lease.call('EXEC'), ReplyError)
  await lease.close()
  assert.deepEqual(connection.names, ['MULTI', 'EXEC'])
  dialer.check(pool, { dialed: 1, open: 1, inUse: 0 })
})

test('a clean-up that is not done within resetTimeout costs the connection, and close() resolves', async (t) => {
  mockTimers(t)
  const { pool, dialer } = setup({ resetTimeout: 200, maxActive: 1, wait: true })
  const lease = await pool.get()
  await lease.call('SUBSCRIBE', 'x')
  dialer.connection(0).isHeld = true
  let isClosed = false
  const closed = lease.close().then(() => {
    isClosed = true
  })
  const next = pool.get()
  t.mock.timers.tick(199)
  await settled()
  assert.deepEqual([isClosed, pool.stats().waitingCount], [false, 1])
  t.mock.timers.tick(1)
  await closed
  assert.equal(pool.stats().evictions.dirty, 1)
  assert.match(String(dialer.connection(0).error), /did not become clean within 200 ms/)
  await (await next).close()
  dialer.check(pool, { dialed: 2, open: 1, inUse: 0 })
})

test('the bound is for the clean-up as a whole, and is a second by default', async (t) => {
  mockTimers(t)
  const { pool, dialer } = setup()
  const lease = await pool.get()
  await lease.call('SUBSCRIBE', 'x')
  const connection = dialer.connection(0)
  connection.isHeld = true
  const closed = lease.close()
  for (let i = 0; i < 2; i++) {
    t.mock.timers.tick(400)
    connection.answer(1)
    await settled()
  }
  dialer.check(pool, { dialed: 1, open: 1, inUse: 1 })
  t.mock.timers.tick(200)
  await closed
  dialer.check(pool, { dialed: 1, open: 0, inUse: 0 })
})

test('a resetTimeout of 0 sets no bound', async (t) => {
  mockTimers(t)
  const { pool, dialer } = setup({ resetTimeout: 0 })
  const lease = await pool.get()
  await lease.call('WATCH', 'k')
  dialer.connection(0).isHeld = true
  const closed = lease.close()
  t.mock.timers.tick(2 ** 31 - 1)
  await settled()
  dialer.check(pool, { dialed: 1, open: 1, inUse: 1 })
  dialer.connection(0).answer()
  await closed
  dialer.check(pool, { dialed: 1, open: 1, inUse: 0 })
})

test('no timer outlives its clean-up', async () => {
  const timersBefore = process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length
  const { pool } = setup()
  const lease = await pool.get()
  await lease.call('WATCH', 'k')
  const closed = lease.close()
  const during = process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length
  assert.equal(during, timersBefore + 1)
  await closed
  await pool.close()
  const after = process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length
  assert.equal(after, timersBefore)
})

test('a connection that dies during the clean-up is given up, and close() resolves', async () => {
  const { pool, dialer } = setup()
  const lease = await pool.get()
  await lease.call('WATCH', 'k')
  dialer.connection(0).isHeld = true
  const closed = lease.close()
  dialer.connection(0).break()
  await closed
  dialer.check(pool, { dialed: 1, open: 0, inUse: 0 })
})

test('a connection on which something is pending after the clean-up is given up', async () => {
  const { pool, dialer } = setup()
  const lease = await pool.get()
  await lease.call('WATCH', 'k')
  const { connection } = lease
  connection.isHeld = true
  const closed = lease.close()
  const behind = assert.rejects(connection.call('GET', 'k'))
  connection.answer(1)
  await closed
  await behind
  dialer.check(pool, { dialed: 1, open: 0, inUse: 0 })
})

test('after close() nothing of the borrower reaches the connection', async () => {
  const { pool, dialer } = setup()
  const lease = await pool.get()
  assert.equal(lease.error, undefined)
  const { connection } = lease
  await lease.close()
  await assert.rejects(lease.call('PING'), (error) => {
    return error instanceof PoolError && error.message === 'the lease was given back'
  })
  await assert.rejects(lease.execute(['PING']), { code: 'LEASE_RETURNED' })
  assert.throws(() => lease.connection, { code: 'LEASE_RETURNED' })
  assert.match(String(lease.error), /the lease was given back/)
  lease.destroy()
  assert.equal(connection.error, undefined)
  assert.deepEqual(connection.names, [])
  dialer.check(pool, { dialed: 1, open: 1, inUse: 0 })
})

test('while the connection is being cleaned the lease is over already', async () => {
  const { pool, dialer } = setup()
  const lease = await pool.get()
  await lease.call('WATCH', 'k')
  const closed = lease.close()
  await assert.rejects(lease.call('SET', 'k', 'v'), { code: 'LEASE_RETURNED' })
  await closed
  assert.deepEqual(dialer.commands, ['WATCH', 'UNWATCH'])
})

test('close() called again, or at the same time, is the same close()', async () => {
  const { pool, dialer } = setup()
  const lease = await pool.get()
  await lease.call('WATCH', 'k')
  const closed = lease.close()
  assert.equal(lease.close(), closed)
  assert.equal(lease[Symbol.asyncDispose](), closed)
  await closed
  assert.equal(lease.close(), closed)
  dialer.check(pool, { dialed: 1, open: 1, inUse: 0 })
})

test("a second close() does not give back the next borrower's connection", async () => {
  const { pool, dialer } = setup()
  const first = await pool.get()
  await first.close()
  const second = await pool.get()
  await first.close()
  first.destroy()
  dialer.check(pool, { dialed: 1, open: 1, inUse: 1 })
  assert.equal(await second.call('PING'), 'PONG')
})

test('close() from within the dial that it sets off changes nothing', async () => {
  const dialer = new CountingDialer()
  let first: Lease<FakeConnection> | undefined
  const dial = (signal: AbortSignal): Promise<FakeConnection> => {
    void first?.close()
    return dialer.dial(signal)
  }
  const pool = new Pool({ dial, maxActive: 1, wait: true })
  first = await pool.get()
  const next = pool.get()
  await first.close()
  await (await next).close()
  assert.deepEqual([dialer.dialed, dialer.open, pool.stats().activeCount], [2, 0, 0])
})

test('destroy() gives the connection up with the error, and frees its place', async () => {
  const { pool, dialer } = setup({ maxActive: 1, wait: true })
  const lease = await pool.get()
  const next = pool.get()
  const error = new Error('mine')
  lease.destroy(error)
  assert.equal(dialer.connection(0).error, error)
  await lease.close()
  await (await next).close()
  dialer.check(pool, { dialed: 2, open: 1, inUse: 0 })
  assert.equal(pool.stats().evictions.broken, 1)
})

test('destroy() ends a clean-up', async (t) => {
  mockTimers(t)
  const { pool, dialer } = setup()
  const lease = await pool.get()
  await lease.call('WATCH', 'k')
  dialer.connection(0).isHeld = true
  const closed = lease.close()
  lease.destroy()
  await closed
  dialer.check(pool, { dialed: 1, open: 0, inUse: 0 })
})

test("the borrower's listener for pushes goes when the lease does", async () => {
  const { pool, dialer } = setup()
  const own = (): void => undefined
  const lease = await pool.get()
  const connection = dialer.connection(0)
  lease.connection.onPush = own
  await lease.call('SUBSCRIBE', 'x')
  const closed = lease.close()
  assert.equal(connection.onPush, undefined)
  await closed
  connection.onPush = own // as the dialer may have it
  const next = await pool.get()
  next.connection.onPush = undefined
  await next.close()
  assert.equal(connection.onPush, own)
})

test('a command that is none throws at once, and the lease goes on', async () => {
  const { pool } = setup()
  const lease = await pool.get()
  assert.throws(() => lease.execute([]), TypeError)
  assert.equal(await lease.call('PING'), 'PONG')
  await lease.close()
  assert.equal(pool.stats().idleCount, 1)
})
