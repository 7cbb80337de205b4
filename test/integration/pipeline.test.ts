// Pipelines and transactions of their own against real servers: the values, large ones, others in between, and failovers
// under load.

import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { type Client, createClient, type Transaction } from '../../lib/client/index.ts'
import { ReplyError, RespoolError } from '../../lib/errors.ts'
import { eventually, request, startServer, startTopology } from '../support/real-servers.ts'
import { type Case, type Typed, usual } from './typed-cases.ts'
import { dataCases } from './typed-cases-data.ts'
import { structureCases } from './typed-cases-structures.ts'

const LARGE = 100_000
/** What takes a tenth of a second would take minutes if its time grew with the square. */
const LARGE_MS = 20_000

function clientOf(t: TestContext, port: number, protocol: 2 | 3): Client {
  const client = createClient({ port, protocol })
  t.after(() => client.destroy())
  return client
}

/** Commands that no chain takes. */
const apart = /^(b[lrz]|wait)|BLOCK/

/** A client whose typed commands go through chains of one. */
function chained(client: Client, kind: 'pipeline' | 'multi'): Typed {
  return new Proxy(client, {
    get: (target, name: keyof Client) => {
      if (name === 'call') return target.call.bind(target)
      return async (...args: unknown[]) => {
        const chain = target[kind]() as unknown as Record<
          PropertyKey,
          (...args: unknown[]) => { exec(): Promise<unknown[]> }
        >
        const [value] = (await chain[name]?.(...args).exec()) ?? []
        return value
      }
    },
  }) as unknown as Typed
}

async function valueThrough({ setup, call }: Case, plain: Client, through: Typed): Promise<unknown> {
  await plain.flushall()
  // what an old server does not know, it does not know either way
  for (const [name = '', ...args] of setup) await plain.call(String(name), ...args).catch(() => undefined)
  return await call(through).catch((error: RespoolError) => String(error.batch ? error.cause : error))
}

for (const protocol of [2, 3] as const) {
  test(`in RESP${protocol}, each typed command gives in a chain what it gives alone`, async (t) => {
    const { port } = await startServer(t)
    const client = clientOf(t, port, protocol)
    const [piped, queued] = [chained(client, 'pipeline'), chained(client, 'multi')]
    let compared = 0
    for (const it of [...dataCases, ...structureCases]) {
      if (it.varies === true || apart.test(`${it.name} ${it.call}`)) continue
      const alone = await valueThrough(it, client, client as unknown as Typed)
      if (typeof it.expected === 'function') continue
      assert.deepStrictEqual(usual(await valueThrough(it, client, piped)), usual(alone), String(it.call))
      assert.deepStrictEqual(usual(await valueThrough(it, client, queued)), usual(alone), String(it.call))
      compared += 1
    }
    assert.ok(compared > 150, `${compared} compared`)
  })

  test(`in RESP${protocol}, errors of a chain are where they belong`, async (t) => {
    const client = clientOf(t, (await startServer(t)).port, protocol)
    await client.set('text', 'x')
    for (const kind of ['pipeline', 'multi'] as const) {
      const failed = await client[kind]()
        .set('k', 1)
        .incr('text')
        .incr('k')
        .exec()
        .then(
          () => assert.fail(),
          (error: RespoolError) => error,
        )
      assert.deepEqual([failed.code, failed.mayHaveExecuted], ['BATCH_FAILED', true])
      const { index, command, results } = failed.batch ?? {}
      assert.deepEqual([index, command, results?.[0], results?.[2]], [1, 'INCR', 'OK', 2])
      assert.ok(failed.cause instanceof ReplyError && failed.cause === results?.[1])
    }
    const unknown = client.multi().set('k', 5).call('NOSUCH', 'x').exec()
    await assert.rejects(unknown, { code: 'BATCH_FAILED', mayHaveExecuted: false })
    assert.equal(await client.get('k'), '2')
  })
}

test('100,000 commands are one pipeline, or one transaction, in time that grows with their number', async (t) => {
  const client = clientOf(t, (await startServer(t)).port, 3)
  for (const kind of ['pipeline', 'multi'] as const) {
    const from = performance.now()
    const chain = client[kind]<number[]>()
    for (let i = 0; i < LARGE; i += 1) chain.incr(kind)
    const values = await chain.exec()
    const ms = performance.now() - from
    assert.equal(values.length, LARGE)
    assert.deepEqual([values[0], values.at(-1), chain.length], [1, LARGE, 0])
    assert.ok(ms < LARGE_MS, `${ms} ms`)
  }
})

