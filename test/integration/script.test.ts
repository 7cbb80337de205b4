// Scripts and function libraries on real servers: what is sent in full, and how often; failovers in the middle.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createClient } from '../../lib/client/index.ts'
import { ReplyError, RespoolError } from '../../lib/errors.ts'
import type { Reply } from '../../lib/resp/index.ts'
import { clientOf } from '../support/clients.ts'
import { eventually, request, startServer, startTopology, type TestServer } from '../support/real-servers.ts'

const COUNT = "redis.call('INCR', KEYS[1]) return redis.call('INCR', KEYS[2])"
const READ = "return {redis.call('GET', KEYS[1]), ARGV[1]}"
const LIBRARY = `#!lua name=respooltest
local function count(keys) return redis.call('INCR', keys[1]) end
local function read(keys, args) return {redis.call('GET', keys[1]), args[1]} end
redis.register_function('count', count)
redis.register_function{function_name = 'read', callback = read, flags = {'no-writes'}}
`
const FUNCTIONS = {
  count: { keys: 1, parse: Number },
  read: { keys: 1, readOnly: true },
} as const

/** How often a server was given each command. */
async function calls(server: TestServer, ...names: string[]): Promise<number[]> {
  const stats = String(await request(server, 'INFO', 'commandstats'))
  return names.map((name) => Number(new RegExp(`cmdstat_${name}:calls=(\\d+)`).exec(stats)?.[1] ?? 0))
}

async function has(server: TestServer, command: string): Promise<boolean> {
  const [info] = (await request(server, 'COMMAND', 'INFO', command)) as unknown[]
  return info !== null
}

test('a script is sent in full once, by a thousand calls at once, and again after SCRIPT FLUSH', async (t) => {
  const server = await startServer(t)
  for (const protocol of [3, 2] as const) {
    await request(server, 'SCRIPT', 'FLUSH')
    await request(server, 'CONFIG', 'RESETSTAT')
    const client = clientOf(t, server, { protocol })
    await client.ready()
    await client.del('a', 'b')
    const count = client.script({ lua: COUNT, keys: 2, parse: Number })
    const sums = await Promise.all(Array.from({ length: 1_000 }, () => count(['a', 'b'])))
    assert.deepEqual(
      sums,
      Array.from({ length: 1_000 }, (_, i) => i + 1),
    )
    assert.deepEqual(await calls(server, 'eval'), [1])
    assert.deepEqual(await client.scriptExists(count.sha1), [1])
    await request(server, 'SCRIPT', 'FLUSH')
    assert.equal(await count(['a', 'b']), 1_001)
    assert.deepEqual(await calls(server, 'eval'), [2])
    await client.close()
  }
})

test('a script that only reads, with and without EVALSHA_RO', async (t) => {
  const server = await startServer(t)
  const client = clientOf(t, server)
  await client.set('k', 'v')
  const read = client.script({ lua: READ, keys: 1, readOnly: true })
  assert.deepEqual(await read(['k'], ['x']), ['v', 'x'])
  assert.deepEqual(await read.with({ replies: 'buffer' })(['k'], ['x']), [Buffer.from('v'), Buffer.from('x')])
  const isNew = await has(server, 'evalsha_ro')
  assert.deepEqual(await calls(server, 'eval_ro', 'eval'), isNew ? [1, 0] : [0, 1])
  const writes = client.script({ lua: COUNT, keys: 2, readOnly: true })
  if (isNew) await assert.rejects(writes(['a', 'b']), ReplyError, 'the server holds it to its word')
})

test('a script’s own errors are its answers, and it has run once', async (t) => {
  const server = await startServer(t)
  const client = clientOf(t, server, { commandTimeout: 2_000 })
  const texts = ['BUSY try later', 'NOSCRIPT of mine', 'READONLY account', 'LOADING docks', 'MY own']
  for (const text of texts) {
    const lua = `redis.call('INCR', KEYS[1]) return redis.error_reply('${text}')`
    await client.del('n')
    await assert.rejects(client.script({ lua, keys: 1 })(['n']), { message: text })
    assert.equal(await client.get('n'), '1', text)
    await assert.rejects(client.eval(lua, 1, 'n'), { message: text })
    assert.equal(await client.get('n'), '2', text)
  }
  await assert.rejects(client.script({ lua: 'not lua', keys: 0 })([]), /compiling/)
})

