// How old what replicas give is, and what becomes of reads while replicas hang, die, come back with old data or lag
// behind: real servers, a register that counts up, and for each read the age of what it gave.

import assert from 'node:assert/strict'
import { appendFileSync } from 'node:fs'
import { type TestContext, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Client, type ClientOptions, type CommandView, createClient } from '../../lib/client/index.ts'
import { ScriptedSentinel } from '../sentinel/scripted-deployment.ts'
import { type DelayingProxy, delayingProxy } from '../support/delaying-proxy.ts'
import {
  eventually,
  request,
  startServer,
  startTopology,
  type TestServer,
  type TestTopology,
} from '../support/real-servers.ts'

/** No read is older. */
const OLD_MS = 1_000

const addressOf = ({ port }: { readonly port: number }): string => `127.0.0.1:${port}`

function clientOf(t: TestContext, { name, sentinels }: TestTopology, options: ClientOptions = {}): Client {
  const client = createClient({
    sentinel: { name, sentinels: sentinels.map(addressOf) },
    readFrom: 'prefer-replica',
    ...options,
  })
  t.after(() => client.destroy())
  return client
}

function allServe(client: Client, replicas: number): Promise<unknown> {
  const serving = () => client.topology?.replicas.filter(({ healthy }) => healthy).length === replicas
  return eventually(`${replicas} replicas serve`, serving, { timeout: 30_000 })
}

interface Read {
  /** When it was given, and how long it took. */
  readonly at: number
  readonly ms: number
  /** Milliseconds by which what it gave was old then: how long ago the next value had been acknowledged. */
  readonly age: number
}

/** Counts a register up, and reads it, each every few milliseconds, without waiting in between. */
class Register {
  readonly reads: Read[] = []
  readonly failures: unknown[] = []
  /** When each value was acknowledged. */
  readonly #acknowledgedAt: number[] = []
  readonly #open = new Set<Promise<void>>()
  readonly #timers: NodeJS.Timeout[]

