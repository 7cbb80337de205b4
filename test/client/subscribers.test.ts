// Subscriptions of a deployment: at which server they are, and when they move.

import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { type Client, type ClientOptions, createClient } from '../../lib/client/index.ts'
import type { Gap } from '../../lib/client/subscription-options.ts'
import { RespoolError } from '../../lib/errors.ts'
import {
  masterRole,
  type ScriptedDeployment,
  type ScriptedNode,
  scriptedDeployment,
  slaveRole,
} from '../sentinel/scripted-deployment.ts'
import { eventually } from '../support/real-servers.ts'
import { bulk, integer, push } from '../support/resp-writer.ts'
import type { Peer } from '../support/scripted-server.ts'

const ignore = () => undefined

interface Scene extends ScriptedDeployment {
  readonly client: Client
  /** All nodes, the master first. */
  readonly nodes: readonly ScriptedNode[]
}

/** A deployment whose nodes confirm subscriptions, and a client that knows all of it. */
async function scene(t: TestContext, replicas: number, options: ClientOptions = {}): Promise<Scene> {
  const deployment = await scriptedDeployment(t, { replicas })
  const nodes = [deployment.master, ...deployment.replicas]
  for (const node of nodes) {
    node.intercept = ([name = '', ...channels]) =>
      /SUBSCRIBE$/.test(name)
        ? Buffer.concat(channels.map((it) => push(bulk(name.toLowerCase()), bulk(it), integer(1))))
        : 'pass'
  }
  const client = createClient({
    sentinel: { name: 'm', sentinels: deployment.seeds },
    pingInterval: 0,
    ...options,
  })
  t.after(() => client.destroy())
  await client.ready()
  await eventually('all is known', () => areHealthy(client, replicas))
  return { ...deployment, client, nodes }
}

function areHealthy(client: Client, count: number): boolean {
  return client.topology?.replicas.filter(({ healthy }) => healthy).length === count
}

/** The open connections of a node that are subscribed. */
function subscribers(node: ScriptedNode | undefined): Peer[] {
  const peers = node?.server.peers ?? []
  return peers.filter(
    (peer) => !peer.isClosed && peer.commands.some(([name]) => /SUBSCRIBE$/.test(name ?? '')),
  )
}

/** Where there are subscribers: indices of the nodes. */
function places({ nodes }: Scene): number[] {
  return nodes.flatMap((node, i) => subscribers(node).map(() => i))
}

function codeOf(gap: Gap | undefined): string | undefined {
  return gap?.reason instanceof RespoolError ? gap.reason.code : undefined
}

/** All say that the node is the master now. */
function promote({ say, sentinels, master, replicas }: ScriptedDeployment, heir: ScriptedNode): void {
  heir.role = masterRole()
  for (const other of [master, ...replicas]) if (other !== heir) other.role = slaveRole(heir.address)
  const others = [master, ...replicas].filter((node) => node !== heir)
  say({ master: heir.address, epoch: 2, replicas: others.map(({ address }) => ({ address })) })
  const [from, to] = [master.address, heir.address].map((address) => address.replace(':', ' '))
  sentinels[0]?.publish('+switch-master', `m ${from} ${to}`)
}

/** All say that a replica is down, so that it is not read from. */
function ruleOut({ say, sentinels, replicas }: ScriptedDeployment, victim: ScriptedNode | undefined): void {
  const flagged = replicas.map((node) =>
    node === victim ? { address: node.address, flags: 'slave,s_down' } : { address: node.address },
  )
  say({ replicas: flagged })
  const { address = '' } = victim ?? {}
  sentinels[0]?.publish('+sdown', `slave ${address} ${address.replace(':', ' ')} @ m 127.0.0.1 1`)
}

test('by default they are at the master, and move with it at once', async (t) => {
  const it = await scene(t, 1, { readFrom: 'prefer-replica' })
  const { client, master, replicas, nodes } = it
  const gaps: Gap[] = []
  const got: string[] = []
  await client.subscribe(['b', 'a'], (message) => got.push(message), { onGap: (gap) => gaps.push(gap) })
  await client.psubscribe('p*', ignore)
  assert.deepEqual(places(it), [0])
  promote(it, replicas[0] as ScriptedNode)
  await eventually('a gap is told', () => gaps.length === 1)
  const [gap] = gaps
  assert.equal(codeOf(gap), 'FENCED')
  assert.deepEqual([gap?.from, gap?.to, gap?.channels], [master.address, replicas[0]?.address, 2])
  assert.deepEqual(places(it), [1])
  const peer = subscribers(nodes[1])[0]
  const asked = peer?.commands.filter(([name]) => /SUBSCRIBE$/.test(name ?? ''))
  assert.deepEqual(asked, [
    ['SUBSCRIBE', 'b', 'a'],
    ['PSUBSCRIBE', 'p*'],
  ])
  assert.equal(peer?.commands[0]?.[0], 'HELLO')
  const order = peer?.commands.map(([name]) => name) ?? []
  assert.ok(order.indexOf('ROLE') < order.indexOf('SUBSCRIBE'), 'its role is looked at first')
  peer?.send(push(bulk('message'), bulk('a'), bulk('1')))
  await eventually('it came', () => got.length === 1)
})

