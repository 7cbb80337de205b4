// Lazy leases over real servers: what one borrower does to its connection, no other sees, and the shared connection
// never gets any of it.

import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { type Client, type ClientOptions, createClient } from '../../lib/client/index.ts'
import type { LazyLease } from '../../lib/endpoint/index.ts'
import { ReplyError } from '../../lib/errors.ts'
import type { Reply } from '../../lib/resp/index.ts'
import { Sentinel } from '../../lib/sentinel/index.ts'
import { freshSeed, randomNumbers } from '../support/random-numbers.ts'
import { eventually, request, startServer, startTopology, type TestServer } from '../support/real-servers.ts'

/** What a borrower may do; `blocks`: it is not waited for. */
const rows: readonly { readonly does: readonly string[]; readonly blocks?: boolean }[] = [
  { does: ['WATCH k'] },
  { does: ['MULTI', 'SET k queued'] },
  { does: ['WATCH k', 'MULTI', 'SET k queued', 'EXEC'] },
  { does: ['SUBSCRIBE x'] },
  { does: ['PSUBSCRIBE x*'] },
  { does: ['SELECT 5', 'SET k other'] },
  { does: ['SELECT 99'] },
  { does: ['MONITOR'] },
  { does: ['AUTH other pw'] },
  { does: ['HELLO 2'] },
  { does: ['CLIENT SETNAME intruder'] },
  { does: ['CLIENT TRACKING ON', 'GET k'] },
  { does: ['CLIENT NO-EVICT ON'] },
  { does: ['RESET'] },
  { does: ['QUIT'] },
  { does: ['BLPOP nothing 0'], blocks: true },
  { does: ['XREAD BLOCK 0 STREAMS nothing $'], blocks: true },
]

function clientOf(t: TestContext, server: TestServer, options: ClientOptions = {}): Client {
  const client = createClient({ port: server.port, clientName: 'respool', ...options })
  t.after(() => client.destroy())
  return client
}

/** How the server sees a connection: all that a borrower can change. */
async function stateOf(server: TestServer, id: Reply): Promise<Record<string, string>> {
  const list = String(await request(server, 'CLIENT', 'LIST'))
  const line = list.split('\n').find((it) => it.startsWith(`id=${id} `)) ?? assert.fail(`no connection ${id}`)
  const fields = ['name', 'db', 'sub', 'psub', 'ssub', 'watch', 'user', 'resp', 'redir', 'flags']
  const found = Object.fromEntries(line.split(' ').map((pair) => pair.split('=') as [string, string]))
  return Object.fromEntries(fields.flatMap((name) => (name in found ? [[name, found[name] ?? '']] : [])))
}

for (const protocol of [2, 3] as const) {
  test(`RESP${protocol}: the next borrower sees nothing, and the shared connection gets nothing`, async (t) => {
    const server = await startServer(t)
    await request(server, 'ACL', 'SETUSER', 'other', 'on', '>pw', '~*', '&*', '+@all')
    const client = clientOf(t, server, { protocol, pool: { maxActive: 1, maxIdle: 1, wait: true } })
    assert.equal(await client.call('SET', 'k', 'v'), 'OK')
    const sharedId = await client.call('CLIENT', 'ID')
    const shared = await stateOf(server, sharedId)
    const fresh = await client.use(async (lease) => stateOf(server, await lease.call('CLIENT', 'ID')))
    assert.deepEqual(shared, fresh)
    for (const { does, blocks } of rows) {
      await t.test(does.join(', '), async () => {
        await client.call('SET', 'k', 'v')
        await client.use(
          async (lease) => {
            assert.equal(await lease.call('GET', 'k'), 'v')
            assert.equal(lease.isPinned, false)
            const replies = does.map((line) => lease.execute(line.split(' ')))
            const swallowed = Promise.allSettled(replies)
            if (!blocks) await swallowed
            await eventually('it is pinned', () => lease.isPinned)
            assert.deepEqual(await stateOf(server, sharedId), shared)
            assert.equal(await client.call('GET', 'absent'), null, 'nobody else waits')
          },
          { lazy: true },
        )
        await client.use(
          async (lease) => {
            assert.equal(await lease.call('CLIENT', 'ID'), sharedId)
            await lease.pin()
            const id = await lease.call('CLIENT', 'ID')
            assert.notEqual(id, sharedId)
            assert.deepEqual(await stateOf(server, id), fresh)
            assert.equal(await lease.call('GET', 'k'), does.includes('EXEC') ? 'queued' : 'v')
          },
          { lazy: true },
        )
        assert.equal(await client.call('CLIENT', 'ID'), sharedId)
        assert.deepEqual(await stateOf(server, sharedId), shared)
      })
    }
    assert.deepEqual(client.stats().master?.lazy, { out: 0, waiting: 0 })
    await client.close()
  })
}

