// Where reads go while replicas are slow, silent, behind, or come and go: scripted servers, the client's whole way.

import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Client, type ClientOptions, createClient } from '../../lib/client/index.ts'
import type { ReadCandidate, ReadChoice } from '../../lib/endpoint/index.ts'
import { Sentinel } from '../../lib/sentinel/index.ts'
import { eventually } from '../support/real-servers.ts'
import { array, bulk, integer, simple } from '../support/resp-writer.ts'
import type { Peer } from '../support/scripted-server.ts'
import {
  type ScriptedDeployment,
  type ScriptedNode,
  scriptedDeployment,
  slaveRole,
} from './scripted-deployment.ts'

async function clientOf(
  t: TestContext,
  { seeds, replicas }: ScriptedDeployment,
  options: ClientOptions = {},
): Promise<Client> {
  const client = createClient({ sentinel: { name: 'm', sentinels: seeds }, pingInterval: 0, ...options })
  t.after(() => client.destroy())
  await client.ready()
  await eventually('all are known', () => healthy(client) === replicas.length)
  return client
}

function healthy(client: Client): number {
  return client.topology?.replicas.filter((replica) => replica.healthy).length ?? 0
}

function stateOf(client: Client, node: ScriptedNode | undefined) {
  return client.topology?.replicas.find(({ address }) => address === node?.address)
}

/** Answers ROLE and GET so late. */
function late(node: ScriptedNode, ms: number): void {
  node.intercept = (command, peer) => {
    const answer =
      command[0] === 'ROLE' ? node.role : command[0] === 'GET' ? bulk(`k of ${node.address}`) : undefined
    if (answer === undefined || ms === 0) return 'pass'
    setTimeout(() => peer.isClosed || peer.send(answer), ms)
    return undefined
  }
}

function silent(node: ScriptedNode): void {
  node.intercept = () => undefined
}

/** Who answered so many reads, one after the other. */
async function readers(
  client: { call(name: string, key: string): Promise<unknown> },
  count = 12,
): Promise<Set<string>> {
  const answers = new Set<string>()
  for (let i = 0; i < count; i += 1) answers.add(String(await client.call('GET', 'k')).replace('k of ', ''))
  return answers
}

test('the nearest are those that answer fastest, the master among them', async (t) => {
  const deployment = await scriptedDeployment(t, { replicas: 2 })
  const { master, replicas } = deployment
  const [near, far] = replicas as [ScriptedNode, ScriptedNode]
  late(far, 40)
  const client = await clientOf(t, deployment, { readFrom: 'nearest' })
  await readers(client, 2) // wakes the watch
  const measured = () =>
    (stateOf(client, far)?.latency ?? 0) > 20 && stateOf(client, near)?.latency !== undefined
  await eventually('they are measured', measured)
  const both = new Set([master.address, near.address])
  await eventually('both are near', async () => new Set([...(await readers(client)), ...both]).size === 2)
  await eventually('they take turns', async () => (await readers(client)).size === 2)
  late(near, 40)
  // one late answer of the master's, on a busy machine, and both are near again
  await eventually('it is found slow', async () => [...(await readers(client))].join() === master.address)
  late(near, 0)
  late(far, 0)
  late(master, 40)
  await eventually('the master is found slow', async () => !(await readers(client, 4)).has(master.address))
  await master.server.close()
  assert.equal((await readers(client)).has(master.address), false)
})

