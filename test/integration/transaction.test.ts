// Transactions with watched keys against real servers: many on one key, conflicts from outside, and what is left of a
// watch.

import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { type Client, createClient, type Transaction } from '../../lib/client/index.ts'
import { eventually, request, startServer } from '../support/real-servers.ts'

function clientOf(t: TestContext, port: number, protocol: 2 | 3 = 3, maxActive = 0): Client {
  const client = createClient({ port, protocol, pool: { maxActive, wait: true } })
  t.after(() => client.destroy())
  return client
}

const increment = async (tx: Transaction) => tx.multi().set('n', Number(await tx.get('n')) + 1)

for (const [protocol, maxActive] of [
  [2, 0],
  [3, 0],
  [3, 5],
] as const) {
  const what = maxActive === 0 ? '' : `, ${maxActive} connections`
  test(`50 transactions on one key at a time lose no increment: RESP${protocol}${what}`, async (t) => {
    const { port } = await startServer(t)
    const client = clientOf(t, port, protocol, maxActive)
    let calls = 0
    const work = (tx: Transaction) => {
      calls += 1
      return increment(tx)
    }
    for (let round = 0; round < 4; round += 1) {
      await Promise.all(
        Array.from({ length: 50 }, () => client.transaction('n', work, { attempts: 0, timeout: 20_000 })),
      )
    }
    assert.equal(await client.get('n'), '200')
    assert.ok(calls >= 200)
  })
}

test('what others change between a read and EXEC is read again', async (t) => {
  const server = await startServer(t)
  const client = clientOf(t, server.port)
  await client.set('stock', 2)
  let calls = 0
  const order = await client.transaction('stock', async (tx) => {
    calls += 1
    const left = Number(await tx.get('stock'))
    if (calls === 1) await request(server, 'SET', 'stock', '1')
    if (left < 1) return
    return tx.multi().decr('stock').rpush('orders', 'id').hgetall('none')
  })
  assert.deepEqual([calls, order?.[0], order?.[1], { ...order?.[2] }], [2, 0, 1, {}])
  const soldOut = await client.transaction('stock', async (tx) => {
    if (Number(await tx.get('stock')) < 1) return
    return tx.multi().decr('stock')
  })
  assert.equal(soldOut, undefined)
  assert.equal(await client.llen('orders'), 1)
})

test('no watch is left on the connection, however the transaction ended', async (t) => {
  const server = await startServer(t)
  const client = clientOf(t, server.port, 3, 1)
  const ends: (() => Promise<unknown>)[] = [
    () => client.transaction('k', () => undefined),
    () =>
      client
        .transaction('k', () => {
          throw new Error('mine')
        })
        .catch(() => undefined),
    () => client.transaction('k', (tx) => tx.multi().set('k', 1)),
    () => client.transaction('k', (tx) => tx.multi().call('NOSUCH')).catch(() => undefined),
    () => client.transaction('k', (tx) => tx.multi().lpush('k', 'x')).catch(() => undefined),
  ]
  for (const end of ends) {
    await end()
    await client.use(async (lease) => {
      await request(server, 'SET', 'k', 'changed')
      await lease.call('MULTI')
      await lease.call('PING')
      assert.deepEqual(await lease.call('EXEC'), ['PONG'], String(end))
    })
  }
  assert.equal(client.stats().master?.pool.dials, 1)
})

test('a master that is killed and comes back costs attempts, and no increment is lost or done twice', async (t) => {
  const server = await startServer(t, { args: ['--appendonly', 'yes', '--appendfsync', 'always'] })
  const client = clientOf(t, server.port)
  let [acknowledged, unknown] = [0, 0]
  let isOver = false
  const worker = async () => {
    while (!isOver) {
      await client.transaction('n', increment, { attempts: 0 }).then(
        () => {
          acknowledged += 1
        },
        (error) => {
          assert.equal(error.mayHaveExecuted, true, String(error))
          unknown += 1
        },
      )
    }
  }
  const workers = Promise.all(Array.from({ length: 5 }, worker))
  for (const goal of [50, 100, 150]) {
    await eventually(`${goal} are done`, () => acknowledged >= goal)
    await server.stop('SIGKILL')
    await server.restart()
  }
  await eventually('more are done', () => acknowledged >= 200)
  isOver = true
  await workers
  const value = Number(await client.get('n'))
  assert.ok(value >= acknowledged && value <= acknowledged + unknown, `${value}, ${acknowledged}, ${unknown}`)
})