test('a transaction sees what others write between its WATCH and its EXEC, and they see it whole', async (t) => {
  const server = await startServer(t)
  const client = clientOf(t, server)
  const increment = (meanwhile: () => Promise<unknown>): Promise<Reply> =>
    client.use(
      async (lease) => {
        await lease.call('SET', 'unrelated', 1)
        const watching = lease.call('WATCH', 'n')
        const n = Number(await lease.call('GET', 'n'))
        await watching
        await meanwhile()
        const [, , reply] = await lease.executeAll([['MULTI'], ['SET', 'n', n + 1], ['EXEC']])
        return reply instanceof Error ? assert.fail(reply) : (reply ?? null)
      },
      { lazy: true },
    )
  assert.deepEqual(await increment(async () => undefined), ['OK'])
  assert.equal(await increment(() => client.call('INCR', 'n')), null, 'another one wrote')
  assert.equal(await client.call('GET', 'n'), '2')
  const ends = await Promise.all(Array.from({ length: 50 }, () => increment(async () => undefined)))
  const done = ends.filter((reply) => reply !== null).length
  assert.ok(done >= 1)
  assert.equal(await client.call('GET', 'n'), String(2 + done))
})

for (const protocol of [2, 3] as const) {
  test(`RESP${protocol}: messages come to the lease that subscribed, and to nobody after it`, async (t) => {
    const server = await startServer(t)
    const pool = { maxActive: 1, maxIdle: 1, wait: true }
    const client = clientOf(t, server, { protocol, pool })
    const heard: string[] = []
    const listen = async (lease: LazyLease, who: string): Promise<void> => {
      const connection = await lease.pin()
      connection.onPush = (push) => heard.push(`${who}: ${push.join(' ')}`)
    }
    const lease = await client.lease({ lazy: true })
    await listen(lease, 'first')
    await lease.call('SUBSCRIBE', 'news')
    assert.equal(await client.call('PUBLISH', 'news', 'one'), 1)
    await eventually('it is heard', () => heard.length === 1)
    await lease.close()
    const next = await client.lease({ lazy: true })
    await listen(next, 'second')
    assert.equal(await client.call('PUBLISH', 'news', 'two'), 0)
    assert.equal(await next.call('ECHO', 'x'), 'x')
    await next.close()
    assert.deepEqual(heard, ['first: message news one'])
  })
}

test('a blocking command on one lease delays no other, and is gone when its lease is', async (t) => {
  const server = await startServer(t)
  const client = clientOf(t, server)
  const blocked = async (): Promise<number> =>
    Number(/blocked_clients:(\d+)/.exec(String(await request(server, 'INFO', 'clients')))?.[1])
  const leases = await Promise.all([1, 2, 3].map(() => client.lease({ lazy: true })))
  const pops = leases.map((lease) => lease.call('BLPOP', 'q', 0))
  await eventually('they block', async () => (await blocked()) === 3)
  assert.equal(await client.use((lease) => lease.call('INCR', 'n'), { lazy: true }), 1)
  await client.call('RPUSH', 'q', 'x')
  assert.deepEqual(await Promise.race(pops), ['q', 'x'])
  const ends = Promise.allSettled(pops)
  for (const lease of leases) await lease.close()
  const statuses = (await ends).map(({ status }) => status).sort()
  assert.deepEqual(statuses, ['fulfilled', 'rejected', 'rejected'])
  await eventually('they are gone', async () => (await blocked()) === 0)
  await client.call('RPUSH', 'q', 'y')
  assert.equal(await client.call('LLEN', 'q'), 1)
})

