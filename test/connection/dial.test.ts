import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type AddressInfo, createServer, Socket } from 'node:net'
import { join } from 'node:path'
import { test } from 'node:test'
import { connect } from '../../lib/connection/index.ts'
import { AbortError, ConnectionError } from '../../lib/errors.ts'
import { makeCertificate, missingOpenssl } from '../support/certificate.ts'
import { connected } from '../support/connected.ts'
import { bulk } from '../support/resp-writer.ts'
import { greet, type Script, scriptedServer } from '../support/scripted-server.ts'
import { tempDir } from '../support/temp-dir.ts'

const echo: Script = (command) => greet(command) ?? bulk(command[1] ?? '')
const skip = missingOpenssl()

async function failure(promise: Promise<unknown>): Promise<ConnectionError> {
  const error: unknown = await promise.then(
    () => assert.fail('it is connected'),
    (reason: unknown) => reason,
  )
  assert.ok(error instanceof ConnectionError, String(error))
  return error
}

test('a unix socket is connected to by its path, and is the address', async (t) => {
  const path = join(tempDir(t), 'redis.sock')
  const { connection } = await connected(t, echo, {}, { path })
  assert.equal(connection.address, path)
  const large = 'x'.repeat(1_000_000)
  assert.deepEqual(await Promise.all([connection.call('ECHO', 'a'), connection.call('ECHO', large)]), [
    'a',
    large,
  ])
  const other = await connect(`redis+unix://me:secret@${path}?database=2`)
  t.after(() => other.destroy())
  assert.equal(await other.call('ECHO', 'b'), 'b')
})

test('connections share what they read into and keep their replies apart', async (t) => {
  const server = await scriptedServer(t, echo)
  const connections = await Promise.all(Array.from({ length: 20 }, () => connect(server.options)))
  t.after(() => {
    for (const connection of connections) connection.destroy()
  })
  await Promise.all(
    connections.map(async (connection, i) => {
      for (const size of [1, 1000, 70_000, 200_000]) {
        const text = String.fromCharCode(97 + i).repeat(size)
        const [asText, asBytes] = await Promise.all([
          connection.call('ECHO', text),
          connection.execute(['ECHO', text], { replies: 'buffer' }),
        ])
        assert.ok(asText === text && Buffer.isBuffer(asBytes) && asBytes.toString() === text)
      }
    }),
  )
})

test('TLS: commands and replies of every size pass whole', { skip }, async (t) => {
  const certificate = makeCertificate(t)
  const server = await scriptedServer(t, echo, { tls: certificate })
  const connection = await connect({ ...server.options, tls: { ca: certificate.cert } })
  t.after(() => connection.destroy())
  for (const size of [0, 1, 16_383, 16_384, 16_385, 65_536, 300_000, 5_000_000]) {
    const text = 'abcdefghij'.repeat(size / 10 + 1).slice(0, size)
    const [asText, asBytes] = await Promise.all([
      connection.call('ECHO', text),
      connection.execute(['ECHO', Buffer.from(text)], { replies: 'buffer' }),
    ])
    assert.ok(asText === text, `${size} bytes as text`)
    assert.ok(Buffer.isBuffer(asBytes) && asBytes.toString() === text, `${size} bytes as bytes`)
  }
  const many = await Promise.all(Array.from({ length: 1000 }, (_, i) => connection.call('ECHO', i)))
  assert.ok(many.every((reply, i) => reply === String(i)))
  await connection.close()
})

test('TLS: replies that come byte by byte are replies', { skip }, async (t) => {
  const certificate = makeCertificate(t)
  const server = await scriptedServer(
    t,
    (command, peer) => {
      if (command[0] !== 'DRIP') return greet(command)
      void peer.drip(bulk('slow'))
      return undefined
    },
    { tls: certificate },
  )
  const connection = await connect({ ...server.options, tls: { ca: certificate.cert } })
  t.after(() => connection.destroy())
  assert.equal(await connection.call('DRIP'), 'slow')
})

test('TLS: options may be a function, asked anew for each connection', { skip }, async (t) => {
  const certificate = makeCertificate(t)
  const server = await scriptedServer(t, echo, { tls: certificate })
  let asked = 0
  const tls = () => {
    asked += 1
    return asked % 2 === 0 ? Promise.resolve({ ca: certificate.cert }) : { ca: certificate.cert }
  }
  for (const expected of [1, 2]) {
    const connection = await connect({ ...server.options, tls })
    assert.equal(await connection.call('ECHO', 'a'), 'a')
    assert.equal(asked, expected)
    connection.destroy()
  }
})