test('one that begins while a failover is under way waits for the new master', async (t) => {
  const it = await scene(t, 1)
  const { client, master, replicas, sentinels } = it
  sentinels[0]?.publish('+try-failover', `master m ${master.address.replace(':', ' ')}`)
  await eventually('writes are held', () => client.topology?.holding === true)
  const subscribing = client.subscribe('a', ignore)
  await assert.rejects(client.subscribe('b', ignore, { timeout: 600 }), {
    code: 'COMMAND_TIMEOUT',
    message: 'not subscribed within 600 ms: a failover is under way',
  })
  assert.deepEqual(places(it), [])
  promote(it, replicas[0] as ScriptedNode)
  const subscription = await subscribing
  assert.deepEqual(places(it), [1])
  assert.equal(subscription.state, 'active')
})

test('those of a replica that is not read from any more move to another one', async (t) => {
  const it = await scene(t, 2)
  const { client, nodes } = it
  const gaps: Gap[] = []
  await client.subscribe('a', ignore, { readFrom: 'replica', onGap: (gap) => gaps.push(gap) })
  const [before = 0] = places(it)
  assert.ok(before > 0)
  ruleOut(it, nodes[before])
  await eventually('a gap is told', () => gaps.length === 1)
  const after = before === 1 ? 2 : 1
  assert.deepEqual(places(it), [after])
  assert.deepEqual([gaps[0]?.from, gaps[0]?.to], [nodes[before]?.address, nodes[after]?.address])
  assert.match(gaps[0]?.reason.message ?? '', /readFrom 'replica' are not served by .* any more/)
  assert.equal(codeOf(gaps[0]), 'FENCED')
})

test('with nobody better to move to they stay, and nobody is told of a gap for a preference', async (t) => {
  const it = await scene(t, 1)
  const { client, nodes, say, sentinels } = it
  const gaps: Gap[] = []
  const onGap = (gap: Gap) => gaps.push(gap)
  await client.subscribe('a', ignore, { readFrom: 'replica', onGap })
  assert.deepEqual(places(it), [1])
  ruleOut(it, nodes[1])
  await eventually('it is ruled out', () => areHealthy(client, 0))
  // nobody but the master is left for this one
  await client.subscribe('b', ignore, { readFrom: 'prefer-replica', onGap })
  assert.deepEqual(places(it), [0, 1])
  say({ replicas: [{ address: (nodes[1] as ScriptedNode).address }] })
  sentinels[0]?.publish('-sdown', 'slave x 127.0.0.1 1 @ m 127.0.0.1 1')
  await eventually('it is well again', () => areHealthy(client, 1))
  await new Promise((resolve) => setTimeout(resolve, 150)) // time to move
  assert.deepEqual(places(it), [0, 1])
  assert.deepEqual(gaps, [])
})

test('those of a replica that is promoted, or gone from the list, move as well', async (t) => {
  const it = await scene(t, 2)
  const { client, nodes, say, sentinels } = it
  const gaps: Gap[] = []
  await client.subscribe('a', ignore, { readFrom: 'replica', onGap: (gap) => gaps.push(gap) })
  const [first = 0] = places(it)
  promote(it, nodes[first] as ScriptedNode)
  await eventually('it has moved', () => gaps.length === 1)
  const [second = -1] = places(it)
  assert.notEqual(second, first)
  await eventually('all is known', () => areHealthy(client, 2))
  const left = nodes.filter((_, i) => i !== first && i !== second).map(({ address }) => ({ address }))
  say({ replicas: left })
  sentinels[0]?.publish('+reset-master', 'master m 127.0.0.1 1')
  await eventually('it has moved again', () => gaps.length === 2)
  assert.deepEqual([gaps[1]?.from, gaps[1]?.to], [nodes[second]?.address, left[0]?.address])
})

test('a name that no sentinel knows is told at once', async (t) => {
  const { seeds } = await scriptedDeployment(t)
  const client = createClient({ sentinel: { name: 'nobody', sentinels: seeds }, commandTimeout: 60_000 })
  t.after(() => client.destroy())
  await assert.rejects(client.subscribe('a', ignore), { code: 'MASTER_UNKNOWN' })
  await assert.rejects(client.subscription('a').next(), { code: 'MASTER_UNKNOWN' })
})

test('close() while nobody is there leaves nothing behind', async (t) => {
  const it = await scene(t, 1)
  const { client, nodes, sentinels } = it
  const subscription = await client.subscribe('a', ignore)
  await Promise.all([
    ...nodes.map((node) => node.server.close()),
    ...sentinels.map((one) => one.server.close()),
  ])
  await eventually('it is lost', () => subscription.state === 'recovering')
  await client.close()
  assert.equal(subscription.state, 'closed')
  assert.equal(subscription.error, undefined)
})
