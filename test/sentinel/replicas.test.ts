// Which replicas are read from, and which of them: by what sentinels list and what the replicas say themselves.

import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { Endpoint } from '../../lib/endpoint/index.ts'
import { ConnectionError } from '../../lib/errors.ts'
import type { MasterView } from '../../lib/sentinel/replica.ts'
import { Replicas } from '../../lib/sentinel/replicas.ts'
import { splitAddress } from '../../lib/sentinel/replies.ts'
import { eventually } from '../support/real-servers.ts'
import { array, bulk, error, integer, nullBulk } from '../support/resp-writer.ts'
import { masterRole, ScriptedNode, slaveRole } from './scripted-deployment.ts'

const MASTER = '127.0.0.1:1'
const isMaster = (address: string) => address === MASTER
const up = { address: MASTER, isMaster, isUp: true, isSole: true }
const away = { address: MASTER, isMaster, isUp: false, isSole: true }
const deposed = { address: MASTER, isMaster, isUp: false, isSole: false }
const fenced = new ConnectionError('FENCED', 'replaced', { address: 'it', phase: 'ready' })

/** Replicas of a master that is up, until {@link look} says otherwise. */
class TestReplicas extends Replicas {
  readonly view: { master: MasterView; changes: number }

  constructor(withinMs: number) {
    const view = { master: up as MasterView, changes: 0 }
    super({
      open: (address) =>
        new Endpoint(address, {
          connection: { ...splitAddress(address), commandTimeout: 2_000 },
          pool: { maxIdle: 1, maxActive: 0 },
          pingInterval: 0,
          suspectAfter: 250,
          maxHeld: 100,
          maxHeldBytes: 10_000,
        }),
      master: () => view.master,
      withinMs,
      onChange: () => {
        view.changes += 1
      },
    })
    this.view = view
  }
}

function replicasOf(t: TestContext, withinMs = 2_000): TestReplicas {
  const replicas = new TestReplicas(withinMs)
  t.after(() => replicas.destroy(new Error('the test is over')))
  return replicas
}

function look(
  replicas: TestReplicas,
  listed: readonly Map<string, string>[],
  master: MasterView,
): Promise<void> {
  replicas.view.master = master
  return replicas.refresh(listed)
}

function fields(address: string, others: Readonly<Record<string, string>> = {}): Map<string, string> {
  const { host, port } = splitAddress(address)
  return new Map(Object.entries({ ip: host, port: String(port), flags: 'slave', ...others }))
}

/** Why the only replica is not read from. */
function reasonOf(replicas: TestReplicas): string | undefined {
  const [state, ...others] = replicas.states
  assert.ok(state !== undefined && others.length === 0)
  assert.equal(state.healthy, state.reason === undefined)
  assert.equal(replicas.isWell, state.healthy)
  assert.equal(replicas.pick()?.address, state.healthy ? state.address : undefined)
  return state.reason
}

test('a replica is well by what it says itself, and by how it and its master were before', async (t) => {
  const follows = (link: string) => slaveRole(MASTER, link)
  const rows: [
    why: string,
    wasInStep: boolean,
    view: MasterView,
    role: Buffer,
    reason: RegExp | undefined,
  ][] = [
    ['in step', false, up, follows('connected'), undefined],
    ['in step, master away', false, away, follows('connected'), undefined],
    ['syncing', true, up, follows('sync'), /its link is sync/],
    ['syncing, master away', true, away, follows('sync'), /its link is sync/],
    ['link lost', true, up, follows('connect'), /its link is connect/],
    ['link lost, connecting', true, up, follows('connecting'), /its link is connecting/],
    ['link lost since the master is away', true, away, follows('connect'), undefined],
    ['link lost since the master is away, connecting', true, away, follows('connecting'), undefined],
    ['never in step, master away', false, away, follows('connect'), /its link is connect/],
    [
      'link lost, and somebody else may be the master',
      true,
      deposed,
      follows('connect'),
      /its link is connect/,
    ],
    ['promoted, not announced', true, away, masterRole(), undefined],
    ['promoted, and somebody else may be the master', true, deposed, masterRole(), /says it is a master/],
    ['a second master', true, up, masterRole(), /says it is a master/],
    ['a stranger that is a master', false, away, masterRole(), /says it is a master/],
    ["another master's", true, up, slaveRole('127.0.0.1:2'), /follows 127\.0\.0\.1:2/],
    ["another master's, ours away", true, away, slaveRole('127.0.0.1:2'), /follows 127\.0\.0\.1:2/],
    [
      'no master to follow',
      false,
      up,
      array(bulk('slave'), bulk(''), bulk('0'), bulk('none')),
      /follows undefined/,
    ],
    ['a sentinel', false, up, array(bulk('sentinel'), array(bulk('m'))), /says it is sentinel/],
    ['garbage', true, away, nullBulk(), /says it is undefined/],
    ['an error', true, up, error('LOADING Redis is loading'), /LOADING/],
  ]
  for (const [why, wasInStep, view, role, reason] of rows) {
    const node = await new ScriptedNode(follows('connected')).listen(t)
    const replicas = replicasOf(t)
    if (wasInStep) {
      await look(replicas, [fields(node.address)], up)
      assert.equal(reasonOf(replicas), undefined)
    }
    node.role = role
    await look(replicas, [fields(node.address)], view)
    if (reason === undefined) assert.equal(reasonOf(replicas), undefined, why)
    else assert.match(reasonOf(replicas) ?? '', reason, why)
  }
})

