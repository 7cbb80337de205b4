import assert from 'node:assert/strict'
import dns from 'node:dns'
import { test } from 'node:test'
import { type ConnectionOptions, connect } from '../../lib/connection/index.ts'
import { AbortError, ConnectionError, ReplyError } from '../../lib/errors.ts'
import { connected } from '../support/connected.ts'
import { freePorts } from '../support/free-ports.ts'
import { runProgram } from '../support/program.ts'
import { greet, greetInResp2, type Script, scriptedServer } from '../support/scripted-server.ts'

async function failure(promise: Promise<unknown>): Promise<ConnectionError> {
  const error = await promise.then(
    () => assert.fail('it is connected'),
    (reason: unknown) => reason,
  )
  assert.ok(error instanceof ConnectionError, String(error))
  return error
}

test('the whole handshake leaves in one write and speaks RESP3', async (t) => {
  const writes: string[] = []
  const server = await scriptedServer(t, greet, {
    onConnect: (peer) => peer.socket.on('data', (bytes: Buffer) => writes.push(bytes.toString())),
  })
  const connection = await connect({
    ...server.options,
    username: 'me',
    password: 'secret',
    clientName: 'web',
    database: 3,
  })
  t.after(() => connection.destroy())
  assert.equal(connection.protocol, 3)
  assert.equal(connection.address, server.address)
  assert.equal(connection.error, undefined)
  assert.deepEqual(
    server.commands.map((command) => command.slice(0, 3).join(' ')),
    ['HELLO 3 AUTH', 'CLIENT SETINFO LIB-NAME', 'CLIENT SETINFO LIB-VER', 'SELECT 3'],
  )
  assert.deepEqual(server.commands[0], ['HELLO', '3', 'AUTH', 'me', 'secret', 'SETNAME', 'web'])
  assert.equal(writes.length, 1)
})

test('a connection without options says HELLO and who it is, and selects nothing', async (t) => {
  const { server } = await connected(t, greet)
  assert.deepEqual(
    server.commands.map((command) => command.slice(0, 2).join(' ')),
    ['HELLO 3', 'CLIENT SETINFO', 'CLIENT SETINFO'],
  )
})

test('a server that refuses CLIENT SETINFO is a server all the same', async (t) => {
  const { connection } = await connected(t, (command) =>
    command[0] === 'CLIENT' ? '-ERR unknown subcommand\r\n' : greet(command),
  )
  assert.equal(connection.protocol, 3)
})

for (const [what, refusal] of [
  ['does not know HELLO', "-ERR unknown command 'HELLO'\r\n"],
  ['does not know version 3', '-NOPROTO unsupported protocol version\r\n'],
  ['forbids HELLO', "-NOPERM this user has no permissions to run the 'hello' command\r\n"],
] as const) {
  test(`a server that ${what} is spoken to in RESP2`, async (t) => {
    const { server, connection } = await connected(
      t,
      (command) => (command[0] === 'HELLO' ? refusal : greet(command)),
      { password: 'secret', clientName: 'web', database: 1 },
    )
    assert.equal(connection.protocol, 2)
    assert.deepEqual(server.commands.slice(4), [
      ['AUTH', 'secret'],
      ['CLIENT', 'SETNAME', 'web'],
      ['SELECT', '1'],
    ])
  })
}

test('who asks for RESP2 says no HELLO, and nothing at all without a reason', async (t) => {
  const { server, connection } = await connected(t, greet, {
    protocol: 2,
    username: 'me',
    password: 'secret',
  })
  assert.equal(connection.protocol, 2)
  assert.deepEqual(server.commands, [['AUTH', 'me', 'secret']])
  const plain = await connect({ ...server.options, protocol: 2 })
  t.after(() => plain.destroy())
  assert.equal(server.commands.length, 1)
})

const refusals: readonly [what: string, script: Script, options: ConnectionOptions, message: RegExp][] = [
  [
    'a wrong password',
    (command) =>
      command[0] === 'HELLO'
        ? '-WRONGPASS invalid username-password pair or user is disabled.\r\n'
        : '-NOAUTH\r\n',
    { password: 'hunter2' },
    /^the server refused HELLO with AUTH: WRONGPASS invalid/,
  ],
  ['a missing password', () => '-NOAUTH HELLO must be called\r\n', {}, /^the server refused HELLO: NOAUTH/],
  [
    'a wrong password in RESP2',
    (command) => (command[0] === 'AUTH' ? '-WRONGPASS invalid\r\n' : greetInResp2(command)),
    { password: 'hunter2' },
    /^the server refused AUTH: WRONGPASS invalid/,
  ],
  [
    'a password where none is set',
    (command) =>
      command[0] === 'AUTH' ? '-ERR Client sent AUTH, but no password is set\r\n' : greetInResp2(command),
    { password: 'hunter2' },
    /^the server refused AUTH: ERR Client sent AUTH, but no password is set/,
  ],
  [
    'a database that does not exist',
    (command) => (command[0] === 'SELECT' ? '-ERR DB index is out of range\r\n' : greet(command)),
    { database: 99 },
    /^the server refused SELECT 99: ERR DB index/,
  ],
  [
    'a database that does not exist in RESP2',
    (command) => (command[0] === 'SELECT' ? '-ERR DB index is out of range\r\n' : greetInResp2(command)),
    { database: 99 },
    /^the server refused SELECT 99: ERR DB index/,
  ],
  [
    'too many clients',
    () => '-ERR max number of clients reached\r\n',
    {},
    /^the server refused HELLO: ERR max number of clients reached/,
  ],
]

