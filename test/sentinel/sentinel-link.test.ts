// One sentinel, as it answers, speaks of its own accord, falls silent, dies and comes back.

import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { translator } from '../../lib/sentinel/nat-map.ts'
import { SentinelLink, type SentinelLinkOptions } from '../../lib/sentinel/sentinel-link.ts'
import { freePorts } from '../support/free-ports.ts'
import { eventually } from '../support/real-servers.ts'
import { greetInResp2, scriptedServer } from '../support/scripted-server.ts'
import { type Knowledge, ScriptedSentinel } from './scripted-deployment.ts'

const KNOWLEDGE: Knowledge = {
  name: 'm',
  master: '10.0.0.1:6379',
  epoch: 7,
  replicas: [{ address: '10.0.0.2:6379', flags: 'slave,s_down' }],
  sentinels: ['10.0.0.3:26379'],
}

interface Watched {
  readonly link: SentinelLink
  readonly events: string[]
  changes: number
}

function watch(
  t: TestContext,
  address: string,
  answerTimeout = 300,
  others: Partial<SentinelLinkOptions> = {},
): Watched {
  const watched: { events: string[]; changes: number } = { events: [], changes: 0 }
  const options = { sentinelConnection: {}, answerTimeout, pingInterval: 0, translate: translator(undefined) }
  const link = new SentinelLink(
    address,
    { ...options, ...others },
    {
      onEvent: (_, channel, payload) => watched.events.push(`${channel} ${payload}`),
      onChange: () => {
        watched.changes += 1
      },
    },
  )
  t.after(() => link.close(new Error('the test is over')))
  return Object.assign(watched, { link })
}

for (const protocol of [3, 2] as const) {
  test(`an answer has master, epoch, replicas and sentinels, in RESP${protocol}`, async (t) => {
    const sentinel = await new ScriptedSentinel(KNOWLEDGE, protocol).listen(t)
    const { link } = watch(t, sentinel.address)
    const { replicas, sentinels, ...answer } = await link.ask('m')
    assert.deepEqual(answer, {
      sentinel: sentinel.address,
      runId: undefined,
      master: '10.0.0.1:6379',
      epoch: 7,
      isTilted: false,
      sentinelCount: 2,
      forbidden: [],
    })
    assert.equal(replicas[0]?.get('flags'), 'slave,s_down')
    assert.equal(sentinels[0]?.get('port'), '26379')
    const unknown = await link.ask('nobody')
    assert.deepEqual(unknown, {
      sentinel: sentinel.address,
      runId: undefined,
      master: undefined,
      epoch: 0,
      isTilted: false,
      sentinelCount: 1,
      replicas: [],
      sentinels: [],
      forbidden: [],
    })
    assert.equal(link.error, undefined)
  })

  test(`events come while it is asked, over ${protocol === 3 ? 'one connection' : 'a second connection'}`, async (t) => {
    const sentinel = await new ScriptedSentinel(KNOWLEDGE, protocol).listen(t)
    const watched = watch(t, sentinel.address)
    watched.link.start()
    await eventually('it is subscribed', () => sentinel.subscriberCount === 1)
    sentinel.publish('+sdown', 'master m 10.0.0.1 6379')
    await watched.link.ask('m')
    sentinel.publish('+odown', 'master m 10.0.0.1 6379')
    await eventually('both have come', () => watched.events.length === 2)
    assert.deepEqual(watched.events, ['+sdown master m 10.0.0.1 6379', '+odown master m 10.0.0.1 6379'])
    assert.equal(sentinel.server.peers.length, protocol === 3 ? 1 : 2)
    assert.equal(watched.changes, 1)
  })
}

test('an epoch that is none counts as the oldest', async (t) => {
  const sentinel = await new ScriptedSentinel(KNOWLEDGE).listen(t)
  const { link } = watch(t, sentinel.address)
  for (const epoch of ['garbage', '-1', '', '1.5', '1e400', '99999999999999999999']) {
    sentinel.says({ epoch })
    assert.equal((await link.ask('m')).epoch, 0, epoch)
  }
})