  constructor(
    t: TestContext,
    writer: Client | CommandView,
    readers: readonly (Client | CommandView)[],
    key = 'register',
  ) {
    let value = 0
    const write = () => {
      const mine = value++
      this.#follow(
        writer.call('SET', key, mine).then(
          () => {
            this.#acknowledgedAt[mine] = performance.now()
          },
          () => undefined, // what was not acknowledged makes nothing old
        ),
      )
    }
    const read = () => {
      for (const reader of readers) {
        const at = performance.now()
        this.#follow(
          reader.call('GET', key).then(
            (reply) => {
              this.reads.push({ at, ms: performance.now() - at, age: this.#ageOf(Number(reply ?? -1), at) })
            },
            (error: unknown) => {
              this.failures.push(error)
            },
          ),
        )
      }
    }
    this.#timers = [setInterval(write, 5), setInterval(read, 5)]
    t.after(() => this.#timers.forEach(clearInterval))
  }

  get acknowledged(): number {
    return this.#acknowledgedAt.length
  }

  /** The oldest of what was read since that instant. */
  oldest(since = 0): number {
    return Math.max(0, ...this.reads.filter(({ at }) => at >= since).map(({ age }) => age))
  }

  slowest(since = 0): number {
    return Math.max(0, ...this.reads.filter(({ at }) => at >= since).map(({ ms }) => ms))
  }

  async stop(): Promise<void> {
    this.#timers.forEach(clearInterval)
    await eventually('every promise settles', () => this.#open.size === 0)
  }

  #ageOf(value: number, at: number): number {
    for (let next = value + 1; next < this.#acknowledgedAt.length; next += 1) {
      const acknowledgedAt = this.#acknowledgedAt[next]
      if (acknowledgedAt !== undefined) return Math.max(at - acknowledgedAt, 0)
    }
    return 0
  }

  #follow(command: Promise<void>): void {
    this.#open.add(command)
    void command.finally(() => this.#open.delete(command))
  }
}

test('a replica that comes back with old data and no link gives none of it', async (t) => {
  const topology = await startTopology(t, { replicas: 2, password: 'secret' })
  const [victim] = topology.replicas
  assert.ok(victim)
  const client = clientOf(t, topology, { password: 'secret' })
  await client.ready()
  await allServe(client, 2)
  const register = new Register(t, client, [
    client,
    client.with({ readFrom: 'replica' }),
    client.with({ readFrom: 'nearest' }),
  ])
  await eventually('there is something to be old', () => register.acknowledged > 50)
  await request({ ...victim, password: 'secret' }, 'SAVE')
  await victim.stop('SIGKILL')
  await sleep(1_200)
  appendFileSync(`${victim.dir}/server.conf`, 'masterauth wrong\n')
  await victim.restart()
  const old = Number(await request({ ...victim, password: 'secret' }, 'GET', 'register'))
  assert.ok(old > 10 && old < register.acknowledged - 100, `it has ${old} of ${register.acknowledged}`)
  await sleep(2_000)
  const reason = client.topology?.replicas.find(({ address }) => address === addressOf(victim))?.reason
  assert.match(String(reason), /its link is connect/)
  await request({ ...victim, password: 'secret' }, 'CONFIG', 'SET', 'masterauth', 'secret')
  await allServe(client, 2)
  await sleep(300)
  await register.stop()
  assert.deepEqual(register.failures, [])
  assert.ok(register.oldest() < OLD_MS, `a read was ${register.oldest()} ms old`)
  assert.ok(register.reads.length > 1_000)
})

test('a replica that hangs costs no read: they move; and it gives nothing old when it wakes up', async (t) => {
  const topology = await startTopology(t, { replicas: 2, downAfter: 30_000 })
  const [victim, other] = topology.replicas
  assert.ok(victim && other)
  const client = clientOf(t, topology, { commandTimeout: 4_000 })
  await client.ready()
  await allServe(client, 2)
  const register = new Register(t, client, [client])
  await eventually('it is running', () => register.reads.length > 100)
  const hungAt = performance.now()
  victim.signal('SIGSTOP')
  t.after(() => victim.signal('SIGCONT'))
  await sleep(3_000)
  const state = client.topology?.replicas.find(({ address }) => address === addressOf(victim))
  assert.equal(state?.healthy, false)
  victim.signal('SIGCONT')
  await allServe(client, 2)
  await sleep(500)
  await register.stop()
  assert.deepEqual(register.failures, [])
  assert.ok(register.slowest() < 1_200, `a read took ${register.slowest()} ms`)
  const later = register.slowest(hungAt + 1_000)
  assert.ok(later < 300, `a read took ${later} ms, long after the replica had been left`)
  assert.ok(register.oldest() < OLD_MS, `a read was ${register.oldest()} ms old`)
})

test('the only replica hangs, dies and comes back: every read succeeds, at the master meanwhile', async (t) => {
  const topology = await startTopology(t, { replicas: 1, downAfter: 30_000 })
  const [victim] = topology.replicas
  assert.ok(victim)
  const client = clientOf(t, topology)
  await client.ready()
  await allServe(client, 1)
  const register = new Register(t, client, [client])
  await eventually('it is running', () => register.reads.length > 100)
  victim.signal('SIGSTOP')
  await sleep(1_500)
  await victim.stop('SIGKILL')
  await sleep(500)
  await victim.restart()
  await allServe(client, 1)
  await sleep(300)
  await register.stop()
  assert.deepEqual(register.failures, [])
  assert.ok(register.slowest() < 1_200, `a read took ${register.slowest()} ms`)
  assert.ok(register.oldest() < OLD_MS, `a read was ${register.oldest()} ms old`)
})

test('while a master dies, is replaced and comes back, no read fails and none is old', async (t) => {
  const topology = await startTopology(t, { replicas: 2, downAfter: 1_000 })
  const { master } = topology
  const client = clientOf(t, topology)
  await client.ready()
  await allServe(client, 2)
  const register = new Register(t, client, [client])
  await eventually('it is running', () => register.reads.length > 100)
  const diedAt = performance.now()
  await master.stop('SIGKILL')
  await eventually('the failover is followed', () => client.topology?.generation === 2, { timeout: 20_000 })
  const gap = register.slowest(diedAt)
  await master.restart()
  await allServe(client, 2)
  await sleep(500)
  await register.stop()
  assert.deepEqual(register.failures, [])
  assert.ok(gap < 500, `a read took ${gap} ms`)
  assert.ok(register.oldest() < OLD_MS, `a read was ${register.oldest()} ms old`)
})

/** A master behind a proxy, for whose replicas the stream can be late; a sentinel that knows of them. */
async function lateReplicas(
  t: TestContext,
  replicas: number,
): Promise<{ proxy: DelayingProxy; master: TestServer; replicas: TestServer[]; seeds: string[] }> {
  const master = await startServer(t)
  const proxy = await delayingProxy(t, master)
  const followers = await Promise.all(
    Array.from({ length: replicas }, () => startServer(t, { replicaOf: proxy.port })),
  )
  await eventually('they are online', async () => {
    const info = String(await request(master, 'INFO', 'replication'))
    return info.split('state=online').length - 1 === replicas
  })
  const sentinel = await new ScriptedSentinel({
    name: 'm',
    master: addressOf(proxy),
    epoch: 1,
    replicas: followers.map((server) => ({ address: addressOf(server) })),
    sentinels: [],
  }).listen(t)
  return { proxy, master, replicas: followers, seeds: [sentinel.address] }
}

test('with maxStaleness no read is older than that, however late replication is; without, some are', async (t) => {
  const { proxy, seeds } = await lateReplicas(t, 2)
  const client = createClient({ sentinel: { name: 'm', sentinels: seeds }, readFrom: 'prefer-replica' })
  t.after(() => client.destroy())
  await client.ready()
  await allServe(client, 2)
  const bound = 150
  const bounded = new Register(
    t,
    client,
    [client.with({ maxStaleness: bound }), client.with({ maxStaleness: bound, readFrom: 'nearest' })],
    'one',
  )
  const demanding = new Register(
    t,
    client,
    [client.with({ maxStaleness: bound, readFrom: 'replica' })],
    'two',
  )
  const unbounded = new Register(t, client, [client], 'three')
  for (let i = 0; i < 12; i += 1) {
    proxy.delay = i % 3 === 0 ? 60 : i % 3 === 1 ? 400 : 0
    await sleep(500)
  }
  proxy.delay = 0
  for (const register of [bounded, demanding, unbounded]) {
    await register.stop()
    assert.deepEqual(register.failures, [])
  }
  assert.ok(unbounded.oldest() > bound * 2, `without a bound the oldest read is ${unbounded.oldest()} ms old`)
  assert.ok(unbounded.oldest() < OLD_MS)
  assert.ok(bounded.oldest() <= bound, `a read was ${bounded.oldest()} ms old`)
  assert.ok(demanding.oldest() <= bound, `a read of a replica was ${demanding.oldest()} ms old`)
})

test('a replica whose stream has stopped is left though its link looks up; without another the read waits', async (t) => {
  const { proxy, seeds, replicas } = await lateReplicas(t, 1)
  const client = createClient({ sentinel: { name: 'm', sentinels: seeds }, readFrom: 'prefer-replica' })
  t.after(() => client.destroy())
  await client.ready()
  await allServe(client, 1)
  const register = new Register(t, client, [client])
  await eventually('it is running', () => register.reads.length > 100)
  proxy.delay = Number.POSITIVE_INFINITY
  const left = () => client.topology?.replicas[0]?.reason === 'is more than 800 ms behind'
  await eventually('it is left', left)
  const role = await request(replicas[0] as TestServer, 'ROLE')
  assert.equal((role as unknown[])[3], 'connected')
  await sleep(1_000)
  const demand = client.with({ readFrom: 'replica', timeout: 200 }).call('GET', 'register')
  await assert.rejects(demand, (error: Error) => {
    assert.match(
      error.message,
      /no server for 'm' within 200 ms: no replica to read from \(.*more than 800 ms behind\)/,
    )
    return true
  })
  const lag = client.topology?.replicas[0]?.lag
  assert.ok(lag !== undefined && lag > 1_500, `its known lag is ${lag} ms`)
  proxy.delay = 0
  await allServe(client, 1)
  await register.stop()
  assert.deepEqual(register.failures, [])
  // it is noticed between two rounds of questions
  assert.ok(register.oldest() < OLD_MS, `a read was ${register.oldest()} ms old`)
})
