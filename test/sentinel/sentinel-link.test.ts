// One sentinel, as it answers, speaks of its own accord, falls silent, dies and comes back.

import assert from 'node:assert/strict'
import type { LookupFunction } from 'node:net'
import { type TestContext, test } from 'node:test'
import { translator } from '../../lib/sentinel/nat-map.ts'
import type { Answer } from '../../lib/sentinel/questions.ts'
import { SentinelLink, type SentinelLinkOptions } from '../../lib/sentinel/sentinel-link.ts'
import { blackHole } from '../support/black-hole.ts'
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
      isFailingOver: false,
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
      isFailingOver: false,
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

test('what a sentinel forbids is left out, and told', async (t) => {
  const rows: [forbidden: string[], expected: Partial<Answer>, told?: string[]][] = [
    [['MASTER'], { master: '10.0.0.1:6379', epoch: undefined, sentinelCount: 1 }, ['SENTINEL MASTER']],
    [['GET-MASTER-ADDR-BY-NAME'], { master: '10.0.0.1:6379', epoch: 7 }],
    [['REPLICAS'], { master: '10.0.0.1:6379', replicas: [] }],
    [['SENTINELS'], { master: '10.0.0.1:6379', sentinels: [] }],
    [['MYID', 'INFO'], { runId: undefined, isTilted: false, epoch: 7 }, ['SENTINEL MYID', 'INFO']],
  ]
  for (const [forbidden, expected, told = forbidden.map((it) => `SENTINEL ${it}`)] of rows) {
    const sentinel = await new ScriptedSentinel(KNOWLEDGE).listen(t)
    Object.assign(sentinel, { forbidden, runId: 'me', isTilted: true })
    const { link } = watch(t, sentinel.address)
    const answer = await link.ask('m')
    for (const [name, value] of Object.entries(expected)) {
      assert.deepEqual(answer[name as keyof Answer], value, `${forbidden} ${name}`)
    }
    assert.deepEqual(link.forbidden, told)
    assert.equal(link.error, undefined)
    // that it does not know the name is still told
    const unknown = await link.ask('nobody')
    assert.equal(unknown.master, undefined)
    sentinel.forbidden = []
    await link.ask('m')
    assert.deepEqual(link.forbidden, [])
    assert.deepEqual([link.runId, link.isTilted], ['me', true])
  }
})

test('a sentinel that tells neither the address nor the master is of no use, and says why', async (t) => {
  const sentinel = await new ScriptedSentinel(KNOWLEDGE).listen(t)
  sentinel.forbidden = ['GET-MASTER-ADDR-BY-NAME', 'MASTER']
  const { link } = watch(t, sentinel.address)
  await assert.rejects(link.ask('m'), { code: 'REPLY_ERROR', prefix: 'NOPERM' })
})

for (const protocol of [3, 2] as const) {
  test(`who may not subscribe to all events subscribes to those that matter, in RESP${protocol}`, async (t) => {
    const sentinel = await new ScriptedSentinel(KNOWLEDGE, protocol).listen(t)
    sentinel.forbidden = ['PSUBSCRIBE', '+sdown']
    const watched = watch(t, sentinel.address)
    watched.link.start()
    await eventually('it is listened to', () => watched.link.isHeard)
    assert.deepEqual(watched.link.forbidden, ['PSUBSCRIBE'])
    sentinel.publish('+sdown', 'master m 10.0.0.1 6379')
    sentinel.publish('+switch-master', 'm 10.0.0.1 6379 10.0.0.2 6379')
    await eventually('it has come', () => watched.events.length === 1)
    assert.deepEqual(watched.events, ['+switch-master m 10.0.0.1 6379 10.0.0.2 6379'])
    assert.equal((await watched.link.ask('m')).epoch, 7)
  })

  test(`a sentinel that falls silent without a word is found out between the questions, in RESP${protocol}`, async (t) => {
    const sentinel = await new ScriptedSentinel(KNOWLEDGE, protocol).listen(t)
    const watched = watch(t, sentinel.address, 60, { pingInterval: 60 })
    watched.link.start()
    await eventually('it is listened to', () => watched.link.isHeard)
    const pings = () => sentinel.server.commands.filter(([word]) => word === 'PING').length
    await eventually('it is asked whether it is there', () => pings() >= 2 * sentinel.server.openCount)
    assert.equal(watched.link.isConnected, true)
    sentinel.isSilent = true
    const start = performance.now()
    await eventually('it is given up', () => !watched.link.isConnected)
    assert.ok(performance.now() - start < 1_000)
    await eventually('that is told', () => watched.changes === 2)
    sentinel.isSilent = false
    await eventually('it is listened to again', () => watched.link.isHeard)
    assert.equal(watched.link.downSince, undefined)
  })
}

