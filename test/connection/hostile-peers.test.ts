// A peer that answers with anything but what it should: every command that waits fails at once and with a typed error,
// the connection is gone, and no more memory is taken than has arrived. Commands have no deadline here where nothing
// else is said, so that only the fault can end them.

import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { type Connection, connect } from '../../lib/connection/index.ts'
import { ConnectionError, ProtocolError, type RespoolError, TimeoutError } from '../../lib/errors.ts'
import type { Reply } from '../../lib/resp/index.ts'
import { type Connected, connected } from '../support/connected.ts'
import { eventually } from '../support/real-servers.ts'
import { attribute, bulk, integer, push, simple } from '../support/resp-writer.ts'
import { greet, greetInResp2, type Script, scriptedServer } from '../support/scripted-server.ts'

const MEBIBYTE = 1024 * 1024

/** Answers EVIL with the wire, and nothing else but the handshake. */
const evil =
  (wire: string | Buffer): Script =>
  (command) =>
    command[0] === 'EVIL' ? wire : greet(command)

/** Three commands that have left, the first of which brings the wire; what becomes of each, and of one given later. */
async function outcomes({ connection }: Connected): Promise<[all: unknown[], late: unknown]> {
  const commands = [['EVIL'], ['GET', 'k'], ['SUBSCRIBE', 'c']]
  const all = await Promise.all(commands.map((it) => connection.execute(it).catch((error: unknown) => error)))
  return [all, await connection.call('PING').catch((error: unknown) => error)]
}

function isFault(error: unknown, type: 'PROTOCOL_ERROR' | 'PROTOCOL_LIMIT', message: RegExp): void {
  assert.ok(error instanceof ProtocolError, String(error))
  assert.equal(error.code, type)
  assert.match(error.message, message)
}

type Row = readonly [what: string, wire: string, message: RegExp, code?: 'PROTOCOL_LIMIT']

const faults: readonly Row[] = [
  ['a length below -1', '$-5\r\n', /malformed length: "-5"/],
  ['a length that is a word', '$x\r\n', /malformed length: "x"/],
  ['a length beyond every limit', '$99999999999\r\n', /99999999999 bytes.*536870912/, 'PROTOCOL_LIMIT'],
  ['a count beyond every limit', '*4294967295\r\n', /4294967295 elements/, 'PROTOCOL_LIMIT'],
  ['a count below -1', '*-2\r\n', /malformed length: "-2"/],
  ['a bulk string without its CRLF', '$3\r\nabcde', /bulk string that does not end with CRLF/],
  ['a line that ends with LF alone', '+OK\n', /line that does not end with CRLF/],
  ['a line with a CR in it', '+O\rK\r\n', /line that does not end with CRLF/],
  ['an answer by HTTP', 'HTTP/1.1 200 OK\r\nServer: x\r\n\r\n', /unexpected type byte 'H'/],
  ['a TLS alert', '\u0015\u0003\u0001\u0000\u0002\u0002\u0028', /unexpected type byte 0x15/],
  ['a type that there is not', '@1\r\n', /unexpected type byte '@'/],
  ['a push within a reply', '*1\r\n>1\r\n+a\r\n', /unexpected type byte '>' inside another reply/],
  ['an end of nothing', '.\r\n', /unexpected type byte '\.'/],
  ['a chunk of nothing', ';1\r\na\r\n', /unexpected type byte ';'/],
  ['nesting of 10,000', '*1\r\n'.repeat(10_000), /nested 129 deep.* maxDepth is 128/, 'PROTOCOL_LIMIT'],
  ['maps nested 10,000 deep', '%1\r\n+k\r\n'.repeat(10_000), /nested 129 deep/, 'PROTOCOL_LIMIT'],
  ['attributes nested 10,000 deep', '|1\r\n'.repeat(10_000), /nested 129 deep/, 'PROTOCOL_LIMIT'],
  ['streams nested 10,000 deep', '*?\r\n'.repeat(10_000), /nested 129 deep/, 'PROTOCOL_LIMIT'],
  ['sets nested 1,000,000 deep', '~1\r\n'.repeat(1_000_000), /nested 129 deep/, 'PROTOCOL_LIMIT'],
]

