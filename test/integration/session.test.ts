// Sessions and durable writes against real servers: thousands of writes and reads with replicas that lag, failovers in
// the middle, and replicas that are stopped.

import assert from 'node:assert/strict'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { type TestContext, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Client, type CommandView, createClient } from '../../lib/client/index.ts'
import { DurabilityError, RespoolError } from '../../lib/errors.ts'
import { type Knowledge, ScriptedSentinel } from '../sentinel/scripted-deployment.ts'
import {
  eventually,
  request,
  startServer,
  startTopology,
  type TestServer,
  type TestTopology,
} from '../support/real-servers.ts'

/** Pieces of the replication stream are held back up to so long: longer than most reads come behind their write. */
const MAX_DELAY_MS = 4
const PAIRS = 20_000
const SESSIONS = 50

function addressOf({ port }: { readonly port: number }): string {
  return `127.0.0.1:${port}`
}

interface SlowReplication {
  /** Where clients and replicas find the master. */
  readonly port: number
  /** From now on nothing reaches the replicas. */
  hold(): void
  /** Cuts everybody off; what has been held back is gone. */
  cut(): void
}

/**
 * Stands before a master, for clients and replicas alike, and holds back what it streams to the replicas. So all know
 * the master under one address, as in any deployment.
 */
async function slowReplication(t: TestContext, master: TestServer): Promise<SlowReplication> {
  const sockets = new Set<Socket>()
  let isHeld = false
  const server = createServer({ noDelay: true }, (client) => {
    const upstream = connect({ port: master.port, host: '127.0.0.1', noDelay: true })
    let isReplica = false
    let held: Buffer[] = []
    let timer: NodeJS.Timeout | undefined
    const release = () => {
      timer = undefined
      if (isHeld || client.destroyed) return
      client.write(Buffer.concat(held))
      held = []
    }
    client.on('data', (bytes) => {
      isReplica ||= bytes.includes('PSYNC')
      upstream.write(bytes)
    })
    upstream.on('data', (bytes) => {
      if (isReplica) {
        held.push(bytes)
        timer ??= setTimeout(release, Math.random() * MAX_DELAY_MS)
      } else {
        client.write(bytes)
      }
    })
    for (const [socket, other] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      sockets.add(socket)
      socket.on('error', () => other.destroy())
      socket.on('close', () => {
        clearTimeout(timer)
        other.destroy()
      })
    }
  })
  const cut = () => {
    server.close()
    for (const socket of sockets) socket.destroy()
  }
  t.after(cut)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  const hold = () => {
    isHeld = true
  }
  return { port, hold, cut }
}

interface Lagging {
  readonly client: Client
  readonly master: TestServer
  readonly replicas: readonly TestServer[]
  readonly replication: SlowReplication
  readonly sentinel: ScriptedSentinel
}

/** A master whose replicas lag, and a client that reads from them. */
async function laggingReplicas(t: TestContext, count: number): Promise<Lagging> {
  const master = await startServer(t)
  const replication = await slowReplication(t, master)
  const { port } = replication
  const replicas = await Promise.all(Array.from({ length: count }, () => startServer(t, { replicaOf: port })))
  const knowledge: Knowledge = {
    name: 'm',
    master: addressOf({ port }),
    epoch: 1,
    replicas: replicas.map((replica) => ({ address: addressOf(replica) })),
    sentinels: [],
  }
  for (const replica of replicas) {
    await eventually('the replica is in step', async () =>
      String(await request(replica, 'INFO', 'replication')).includes('master_link_status:up'),
    )
  }
  const sentinel = await new ScriptedSentinel(knowledge).listen(t)
  const client = createClient({
    sentinel: { name: 'm', sentinels: [sentinel.address] },
    readFrom: 'prefer-replica',
  })
  t.after(() => client.destroy())
  await client.ready()
  await allHealthy(client, count)
  await client.with({ durable: count }).call('SET', 'warm', 'up') // from here on the stream flows
  return { client, master, replicas, replication, sentinel }
}

function allHealthy(client: Client, replicas: number): Promise<unknown> {
  return eventually(`${replicas} replicas are healthy`, () => {
    const healthy = client.topology?.replicas.filter((replica) => replica.healthy)
    return healthy?.length === replicas
  })
}

/** Writes a number and reads it back, again and again; how often it was not there. */
async function violations(view: CommandView | Client, key: string, pairs: number): Promise<number> {
  let stale = 0
  for (let i = 1; i <= pairs; i += 1) {
    await view.call('SET', key, i)
    if (i % 3 === 0) await sleep(1 + Math.random() * MAX_DELAY_MS) // else a replica is hardly ever in time
    if ((await view.call('GET', key)) !== String(i)) stale += 1
  }
  return stale
}

