// A lease comes back clean: whatever a borrower left on a connection, and however it went away, the next one finds a
// connection as it was dialed. Each row of the table of docs/pool.md, in both versions of the protocol.

import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { type Connection, connect } from '../../lib/connection/index.ts'
import { RespoolError } from '../../lib/errors.ts'
import { type Lease, Pool } from '../../lib/pool/index.ts'
import type { Reply } from '../../lib/resp/index.ts'
import { freshSeed, pick, randomNumbers } from '../support/random-numbers.ts'
import { request, startServer, type TestServer } from '../support/real-servers.ts'

/** Of the random test; what it looks for shows within a few hundred. */
const ROUNDS = 300

type Protocol = 2 | 3

/** What becomes of the connection: kept by redigo's sequence, kept by RESET where the server has it, or given up. */
type Fate = 'kept' | 'reset' | 'gone'

interface Row {
  readonly fate: Fate
  /** Commands, their words between spaces; what the server refuses changes nothing. */
  readonly does: readonly string[]
  /** Versions of the protocol in which it can be done. @default both */
  readonly protocols?: readonly Protocol[]
  /** A blocking command: it is not waited for. */
  readonly blocks?: boolean
}

const rows: readonly Row[] = [
  { fate: 'kept', does: ['PING', 'SET k v', 'CLIENT ID'] },
  { fate: 'kept', does: ['WATCH k'] },
  { fate: 'kept', does: ['MULTI', 'SET k queued'] },
  { fate: 'kept', does: ['WATCH k', 'MULTI', 'SET k queued'] },
  { fate: 'kept', does: ['WATCH k', 'EXEC'] },
  { fate: 'kept', does: ['MULTI', 'NO.SUCH.COMMAND'] },
  { fate: 'kept', does: ['MULTI too many'] },
  { fate: 'gone', does: ['WATCH k', 'MULTI too many'] },
  { fate: 'kept', does: ['SUBSCRIBE x y'] },
  { fate: 'kept', does: ['PSUBSCRIBE x* y*'] },
  { fate: 'kept', does: ['SUBSCRIBE x', 'PSUBSCRIBE x*', 'UNSUBSCRIBE x'] },
  { fate: 'kept', does: ['SUBSCRIBE x', 'WATCH k', 'MULTI'], protocols: [3] },
  { fate: 'reset', does: ['MONITOR'] },
  { fate: 'reset', does: ['SELECT 5'] },
  { fate: 'reset', does: ['SELECT 99'] },
  { fate: 'reset', does: ['SELECT 5', 'SELECT 2'] },
  { fate: 'reset', does: ['SELECT 5', 'WATCH k', 'MULTI', 'SET k queued'] },
  { fate: 'reset', does: ['SELECT 5', 'SUBSCRIBE x', 'PSUBSCRIBE x*'] },
  { fate: 'reset', does: ['MULTI', 'SELECT 5', 'EXEC'] },
  { fate: 'reset', does: ['AUTH other pw'] },
  { fate: 'reset', does: ['AUTH other wrong'] },
  { fate: 'reset', does: ['HELLO 2'] },
  { fate: 'reset', does: ['HELLO 3'] },
  { fate: 'reset', does: ['HELLO 3 AUTH other pw SETNAME intruder'] },
  { fate: 'reset', does: ['HELLO 3 SETNAME intruder', 'SUBSCRIBE x', 'SELECT 5'] },
  { fate: 'reset', does: ['CLIENT SETNAME intruder'] },
  { fate: 'reset', does: ['CLIENT TRACKING ON', 'GET k'] },
  { fate: 'reset', does: ['CLIENT TRACKING ON BCAST PREFIX k NOLOOP'] },
  { fate: 'reset', does: ['CLIENT TRACKING ON OPTIN', 'CLIENT CACHING YES', 'GET k'] },
  { fate: 'reset', does: ['CLIENT NO-TOUCH ON'] },
  { fate: 'gone', does: ['CLIENT NO-EVICT ON'] },
  { fate: 'gone', does: ['CLIENT NO-EVICT ON', 'SELECT 5'] },
  { fate: 'gone', does: ['CLIENT CAPA redirect'] },
  { fate: 'reset', does: ['READONLY'] },
  { fate: 'reset', does: ['ASKING'] },
  { fate: 'reset', does: ['RESET'] },
  { fate: 'gone', does: ['QUIT'] },
  { fate: 'gone', does: ['BLPOP nothing 0'], blocks: true },
  { fate: 'gone', does: ['SELECT 5', 'XREAD BLOCK 0 STREAMS nothing $'], blocks: true },
]