for (const [what, wire, message, code = 'PROTOCOL_ERROR'] of faults) {
  test(`${what} fails all that waits, at once, and ends the connection`, async (t) => {
    const context = await connected(t, evil(wire), { commandTimeout: 0 })
    const { server, connection } = context
    const [all, late] = await outcomes(context)
    for (const error of all) {
      isFault(error, code, message)
      assert.equal((error as RespoolError).mayHaveExecuted, true)
      assert.ok((error as Error).message.endsWith(`(${server.address})`))
    }
    isFault(late, code, message)
    assert.equal((late as RespoolError).mayHaveExecuted, false)
    isFault(connection.error, code, message)
    assert.equal(connection.pendingCount, 0)
    await connection.closed
    await server.until(() => server.openCount === 0)
  })
}

test('a fault is found at its first byte that shows it, also when each byte comes by itself', async (t) => {
  for (const [what, wire, message, code = 'PROTOCOL_ERROR'] of faults) {
    if (wire.length > 1000) continue
    const context = await connected(
      t,
      (command, peer) => {
        if (command[0] === 'EVIL') void peer.drip(Buffer.from(wire, 'latin1'))
        return greet(command)
      },
      { commandTimeout: 0 },
    )
    const [all] = await outcomes(context)
    for (const error of all) isFault(error, code, message)
    assert.ok(context.connection.error, what)
  }
})

