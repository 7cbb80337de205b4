// What becomes of commands while sentinels and servers do what a real deployment does not do on demand.

import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { createClient } from '../../lib/client/index.ts'
import { ConnectionError, type RespoolError, SentinelError, TimeoutError } from '../../lib/errors.ts'
import { Sentinel, type SentinelOptions, type SwitchEvent, type Topology } from '../../lib/sentinel/index.ts'
import { freePorts } from '../support/free-ports.ts'
import { eventually } from '../support/real-servers.ts'
import { scriptedServer } from '../support/scripted-server.ts'
import {
  masterRole,
  type ScriptedDeployment,
  type ScriptedNode,
  ScriptedSentinel,
  scriptedDeployment,
  slaveRole,
} from './scripted-deployment.ts'

type Options = Partial<Omit<SentinelOptions, 'name' | 'sentinels'>> & { readonly name?: string }

/** Borrowing, over the deployment. */
function sentinelOf(t: TestContext, seeds: readonly string[], options: Options = {}): Sentinel {
  const ha = new Sentinel({ name: 'm', sentinels: seeds, answerTimeout: 150, ...options })
  t.after(() => ha.destroy())
  return ha
}

/** Commands, over the deployment. */
function clientOf(
  t: TestContext,
  seeds: readonly string[],
  options: Parameters<typeof createClient>[0] = {},
) {
  const { sentinel, ...others } = options as Exclude<typeof options, string | URL>
  const client = createClient({
    sentinel: { name: 'm', sentinels: seeds, answerTimeout: 150, ...sentinel },
    pingInterval: 0,
    suspectAfter: 0,
    ...others,
  })
  t.after(() => client.destroy())
  return client
}

/** The deployment changes hands: the replica says it is the master, sentinels know it under a new epoch. */
function promote(deployment: ScriptedDeployment, node: ScriptedNode, epoch: number): void {
  node.role = masterRole()
  deployment.say({ master: node.address, epoch, replicas: [{ address: deployment.master.address }] })
}

function announce(deployment: ScriptedDeployment, from: string, to: string): void {
  const [a, b] = [from, to].map((address) => address.replace(':', ' '))
  deployment.sentinels[0]?.publish('+switch-master', `m ${a} ${b}`)
}

function isWell(topology: Topology | undefined, replicas = 1): boolean {
  return (topology?.replicas.filter(({ healthy }) => healthy).length ?? 0) >= replicas
}

/** The client is connected to all sentinels, and has no question under way. */
async function isQuiet({ sentinels }: ScriptedDeployment): Promise<void> {
  await eventually('all sentinels are listened to, and none is asked', async () => {
    const asked = () => sentinels.map(({ questionCount }) => questionCount).join()
    const before = asked()
    await sleep(50)
    return sentinels.every(({ subscriberCount }) => subscriberCount === 1) && asked() === before
  })
}

async function isHeld(reply: Promise<unknown>): Promise<boolean> {
  const held = Symbol('held')
  return (await Promise.race([reply, sleep(60, held)])) === held
}

test('master, replicas and sentinels are found, and the topology says so', async (t) => {
  const deployment = await scriptedDeployment(t, { replicas: 2 })
  const { sentinels, master, replicas, seeds } = deployment
  // only the first is named; it knows the others
  sentinels[0]?.says({ sentinels: seeds.slice(1) })
  const ha = sentinelOf(t, seeds.slice(0, 1))
  const seen: Topology[] = []
  ha.on('topology', (topology) => seen.push(topology))
  const before: unknown = ha.topology
  assert.deepEqual(before, {
    generation: 0,
    epoch: 0,
    master: undefined,
    replicas: [],
    sentinels: [],
    holding: true,
  })
  assert.equal(sentinels[0]?.server.peers.length, 0, 'nothing connects before the first use')
  await ha.ready()
  await eventually('all is known', () => {
    const { topology } = ha
    return isWell(topology, 2) && topology.sentinels.every((it) => it.connected)
  })
  assert.deepEqual(ha.topology, {
    generation: 1,
    epoch: 1,
    master: master.address,
    replicas: replicas.map(({ address }) => ({ address, healthy: true, reason: undefined })),
    sentinels: seeds.map((address) => ({ address, connected: true })),
    holding: false,
  })
  const { topology } = ha
  assert.ok([topology, topology.replicas, topology.replicas[0], topology.sentinels].every(Object.isFrozen))
  assert.equal(seen.at(-1), topology)
  for (const sentinel of sentinels) {
    await eventually('each is listened to', () => sentinel.subscriberCount === 1)
  }
  await ha.master.use((lease) => assert.equal(lease.connection.address, master.address))
  const borrowed = await Promise.all([ha.replica.get(), ha.replica.get()])
  assert.deepEqual(
    new Set(borrowed.map(({ connection }) => connection.address)),
    new Set(replicas.map(({ address }) => address)),
  )
  await Promise.all(borrowed.map((lease) => lease.close()))
  const stats = ha.stats()
  assert.equal(stats.master?.address, master.address)
  assert.equal(stats.replicas.length, 2)
})

test('sentinels that are all down are one error, which lists each with its reason', async (t) => {
  const ports = await freePorts(2)
  const seeds = ports.map((port) => `127.0.0.1:${port}`)
  const ha = sentinelOf(t, seeds, { holdTimeout: 300 })
  await assert.rejects(ha.master.get(), (error) => {
    assert.ok(error instanceof TimeoutError)
    assert.equal(error.timeout, 300)
    const { cause } = error
    assert.ok(cause instanceof SentinelError)
    assert.equal(cause.code, 'SENTINELS_UNREACHABLE')
    for (const seed of seeds) assert.match(error.message, new RegExp(`${seed}: .*ECONNREFUSED`))
    assert.equal((cause.cause as AggregateError).errors.length, 2)
    return true
  })
  await assert.rejects(ha.replica.get(), { code: 'COMMAND_TIMEOUT' })
  await assert.rejects(ha.ready(), { code: 'COMMAND_TIMEOUT' })
  assert.match(ha.topology.trouble ?? '', /no sentinel can be reached/)
  assert.equal(ha.topology.holding, true)
})