test('a function is shown who may serve, frozen, and gets whom it chooses', async (t) => {
  const deployment = await scriptedDeployment(t, { replicas: 2 })
  const { master, replicas, say, sentinels } = deployment
  const [one, two] = replicas as [ScriptedNode, ScriptedNode]
  const client = await clientOf(t, deployment)
  let seen: readonly ReadCandidate[] = []
  const choice: ReadChoice = (candidates) => {
    seen = candidates
    return candidates.find(({ address }) => address === two.address)
  }
  const view = client.with({ readFrom: choice })
  assert.deepEqual(await readers(view), new Set([two.address]))
  assert.deepEqual(
    seen.map(({ address, role }) => `${role} ${address}`).sort(),
    [`master ${master.address}`, `replica ${one.address}`, `replica ${two.address}`].sort(),
  )
  assert.ok(Object.isFrozen(seen) && seen.every(Object.isFrozen))
  await eventually('all is measured', async () => {
    await readers(view, 1)
    return seen.every(({ latency, lag }) => latency !== undefined && lag !== undefined && lag < 1_000)
  })
  assert.deepEqual(
    seen.map(({ load }) => load),
    [0, 0, 0],
  )
  await client.use((lease) => assert.equal(lease.connection.address, two.address), { readFrom: choice })
  // who may not serve is not shown; with nobody chosen, the read waits
  say({ replicas: [{ address: one.address }, { address: two.address, flags: 'slave,s_down' }] })
  sentinels[0]?.publish('+sdown', `slave ${two.address} 127.0.0.1 1 @ m 127.0.0.1 1`)
  await eventually('it is ruled out', () => stateOf(client, two)?.reason === 's_down')
  await assert.rejects(client.with({ readFrom: choice, timeout: 50 }).call('GET', 'k'), {
    code: 'COMMAND_TIMEOUT',
  })
  const waiting = view.call('GET', 'k')
  say({ replicas: [{ address: one.address }, { address: two.address }] })
  sentinels[0]?.publish('-sdown', `slave ${two.address} 127.0.0.1 1 @ m 127.0.0.1 1`)
  assert.equal(await waiting, `k of ${two.address}`)
})

test('a function that throws, or chooses what is not there, fails its command and nothing else', async (t) => {
  const deployment = await scriptedDeployment(t)
  const client = await clientOf(t, deployment)
  const cause = new Error('mine')
  const thrower = (): never => {
    throw cause
  }
  const failing: ReadChoice[] = [
    thrower,
    () => 'x' as never,
    (async () => undefined) as never,
    ([one]) => ({ ...one }) as never,
  ]
  for (const readFrom of failing) {
    await assert.rejects(client.with({ readFrom }).call('GET', 'k'), TypeError)
    await assert.rejects(client.lease({ readFrom }), TypeError)
    assert.equal(await client.with({ readFrom }).call('SET', 'k', 'v'), 'OK', 'writes are not asked about')
  }
  await assert.rejects(
    client.with({ readFrom: thrower }).call('GET', 'k'),
    (error: Error) => error.cause === cause,
  )
  assert.equal(
    await client.with({ readFrom: 'replica' }).call('GET', 'k'),
    `k of ${deployment.replicas[0]?.address}`,
  )
})

test('when all replicas are away, so many reads are at the master and no more; the others go as those come back', async (t) => {
  const deployment = await scriptedDeployment(t, { replicas: 1 })
  const { master, replicas, say, sentinels } = deployment
  const [replica] = replicas as [ScriptedNode]
  const client = await clientOf(t, deployment, { readFrom: 'prefer-replica', masterFallback: 3 })
  say({ replicas: [{ address: replica.address, flags: 'slave,s_down' }] })
  sentinels[0]?.publish('+sdown', `slave ${replica.address} 127.0.0.1 1 @ m 127.0.0.1 1`)
  await eventually('it is ruled out', () => stateOf(client, replica)?.reason === 's_down')
  const open: Peer[] = []
  master.intercept = (command, peer) => {
    if (command[0] !== 'GET') return 'pass'
    open.push(peer)
    return undefined
  }
  const reads = Array.from({ length: 8 }, () => client.call('GET', 'k'))
  await eventually('three have come', () => open.length === 3)
  const nearby = client.with({ readFrom: 'nearest', timeout: 60 }).call('GET', 'k')
  await assert.rejects(nearby, /no turn at the master for a read without a replica within 60 ms.*s_down/)
  assert.equal(open.length, 3)
  const own = client.with({ readFrom: 'master' }).call('GET', 'k')
  await eventually('what is meant for the master is not held up', () => open.length === 4)
  for (let answered = 0; answered < 9; answered += 1) {
    await eventually('there is one', () => open.length > 0)
    assert.ok(open.length <= 4)
    open.shift()?.send(bulk('x'))
  }
  assert.deepEqual(new Set(await Promise.all([own, ...reads])), new Set(['x']))
  // where there is no replica at all, the master is no makeshift
  say({ replicas: [] })
  sentinels[0]?.publish('+slave', `slave ${replica.address} 127.0.0.1 1 @ m 127.0.0.1 1`)
  await eventually('there is none', () => client.topology?.replicas.length === 0)
  const many = Array.from({ length: 8 }, () => client.call('GET', 'k'))
  await eventually('all have come', () => open.length === 8)
  for (const peer of open) peer.send(bulk('y'))
  await Promise.all(many)
})

