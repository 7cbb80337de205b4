import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ReplyError } from '../../lib/errors.ts'
import type { Reply } from '../../lib/resp/index.ts'
import { connected } from '../support/connected.ts'
import { runProgram } from '../support/program.ts'
import { array, bulk, integer, nullBulk, push, resp3Null, simple } from '../support/resp-writer.ts'
import { greet, greetInResp2, type Script, scriptedServer } from '../support/scripted-server.ts'

for (const protocol of [2, 3] as const) {
  const hello = protocol === 3 ? greet : greetInResp2
  const frame = protocol === 3 ? push : array
  const confirmation = (verb: string, channel: string | null, left: number): Buffer =>
    frame(
      bulk(verb),
      channel === null ? (protocol === 3 ? resp3Null() : nullBulk()) : bulk(channel),
      integer(left),
    )
  const message = (channel: string, payload: string): Buffer =>
    frame(bulk('message'), bulk(channel), bulk(payload))

  /** Confirms subscriptions as a server does, which counts channels and patterns together. */
  const pubsub = (): Script => {
    const held: Record<string, string[]> = { subscribe: [], psubscribe: [], ssubscribe: [] }
    const count = (verb: string) =>
      verb.endsWith('ssubscribe') && !verb.startsWith('p')
        ? (held.ssubscribe?.length ?? 0)
        : (held.subscribe?.length ?? 0) + (held.psubscribe?.length ?? 0)
    return (command) => {
      const verb = (command[0] ?? '').toLowerCase()
      const kind = verb.replace('un', '')
      const channels = held[kind]
      if (channels === undefined) return hello(command) ?? (verb === 'get' ? bulk('value') : undefined)
      const named = command.slice(1)
      if (!verb.includes('un')) {
        return Buffer.concat(
          named.map((channel) => {
            if (!channels.includes(channel)) channels.push(channel)
            return confirmation(verb, channel, count(verb))
          }),
        )
      }
      const ended: (string | null)[] = named.length > 0 ? named : [...channels]
      if (ended.length === 0) ended.push(null)
      return Buffer.concat(
        ended.map((channel) => {
          if (channel !== null && channels.includes(channel)) channels.splice(channels.indexOf(channel), 1)
          return confirmation(verb, channel, count(kind))
        }),
      )
    }
  }

  const subscriber = async (t: Parameters<typeof connected>[0], script: Script = pubsub()) => {
    const pushes: (readonly Reply[])[] = []
    const context = await connected(t, script, { onPush: (it) => pushes.push(it) })
    assert.equal(context.connection.protocol, protocol)
    return { ...context, pushes }
  }

  test(`RESP${protocol}: a subscription resolves with one confirmation a channel`, async (t) => {
    const { connection, pushes } = await subscriber(t)
    assert.deepEqual(await connection.call('SUBSCRIBE', 'a', 'b'), [
      ['subscribe', 'a', 1],
      ['subscribe', 'b', 2],
    ])
    assert.deepEqual(await connection.call('psubscribe', 'p*'), [['psubscribe', 'p*', 3]])
    assert.deepEqual(await connection.call('SSUBSCRIBE', 's'), [['ssubscribe', 's', 1]])
    assert.deepEqual(await connection.execute([Buffer.from('Subscribe'), 'a']), [['subscribe', 'a', 3]])
    assert.deepEqual(pushes, [])
    assert.equal(connection.pendingCount, 0)
  })

  test(`RESP${protocol}: pushes come as bytes to whom that is told, and replies as they are asked for`, async (t) => {
    const { server, connection, pushes } = await subscriber(t)
    assert.equal(connection.pushesAsBytes, false)
    await connection.call('SUBSCRIBE', 'a')
    server.peers[0]?.send(message('a', 'text'))
    await connection.call('GET', 'k')
    connection.pushesAsBytes = true
    await connection.execute(['GET', 'k'], { replies: 'buffer' })
    server.peers[0]?.send(message('a', '\u00e9'))
    assert.deepEqual(await connection.execute(['GET', 'k'], { replies: 'buffer' }), Buffer.from('value'))
    assert.equal(await connection.execute(['GET', 'k']), 'value')
    assert.deepEqual(pushes, [
      ['message', 'a', 'text'],
      ['message', 'a', '\u00e9'].map((it) => Buffer.from(it)),
    ])
  })

  test(`RESP${protocol}: the same channel twice is confirmed twice`, async (t) => {
    const { connection } = await subscriber(t)
    assert.deepEqual(await connection.call('SUBSCRIBE', 'a', 'a'), [
      ['subscribe', 'a', 1],
      ['subscribe', 'a', 1],
    ])
  })

  test(`RESP${protocol}: an end of all subscriptions is confirmed once for each`, async (t) => {
    const { connection, pushes } = await subscriber(t)
    await connection.call('SUBSCRIBE', 'a', 'b', 'c')
    await connection.call('PSUBSCRIBE', 'p*')
    await connection.call('SSUBSCRIBE', 's')
    assert.deepEqual(await connection.call('UNSUBSCRIBE'), [
      ['unsubscribe', 'a', 3],
      ['unsubscribe', 'b', 2],
      ['unsubscribe', 'c', 1],
    ])
    assert.deepEqual(await connection.call('PUNSUBSCRIBE'), [['punsubscribe', 'p*', 0]])
    assert.deepEqual(await connection.call('SUNSUBSCRIBE'), [['sunsubscribe', 's', 0]])
    assert.deepEqual(pushes, [])
  })

  test(`RESP${protocol}: an end of nothing is confirmed once, without a channel`, async (t) => {
    const { connection } = await subscriber(t)
    assert.deepEqual(await connection.call('UNSUBSCRIBE'), [['unsubscribe', null, 0]])
    assert.deepEqual(await connection.call('UNSUBSCRIBE', 'a', 'b'), [
      ['unsubscribe', 'a', 0],
      ['unsubscribe', 'b', 0],
    ])
    assert.equal(await connection.call('GET', 'k'), 'value')
  })

  test(`RESP${protocol}: messages go to onPush, also between the confirmations of a command`, async (t) => {
    const { server, connection, pushes } = await subscriber(t, (command, peer) => {
      if (command[0] !== 'SUBSCRIBE' || command[1] === 'a') return pubsub()(command, peer)
      return Buffer.concat([
        confirmation('subscribe', 'b', 2),
        message('a', '1'),
        confirmation('subscribe', 'c', 3),
        message('b', '2'),
      ])
    })
    await connection.call('SUBSCRIBE', 'a')
    assert.deepEqual(await connection.call('SUBSCRIBE', 'b', 'c'), [
      ['subscribe', 'b', 2],
      ['subscribe', 'c', 3],
    ])
    const more = [
      frame(bulk('pmessage'), bulk('p*'), bulk('pa'), bulk('3')),
      frame(bulk('smessage'), bulk('s'), bulk('4')),
    ]
    await server.peers[0]?.drip(Buffer.concat(more))
    await connection.call('PING')
    assert.deepEqual(pushes, [
      ['message', 'a', '1'],
      ['message', 'b', '2'],
      ['pmessage', 'p*', 'pa', '3'],
      ['smessage', 's', '4'],
    ])
  })

  test(`RESP${protocol}: pipelined subscriptions are confirmed each on its own`, async (t) => {
    const { connection } = await subscriber(t)
    assert.deepEqual(
      await Promise.all([
        connection.call('SUBSCRIBE', 'a'),
        connection.call('UNSUBSCRIBE', 'a'),
        connection.call('GET', 'k'),
        connection.call('SSUBSCRIBE', 'a', 'b'),
        connection.call('SUNSUBSCRIBE', 'b', 'a'),
        connection.call('GET', 'k'),
      ]),
      [
        [['subscribe', 'a', 1]],
        [['unsubscribe', 'a', 0]],
        'value',
        [
          ['ssubscribe', 'a', 1],
          ['ssubscribe', 'b', 2],
        ],
        [
          ['sunsubscribe', 'b', 1],
          ['sunsubscribe', 'a', 0],
        ],
        'value',
      ],
    )
  })

  test(`RESP${protocol}: a subscription that is refused rejects`, async (t) => {
    const { connection } = await subscriber(t, (command) =>
      command[0] === 'SUBSCRIBE' ? '-NOPERM no permissions to access a channel\r\n' : hello(command),
    )
    await assert.rejects(connection.call('SUBSCRIBE', 'a', 'b'), ReplyError)
    assert.equal(await connection.call('PING'), 'PONG')
  })

  test(`RESP${protocol}: a shard subscription that the server ends by itself is a push`, async (t) => {
    const { server, connection, pushes } = await subscriber(t)
    await connection.call('SSUBSCRIBE', 'a', 'b')
    server.peers[0]?.send(confirmation('sunsubscribe', 'a', 1))
    assert.equal(await connection.call('GET', 'k'), 'value')
    assert.deepEqual(pushes, [['sunsubscribe', 'a', 1]])
  })

  test(`RESP${protocol}: a shard subscription that the server ends meanwhile confirms no other one`, async (t) => {
    const confirm = pubsub()
    const { connection, pushes } = await subscriber(t, (command, peer) => {
      if (command[0] === 'SUNSUBSCRIBE') peer.send(confirmation('sunsubscribe', 'a', 2))
      return confirm(command, peer)
    })
    await connection.call('SSUBSCRIBE', 'a', 'b', 'c')
    const ended = await connection.execute(['SUNSUBSCRIBE', Buffer.from('b')])
    assert.ok(Array.isArray(ended) && Array.isArray(ended[0]) && ended.length === 1)
    assert.equal(ended[0][1], 'b')
    assert.deepEqual(pushes, [['sunsubscribe', 'a', 2]])
  })

  test(`RESP${protocol}: messages are text where the command in flight asked for bytes, or comparable`, async (t) => {
    const { server, connection, pushes } = await subscriber(t)
    const confirmed = await connection.execute(['SUBSCRIBE', 'a'], { replies: 'buffer' })
    assert.ok(Array.isArray(confirmed) && confirmed.length === 1)
    const value = connection.execute(['GET', 'k'], { replies: 'buffer' })
    server.peers[0]?.send(message('a', 'x'))
    assert.deepEqual(await value, Buffer.from('value'))
    await connection.call('GET', 'k')
    assert.deepEqual(
      pushes.map((it) => it.map(String)),
      [['message', 'a', 'x']],
    )
  })

  test(`RESP${protocol}: a list that looks like a message is a reply to who is subscribed to nothing`, async (t) => {
    const { connection, pushes } = await subscriber(t, (command) =>
      command[0] === 'LRANGE' ? array(bulk('message'), bulk('a'), bulk('x')) : hello(command),
    )
    assert.deepEqual(await connection.call('LRANGE', 'k', 0, -1), ['message', 'a', 'x'])
    assert.deepEqual(pushes, [])
  })

  test(`RESP${protocol}: lines of MONITOR are pushes, and replies stay replies`, async (t) => {
    const line = '1700000000.123456 [0 127.0.0.1:50000] "set" "k" "v"'
    const { server, connection, pushes } = await subscriber(t, (command) =>
      command[0] === 'MONITOR'
        ? '+OK\r\n'
        : (hello(command) ?? (command[0] === 'GET' ? bulk('v') : undefined)),
    )
    assert.equal(await connection.call('MONITOR'), 'OK')
    server.peers[0]?.send(Buffer.concat([simple(line), simple(line)]))
    assert.equal(await connection.call('GET', 'k'), 'v')
    assert.deepEqual(pushes, [
      ['monitor', line],
      ['monitor', line],
    ])
  })

  test(`RESP${protocol}: RESET ends subscriptions and MONITOR`, async (t) => {
    const confirm = pubsub()
    const line = '1700000000.123456 [0 127.0.0.1:50000] "ping"'
    const { connection, pushes } = await subscriber(t, (command, peer) => {
      switch (command[0]) {
        case 'MONITOR':
          return '+OK\r\n'
        case 'RESET':
          return '+RESET\r\n'
        case 'LINE':
          return simple(line)
        case 'LRANGE':
          return array(bulk('message'), bulk('a'), bulk('x'))
        case 'UNSUBSCRIBE':
          return array(bulk('unsubscribe'), nullBulk(), integer(0))
        default:
          return confirm(command, peer)
      }
    })
    await connection.call('SUBSCRIBE', 'a')
    await connection.call('MONITOR')
    assert.equal(await connection.call('RESET'), 'RESET')
    assert.deepEqual(await connection.call('LRANGE', 'k', 0, -1), ['message', 'a', 'x'])
    assert.equal(await connection.call('LINE'), line)
    assert.deepEqual(await connection.call('UNSUBSCRIBE'), [['unsubscribe', null, 0]])
    assert.deepEqual(pushes, [])
  })
}

