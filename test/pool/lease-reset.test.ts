// What a lease has its connection reset for, and what becomes of both when that goes wrong. The first tests have fake
// connections, the others a server that does what it is told.

import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import type { ConnectionOptions, Credentials } from '../../lib/connection/index.ts'
import { connect } from '../../lib/connection/index.ts'
import { PoolError } from '../../lib/errors.ts'
import { Pool, type PoolOptions } from '../../lib/pool/index.ts'
import { settled } from '../support/clock.ts'
import { ResettableConnection } from '../support/resettable-connection.ts'
import { greet, type Script, scriptedServer } from '../support/scripted-server.ts'

function setup(options: Omit<PoolOptions<ResettableConnection>, 'dial'> = {}) {
  const connection = new ResettableConnection()
  let dialed = 0
  const dial = async () => (dialed++ === 0 ? connection : new ResettableConnection())
  return { connection, pool: new Pool({ dial, maxIdle: 1, ...options }) }
}

function run(pool: Pool<ResettableConnection>, ...lines: string[]): Promise<void> {
  return pool.use(async (lease) => {
    for (const line of lines) await lease.execute(line.split(' ')).catch(() => undefined)
  })
}

for (const line of [
  'MONITOR',
  'SELECT 1',
  'AUTH secret',
  'AUTH user secret',
  'HELLO 2',
  'HELLO 3 SETNAME me',
  'CLIENT SETNAME me',
  'CLIENT TRACKING ON',
  'CLIENT CACHING YES',
  'CLIENT NO-TOUCH ON',
  'READONLY',
  'ASKING',
  'RESET',
]) {
  test(`a lease that sent ${line} comes back clean by a reset, and nothing else`, async () => {
    const { pool, connection } = setup()
    await run(pool, line)
    assert.equal(connection.resets, 1)
    assert.deepEqual(connection.names, [line.split(' ')[0]])
    assert.ok(connection.isPristine)
    assert.equal(pool.stats().idleCount, 1)
    await run(pool, 'PING')
    assert.deepEqual([connection.resets, pool.stats().dials], [1, 1])
  })
}

for (const line of [
  'CLIENT NO-EVICT ON',
  'CLIENT CAPA redirect',
  'CLIENT IMPORT-SOURCE ON',
  'CLIENT REPLY OFF',
  'PSYNC ? -1',
  'SCRIPT DEBUG YES',
  'QUIT',
]) {
  test(`a lease that sent ${line} costs the connection, with a reset or without`, async () => {
    for (const lines of [[line], ['SELECT 1', line]]) {
      const { pool, connection } = setup()
      await run(pool, ...lines)
      assert.equal(connection.resets, 0)
      assert.equal(connection.ended, 'destroyed')
      assert.deepEqual([pool.stats().activeCount, pool.stats().evictions.dirty], [0, 1])
    }
  })
}

test('a reset undoes transactions, watched keys and subscriptions as well', async () => {
  const { pool, connection } = setup()
  await run(pool, 'SUBSCRIBE x', 'WATCH k', 'SELECT 1', 'MULTI')
  assert.deepEqual(connection.names, ['SUBSCRIBE', 'WATCH', 'SELECT', 'MULTI'])
  assert.ok(connection.isPristine)
  assert.equal(pool.stats().idleCount, 1)
})

test('what needs no reset gets none', async () => {
  const { pool, connection } = setup()
  await run(pool, 'SUBSCRIBE x', 'WATCH k', 'MULTI')
  assert.equal(connection.resets, 0)
  assert.ok(connection.isPristine)
  assert.equal(pool.stats().idleCount, 1)
})

test('a connection that was altered behind the back of the lease is reset', async () => {
  const { pool, connection } = setup()
  const lease = await pool.get()
  connection.isAltered = true
  await lease.close()
  assert.equal(connection.resets, 1)
})

test('one that was altered before it was lent is not: a reset would undo what the dialer did', async () => {
  const { pool, connection } = setup()
  connection.isAltered = true
  await run(pool, 'WATCH k')
  assert.deepEqual([connection.resets, pool.stats().idleCount], [0, 1])
  await run(pool, 'SELECT 1')
  assert.deepEqual([connection.resets, connection.ended], [0, 'destroyed'])
})

test('a command that is refused before it is sent leaves nothing to undo', async () => {
  const { pool, connection } = setup()
  connection.execute = () => {
    throw new TypeError('not supported')
  }
  const lease = await pool.get()
  assert.throws(() => lease.call('CLIENT', 'REPLY', 'OFF'), TypeError)
  await lease.close()
  assert.deepEqual([connection.resets, pool.stats().idleCount], [0, 1])
})