/** How a borrower goes away. */
const departures = {
  'has waited for all': async (lease: Lease, commands: readonly string[][]) => {
    for (const command of commands) await lease.execute(command).catch(swallow)
  },
  'waits for nothing': async (lease: Lease, commands: readonly string[][]) => {
    for (const command of [...commands, ['GET', 'k']]) lease.execute(command).catch(swallow)
  },
  'has aborted what it sent': async (lease: Lease, commands: readonly string[][]) => {
    const controller = new AbortController()
    const { signal } = controller
    for (const command of [...commands, ['GET', 'k']]) lease.execute(command, { signal }).catch(swallow)
    await new Promise(process.nextTick)
    controller.abort()
  },
  'has aborted before it was sent': async (lease: Lease, commands: readonly string[][]) => {
    const controller = new AbortController()
    const { signal } = controller
    for (const command of commands) lease.execute(command, { signal }).catch(swallow)
    controller.abort()
  },
} as const

for (const protocol of [2, 3] as const) {
  test(`RESP${protocol}: the next borrower sees nothing`, async (t) => {
    const scene = await setUp(t, protocol)
    for (const [manner, depart] of Object.entries(departures)) {
      for (const row of rows) {
        if (row.protocols?.includes(protocol) === false) continue
        if (row.blocks && manner !== 'waits for nothing' && manner !== 'has aborted what it sent') continue
        await t.test(`of one who did ${row.does.join(', ')}, and ${manner}`, async () => {
          const isKept = await scene.lend((lease) => depart(lease, words(row.does)))
          const isExpected = row.fate === 'kept' || (row.fate === 'reset' && scene.hasReset)
          // never sent, and the lease cannot know: what it undid may have been refused
          if (manner !== 'has aborted before it was sent') assert.equal(isKept, isExpected, 'is the same')
        })
      }
    }
  })
}

for (const protocol of [2, 3] as const) {
  test(`RESP${protocol}: nor anything of one who did many things at random`, async (t) => {
    const seed = freshSeed()
    t.diagnostic(`seed ${seed}`)
    const random = randomNumbers(seed)
    const scene = await setUp(t, protocol)
    for (let round = 0; round < ROUNDS; round++) {
      const manner = pick(random, Object.keys(departures) as (keyof typeof departures)[])
      const mayBlock = manner === 'waits for nothing' || manner === 'has aborted what it sent'
      const possible = rows.filter(({ blocks }) => mayBlock || !blocks).flatMap(({ does }) => does)
      const lines = [...possible, 'SSUBSCRIBE x', 'UNSUBSCRIBE', 'CLIENT TRACKING OFF', 'DISCARD', 'UNWATCH']
      const does = Array.from({ length: 1 + random(6) }, () => pick(random, lines))
      await scene
        .lend((lease) => departures[manner](lease, words(does)))
        .catch((cause) => {
          throw new Error(`${does.join(', ')}, and ${manner}; RESPOOL_SEED=${seed}`, { cause })
        })
    }
  })
}

test('shard subscriptions are undone', async (t) => {
  const scene = await setUp(t, 3)
  if (!(await scene.knows('SSUBSCRIBE'))) return t.skip('this server has no shard channels')
  for (const [manner, depart] of Object.entries(departures)) {
    await t.test(manner, async () => {
      assert.equal(await scene.lend((lease) => depart(lease, words(['SSUBSCRIBE x y']))), true)
      assert.equal(await scene.lend((lease) => depart(lease, words(['SUBSCRIBE x', 'SSUBSCRIBE x']))), true)
    })
  }
})

test('what the borrower has undone itself costs nothing', async (t) => {
  const scene = await setUp(t, 3)
  for (const lines of [
    ['WATCH k', 'UNWATCH'],
    ['WATCH k', 'MULTI', 'EXEC'],
    ['CLIENT TRACKING ON', 'GET k', 'CLIENT TRACKING OFF'],
  ]) {
    assert.equal(await scene.lend((lease) => departures['has waited for all'](lease, words(lines))), true)
  }
})

test('CLIENT REPLY is refused before it is sent, and costs nothing', async (t) => {
  const scene = await setUp(t, 3)
  for (const mode of ['OFF', 'SKIP']) {
    const isKept = await scene.lend(async (lease) => {
      assert.throws(() => lease.call('CLIENT', 'REPLY', mode), TypeError)
    })
    assert.equal(isKept, true)
  }
})