test('sentinels that are all silent are found out, too', async (t) => {
  const { sentinels, seeds } = await scriptedDeployment(t, { sentinels: 2 })
  for (const sentinel of sentinels) sentinel.isSilent = true
  const ha = sentinelOf(t, seeds, { holdTimeout: 500 })
  await assert.rejects(ha.ready(), (error) => {
    assert.ok(error instanceof TimeoutError)
    assert.equal((error.cause as SentinelError).code, 'SENTINELS_UNREACHABLE')
    for (const seed of seeds) assert.match(error.message, new RegExp(`${seed}: `))
    return true
  })
  for (const sentinel of sentinels) sentinel.isSilent = false
  await eventually('they are found when they speak again', () => ha.ready().then(() => true))
})

test('a sentinel that is silent delays the start by no second', async (t) => {
  const { sentinels, seeds } = await scriptedDeployment(t, { sentinels: 2 })
  const [first] = sentinels
  assert.ok(first)
  first.isSilent = true
  const start = performance.now()
  await sentinelOf(t, seeds, { answerTimeout: 300 }).ready()
  const ms = performance.now() - start
  assert.ok(ms < 1_000, `${ms} ms`)
})

test('a name that no sentinel knows is told at once, by its own error', async (t) => {
  const { seeds } = await scriptedDeployment(t)
  const ha = sentinelOf(t, seeds, { name: 'nobody' })
  const start = performance.now()
  for (const attempt of [ha.ready(), ha.master.get(), ha.replica.get()]) {
    await assert.rejects(attempt, (error) => {
      assert.ok(error instanceof SentinelError)
      assert.equal(error.code, 'MASTER_UNKNOWN')
      assert.match(error.message, /no sentinel knows a master named 'nobody'/)
      return true
    })
  }
  assert.ok(performance.now() - start < 1_000)
  await assert.rejects(ha.master.get(), { code: 'MASTER_UNKNOWN' })
})

test('a name that only a minority could be asked about is waited for', async (t) => {
  const { sentinels, seeds, master } = await scriptedDeployment(t)
  const [one, two, three] = sentinels
  assert.ok(one && two && three)
  one.says({ master: undefined })
  two.refusal = three.refusal = 'NOPERM not now'
  const ha = sentinelOf(t, seeds)
  const ready = ha.ready()
  assert.equal(await isHeld(ready), true)
  two.refusal = undefined
  await ready
  assert.equal(ha.topology.master, master.address)
})

test('sentinels that lag behind in their epoch are not followed back', async (t) => {
  const { sentinels, seeds, master, replicas } = await scriptedDeployment(t)
  for (const sentinel of sentinels) sentinel.says({ epoch: 5 })
  const [liar, ...honest] = sentinels
  const [other] = replicas
  assert.ok(liar && other)
  const ha = sentinelOf(t, seeds, { pollInterval: 20 })
  await ha.ready()
  other.role = masterRole()
  liar.says({ master: other.address, epoch: 4 })
  const asked = liar.questionCount
  await eventually('it has been asked a few times', () => liar.questionCount > asked + 1)
  assert.equal(ha.topology.master, master.address)
  assert.equal(ha.topology.generation, 1)
  // not even when it is the only one left
  for (const sentinel of honest) sentinel.refusal = 'NOPERM not now'
  const before = liar.questionCount
  await eventually('it has been asked alone', () => liar.questionCount > before + 1)
  assert.equal(ha.topology.master, master.address)
  await ha.master.use((lease) => assert.equal(lease.connection.address, master.address))
})

test('a master that says it is a replica is not taken, and the error tells what it said', async (t) => {
  const { master, seeds } = await scriptedDeployment(t)
  master.role = slaveRole('10.0.0.9:1')
  const client = clientOf(t, seeds)
  const impatient = client.with({ timeout: 300 }).call('INCR', 'n')
  const patient = client.call('INCR', 'n')
  await assert.rejects(impatient, (error) => {
    assert.ok(error instanceof TimeoutError)
    assert.equal(error.mayHaveExecuted, false)
    const { cause } = error
    assert.ok(cause instanceof SentinelError)
    assert.equal(cause.code, 'MASTER_UNVERIFIED')
    assert.match(
      error.message,
      new RegExp(`the sentinels name ${master.address} .* says its role is slave, not master`),
    )
    return true
  })
  assert.equal(client.topology?.master, undefined)
  assert.equal(master.count('INCR'), 0)
  master.role = masterRole()
  assert.equal(await patient, 1)
})

test('a switch takes effect at once: the old master gets nothing more, what it owes is unknown', async (t) => {
  const deployment = await scriptedDeployment(t, { replicas: 2 })
  const { master, replicas, seeds, sentinels } = deployment
  const [heir] = replicas
  assert.ok(heir)
  const client = clientOf(t, seeds)
  const switches: SwitchEvent[] = []
  client.on('switch', (event) => switches.push(event))
  assert.equal(await client.call('INCR', 'n'), 1)
  const lease = await client.lease()
  master.intercept = (command) => (command[0] === 'INCR' ? undefined : 'pass')
  const inFlight = client.call('INCR', 'n').catch((error: RespoolError) => error)
  await eventually('it has arrived', () => master.count('INCR') === 2)
  promote(deployment, heir, 2)
  announce(deployment, master.address, heir.address)
  const error = await inFlight
  assert.ok(error instanceof ConnectionError)
  assert.equal(error.code, 'FENCED')
  assert.equal(error.mayHaveExecuted, true)
  assert.match(
    error.message,
    new RegExp(`${master.address} is no longer the master, ${heir.address} is \\(epoch 2\\)`),
  )
  assert.equal((lease.error as RespoolError).code, 'FENCED')
  assert.equal(await client.call('INCR', 'n'), 1)
  assert.equal(heir.value('n'), 1)
  assert.equal(master.count('INCR'), 2)
  await eventually('the event is told', () => switches.length === 1)
  const [{ duration, ...told } = { duration: -1 }] = switches
  assert.deepEqual(told, { from: master.address, to: heir.address, epoch: 2, generation: 2, early: false })
  assert.ok(duration >= 0 && duration < 1_000, `took ${duration} ms`)
  assert.equal(client.topology?.master, heir.address)
  assert.ok(sentinels.every(({ server }) => server.openCount === 1))
})

