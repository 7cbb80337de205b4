// Every typed command against a real server: the same value in RESP2 and in RESP3, as text and as bytes.

import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { createClient } from '../../lib/client/index.ts'
import { methods } from '../../lib/client/methods.ts'
import { eventually, request, startServer, type TestServer } from '../support/real-servers.ts'
import { type Case, isFrom, kinds, type Typed, usual } from './typed-cases.ts'
import { clusterCases } from './typed-cases-cluster.ts'
import { dataCases } from './typed-cases-data.ts'
import { serverCases } from './typed-cases-server.ts'
import { structureCases } from './typed-cases-structures.ts'

/**
 * Only ever `OK`, and not worth what they do to the server; or they need a deployment, or bytes, which have a test of
 * their own.
 */
const notRun = new Set(
  `aclLoad aclSave clusterCancelslotmigrations clusterFailover clusterFlushslot clusterFlushslots
   clusterForget clusterMeet clusterMigrateslots clusterReplicate clusterReset
   clusterSetConfigEpoch configRewrite functionRestore moduleLoad moduleLoadex moduleUnload
   restore shutdown`.split(/\s+/),
)

interface Views {
  readonly text: readonly [Typed, Typed]
  readonly bytes: readonly [Typed, Typed]
}

function viewsOf(t: TestContext, server: TestServer): Views {
  const clients = ([2, 3] as const).map((protocol) => {
    const client = createClient({ port: server.port, protocol })
    t.after(() => client.destroy())
    return client
  })
  const [two, three] = clients.map((client) => client.with({}))
  const [twoBytes, threeBytes] = clients.map(
    (client) => client.with({ replies: 'buffer' }) as unknown as Typed,
  )
  assert.ok(two && three && twoBytes && threeBytes)
  return { text: [two, three], bytes: [twoBytes, threeBytes] }
}

async function runOnce({ setup, call }: Case, redis: Typed): Promise<unknown> {
  await redis.call('FLUSHALL')
  for (const [name = '', ...args] of setup) {
    await redis.call(String(name), ...args)
  }
  return await call(redis)
}

async function check(it: Case, { text, bytes }: Views): Promise<void> {
  const same = it.varies === true ? kinds : (value: unknown) => value
  const [two, three] = [await runOnce(it, text[0]), await runOnce(it, text[1])]
  assert.deepStrictEqual(same(two), same(three), 'RESP2 gives what RESP3 gives')
  for (const value of [two, three]) {
    if (typeof it.expected === 'function') it.expected(value)
    else assert.deepStrictEqual(usual(value), it.expected)
  }
  const [twoBytes, threeBytes] = [await runOnce(it, bytes[0]), await runOnce(it, bytes[1])]
  assert.deepStrictEqual(same(twoBytes), same(threeBytes), 'bytes in RESP2 as in RESP3')
  if (typeof it.expected === 'function') it.expected(threeBytes)
}

async function run(t: TestContext, server: TestServer, cases: readonly Case[]): Promise<void> {
  const views = viewsOf(t, server)
  const info = await views.text[1].info('server')
  const kind = /^valkey_version:/m.test(info) ? 'valkey' : 'redis'
  const version = new RegExp(`^${kind}_version:(\\S+)`, 'm').exec(info)?.[1] ?? ''
  for (const it of cases) {
    const oldest = it.from === undefined ? '7.0' : it.from[kind]
    const has = oldest !== undefined && isFrom(version, oldest)
    const source = String(it.call)
      .replace(/^.*?=> /, '')
      .replace(/\s+/g, ' ')
    await t.test(
      `${it.name} gives the same in both protocols: ${source}`,
      { skip: !has && `not in ${kind} ${version}` },
      () => check(it, views),
    )
  }
}

test('keys of all types', async (t) => run(t, await startServer(t), dataCases))

test('places and streams', async (t) => run(t, await startServer(t), structureCases))

test('the server itself', async (t) => {
  const server = await startServer(t)
  // something for ACL LOG
  await request(server, 'AUTH', 'nobody', 'wrong')
  await run(t, server, serverCases)
})

test('a server of a cluster', async (t) => {
  const server = await startServer(t, { args: ['--cluster-enabled', 'yes'] })
  const redis = createClient({ port: server.port })
  t.after(() => redis.destroy())
  await redis.clusterAddslots(...Array.from({ length: 16_384 }, (_, slot) => slot))
  await eventually('it serves', async () => (await redis.clusterInfo()).startsWith('cluster_state:ok'))
  await run(t, server, clusterCases)
})

test('bytes come back as they were: a dump is restored, a hash has fields that are no text', async (t) => {
  const server = await startServer(t)
  for (const protocol of [2, 3] as const) {
    const redis = createClient({ port: server.port, protocol })
    t.after(() => redis.destroy())
    const bytes = redis.with({ replies: 'buffer' })
    const field = Buffer.from([0xff, 0, 0xfe])
    await redis.hset('h', field, field)
    const dump = await bytes.dump('h')
    assert.ok(dump)
    assert.equal(await redis.restore('copy', 0, dump, 'REPLACE'), 'OK')
    assert.deepEqual(await bytes.hgetall('copy'), [[field, field]])
    assert.deepEqual(await bytes.hscan('copy', 0), ['0', [[field, field]]])
    assert.deepEqual(await bytes.hgetall('absent'), [])
    await redis.xadd('s', '1-1', 'a', 1, 'a', field)
    assert.deepEqual(await bytes.xrange('s', '-', '+'), [
      {
        id: Buffer.from('1-1'),
        fields: [
          [Buffer.from('a'), Buffer.from('1')],
          [Buffer.from('a'), field],
        ],
      },
    ])
    await redis.del('s')
  }
})

test('a typed command rejects as call() does, and throws at once for what is no argument', async (t) => {
  const redis = createClient({ port: (await startServer(t)).port })
  t.after(() => redis.destroy())
  await redis.set('k', 'v')
  await assert.rejects(redis.hgetall('k'), { code: 'REPLY_ERROR', prefix: 'WRONGTYPE' })
  await assert.rejects(redis.del(...[]), { code: 'REPLY_ERROR', message: /wrong number of arguments/ })
  assert.throws(() => redis.get(undefined as unknown as string), TypeError)
})

test('every command that is a method has a row', () => {
  const run = new Set<string>(
    [...dataCases, ...structureCases, ...serverCases, ...clusterCases].map(({ name }) => name),
  )
  const missing = methods.filter(({ name }) => !run.has(name) && !notRun.has(name)).map(({ name }) => name)
  assert.deepEqual(missing, [])
})