test('a hundred tasks of all kinds over ten permits: ten connections besides the shared one, and no write lost', async (t) => {
  const seed = freshSeed()
  t.diagnostic(`seed ${seed}`)
  const random = randomNumbers(seed)
  const server = await startServer(t)
  const client = clientOf(t, server, { pool: { maxActive: 10, maxIdle: 10, wait: true } })
  let [expected, out] = [0, 0]
  const kinds: ((lease: LazyLease) => Promise<unknown>)[] = [
    (lease) => lease.call('INCR', 'n'),
    (lease) => lease.executeAll([['MULTI'], ['INCR', 'n'], ['EXEC']]),
    (lease) =>
      lease.executeAll([
        ['INCR', 'n'],
        ['SELECT', '5'],
        ['INCR', 'other'],
      ]),
    async (lease) => {
      void lease.call('WATCH', 'unrelated')
      void lease.call('MULTI')
      void lease.call('INCR', 'n')
      void lease.call('EXEC') // close() lets them go
    },
    (lease) => Promise.all([lease.call('INCR', 'n'), lease.call('SUBSCRIBE', 'x')]),
    (lease) => Promise.all([lease.call('INCR', 'n'), lease.call('BLPOP', 'nothing', 0.01)]),
  ]
  const task = async (): Promise<void> => {
    for (let turn = 0; turn < 20; turn += 1) {
      await client.use(
        async (lease) => {
          out += 1
          assert.ok(out <= 10, `${out} are out`)
          expected += 1
          await kinds[random(kinds.length)]?.(lease)
          out -= 1
        },
        { lazy: true },
      )
    }
  }
  await Promise.all(Array.from({ length: 100 }, task))
  assert.equal(Number(await client.call('GET', 'n')), expected)
  const list = String(await request(server, 'CLIENT', 'LIST'))
  assert.ok(list.split(' name=respool ').length - 1 <= 11, list)
  await client.close()
})

test('a lease that finds its master demoted tells: nothing is sent there until it is one again', async (t) => {
  // slow enough to leave the master alone
  const { name, master, sentinels } = await startTopology(t, { sentinels: 1, replicas: 1, downAfter: 60_000 })
  const other = await startServer(t)
  const seeds = sentinels.map(({ port }) => `127.0.0.1:${port}`)
  const ha = new Sentinel({ name, sentinels: seeds })
  t.after(() => ha.destroy())
  await ha.ready()
  /** What is done before and after it was demoted. */
  const refusals: Record<string, readonly [before: readonly string[], after: string]> = {
    'a write': [[], 'SET k v'],
    'a script': [[], "EVAL return(redis.call('SET','k','v')) 0"],
    'the write of a transaction': [['MULTI'], 'SET k v'],
    'a transaction': [['MULTI', 'SET k v'], 'EXEC'],
  }
  for (const lazy of [false, true]) {
    for (const [what, [before, after]] of Object.entries(refusals)) {
      await t.test(`${what} on ${lazy ? 'a lazy' : 'an exclusive'} lease`, async () => {
        const lease = await ha.master.get({ lazy })
        for (const line of ['SET k v', ...before]) await lease.execute(line.split(' '))
        await request(master, 'REPLICAOF', '127.0.0.1', String(other.port))
        await assert.rejects(lease.execute(after.split(' ')), (error) => {
          assert.ok(error instanceof ReplyError)
          assert.equal(ha.topology.holding, true, 'it is known at once')
          return true
        })
        const next = ha.master.get({ lazy })
        await lease.close()
        await request(master, 'REPLICAOF', 'NO', 'ONE')
        const again = await next
        assert.equal(await again.call('SET', 'k', 'v'), 'OK')
        await again.close()
      })
    }
  }
  await t.test('a command that blocks when it happens', async () => {
    const lease = await ha.master.get({ lazy: true })
    const popped = lease.call('BLPOP', 'q', 0)
    const isBlocked = async () => /blocked_clients:1/.test(String(await request(master, 'INFO', 'clients')))
    await eventually('it blocks', isBlocked)
    await request(master, 'REPLICAOF', '127.0.0.1', String(other.port))
    await assert.rejects(popped, (error) => {
      assert.equal((error as ReplyError).prefix, 'UNBLOCKED')
      assert.equal(ha.topology.holding, true)
      return true
    })
    await lease.close()
  })
})