test('an event that names another master holds writes before anything else is known', async (t) => {
  const deployment = await scriptedDeployment(t)
  const { master, replicas, seeds, sentinels } = deployment
  const [heir] = replicas
  assert.ok(heir)
  const client = clientOf(t, seeds)
  await client.call('INCR', 'n')
  // the sentinels do not answer for a while; the event is all there is
  await isQuiet(deployment)
  announce(deployment, master.address, heir.address)
  for (const sentinel of sentinels) sentinel.isSilent = true
  await eventually('writes are held', () => client.topology?.holding === true)
  const held = client.call('INCR', 'n')
  assert.equal(await isHeld(held), true)
  assert.equal(master.count('INCR'), 1)
  for (const sentinel of sentinels) sentinel.isSilent = false
  promote(deployment, heir, 2)
  assert.equal(await held, 1)
  assert.equal(heir.value('n'), 1)
  assert.equal(master.count('INCR'), 1)
})

test('an announcement that nobody confirms holds writes for a while only', async (t) => {
  const deployment = await scriptedDeployment(t)
  const { master, replicas, seeds, sentinels } = deployment
  const [heir] = replicas
  const [accuser] = sentinels
  assert.ok(heir && accuser)
  const client = clientOf(t, seeds)
  await client.call('INCR', 'n')
  await isQuiet(deployment)
  announce(deployment, master.address, heir.address)
  // the others say that nothing has changed, but it was not theirs
  accuser.isSilent = true
  const start = performance.now()
  await eventually('writes are held', () => client.topology?.holding === true)
  assert.equal(await client.call('INCR', 'n'), 2)
  const ms = performance.now() - start
  assert.ok(ms > 500 && ms < 3_000, `${ms} ms`)
  assert.equal(client.topology?.master, master.address)
})

test('an announcement that its own sentinel takes back holds writes no longer', async (t) => {
  const deployment = await scriptedDeployment(t)
  const { master, replicas, seeds } = deployment
  const [heir] = replicas
  assert.ok(heir)
  const client = clientOf(t, seeds)
  await client.call('INCR', 'n')
  await isQuiet(deployment)
  const seen: boolean[] = []
  client.on('topology', ({ holding }) => seen.push(holding))
  announce(deployment, master.address, heir.address)
  await eventually('writes were held', () => seen.includes(true))
  const start = performance.now()
  assert.equal(await client.call('INCR', 'n'), 2)
  assert.ok(performance.now() - start < 800)
})

test('events about other names hold nothing', async (t) => {
  const deployment = await scriptedDeployment(t)
  const { sentinels, seeds } = deployment
  const client = clientOf(t, seeds)
  await client.call('INCR', 'n')
  const [sentinel] = sentinels
  assert.ok(sentinel)
  await isQuiet(deployment)
  const asked = sentinel.questionCount
  sentinel.publish('+switch-master', 'other 10.0.0.1 1 10.0.0.2 2')
  sentinel.publish('+try-failover', 'master other 10.0.0.1 1')
  sentinel.publish('+new-epoch', '5')
  await sleep(60)
  assert.equal(sentinel.questionCount, asked)
  assert.equal(client.topology?.holding, false)
})

test('a refusal for the wrong role holds writes until it is known who is master', async (t) => {
  const deployment = await scriptedDeployment(t)
  const { master, replicas, seeds, sentinels } = deployment
  const [heir] = replicas
  assert.ok(heir)
  const client = clientOf(t, seeds)
  await client.call('INCR', 'n')
  for (const sentinel of sentinels) await eventually('listened to', () => sentinel.subscriberCount === 1)
  // it was demoted, and the sentinels have not said so yet
  master.role = slaveRole(heir.address)
  master.intercept = (command) =>
    command[0] === 'INCR' ? "-READONLY You can't write against a read only replica.\r\n" : 'pass'
  const refused = client.call('INCR', 'n')
  await eventually('writes are held', () => client.topology?.holding === true)
  const others = [1, 2, 3].map(() => client.call('INCR', 'n'))
  assert.equal(await isHeld(Promise.race([refused, ...others])), true)
  assert.equal(master.count('INCR'), 2, 'nothing but the one that was refused')
  promote(deployment, heir, 2)
  assert.deepEqual((await Promise.all([refused, ...others])).sort(), [1, 2, 3, 4])
  assert.equal(heir.value('n'), 4)
  assert.equal(master.count('INCR'), 2)
})

test('a refusal for the wrong role that its server takes back holds writes no longer', async (t) => {
  const { master, seeds } = await scriptedDeployment(t)
  const client = clientOf(t, seeds)
  let refusals = 1
  master.intercept = (command) =>
    command[0] === 'INCR' && refusals-- > 0 ? '-READONLY for a moment\r\n' : 'pass'
  assert.equal(await client.call('INCR', 'n'), 1)
  assert.equal(client.topology?.holding, false)
  assert.equal(client.topology?.generation, 1)
})

test('from the attempt of a failover to its abort writes wait, and reads do not', async (t) => {
  const { master, replicas, sentinels, seeds } = await scriptedDeployment(t)
  const client = clientOf(t, seeds, { readFrom: 'master' })
  await client.call('INCR', 'n')
  const [sentinel] = sentinels
  assert.ok(sentinel)
  await eventually('listened to', () => sentinel.subscriberCount === 1)
  sentinel.publish('+try-failover', `master m ${master.address.replace(':', ' ')}`)
  await eventually('writes are held', () => client.topology?.holding === true)
  const write = client.call('INCR', 'n')
  const lease = client.lease()
  assert.equal(await client.call('GET', 'k'), `k of ${master.address}`)
  assert.equal(await client.with({ readFrom: 'replica' }).call('GET', 'k'), `k of ${replicas[0]?.address}`)
  assert.equal(await isHeld(Promise.race([write, lease])), true)
  assert.equal(master.count('INCR'), 1)
  sentinel.publish('-failover-abort-not-elected', `master m ${master.address.replace(':', ' ')}`)
  assert.equal(await write, 2)
  await (await lease).close()
})

test('on request writes flow on while a failover is attempted', async (t) => {
  const { master, sentinels, seeds } = await scriptedDeployment(t)
  const client = clientOf(t, seeds, { sentinel: { name: 'm', sentinels: seeds, onFailover: 'flow' } })
  await client.call('INCR', 'n')
  const [sentinel] = sentinels
  assert.ok(sentinel)
  await eventually('listened to', () => sentinel.subscriberCount === 1)
  const asked = sentinel.questionCount
  sentinel.publish('+try-failover', `master m ${master.address.replace(':', ' ')}`)
  await eventually('the event has come', () => sentinel.questionCount > asked)
  assert.equal(await client.call('INCR', 'n'), 2)
})

