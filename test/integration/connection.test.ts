// The connection against a real server, in both versions of the protocol.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Connection, type ConnectionOptions, connect } from '../../lib/connection/index.ts'
import { ConnectionError, ReplyError, TimeoutError } from '../../lib/errors.ts'
import type { Reply } from '../../lib/resp/index.ts'
import { makeCertificate, missingOpenssl } from '../support/certificate.ts'
import { eventually, startServer } from '../support/real-servers.ts'
import type { Cleanup } from '../support/temp-dir.ts'

async function open(t: Cleanup, options: ConnectionOptions): Promise<Connection> {
  const connection = await connect(options)
  t.after(() => connection.destroy())
  return connection
}

const asMap = (reply: Reply): Map<Reply, Reply> => {
  if (reply instanceof Map) return reply
  assert.ok(Array.isArray(reply))
  return new Map(
    reply.flatMap((key, i): [Reply, Reply][] => (i % 2 === 0 ? [[key, reply[i + 1] as Reply]] : [])),
  )
}

for (const protocol of [2, 3] as const) {
  test(`RESP${protocol}: the commands of redigo's own tests have its replies`, async (t) => {
    const { port } = await startServer(t)
    const connection = await open(t, { port, protocol })
    assert.equal(connection.protocol, protocol)
    const rows: [command: (string | number)[], reply: Reply][] = [
      [['PING'], 'PONG'],
      [['SET', 'foo', 'bar'], 'OK'],
      [['GET', 'foo'], 'bar'],
      [['GET', 'nokey'], null],
      [
        ['MGET', 'nokey', 'foo'],
        [null, 'bar'],
      ],
      [['INCR', 'mycounter'], 1],
      [['LPUSH', 'mylist', 'foo'], 1],
      [['LPUSH', 'mylist', 'bar'], 2],
      [
        ['LRANGE', 'mylist', 0, -1],
        ['bar', 'foo'],
      ],
      [['MULTI'], 'OK'],
      [['LRANGE', 'mylist', 0, -1], 'QUEUED'],
      [['PING'], 'QUEUED'],
      [['EXEC'], [['bar', 'foo'], 'PONG']],
    ]
    for (const [[name = '', ...args], reply] of rows) {
      assert.deepEqual(await connection.call(String(name), ...args), reply)
    }
    assert.equal(await connection.call('DEL', 'mycounter', 'mylist'), 2)
    assert.deepEqual(
      await Promise.all(rows.map(([[name = '', ...args]]) => connection.call(String(name), ...args))),
      rows.map(([, reply]) => reply),
    )
  })

  test(`RESP${protocol}: values of every size come back as they went, as text and as bytes`, async (t) => {
    const { port } = await startServer(t)
    const connection = await open(t, { port, protocol })
    const every = Buffer.from(Array.from({ length: 256 }, (_, i) => i))
    for (const size of [0, 1, 255, 256, 16_384, 65_535, 65_536, 65_537, 1_000_000, 20_000_000]) {
      const bytes = Buffer.alloc(size, every)
      const text = 'h\u00e9llo \u{1f600} '.repeat(size / 12)
      const [, back, , backText] = await Promise.all([
        connection.call('SET', 'bytes', bytes),
        connection.execute(['GET', 'bytes'], { replies: 'buffer' }),
        connection.call('SET', 'text', text),
        connection.call('GET', 'text'),
      ])
      assert.ok(Buffer.isBuffer(back) && back.equals(bytes), `${size} bytes`)
      assert.ok(backText === text, `${size} bytes of text`)
    }
  })

  test(`RESP${protocol}: 10,000 commands at once get their replies in order`, async (t) => {
    const { port } = await startServer(t)
    const connection = await open(t, { port, protocol })
    const replies = await Promise.all(
      Array.from({ length: 10_000 }, (_, i) =>
        i % 2 === 0 ? connection.call('INCR', 'n') : connection.call('ECHO', `v${i}`),
      ),
    )
    assert.ok(replies.every((reply, i) => reply === (i % 2 === 0 ? i / 2 + 1 : `v${i}`)))
  })

  test(`RESP${protocol}: maps, integers beyond the safe range, errors in a transaction`, async (t) => {
    const { port } = await startServer(t)
    const connection = await open(t, { port, protocol })
    await connection.call('HSET', 'h', '__proto__', 1, 'a', 2)
    assert.deepEqual(
      asMap(await connection.call('HGETALL', 'h')),
      new Map([
        ['__proto__', '1'],
        ['a', '2'],
      ]),
    )
    await connection.call('SET', 'n', 2n ** 63n - 2n)
    assert.equal(await connection.call('INCR', 'n'), 2n ** 63n - 1n)
    await assert.rejects(connection.call('INCR', 'n'), { name: 'ReplyError', prefix: 'ERR' })
    await Promise.all([connection.call('SET', 's', 'x'), connection.call('MULTI')])
    await Promise.all([connection.call('SET', 'k', 'v'), connection.call('LPUSH', 's', 1)])
    const results = await connection.call('EXEC')
    assert.ok(Array.isArray(results) && results[0] === 'OK' && results[1] instanceof ReplyError)
    assert.equal(results[1].prefix, 'WRONGTYPE')
    await connection.call('MULTI')
    await assert.rejects(connection.call('NOSUCHCOMMAND'), ReplyError)
    await assert.rejects(connection.call('EXEC'), { prefix: 'EXECABORT' })
    assert.equal(await connection.call('GET', 'k'), 'v')
  })

  test(`RESP${protocol}: subscriptions are confirmed, messages come, and the connection goes on after`, async (t) => {
    const { port } = await startServer(t)
    const messages: (readonly Reply[])[] = []
    const subscriber = await open(t, { port, protocol, onPush: (push) => messages.push(push) })
    const publisher = await open(t, { port, protocol })
    assert.deepEqual(await subscriber.call('SUBSCRIBE', 'a', 'b'), [
      ['subscribe', 'a', 1],
      ['subscribe', 'b', 2],
    ])
    assert.deepEqual(await subscriber.call('PSUBSCRIBE', 'p*'), [['psubscribe', 'p*', 3]])
    assert.equal(await publisher.call('PUBLISH', 'a', 'one'), 1)
    assert.equal(await publisher.call('PUBLISH', 'pa', 'two'), 1)
    await eventually('both messages are there', () => messages.length === 2)
    assert.deepEqual(messages, [
      ['message', 'a', 'one'],
      ['pmessage', 'p*', 'pa', 'two'],
    ])
    assert.ok(Array.isArray(await subscriber.call('UNSUBSCRIBE')))
    assert.deepEqual(await subscriber.call('PUNSUBSCRIBE'), [['punsubscribe', 'p*', 0]])
    assert.deepEqual(await subscriber.call('UNSUBSCRIBE'), [['unsubscribe', null, 0]])
    assert.equal(await subscriber.call('ECHO', 'on'), 'on')
  })

  test(`RESP${protocol}: RESET makes a connection of RESP2 of it, subscribed to nothing`, async (t) => {
    const { port } = await startServer(t)
    const connection = await open(t, { port, protocol })
    const isKnown = (await connection.call('COMMAND', 'INFO', 'RESET')) as Reply[]
    if (isKnown[0] === null) return t.skip('this server has no RESET, which came with Redis 6.2')
    await connection.call('SUBSCRIBE', 'a')
    assert.equal(await connection.call('RESET'), 'RESET')
    assert.equal(connection.protocol, 2)
    await connection.call('RPUSH', 'l', 'message', 'a', 'x')
    assert.deepEqual(await connection.call('LRANGE', 'l', 0, -1), ['message', 'a', 'x'])
    assert.deepEqual(await connection.call('SUBSCRIBE', 'b'), [['subscribe', 'b', 1]])
    await connection.call('UNSUBSCRIBE')
    await connection.call('HELLO', 3)
    assert.equal(connection.protocol, 3)
    assert.ok((await connection.call('CONFIG', 'GET', 'port')) instanceof Map)
  })

  test(`RESP${protocol}: MONITOR tells the commands of others`, async (t) => {
    const { port } = await startServer(t)
    const lines: string[] = []
    const monitor = await open(t, { port, protocol, onPush: ([, line]) => lines.push(String(line)) })
    const other = await open(t, { port, protocol })
    assert.equal(await monitor.call('MONITOR'), 'OK')
    await other.call('SET', 'key', 'a value')
    await eventually('the line is there', () => lines.some((line) => line.includes('"SET" "key" "a value"')))
  })
}