test('a sentinel that may be asked but not subscribed to is asked', async (t) => {
  const sentinel = await new ScriptedSentinel(KNOWLEDGE).listen(t)
  sentinel.isMute = true
  const { link } = watch(t, sentinel.address)
  assert.equal((await link.ask('m')).master, '10.0.0.1:6379')
  assert.equal((await link.ask('m')).master, '10.0.0.1:6379')
  assert.equal(link.isConnected, true)
  assert.equal(sentinel.server.peers.length, 1)
})

test('a sentinel that refuses the question says why, and is asked again', async (t) => {
  const sentinel = await new ScriptedSentinel(KNOWLEDGE).listen(t)
  sentinel.refusal = "NOPERM this user has no permissions to run the 'sentinel|master' command"
  const { link } = watch(t, sentinel.address)
  await assert.rejects(link.ask('m'), { code: 'REPLY_ERROR', prefix: 'NOPERM' })
  assert.match(link.error?.message ?? '', /NOPERM/)
  sentinel.refusal = undefined
  assert.equal((await link.ask('m')).epoch, 7)
  assert.equal(link.error, undefined)
})

test('a sentinel that dies and comes back is connected again, events and all', async (t) => {
  const sentinel = await new ScriptedSentinel(KNOWLEDGE).listen(t)
  const watched = watch(t, sentinel.address)
  watched.link.start()
  await eventually('it is subscribed', () => sentinel.subscriberCount === 1)
  const { address } = sentinel
  const port = Number(address.split(':')[1])
  await sentinel.server.close()
  await eventually('the loss is noticed', () => !watched.link.isConnected && watched.changes === 2)
  assert.match(watched.link.error?.message ?? '', /closed|broke/)
  await assert.rejects(watched.link.ask('m'), { code: 'CONNECT_FAILED' })
  const again = await new ScriptedSentinel(KNOWLEDGE).listen(t, port)
  await eventually('it is subscribed again', () => again.subscriberCount === 1)
  again.publish('+tilt', '#tilt mode entered')
  await eventually('events come again', () => watched.events.length === 1)
  assert.equal((await watched.link.ask('m')).epoch, 7)
})

test('a sentinel that is silent is found out by its answers and dialed anew', async (t) => {
  const sentinel = await new ScriptedSentinel(KNOWLEDGE).listen(t)
  const { link } = watch(t, sentinel.address, 60)
  await link.ask('m')
  sentinel.isSilent = true
  await assert.rejects(link.ask('m'), { code: 'COMMAND_TIMEOUT' })
  await eventually('it is given up', () => !link.isConnected)
  sentinel.isSilent = false
  assert.equal((await eventually('it answers again', () => link.ask('m'))).epoch, 7)
  assert.ok(sentinel.server.peers.length >= 2)
})

test('when the second connection cannot be had, the first is not left behind', async (t) => {
  // a sentinel of RESP2 with room for one client
  const server = await scriptedServer(t, (command) => greetInResp2(command), {
    onConnect: (peer) => {
      if (peer.index % 2 === 1) peer.reset()
    },
  })
  const { link } = watch(t, server.address)
  await assert.rejects(link.ask('m'))
  await server.until(() => server.peers.length === 2 && server.openCount === 0)
})

test('closed while it connects, a link leaves no connection behind', async (t) => {
  for (const protocol of [3, 2] as const) {
    for (let turns = 0; turns < 12; turns += 1) {
      const sentinel = await new ScriptedSentinel(KNOWLEDGE, protocol).listen(t)
      const { link } = watch(t, sentinel.address)
      const answer = link.ask('m').catch(() => undefined)
      await sentinel.server.until(() => sentinel.server.commands.length >= protocol)
      for (let i = 0; i < turns; i += 1) await new Promise((resolve) => setImmediate(resolve))
      link.close(new Error('enough'))
      await answer
      await sentinel.server.until(() => sentinel.server.openCount === 0)
    }
  }
})

test('a link that was closed is not connected again, and says why', async (t) => {
  const [port = 0] = await freePorts(1)
  const { link } = watch(t, `127.0.0.1:${port}`)
  link.start()
  await eventually('the first attempt has failed', () => link.error !== undefined)
  const enough = new Error('enough')
  link.close(enough)
  await assert.rejects(link.ask('m'), (error) => error === enough)
})