test('the selected replica is adopted on its own word, and stays when the sentinels follow', async (t) => {
  const deployment = await scriptedDeployment(t, { replicas: 2 })
  const { master, replicas, sentinels, seeds } = deployment
  const [heir] = replicas
  const [leader] = sentinels
  assert.ok(heir && leader)
  const client = clientOf(t, seeds)
  const switches: SwitchEvent[] = []
  client.on('switch', (event) => switches.push(event))
  await client.call('INCR', 'n')
  await eventually('all is known', () => isWell(client.topology))
  await eventually('listened to', () => leader.subscriberCount === 1)
  const at = master.address.replace(':', ' ')
  leader.publish('+try-failover', `master m ${at}`)
  leader.publish('+selected-slave', `slave ${heir.address} ${heir.address.replace(':', ' ')} @ m ${at}`)
  await eventually('writes are held', () => client.topology?.holding === true)
  const write = client.call('INCR', 'n')
  assert.equal(await isHeld(write), true)
  heir.role = masterRole()
  assert.equal(await write, 1)
  assert.equal(heir.value('n'), 1)
  assert.equal(client.topology?.master, heir.address)
  // all sentinels still name the old one
  const asked = sentinels.map(({ questionCount }) => questionCount)
  leader.publish('+sdown', `master m ${at}`)
  await eventually('they have been asked', () =>
    sentinels.every(({ questionCount }, i) => questionCount > (asked[i] ?? 0)),
  )
  assert.equal(client.topology?.master, heir.address)
  promote(deployment, heir, 7)
  announce(deployment, master.address, heir.address)
  await eventually('the epoch is theirs', () => client.topology?.epoch === 7)
  assert.equal(client.topology?.generation, 2)
  assert.deepEqual(
    switches.map(({ early }) => early),
    [true],
  )
  assert.equal(await client.call('INCR', 'n'), 2)
  assert.equal(master.count('INCR'), 1)
})

test('a failover that is given up after the adoption is undone', async (t) => {
  const { master, replicas, sentinels, seeds } = await scriptedDeployment(t)
  const [heir] = replicas
  const [leader] = sentinels
  assert.ok(heir && leader)
  const client = clientOf(t, seeds)
  await client.call('INCR', 'n')
  await eventually('all is known', () => isWell(client.topology))
  await eventually('listened to', () => leader.subscriberCount === 1)
  const at = master.address.replace(':', ' ')
  heir.role = masterRole()
  leader.publish('+try-failover', `master m ${at}`)
  leader.publish('+selected-slave', `slave ${heir.address} ${heir.address.replace(':', ' ')} @ m ${at}`)
  await eventually('it is adopted', () => client.topology?.master === heir.address)
  leader.publish('-failover-abort-slave-timeout', `master m ${at}`)
  await eventually('the old one is back', () => client.topology?.master === master.address)
  assert.equal(client.topology?.epoch, 1)
  assert.equal(await client.call('INCR', 'n'), 2)
})

test('without a sentinel everything goes on as it was, and the topology says so', async (t) => {
  const { master, replicas, sentinels, seeds } = await scriptedDeployment(t)
  const client = clientOf(t, seeds, {
    readFrom: 'replica',
    sentinel: { name: 'm', sentinels: seeds, pollInterval: 30 },
  })
  assert.equal(await client.call('INCR', 'n'), 1)
  const ports = seeds.map((seed) => Number(seed.split(':')[1]))
  await Promise.all(sentinels.map(({ server }) => server.close()))
  await eventually('it is noticed', () => /no sentinel can be reached/.test(client.topology?.trouble ?? ''))
  assert.equal(await client.call('INCR', 'n'), 2)
  assert.equal(await client.call('GET', 'k'), `k of ${replicas[0]?.address}`)
  // the master's connection breaks: it is dialed again, without anybody to ask
  for (const peer of master.server.peers) peer.reset()
  await eventually('the connection is gone', () => client.stats().master?.connected === false)
  assert.equal(await client.call('INCR', 'n'), 3)
  const [knowledge] = sentinels.map((sentinel) => sentinel.knowledge)
  assert.ok(knowledge)
  await Promise.all(ports.map((port) => new ScriptedSentinel(knowledge).listen(t, port)))
  await eventually('they are found again', () => client.topology?.trouble === undefined)
})

test('sentinels that may not be subscribed to are polled', async (t) => {
  const deployment = await scriptedDeployment(t)
  const { master, replicas, sentinels, seeds } = deployment
  for (const sentinel of sentinels) sentinel.isMute = true
  const [heir] = replicas
  assert.ok(heir)
  const ha = sentinelOf(t, seeds, { pollInterval: 20 })
  await ha.ready()
  assert.equal(ha.topology.master, master.address)
  promote(deployment, heir, 2)
  await eventually('the switch is followed', () => ha.topology.master === heir.address)
})

test('sentinels that speak RESP2 are served by a second connection each', async (t) => {
  const deployment = await scriptedDeployment(t, { protocol: 2 })
  const { master, replicas, sentinels, seeds } = deployment
  const [heir] = replicas
  assert.ok(heir)
  const client = clientOf(t, seeds)
  await client.call('INCR', 'n')
  for (const sentinel of sentinels) {
    await eventually('each is listened to', () => sentinel.subscriberCount === 1)
    assert.equal(sentinel.server.openCount, 2)
  }
  promote(deployment, heir, 2)
  announce(deployment, master.address, heir.address)
  await eventually('the switch is followed', () => client.topology?.master === heir.address)
})