test('a password, a name and a database are in force after the handshake', async (t) => {
  const { port } = await startServer(t, { password: 'secret' })
  for (const protocol of [2, 3] as const) {
    const connection = await open(t, { port, protocol, password: 'secret', clientName: 'web', database: 4 })
    assert.equal(await connection.call('CLIENT', 'GETNAME'), 'web')
    assert.match(String(await connection.call('CLIENT', 'LIST')), /name=web .*db=4 /)
    await assert.rejects(connect({ port, protocol, password: 'hunter2' }), (error: unknown) => {
      assert.ok(error instanceof ConnectionError)
      assert.match(error.message, /WRONGPASS/)
      return error.code === 'HANDSHAKE_FAILED'
    })
    await assert.rejects(connect({ port, protocol: 3 }), { code: 'HANDSHAKE_FAILED', message: /NOAUTH/ })
    const database = { port, protocol, password: 'secret', database: 99 }
    await assert.rejects(connect(database), { code: 'HANDSHAKE_FAILED', message: /refused SELECT 99/ })
  }
})

test('a blocking command waits beyond commandTimeout, and is given up when its own time is long over', async (t) => {
  const { port } = await startServer(t)
  const connection = await open(t, { port, commandTimeout: 100 })
  const pusher = await open(t, { port })
  assert.equal(await connection.call('BLPOP', 'l', 0.3), null)
  const popped = connection.call('BLPOP', 'l', 0)
  await pusher.call('BLPOP', 'none', 0.2)
  await pusher.call('RPUSH', 'l', 'x')
  assert.deepEqual(await popped, ['l', 'x'])
})

