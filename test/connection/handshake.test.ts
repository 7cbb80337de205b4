// What is said first, and what comes of it: against real servers, and against servers that answer as old, busy,
// strange or hostile ones do.

import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { type Connection, type ConnectionOptions, connect } from '../../lib/connection/index.ts'
import { ConnectionError, ProtocolError, ReplyError } from '../../lib/errors.ts'
import type { Reply } from '../../lib/resp/index.ts'
import { eventually, request, startServer } from '../support/real-servers.ts'
import { array, bulk, integer, map, push, simple } from '../support/resp-writer.ts'
import { greet, greetInResp2, type Script, scriptedServer } from '../support/scripted-server.ts'

async function open(t: TestContext, options: ConnectionOptions): Promise<Connection> {
  const connection = await connect(options)
  t.after(() => connection.destroy())
  return connection
}

/** A handshake that failed, with the server's own words as its cause where it said any. */
async function refusal(promise: Promise<unknown>): Promise<ConnectionError> {
  const error: unknown = await promise.then(
    () => assert.fail('it is connected'),
    (reason: unknown) => reason,
  )
  assert.ok(error instanceof ConnectionError, String(error))
  assert.deepEqual([error.code, error.phase], ['HANDSHAKE_FAILED', 'handshake'])
  assert.equal(error.mayHaveExecuted, false)
  return error
}

const protocols = [2, 3] as const

for (const protocol of protocols) {
  test(`RESP${protocol}: an ACL user is who was asked for, with any characters in name and password`, async (t) => {
    const { port } = await startServer(t)
    const password = 'p@ss w\u00f6rd/#?:%"\'\u{1f511}'
    await request({ port }, 'ACL', 'SETUSER', 'app:1@home', 'on', `>${password}`, '~*', '+@all')
    const byOptions = await open(t, { port, protocol, username: 'app:1@home', password })
    const user = `${encodeURIComponent('app:1@home')}:${encodeURIComponent(password)}`
    const byUrl = await connect(`redis://${user}@127.0.0.1:${port}?protocol=${protocol}`)
    t.after(() => byUrl.destroy())
    for (const connection of [byOptions, byUrl]) {
      assert.equal(connection.protocol, protocol)
      assert.equal(await connection.call('ACL', 'WHOAMI'), 'app:1@home')
    }
    const error = await refusal(connect({ port, protocol, username: 'app:1@home', password: 'hunter2' }))
    assert.match(error.message, /WRONGPASS/)
    assert.doesNotMatch(error.message, /hunter2/)
  })

  test(`RESP${protocol}: a user who may do little connects, and is told what he may not`, async (t) => {
    const { port } = await startServer(t)
    await request(
      { port },
      'ACL',
      'SETUSER',
      'reader',
      'on',
      '>secret',
      '~*',
      '+get',
      '-@connection',
      '+auth',
    )
    const options = { port, protocol, username: 'reader', password: 'secret' }
    const connection = await open(t, options)
    assert.equal(await connection.call('GET', 'k'), null)
    await assert.rejects(connection.call('SET', 'k', 'v'), { prefix: 'NOPERM' })
    const error = await refusal(connect({ ...options, database: 1 }))
    assert.match(error.message, /^the server refused SELECT 1: NOPERM .*\(127\.0\.0\.1:\d+\)$/)
    assert.ok(error.cause instanceof ReplyError && error.cause.prefix === 'NOPERM')
  })

  test(`RESP${protocol}: credentials that change are those of the user from then on`, async (t) => {
    const { port } = await startServer(t)
    for (const user of ['first', 'second']) {
      await request({ port }, 'ACL', 'SETUSER', user, 'on', `>${user}-token`, '~*', '+@all')
    }
    let username = 'first'
    const credentials = () => ({ username, password: `${username}-token`, expiresIn: 100 })
    const connection = await open(t, { port, protocol, credentials })
    assert.equal(await connection.call('ACL', 'WHOAMI'), 'first')
    username = 'second'
    await eventually('the second user', async () => (await connection.call('ACL', 'WHOAMI')) === 'second')
    assert.equal(connection.error, undefined)
  })

  test(`RESP${protocol}: database, name and library are known to the server`, async (t) => {
    const { port } = await startServer(t)
    const options = `redis://127.0.0.1:${port}/3?clientName=web-1&protocol=${protocol}`
    const connection = await connect(options)
    t.after(() => connection.destroy())
    const told = String(await connection.call('CLIENT', 'LIST'))
    assert.match(told, /\bname=web-1\b/)
    assert.match(told, /\bdb=3\b/)
    // servers since 7.2 have the field, and it is told to them in RESP3 only
    if (protocol === 3 && told.includes('lib-name='))
      assert.match(told, /lib-name=respool lib-ver=\d+\.\d+\./)
  })
}

test('a server that is full says so, though it closes at once', async (t) => {
  const { port } = await startServer(t, { args: ['--maxclients', '1'] })
  // the launcher's own connection may not be gone yet
  const first = await eventually('the only place', () => connect({ port }).catch(() => undefined))
  t.after(() => first?.destroy())
  for (let attempt = 0; attempt < 20; attempt += 1) {
    const error = await refusal(connect({ port, username: 'me', password: 'hunter2', database: 1 }))
    // its answer may be gone when it resets the connection, and is the first thing that is told where it is not
    if (/ECONNRESET|EPIPE/.test(error.message)) continue
    assert.match(error.message, /^the server refused HELLO with AUTH: ERR max number of clients reached/)
    assert.ok(error.cause instanceof ReplyError)
    return
  }
  assert.fail('its answer is never told')
})

