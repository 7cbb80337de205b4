// Real deployments: what is found, what is read where, and what becomes of a counter while its master is killed,
// shut down, stopped, or replaced by plan.

import assert from 'node:assert/strict'
import { describe, type TestContext, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Client, type ClientOptions, createClient } from '../../lib/client/index.ts'
import { RespoolError } from '../../lib/errors.ts'
import { Sentinel, type SwitchEvent } from '../../lib/sentinel/index.ts'
import {
  eventually,
  request,
  startTopology,
  type TestServer,
  type TestTopology,
  type TestTopologyOptions,
} from '../support/real-servers.ts'

const NAME = 'respool-test'

function seedsOf({ sentinels }: TestTopology): string[] {
  return sentinels.map(({ port }) => addressOf({ port }))
}

function addressOf({ port }: { readonly port: number }): string {
  return `127.0.0.1:${port}`
}

function clientOf(t: TestContext, topology: TestTopology, options: ClientOptions = {}): Client {
  const client = createClient({
    sentinel: { name: topology.name, sentinels: seedsOf(topology) },
    readFrom: 'prefer-replica',
    clientName: NAME,
    ...options,
  })
  t.after(() => client.destroy())
  return client
}

function start(t: TestContext, options: TestTopologyOptions = {}): Promise<TestTopology> {
  return startTopology(t, options)
}

/** Waits until every replica is read from. */
function wholeTopology(client: Client, replicas: number): Promise<unknown> {
  return eventually(
    `${replicas} replicas are healthy`,
    () => client.topology?.replicas.filter(({ healthy }) => healthy).length === replicas,
    { timeout: 30_000 },
  )
}

/** How many commands of that name a server has run for clients and for its master together. */
async function callsOf(server: TestServer, command: string): Promise<number> {
  const stats = String(await request(server, 'INFO', 'commandstats'))
  return Number(new RegExp(`cmdstat_${command}:calls=(\\d+)`).exec(stats)?.[1] ?? 0)
}

interface Tally {
  acknowledged: number
  /** Sent, and no reply seen. */
  unknown: number
  /** Certainly not run. */
  failed: RespoolError[]
  /** Errors that are none of the library's. */
  strange: unknown[]
  reads: number
  failedReads: unknown[]
}

interface Load {
  readonly tally: Tally
  /** Resolves when so many more writes have been acknowledged. */
  more(writes: number): Promise<unknown>
  /** Ends the load and resolves when every promise has settled. */
  stop(): Promise<Tally>
}

/** Increments a counter and reads another key, each every few milliseconds, without waiting in between. */
function load(t: TestContext, client: Client, key: string): Load {
  const tally: Tally = { acknowledged: 0, unknown: 0, failed: [], strange: [], reads: 0, failedReads: [] }
  const open = new Set<Promise<void>>()
  const follow = (reply: Promise<void>) => {
    open.add(reply)
    void reply.finally(() => open.delete(reply))
  }
  const timer = setInterval(() => {
    follow(
      client.call('INCR', key).then(
        () => {
          tally.acknowledged += 1
        },
        (error: unknown) => {
          if (!(error instanceof RespoolError)) tally.strange.push(error)
          else if (error.mayHaveExecuted) tally.unknown += 1
          else tally.failed.push(error)
        },
      ),
    )
    follow(
      client.call('GET', 'other').then(
        () => {
          tally.reads += 1
        },
        (error: unknown) => {
          tally.failedReads.push(error)
        },
      ),
    )
  }, 5)
  t.after(() => clearInterval(timer))
  return {
    tally,
    more: (writes) => {
      const goal = tally.acknowledged + writes
      return eventually(`${writes} more writes`, () => tally.acknowledged >= goal, { timeout: 15_000 })
    },
    stop: async () => {
      clearInterval(timer)
      await eventually('every promise settles', () => open.size === 0)
      return tally
    },
  }
}

/** The new master, once the client has followed the failover. */
async function newMaster(client: Client, topology: TestTopology, old: TestServer): Promise<TestServer> {
  const { replicas, master } = topology
  const isFollowed = () => client.topology?.holding === false && client.topology.master !== addressOf(old)
  await eventually('the failover is followed', isFollowed, { timeout: 20_000 })
  const heir = [master, ...replicas].find((server) => addressOf(server) === client.topology?.master)
  assert.ok(heir)
  return heir
}

async function counter(server: TestServer, key: string): Promise<number> {
  return Number(await request(server, 'GET', key))
}

/**
 * What must hold of every counter: nothing acknowledged is missing, nothing ran twice.
 *
 * @param atRisk writes that the old master acknowledged as it died: it may not have passed them on any more
 */