test('a replica that breaks is not read from until it is well; no read fails', async (t) => {
  const { master, replicas, seeds, say } = await scriptedDeployment(t, { replicas: 2 })
  const [one, two] = replicas
  assert.ok(one && two)
  const client = clientOf(t, seeds, { readFrom: 'prefer-replica' })
  await client.ready()
  await eventually('all is known', () => isWell(client.topology))
  const reads = () => Promise.all([1, 2, 3, 4].map(() => client.call('GET', 'k')))
  assert.deepEqual(new Set(await reads()), new Set([`k of ${one.address}`, `k of ${two.address}`]))
  one.intercept = (command, peer) => {
    if (command[0] !== 'GET') return 'pass'
    peer.reset()
    return undefined
  }
  const survivors = new Set(await reads())
  assert.deepEqual(survivors, new Set([`k of ${two.address}`]))
  two.intercept = one.intercept
  assert.deepEqual(new Set(await reads()), new Set([`k of ${master.address}`]))
  one.intercept = two.intercept = () => 'pass'
  await eventually('both are well again', () => isWell(client.topology, 2))
  assert.equal((await reads()).includes(`k of ${master.address}`), false)
  say({ replicas: [] })
})

test('a preference falls back to the other kind, a demand waits', async (t) => {
  const { master, replicas, seeds, sentinels, say } = await scriptedDeployment(t)
  const [replica] = replicas
  assert.ok(replica)
  const client = clientOf(t, seeds)
  await client.ready()
  await eventually('all is known', () => isWell(client.topology))
  const read = (readFrom: 'master' | 'prefer-master' | 'replica' | 'prefer-replica', timeout = 2_000) =>
    client.with({ readFrom, timeout }).call('GET', 'k')
  assert.equal(await read('master'), `k of ${master.address}`)
  assert.equal(await read('prefer-master'), `k of ${master.address}`)
  assert.equal(await read('replica'), `k of ${replica.address}`)
  assert.equal(await read('prefer-replica'), `k of ${replica.address}`)
  say({ replicas: [{ address: replica.address, flags: 'slave,s_down' }] })
  sentinels[0]?.publish('+sdown', `slave ${replica.address} 127.0.0.1 1 @ m 127.0.0.1 1`)
  await eventually('it is ruled out', () => client.topology?.replicas[0]?.reason === 's_down')
  assert.equal(await read('prefer-replica'), `k of ${master.address}`)
  await assert.rejects(read('replica', 60), { code: 'COMMAND_TIMEOUT' })
  const waiting = read('replica')
  say({ replicas: [{ address: replica.address }] })
  assert.equal(await waiting, `k of ${replica.address}`)
  await master.server.close()
  assert.equal(await read('prefer-master'), `k of ${replica.address}`)
})

test('after the end nothing is open, nothing is asked, and calls say so', async (t) => {
  for (const how of ['close', 'destroy'] as const) {
    const { master, replicas, sentinels, seeds } = await scriptedDeployment(t)
    const ha = sentinelOf(t, seeds, { pollInterval: 20 })
    await (await ha.master.get()).close()
    await ha[how]()
    const servers = [master, ...replicas, ...sentinels].map(({ server }) => server)
    await eventually('all connections are closed', () => servers.every(({ openCount }) => openCount === 0))
    for (const attempt of [ha.ready(), ha.master.get(), ha.replica.get()]) {
      await assert.rejects(attempt, { code: 'CLIENT_CLOSED' })
    }
    const connections = servers.map(({ peers }) => peers.length)
    await sleep(60)
    assert.deepEqual(
      servers.map(({ peers }) => peers.length),
      connections,
    )
    await ha.close()
  }
})

test('the end comes in any state: not started, searching, verifying', async (t) => {
  const { master, seeds, sentinels } = await scriptedDeployment(t)
  const idle: Sentinel = sentinelOf(t, seeds)
  await idle.close()
  await assert.rejects(idle.ready(), { code: 'CLIENT_CLOSED' })

  const searching = sentinelOf(t, seeds)
  const waiting = searching.ready()
  await searching.close()
  await assert.rejects(waiting, { code: 'CLIENT_CLOSED' })

  const silent = await scriptedServer(t, () => undefined)
  for (const sentinel of sentinels) sentinel.says({ master: silent.address })
  await using verifying = sentinelOf(t, seeds)
  const lease = verifying.master.get()
  await silent.until(() => silent.commands.length > 0)
  verifying.destroy()
  await assert.rejects(lease, { code: 'CLIENT_CLOSED' })
  await eventually('nothing is left', () => silent.openCount === 0)
  assert.equal(master.count('ROLE'), 0)
})

test('a signal ends the wait for a master', async (t) => {
  const { sentinels, seeds } = await scriptedDeployment(t)
  for (const sentinel of sentinels) sentinel.isSilent = true
  const ha = sentinelOf(t, seeds)
  const abort = new AbortController()
  const attempts = [ha.ready({ signal: abort.signal }), ha.master.get({ signal: abort.signal })]
  abort.abort()
  for (const attempt of attempts) await assert.rejects(attempt, { code: 'ABORT_ERR' })
})

test('writes that a master refused once flow again when it is one, though no sentinel can be asked', async (t) => {
  const { master, sentinels, seeds } = await scriptedDeployment(t)
  const client = clientOf(t, seeds)
  await client.call('INCR', 'n')
  for (const sentinel of sentinels) await sentinel.server.close()
  let refusals = 1
  master.intercept = (command) =>
    command[0] === 'INCR' && refusals-- > 0 ? '-READONLY for a moment\r\n' : 'pass'
  assert.equal(await client.call('INCR', 'n'), 2)
})

test('a wrong password of the servers is told at once, not at the deadline', async (t) => {
  const { master, seeds } = await scriptedDeployment(t)
  master.intercept = (command) =>
    command[0] === 'HELLO' ? '-WRONGPASS invalid username-password pair or user is disabled.\r\n' : 'pass'
  const client = clientOf(t, seeds, { password: 'hush-hush', commandTimeout: 20_000 })
  const startedAt = performance.now()
  for (let i = 0; i < 2; i += 1) {
    const error: unknown = await client.call('INCR', 'n').catch((reason: unknown) => reason)
    assert.ok(error instanceof SentinelError)
    assert.equal(error.code, 'MASTER_UNVERIFIED')
    assert.match(error.message, /WRONGPASS/)
    assert.ok(!error.message.includes('hush'))
  }
  assert.ok(performance.now() - startedAt < 5_000)
})

