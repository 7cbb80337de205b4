// A host name with several addresses: which of them is taken, and what is told when none answers. The names are
// resolved by the option `lookup`; the addresses are of 127.0.0.0/8, all of which Linux has without being told.

import assert from 'node:assert/strict'
import { getDefaultAutoSelectFamilyAttemptTimeout, type LookupFunction } from 'node:net'
import { networkInterfaces } from 'node:os'
import { type TestContext, test } from 'node:test'
import { createClient } from '../../lib/client/index.ts'
import { type ConnectionOptions, connect } from '../../lib/connection/index.ts'
import { AbortError, ConnectionError } from '../../lib/errors.ts'
import { blackHole } from '../support/black-hole.ts'
import { makeCertificate, missingOpenssl } from '../support/certificate.ts'
import { freePorts } from '../support/free-ports.ts'
import { bulk } from '../support/resp-writer.ts'
import { greet, type Script, type ScriptedServer, scriptedServer } from '../support/scripted-server.ts'

const echo: Script = (command) => greet(command) ?? bulk(command[1] ?? '')
const hasOthers = process.platform === 'linux' ? false : 'only Linux has all of 127.0.0.0/8'
const hasV6 = Object.values(networkInterfaces()).some((all) => all?.some(({ address }) => address === '::1'))

/** Resolves any name to these, in this order. */
function resolvingTo(...addresses: string[]): LookupFunction {
  const all = addresses.map((address) => ({ address, family: address.includes(':') ? 6 : 4 }))
  return (_, { all: wantsAll }, done) => {
    const [first] = all
    if (wantsAll) setImmediate(done, null, all)
    else setImmediate(done, null, first?.address ?? '', first?.family)
  }
}

function portOf(server: ScriptedServer): number {
  assert.ok('port' in server.options)
  return server.options.port
}

async function failure(promise: Promise<unknown>): Promise<ConnectionError> {
  const error: unknown = await promise.then(
    () => assert.fail('it is connected'),
    (reason: unknown) => reason,
  )
  assert.ok(error instanceof ConnectionError, String(error))
  return error
}

/** Replies larger than one read have to arrive as well: a socket that changes its address changes its handle. */
async function echoes(t: TestContext, options: ConnectionOptions): Promise<void> {
  const connection = await connect(options)
  t.after(() => connection.destroy())
  const large = 'x'.repeat(300_000)
  assert.deepEqual(await Promise.all([connection.call('ECHO', 'a'), connection.call('ECHO', large)]), [
    'a',
    large,
  ])
}

test('of several addresses the first that answers is taken, past those that refuse', {
  skip: hasOthers,
}, async (t) => {
  const server = await scriptedServer(t, echo)
  const port = portOf(server)
  for (const addresses of [
    ['127.0.0.1', '127.0.0.2'],
    ['127.0.0.2', '127.0.0.1'],
    ['127.0.0.2', '127.0.0.3', '127.0.0.4', '127.0.0.1'],
  ]) {
    await echoes(t, { host: 'db.example', port, lookup: resolvingTo(...addresses) })
  }
  assert.equal(server.peers.length, 3)
})

test('a name with an address of IPv6 that refuses, as localhost often is, leads to that of IPv4', {
  skip: hasV6 ? false : 'no IPv6 on this machine',
}, async (t) => {
  const server = await scriptedServer(t, echo)
  await echoes(t, { host: 'localhost', port: portOf(server), lookup: resolvingTo('::1', '127.0.0.1') })
})

test('localhost, as the system resolves it, leads to a server that listens on 127.0.0.1 alone', async (t) => {
  const server = await scriptedServer(t, echo)
  const port = portOf(server)
  await echoes(t, { host: 'localhost', port })
  const connection = await connect(`redis://localhost:${port}`)
  t.after(() => connection.destroy())
  assert.equal(connection.address, `localhost:${port}`)
})