test('reads that are released all at once do not get past the budget together', async (t) => {
  const deployment = await scriptedDeployment(t, { replicas: 1 })
  const { master, replicas, say } = deployment
  const [replica] = replicas as [ScriptedNode]
  say({ replicas: [{ address: replica.address, flags: 'slave,s_down' }] })
  const options = { sentinel: { name: 'm', sentinels: deployment.seeds }, masterFallback: 5, pingInterval: 0 }
  const client = createClient({ ...options, readFrom: 'prefer-replica' })
  t.after(() => client.destroy())
  const open: Peer[] = []
  master.intercept = (command, peer) => {
    if (command[0] !== 'GET') return 'pass'
    open.push(peer)
    return undefined
  }
  // they all wait for the master to be found
  const reads = Array.from({ length: 50 }, () => client.call('GET', 'k'))
  await eventually('the replica is known', () => client.topology?.replicas.length === 1)
  await sleep(50)
  assert.ok(open.length <= 5, `${open.length} at a time`)
  for (let answered = 0; answered < 50; answered += 1) {
    await eventually('there is one', () => open.length > 0)
    assert.ok(open.length <= 5, `${open.length} at a time`)
    open.shift()?.send(bulk('x'))
  }
  await Promise.all(reads)
})

test('what waits for its turn at the master ends with the client, and goes to a replica that comes back', async (t) => {
  for (const end of ['destroy', 'return'] as const) {
    const deployment = await scriptedDeployment(t, { replicas: 1 })
    const { master, replicas, say, sentinels } = deployment
    const [replica] = replicas as [ScriptedNode]
    const client = await clientOf(t, deployment, { readFrom: 'prefer-replica', masterFallback: 1 })
    say({ replicas: [{ address: replica.address, flags: 'slave,s_down' }] })
    sentinels[0]?.publish('+sdown', `slave ${replica.address} 127.0.0.1 1 @ m 127.0.0.1 1`)
    await eventually('it is ruled out', () => stateOf(client, replica)?.reason === 's_down')
    master.intercept = (command) => (command[0] === 'GET' ? undefined : 'pass')
    const first = client.call('GET', 'k').catch((error: unknown) => error)
    const second = client.call('GET', 'k').catch((error: unknown) => error)
    await eventually('one has come', () => master.count('GET') === 1)
    if (end === 'destroy') client.destroy()
    else {
      say({ replicas: [{ address: replica.address }] })
      sentinels[0]?.publish('-sdown', `slave ${replica.address} 127.0.0.1 1 @ m 127.0.0.1 1`)
    }
    const outcome = await second
    if (end === 'destroy') assert.match(String(outcome), /closed|destroyed/)
    else assert.equal(outcome, `k of ${replica.address}`)
    client.destroy()
    await first
  }
})

test('a silent replica is left after a quarter of a second, and its reads move; another one soon after keeps its own', async (t) => {
  const deployment = await scriptedDeployment(t, { replicas: 2 })
  const { master } = deployment
  const [one, two] = deployment.replicas as [ScriptedNode, ScriptedNode]
  const client = await clientOf(t, deployment, { readFrom: 'prefer-replica' })
  await readers(client, 2)
  silent(one)
  const startedAt = performance.now()
  const answers = await Promise.all(Array.from({ length: 6 }, () => client.call('GET', 'k')))
  const tookMs = performance.now() - startedAt
  assert.deepEqual(new Set(answers), new Set([`k of ${two.address}`]))
  assert.ok(tookMs >= 400 && tookMs < 1_500, `they took ${tookMs} ms`)
  assert.equal(stateOf(client, one)?.healthy, false)
  // whatever kept it busy must not go round: the next one that is silent is not read from, but keeps what it has
  silent(two)
  const stuck = client.with({ timeout: 1_500 }).call('GET', 'k')
  await eventually('it is left', () => stateOf(client, two)?.healthy === false)
  assert.deepEqual(await readers(client, 4), new Set([master.address]))
  await assert.rejects(stuck, { code: 'COMMAND_TIMEOUT' })
  one.intercept = two.intercept = () => 'pass'
  await eventually('both are back', () => healthy(client) === 2)
})