async function inParallel(pairs: number, view: () => CommandView | Client, name: string): Promise<number> {
  const each = Array.from({ length: SESSIONS }, (_, i) =>
    violations(view(), `${name}:${i}`, pairs / SESSIONS),
  )
  return (await Promise.all(each)).reduce((sum, stale) => sum + stale, 0)
}

/** How many GETs a server has run. */
async function gets(server: TestServer): Promise<number> {
  const stats = String(await request(server, 'INFO', 'commandstats'))
  return Number(/cmdstat_get:calls=(\d+)/.exec(stats)?.[1] ?? 0)
}

test(`${PAIRS} writes on sessions are all seen by the reads behind them, and without sessions they are not`, async (t) => {
  const { client, master } = await laggingReplicas(t, 2)
  const without = await inParallel(PAIRS / 10, () => client, 'without')
  assert.ok(without > 0, 'the replicas lag enough to be seen')

  const before = await gets(master)
  const start = performance.now()
  assert.equal(await inParallel(PAIRS, () => client.session(), 'with'), 0)
  const ms = Math.round(performance.now() - start)
  const atMaster = (await gets(master)) - before
  t.diagnostic(
    `without: ${without} of ${PAIRS / 10} stale; with: ${atMaster} of ${PAIRS} by the master, ${ms} ms`,
  )
  assert.ok(atMaster > 0, 'some reads came too early for the replicas')
  assert.ok(atMaster < PAIRS, 'the replicas served the others')
  await client.close()
})

test('what one session wrote is seen by another that was given its token', async (t) => {
  const { client } = await laggingReplicas(t, 1)
  let without = 0
  for (let i = 1; i <= 300; i += 1) {
    const writer = client.session()
    await writer.call('SET', 'k', i)
    const reader = client.session({ after: writer.token })
    if ((await client.call('GET', 'k')) !== String(i)) without += 1
    assert.equal(await reader.call('GET', 'k'), String(i))
  }
  assert.ok(without > 0, 'the replica lags enough to be seen')
})

interface Tally {
  pairs: number
  /** What the master had, and the session's read did not give. */
  violations: string[]
  /** Acknowledged, and not on the master that came after. */
  lost: number
  readonly errors: unknown[]
}

/** Sessions that write and read back until they are stopped. */
function sessions(client: Client, name: string): { readonly tally: Tally; stop(): Promise<Tally> } {
  const tally: Tally = { pairs: 0, violations: [], lost: 0, errors: [] }
  let isStopped = false
  const loop = async (key: string): Promise<void> => {
    const session = client.session()
    for (let i = 1; !isStopped; i += 1) {
      try {
        await session.call('SET', key, i)
        if (i % 2 === 0) await sleep(Math.random() * 10) // the others catch a replica that is a moment behind
        const value = await session.call('GET', key)
        tally.pairs += 1
        if (Number(value) >= i) continue
        const there = await client.with({ readFrom: 'master' }).call('GET', key)
        if (Number(there) >= i) tally.violations.push(`${key}: wrote ${i}, read ${value}, master ${there}`)
        else tally.lost += 1
      } catch (error) {
        tally.errors.push(error)
      }
    }
  }
  const loops = Array.from({ length: 20 }, (_, i) => loop(`${name}:${i}`))
  return {
    tally,
    stop: async () => {
      isStopped = true
      await Promise.all(loops)
      return tally
    },
  }
}

function clientOf(t: TestContext, { name, sentinels }: TestTopology): Client {
  const client = createClient({
    sentinel: { name, sentinels: sentinels.map(addressOf) },
    readFrom: 'prefer-replica',
    commandTimeout: 10_000,
  })
  t.after(() => client.destroy())
  return client
}

for (const how of ['planned', 'killed'] as const) {
  test(`a session reads its own writes through a failover: ${how}`, async (t) => {
    const topology = await startTopology(t, { replicas: 2 })
    const { master, sentinels, name } = topology
    const client = clientOf(t, topology)
    await client.ready()
    await allHealthy(client, 2)
    const work = sessions(client, how)
    const flow = (pairs: number) => {
      const goal = work.tally.pairs + pairs
      return eventually(`${pairs} more pairs`, () => work.tally.pairs >= goal, { timeout: 20_000 })
    }
    await flow(500)
    const [sentinel] = sentinels
    assert.ok(sentinel)
    if (how === 'killed') await master.stop('SIGKILL')
    else assert.equal(await request(sentinel, 'SENTINEL', 'FAILOVER', name), 'OK')
    await eventually('the switch', () => client.topology?.master !== addressOf(master), { timeout: 20_000 })
    await flow(1_000)
    const { violations: found, lost, errors, pairs } = await work.stop()
    t.diagnostic(`${pairs} pairs, ${lost} lost, ${errors.length} errors`)
    assert.deepEqual(found, [])
    if (how === 'planned') assert.equal(lost, 0)
    for (const error of errors) {
      assert.ok(error instanceof RespoolError && error.mayHaveExecuted, String(error))
    }
    await client.close()
  })
}