test('an address of IPv6 is connected to, by options and by URL, and is named in brackets', {
  skip: hasV6 ? false : 'no IPv6 on this machine',
}, async (t) => {
  const server = await scriptedServer(t, echo, { host: '::1' })
  const port = portOf(server)
  for (const target of [{ host: '::1', port }, `redis://[::1]:${port}`, `valkey://[0:0::1]:${port}/`]) {
    const connection = await connect(target)
    t.after(() => connection.destroy())
    assert.equal(connection.address, `[::1]:${port}`)
    assert.equal(await connection.call('ECHO', 'a'), 'a')
  }
  const [free] = await freePorts(1)
  const refused = await failure(connect({ host: '::1', port: free }))
  assert.equal(refused.message, `could not connect: ECONNREFUSED ([::1]:${free})`)
})

test('TLS: of several addresses the first that answers is taken, and the name is that of the certificate', {
  skip: hasOthers || missingOpenssl(),
}, async (t) => {
  const certificate = makeCertificate(t)
  const server = await scriptedServer(t, echo, { tls: certificate })
  const options = {
    port: portOf(server),
    tls: { ca: certificate.cert },
    lookup: resolvingTo('127.0.0.2', '127.0.0.3', '127.0.0.1'),
  }
  await echoes(t, { ...options, host: 'localhost' })
  const error = await failure(connect({ ...options, host: 'db.example' }))
  assert.deepEqual([error.code, error.phase], ['CONNECT_FAILED', 'tls'])
  assert.match(error.message, /ERR_TLS_CERT_ALTNAME_INVALID \(db\.example:\d+\)$/)
})

test('an address that is silent is given up for the next one after the time that Node has for it', {
  skip: hasOthers,
}, async (t) => {
  const silent = await blackHole(t, '127.0.0.2')
  if (silent === undefined) return t.skip('this system has no black hole')
  const server = await scriptedServer(t, echo, { port: silent.port })
  const startedAt = performance.now()
  await echoes(t, { host: 'db.example', port: silent.port, lookup: resolvingTo('127.0.0.2', '127.0.0.1') })
  const tookMs = performance.now() - startedAt
  const turnMs = getDefaultAutoSelectFamilyAttemptTimeout()
  assert.ok(tookMs >= turnMs - 5 && tookMs < turnMs + 2000, `${tookMs} ms`)
  assert.equal(server.peers.length, 1)
})

test('when no address answers, the error has the reason of each, and is that of the name', {
  skip: hasOthers,
}, async (t) => {
  const silent = await blackHole(t, '127.0.0.2')
  if (silent === undefined) return t.skip('this system has no black hole')
  const { port } = silent
  const addresses = hasV6 ? ['127.0.0.2', '::1', '127.0.0.3'] : ['127.0.0.2', '127.0.0.3']
  const error = await failure(connect({ host: 'db.example', port, lookup: resolvingTo(...addresses) }))
  assert.deepEqual(
    [error.code, error.phase, error.address],
    ['CONNECT_FAILED', 'connect', `db.example:${port}`],
  )
  const reasons = error.message.replace(/^could not connect: (.*) \(db\.example:\d+\)$/, '$1').split(', ')
  assert.deepEqual(
    reasons.sort(),
    [
      ...(hasV6 ? [`ECONNREFUSED [::1]:${port}`] : []),
      `ECONNREFUSED 127.0.0.3:${port}`,
      `ETIMEDOUT 127.0.0.2:${port}`,
    ].sort(),
  )
  assert.ok(error.cause instanceof AggregateError && error.cause.errors.length === addresses.length)
  assert.equal(error.mayHaveExecuted, false)
})

test('a name with one address fails with that address', async () => {
  const [port] = await freePorts(1)
  const error = await failure(connect({ host: 'db.example', port, lookup: resolvingTo('127.0.0.1') }))
  assert.equal(error.message, `could not connect: ECONNREFUSED 127.0.0.1:${port} (db.example:${port})`)
  assert.equal((error.cause as NodeJS.ErrnoException).code, 'ECONNREFUSED')
})