test('a silent replica keeps its reads when there is nobody to take them', async (t) => {
  const deployment = await scriptedDeployment(t, { replicas: 1 })
  const [replica] = deployment.replicas as [ScriptedNode]
  const client = await clientOf(t, deployment, { readFrom: 'replica' })
  await readers(client, 2)
  await deployment.master.server.close()
  let asked: Peer | undefined
  replica.intercept = (command, peer) => {
    if (command[0] === 'GET') asked = peer
    return undefined
  }
  const read = client.call('GET', 'k')
  await sleep(900)
  asked?.send(replica.role) // of the question that came before
  asked?.send(bulk('late'))
  const answers = await Promise.race([read, sleep(1_000, 'nothing')])
  assert.notEqual(answers, 'nothing')
})

test('who is much slower than the others is left out, comes back when it is not; half of them stay', async (t) => {
  const deployment = await scriptedDeployment(t, { replicas: 3 })
  const [slow, other, third] = deployment.replicas as [ScriptedNode, ScriptedNode, ScriptedNode]
  const client = await clientOf(t, deployment, { readFrom: 'replica' })
  await readers(client, 3)
  late(slow, 80)
  await eventually('it is left out', () => /slower than the others/.test(stateOf(client, slow)?.reason ?? ''))
  assert.deepEqual(await readers(client), new Set([other.address, third.address]))
  late(other, 80)
  await sleep(1_500)
  assert.equal(client.topology?.replicas.filter((replica) => replica.healthy).length, 2, 'not more than half')
  late(slow, 0)
  late(other, 0)
  await eventually('all are back', () => healthy(client) === 3, { timeout: 20_000 })
})

test('one that fails again and again is left out for longer, and read from when there is nobody else', async (t) => {
  const deployment = await scriptedDeployment(t, { replicas: 1 })
  const [replica] = deployment.replicas as [ScriptedNode]
  const client = await clientOf(t, deployment, { readFrom: 'prefer-replica' })
  let failures = 0
  replica.intercept = (command, peer) => {
    if (command[0] !== 'GET' || failures >= 8) return 'pass'
    failures += 1
    peer.reset()
    return undefined
  }
  const reasons = new Set<string>()
  client.on('topology', ({ replicas }) => reasons.add(String(replicas[0]?.reason)))
  await eventually('it has failed often', async () => {
    await client.call('GET', 'k') // at the master, then: none fails
    return /\(\d+ times in a row\)/.test(stateOf(client, replica)?.reason ?? '')
  })
  failures = 8
  const demand = client.with({ readFrom: 'replica', timeout: 1_000 })
  assert.deepEqual(await readers(demand, 3), new Set([replica.address]))
})

test('what was known long ago is not relied on: the first read looks first', async (t) => {
  const deployment = await scriptedDeployment(t, { replicas: 1 })
  const { master, replicas } = deployment
  const [replica] = replicas as [ScriptedNode]
  const client = await clientOf(t, deployment)
  for (let asked = -1; asked !== replica.count('ROLE'); ) {
    asked = replica.count('ROLE') // a client that has just started looks again a second later
    await sleep(1_200)
  }
  replica.role = slaveRole(master.address, 'sync')
  assert.equal(stateOf(client, replica)?.healthy, true, 'nobody has asked')
  assert.equal(await client.with({ readFrom: 'prefer-replica' }).call('GET', 'k'), `k of ${master.address}`)
  assert.equal(stateOf(client, replica)?.reason, 'its link is sync')
  replica.role = slaveRole(master.address)
  assert.equal(await client.with({ readFrom: 'replica' }).call('GET', 'k'), `k of ${replica.address}`)
})

test('nobody looks after the replicas of a client that does not read from them', async (t) => {
  const deployment = await scriptedDeployment(t, { replicas: 1 })
  const [replica] = deployment.replicas as [ScriptedNode]
  const client = await clientOf(t, deployment)
  await client.call('GET', 'k')
  await client.call('SET', 'k', 'v')
  let asked = -1
  while (asked !== replica.count('ROLE')) {
    asked = replica.count('ROLE')
    await sleep(200) // until the start is over
  }
  await sleep(600)
  assert.equal(replica.count('ROLE'), asked)
  assert.equal(stateOf(client, replica)?.latency, undefined)
})

test('a lease that was waited for is not one of a replica that lost its master meanwhile', async (t) => {
  const deployment = await scriptedDeployment(t, { replicas: 1 })
  const { master, replicas, seeds } = deployment
  const [replica] = replicas as [ScriptedNode]
  const ha = new Sentinel({ name: 'm', sentinels: seeds, pool: { maxActive: 1, maxIdle: 1, wait: true } })
  t.after(() => ha.destroy())
  await ha.ready()
  await eventually('it is known', () => ha.topology.replicas[0]?.healthy === true)
  const first = await ha.replica.get()
  assert.equal(first.connection.address, replica.address)
  const second = ha.replica.get()
  replica.role = slaveRole(master.address, 'connect')
  await eventually('it is found out', () => ha.topology.replicas[0]?.healthy === false)
  await first.close()
  assert.equal((await second).connection.address, master.address)
  await (await second).close()
})