test('other pushes go to onPush wherever they come, and the owner may change it at any time', async (t) => {
  const pushes: (readonly Reply[])[] = []
  const { connection } = await connected(t, (command) =>
    command[0] === 'GET'
      ? Buffer.concat([
          push(bulk('invalidate'), array(bulk('a'))),
          bulk('v'),
          push(bulk('invalidate'), resp3Null()),
        ])
      : greet(command),
  )
  assert.equal(await connection.call('GET', 'a'), 'v')
  connection.onPush = (it) => pushes.push(it)
  const replies = [connection.call('GET', 'a'), connection.execute(['GET', 'b'], { replies: 'buffer' })]
  assert.deepEqual(await Promise.all(replies), ['v', Buffer.from('v')])
  await connection.call('PING')
  assert.deepEqual(pushes, [
    ['invalidate', ['a']],
    ['invalidate', null],
    ['invalidate', ['a']],
    ['invalidate', null],
  ])
})

test('a listener that destroys the connection is called no more', async (t) => {
  let calls = 0
  const { connection } = await connected(t, (command) =>
    command[0] === 'GET' ? Buffer.concat([push(simple('a')), push(simple('b')), bulk('v')]) : greet(command),
  )
  connection.onPush = () => {
    calls += 1
    connection.destroy()
  }
  await assert.rejects(connection.call('GET', 'k'), { code: 'CONNECTION_CLOSED', mayHaveExecuted: true })
  assert.equal(calls, 1)
})