test('a refusal counts and not the end behind it, at any byte of the answers', async (t) => {
  const refused = '-ERR max number of clients reached\r\n'
  for (const [protocol, step] of [
    [3, 'HELLO with AUTH'],
    [2, 'AUTH'],
  ] as const) {
    const wire = `${refused}+OK\r\n+OK\r\n`
    const server = await scriptedServer(t, (_, peer) => {
      if (peer.commands.length === 1) peer.cut(wire, peer.index)
      return undefined
    })
    for (let bytes = 0; bytes <= wire.length; bytes += 1) {
      const options = { ...server.options, protocol, password: 'hunter2', database: 1, clientName: 'x' }
      const error = await refusal(connect(options))
      if (bytes < refused.length) assert.match(error.message, /^the handshake failed: /)
      else assert.ok(error.message.startsWith(`the server refused ${step}: ERR max number of clients`))
    }
  }
})

const LOADING = '-LOADING Redis is loading the dataset in memory\r\n'

test('a server that is loading and answers the handshake is connected to, and refuses commands', async (t) => {
  const script: Script = (command) => greet(command) ?? LOADING
  const connection = await open(t, { ...(await scriptedServer(t, script)).options, database: 1 })
  await assert.rejects(connection.call('GET', 'k'), { prefix: 'LOADING', mayHaveExecuted: false })
  assert.equal(connection.error, undefined)
})

for (const [what, script, options, step] of [
  ['HELLO', () => LOADING, {}, 'HELLO'],
  ['AUTH', (command) => (command[0] === 'AUTH' ? LOADING : greetInResp2(command)), { password: 'x' }, 'AUTH'],
  ['SELECT', (command) => (command[0] === 'SELECT' ? LOADING : greet(command)), { database: 1 }, 'SELECT 1'],
  [
    'CLIENT SETNAME',
    (command) => (command[0] === 'CLIENT' ? LOADING : greetInResp2(command)),
    { clientName: 'web' },
    'CLIENT SETNAME',
  ],
] satisfies [string, Script, ConnectionOptions, string][]) {
  test(`a server that is loading and refuses ${what} is a handshake that failed with LOADING as its cause`, async (t) => {
    const server = await scriptedServer(t, script)
    const error = await refusal(connect({ ...server.options, ...options }))
    assert.ok(error.cause instanceof ReplyError && error.cause.prefix === 'LOADING')
    assert.ok(error.message.startsWith(`the server refused ${step}: LOADING`), error.message)
    await server.until(() => server.openCount === 0)
  })
}

test('a server that takes HELLO 3 and greets with an array is spoken to in RESP2', async (t) => {
  const pushes: (readonly Reply[])[] = []
  const server = await scriptedServer(t, (command) => {
    if (command[0] === 'HELLO') return array(bulk('server'), bulk('odd'), bulk('proto'), integer(2))
    if (command[0] === 'SUBSCRIBE') return array(bulk('subscribe'), bulk('a'), integer(1))
    return greet(command)
  })
  const connection = await open(t, { ...server.options, onPush: (it) => pushes.push(it) })
  assert.equal(connection.protocol, 2)
  assert.deepEqual(await connection.call('SUBSCRIBE', 'a'), [['subscribe', 'a', 1]])
  server.peers[0]?.send(array(bulk('message'), bulk('a'), bulk('x')))
  await eventually('the message', () => pushes.length === 1)
  assert.deepEqual(pushes, [['message', 'a', 'x']])
})

test('pushes before, between and behind the answers of the handshake are pushes', async (t) => {
  const news = (n: number) => push(bulk('news'), integer(n))
  const pushes: (readonly Reply[])[] = []
  const server = await scriptedServer(
    t,
    (command) => {
      if (command[0] === 'HELLO') {
        return Buffer.concat([news(1), map([bulk('proto'), integer(3)]), news(2)])
      }
      return Buffer.concat([simple('OK'), news(3)])
    },
    { onConnect: (peer) => peer.send(news(0)) },
  )
  const connection = await open(t, { ...server.options, onPush: (it) => pushes.push(it) })
  assert.equal(connection.protocol, 3)
  await eventually('all of them', () => pushes.length === 5)
  assert.deepEqual(
    pushes.map(([, n]) => n),
    [0, 1, 2, 3, 3],
  )
})

test('an answer too many behind the handshake ends the connection, sooner or later', async (t) => {
  const server = await scriptedServer(t, (command) =>
    command[0] === 'CLIENT' ? '+OK\r\n+OK\r\n' : greet(command),
  )
  const outcome = await connect(server.options).then(
    async (connection) => {
      await connection.closed
      return connection.error
    },
    (error: ConnectionError) => error.cause,
  )
  assert.ok(outcome instanceof ProtocolError, String(outcome))
  assert.match(outcome.message, /^a reply that no command asked for/)
})

for (const [what, wire, message] of [
  [
    'says that it wants to be spoken to by HTTP',
    'HTTP/1.1 400 Bad Request\r\n\r\n',
    /unexpected type byte 'H'/,
  ],
  ['announces more than there may be', '*4294967295\r\n', /4294967295 elements, the limit maxItems/],
  ['nests without end', '*1\r\n'.repeat(10_000), /nested 129 deep, the limit maxDepth is 128/],
  ['ends its lines with LF alone', '+OK\n', /CRLF/],
] as const) {
  test(`a server that ${what} in the handshake is a handshake that failed, with the reason`, async (t) => {
    const server = await scriptedServer(t, () => wire)
    const error = await refusal(connect({ ...server.options, password: 'hunter2' }))
    assert.ok(error.cause instanceof ProtocolError)
    assert.match(error.message, message)
    assert.equal(error.message.split(server.address).length, 2, 'it names the address once')
    await server.until(() => server.openCount === 0)
  })
}