test('with maxStaleness, a replica that is behind for longer is not read from, nor is any while the master is away', async (t) => {
  const deployment = await scriptedDeployment(t, { replicas: 1 })
  const { master, replicas } = deployment
  const [replica] = replicas as [ScriptedNode]
  const client = await clientOf(t, deployment, { readFrom: 'prefer-replica', maxStaleness: 60 })
  await eventually('it is known to be fresh', async () => (await readers(client, 1)).has(replica.address))
  const offset = (node: ScriptedNode, value: number) => {
    node.role =
      node === master
        ? array(bulk('master'), integer(value), array())
        : array(bulk('slave'), bulk('127.0.0.1'), integer(master.port), bulk('connected'), integer(value))
  }
  offset(master, 20)
  const from = performance.now()
  await eventually('it is left', async () => (await readers(client, 1)).has(master.address))
  assert.ok(performance.now() - from < 500)
  assert.deepEqual(
    await readers(client.with({ maxStaleness: 0 })),
    new Set([replica.address]),
    'for others it will do',
  )
  assert.deepEqual(await client.pipeline().get('k').exec(), [`k of ${master.address}`])
  assert.deepEqual(await client.with({ maxStaleness: 0 }).pipeline().get('k').exec(), [
    `k of ${replica.address}`,
  ])
  const demand = client.with({ readFrom: 'replica', timeout: 100 })
  await assert.rejects(demand.call('GET', 'k'), { code: 'COMMAND_TIMEOUT' })
  const waiting = client.with({ readFrom: 'replica' }).call('GET', 'k')
  offset(replica, 20)
  assert.equal(await waiting, `k of ${replica.address}`)
  await eventually('it is fresh again', async () => (await readers(client, 1)).has(replica.address))
  await master.server.close()
  await sleep(200)
  await assert.rejects(client.with({ timeout: 100 }).call('GET', 'k'), { code: 'COMMAND_TIMEOUT' })
  assert.deepEqual(await readers(client.with({ maxStaleness: 0 })), new Set([replica.address]))
})

test('a view’s maxStaleness is checked at once, and goes with the view', async (t) => {
  const deployment = await scriptedDeployment(t)
  const client = await clientOf(t, deployment)
  for (const maxStaleness of [5, -1, Number.NaN])
    assert.throws(() => client.with({ maxStaleness }), RangeError)
  assert.throws(() => client.with({ maxStaleness: '1' as never }), TypeError)
  const view = client.with({ maxStaleness: 500 }).with({ readFrom: 'prefer-replica' })
  assert.equal((await readers(view, 2)).size, 1)
})

test('a view’s maxStaleness holds for its pipelines, transactions and iterators as well', async (t) => {
  const deployment = await scriptedDeployment(t, { replicas: 1 })
  const { master, replicas } = deployment
  const [replica] = replicas as [ScriptedNode]
  const servedBy: string[] = []
  for (const node of [master, replica]) {
    node.intercept = ([name = '']) => {
      if (name === 'SCAN' || name === 'EXEC') servedBy.push(node.address)
      if (name === 'SCAN') return array(bulk('0'), array())
      if (name === 'MULTI') return simple('OK')
      return name === 'EXEC' ? array(bulk('v')) : 'pass'
    }
  }
  const client = await clientOf(t, deployment, { readFrom: 'prefer-replica' })
  const bounded = client.with({ maxStaleness: 60 })
  await eventually('it is known to be fresh', async () => (await readers(bounded, 1)).has(replica.address))
  // the replica is at 10, and stays there
  master.role = array(bulk('master'), integer(20), array())
  await eventually('it is left', async () => (await readers(bounded, 1)).has(master.address))
  for (const [view, from] of [
    [bounded, master],
    [client.with({ maxStaleness: 0 }), replica],
  ] as const) {
    assert.deepEqual(await view.pipeline().get('k').exec(), [`k of ${from.address}`])
    await view.multi().get('k').exec()
    await view.scanIterator().next()
    assert.deepEqual(servedBy.splice(0), [from.address, from.address])
  }
})