test('a listener that closes the connection lets the command in flight finish', async (t) => {
  const { connection } = await connected(t, (command) =>
    command[0] === 'GET' ? Buffer.concat([push(simple('a')), bulk('v')]) : greet(command),
  )
  connection.onPush = () => void connection.close()
  assert.equal(await connection.call('GET', 'k'), 'v')
  await connection.closed
})

test('a listener that throws is an uncaught exception and harms no command', async (t) => {
  const server = await scriptedServer(t, (command) =>
    command[0] === 'GET' ? Buffer.concat([push(simple('a')), bulk('v')]) : greet(command),
  )
  const entry = new URL('../../lib/connection/index.js', import.meta.url).href
  const program = `
    const { connect } = await import(${JSON.stringify(entry)})
    process.on('uncaughtException', (error) => console.log('uncaught', error.message))
    const onPush = () => { throw new Error('of the listener') }
    const connection = await connect({ ...${JSON.stringify(server.options)}, onPush })
    console.log(String(await Promise.all([connection.call('GET', 'a'), connection.call('GET', 'b')])))
    await connection.close()
  `
  const { stdout } = await runProgram(t, program)
  assert.deepEqual(stdout.trim().split('\n').sort(), [
    'uncaught of the listener',
    'uncaught of the listener',
    'v,v',
  ])
})
