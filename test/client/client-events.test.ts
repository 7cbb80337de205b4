// What a client tells of itself: its events, and its statistics.

import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { type Client, type ClientEvents, type ClientOptions, createClient } from '../../lib/client/index.ts'
import type { RespoolError } from '../../lib/errors.ts'
import { masterRole, ScriptedNode, scriptedDeployment } from '../sentinel/scripted-deployment.ts'
import { settled } from '../support/clock.ts'
import { freePorts } from '../support/free-ports.ts'
import { eventually } from '../support/real-servers.ts'
import { bulk, integer, push } from '../support/resp-writer.ts'

/** What the client has told, in order. */
function heard(client: Client): unknown[][] {
  const events: unknown[][] = []
  for (const name of ['ready', 'connect', 'disconnect', 'switch'] as const) {
    client.on(name, (...args: ClientEvents[typeof name]) => {
      const [event] = args as [{ address?: string; role?: string; error?: RespoolError }?]
      events.push([name, event?.address, event?.role, event?.error?.code].filter((it) => it !== undefined))
    })
  }
  return events
}

function clientOf(t: TestContext, options: ClientOptions): Client {
  const client = createClient({ pingInterval: 0, ...options })
  t.after(() => client.destroy())
  return client
}

test('a client of one server tells of its shared connection, and once that it is ready', async (t) => {
  const node = await new ScriptedNode().listen(t)
  const client = clientOf(t, { port: node.port })
  const events = heard(client)
  await settled()
  assert.deepEqual(events, [])
  await client.call('INCR', 'n')
  await client.use((lease) => lease.call('INCR', 'n')) // leases are no news
  assert.deepEqual(events, [['connect', node.address], ['ready']])
  node.server.peers[0]?.reset()
  await eventually('the loss is told', () => events.length === 3)
  await client.call('INCR', 'n')
  assert.deepEqual(events.slice(2), [
    ['disconnect', node.address, 'CONNECTION_LOST'],
    ['connect', node.address],
  ])
  await client.close()
  await eventually('the end is told', () => events.length === 5)
  assert.deepEqual(events[4], ['disconnect', node.address, 'CONNECTION_CLOSED'])
})

test('a server that cannot be reached is no event', async (t) => {
  const [port = 0] = await freePorts(1)
  const client = clientOf(t, { port, commandTimeout: 120 })
  const events = heard(client)
  await assert.rejects(client.call('INCR', 'n'), { code: 'COMMAND_TIMEOUT' })
  assert.deepEqual(events, [])
})

test('a client of a deployment tells which server, as what it was dialed, and why it ended', async (t) => {
  const { seeds, master, replicas, say, sentinels } = await scriptedDeployment(t)
  const [replica] = replicas as [ScriptedNode]
  const client = clientOf(t, { sentinel: { name: 'm', sentinels: seeds } })
  const events = heard(client)
  await client.ready()
  await eventually('all are connected', () => events.length === 3)
  assert.deepEqual(events, [
    ['connect', master.address, 'master'],
    ['ready'],
    ['connect', replica.address, 'replica'],
  ])
  replica.role = masterRole()
  say({ master: replica.address, epoch: 2, replicas: [] })
  const [from, to] = [master, replica].map(({ address }) => address.replace(':', ' '))
  sentinels[0]?.publish('+switch-master', `m ${from} ${to}`)
  await eventually('all is told', () => events.length === 7)
  assert.deepEqual(
    events.slice(3).sort(),
    [
      ['connect', replica.address, 'master'],
      ['disconnect', ...[master.address, 'master', 'FENCED']],
      ['disconnect', ...[replica.address, 'replica', 'FENCED']],
      ['switch'],
    ].sort(),
  )
})

test('stats() tells what is held open and under way', async (t) => {
  const node = await new ScriptedNode().listen(t)
  node.intercept = ([name, channel]) => {
    if (name === 'SUBSCRIBE') return push(bulk('subscribe'), bulk(String(channel)), integer(1))
    return name === 'BLPOP' ? undefined : 'pass'
  }
  const client = clientOf(t, { port: node.port })
  const idle = client.stats()
  assert.deepEqual([idle.working, idle.held, idle.subscriptions], [0, 0, { channels: 0, connections: 0 }])
  assert.ok(Object.isFrozen(idle) && Object.isFrozen(idle.subscriptions))
  await client.subscribe('news', () => undefined)
  const popped = client.blpop('q', 0).catch(() => undefined)
  await eventually('it blocks', () => node.count('BLPOP') === 1)
  const { master, replicas, held, working, subscriptions } = client.stats()
  assert.deepEqual([held, working, replicas], [0, 1, []])
  assert.deepEqual(subscriptions, { channels: 1, connections: 1 })
  const { activeCount, idleCount, waitCount, waitDuration } = master?.pool ?? {}
  assert.deepEqual([activeCount, idleCount, waitCount, waitDuration], [1, 0, 0, 0])
  client.destroy()
  await popped
  assert.deepEqual(client.stats().subscriptions, { channels: 0, connections: 0 })
})

test('stats() of a deployment tells how many wait for a master', async (t) => {
  const [nobody] = await freePorts(1)
  const client = clientOf(t, {
    sentinel: { name: 'm', sentinels: [`127.0.0.1:${nobody}`] },
    commandTimeout: 300,
  })
  const waiting = Array.from({ length: 3 }, () => client.incr('n').catch((error: RespoolError) => error.code))
  await settled()
  const { held, working, master } = client.stats()
  assert.deepEqual([held, working, master], [3, 3, undefined])
  assert.deepEqual(await Promise.all(waiting), Array(3).fill('COMMAND_TIMEOUT'))
  assert.equal(client.stats().held, 0)
})
