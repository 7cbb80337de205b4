// Commands that block, on real servers: nobody waits for them, they end when they have to, none runs twice, and what
// they pop is never dropped.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { createClient } from '../../lib/client/index.ts'
import { AbortError, RespoolError } from '../../lib/errors.ts'
import { clientOf, failure } from '../support/clients.ts'
import { freshSeed, randomNumbers } from '../support/random-numbers.ts'
import { eventually, request, startServer, startTopology, type TestServer } from '../support/real-servers.ts'

async function isBlocked(server: TestServer, clients = 1): Promise<void> {
  await eventually(`${clients} are blocked`, async () => {
    const info = String(await request(server, 'INFO', 'clients'))
    return Number(/blocked_clients:(\d+)/.exec(info)?.[1]) === clients
  })
}

test('nobody waits for commands that block, however many there are', async (t) => {
  const server = await startServer(t)
  const client = clientOf(t, server, { pool: { maxActive: 3, wait: true } })
  const popped = Array.from({ length: 6 }, (_, i) => client.blpop(`q${i}`, 0))
  const read = client.xread('BLOCK', 100, 'STREAMS', 's', '$')
  await isBlocked(server, 3)
  for (let i = 0; i < 20; i += 1) assert.equal(await client.incr('n'), i + 1)
  for (let i = 0; i < 6; i += 1) await client.rpush(`q${i}`, i)
  assert.deepEqual(
    await Promise.all(popped),
    Array.from({ length: 6 }, (_, i) => [`q${i}`, String(i)]),
  )
  assert.equal(await read, null)
  const { pool } = client.stats().master ?? {}
  assert.deepEqual([pool?.activeCount, pool?.dials], [3, 3], 'connections are kept')
})

test('they end by their own timeout, and their connection is kept', async (t) => {
  const server = await startServer(t)
  const client = clientOf(t, server, { commandTimeout: 500 })
  const start = performance.now()
  assert.equal(await client.blpop('q', 0.8), null)
  assert.equal(await client.xread('BLOCK', 700, 'STREAMS', 's', '$'), null)
  const ms = performance.now() - start
  assert.ok(ms >= 1_490, `${ms} ms, though commandTimeout is 500`)
  assert.equal(client.stats().master?.pool.dials, 1)
})

for (const protocol of [3, 2] as const) {
  test(`RESP${protocol}: an abort takes no element with it: it is given, or it is still there`, async (t) => {
    const server = await startServer(t)
    const client = clientOf(t, server, { protocol })
    await client.blpop('q', 0.01) // there is a connection
    const seed = freshSeed()
    t.diagnostic(`RESPOOL_SEED=${seed}`)
    const random = randomNumbers(seed)
    const [rounds, elements] = [400, [] as string[]]
    let [aborts, gifts] = [0, 0]
    for (let round = 0; round < rounds; round += 1) {
      const abort = new AbortController()
      const popped = client.with({ signal: abort.signal }).blpop('q', 0)
      const pushed = sleep(random(3)).then(() => client.rpush('q', round))
      setTimeout(() => abort.abort(), random(3))
      try {
        elements.push((await popped)?.[1] as string)
        gifts += 1
      } catch (error) {
        assert.ok(error instanceof AbortError, String(error))
        assert.equal(error.mayHaveExecuted, false, 'the server says that it popped nothing')
        aborts += 1
      }
      await pushed
      const rest = await client.lpop('q')
      if (rest !== null) elements.push(rest)
    }
    assert.deepEqual(
      elements,
      Array.from({ length: rounds }, (_, i) => String(i)),
    )
    assert.ok(aborts > 20 && gifts > 20, `${aborts} aborts, ${gifts} gifts`)
    const { pool } = client.stats().master ?? {}
    assert.ok((pool?.dials ?? 0) <= 20, `${pool?.dials} dials: connections are kept`)
  })
}

test('an abort is no reason to wait, and the next who has the connection does not notice it', async (t) => {
  const server = await startServer(t)
  const client = clientOf(t, server, { pool: { maxActive: 1, wait: true } })
  for (let round = 0; round < 20; round += 1) {
    const abort = new AbortController()
    const first = failure(client.with({ signal: abort.signal }).blpop('q', 0))
    await isBlocked(server)
    const next = client.blpop('other', 0)
    const start = performance.now()
    abort.abort(new Error('enough'))
    const aborted = await first
    assert.ok(performance.now() - start < 200)
    assert.deepEqual([aborted.code, aborted.mayHaveExecuted], ['ABORT_ERR', false])
    assert.equal((aborted.cause as Error).message, 'enough')
    await isBlocked(server)
    await client.rpush('other', round)
    assert.deepEqual(await next, ['other', String(round)])
  }
  assert.equal(client.stats().master?.pool.dials, 1)
})

test('a command that is aborted before it was written is never sent', async (t) => {
  const server = await startServer(t)
  const client = clientOf(t, server)
  await client.blpop('q', 0.01)
  await client.rpush('q', 'x')
  const abort = new AbortController()
  const popped = failure(client.with({ signal: abort.signal }).blpop('q', 0))
  abort.abort()
  assert.equal((await popped).mayHaveExecuted, false)
  assert.equal(await client.llen('q'), 1)
})