test('TLS: a function that fails is a connection that failed, and its message stays with the cause', async (t) => {
  const server = await scriptedServer(t, echo)
  for (const cause of [
    Object.assign(new Error('/etc/hush/key.pem is missing'), { code: 'ENOENT' }),
    new TypeError('hush is no key'),
    'hush',
    undefined,
  ]) {
    for (const tls of [() => Promise.reject(cause), () => thrown(cause)]) {
      const error = await failure(connect({ ...server.options, tls }))
      assert.deepEqual([error.code, error.phase, error.cause], ['CONNECT_FAILED', 'connect', cause])
      const why = cause instanceof Error && 'code' in cause ? ': ENOENT' : ''
      assert.equal(error.message, `could not connect: option tls failed${why} (${server.address})`)
    }
  }
  for (const given of [undefined, null, true, 'hush']) {
    await assert.rejects(connect({ ...server.options, tls: () => given as never }), {
      name: 'TypeError',
      message: 'option tls must give an object with options of tls.connect',
    })
  }
  assert.equal(server.peers.length, 0)
})

test('TLS: a server whose certificate was changed is trusted by who is asked anew', { skip }, async (t) => {
  const [old, renewed] = [makeCertificate(t), makeCertificate(t)]
  const server = await scriptedServer(t, echo, { tls: old })
  let ca = old.cert
  const tls = () => ({ ca })
  const first = await connect({ ...server.options, tls })
  t.after(() => first.destroy())
  server.changeCertificate(renewed)
  assert.equal((await failure(connect({ ...server.options, tls }))).phase, 'tls')
  ca = renewed.cert
  const second = await connect({ ...server.options, tls })
  t.after(() => second.destroy())
  assert.deepEqual(await Promise.all([first.call('ECHO', 'a'), second.call('ECHO', 'b')]), ['a', 'b'])
})

test('TLS: a client shows its certificate where the server wants one, and may change it', {
  skip,
}, async (t) => {
  const [own, mine, other] = [makeCertificate(t), makeCertificate(t), makeCertificate(t)]
  const server = await scriptedServer(t, echo, { tls: own, clientCertificate: mine })
  for (const maxVersion of ['TLSv1.2', 'TLSv1.3'] as const) {
    let { cert, key } = other
    const options = { ...server.options, tls: () => ({ ca: own.cert, cert, key, maxVersion }) }
    // in TLS 1.3 the client is done before the server has looked at its certificate
    const phase = maxVersion === 'TLSv1.2' ? 'tls' : 'handshake'
    for (const attempt of [options, { ...options, tls: { ca: own.cert, maxVersion } }]) {
      const error = await failure(connect(attempt))
      assert.equal(error.phase, phase)
      assert.equal(error.code, phase === 'tls' ? 'CONNECT_FAILED' : 'HANDSHAKE_FAILED')
      assert.match(error.message, /ERR_SSL|ECONNRESET|EPIPE|the peer closed/)
    }
    ;({ cert, key } = mine)
    const connection = await connect(options)
    t.after(() => connection.destroy())
    assert.equal(await connection.call('ECHO', 'a'), 'a')
  }
})

test('TLS: its options say how, not where', { skip }, async (t) => {
  const certificate = makeCertificate(t)
  const server = await scriptedServer(t, echo, { tls: certificate })
  const elsewhere = { host: '127.0.0.9', port: 1, path: '/nowhere/redis.sock', noDelay: false }
  const connection = await connect({ ...server.options, tls: { ca: certificate.cert, ...elsewhere } })
  t.after(() => connection.destroy())
  assert.equal(await connection.call('ECHO', 'a'), 'a')
})

test('TLS: over a unix socket the name is that of servername', { skip }, async (t) => {
  const certificate = makeCertificate(t)
  const path = join(tempDir(t), 'redis.sock')
  await scriptedServer(t, echo, { tls: certificate, path })
  const connection = await connect({ path, tls: { ca: certificate.cert, servername: 'localhost' } })
  t.after(() => connection.destroy())
  assert.equal(await connection.call('ECHO', 'a'), 'a')
})

test('TLS: connectTimeout is for dial, TLS and handshake together, however steadily they go on', {
  skip,
}, async (t) => {
  const certificate = makeCertificate(t)
  const server = await scriptedServer(
    t,
    (command, peer) => {
      // a greeting without end: each byte comes in time
      if (command[0] === 'HELLO') {
        peer.send('%1000\r\n')
        const dripping = setInterval(() => peer.send('+a\r\n+b\r\n'), 5)
        peer.socket.once('close', () => clearInterval(dripping))
      }
      return undefined
    },
    { tls: certificate },
  )
  const startedAt = performance.now()
  const error = await failure(
    connect({ ...server.options, connectTimeout: 150, tls: { ca: certificate.cert } }),
  )
  assert.deepEqual([error.code, error.phase], ['CONNECT_TIMEOUT', 'handshake'])
  assert.ok(performance.now() - startedAt < 1500)
  await server.until(() => server.openCount === 0)
})