test('a reply that nobody asked for ends the connection, whatever it is', async (t) => {
  for (const wire of ['+OK\r\n', '-ERR you have been idle\r\n', '$-1\r\n', '*0\r\n', '%0\r\n', '_\r\n']) {
    const { server, connection } = await connected(t, greet)
    server.peers[0]?.send(wire)
    await connection.closed
    isFault(connection.error, 'PROTOCOL_ERROR', /^a reply that no command asked for \(/)
    assert.equal((connection.error as RespoolError).mayHaveExecuted, false)
  }
})

test('more replies than commands: those that were asked for arrive, then the connection ends', async (t) => {
  const context = await connected(t, evil('+1\r\n+2\r\n+3\r\n+4\r\n'))
  const { connection } = context
  const replies = ['EVIL', 'A', 'B'].map((name) => connection.call(name))
  assert.deepEqual(await Promise.all(replies), ['1', '2', '3'])
  await connection.closed
  isFault(connection.error, 'PROTOCOL_ERROR', /no command asked for/)
})

test('replies before a fault are given out, and those who wait behind it fail', async (t) => {
  const { connection } = await connected(t, evil('+first\r\n$-1\r\n-ERR third\r\n$x\r\n+never\r\n'))
  const all = await Promise.allSettled(['EVIL', 'A', 'B', 'C', 'D'].map((name) => connection.call(name)))
  assert.deepEqual(all.slice(0, 2), [
    { status: 'fulfilled', value: 'first' },
    { status: 'fulfilled', value: null },
  ])
  const reasons = all.slice(2).map((it) => (it.status === 'rejected' ? it.reason : undefined))
  assert.equal(reasons[0]?.code, 'REPLY_ERROR')
  for (const error of reasons.slice(1)) isFault(error, 'PROTOCOL_ERROR', /malformed length/)
})

test('a peer that closes at any byte of any reply fails all that waits, at once', async (t) => {
  const wire = Buffer.concat([
    Buffer.from('|1\r\n+a\r\n:1\r\n%1\r\n$1\r\nk\r\n~2\r\n#t\r\n,1.5\r\n'),
    Buffer.from('$?\r\n;2\r\nab\r\n;0\r\n'),
    Buffer.from('=5\r\ntxt:a\r\n'),
  ])
  const first = wire.indexOf('$?')
  const second = wire.indexOf('=5')
  const server = await scriptedServer(t, (command, peer) => {
    if (command[0] === 'CUT') {
      const bytes = Number(command[1])
      if (command[2] === 'reset') {
        peer.send(wire.subarray(0, bytes))
        setImmediate(() => peer.reset())
      } else {
        peer.cut(wire, bytes)
      }
      return undefined
    }
    return greet(command)
  })
  for (const how of ['close', 'reset']) {
    for (let bytes = 0; bytes < wire.length; bytes += 1) {
      const connection = await connect({ ...server.options, commandTimeout: 0 })
      const all = await Promise.allSettled([
        connection.call('CUT', bytes, how),
        connection.call('A'),
        connection.call('B'),
        connection.call('INCR', 'n'),
      ])
      const failed = all.flatMap((it) => (it.status === 'rejected' ? [it.reason as unknown] : []))
      // a reset may overtake what was sent before it
      const answered = bytes < first ? 0 : bytes < second ? 1 : 2
      assert.ok(how === 'reset' ? failed.length >= 4 - answered : failed.length === 4 - answered, `${bytes}`)
      for (const error of failed) {
        assert.ok(error instanceof ConnectionError, String(error))
        assert.deepEqual(
          [error.code, error.phase, error.mayHaveExecuted, error.address],
          ['CONNECTION_LOST', 'ready', true, server.address],
        )
      }
      await connection.closed
    }
  }
})

test('an announcement of 512 MiB that is not kept costs no memory and is given up with the deadline', async (t) => {
  const server = await scriptedServer(t, evil('*134217728\r\n$536870912\r\nabc'))
  const before = process.memoryUsage()
  const connections: Connection[] = []
  for (let i = 0; i < 20; i += 1) {
    const connection = await connect({ ...server.options, commandTimeout: 60 })
    t.after(() => connection.destroy())
    connections.push(connection)
  }
  const calls = connections.map((connection) => connection.call('EVIL').catch((error: unknown) => error))
  for (const error of await Promise.all(calls)) assert.ok(error instanceof TimeoutError, String(error))
  const after = process.memoryUsage()
  // room of 1 MiB that nothing was written to is address space
  assert.ok(after.arrayBuffers - before.arrayBuffers < 20 * 2 * MEBIBYTE)
  assert.ok(after.rss - before.rss < 40 * MEBIBYTE, `${after.rss - before.rss} bytes more`)
  // whoever comes next finds silence
  await Promise.all(
    connections.map(async (connection) => {
      await assert.rejects(connection.call('GET', 'k'), TimeoutError)
      assert.ok(connection.error instanceof ConnectionError && connection.error.code === 'CONNECTION_LOST')
    }),
  )
  await server.until(() => server.openCount === 0)
})

test('a line without end is a fault before it has filled the memory', async (t) => {
  const { connection } = await connected(
    t,
    (command, peer) => {
      if (command[0] !== 'EVIL') return greet(command)
      const pour = (): void => {
        while (peer.socket.writable && peer.socket.write('1'.repeat(65_536)));
      }
      peer.send(':')
      peer.socket.on('drain', pour)
      pour()
      return undefined
    },
    { commandTimeout: 0 },
  )
  const before = process.memoryUsage().rss
  const error = await connection.call('EVIL').catch((it: unknown) => it)
  isFault(error, 'PROTOCOL_LIMIT', /a line of more than \d+ bytes, the limit maxLineBytes is \d+/)
  assert.ok(process.memoryUsage().rss - before < 64 * MEBIBYTE)
})

test('a peer that answers a byte at a time holds up nobody beyond the deadline, and no memory', async (t) => {
  const { server, connection } = await connected(
    t,
    (command, peer) => {
      if (command[0] !== 'EVIL') return greet(command)
      let left = 100
      peer.send('$1000\r\n')
      const dripping = setInterval(() => {
        if (left-- > 0) peer.send('x')
        else {
          clearInterval(dripping)
          peer.send(`${'x'.repeat(900)}\r\n+mine\r\n`)
        }
      }, 2)
      peer.socket.once('close', () => clearInterval(dripping))
      return undefined
    },
    { commandTimeout: 0 },
  )
  const startedAt = performance.now()
  const slow = connection.execute(['EVIL'], { timeout: 50 })
  const behind = connection.execute(['GET', 'k'], { timeout: 60 })
  const patient = connection.call('GET', 'k')
  await assert.rejects(slow, TimeoutError)
  await assert.rejects(behind, TimeoutError)
  assert.ok(performance.now() - startedAt < 1000)
  // the late replies of those two are swallowed in their places
  await eventually('the end of the dripping', () => connection.pendingCount === 1)
  server.peers[0]?.send('$5\r\nright\r\n')
  assert.equal(await patient, 'right')
})

for (const protocol of [2, 3] as const) {
  const hello = protocol === 3 ? greet : greetInResp2

  test(`RESP${protocol}: pushes, with attributes or without, stand between replies and take none's place`, async (t) => {
    const pushes: (readonly Reply[])[] = []
    const attributes: unknown[] = []
    const about = attribute([simple('ttl'), integer(1)])
    const { connection } = await connected(
      t,
      (command) => {
        if (command[0] !== 'GET') return hello(command)
        const news = push(bulk('news'), bulk(command[1] ?? ''))
        return Buffer.concat([about, news, news, about, bulk(`value of ${command[1]}`), about, news])
      },
      { onPush: (it) => pushes.push(it) },
    )
    assert.equal(connection.protocol, protocol)
    const onAttributes = (it: unknown) => attributes.push(it)
    const replies = await Promise.all([
      connection.execute(['GET', 'a'], { onAttributes }),
      connection.call('GET', 'b'),
      connection.execute(['GET', 'c'], { onAttributes, replies: 'buffer' }),
    ])
    assert.deepEqual(replies, ['value of a', 'value of b', Buffer.from('value of c')])
    // those of a push are not those of a reply
    assert.deepEqual(
      attributes,
      [1, 2].map(() => [new Map([['ttl', 1]])]),
    )
    await eventually('all pushes', () => pushes.length === 9)
    assert.deepEqual(pushes.map(([, key]) => key).join(''), 'aaabbbccc')
  })

  test(`RESP${protocol}: a push that looks like a confirmation confirms nothing that was not asked for`, async (t) => {
    const pushes: (readonly Reply[])[] = []
    const { connection } = await connected(
      t,
      (command) =>
        command[0] === 'GET'
          ? Buffer.concat([push(bulk('subscribe'), bulk('x'), integer(1)), bulk('v')])
          : hello(command),
      { onPush: (it) => pushes.push(it) },
    )
    assert.deepEqual(await Promise.all([connection.call('GET', 'a'), connection.call('GET', 'b')]), [
      'v',
      'v',
    ])
    assert.deepEqual(pushes, [
      ['subscribe', 'x', 1],
      ['subscribe', 'x', 1],
    ])
  })
}

test('a push of anything at all is passed on, and harms no reply', async (t) => {
  const pushes: (readonly Reply[])[] = []
  const wires = [
    '>0\r\n',
    '>1\r\n_\r\n',
    '>2\r\n*0\r\n%0\r\n',
    '>1\r\n-ERR x\r\n',
    '>3\r\n$-1\r\n:1\r\n#f\r\n',
  ]
  const { connection } = await connected(
    t,
    (command) => (command[0] === 'GET' ? `${wires.join('')}+v\r\n` : greet(command)),
    { onPush: (it) => pushes.push(it) },
  )
  assert.equal(await connection.call('GET', 'k'), 'v')
  assert.equal(pushes.length, wires.length)
})

test('a burst of pushes without end does not keep replies from those who wait', async (t) => {
  let count = 0
  const news = push(bulk('message'), bulk('c'), bulk('x'.repeat(100)))
  const burst = Buffer.concat(Array.from({ length: 5000 }, () => news))
  const { connection } = await connected(
    t,
    (command) => (command[0] === 'GET' ? Buffer.concat([burst, bulk('v'), burst]) : greet(command)),
    {
      onPush: () => {
        count += 1
      },
    },
  )
  const replies = await Promise.all(Array.from({ length: 4 }, () => connection.call('GET', 'k')))
  assert.deepEqual(replies, ['v', 'v', 'v', 'v'])
  await eventually('the last burst', () => count === 40_000)
})

/** The same peer, and one that behaves: what one does is nothing to the other. */
test('a connection that is ended by a fault leaves others as they are', async (t: TestContext) => {
  const server = await scriptedServer(t, (command) =>
    command[0] === 'EVIL' ? '$5\r\nabcdefgh' : (greet(command) ?? bulk('v')),
  )
  const [bad, good] = await Promise.all([connect(server.options), connect(server.options)])
  t.after(() => good.destroy())
  const replies = Promise.all(Array.from({ length: 100 }, () => good.call('GET', 'k')))
  await assert.rejects(bad.call('EVIL'), ProtocolError)
  assert.ok((await replies).every((it) => it === 'v'))
  assert.equal(good.error, undefined)
})