test('where the server must not be asked to unblock, the connection is cut: it may have popped', async (t) => {
  const server = await startServer(t)
  await request(server, 'ACL', 'SETUSER', 'worker', 'on', '>secret', '~*', '+@all', '-client')
  for (const protocol of [3, 2] as const) {
    const client = clientOf(t, server, { username: 'worker', password: 'secret', protocol })
    const abort = new AbortController()
    const popped = failure(client.with({ signal: abort.signal }).blpop('q', 0))
    await isBlocked(server)
    abort.abort()
    const aborted = await popped
    assert.deepEqual([aborted.code, aborted.mayHaveExecuted], ['ABORT_ERR', true])
    await isBlocked(server, 0)
  }
})

test('one that is unblocked, or killed, by somebody else says so, and is not repeated', async (t) => {
  const server = await startServer(t)
  const client = clientOf(t, server)
  const blockedId = async () => {
    await isBlocked(server)
    const list = String(await request(server, 'CLIENT', 'LIST'))
    return /id=(\d+).*flags=b/.exec(list)?.[1] ?? ''
  }
  const unblocked = client.blpop('q', 0)
  await request(server, 'CLIENT', 'UNBLOCK', await blockedId())
  assert.equal(await unblocked, null)
  const refused = failure(client.blpop('q', 0))
  await request(server, 'CLIENT', 'UNBLOCK', await blockedId(), 'ERROR')
  assert.deepEqual([(await refused).code, (await refused).mayHaveExecuted], ['REPLY_ERROR', false])
  const killed = failure(client.blpop('q', 0))
  await request(server, 'CLIENT', 'KILL', 'ID', await blockedId())
  assert.deepEqual([(await killed).code, (await killed).mayHaveExecuted], ['CONNECTION_LOST', true])
  await client.rpush('q', 'x')
  assert.equal(await client.llen('q'), 1, 'nobody pops it')
  // a read is asked again
  const read = client.xread('BLOCK', 0, 'STREAMS', 's', '0')
  await request(server, 'CLIENT', 'KILL', 'ID', await blockedId())
  await isBlocked(server)
  await client.xadd('s', '1-1', 'f', 'v')
  assert.deepEqual((await read)?.[0]?.entries[0]?.id, '1-1')
})

test('destroy() ends it, and so does the death of the server: it may have run', async (t) => {
  const server = await startServer(t)
  const client = clientOf(t, server)
  const popped = failure(client.blpop('q', 0))
  await isBlocked(server)
  client.destroy()
  assert.equal((await popped).mayHaveExecuted, true)
  const other = clientOf(t, server, { commandTimeout: 300 })
  const lost = failure(other.blpop('q', 0))
  await isBlocked(server)
  await server.stop('SIGKILL')
  assert.deepEqual([(await lost).code, (await lost).mayHaveExecuted], ['CONNECTION_LOST', true])
})

test('a failover ends those on the old master by the outcome rule, and what they pop is not lost', async (t) => {
  const topology = await startTopology(t, { replicas: 2 })
  const client = createClient({
    sentinel: { name: topology.name, sentinels: topology.sentinels.map(({ port }) => `127.0.0.1:${port}`) },
    commandTimeout: 20_000,
  })
  t.after(() => client.destroy())
  await client.ready()
  const first = client.topology?.master
  const pops = Array.from({ length: 3 }, (_, i) =>
    client.blpop(`q${i}`, 0).catch((error: RespoolError) => error),
  )
  const read = client.xread('BLOCK', 0, 'STREAMS', 's', '0')
  await isBlocked(topology.master, 4)
  const [sentinel] = topology.sentinels as [TestServer]
  await eventually('a failover begins', async () => {
    return (await request(sentinel, 'SENTINEL', 'FAILOVER', topology.name)) === 'OK'
  })
  await eventually('another master', () => client.topology?.master !== first, { timeout: 20_000 })
  const outcomes = await Promise.all(
    pops.map(async (pop, i) => {
      // fenced: it may have run; or refused by the demoted master, and blocked again at the new one
      const settled = await Promise.race([pop, sleep(2_000, 'blocked')])
      await client.rpush(`q${i}`, 'x')
      if (settled !== 'blocked') return settled
      return await pop
    }),
  )
  for (const [i, outcome] of outcomes.entries()) {
    if (outcome instanceof RespoolError) {
      assert.deepEqual([outcome.code, outcome.mayHaveExecuted], ['FENCED', true])
      assert.equal(await client.llen(`q${i}`), 1, 'it was not repeated')
    } else {
      assert.deepEqual(outcome, [`q${i}`, 'x'])
    }
  }
  await client.xadd('s', '1-1', 'f', 'v')
  assert.deepEqual((await read)?.[0]?.entries[0]?.id, '1-1', 'a read goes on at the new master')
})

test('nobody is told that replicas have what they have not: WAIT is for the connection that wrote', async (t) => {
  const { master, replicas } = await startTopology(t, { sentinels: 0 })
  const client = clientOf(t, master, { pool: { maxActive: 1, wait: true } })
  for (const run of [() => client.call('WAIT', 1, 0), () => client.session().call('waitaof', 0, 1, 0)])
    assert.throws(run, /^TypeError: WAIT(AOF)? speaks of the writes of its own connection/)
  const write = () =>
    client.use(async (lease) => {
      await lease.call('SET', 'k', 'v')
      return await lease.call('WAIT', 1, 200)
    })
  assert.equal(await write(), 1)
  replicas[0]?.signal('SIGSTOP')
  assert.equal(await write(), 0)
  replicas[0]?.signal('SIGCONT')
})
