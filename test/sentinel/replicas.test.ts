// Which replicas are read from, and which of them: by what sentinels list and what the replicas say themselves.

import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { Endpoint } from '../../lib/endpoint/index.ts'
import { ConnectionError } from '../../lib/errors.ts'
import { Replicas } from '../../lib/sentinel/replicas.ts'
import { splitAddress } from '../../lib/sentinel/replies.ts'
import { array, bulk, error, nullBulk } from '../support/resp-writer.ts'
import { masterRole, ScriptedNode, slaveRole } from './scripted-deployment.ts'

const MASTER = '127.0.0.1:1'
const isMaster = (address: string) => address === MASTER
const up = { address: MASTER, isMaster, isUp: true }
const away = { address: MASTER, isMaster, isUp: false }
const fenced = new ConnectionError('FENCED', 'replaced', { address: 'it', phase: 'ready' })

function replicasOf(t: TestContext): Replicas {
  const replicas = new Replicas(
    (address) =>
      new Endpoint(address, {
        connection: { ...splitAddress(address), commandTimeout: 2_000 },
        pool: { maxIdle: 1, maxActive: 0 },
        pingInterval: 0,
        suspectAfter: 0,
        maxHeld: 100,
        maxHeldBytes: 10_000,
      }),
  )
  t.after(() => replicas.destroy(new Error('the test is over')))
  return replicas
}

function fields(address: string, others: Readonly<Record<string, string>> = {}): Map<string, string> {
  const { host, port } = splitAddress(address)
  return new Map(Object.entries({ ip: host, port: String(port), flags: 'slave', ...others }))
}

/** Why the only replica is not read from. */
function reasonOf(replicas: Replicas): string | undefined {
  const [state, ...others] = replicas.states
  assert.ok(state !== undefined && others.length === 0)
  assert.equal(state.healthy, state.reason === undefined)
  assert.equal(replicas.isWell, state.healthy)
  assert.equal(replicas.pick()?.address, state.healthy ? state.address : undefined)
  return state.reason
}

test('a replica is well by what it says itself, and by how it and its master were before', async (t) => {
  const follows = (link: string) => slaveRole(MASTER, link)
  const rows: [why: string, wasInStep: boolean, view: typeof up, role: Buffer, reason: RegExp | undefined][] =
    [
      ['in step', false, up, follows('connected'), undefined],
      ['in step, master away', false, away, follows('connected'), undefined],
      ['syncing', true, up, follows('sync'), /its link is sync/],
      ['syncing, master away', true, away, follows('sync'), /its link is sync/],
      ['link lost', true, up, follows('connect'), /its link is connect/],
      ['link lost, connecting', true, up, follows('connecting'), /its link is connecting/],
      ['link lost since the master is away', true, away, follows('connect'), undefined],
      ['link lost since the master is away, connecting', true, away, follows('connecting'), undefined],
      ['never in step, master away', false, away, follows('connect'), /its link is connect/],
      ['promoted, not announced', true, away, masterRole(), undefined],
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
      await replicas.refresh([fields(node.address)], up, 2_000)
      assert.equal(reasonOf(replicas), undefined)
    }
    node.role = role
    await replicas.refresh([fields(node.address)], view, 2_000)
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
    ['slave,master_down', undefined],
    ['slave,promoted', undefined],
    ['', undefined],
  ]
  for (const [flags, reason] of rows) {
    const replicas = replicasOf(t)
    const before = node.count('ROLE')
    await replicas.refresh([fields(node.address, { flags })], up, 2_000)
    assert.equal(reasonOf(replicas), reason, flags)
    assert.equal(node.count('ROLE') - before, reason === undefined ? 1 : 0)
  }
})

test('without flags or with others, the replica itself decides', async (t) => {
  const node = await new ScriptedNode(slaveRole(MASTER)).listen(t)
  const replicas = replicasOf(t)
  const listed = fields(node.address)
  listed.delete('flags')
  await replicas.refresh([listed], up, 2_000)
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
  await replicas.refresh(listed, up, 2_000)
  assert.deepEqual(replicas.states, [])
  assert.equal(replicas.isWell, true)
  assert.equal(replicas.pick(), undefined)
  assert.equal(node.server.peers.length, 0)
  await replicas.refresh([fields(node.address, { 'replica-announced': '1' })], up, 2_000)
  assert.equal(replicas.has(node.address), true)
})

test('a replica that cannot be asked within the bound is not read from, and the reason is told', async (t) => {
  const node = await new ScriptedNode().listen(t)
  node.intercept = () => undefined
  const replicas = replicasOf(t)
  const start = performance.now()
  await replicas.refresh([fields(node.address)], up, 50)
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
  await replicas.refresh(both, up, 2_000)
  const [first, second] = replicas.endpoints
  await replicas.refresh(both, up, 2_000)
  assert.deepEqual([...replicas.endpoints], [first, second])
  assert.equal(stays.server.peers.length + goes.server.peers.length, 2)
  const inFlight = second?.execute(['GET', 'k'])
  await replicas.refresh([fields(stays.address)], up, 2_000)
  assert.deepEqual(replicas.endpoints, [first])
  assert.equal(await inFlight, `k of ${goes.address}`, 'what is in flight is finished')
  await goes.server.until(() => goes.server.openCount === 0)
  assert.equal(replicas.has(goes.address), false)
})

test('reads go where the least is under way; equals take turns', async (t) => {
  const nodes = await Promise.all([1, 2, 3].map(() => new ScriptedNode(slaveRole(MASTER)).listen(t)))
  const replicas = replicasOf(t)
  await replicas.refresh(
    nodes.map(({ address }) => fields(address)),
    up,
    2_000,
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
  await replicas.refresh(both, up, 2_000)
  const [first, second] = replicas.endpoints as [Endpoint, Endpoint]
  assert.equal(replicas.doubt(first, 'it broke'), true)
  assert.equal(replicas.doubt(first, 'it broke again'), false, 'that is no news')
  assert.deepEqual(replicas.states[0], { address: one.address, healthy: false, reason: 'it broke' })
  assert.equal(replicas.isWell, false)
  for (let i = 0; i < 4; i += 1) assert.equal(replicas.pick(), second)
  await replicas.refresh(both, up, 2_000)
  assert.equal(replicas.isWell, true)
  // an endpoint that was replaced says nothing of its successor
  replicas.remove(one.address, fenced)
  await replicas.refresh(both, up, 2_000)
  assert.equal(replicas.doubt(first, 'late'), false)
  assert.equal(replicas.isWell, true)
})

test('a replica that is taken out is fenced', async (t) => {
  const node = await new ScriptedNode(slaveRole(MASTER)).listen(t)
  const replicas = replicasOf(t)
  await replicas.refresh([fields(node.address)], up, 2_000)
  const [endpoint] = replicas.endpoints
  replicas.remove(node.address, fenced)
  assert.equal(endpoint?.error, fenced)
  assert.deepEqual(replicas.states, [])
  replicas.remove('127.0.0.1:9', fenced)
})