function thrown(reason: unknown): never {
  throw reason
}

test('TLS: small writes are not held back, and idle connections are probed, as without TLS', {
  skip,
}, async (t) => {
  const certificate = makeCertificate(t)
  const server = await scriptedServer(t, echo, { tls: certificate })
  const noDelay = t.mock.method(Socket.prototype, 'setNoDelay')
  const keepAlive = t.mock.method(Socket.prototype, 'setKeepAlive')
  const connection = await connect({ ...server.options, tls: { ca: certificate.cert } })
  t.after(() => connection.destroy())
  assert.deepEqual(
    noDelay.mock.calls.map((call) => call.arguments),
    [[true]],
  )
  assert.deepEqual(
    keepAlive.mock.calls.map((call) => call.arguments),
    [[true, 15_000]],
  )
})

test('TLS: a certificate that is not trusted is a connection that failed in the TLS phase', {
  skip,
}, async (t) => {
  const certificate = makeCertificate(t)
  const server = await scriptedServer(t, echo, { tls: certificate })
  const error = await failure(connect({ ...server.options, tls: true, password: 'hunter2' }))
  assert.deepEqual([error.code, error.phase, error.address], ['CONNECT_FAILED', 'tls', server.address])
  assert.match(error.message, /^could not connect: DEPTH_ZERO_SELF_SIGNED_CERT \(/)
  assert.equal(server.commands.length, 0)
})

test('TLS: a certificate for another name is a connection that failed', { skip }, async (t) => {
  const certificate = makeCertificate(t)
  const server = await scriptedServer(t, echo, { tls: certificate })
  const tls = { ca: certificate.cert, servername: 'redis.example' }
  const error = await failure(connect({ ...server.options, tls }))
  assert.deepEqual([error.code, error.phase], ['CONNECT_FAILED', 'tls'])
  assert.match(error.message, /ERR_TLS_CERT_ALTNAME_INVALID/)
})

test('TLS: a server that speaks none is a connection that failed', async (t) => {
  const server = createServer((socket) => socket.end('-ERR Protocol error\r\n')).listen(0, '127.0.0.1')
  t.after(() => server.close())
  await new Promise((resolve) => server.once('listening', resolve))
  const { port } = server.address() as AddressInfo
  const error = await failure(connect({ host: '127.0.0.1', port, tls: true }))
  assert.deepEqual([error.code, error.phase], ['CONNECT_FAILED', 'tls'])
})

test('TLS: a server that closes before the end of the TLS handshake is a connection that failed', async (t) => {
  for (const end of ['end', 'resetAndDestroy'] as const) {
    const server = createServer((socket) => socket.once('data', () => socket[end]())).listen(0, '127.0.0.1')
    t.after(() => server.close())
    await new Promise((resolve) => server.once('listening', resolve))
    const { port } = server.address() as AddressInfo
    const error = await failure(connect({ host: '127.0.0.1', port, tls: true }))
    assert.deepEqual([error.code, error.phase], ['CONNECT_FAILED', 'tls'])
    assert.match(error.message, /^could not connect: ECONNRESET \(/)
  }
})

test('TLS: a server that is silent in the TLS handshake is given up there, by time or by signal', async (t) => {
  const sockets: Socket[] = []
  const server = createServer((socket) => sockets.push(socket)).listen(0, '127.0.0.1')
  t.after(() => {
    server.close()
    for (const socket of sockets) socket.destroy()
  })
  await new Promise((resolve) => server.once('listening', resolve))
  const { port } = server.address() as AddressInfo
  const options = { host: '127.0.0.1', port, tls: true }
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const late = failure(connect({ ...options, connectTimeout: 60 }))
  const [socket] = (await once(server, 'connection')) as [Socket]
  await once(socket, 'readable')
  t.mock.timers.tick(60)
  const error = await late
  assert.deepEqual([error.code, error.phase], ['CONNECT_TIMEOUT', 'tls'])
  const controller = new AbortController()
  const attempt = connect({ ...options, signal: controller.signal })
  server.once('connection', () => controller.abort())
  await assert.rejects(attempt, AbortError)
})