async function checkCounter(tally: Tally, server: TestServer, key: string, atRisk = 0): Promise<void> {
  const value = await counter(server, key)
  const { acknowledged, unknown, failed, strange, failedReads } = tally
  const what = `counter ${value}, acknowledged ${acknowledged}, unknown ${unknown}, failed ${failed.length}`
  assert.ok(value >= acknowledged - atRisk, `acknowledged writes are missing: ${what}`)
  assert.ok(value <= acknowledged + unknown, `writes ran twice: ${what}`)
  assert.deepEqual(strange, [], what)
  assert.deepEqual(failed, [], what)
  assert.deepEqual(failedReads, [])
}

test('a deployment is found, reads are spread over its replicas, and losing some of it loses nothing', async (t) => {
  const topology = await start(t, { replicas: 2, password: 'secret' })
  const { master, replicas, sentinels, name } = topology
  const seeds = seedsOf(topology)
  const client = clientOf(t, topology, { password: 'secret' })
  const started = performance.now()
  await client.ready()
  assert.ok(performance.now() - started < 1_000)
  await wholeTopology(client, 2)

  await t.test('by one sentinel, the others are found', async (t) => {
    const ha = new Sentinel({ name, sentinels: seeds.slice(0, 1), connection: { password: 'secret' } })
    t.after(() => ha.destroy())
    await ha.ready()
    assert.equal(ha.topology.master, addressOf(master))
    await eventually('all sentinels are connected', () => {
      const { sentinels: known } = ha.topology
      return known.length === 3 && known.every(({ connected }) => connected)
    })
    assert.deepEqual(new Set(ha.topology.sentinels.map(({ address }) => address)), new Set(seeds))
    await ha.master.use(async (lease) => {
      assert.equal(lease.connection.address, addressOf(master))
      assert.equal(await lease.call('SET', 'k', 'v'), 'OK')
    })
    await ha.close()
  })

  await t.test('a wrong password is named by the error', async (t) => {
    const stranger = clientOf(t, topology, { password: 'wrong', commandTimeout: 300 })
    await assert.rejects(stranger.call('GET', 'k'), (error) => {
      assert.match(String(error), /WRONGPASS|invalid username-password/)
      return true
    })
  })

  await t.test('a name that nobody knows is told at once', async (t) => {
    const stranger = createClient({ sentinel: { name: 'nobody', sentinels: seeds } })
    t.after(() => stranger.destroy())
    const from = performance.now()
    await assert.rejects(stranger.ready(), { code: 'MASTER_UNKNOWN' })
    assert.ok(performance.now() - from < 1_000)
  })

  for (const protocol of [3, 2] as const) {
    await t.test(`reads are spread over the replicas, in RESP${protocol}`, async (t) => {
      const reader = clientOf(t, topology, {
        password: 'secret',
        protocol,
        sentinel: { name, sentinels: seeds, sentinelConnection: { protocol } },
      })
      await reader.ready()
      await wholeTopology(reader, 2)
      assert.equal(await reader.call('SET', 'k', protocol), 'OK')
      const before = await Promise.all([master, ...replicas].map((server) => callsOf(server, 'strlen')))
      const lengths = await Promise.all(Array.from({ length: 40 }, () => reader.call('STRLEN', 'absent')))
      assert.deepEqual(new Set(lengths), new Set([0]))
      const after = await Promise.all([master, ...replicas].map((server) => callsOf(server, 'strlen')))
      const [ofMaster = 0, one = 0, two = 0] = after.map((calls, i) => calls - (before[i] ?? 0))
      assert.equal(ofMaster, 0)
      assert.equal(one + two, 40)
      assert.ok(one >= 15 && two >= 15, `${one} and ${two} reads`)
      await reader.close()
    })
  }

  await t.test(
    'a replica that is killed costs no read, and is read from again when it is back',
    async (t) => {
      const work = load(t, client, 'n1')
      await work.more(50)
      const [victim] = replicas
      assert.ok(victim)
      await victim.stop('SIGKILL')
      await work.more(100)
      await eventually('it is ruled out', () =>
        client.topology?.replicas.some(({ address, healthy }) => address === addressOf(victim) && !healthy),
      )
      await victim.restart()
      await wholeTopology(client, 2)
      await work.more(20)
      await checkCounter(await work.stop(), master, 'n1')
    },
  )

  await t.test('without any sentinel, traffic goes on', async (t) => {
    const work = load(t, client, 'n2')
    await work.more(20)
    await Promise.all(sentinels.map((sentinel) => sentinel.stop('SIGKILL')))
    await work.more(100)
    await eventually('the topology says so', () =>
      /no sentinel can be reached/.test(client.topology?.trouble ?? ''),
    )
    await work.more(100)
    await checkCounter(await work.stop(), master, 'n2')
    assert.equal(client.topology?.master, addressOf(master))
    assert.equal(work.tally.unknown, 0)
  })
})