test('nothing comes between the commands of a transaction, whatever else the client and others do', async (t) => {
  const { port } = await startServer(t)
  const [client, other] = [clientOf(t, port, 3), clientOf(t, port, 2)]
  const open: Promise<unknown>[] = []
  const transactions = Array.from({ length: 200 }, () => {
    const values = client.multi().incr('n').incr('n').incr('n').exec()
    open.push(client.incr('n'), other.incr('n'), client.pipeline().incr('n').incr('n').exec())
    return values
  })
  for (const [a, b, c] of await Promise.all(transactions)) {
    assert.deepEqual([Number(b) - Number(a), Number(c) - Number(b)], [1, 1])
  }
  await Promise.all(open)
  assert.equal(await client.get('n'), String(200 * 7))
  assert.equal(client.stats().master?.pool.dials, 0)
})

test('a planned failover under load loses nothing of pipelines and transactions, and runs nothing twice', async (t) => {
  const topology = await startTopology(t)
  const { master, replicas, sentinels, name } = topology
  const client = createClient({
    sentinel: { name, sentinels: sentinels.map(({ port }) => `127.0.0.1:${port}`) },
  })
  t.after(() => client.destroy())
  await client.ready()
  const [acknowledged, unknown] = [new Map<string, number>(), new Map<string, number>()]
  const add = (to: Map<string, number>, key: string) => to.set(key, (to.get(key) ?? 0) + 1)
  const strange: unknown[] = []
  const count = (key: string, outcome: unknown) => {
    if (!(outcome instanceof Error)) add(acknowledged, key)
    else if (outcome instanceof RespoolError && outcome.mayHaveExecuted) add(unknown, key)
    else strange.push(outcome)
  }
  const reasonOf = (outcome: PromiseSettledResult<unknown>) =>
    outcome.status === 'fulfilled' ? outcome.value : outcome.reason
  const piped = async () => {
    const [a, , b] = await client.pipeline().incr('p1').get('p1').incr('p2').execSettled()
    count('p1', reasonOf(a))
    count('p2', reasonOf(b))
  }
  const queued = () =>
    client
      .multi()
      .incr('m1')
      .incr('m2')
      .exec()
      .then(
        () => count('m1', 0),
        (error) => count('m1', error),
      )
  const watched = () =>
    client.transaction('t', increment, { attempts: 0 }).then(
      () => count('t', 0),
      (error) => count('t', error),
    )
  const increment = async (tx: Transaction) => tx.multi().set('t', Number(await tx.get('t')) + 1)
  const open = new Set<Promise<unknown>>()
  const follow = (work: Promise<unknown>) => {
    open.add(work)
    void work.finally(() => open.delete(work))
  }
  const timer = setInterval(() => {
    follow(piped())
    follow(queued())
    if (open.size < 30) follow(watched())
  }, 5)
  t.after(() => clearInterval(timer))
  const keys = ['p1', 'p2', 'm1', 't'] as const
  const more = () => {
    const goals = keys.map((key) => (acknowledged.get(key) ?? 0) + 50)
    return eventually(
      '50 more of each',
      () => keys.every((key, i) => (acknowledged.get(key) ?? 0) >= (goals[i] ?? 0)),
      { timeout: 20_000 },
    )
  }
  await more()
  const [sentinel] = sentinels
  const [heir] = replicas
  assert.ok(sentinel && heir)
  assert.equal(await request(sentinel, 'SENTINEL', 'FAILOVER', name), 'OK')
  await eventually('the failover is followed', () => client.topology?.master === `127.0.0.1:${heir.port}`, {
    timeout: 20_000,
  })
  await more()
  clearInterval(timer)
  await eventually('all have ended', () => open.size === 0)
  assert.deepEqual(strange, [])
  for (const key of keys) {
    const value = Number(await request(heir, 'GET', key))
    const [least, doubt] = [acknowledged.get(key) ?? 0, unknown.get(key) ?? 0]
    assert.ok(
      value >= least && value <= least + doubt,
      `${key}: ${value}, not from ${least} to ${least + doubt}`,
    )
  }
  assert.equal(await request(heir, 'GET', 'm1'), await request(heir, 'GET', 'm2'))
  assert.match(String(await request(master, 'ROLE')), /^(master|slave)/)
})