test('what was done to the connection behind the back of the lease is undone too', async (t) => {
  const scene = await setUp(t, 3)
  for (const line of ['SELECT 5', 'AUTH other pw', 'CLIENT TRACKING ON', 'HELLO 2']) {
    const isKept = await scene.lend(async ({ connection }) => {
      const [name = '', ...args] = line.split(' ')
      await connection.call(name, ...args)
    })
    assert.equal(isKept, scene.hasReset, line)
  }
  assert.equal(
    await scene.lend(({ connection }) => connection.call('CLIENT', 'NO-EVICT', 'ON').catch(swallow)),
    false,
  )
})

test('what the dialer has done after the handshake is not undone: then a change costs the connection', async (t) => {
  const scene = await setUp(t, 3, (connection) => connection.call('SELECT', 7))
  const { pool } = scene
  const database = async () => {
    await using lease = await pool.get()
    return /db=(\d+)/.exec(await clientInfo(lease))?.[1]
  }
  assert.equal(await database(), '7')
  await pool.use((lease) => lease.call('WATCH', 'k'))
  assert.equal(pool.stats().dials, 1)
  assert.equal(await database(), '7')
  await pool.use((lease) => lease.call('SELECT', 5))
  assert.equal(await database(), '7')
  assert.equal(pool.stats().dials, 2)
})

for (const protocol of [2, 3] as const) {
  test(`RESP${protocol}: credentials are asked for anew, and those are the ones in force`, async (t) => {
    const server = await startServer(t)
    await addUser(server, 'app', 'first')
    let password = 'first'
    let asked = 0
    const pool = new Pool({
      maxIdle: 1,
      dial: (signal) =>
        connect({
          port: server.port,
          protocol,
          signal,
          credentials: async () => {
            asked += 1
            return { username: 'app', password }
          },
        }),
    })
    t.after(() => pool.destroy())
    const hasReset = await knows(server, 'RESET')
    await pool.use((lease) => lease.call('SELECT', 3))
    await pool.use((lease) => lease.call('PING'))
    assert.deepEqual([asked, pool.stats().dials], hasReset ? [2, 1] : [3, 2])
    await request(server, 'ACL', 'SETUSER', 'app', '>second', '<first')
    password = 'second'
    await pool.use((lease) => lease.call('AUTH', 'default', 'whatever'))
    assert.equal(await pool.use((lease) => lease.call('ACL', 'WHOAMI')), 'app')
    password = 'wrong'
    const dials = pool.stats().dials
    await pool.use((lease) => lease.call('SELECT', 3))
    assert.deepEqual([pool.stats().idleCount, pool.stats().dials], [0, dials])
    await assert.rejects(pool.get(), { code: 'HANDSHAKE_FAILED', message: /WRONGPASS/ })
  })
}

test('READONLY and ASKING are undone on a node of a cluster', async (t) => {
  const server = await startServer(t, { args: ['--cluster-enabled', 'yes'] })
  const pool = new Pool({ maxIdle: 1, dial: (signal) => connect({ port: server.port, signal }) })
  t.after(() => pool.destroy())
  const hasReset = await knows(server, 'RESET')
  for (const [isKept, ...names] of [
    [hasReset, 'READONLY'],
    [hasReset, 'ASKING'],
    [true, 'READONLY', 'READWRITE'],
  ] as const) {
    const before = await pool.use(async (lease) => {
      for (const name of names) assert.equal(await lease.call(name), 'OK')
      if (names.at(-1) === 'READONLY') assert.match(await clientInfo(lease), /flags=\S*r/)
      return await lease.call('CLIENT', 'ID')
    })
    await pool.use(async (lease) => {
      assert.equal((await lease.call('CLIENT', 'ID')) === before, isKept)
      assert.match(await clientInfo(lease), /flags=N /)
    })
  }
})

interface Scene {
  readonly pool: Pool
  readonly hasReset: boolean
  knows(command: string): Promise<boolean>
  /** Lends a connection, then lends again, and asserts that the second borrower sees nothing. Was it the same? */
  lend(borrow: (lease: Lease) => Promise<unknown>): Promise<boolean>
}