test('a durable write is done when the replicas have it, and tells when they have not', async (t) => {
  const topology = await startTopology(t, { replicas: 2 })
  const { replicas } = topology
  const client = clientOf(t, topology)
  await client.ready()
  const write = (durable: number, timeout: number, value: string) =>
    client.with({ durable, timeout }).call('SET', 'k', value)

  await t.test('with all of them up', async () => {
    assert.equal(await write(2, 5_000, 'both'), 'OK')
    for (const replica of replicas) assert.equal(await request(replica, 'GET', 'k'), 'both')
  })

  await t.test('with more asked for than there are', async () => {
    const start = performance.now()
    await assert.rejects(write(3, 800, 'three'), {
      code: 'NOT_DURABLE',
      acknowledged: 2,
      wanted: 3,
      reply: 'OK',
    })
    const ms = performance.now() - start
    assert.ok(ms < 1_300, `${ms} ms`)
  })

  await t.test('with one that is stopped', async (t) => {
    const [stopped] = replicas
    assert.ok(stopped)
    stopped.signal('SIGSTOP')
    t.after(() => stopped.signal('SIGCONT'))
    assert.equal(await write(1, 5_000, 'one'), 'OK')
    const start = performance.now()
    const thrown: unknown = await write(2, 800, 'two').catch((error: unknown) => error)
    const ms = performance.now() - start
    assert.ok(thrown instanceof DurabilityError, String(thrown))
    assert.deepEqual([thrown.acknowledged, thrown.reply, thrown.mayHaveExecuted], [1, 'OK', true])
    assert.ok(ms < 1_300, `${ms} ms`)
    assert.equal(await client.with({ readFrom: 'master' }).call('GET', 'k'), 'two', 'it was executed')
  })
  await client.close()
})

test('a durable write that the server refuses for want of replicas was not executed', async (t) => {
  const server = await startServer(t, { args: ['--min-replicas-to-write', '1'] })
  const client = createClient({ port: server.port })
  t.after(() => client.destroy())
  await assert.rejects(client.with({ durable: 1, timeout: 1_000 }).call('SET', 'k', 'v'), (error) => {
    assert.ok(error instanceof RespoolError && !(error instanceof DurabilityError), String(error))
    assert.deepEqual([error.code, error.mayHaveExecuted], ['COMMAND_TIMEOUT', false])
    assert.match(error.message, /NOREPLICAS/)
    return true
  })
  assert.equal(await request(server, 'EXISTS', 'k'), 0)
})

test('what was written durably survives the master; what was only acknowledged by it may not', async (t) => {
  const { client, master, replicas, replication, sentinel } = await laggingReplicas(t, 1)
  const [replica] = replicas
  assert.ok(replica)
  const durable = client.with({ durable: 1 })
  const members = Array.from({ length: 500 }, (_, i) => `m${i}`)
  assert.deepEqual(
    new Set(await Promise.all(members.map((it) => durable.call('SADD', 'durable', it)))),
    new Set([1]),
  )
  replication.hold()
  assert.equal(await client.call('SADD', 'plain', 'm'), 1)
  const unknown = durable.call('SADD', 'durable', 'late').catch((error: unknown) => error)
  await eventually('it is executed', () =>
    client.with({ readFrom: 'master' }).call('SISMEMBER', 'durable', 'late'),
  )

  replication.cut()
  await master.stop('SIGKILL')
  assert.equal(await request(replica, 'REPLICAOF', 'NO', 'ONE'), 'OK')
  sentinel.says({ master: addressOf(replica), epoch: 2, replicas: [] })
  sentinel.publish('+switch-master', `m 127.0.0.1 ${replication.port} 127.0.0.1 ${replica.port}`)
  const error = await unknown
  assert.ok(error instanceof RespoolError && error.mayHaveExecuted, String(error))
  assert.equal(await client.call('SCARD', 'durable'), 500)
  assert.equal(await client.call('SCARD', 'plain'), 0, 'acknowledged, and lost')
})