test('a sentinel that nobody names any more and that cannot be reached is forgotten', async (t) => {
  const deployment = await scriptedDeployment(t)
  const { sentinels, seeds } = deployment
  const [first, , third] = sentinels
  assert.ok(first && third)
  deployment.say({ sentinels: seeds })
  const client = clientOf(t, seeds.slice(0, 1), {
    sentinel: { name: 'm', sentinels: seeds.slice(0, 1), pollInterval: 20 },
  })
  await client.ready()
  const known = () => client.topology?.sentinels.map(({ address }) => address) ?? []
  await eventually('all three are found', () => known().length === 3)
  deployment.say({ sentinels: seeds.slice(0, 2) })
  await eventually('it stays while it can be reached', () => first.questionCount > 10)
  assert.equal(known().length, 3)
  await third.server.close()
  await eventually('two are left', () => known().length === 2)
  assert.ok(!known().includes(third.address))
})

test('a lease of a replica that is gone from the list ends with the client', async (t) => {
  const deployment = await scriptedDeployment(t)
  const client = clientOf(t, deployment.seeds, {
    sentinel: { name: 'm', sentinels: deployment.seeds, pollInterval: 20 },
  })
  await client.ready()
  await eventually('the replica is well', () => isWell(client.topology))
  const lease = await client.lease({ readFrom: 'replica' })
  deployment.say({ replicas: [] })
  await eventually('it is gone', () => client.topology?.replicas.length === 0)
  assert.equal(lease.error, undefined, 'who has it may finish')
  client.destroy()
  assert.ok(lease.error)
})

test('a replica that refuses the write of a lease is one, and is read from; one that is not ready is not', async (t) => {
  const deployment = await scriptedDeployment(t)
  const [replica] = deployment.replicas
  assert.ok(replica)
  const refusals: Record<string, string> = { SET: '-READONLY it is a replica', TTL: '-LOADING it is' }
  replica.intercept = ([name = '']) => {
    const refusal = refusals[name]
    return refusal === undefined ? 'pass' : `${refusal}\r\n`
  }
  const ha = sentinelOf(t, deployment.seeds, { readFrom: 'replica' })
  await ha.ready()
  await eventually('the replica is well', () => isWell(ha.topology))
  for (const lazy of [false, true]) {
    const lease = await ha.replica.get({ lazy })
    await assert.rejects(lease.call('SET', 'k', 'v'), () => {
      assert.equal(isWell(ha.topology), true)
      assert.equal(ha.topology.holding, false)
      return true
    })
    await assert.rejects(lease.call('TTL', 'k'), () => {
      assert.equal(isWell(ha.topology), false)
      return true
    })
    await lease.close()
    await eventually('it is well again', () => isWell(ha.topology))
  }
})

test('a thousand events are a few rounds of questions, and the first is asked at once', async (t) => {
  const deployment = await scriptedDeployment(t)
  const { master, replicas, sentinels, seeds } = deployment
  const [heir] = replicas
  const [sentinel] = sentinels
  assert.ok(heir && sentinel)
  const client = clientOf(t, seeds)
  await client.call('INCR', 'n')
  await isQuiet(deployment)
  const asked = sentinel.questionCount
  const start = performance.now()
  for (let i = 0; i < 1_000; i += 1) {
    sentinel.publish('+slave', `slave x 10.0.0.9 ${i + 1} @ m ${master.address.replace(':', ' ')}`)
    if (i % 50 === 49) await sleep(5)
  }
  const ms = performance.now() - start
  await isQuiet(deployment)
  const rounds = sentinel.questionCount - asked
  assert.ok(rounds >= 1 && rounds <= ms / 20 + 3, `${rounds} rounds in ${ms} ms`)
  // behind all of them, the one that matters is followed
  promote(deployment, heir, 2)
  announce(deployment, master.address, heir.address)
  await eventually('the switch is followed', () => client.topology?.master === heir.address)
})

test('where a majority is demanded, one sentinel alone changes nothing, and two do', async (t) => {
  const deployment = await scriptedDeployment(t)
  const { master, replicas, sentinels, seeds } = deployment
  const [heir] = replicas
  const [first, second] = sentinels
  assert.ok(heir && first && second)
  const ha = sentinelOf(t, seeds, { pollInterval: 20, agreement: 'majority' })
  await ha.ready()
  heir.role = masterRole()
  const news = { master: heir.address, epoch: 2 }
  first.says(news)
  const asked = first.questionCount
  await eventually('it has been asked a few times', () => first.questionCount > asked + 2)
  assert.equal(ha.topology.master, master.address)
  second.says(news)
  await eventually('the switch is followed', () => ha.topology.master === heir.address)
  assert.equal(ha.topology.epoch, 2)
})

test('where a majority is demanded, one sentinel that is named is enough to find the others', async (t) => {
  const { master, seeds, say } = await scriptedDeployment(t)
  say({ sentinels: seeds.slice(1) })
  const ha = sentinelOf(t, seeds.slice(0, 1), { agreement: 'majority' })
  await ha.ready()
  assert.equal(ha.topology.master, master.address)
  assert.equal(ha.topology.sentinels.length, 3)
})

test('without a majority where one is demanded, nothing is adopted at the start, and the error tells why', async (t) => {
  const { sentinels, seeds, master } = await scriptedDeployment(t)
  const [, second, third] = sentinels
  assert.ok(second && third)
  second.says({ epoch: 2 })
  third.isSilent = true
  const ha = sentinelOf(t, seeds, { agreement: 'majority', holdTimeout: 600 })
  await assert.rejects(ha.ready(), (error) => {
    assert.ok(error instanceof TimeoutError && error.cause instanceof SentinelError)
    assert.equal(error.cause.code, 'MASTER_UNVERIFIED')
    for (const seed of seeds) assert.ok(error.message.includes(seed))
    return true
  })
  assert.match(ha.topology.trouble ?? '', /no majority of the sentinels names one master/)
  assert.equal(master.count('ROLE'), 0)
  second.says({ epoch: 1 })
  await ha.ready()
})