describe('under load', { concurrency: 2 }, () => {
  test('a planned failover loses no write, and the old master is left at once and read from again later', async (t) => {
    const topology = await start(t)
    const { master, name, sentinels } = topology
    const client = clientOf(t, topology)
    const switches: SwitchEvent[] = []
    const callsAtSwitch: Promise<number>[] = []
    client.on('switch', (event) => {
      switches.push(event)
      callsAtSwitch.push(callsOf(master, 'incr'))
    })
    await client.ready()
    await wholeTopology(client, 1)
    const work = load(t, client, 'n')
    await work.more(100)
    const from = performance.now()
    const [sentinel] = sentinels
    assert.ok(sentinel)
    assert.equal(await request(sentinel, 'SENTINEL', 'FAILOVER', name), 'OK')
    const heir = await newMaster(client, topology, master)
    const ms = performance.now() - from
    await work.more(100)
    assert.equal(switches.length, 1)
    assert.equal(switches[0]?.from, addressOf(master))
    assert.equal(switches[0]?.to, addressOf(heir))
    // it will be a master for ten seconds yet, and would take writes
    assert.match(String(await request(master, 'ROLE')), /^master/)
    assert.equal(await callsOf(master, 'incr'), await callsAtSwitch[0])
    assert.ok(ms < 3_000, `${ms} ms`)
    await checkCounter(await work.stop(), heir, 'n')
    await wholeTopology(client, 1)
    assert.equal(await client.call('GET', 'n'), String(await counter(heir, 'n')))
    assert.deepEqual(
      client.topology?.replicas.map(({ address }) => address),
      [addressOf(master)],
    )
  })

  test('a master that is killed costs time, and only that; it comes back as a replica', async (t) => {
    const topology = await start(t)
    const { master } = topology
    const [client, inResp2] = [clientOf(t, topology), clientOf(t, topology, { protocol: 2 })]
    for (const one of [client, inResp2]) {
      await one.ready()
      await wholeTopology(one, 1)
    }
    const loads = [load(t, client, 'a'), load(t, inResp2, 'b')] as const
    for (const work of loads) await work.more(50)
    const acknowledged = () => loads.map(({ tally }) => tally.acknowledged)
    const before = acknowledged()
    await sleep(10)
    await master.stop('SIGKILL')
    // replication is asynchronous: what was acknowledged in the last milliseconds may not have left the master
    const [ofA = 0, ofB = 0] = acknowledged().map((count, i) => count - (before[i] ?? 0))
    const heir = await newMaster(client, topology, master)
    for (const work of loads) await work.more(100)
    await checkCounter(await loads[0].stop(), heir, 'a', ofA)
    await checkCounter(await loads[1].stop(), heir, 'b', ofB)
    await inResp2.close()
    await master.restart()
    await wholeTopology(client, 1)
    assert.match(String(await request(master, 'ROLE')), /^slave/)
    const calls = await callsOf(master, 'strlen')
    assert.equal(await client.call('STRLEN', 'absent'), 0)
    assert.equal(await callsOf(master, 'strlen'), calls + 1)
  })

  test('a master that is shut down costs time, and only that', async (t) => {
    const topology = await start(t)
    const { master } = topology
    const client = clientOf(t, topology)
    await client.ready()
    await wholeTopology(client, 1)
    const work = load(t, client, 'n')
    await work.more(50)
    await master.cli('SHUTDOWN', 'NOSAVE')
    const heir = await newMaster(client, topology, master)
    await work.more(100)
    await checkCounter(await work.stop(), heir, 'n')
  })

  test('a master that hangs is left, and nothing is taken from it when it wakes up', async (t) => {
    const topology = await start(t)
    const { master } = topology
    const client = clientOf(t, topology, { commandTimeout: 4_000 })
    await client.ready()
    await wholeTopology(client, 1)
    const work = load(t, client, 'n')
    await work.more(50)
    master.signal('SIGSTOP')
    t.after(() => master.signal('SIGCONT'))
    const heir = await newMaster(client, topology, master)
    const atSwitch = work.tally.acknowledged
    await work.more(50)
    master.signal('SIGCONT')
    await work.more(100)
    await sleep(500) // time to go back to the old one
    assert.equal(client.topology?.master, addressOf(heir))
    const tally = await work.stop()
    assert.ok(tally.acknowledged >= atSwitch + 150)
    await checkCounter(tally, heir, 'n')
  })
})