for (const [what, script, options, message] of refusals) {
  test(`${what} is a handshake that failed, with the server’s words and without a secret`, async (t) => {
    const server = await scriptedServer(t, script)
    const error = await failure(connect({ ...server.options, ...options }))
    assert.equal(error.code, 'HANDSHAKE_FAILED')
    assert.equal(error.phase, 'handshake')
    assert.equal(error.address, server.address)
    assert.ok(error.cause instanceof ReplyError)
    assert.match(error.message, message)
    assert.ok(error.message.endsWith(`(${server.address})`))
    await server.until(() => server.openCount === 0)
  })
}

test('a server that repeats the arguments of AUTH does not carry the password into the error', async (t) => {
  const password = 'hunter2'.repeat(30)
  for (const repeated of [`\`${password}\`, `, `\`${password.slice(0, 128)}`]) {
    for (const text of [
      `ERR unknown command \`AUTH\`, with args beginning with: ${repeated}`,
      `ERR wrong password ${password}`,
    ]) {
      const server = await scriptedServer(t, (command) =>
        command[0] === 'AUTH' ? `-${text}\r\n` : greetInResp2(command),
      )
      const error = await failure(connect({ ...server.options, password }))
      assert.match(
        error.message,
        /^the server refused AUTH: ERR (unknown command `AUTH`|wrong password <password>)/,
      )
      assert.doesNotMatch(shown(error), /hunter2/)
    }
  }
})

/** All that a log of the error would show. */
function shown(error: unknown): string {
  const parts: string[] = []
  for (let it = error; it instanceof Error; it = it.cause)
    parts.push(it.message, String(it.stack), JSON.stringify(it))
  return parts.join('\n')
}

test('a server that closes in the handshake is a handshake that failed', async (t) => {
  for (const end of ['close', 'reset'] as const) {
    const server = await scriptedServer(t, (_, peer) => {
      peer[end]()
      return undefined
    })
    const error = await failure(connect(server.options))
    assert.equal(error.code, 'HANDSHAKE_FAILED')
    assert.equal(error.phase, 'handshake')
    assert.ok(error.cause instanceof ConnectionError)
    assert.equal(error.cause.code, 'CONNECTION_LOST')
    assert.equal(error.message.split(server.address).length, 2, error.message)
  }
})

test('a server that closes after any byte of its greeting is a handshake that failed', async (t) => {
  const greeting = greet(['HELLO']) ?? ''
  const server = await scriptedServer(t, (_, peer) => {
    if (peer.commands.length === 1) peer.cut(greeting, peer.index)
    return undefined
  })
  for (let bytes = 0; bytes <= greeting.length; bytes += 1) {
    const error = await failure(connect(server.options))
    assert.equal(error.code, 'HANDSHAKE_FAILED', `${bytes} bytes`)
  }
})

test('a greeting that comes byte by byte is a greeting', async (t) => {
  const server = await scriptedServer(t, (command, peer) => {
    if (command[0] === 'HELLO')
      void peer.drip(['HELLO', 'CLIENT', 'CLIENT'].map((name) => greet([name])).join(''))
    return undefined
  })
  const connection = await connect(server.options)
  t.after(() => connection.destroy())
  assert.equal(connection.protocol, 3)
})

test('what is no Redis server is a handshake that failed, with what was wrong', async (t) => {
  const server = await scriptedServer(t, () => 'HTTP/1.1 400 Bad Request\r\n\r\n')
  const error = await failure(connect(server.options))
  assert.equal(error.code, 'HANDSHAKE_FAILED')
  assert.match(error.message, /unexpected type byte 'H'/)
  assert.equal((error.cause as { code?: string }).code, 'PROTOCOL_ERROR')
})