test('connectTimeout is for all addresses together, and tells which were tried', {
  skip: hasOthers,
}, async (t) => {
  const silent = await blackHole(t, '127.0.0.2')
  if (silent === undefined) return t.skip('this system has no black hole')
  const { port } = silent
  const one = await failure(connect({ host: '127.0.0.2', port, connectTimeout: 30 }))
  assert.deepEqual([one.code, one.phase], ['CONNECT_TIMEOUT', 'connect'])
  assert.equal(one.message, `no connection within 30 ms, stopped at connect (127.0.0.2:${port})`)
  const lookup = resolvingTo('127.0.0.3', '127.0.0.2')
  const all = await failure(connect({ host: 'db.example', port, lookup, connectTimeout: 30 }))
  assert.equal(
    all.message,
    `no connection within 30 ms, stopped at connect, tried 127.0.0.3:${port}, 127.0.0.2:${port} (db.example:${port})`,
  )
})

test('after an abort no further address is tried', { skip: hasOthers }, async (t) => {
  const silent = await blackHole(t, '127.0.0.2')
  if (silent === undefined) return t.skip('this system has no black hole')
  const server = await scriptedServer(t, echo, { port: silent.port })
  const controller = new AbortController()
  const lookup = resolvingTo('127.0.0.2', '127.0.0.1')
  const attempt = connect({ host: 'db.example', port: silent.port, lookup, signal: controller.signal })
  setTimeout(() => controller.abort(), 20)
  await assert.rejects(attempt, AbortError)
  await new Promise((resolve) => setTimeout(resolve, getDefaultAutoSelectFamilyAttemptTimeout() + 100))
  assert.equal(server.peers.length, 0)
})

test('a name that is resolved too late leads to nothing', async (t) => {
  const server = await scriptedServer(t, echo)
  const port = portOf(server)
  const answers: (() => void)[] = []
  const lookup: LookupFunction = (_, __, done) => {
    answers.push(() => done(null, [{ address: '127.0.0.1', family: 4 }]))
  }
  const error = await failure(connect({ host: 'db.example', port, lookup, connectTimeout: 20 }))
  assert.equal(error.message, `no connection within 20 ms, stopped at connect (db.example:${port})`)
  assert.equal(answers.length, 1)
  for (const answer of answers) answer()
  // whoever connects now comes behind what the answer might have begun
  const connection = await connect({ host: '127.0.0.1', port })
  connection.destroy()
  assert.equal(server.peers.length, 1)
})

test('what a lookup gives wrongly is a connection that failed, with the reason', async () => {
  const rows: [lookup: LookupFunction, message: RegExp][] = [
    [(_, __, done) => done(Object.assign(new Error('no such name'), { code: 'ENOTFOUND' }), []), /ENOTFOUND/],
    [(_, __, done) => done(new Error('the resolver is down'), []), /the resolver is down/],
    [(_, __, done) => done(null, [{ address: 'nonsense', family: 4 }]), /ERR_INVALID_IP_ADDRESS/],
  ]
  for (const [lookup, message] of rows) {
    const error = await failure(connect({ host: 'db.example', port: 1, lookup }))
    assert.deepEqual([error.code, error.phase, error.address], ['CONNECT_FAILED', 'connect', 'db.example:1'])
    assert.match(error.message, /^could not connect: .* \(db\.example:1\)$/)
    assert.match(error.message, message)
  }
})

test('an address is not looked up', async (t) => {
  const server = await scriptedServer(t, echo)
  const lookup: LookupFunction = () => assert.fail('it was looked up')
  const connection = await connect({ ...server.options, lookup })
  t.after(() => connection.destroy())
  assert.equal(await connection.call('ECHO', 'a'), 'a')
})

test('a client passes its lookup on, and looks the name up anew for each connection', async (t) => {
  const server = await scriptedServer(t, echo)
  const asked: string[] = []
  const lookup: LookupFunction = (name, options, done) => {
    asked.push(name)
    resolvingTo('127.0.0.1')(name, options, done)
  }
  const client = createClient({ host: 'db.example', port: portOf(server), lookup })
  t.after(() => client.destroy())
  assert.equal(await client.call('GET', 'a'), 'a')
  const before = asked.length
  server.peers[0]?.reset()
  await server.until(() => server.openCount === 0)
  assert.equal(await client.call('GET', 'b'), 'b')
  assert.ok(before >= 1 && asked.length > before && asked.every((name) => name === 'db.example'))
})
