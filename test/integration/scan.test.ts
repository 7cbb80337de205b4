// Iterators on real servers: all that is there all the time comes, whatever happens to the connection; and what happens
// to the server is told.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Client, createClient } from '../../lib/client/index.ts'
import { ConnectionError } from '../../lib/errors.ts'
import { clientOf } from '../support/clients.ts'
import { eventually, request, startServer, startTopology, type TestServer } from '../support/real-servers.ts'

const COUNT = 2_000

async function fill(client: Client): Promise<void> {
  const numbers = Array.from({ length: COUNT }, (_, i) => i)
  await client.mset(...numbers.flatMap((i): [string, number] => [`key:${i}`, i]))
  await client.hset('h', ...numbers.flatMap((i): [string, number] => [`f${i}`, i]))
  await client.sadd('s', ...numbers.map((i) => `m${i}`))
  await client.zadd('z', ...numbers.flatMap((i): [number, string] => [i + 0.5, `m${i}`]))
}

async function all<T>(iterator: AsyncIterable<T>): Promise<T[]> {
  const items: T[] = []
  for await (const item of iterator) items.push(item)
  return items
}

test('everything comes, of each kind, in both versions of the protocol', async (t) => {
  const server = await startServer(t)
  for (const protocol of [3, 2] as const) {
    const client = clientOf(t, server, { protocol })
    await client.flushall()
    await fill(client)
    const keys = new Set(await all(client.scanIterator({ match: 'key:*', count: 100 })))
    assert.equal(keys.size, COUNT)
    assert.deepEqual(await all(client.scanIterator({ type: 'zset' })), ['z'])
    const fields = new Map(await all(client.hscanIterator('h')))
    assert.deepEqual([fields.size, fields.get('f7')], [COUNT, '7'])
    assert.equal(new Set(await all(client.sscanIterator('s'))).size, COUNT)
    const scores = new Map(await all(client.zscanIterator('z', { match: 'm1*' })))
    assert.deepEqual([scores.get('m1'), scores.get('m19')], [1.5, 19.5])
    const bytes = await all(client.with({ replies: 'buffer' }).zscanIterator('z', { match: 'm19' }))
    assert.deepEqual(bytes, [[Buffer.from('m19'), 19.5]])
    assert.deepEqual(await all(client.hscanIterator('absent')), [])
    const names = await all(client.hscanIterator('h', { values: false })).catch((error: Error) => error)
    // Redis has it since 7.4, Valkey since 8.0
    if (names instanceof Error) assert.match(names.message, /syntax error/)
    else assert.deepEqual(new Set(names), new Set(fields.keys()))
    await assert.rejects(all(client.hscanIterator('s')), { prefix: 'WRONGTYPE' })
    let sum = 0
    for await (const page of client.sscanIterator('s', { count: 500 }).pages()) sum += page.length
    assert.ok(sum >= COUNT)
  }
})

test('connections that are killed again and again lose nothing of an iteration', async (t) => {
  const server = await startServer(t)
  const client = clientOf(t, server)
  await fill(client)
  const keys = new Set<string>()
  let pages = 0
  for await (const page of client.scanIterator({ match: 'key:*', count: 50 }).pages()) {
    for (const key of page) keys.add(key)
    pages += 1
    if (pages % 5 === 0) await request(server, 'CLIENT', 'KILL', 'TYPE', 'normal')
  }
  assert.ok(pages > 20, `${pages} pages`)
  assert.equal(keys.size, COUNT)
})

test('a server that was restarted in the middle, with all its data, is another one', async (t) => {
  const server = await startServer(t, { args: ['--appendonly', 'yes'] })
  const client = clientOf(t, server, { commandTimeout: 20_000 })
  await fill(client)
  for (const onSwitch of ['error', 'restart'] as const) {
    const keys: string[] = []
    let hasRestarted = false
    const iterate = async () => {
      for await (const key of client.scanIterator({ match: 'key:*', count: 100, onSwitch })) {
        keys.push(key)
        if (keys.length < COUNT / 2 || hasRestarted) continue
        hasRestarted = true
        await server.stop('SIGTERM')
        await server.restart()
      }
    }
    if (onSwitch === 'error') {
      await assert.rejects(iterate(), (error: Error) => {
        assert.ok(error instanceof ConnectionError, String(error))
        assert.equal(error.code, 'SCAN_INTERRUPTED')
        assert.match(error.message, /of \d+ items: its process was replaced$/)
        return true
      })
      assert.ok(keys.length < COUNT)
    } else {
      await iterate()
      assert.equal(new Set(keys).size, COUNT)
      assert.ok(keys.length > COUNT, 'some came again')
    }
  }
})

test('a failover in the middle interrupts an iteration over the master, or begins it anew', async (t) => {
  const topology = await startTopology(t, { replicas: 2 })
  const client = createClient({
    sentinel: { name: topology.name, sentinels: topology.sentinels.map(({ port }) => `127.0.0.1:${port}`) },
    commandTimeout: 20_000,
  })
  t.after(() => client.destroy())
  await client.ready()
  await fill(client)
  await client.with({ durable: 2 }).set('last', 'x')
  const broken = client.scanIterator({ count: 100 })
  const whole = client.scanIterator({ match: 'key:*', count: 100, onSwitch: 'restart' })
  await broken.next()
  const keys = new Set([(await whole.next()).value])
  const first = client.topology?.master
  const [sentinel] = topology.sentinels as [TestServer]
  await eventually('a failover begins', async () => {
    return (await request(sentinel, 'SENTINEL', 'FAILOVER', topology.name)) === 'OK'
  })
  await eventually('another master', () => client.topology?.master !== first, { timeout: 20_000 })
  await assert.rejects(all(broken), (error: ConnectionError) => {
    assert.deepEqual([error.code, error.address], ['SCAN_INTERRUPTED', first])
    return true
  })
  for (const key of await all(whole)) keys.add(key)
  assert.equal(keys.size, COUNT)
})