test('a silent server is given up after connectTimeout, in the handshake', async (t) => {
  const server = await scriptedServer(t, () => undefined)
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const attempt = failure(connect({ ...server.options, connectTimeout: 30 }))
  await server.until(() => server.commands.length > 0)
  t.mock.timers.tick(30)
  const error = await attempt
  assert.equal(error.code, 'CONNECT_TIMEOUT')
  assert.equal(error.phase, 'handshake')
  assert.equal(error.message, `no connection within 30 ms, stopped at handshake (${server.address})`)
  await server.until(() => server.peers.length === 1 && server.openCount === 0)
})

test('a timeout before there is a socket tells that it was dialing', async (t) => {
  const server = await scriptedServer(t, greet)
  const credentials = () => new Promise<never>(() => undefined)
  const error = await failure(connect({ ...server.options, credentials, connectTimeout: 10 }))
  assert.equal(error.code, 'CONNECT_TIMEOUT')
  assert.equal(error.phase, 'connect')
  assert.equal(server.peers.length, 0)
})

test('connectTimeout 0 is no limit', async (t) => {
  const server = await scriptedServer(t, () => undefined)
  const timers: unknown[] = []
  t.mock.method(globalThis, 'setTimeout', (_: () => void, delay: number) => timers.push(delay))
  const controller = new AbortController()
  const attempt = connect({ ...server.options, connectTimeout: 0, signal: controller.signal })
  await server.until(() => server.commands.length > 0)
  controller.abort()
  await assert.rejects(attempt, AbortError)
  assert.deepEqual(timers, [])
})

test('a port where nobody listens is a connection that failed, with its address and reason', async () => {
  const [port] = await freePorts(1)
  const error = await failure(connect({ host: '127.0.0.1', port }))
  assert.equal(error.code, 'CONNECT_FAILED')
  assert.equal(error.phase, 'connect')
  assert.equal(error.address, `127.0.0.1:${port}`)
  assert.equal(error.message, `could not connect: ECONNREFUSED (127.0.0.1:${port})`)
  assert.equal((error.cause as NodeJS.ErrnoException).code, 'ECONNREFUSED')
  assert.equal(error.mayHaveExecuted, false)
})

test('a name with several addresses fails with the reason of each', async (t) => {
  const [port] = await freePorts(1)
  const addresses = ['127.0.0.1', '127.0.0.2'].map((address) => ({ address, family: 4 }))
  t.mock.method(dns, 'lookup', (_: string, __: object, done: (error: null, all: object[]) => void) =>
    setImmediate(done, null, addresses),
  )
  const error = await failure(connect({ host: 'db.example', port }))
  assert.equal(error.code, 'CONNECT_FAILED')
  const each = addresses.map(({ address }) => `ECONNREFUSED ${address}:${port}`).join(', ')
  assert.equal(error.message, `could not connect: ${each} (db.example:${port})`)
  assert.ok(error.cause instanceof AggregateError)
})

test('a name that does not exist is a connection that failed', async () => {
  const error = await failure(connect({ host: 'respool.invalid' }))
  assert.equal(error.code, 'CONNECT_FAILED')
  assert.equal(error.phase, 'connect')
  assert.match(error.message, /could not connect: (ENOTFOUND|EAI_AGAIN) \(respool\.invalid:6379\)/)
})

test('a unix socket that does not exist is a connection that failed', async () => {
  const error = await failure(connect({ path: '/nowhere/redis.sock' }))
  assert.equal(error.code, 'CONNECT_FAILED')
  assert.equal(error.message, 'could not connect: ENOENT (/nowhere/redis.sock)')
})

test('a signal aborted before is an abort without a socket', async (t) => {
  const server = await scriptedServer(t, greet)
  const reason = new Error('no more')
  await assert.rejects(
    connect({ ...server.options, signal: AbortSignal.abort(reason) }),
    (error: unknown) => {
      assert.ok(error instanceof AbortError)
      return error.cause === reason && error.code === 'ABORT_ERR'
    },
  )
  assert.equal(server.peers.length, 0)
})

test('a signal ends the dial, the handshake and the question for credentials, and leaves nothing', async (t) => {
  const server = await scriptedServer(t, () => undefined)
  const controllers = Array.from({ length: 3 }, () => new AbortController())
  const [dialing, shaking, asking] = controllers as [AbortController, AbortController, AbortController]
  const attempts = [
    connect({ ...server.options, signal: dialing.signal }),
    connect({ ...server.options, signal: shaking.signal }),
    connect({
      ...server.options,
      signal: asking.signal,
      credentials: () => new Promise<never>(() => undefined),
    }),
  ]
  dialing.abort()
  const outcomes = Promise.allSettled(attempts)
  await server.until(() => server.peers.some((peer) => peer.commands.length > 0))
  shaking.abort()
  asking.abort()
  for (const outcome of await outcomes) {
    assert.equal(outcome.status, 'rejected')
    assert.ok(outcome.reason instanceof AbortError)
  }
  await server.until(() => server.openCount === 0)
})