test('a library is loaded once, replaced by its next version, and loaded again when it is gone', async (t) => {
  const server = await startServer(t)
  if (!(await has(server, 'fcall'))) return t.skip('no functions before Redis 7')
  const client = clientOf(t, server)
  await client.ready()
  const { count, read } = client.functions({ code: LIBRARY, functions: FUNCTIONS })
  const sums = await Promise.all(Array.from({ length: 100 }, () => count(['n'])))
  assert.deepEqual(
    sums,
    Array.from({ length: 100 }, (_, i) => i + 1),
  )
  assert.deepEqual(await read(['n'], ['x']), ['100', 'x'])
  assert.deepEqual(await calls(server, 'function\\|load'), [1])
  // a later program has a function more in the same library
  const next = client.functions({
    code: `${LIBRARY}redis.register_function('twice', function(keys) return redis.call('INCRBY', keys[1], 2) end)`,
    functions: { ...FUNCTIONS, twice: { keys: 1, parse: Number } },
  })
  assert.equal(await next.twice(['n']), 102)
  assert.equal(await count(['n']), 103)
  await client.functionFlush()
  assert.equal(await count(['n']), 104)
  assert.deepEqual(await calls(server, 'function\\|load'), [3])
  await assert.rejects(
    client.functions({ code: LIBRARY, functions: { absent: { keys: 0 } } }).absent([]),
    /^ReplyError: ERR Function not found$/,
  )
  await assert.rejects(
    client.functions({ code: '#!lua name=broken\nnot lua', functions: { f: { keys: 0 } } }).f([]),
    /compiling/,
  )
})

test('scripts and functions go on through failovers: no call runs twice, none is lost', async (t) => {
  const topology = await startTopology(t, { replicas: 2 })
  const client = createClient({
    sentinel: { name: topology.name, sentinels: topology.sentinels.map(({ port }) => `127.0.0.1:${port}`) },
    readFrom: 'prefer-replica',
    commandTimeout: 20_000,
  })
  t.after(() => client.destroy())
  await client.ready()
  const count = client.script({ lua: COUNT, keys: 2, parse: Number })
  const read = client.script({ lua: READ, keys: 1, readOnly: true })
  const hasFunctions = await has(topology.master, 'fcall')
  const library = client.functions({ code: LIBRARY, functions: FUNCTIONS })
  await client.set('k', 'v')
  await eventually('replicas have it', async () => ((await read(['k'], ['x'])) as Reply[])[0] === 'v')

  let [acknowledged, unknown, reads, functions] = [0, 0, 0, 0]
  const strange: unknown[] = []
  const open = new Set<Promise<void>>()
  const run = (what: Promise<unknown>, done: () => void) => {
    const settled = what.then(done, (thrown: unknown) => {
      if (thrown instanceof RespoolError && thrown.mayHaveExecuted) unknown += 1
      else strange.push(thrown)
    })
    open.add(settled)
    void settled.finally(() => open.delete(settled))
  }
  const timer = setInterval(() => {
    run(count(['a', 'b']), () => {
      acknowledged += 1
    })
    run(read(['k'], ['x']), () => {
      reads += 1
    })
    if (hasFunctions) {
      run(library.count(['f']), () => {
        functions += 1
      })
    }
  }, 5)
  t.after(() => clearInterval(timer))
  const flows = async (what: string) => {
    const [before, readsBefore] = [acknowledged, reads]
    await eventually(what, () => acknowledged > before + 50 && reads > readsBefore + 50, { timeout: 20_000 })
  }
  await flows('calls flow')
  const first = client.topology?.master
  const [sentinel] = topology.sentinels as [TestServer]
  await eventually('a failover begins', async () => {
    return (await request(sentinel, 'SENTINEL', 'FAILOVER', topology.name)) === 'OK'
  })
  await eventually('another master', () => client.topology?.master !== first, { timeout: 20_000 })
  await flows('calls flow on the new master')
  clearInterval(timer)
  await eventually('every call settles', () => open.size === 0, { timeout: 25_000 })
  const [a, b, f] = (await client.mget('a', 'b', 'f')).map(Number)
  assert.equal(a, b, 'a script runs whole')
  const what = `counters ${a} and ${f}, acknowledged ${acknowledged} and ${functions}, unknown ${unknown}`
  assert.ok(a !== undefined && a >= acknowledged && a <= acknowledged + unknown, what)
  if (hasFunctions) assert.ok(f !== undefined && f >= functions && f <= functions + unknown, what)
  assert.deepEqual(strange, [], what)
})