test('a replica that the sentinels rule out is not even asked', async (t) => {
  const node = await new ScriptedNode(slaveRole(MASTER)).listen(t)
  const rows: [flags: string, reason: string | undefined][] = [
    ['slave,s_down', 's_down'],
    ['o_down,slave', 'o_down'],
    ['slave,disconnected', 'disconnected'],
    ['s_down,slave,disconnected', 's_down'],
    ['slave,master_down', 'master_down'],
    ['slave,promoted', undefined],
    ['', undefined],
  ]
  for (const [flags, reason] of rows) {
    const replicas = replicasOf(t)
    const before = node.count('ROLE')
    await look(replicas, [fields(node.address, { flags })], up)
    assert.equal(reasonOf(replicas), reason, flags)
    assert.equal(node.count('ROLE') - before, reason === undefined ? 1 : 0)
  }
})

test('without flags or with others, the replica itself decides', async (t) => {
  const node = await new ScriptedNode(slaveRole(MASTER)).listen(t)
  const replicas = replicasOf(t)
  const listed = fields(node.address)
  listed.delete('flags')
  await look(replicas, [listed], up)
  assert.equal(reasonOf(replicas), undefined)
})

test('who hides, has no address or is the master itself is no replica', async (t) => {
  const node = await new ScriptedNode(slaveRole(MASTER)).listen(t)
  const replicas = replicasOf(t)
  const listed = [
    fields(node.address, { 'replica-announced': '0' }),
    fields(MASTER),
    new Map([['ip', '127.0.0.1']]),
    new Map<string, string>(),
  ]
  await look(replicas, listed, up)
  assert.deepEqual(replicas.states, [])
  assert.equal(replicas.isWell, true)
  assert.equal(replicas.pick(), undefined)
  assert.equal(node.server.peers.length, 0)
  await look(replicas, [fields(node.address, { 'replica-announced': '1' })], up)
  assert.equal(replicas.has(node.address), true)
})

test('a replica that cannot be asked within the bound is not read from, and the reason is told', async (t) => {
  const node = await new ScriptedNode().listen(t)
  node.intercept = () => undefined
  const replicas = replicasOf(t, 50)
  const start = performance.now()
  await look(replicas, [fields(node.address)], up)
  assert.ok(performance.now() - start < 1_000)
  assert.match(reasonOf(replicas) ?? '', new RegExp(`no connection to ${node.address} within 50 ms`))
})

test('a replica keeps its connection from one refresh to the next, and loses it when it is no longer listed', async (t) => {
  const [stays, goes] = [
    await new ScriptedNode(slaveRole(MASTER)).listen(t),
    await new ScriptedNode(slaveRole(MASTER)).listen(t),
  ]
  const replicas = replicasOf(t)
  const both = [fields(stays.address), fields(goes.address)]
  await look(replicas, both, up)
  const [first, second] = replicas.endpoints
  await look(replicas, both, up)
  assert.deepEqual([...replicas.endpoints], [first, second])
  assert.equal(stays.server.peers.length + goes.server.peers.length, 2)
  const inFlight = second?.execute(['GET', 'k'])
  await look(replicas, [fields(stays.address)], up)
  assert.deepEqual(replicas.endpoints, [first])
  assert.equal(await inFlight, `k of ${goes.address}`, 'what is in flight is finished')
  await goes.server.until(() => goes.server.openCount === 0)
  assert.equal(replicas.has(goes.address), false)
})