test('where a majority is demanded, a master adopted early is kept by a majority, and by nothing less', async (t) => {
  const deployment = await scriptedDeployment(t, { replicas: 1 })
  const { master, replicas, sentinels, seeds } = deployment
  const [heir] = replicas
  const [leader, second] = sentinels
  assert.ok(heir && leader && second)
  const client = clientOf(t, seeds, { sentinel: { name: 'm', sentinels: seeds, agreement: 'majority' } })
  await client.call('INCR', 'n')
  await eventually('all is known', () => isWell(client.topology))
  await isQuiet(deployment)
  const at = master.address.replace(':', ' ')
  heir.role = masterRole()
  leader.publish('+try-failover', `master m ${at}`)
  leader.publish('+selected-slave', `slave ${heir.address} ${heir.address.replace(':', ' ')} @ m ${at}`)
  await eventually('it is adopted', () => client.topology?.master === heir.address)
  leader.says({ master: heir.address, epoch: 5 })
  leader.publish('+promoted-slave', `slave ${heir.address} ${heir.address.replace(':', ' ')} @ m ${at}`)
  await isQuiet(deployment)
  assert.equal(client.topology?.epoch, 2, 'the epoch is still a guess')
  second.says({ master: heir.address, epoch: 5 })
  announce(deployment, master.address, heir.address)
  await eventually('it is confirmed', () => client.topology?.epoch === 5)
  assert.equal(client.topology?.generation, 2)
})

test('a sentinel in TILT is not believed while others answer, and the topology tells', async (t) => {
  const deployment = await scriptedDeployment(t)
  const { master, replicas, sentinels, seeds } = deployment
  const [heir] = replicas
  const [tilted, ...others] = sentinels
  assert.ok(heir && tilted)
  const ha = sentinelOf(t, seeds)
  await ha.ready()
  await isQuiet(deployment)
  tilted.isTilted = true
  tilted.publish('+tilt', '#tilt mode entered')
  await eventually('it is told', () => ha.topology.sentinels[0]?.tilt === true)
  heir.role = masterRole()
  tilted.says({ master: heir.address, epoch: 2 })
  const asked = tilted.questionCount
  others[0]?.publish('+sentinel', 'sentinel x 10.0.0.9 1 @ m 10.0.0.1 1')
  await eventually('it has been asked', () => tilted.questionCount > asked)
  await isQuiet(deployment)
  assert.equal(ha.topology.master, master.address)
  tilted.isTilted = false
  tilted.publish('-tilt', '#tilt mode exited')
  await eventually('it is believed again', () => ha.topology.master === heir.address)
  assert.equal(ha.topology.sentinels[0]?.tilt, undefined)
})

test('sentinels that deliver no events are asked every second, however rare the poll', async (t) => {
  const deployment = await scriptedDeployment(t)
  const { replicas, sentinels, seeds } = deployment
  for (const sentinel of sentinels) sentinel.isMute = true
  const [heir] = replicas
  assert.ok(heir)
  const ha = sentinelOf(t, seeds, { pollInterval: 600_000 })
  await ha.ready()
  await eventually('all is known', () => isWell(ha.topology))
  await sleep(50)
  promote(deployment, heir, 2)
  const start = performance.now()
  await eventually('the switch is followed', () => ha.topology.master === heir.address)
  assert.ok(performance.now() - start < 2_000)
  for (const { forbidden } of ha.topology.sentinels) assert.deepEqual(forbidden, ['PSUBSCRIBE', 'SUBSCRIBE'])
})

test('sentinels that do not tell the epoch are followed when a majority agrees', async (t) => {
  const deployment = await scriptedDeployment(t)
  const { master, replicas, sentinels, seeds } = deployment
  for (const sentinel of sentinels) sentinel.forbidden = ['MASTER', 'SENTINELS', 'MYID', 'INFO']
  const [heir] = replicas
  const [first] = sentinels
  assert.ok(heir && first)
  const ha = sentinelOf(t, seeds, { pollInterval: 20 })
  await ha.ready()
  assert.equal(ha.topology.epoch, 0)
  heir.role = masterRole()
  first.says({ master: heir.address })
  const asked = first.questionCount
  await eventually('it has been asked a few times', () => first.questionCount > asked + 2)
  assert.equal(ha.topology.master, master.address)
  promote(deployment, heir, 2)
  await eventually('the switch is followed', () => ha.topology.master === heir.address)
  assert.deepEqual(ha.topology.sentinels[0]?.forbidden, [
    'SENTINEL MASTER',
    'SENTINEL SENTINELS',
    'SENTINEL MYID',
    'INFO',
  ])
})

/** What the sentinels and servers call each other, as if behind a router: 10.0.0.n for the n-th server. */
function behindNat({ master, replicas, sentinels }: ScriptedDeployment) {
  const inside = (index: number) => `10.0.0.${index + 1}:6379`
  const nodes = [master, ...replicas].map(({ address }, i) => [inside(i), address])
  const watching = sentinels.map(({ address }, i) => [`10.0.1.${i + 1}:26379`, address])
  return { inside, natMap: Object.fromEntries([...nodes, ...watching]) as Record<string, string> }
}

for (const kind of ['object', 'function'] as const) {
  test(`behind NAT all that is announced is translated, by ${kind}`, async (t) => {
    const deployment = await scriptedDeployment(t, { replicas: 2 })
    const { master, replicas, sentinels, seeds, say } = deployment
    const { inside, natMap } = behindNat(deployment)
    const [heir, other] = replicas
    const [leader] = sentinels
    assert.ok(heir && other && leader)
    say({
      master: inside(0),
      replicas: [{ address: inside(1) }, { address: inside(2) }],
      sentinels: ['10.0.1.1:26379', '10.0.1.2:26379', '10.0.1.3:26379'],
    })
    for (const replica of replicas) replica.role = slaveRole(inside(0))
    const client = clientOf(t, seeds.slice(0, 1), {
      sentinel: {
        name: 'm',
        sentinels: seeds.slice(0, 1),
        natMap: kind === 'object' ? natMap : (address) => natMap[address],
      },
    })
    await client.call('INCR', 'n')
    await eventually('all is known', () => isWell(client.topology, 2))
    await eventually('all sentinels are found', () => client.topology?.sentinels.length === 3)
    assert.deepEqual(
      client.topology?.replicas.map(({ address }) => address),
      replicas.map(({ address }) => address),
    )
    await isQuiet(deployment)
    // an early adoption, from events alone
    const at = inside(0).replace(':', ' ')
    heir.role = masterRole()
    leader.publish('+try-failover', `master m ${at}`)
    leader.publish('+selected-slave', `slave ${inside(1)} ${inside(1).replace(':', ' ')} @ m ${at}`)
    await eventually('it is adopted', () => client.topology?.master === heir.address)
    other.role = slaveRole(inside(1))
    say({ master: inside(1), epoch: 7, replicas: [{ address: inside(2) }, { address: inside(0) }] })
    leader.publish('+switch-master', `m ${at} ${inside(1).replace(':', ' ')}`)
    await eventually('it is confirmed', () => client.topology?.epoch === 7)
    assert.equal(client.topology?.generation, 2)
    await eventually('a replica follows it', () => isWell(client.topology))
    assert.equal(await client.call('INCR', 'n'), 1)
    assert.equal(master.count('INCR'), 1)
  })
}

