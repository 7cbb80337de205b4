// Who is master, asked of real sentinels: with passwords, rules and TLS of their own, over IPv6, by names, in TILT,
// reset, and what they publish.

import assert from 'node:assert/strict'
import { describe, type TestContext, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { SentinelError, TimeoutError } from '../../lib/errors.ts'
import { Sentinel, type SentinelOptions, type Topology } from '../../lib/sentinel/index.ts'
import { makeCertificate, missingOpenssl } from '../support/certificate.ts'
import { freePorts } from '../support/free-ports.ts'
import {
  eventually,
  request,
  startSentinel,
  startServer,
  startTopology,
  type TestServer,
  watchSentinel,
} from '../support/real-servers.ts'

const NAME = 'localmaster'
const at = ({ port }: { readonly port: number }, host = '127.0.0.1') => `${host}:${port}`

function sentinelOf(
  t: TestContext,
  sentinels: readonly string[],
  options: Partial<SentinelOptions> = {},
): Sentinel {
  const ha = new Sentinel({ name: NAME, sentinels, ...options })
  t.after(() => ha.destroy())
  return ha
}

/** Waits until the topology is so. */
function becomes(ha: Sentinel, what: string, is: (topology: Topology) => boolean): Promise<unknown> {
  return eventually(what, () => is(ha.topology), { timeout: 20_000 })
}

const hasReplicas = (count: number) => (topology: Topology) =>
  topology.replicas.filter(({ healthy }) => healthy).length === count

/** A master and a replica of it, in step, both with the options. */
async function startPair(
  t: TestContext,
  options: Parameters<typeof startServer>[1] = {},
  host = '127.0.0.1',
) {
  const master = await startServer(t, options)
  const replica = await startServer(t, {
    ...options,
    config: `${options.config ?? ''}\nreplicaof ${host} ${master.port}`,
  })
  await eventually('the replica is in step', async () =>
    String(await request(replica, 'INFO', 'replication')).includes('master_link_status:up'),
  )
  return { master, replica }
}

/** The sentinel has found the replica, and may fail over to it. */
function seesReplica(sentinel: TestServer): Promise<unknown> {
  return eventually(
    'the sentinel sees the replica',
    async () => {
      const [fields] = (await request(sentinel, 'SENTINEL', 'REPLICAS', NAME)) as string[][]
      return fields?.[fields.indexOf('master-link-status') + 1] === 'ok'
    },
    { timeout: 25_000 },
  )
}

/** Until the sentinel may be asked for a failover: it needs a replica that answered its INFO lately. */
async function failOver(sentinel: TestServer): Promise<void> {
  await eventually(
    'the sentinel fails over',
    async () => (await request(sentinel, 'SENTINEL', 'FAILOVER', NAME)) === 'OK',
    { timeout: 20_000, interval: 100 },
  )
}

describe('sentinels with credentials of their own', { concurrency: true }, () => {
  test('a password of the sentinels is not that of the servers, and a wrong one is told at once', async (t) => {
    const { master } = await startPair(t, { password: 'servers' })
    const config = [
      'requirepass sentinels',
      `sentinel monitor ${NAME} 127.0.0.1 ${master.port} 1`,
      `sentinel auth-pass ${NAME} servers`,
    ].join('\n')
    const sentinel = await startSentinel(t, { password: 'sentinels', config })
    await seesReplica(sentinel)
    const ha = sentinelOf(t, [at(sentinel)], {
      connection: { password: 'servers' },
      sentinelConnection: { password: 'sentinels' },
    })
    await ha.ready()
    await becomes(ha, 'the replica is well', hasReplicas(1))
    assert.equal(ha.topology.master, at(master))
    for (const sentinelConnection of [{}, { password: 'servers' }]) {
      const wrong = sentinelOf(t, [at(sentinel)], { connection: { password: 'servers' }, sentinelConnection })
      const start = performance.now()
      await assert.rejects(wrong.ready(), (error) => {
        assert.ok(error instanceof SentinelError)
        assert.equal(error.code, 'SENTINELS_UNREACHABLE')
        assert.match(error.message, /NOAUTH|WRONGPASS/)
        assert.ok(!error.message.includes('"servers"'))
        return true
      })
      assert.ok(performance.now() - start < 2_000)
    }
  })

  // the user of the manual, which forgets to allow subscriptions and INFO
  const questions = ['get-master-addr-by-name', 'master', 'myid', 'replicas', 'sentinels']
  const allowed = (without: string) =>
    [
      '+auth +client|getname +client|id +client|setname +command +hello +ping +role',
      ...questions.filter((it) => it !== without).map((it) => `+sentinel|${it}`),
    ].join(' ')

  for (const [what, rules, forbidden] of [
    ['nothing that is needed', `+info +psubscribe allchannels ${allowed('')}`, []],
    ['subscriptions and INFO', allowed(''), ['PSUBSCRIBE', 'SUBSCRIBE', 'INFO']],
    [
      'all events but the switch, and the epoch',
      `+info +subscribe resetchannels &+switch-master ${allowed('master')}`,
      ['PSUBSCRIBE', 'SENTINEL MASTER'],
    ],
  ] as const) {
    test(`a user who is forbidden ${what} follows a failover all the same`, async (t) => {
      const user = (rule: string) => `user watcher on >hush ${rule}`
      const version = String(await request(await startServer(t), 'INFO', 'server'))
      if (/redis_version:[0-6]\./.test(version)) return t.skip('no rules for subcommands before Redis 7')
      const topology = await startTopology(t, {
        sentinelConfig: user(rules),
      })
      const { sentinels, master, replicas } = topology
      const ha = sentinelOf(
        t,
        sentinels.map((it) => at(it)),
        {
          sentinelConnection: { username: 'watcher', password: 'hush' },
          adoptEarly: false,
        },
      )
      await ha.ready()
      await becomes(ha, 'the replica is well', hasReplicas(1))
      assert.equal(ha.topology.master, at(master))
      for (const state of ha.topology.sentinels) {
        assert.deepEqual(new Set(state.forbidden ?? []), new Set<string>(forbidden))
        assert.equal(state.trouble, undefined)
      }
      const [first] = sentinels as [TestServer]
      const events = await watchSentinel(t, sentinels[1] as TestServer)
      await failOver(first)
      await becomes(ha, 'the switch is followed', ({ master: it }) => it === at(replicas[0] as TestServer))
      const announced = events.find(({ channel }) => channel === '+switch-master')
      assert.ok(announced === undefined || performance.now() - announced.at < 2_500)
    })
  }

  test('sentinels speak TLS while servers do not, and the other way round', {
    skip: missingOpenssl(),
  }, async (t) => {
    const { certPath, keyPath, cert } = makeCertificate(t)
    const tls = { cert: certPath, key: keyPath, ca: certPath }
    const { master } = await startPair(t)
    const config = [`sentinel monitor ${NAME} 127.0.0.1 ${master.port} 1`, 'tls-replication no'].join('\n')
    let sentinel: TestServer
    try {
      sentinel = await startSentinel(t, { tls, config })
    } catch (error) {
      if (!/tls-port/i.test(String(error))) throw error
      return t.skip('the server is built without TLS')
    }
    await seesReplica(sentinel)
    const ha = sentinelOf(t, [at(sentinel)], { sentinelConnection: { tls: { ca: cert } } })
    await ha.ready()
    assert.equal(ha.topology.master, at(master))
    const untrusted = sentinelOf(t, [at(sentinel)], { sentinelConnection: { tls: true }, holdTimeout: 500 })
    await assert.rejects(untrusted.ready(), (error) => {
      assert.ok(error instanceof TimeoutError && error.cause instanceof SentinelError)
      assert.equal(error.cause.code, 'SENTINELS_UNREACHABLE')
      assert.match(error.message, /self-signed|SELF_SIGNED/i)
      return true
    })

    const secure = await startPair(t, { tls })
    const plain = await startSentinel(t, {
      config: [
        `sentinel monitor ${NAME} 127.0.0.1 ${secure.master.port} 1`,
        `tls-cert-file ${certPath}\ntls-key-file ${keyPath}\ntls-ca-cert-file ${certPath}`,
        'tls-replication yes',
      ].join('\n'),
    })
    const other = sentinelOf(t, [at(plain)], { connection: { tls: { ca: cert } } })
    await other.ready()
    await becomes(other, 'the replica is well', hasReplicas(1))
    assert.equal(other.topology.master, at(secure.master))
  })
})

describe('how servers are called', { concurrency: true }, () => {
  test('sentinels, master and replicas at IPv6 addresses are found, and a failover among them followed', async (t) => {
    // Redis 6 connects from the first of these
    const bind = 'bind ::1 127.0.0.1'
    const { master, replica } = await startPair(t, { config: bind }, '::1')
    const config = [bind, `sentinel monitor ${NAME} ::1 ${master.port} 1`].join('\n')
    const sentinel = await startSentinel(t, { config })
    await seesReplica(sentinel)
    const ha = sentinelOf(t, [at(sentinel, '[::1]')])
    await ha.ready()
    assert.equal(ha.topology.master, at(master, '[::1]'))
    await becomes(ha, 'the replica is well', hasReplicas(1))
    assert.equal(ha.topology.replicas[0]?.address, at(replica, '[::1]'))
    await failOver(sentinel)
    await becomes(ha, 'the switch is followed', ({ master: it }) => it === at(replica, '[::1]'))
    await ha.master.use((lease) => lease.call('SET', 'k', 'v'))
    assert.equal(await request(replica, 'GET', 'k'), 'v')
  })

  test('sentinels announce names while the replica calls its master by address', async (t) => {
    const { master, replica } = await startPair(t)
    const config = [
      'sentinel resolve-hostnames yes',
      'sentinel announce-hostnames yes',
      `sentinel monitor ${NAME} localhost ${master.port} 1`,
    ].join('\n')
    let sentinel: TestServer
    try {
      sentinel = await startSentinel(t, { config })
    } catch (error) {
      if (!/resolve-hostnames|Unrecognized/i.test(String(error))) throw error
      return t.skip('the sentinel knows no names')
    }
    const ha = sentinelOf(t, [at(sentinel, 'localhost')])
    await ha.ready()
    assert.equal(ha.topology.master, at(master, 'localhost'))
    await becomes(ha, 'the replica is well', hasReplicas(1))
    const [role, master_] = (await request(replica, 'ROLE')) as [string, string]
    assert.deepEqual([role, master_], ['slave', '127.0.0.1'])
    assert.equal(ha.topology.generation, 1)
    await seesReplica(sentinel)
    await failOver(sentinel)
    await becomes(ha, 'the switch is followed', ({ master: it }) => it === at(replica))
    await ha.master.use((lease) => lease.call('SET', 'k', 'v'))
    assert.equal(await request(replica, 'GET', 'k'), 'v')
  })

  test('a deployment behind NAT is reached through natMap, and a failover there followed', async (t) => {
    // inside, all is at 127.0.0.5; we are outside, where that leads to 127.0.0.1
    const bind = 'bind 127.0.0.1 127.0.0.5'
    const { master, replica } = await startPair(t, { config: bind }, '127.0.0.5')
    await replica.stop()
    const announced = await startServer(t, {
      port: replica.port,
      config: `${bind}\nreplicaof 127.0.0.5 ${master.port}\nreplica-announce-ip 127.0.0.5`,
    })
    const config = [bind, `sentinel monitor ${NAME} 127.0.0.5 ${master.port} 1`].join('\n')
    const sentinel = await startSentinel(t, { config })
    await seesReplica(sentinel)
    const asked = new Set<string>()
    const ha = sentinelOf(t, [at(sentinel)], {
      natMap: (address, what) => {
        asked.add(`${what} ${address}`)
        return address.replace('127.0.0.5', '127.0.0.1')
      },
    })
    await ha.ready()
    assert.equal(ha.topology.master, at(master))
    await becomes(ha, 'the replica is well', hasReplicas(1))
    assert.equal(ha.topology.replicas[0]?.address, at(announced))
    assert.deepEqual(
      asked,
      new Set([`master ${at(master, '127.0.0.5')}`, `replica ${at(announced, '127.0.0.5')}`]),
    )
    await failOver(sentinel)
    await becomes(ha, 'the switch is followed', ({ master: it }) => it === at(announced))
    await ha.master.use((lease) => lease.call('SET', 'k', 'v'))
  })
})

describe('what sentinels go through', { concurrency: true }, () => {
  test('a sentinel named by the user and known to the others by its address is watched once', async (t) => {
    const { sentinels, master } = await startTopology(t)
    const [first] = sentinels as [TestServer]
    const ha = sentinelOf(t, [at(first, 'localhost')])
    await ha.ready()
    await becomes(ha, 'all are found', (topology) => topology.sentinels.every(({ connected }) => connected))
    await becomes(ha, 'there are three', (topology) => topology.sentinels.length === 3)
    await sleep(300)
    assert.deepEqual(
      new Set(ha.topology.sentinels.map(({ address }) => address)),
      new Set([at(first, 'localhost'), ...sentinels.slice(1).map((it) => at(it))]),
    )
    assert.equal(ha.topology.master, at(master))
  })

  for (const protocol of [3, 2] as const) {
    test(`one that was stopped is found out within two seconds, and in TILT when it goes on, in RESP${protocol}`, async (t) => {
      const { sentinels, master } = await startTopology(t)
      const [victim] = sentinels as [TestServer]
      const ha = sentinelOf(
        t,
        sentinels.map((it) => at(it)),
        { sentinelConnection: { protocol } },
      )
      await ha.ready()
      await becomes(ha, 'all are connected', (it) => it.sentinels.every(({ connected }) => connected))
      const state = () => ha.topology.sentinels.find(({ address }) => address === at(victim))
      victim.signal('SIGSTOP')
      const start = performance.now()
      await eventually('it is found out', () => state()?.connected === false)
      assert.ok(performance.now() - start < 2_000)
      // a clock that jumps by more than two seconds
      await sleep(2_500)
      victim.signal('SIGCONT')
      await eventually('it is connected again', () => state()?.connected === true, { timeout: 15_000 })
      await eventually('it is in TILT', () => state()?.tilt === true, { timeout: 15_000 })
      assert.equal(ha.topology.master, at(master))
      assert.equal(ha.topology.trouble, undefined)
      await ha.master.use((lease) => lease.call('SET', 'k', 'v'))
    })
  }

  test('one that was reset, and has forgotten replicas and sentinels, costs neither', async (t) => {
    const { sentinels, replicas } = await startTopology(t, { replicas: 2 })
    const ha = sentinelOf(
      t,
      sentinels.map((it) => at(it)),
    )
    await ha.ready()
    await becomes(ha, 'the replicas are well', hasReplicas(2))
    const seen: number[] = []
    ha.on('topology', (topology) => seen.push(topology.replicas.length))
    const [first] = sentinels as [TestServer]
    const events = await watchSentinel(t, first)
    assert.equal(await request(first, 'SENTINEL', 'RESET', NAME), 1)
    await eventually('it says so', () => events.some(({ channel }) => channel === '+reset-master'))
    await sleep(500)
    assert.equal(ha.topology.replicas.length, replicas.length)
    assert.ok(seen.every((count) => count === replicas.length))
    assert.equal(ha.topology.sentinels.length, 3)
  })

  test('where a majority is demanded, a failover is followed once two of three announce it', async (t) => {
    const { sentinels, replicas } = await startTopology(t)
    const ha = sentinelOf(
      t,
      sentinels.map((it) => at(it)),
      { agreement: 'majority', adoptEarly: false },
    )
    await ha.ready()
    await becomes(ha, 'the replica is well', hasReplicas(1))
    const watched = await Promise.all(sentinels.map((it) => watchSentinel(t, it)))
    let switchedAt = 0
    ha.on('switch', () => {
      switchedAt = performance.now()
    })
    await failOver(sentinels[0] as TestServer)
    await becomes(ha, 'the switch is followed', ({ master }) => master === at(replicas[0] as TestServer))
    const announced = watched
      .flatMap((events) => events.filter(({ channel }) => channel === '+switch-master').slice(0, 1))
      .map((event) => event.at)
      .sort((a, b) => a - b)
    const [first = 0] = announced
    assert.ok(switchedAt >= first - 50 && switchedAt < first + 500, `${switchedAt - first} ms behind`)
  })

  test('what a failover publishes has the names and shapes that are read, in this version, too', async (t) => {
    const { sentinels, replicas, master } = await startTopology(t)
    const [leader, other] = sentinels as [TestServer, TestServer]
    const events = await watchSentinel(t, leader)
    const others = await watchSentinel(t, other)
    await failOver(leader)
    const [heir] = replicas as [TestServer]
    const has = (list: typeof events, channel: string, payload: string) =>
      eventually(`${channel} ${payload}`, () =>
        list.some((event) => event.channel === channel && event.payload === payload),
      )
    const old = `${NAME} 127.0.0.1 ${master.port}`
    const slave = `slave ${at(heir)} 127.0.0.1 ${heir.port} @ ${old}`
    await has(events, '+try-failover', `master ${old}`)
    await has(events, '+selected-slave', slave)
    await has(events, '+promoted-slave', slave)
    await has(events, '+switch-master', `${old} 127.0.0.1 ${heir.port}`)
    await has(others, '+switch-master', `${old} 127.0.0.1 ${heir.port}`)
    assert.ok(
      others.some(({ channel, payload }) => channel === '+config-update-from' && payload.endsWith(old)),
    )
    assert.ok([...events, ...others].every(({ payload }) => !/primary|replica/.test(payload)))
  })

  test('a name that nobody knows is told within a second, with a sentinel that hangs and one that is gone', async (t) => {
    const { sentinels } = await startTopology(t)
    const [hung, gone, alive] = sentinels as [TestServer, TestServer, TestServer]
    hung.signal('SIGSTOP')
    const [port = 0] = await freePorts(1)
    const seeds = [at(hung), `127.0.0.1:${port}`, at(alive), at(gone)]
    const start = performance.now()
    const ha = sentinelOf(t, seeds, { name: 'nobody' })
    await assert.rejects(ha.ready(), (error) => {
      assert.ok(error instanceof SentinelError)
      assert.equal(error.code, 'MASTER_UNKNOWN')
      assert.equal(error.message.match(/does not know the name/g)?.length, 2)
      assert.match(error.message, /ECONNREFUSED/)
      assert.ok(error.message.includes(`${at(hung)}: `))
      return true
    })
    const ms = performance.now() - start
    assert.ok(ms < 1_900, `${ms} ms`)
    hung.signal('SIGCONT')
  })
})