test('a signal aborted later does nothing to a connection that is there', async (t) => {
  const controller = new AbortController()
  const { connection } = await connected(t, greet, { signal: controller.signal })
  controller.abort()
  assert.equal(await connection.call('PING'), 'PONG')
})

test('credentials are asked for anew for each connection', async (t) => {
  let asked = 0
  const server = await scriptedServer(t, greet)
  const credentials = async () => {
    asked += 1
    return { username: 'me', password: `token-${asked}` }
  }
  for (const expected of ['token-1', 'token-2']) {
    const connection = await connect({ ...server.options, credentials })
    connection.destroy()
    assert.deepEqual(
      server.commands
        .filter(([name]) => name === 'HELLO')
        .at(-1)
        ?.slice(3),
      ['me', expected],
    )
  }
})

test('credentials that cannot be had are a connection that failed, and no connection is made', async (t) => {
  const server = await scriptedServer(t, greet)
  for (const [cause, why] of [
    [new Error('vault is sealed, token hush-hush'), ''],
    [new TypeError('fetch failed'), ''], // that of Node's fetch, which is no misuse of ours
    [Object.assign(new Error('connect ECONNREFUSED'), { code: 'ECONNREFUSED' }), ': ECONNREFUSED'],
    [Object.assign(new Error('denied'), { code: 'the token hush-hush is denied' }), ''],
    ['hush-hush', ''],
  ] as const) {
    const error = await failure(connect({ ...server.options, credentials: () => Promise.reject(cause) }))
    assert.deepEqual([error.code, error.phase, error.cause], ['CONNECT_FAILED', 'connect', cause])
    assert.equal(error.message, `could not connect: option credentials failed${why} (${server.address})`)
  }
  await assert.rejects(connect({ ...server.options, credentials: (() => 'secret') as never }), {
    name: 'TypeError',
    message: 'option credentials must give an object with a password, and expiresIn above 0 if at all',
  })
  assert.equal(server.peers.length, 0)
})

test('options that are wrong reject with what is wrong', async () => {
  await assert.rejects(connect({ port: 0 }), { name: 'RangeError', message: /option port/ })
  await assert.rejects(connect('http://localhost'), {
    name: 'TypeError',
    message: /unknown URL scheme 'http:'/,
  })
})

test('a URL leads to its server, and overrides win', async (t) => {
  const { host, port } = (await scriptedServer(t, greet)).options as { host: string; port: number }
  const [other] = await freePorts(1)
  const connection = await connect(`redis://me:secret@${host}:${other}/5`, { port, database: 0 })
  t.after(() => connection.destroy())
  assert.equal(connection.address, `${host}:${port}`)
  await assert.rejects(connect(`redis://me:secret@${host}:${other}/5`), (error: Error) => {
    return !error.message.includes('secret') && error.message.includes(`${host}:${other}`)
  })
})

test('a process whose connections are closed or destroyed ends at once', async (t) => {
  const server = await scriptedServer(t, greet)
  const silent = await scriptedServer(t, () => undefined)
  const entry = new URL('../../lib/connection/index.js', import.meta.url).href
  const program = `
    const { connect } = await import(${JSON.stringify(entry)})
    const [server, silent] = ${JSON.stringify([server.options, silent.options])}
    const closed = await connect(server)
    await closed.call('PING')
    await closed.close()
    const destroyed = await connect(server)
    const lost = destroyed.execute(['NEVER'], { timeout: 60_000 }).catch((error) => error.code)
    await new Promise(setImmediate)
    destroyed.destroy()
    const late = await connect({ ...silent, connectTimeout: 20 }).catch((error) => error.code)
    const aborted = await connect({ ...server, signal: AbortSignal.abort() }).catch((error) => error.code)
    console.log(await lost, late, aborted)
    const doneAt = performance.now()
    process.on('exit', () => console.log(performance.now() - doneAt < 1000 ? 'at once' : 'late'))
  `
  const { stdout } = await runProgram(t, program)
  assert.equal(stdout, 'CONNECTION_CLOSED CONNECT_TIMEOUT ABORT_ERR\nat once\n')
})

test('a process whose connection is open and idle stays alive', async (t) => {
  const server = await scriptedServer(t, greet)
  const entry = new URL('../../lib/connection/index.js', import.meta.url).href
  const program = `
    const { connect } = await import(${JSON.stringify(entry)})
    await connect(${JSON.stringify(server.options)})
    console.log('connected')
  `
  const ended = runProgram(t, program)
  await server.until(() => server.commands.length === 3)
  // it ends because the server closes, not before
  server.peers[0]?.close()
  assert.equal((await ended).stdout, 'connected\n')
})