test('reads go where the least is under way; equals take turns', async (t) => {
  const nodes = await Promise.all([1, 2, 3].map(() => new ScriptedNode(slaveRole(MASTER)).listen(t)))
  const replicas = replicasOf(t)
  await look(
    replicas,
    nodes.map(({ address }) => fields(address)),
    up,
  )
  const picks = Array.from({ length: 6 }, () => replicas.pick()?.address)
  assert.deepEqual(new Set(picks.slice(0, 3)), new Set(nodes.map(({ address }) => address)))
  assert.deepEqual(picks.slice(3), picks.slice(0, 3))
  const [busy, idle, other] = replicas.endpoints
  for (const node of nodes) node.intercept = (command) => (command[0] === 'GET' ? undefined : 'pass')
  const hanging = [
    busy?.execute(['GET', '1']),
    busy?.execute(['GET', '2']),
    other?.execute(['GET', '3']),
  ].map((reply) => reply?.catch(() => undefined))
  assert.deepEqual([busy?.load, idle?.load, other?.load], [2, 0, 1])
  for (let i = 0; i < 6; i += 1) assert.equal(replicas.pick(), idle)
  const leases = await Promise.all([1, 2].map(() => idle?.pool.get()))
  for (let i = 0; i < 6; i += 1) assert.equal(replicas.pick(), other, 'a lease counts too')
  await Promise.all(leases.map((lease) => lease?.close()))
  replicas.destroy(fenced)
  await Promise.all(hanging)
})

test('a doubted replica is left alone until it is found well again', async (t) => {
  const [one, two] = [
    await new ScriptedNode(slaveRole(MASTER)).listen(t),
    await new ScriptedNode(slaveRole(MASTER)).listen(t),
  ]
  const replicas = replicasOf(t)
  const both = [fields(one.address), fields(two.address)]
  await look(replicas, both, up)
  const [first, second] = replicas.endpoints as [Endpoint, Endpoint]
  assert.equal(replicas.doubt(first, 'it broke'), true)
  assert.equal(replicas.doubt(first, 'it broke again'), false, 'that is no news')
  assert.deepEqual(replicas.states[0], { address: one.address, healthy: false, reason: 'it broke' })
  assert.equal(replicas.isWell, false)
  for (let i = 0; i < 4; i += 1) assert.equal(replicas.pick(), second)
  await look(replicas, both, up)
  assert.equal(replicas.isWell, true)
  // an endpoint that was replaced says nothing of its successor
  replicas.remove(one.address, fenced)
  await look(replicas, both, up)
  assert.equal(replicas.doubt(first, 'late'), false)
  assert.equal(replicas.isWell, true)
})

test('a replica that is taken out is fenced', async (t) => {
  const node = await new ScriptedNode(slaveRole(MASTER)).listen(t)
  const replicas = replicasOf(t)
  await look(replicas, [fields(node.address)], up)
  const [endpoint] = replicas.endpoints
  replicas.remove(node.address, fenced)
  assert.equal(endpoint?.error, fenced)
  assert.deepEqual(replicas.states, [])
  replicas.remove('127.0.0.1:9', fenced)
})

test('a replica whose connection was lost is a stranger again: without its link it is not read from', async (t) => {
  const node = await new ScriptedNode(slaveRole(MASTER)).listen(t)
  const replicas = replicasOf(t)
  await look(replicas, [fields(node.address)], up)
  assert.equal(reasonOf(replicas), undefined)
  const [endpoint] = replicas.endpoints as [Endpoint]
  // the process is killed and comes back with what it had on disk, while the master is away
  node.role = slaveRole(MASTER, 'connect')
  for (const peer of node.server.peers) peer.reset()
  await eventually('the connection is gone', () => !endpoint.isConnected)
  assert.equal(replicas.pick(), undefined, 'before anybody was told')
  replicas.doubt(endpoint, 'it was lost')
  await look(replicas, [fields(node.address)], away)
  assert.match(reasonOf(replicas) ?? '', /its link is connect/)
})

test('a replica that is behind the others is left while the master is away, and the one that has most serves', async (t) => {
  const offset = (value: number) =>
    array(bulk('slave'), bulk('127.0.0.1'), integer(1), bulk('connected'), integer(value))
  const ahead = await new ScriptedNode(offset(900)).listen(t)
  const behind = await new ScriptedNode(offset(900)).listen(t)
  const replicas = replicasOf(t)
  const both = [fields(ahead.address), fields(behind.address)]
  await look(replicas, both, up)
  assert.equal(replicas.isWell, true)
  ahead.role = offset(1_000)
  replicas.pick() // wakes the watch
  const left = () => replicas.states.map(({ reason }) => reason).join()
  await eventually('it is left', () => left() === ',is more than 800 ms behind')
  assert.equal(replicas.pick()?.address, ahead.address)
  behind.role = offset(1_000)
  await eventually('it is back', () => left() === ',')
})