test('a natMap that throws is told in the topology, and what is known goes on', async (t) => {
  const { sentinels, seeds } = await scriptedDeployment(t)
  let isBroken = true
  const natMap = (address: string) => {
    if (isBroken) throw new Error('no such host')
    return address
  }
  const client = clientOf(t, seeds, { sentinel: { name: 'm', sentinels: seeds, natMap, pollInterval: 30 } })
  const first = client.call('INCR', 'n')
  const trouble = () => client.topology?.trouble ?? ''
  await eventually('it is told', () => /option natMap threw for master .*: no such host/.test(trouble()))
  isBroken = false
  assert.equal(await first, 1)
  await eventually('there is no trouble any more', () => trouble() === '')
  isBroken = true
  sentinels[0]?.publish('+switch-master', 'm 10.0.0.1 1 10.0.0.2 2')
  await eventually('it is told again', () => /option natMap threw/.test(trouble()))
  assert.equal(await client.call('INCR', 'n'), 2)
})

test('a replica that calls its master by address, and sentinels by name, follow one master', async (t) => {
  const deployment = await scriptedDeployment(t)
  const { master, sentinels, seeds, say } = deployment
  const byName = master.address.replace('127.0.0.1', 'localhost')
  say({ master: byName })
  sentinels[2]?.says({ master: master.address })
  const ha = sentinelOf(t, seeds, { pollInterval: 20 })
  await ha.ready()
  await eventually('the replica is well', () => isWell(ha.topology))
  const known = ha.topology.master
  assert.ok(known === byName || known === master.address)
  // whoever answers alone
  for (const [i, sentinel] of sentinels.entries()) sentinel.isSilent = i < 2
  const asked = sentinels[2]?.questionCount ?? 0
  await eventually('one has been asked alone', () => (sentinels[2]?.questionCount ?? 0) > asked + 2)
  assert.deepEqual([ha.topology.master, ha.topology.generation], [known, 1])
})

test('a sentinel that names itself, or what is no address, is nobody to follow', async (t) => {
  const { sentinels, seeds, master } = await scriptedDeployment(t)
  const [liar] = sentinels
  assert.ok(liar)
  const ha = sentinelOf(t, seeds, { pollInterval: 20 })
  await ha.ready()
  const rounds = async () => {
    const asked = liar.questionCount
    await eventually('it has been asked a few times', () => liar.questionCount > asked + 2)
  }
  for (const address of ['h:99999', 'a b:1', ':1', 'h:0']) {
    liar.says({ master: address, epoch: 9 })
    await rounds()
    assert.equal(ha.topology.master, master.address)
    assert.equal(ha.topology.holding, false)
  }
  // with an epoch that nobody can have: it is believed, asked for its role, and not adopted
  liar.says({ master: liar.address, epoch: 10 })
  await eventually('it is found out', () => /but: /.test(ha.topology.trouble ?? ''))
  assert.equal(ha.topology.generation, 1)
  liar.says({ master: master.address, epoch: 1 })
  await eventually('it goes on', () => !ha.topology.holding)
})

test('a failover that was under way at the start holds writes until its end', async (t) => {
  const deployment = await scriptedDeployment(t)
  const { master, replicas, sentinels, seeds } = deployment
  const [leader] = sentinels
  const [heir] = replicas
  assert.ok(leader && heir)
  leader.flags = 'master,failover_in_progress'
  const client = clientOf(t, seeds)
  const write = client.call('INCR', 'n')
  await eventually('the master is known', () => client.topology?.master === master.address)
  assert.equal(await isHeld(write), true)
  assert.equal(client.topology?.holding, true)
  leader.flags = 'master'
  promote(deployment, heir, 2)
  announce(deployment, master.address, heir.address)
  assert.equal(await write, 1)
  assert.deepEqual([master.value('n'), heir.value('n')], [0, 1])
})

for (const refusal of ['READONLY', 'MASTERDOWN', 'LOADING', 'NOREPLICAS', 'a lost connection']) {
  test(`${refusal} is a reason to ask the sentinels at once`, async (t) => {
    const deployment = await scriptedDeployment(t, { replicas: 0 })
    const { master, sentinels, seeds } = deployment
    const [sentinel] = sentinels
    assert.ok(sentinel)
    const client = clientOf(t, seeds, { sentinel: { name: 'm', sentinels: seeds, pollInterval: 600_000 } })
    await client.call('INCR', 'n')
    await isQuiet(deployment)
    const asked = sentinel.questionCount
    let isFirst = true
    master.intercept = ([word], peer) => {
      if (word !== 'INCR' || !isFirst) return 'pass'
      isFirst = false
      if (refusal !== 'a lost connection') return `-${refusal} for a moment\r\n`
      peer.reset()
      return undefined
    }
    const attempt = client.call('INCR', 'n').catch(() => undefined)
    await eventually('the sentinels are asked', () => sentinel.questionCount > asked, { timeout: 500 })
    await attempt
    assert.equal(client.topology?.master, master.address)
  })
}

test('a failed dial of a lease is a reason to ask the sentinels at once', async (t) => {
  const deployment = await scriptedDeployment(t, { replicas: 0 })
  const { master, sentinels, seeds } = deployment
  const [sentinel] = sentinels
  assert.ok(sentinel)
  const ha = sentinelOf(t, seeds, { pollInterval: 600_000, holdTimeout: 300, pingInterval: 0 })
  await ha.ready()
  await isQuiet(deployment)
  const asked = sentinel.questionCount
  master.role = slaveRole('10.0.0.9:1')
  await assert.rejects(ha.master.get(), /says its role is slave/)
  assert.ok(sentinel.questionCount > asked)
})