test('a connection for events that is dead alone takes the other with it', async (t) => {
  const sentinel = await new ScriptedSentinel(KNOWLEDGE, 2).listen(t)
  const watched = watch(t, sentinel.address, 60, { pingInterval: 60 })
  watched.link.start()
  await eventually('it is listened to', () => watched.link.isHeard)
  const dead = sentinel.server.peers.find(({ commands }) => commands.some(([word]) => word === 'PSUBSCRIBE'))
  sentinel.intercept = (_, peer) => (peer === dead ? undefined : 'pass')
  await eventually('both are closed', () =>
    sentinel.server.peers.slice(0, 2).every(({ isClosed }) => isClosed),
  )
  await eventually('it is listened to again', () => watched.link.isHeard)
})

test('a PING that is forbidden is a sign of life', async (t) => {
  const sentinel = await new ScriptedSentinel(KNOWLEDGE).listen(t)
  sentinel.forbidden = ['PING']
  const { link } = watch(t, sentinel.address, 60, { pingInterval: 30 })
  link.start()
  const pings = () => sentinel.server.commands.filter(([word]) => word === 'PING').length
  await eventually('it has been asked a few times', () => pings() > 5)
  assert.equal(sentinel.server.peers.length, 1)
})

test('an address in an answer or an event is translated before anybody sees it', async (t) => {
  const sentinel = await new ScriptedSentinel(KNOWLEDGE).listen(t)
  const replica = { address: '10.0.0.2:6379', 'master-host': '10.0.0.1', 'master-port': '6379' }
  sentinel.says({ replicas: [replica] })
  const translate = translator((address, what) => `${what}.${address}`)
  const watched = watch(t, sentinel.address, 300, { translate })
  const { master, replicas, sentinels } = await watched.link.ask('m')
  assert.equal(master, 'master.10.0.0.1:6379')
  const fields = ['ip', 'port', 'master-host', 'master-port'].map((name) => replicas[0]?.get(name))
  assert.deepEqual(fields, ['replica.10.0.0.2', '6379', 'master.10.0.0.1', '6379'])
  assert.equal(sentinels[0]?.get('ip'), 'sentinel.10.0.0.3')
  sentinel.publish('+switch-master', 'm 10.0.0.1 1 10.0.0.2 2')
  await eventually('it has come', () => watched.events.length === 1)
  assert.deepEqual(watched.events, ['+switch-master m master.10.0.0.1 1 master.10.0.0.2 2'])
})

test('a natMap that throws costs the answer and tells why; its event is a reason to ask', async (t) => {
  const sentinel = await new ScriptedSentinel(KNOWLEDGE).listen(t)
  const translate = translator(() => {
    throw new Error('no such host')
  })
  const watched = watch(t, sentinel.address, 300, { translate })
  const message = 'option natMap threw for master 10.0.0.1:6379: no such host'
  await assert.rejects(watched.link.ask('m'), { message })
  assert.equal(watched.link.error?.message, message)
  const { changes } = watched
  sentinel.publish('+switch-master', 'm 10.0.0.1 1 10.0.0.2 2')
  await eventually('it asks to be asked', () => watched.changes === changes + 1)
  assert.deepEqual(watched.events, [])
  assert.equal(watched.link.isConnected, true)
})

test('a name is looked up for each dial, and each of its addresses tried', async (t) => {
  const sentinel = await new ScriptedSentinel(KNOWLEDGE).listen(t)
  const { port } = sentinel.server.options as { port: number }
  let lookups = 0
  const lookup: LookupFunction = (_, __, callback) => {
    lookups += 1
    callback(null, [
      { address: '127.0.0.2', family: 4 }, // nobody listens there
      { address: '127.0.0.1', family: 4 },
    ])
  }
  const { link } = watch(t, `sentinel.test:${port}`, 300, { sentinelConnection: { lookup } })
  assert.equal((await link.ask('m')).epoch, 7)
  for (const peer of sentinel.server.peers) peer.reset()
  await eventually('it is connected again', () => link.ask('m'))
  assert.equal(lookups, 2)
})

test('a first address that swallows all does not keep the second from being reached', async (t) => {
  const hole = await blackHole(t, '127.0.0.3')
  if (hole === undefined) return t.skip('the system answers for a listener that is stopped')
  const sentinel = await new ScriptedSentinel(KNOWLEDGE).listen(t, hole.port)
  const lookup: LookupFunction = (_, __, callback) =>
    callback(null, [
      { address: hole.host, family: 4 },
      { address: '127.0.0.1', family: 4 },
    ])
  const { link } = watch(t, `sentinel.test:${hole.port}`, 300, { sentinelConnection: { lookup } })
  const start = performance.now()
  assert.equal((await link.ask('m')).sentinel, `sentinel.test:${hole.port}`)
  assert.ok(performance.now() - start < 1_400)
  assert.equal(sentinel.server.peers.length, 1)
})