test('a reset that fails costs the connection, and close() resolves', async () => {
  const { pool, connection } = setup()
  connection.outcome = () => Promise.reject(new Error('no reset'))
  await run(pool, 'SELECT 1')
  assert.equal(connection.ended, 'destroyed')
  assert.equal(pool.stats().evictions.dirty, 1)
})

test('a reset that is not done within resetTimeout costs the connection', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const { pool, connection } = setup({ resetTimeout: 200 })
  connection.outcome = () => new Promise(() => undefined)
  const lease = await pool.get()
  await lease.call('SELECT', 1)
  const closed = lease.close()
  t.mock.timers.tick(199)
  await settled()
  assert.equal(connection.ended, undefined)
  t.mock.timers.tick(1)
  await closed
  assert.equal(connection.ended, 'destroyed')
  assert.ok(connection.error instanceof PoolError)
})

test('pushes that the borrower brought about do not reach the listener of the dialer, others do', async () => {
  const { pool, connection } = setup()
  const heard: unknown[] = []
  const listener = (push: readonly unknown[]) => void heard.push(push[0])
  connection.onPush = listener
  const lease = await pool.get()
  lease.connection.onPush = () => assert.fail('the borrower is gone')
  for (const line of ['SUBSCRIBE x', 'SSUBSCRIBE y', 'MONITOR']) await lease.execute(line.split(' '))
  await lease.call('RESET') // and still the lines that were on their way
  const closed = lease.close()
  for (const kind of ['message', 'pmessage', 'smessage', 'monitor', 'invalidate'])
    connection.onPush?.([kind, 'x'])
  connection.onPush?.([Buffer.from('message'), 'x'])
  connection.onPush?.(['unsubscribe', null, 0])
  await closed
  assert.deepEqual(heard, ['invalidate'])
  assert.equal(connection.onPush, listener)
})

/** A pool of one connection to a server, which obeys the script once a borrower is there. */
async function serve(t: TestContext, script: Script, options: ConnectionOptions = {}, resetTimeout = 100) {
  let isLent = false
  const server = await scriptedServer(t, (command, peer) => {
    const answer = isLent ? script(command, peer) : undefined
    return answer ?? (command[0] === 'RESET' ? '+RESET\r\n' : greet(command))
  })
  const pool = new Pool({
    maxIdle: 1,
    maxActive: 1,
    wait: true,
    resetTimeout,
    dial: (signal) => {
      isLent = false
      return connect({ ...server.options, ...options, signal })
    },
  })
  t.after(() => pool.destroy())
  const lease = await pool.get()
  isLent = true
  return { server, pool, lease }
}

const mute: Script = () => ''
const hostile: [what: string, script: Script, options?: ConnectionOptions][] = [
  ['a server that is silent after RESET', ([name]) => (name === 'RESET' ? '' : undefined)],
  ['a server that is silent after HELLO', ([name]) => (name === 'HELLO' ? '' : undefined)],
  [
    'a server that answers everything but the last',
    ([name, word]) => (word === 'SETINFO' && name ? '' : undefined),
  ],
  [
    'a server that has no RESET',
    ([name]) => (name === 'RESET' ? "-ERR unknown command 'RESET'\r\n" : undefined),
  ],
  ['a server that forbids RESET', ([name]) => (name === 'RESET' ? '-NOPERM no\r\n' : undefined)],
  ['a server that refuses HELLO', ([name]) => (name === 'HELLO' ? '-WRONGPASS no\r\n' : undefined)],
  [
    'a server that refuses HELLO and does not say so', // redis/redis#15640
    ([name, version]) => (name === 'HELLO' && version ? '' : undefined),
    { database: 3, password: 'wrong' },
  ],
  ['a server that forbids HELLO', ([name]) => (name === 'HELLO' ? '-NOPERM no\r\n' : undefined)],
  [
    'a server that refuses SELECT',
    ([name]) => (name === 'SELECT' ? '-ERR no\r\n' : undefined),
    { database: 3 },
  ],
  [
    'a server that closes after RESET',
    ([name], peer) => {
      if (name === 'RESET') peer.cut('+RESET\r\n', 8)
      return name === 'SELECT' ? undefined : ''
    },
  ],
  [
    'a server that breaks off within RESET',
    ([name], peer) => {
      if (name === 'RESET') peer.cut('+RESET\r\n', 3)
      return name === 'SELECT' ? undefined : ''
    },
  ],
  [
    'a server that resets the socket after HELLO',
    ([name], peer) => {
      if (name === 'HELLO') peer.reset()
      return name === 'HELLO' ? '' : undefined
    },
  ],
  [
    'a server that answers too much',
    ([name]) => (name === 'RESET' ? `+RESET\r\n${'+OK\r\n'.repeat(9)}` : undefined),
  ],
  ['a server that answers with nonsense', ([name]) => (name === 'RESET' ? '!?\r\n' : undefined)],
]
for (const [what, script, options] of hostile) {
  test(`${what} costs the connection, within the bound, and the next borrower gets another`, async (t) => {
    const { server, pool, lease } = await serve(t, script, options)
    await lease.call('SELECT', 5).catch(() => undefined)
    const startedAt = performance.now()
    const next = pool.get()
    const closed = lease.close()
    assert.equal(lease.close(), closed)
    assert.equal(await closed, undefined)
    assert.ok(performance.now() - startedAt < 1000)
    const second = await next
    assert.equal(await second.call('PING'), 'PONG')
    assert.equal(server.peers.length, 2)
    assert.equal(server.peers[1]?.commands.at(-1)?.[0], 'PING')
    await server.until(() => server.openCount === 1)
    const { activeCount, dials } = pool.stats()
    assert.deepEqual([activeCount, dials], [1, 2])
    await second.close()
  })
}