test('a server that hangs is found out, and one that comes back is found with a new connection', async (t) => {
  const server = await startServer(t)
  const connection = await open(t, { port: server.port, commandTimeout: 100 })
  server.signal('SIGSTOP')
  await assert.rejects(connection.call('PING'), TimeoutError)
  assert.ok(connection.error instanceof ConnectionError && connection.error.code === 'CONNECTION_LOST')
  await assert.rejects(connect({ port: server.port, connectTimeout: 500 }), { phase: 'handshake' })
  server.signal('SIGCONT')
  const next = await open(t, { port: server.port })
  assert.equal(await next.call('PING'), 'PONG')
})

test('a server that dies fails what is in flight at once', async (t) => {
  const server = await startServer(t)
  const connection = await open(t, { port: server.port, commandTimeout: 0 })
  const popped = connection.call('BLPOP', 'l', 0)
  const failed = assert.rejects(popped, { code: 'CONNECTION_LOST', mayHaveExecuted: true })
  await server.stop('SIGKILL')
  await failed
  await assert.rejects(connection.call('PING'), { code: 'CONNECTION_LOST', mayHaveExecuted: false })
})

test('a unix socket serves like a port', async (t) => {
  const { socketPath } = await startServer(t, { unixSocket: true })
  const connection = await open(t, { path: socketPath })
  assert.equal(connection.address, socketPath)
  assert.equal(await connection.call('PING'), 'PONG')
})

test('TLS serves like a port', { skip: missingOpenssl() }, async (t) => {
  const { certPath, keyPath, cert } = makeCertificate(t)
  let port: number
  try {
    port = (await startServer(t, { tls: { cert: certPath, key: keyPath, ca: certPath } })).port
  } catch (error) {
    if (!/tls-port/i.test(String(error))) throw error
    t.skip('this server was built without TLS')
    return
  }
  const connection = await open(t, { port, tls: { ca: cert } })
  const value = Buffer.alloc(5_000_000, 'abcdefg')
  await connection.call('SET', 'k', value)
  const back = await connection.execute(['GET', 'k'], { replies: 'buffer' })
  assert.ok(Buffer.isBuffer(back) && back.equals(value))
  await connection.close()
})

test('a status or error reply of a script may be as long as any other string', async (t) => {
  const { port } = await startServer(t)
  const connection = await open(t, { port })
  for (const size of [65_536, 70_000, 1_000_000]) {
    const status = await connection.call('EVAL', `return redis.status_reply(string.rep('x', ${size}))`, 0)
    assert.equal(String(status).length, size)
    const fails = connection.call('EVAL', `return redis.error_reply(string.rep('x', ${size}))`, 0)
    await assert.rejects(
      fails,
      (error: unknown) => error instanceof ReplyError && error.message.length >= size,
    )
  }
})

for (const protocol of [2, 3] as const) {
  test(`RESP${protocol}: MONITOR tells commands with large arguments`, async (t) => {
    const { port } = await startServer(t)
    const lengths: number[] = []
    const onPush = ([, line]: readonly Reply[]) => {
      lengths.push(String(line).length)
    }
    const monitor = await open(t, { port, protocol, onPush })
    await monitor.call('MONITOR')
    const other = await open(t, { port })
    await other.call('SET', 'text', 'v'.repeat(1_000_000))
    await other.call('SET', 'bytes', Buffer.alloc(1_000_000, 0xff)) // each byte is shown as four characters
    await eventually('both lines', () => lengths.some((it) => it > 4_000_000))
    assert.ok(lengths.some((it) => it > 1_000_000 && it < 1_100_000))
    assert.equal(monitor.error, undefined)
  })
}