async function setUp(
  t: TestContext,
  protocol: Protocol,
  prepare: (connection: Connection) => unknown = () => undefined,
): Promise<Scene> {
  const server = await startServer(t)
  await addUser(server, 'app', 'secret')
  await addUser(server, 'other', 'pw')
  await request(server, 'ACL', 'SETUSER', 'other', '-@all', '+ping', '+select')
  const other = await connect({ port: server.port })
  t.after(() => other.destroy())
  const strays: (readonly Reply[])[] = []
  const listener = (push: readonly Reply[]) => void strays.push(push)
  const pool = new Pool({
    maxIdle: 1,
    maxActive: 1,
    wait: true,
    dial: async (signal) => {
      const connection = await connect({
        port: server.port,
        username: 'app',
        password: 'secret',
        database: 2,
        clientName: 'worker',
        onPush: listener,
        protocol,
        signal,
      })
      await prepare(connection)
      return connection
    },
  })
  t.after(() => pool.destroy())
  const disturb = () =>
    Promise.all([
      ...['x', 'y'].map((channel) => other.call('PUBLISH', channel, 'stray')),
      other.call('SPUBLISH', 'x', 'stray').catch(swallow),
      ...[0, 2, 5].flatMap((database) => [other.call('SELECT', database), other.call('SET', 'k', 'stray')]),
    ])
  const lend = async (borrow: (lease: Lease) => Promise<unknown>) => {
    const lease = await pool.get()
    const before = await lease.call('CLIENT', 'ID')
    lease.connection.onPush = () => undefined
    await borrow(lease)
    const disturbed = disturb()
    const next = pool.get()
    const closed = lease.close()
    assert.equal(lease.close(), closed)
    await closed
    await using second = await next
    await disturbed
    await disturb()
    const after = await second.call('CLIENT', 'ID')
    await assertClean(second, protocol)
    assert.equal(second.connection.onPush, listener)
    assert.deepEqual(strays, [])
    return before === after
  }
  const hasReset = await knows(server, 'RESET')
  return { pool, hasReset, knows: (name) => knows(server, name), lend }
}

/** The connection is as the dial of {@link setUp} leaves it. */
async function assertClean(lease: Lease, protocol: Protocol): Promise<void> {
  const { connection } = lease
  assert.equal(connection.error, undefined)
  assert.equal(connection.pendingCount, 0)
  assert.equal(connection.protocol, protocol)
  assert.equal(connection.isAltered, false)
  assert.equal(await lease.call('PING'), 'PONG')
  assert.equal(await lease.call('ACL', 'WHOAMI'), 'app')
  assert.equal(await lease.call('CLIENT', 'GETNAME'), 'worker')
  const info = await clientInfo(lease)
  assert.match(info, / flags=N (capa= )?db=2 sub=0 psub=0 (ssub=0 )?multi=(-1|0) /)
  for (const [field, expected] of [
    ['resp', String(protocol)],
    ['redir', '-1'],
    ['watch', '0'],
    ['user', 'app'],
    ...(protocol === 3 ? [['lib-name', 'respool'] as const] : []),
  ] as const) {
    const [, actual = expected] = new RegExp(` ${field}=(\\S*)`).exec(info) ?? []
    assert.equal(actual, expected, field)
  }
  const port = await lease.call('CONFIG', 'GET', 'port')
  assert.equal(port instanceof Map, protocol === 3)
  const tracking = await lease.call('CLIENT', 'TRACKINGINFO').catch(swallow)
  if (tracking !== undefined) {
    const flags = tracking instanceof Map ? tracking.get('flags') : (tracking as Reply[])[1]
    assert.deepEqual(flags instanceof Set ? [...flags] : flags, ['off'])
  }
  // what was watched, if anything was, has changed since
  const replies = ['MULTI', 'PING', 'EXEC'].map((name) => lease.call(name))
  assert.deepEqual(await Promise.all(replies), ['OK', 'QUEUED', ['PONG']])
  const words = Array.from({ length: 10 }, (_, i) => `word-${i}`)
  assert.deepEqual(await Promise.all(words.map((word) => lease.call('ECHO', word))), words)
}

/** The line of CLIENT LIST; CLIENT INFO came with Redis 6.2. */
async function clientInfo(lease: Lease): Promise<string> {
  const id = await lease.call('CLIENT', 'ID')
  const lines = String(await lease.call('CLIENT', 'LIST')).split('\n')
  return lines.find((line) => line.startsWith(`id=${id} `)) ?? ''
}

/** A user who may do everything. Rights for channels came with Redis 6.2. */
async function addUser(server: TestServer, name: string, password: string): Promise<void> {
  const rights = ['ACL', 'SETUSER', name, 'on', `>${password}`, '~*', '+@all']
  const reply = await request(server, ...rights, '&*')
  if (reply instanceof Error) assert.equal(await request(server, ...rights), 'OK')
}

async function knows(server: TestServer, command: string): Promise<boolean> {
  const info = await request(server, 'COMMAND', 'INFO', command)
  return Array.isArray(info) && info[0] !== null
}

function words(lines: readonly string[]): string[][] {
  return lines.map((line) => line.split(' '))
}

function swallow(error: unknown): undefined {
  assert.ok(error instanceof RespoolError)
}