test('a peer that is silent altogether costs no more than resetTimeout', async (t) => {
  const { server, pool, lease } = await serve(t, mute)
  lease.call('SELECT', 5).catch(() => undefined)
  await lease.close()
  await server.until(() => server.openCount === 0)
  assert.deepEqual([pool.stats().activeCount, pool.stats().evictions.dirty], [0, 1])
})

test('a reply that was owed and comes after RESET was sent never reaches the next borrower', async (t) => {
  const { server, pool, lease } = await serve(t, (command, peer) => {
    if (command[0] === 'GET') return ''
    if (command[0] !== 'RESET') return undefined
    peer.send('$4\r\nlate\r\n$5\r\nlater\r\n')
    return '+RESET\r\n'
  })
  await lease.call('SELECT', 5)
  const controller = new AbortController()
  const { signal } = controller
  const awaited = lease.call('GET', 'a')
  const aborted = assert.rejects(lease.execute(['GET', 'b'], { signal }), { code: 'ABORT_ERR' })
  await server.until(() => server.commands.some(([name]) => name === 'GET'))
  controller.abort()
  await aborted
  const next = pool.get()
  await lease.close()
  assert.equal(await awaited, 'late')
  const second = await next
  assert.equal(await second.call('PING'), 'PONG')
  assert.equal(server.peers.length, 1)
})

test('destroy() ends a reset, and so does the end of the pool', async (t) => {
  for (const end of ['lease', 'pool'] as const) {
    const { server, pool, lease } = await serve(t, ([name]) => (name === 'RESET' ? '' : undefined), {}, 0)
    await lease.call('SELECT', 5)
    const closed = lease.close()
    await server.until(() => server.commands.some(([name]) => name === 'RESET'))
    if (end === 'lease') lease.destroy()
    else pool.destroy()
    await closed
    await server.until(() => server.openCount === 0)
    assert.equal(pool.stats().activeCount, 0)
  }
})

test('a pool that was closed meanwhile ends when the reset has', async (t) => {
  const { server, pool, lease } = await serve(t, () => undefined)
  await lease.call('SELECT', 5)
  const ended = pool.close()
  await lease.close()
  await ended
  await server.until(() => server.openCount === 0)
  assert.equal(pool.stats().evictions.dirty, 0)
})

test('a vault that hangs costs no more than resetTimeout', async (t) => {
  let asked = 0
  const credentials = (): Credentials | Promise<Credentials> =>
    asked++ === 1 ? new Promise<never>(() => undefined) : { password: 'secret' }
  const { server, pool, lease } = await serve(t, () => undefined, { credentials })
  await lease.call('SELECT', 5)
  await lease.close()
  assert.equal(asked, 2)
  assert.ok(server.commands.every(([name]) => name !== 'RESET'))
  assert.equal(pool.stats().activeCount, 0)
})

test('no timer outlives a reset', async (t) => {
  const timers = () => process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length
  const before = timers()
  const { pool, lease } = await serve(t, () => undefined, { commandTimeout: 0 })
  await lease.call('SELECT', 5)
  await lease.close()
  assert.equal(pool.stats().idleCount, 1)
  await pool.close()
  assert.equal(timers(), before)
})
