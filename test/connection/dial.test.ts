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
    return { ca: certificate.cert }
  }
  for (const expected of [1, 2]) {
    const connection = await connect({ ...server.options, tls })
    assert.equal(await connection.call('ECHO', 'a'), 'a')
    assert.equal(asked, expected)
    connection.destroy()
  }
  const error = await failure(
    connect({
      ...server.options,
      tls: () => {
        throw new Error('no certificates today')
      },
    }),
  )
  assert.match(error.message, /^could not connect: no certificates today/)
})

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