test('what is no answer is an error, and no address', async (t) => {
  const sentinel = await new ScriptedSentinel(KNOWLEDGE).listen(t)
  const { link } = watch(t, sentinel.address)
  const pairs = ['+OK\r\n', ':7\r\n', '*0\r\n', '*1\r\n$1\r\nh\r\n', '*2\r\n$0\r\n\r\n$1\r\n1\r\n', '%0\r\n']
  pairs.push(
    '*2\r\n$1\r\nh\r\n$5\r\n65536\r\n',
    '*2\r\n$3\r\na b\r\n$1\r\n1\r\n',
    '*2\r\n$1\r\nh\r\n$1\r\n0\r\n',
  )
  for (const pair of pairs) {
    sentinel.intercept = ([, question]) => (question === 'GET-MASTER-ADDR-BY-NAME' ? pair : 'pass')
    await assert.rejects(link.ask('m'), { message: 'its answer has no address of a master' }, pair)
  }
  // lists that are none are empty
  sentinel.intercept = ([, question]) =>
    /^(REPLICAS|SENTINELS|MYID)$/.test(question ?? '') ? ':7\r\n' : 'pass'
  const { replicas, sentinels, runId } = await link.ask('m')
  assert.deepEqual([replicas, sentinels, runId], [[], [], undefined])
  assert.equal(sentinel.server.peers.length, 1)
  // and what is no RESP ends the connection, not us
  sentinel.intercept = ([word]) => (word === 'SENTINEL' ? 'HTTP/1.1 400 Bad Request\r\n' : 'pass')
  await assert.rejects(link.ask('m'), { code: 'PROTOCOL_ERROR' })
  sentinel.intercept = () => 'pass'
  assert.equal((await link.ask('m')).epoch, 7)
})

test('a sentinel that closes after each reply is asked anew each time', async (t) => {
  const sentinel = await new ScriptedSentinel(KNOWLEDGE).listen(t)
  const { link } = watch(t, sentinel.address)
  sentinel.intercept = ([word], peer) => {
    if (word === 'SENTINEL') setImmediate(() => peer.close())
    return 'pass'
  }
  for (let i = 0; i < 3; i += 1) await link.ask('m').catch(() => undefined)
  sentinel.intercept = () => 'pass'
  assert.equal((await eventually('it answers', () => link.ask('m'))).epoch, 7)
})

test('a failover that began before we listened is told once, until somebody was promoted', async (t) => {
  const sentinel = await new ScriptedSentinel(KNOWLEDGE).listen(t)
  sentinel.flags = 'master,failover_in_progress'
  const { link } = watch(t, sentinel.address)
  assert.equal((await link.ask('m')).isFailingOver, true)
  assert.equal((await link.ask('m')).isFailingOver, false, 'from now on its events tell')
  for (const peer of sentinel.server.peers) peer.reset()
  await eventually('it is connected again', () => link.ask('m').then(({ isFailingOver }) => isFailingOver))
  for (const peer of sentinel.server.peers) peer.reset()
  // the leader gives the promoted replica here, and the old master there
  sentinel.intercept = ([, question]) =>
    question === 'GET-MASTER-ADDR-BY-NAME' ? '*2\r\n$8\r\n10.0.0.2\r\n$4\r\n6379\r\n' : 'pass'
  const answer = await eventually('it is connected again', () => link.ask('m'))
  assert.deepEqual([answer.master, answer.isFailingOver], ['10.0.0.2:6379', false])
})

test('another sentinel at the same address is not taken for the one before', async (t) => {
  const sentinel = await new ScriptedSentinel(KNOWLEDGE).listen(t)
  sentinel.runId = 'one'
  const { link } = watch(t, sentinel.address)
  await link.ask('m')
  assert.equal(link.runId, 'one')
  sentinel.runId = undefined
  await link.ask('m')
  assert.equal(link.runId, 'one', 'it may have been told by others')
  for (const peer of sentinel.server.peers) peer.reset()
  await eventually('the loss is noticed', () => !link.isConnected)
  await eventually('it is connected again', () => link.ask('m'))
  assert.equal(link.runId, undefined)
})

test('a sentinel of RESP2 that accepts and answers nothing is not connected', async (t) => {
  const sentinel = await new ScriptedSentinel(KNOWLEDGE, 2).listen(t)
  sentinel.isSilent = true
  const options = { sentinelConnection: { protocol: 2 } } as const
  const { link } = watch(t, sentinel.address, 100, options)
  const answer = link.ask('m').catch((error: Error) => error)
  await sentinel.server.until(() => sentinel.server.commands.some(([word]) => word === 'PSUBSCRIBE'))
  assert.equal(link.isConnected, false)
  assert.ok((await answer) instanceof Error)
  assert.notEqual(link.downSince, undefined)
  await sentinel.server.until(() => sentinel.server.openCount === 0)
  sentinel.isSilent = false
  assert.equal((await link.ask('m')).epoch, 7)
})
