// Borrowing from whoever has the role: the route here says what the test tells it.

import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import {
  Endpoint,
  HoldQueue,
  type HoldRequest,
  RolePool,
  type Route,
  type Waiting,
} from '../../lib/endpoint/index.ts'
import { AbortError, ConnectionError, PoolError, SentinelError, TimeoutError } from '../../lib/errors.ts'
import { settled } from '../support/clock.ts'
import { freePorts } from '../support/free-ports.ts'
import { greet, type Script, type ScriptedServer, scriptedServer } from '../support/scripted-server.ts'

class ToldRoute implements Route {
  endpoint: Endpoint | undefined
  isClosed = false
  reason: Error | undefined
  readonly reports: [Endpoint, Error][] = []
  onReport = (): void => undefined
  readonly held = new HoldQueue('server', { maxHeld: 10, maxHeldBytes: 10 }, () => this.reason)

  pick(): Endpoint | undefined {
    return this.endpoint
  }

  hold(request: HoldRequest): Promise<void> {
    if (this.isClosed) return Promise.reject(new PoolError('CLIENT_CLOSED', 'closed'))
    return this.held.wait(request)
  }

  enqueue(waiting: Waiting): void {
    this.held.add(waiting)
  }

  report(endpoint: Endpoint, error: Error): void {
    this.reports.push([endpoint, error])
    this.onReport()
  }
}

function open(
  t: TestContext,
  port: number,
  pool: { maxActive?: number; wait?: boolean } = {},
  onTrouble: (error: Error) => void = () => undefined,
): Endpoint {
  const endpoint = new Endpoint(`127.0.0.1:${port}`, {
    connection: { host: '127.0.0.1', port, commandTimeout: 2_000 },
    pool: { maxIdle: 1, maxActive: 1, wait: true, ...pool },
    pingInterval: 0,
    suspectAfter: 0,
    maxHeld: 10,
    maxHeldBytes: 1_000,
    onTrouble,
  })
  t.after(() => endpoint.fence(new Error('the test is over')))
  return endpoint
}

function portOf({ options }: ScriptedServer): number {
  return 'port' in options ? options.port : 0
}

const script: Script = (command) => (command[0] === 'ECHO' ? `+${command[1]}\r\n` : greet(command))
const fenced = new ConnectionError('FENCED', 'replaced', { address: 'it', phase: 'ready' })

test('a borrower who waits when the server is replaced is served by the new one', async (t) => {
  const [one, two] = [await scriptedServer(t, script), await scriptedServer(t, script)]
  const route = new ToldRoute()
  const [before, after] = [open(t, portOf(one)), open(t, portOf(two))]
  route.endpoint = before
  const pool = new RolePool(route, 'write', 5_000)
  const lent = await pool.get()
  assert.equal(lent.connection.address, before.address)
  const waiting = pool.get()
  await settled()
  assert.equal(before.pool.stats().waitingCount, 1)
  route.endpoint = after
  before.fence(fenced)
  const lease = await waiting
  assert.equal(lease.connection.address, after.address)
  assert.equal(await lease.call('ECHO', 'x'), 'x')
  await lease.close()
  // the lease itself does not move
  await assert.rejects(lent.call('ECHO', 'x'), { code: 'FENCED' })
})

test('who finds the pool closed under it goes on to the next one', async (t) => {
  const [one, two] = [await scriptedServer(t, script), await scriptedServer(t, script)]
  const route = new ToldRoute()
  const [before, after] = [open(t, portOf(one)), open(t, portOf(two))]
  route.endpoint = before
  before.fence(fenced)
  route.onReport = () => {
    route.endpoint = after
  }
  const lease = await new RolePool(route, 'write', 5_000).get()
  assert.equal(lease.connection.address, after.address)
  const [report] = route.reports
  assert.ok(report)
  assert.equal((report[1] as PoolError).code, 'POOL_CLOSED')
})

test('while nobody has the role, a borrower waits', async (t) => {
  const server = await scriptedServer(t, script)
  const route = new ToldRoute()
  const waiting = new RolePool(route, 'write', 0).get()
  await settled()
  assert.equal(route.held.length, 1)
  route.held.release()
  await settled()
  assert.equal(route.held.length, 1, 'still nobody')
  route.endpoint = open(t, portOf(server))
  route.held.release()
  await (await waiting).close()
})

test('who waits longer than holdTimeout is told why there is nobody', async () => {
  const route = new ToldRoute()
  route.reason = new SentinelError('SENTINELS_UNREACHABLE', 'no sentinel can be reached')
  await assert.rejects(new RolePool(route, 'write', 20).get(), (error) => {
    assert.ok(error instanceof TimeoutError)
    assert.equal(error.timeout, 20)
    assert.equal(error.cause, route.reason)
    assert.match(error.message, /no server within 20 ms: no sentinel can be reached/)
    return true
  })
})

test('a server that cannot be reached is tried until holdTimeout, and reported each time', async (t) => {
  const [port = 0] = await freePorts(1)
  const route = new ToldRoute()
  route.endpoint = open(t, port)
  const start = performance.now()
  await assert.rejects(new RolePool(route, 'write', 120).get(), { code: 'CONNECT_FAILED' })
  const ms = performance.now() - start
  assert.ok(ms >= 100 && ms < 2_000, `${ms} ms`)
  assert.ok(route.reports.length >= 2 && route.reports.length <= 4, `${route.reports.length} reports`)
  assert.ok(route.reports.every(([endpoint]) => endpoint === route.endpoint))
})

test('what no waiting helps against is told at once', async (t) => {
  const server = await scriptedServer(t, (command) =>
    command[0] === 'HELLO' ? '-WRONGPASS invalid username-password pair\r\n' : greet(command),
  )
  const route = new ToldRoute()
  route.endpoint = open(t, portOf(server))
  await assert.rejects(new RolePool(route, 'write', 5_000).get(), { code: 'HANDSHAKE_FAILED' })
  assert.equal(server.peers.length, 1)

  const other = await scriptedServer(t, script)
  route.endpoint = open(t, portOf(other), { wait: false })
  const pool = new RolePool(route, 'write', 5_000)
  const lease = await pool.get()
  await assert.rejects(pool.get(), { code: 'POOL_EXHAUSTED' })
  await lease.close()
  assert.deepEqual(route.reports, [])
})

test('a signal ends the wait, wherever it is', async (t) => {
  const server = await scriptedServer(t, script)
  const route = new ToldRoute()
  const pool = new RolePool(route, 'write', 5_000)
  await assert.rejects(pool.get({ signal: AbortSignal.abort() }), AbortError)

  const whileHeld = new AbortController()
  const held = pool.get({ signal: whileHeld.signal })
  await settled()
  whileHeld.abort()
  await assert.rejects(held, AbortError)
  assert.equal(route.held.length, 0)

  route.endpoint = open(t, portOf(server))
  await using _lease = await pool.get()
  const inQueue = new AbortController()
  const queued = pool.get({ signal: inQueue.signal })
  await settled()
  inQueue.abort()
  await assert.rejects(queued, AbortError)
  assert.equal(route.endpoint.pool.stats().waitingCount, 0)
})

test('after the end there are no more leases, and the error says so', async (t) => {
  const server = await scriptedServer(t, script)
  const route = new ToldRoute()
  const endpoint = open(t, portOf(server))
  route.endpoint = endpoint
  const pool = new RolePool(route, 'write', 5_000)
  await (await pool.get()).close()
  route.isClosed = true
  await endpoint.close()
  await assert.rejects(pool.get(), { code: 'CLIENT_CLOSED' })
})

test('what a lease finds out about its server is reported, lazy or not', async (t) => {
  const server = await scriptedServer(t, (command, peer) => {
    if (command[0] === 'SET') return "-READONLY You can't write against a read only replica.\r\n"
    if (command[0] !== 'CUT') return script(command, peer)
    peer.close()
    return undefined
  })
  const route = new ToldRoute()
  const endpoint = open(t, portOf(server), {}, (error) => route.report(endpoint, error))
  route.endpoint = endpoint
  const pool = new RolePool(route, 'write', 1_000)
  const failing = (lease: { call(name: string): Promise<unknown> }, name: string) =>
    lease.call(name).then(
      () => assert.fail('it fails'),
      () => route.reports.map(([whose, error]) => [whose === endpoint, (error as PoolError).code]),
    )
  await pool.use(async (lease) => {
    assert.deepEqual(await failing(lease, 'SET'), [[true, 'REPLY_ERROR']])
    assert.deepEqual(await failing(lease, 'CUT'), [
      [true, 'REPLY_ERROR'],
      [true, 'CONNECTION_LOST'],
    ])
  })
  route.reports.length = 0
  await pool.use(async (lease) => assert.deepEqual(await failing(lease, 'SET'), [[true, 'REPLY_ERROR']]), {
    lazy: true,
  })
})

test('with lazy: true it lends lazily, by the same rules', async (t) => {
  const [one, two] = [await scriptedServer(t, script), await scriptedServer(t, script)]
  const route = new ToldRoute()
  const [before, after] = [open(t, portOf(one)), open(t, portOf(two))]
  const pool = new RolePool(route, 'write', 5_000)
  const first = pool.get({ lazy: true })
  await settled()
  assert.equal(route.held.length, 1, 'it waits for a server')
  route.endpoint = before
  route.held.release()
  const lent = await first
  assert.equal(await lent.call('ECHO', 'x'), 'x')
  const abort = new AbortController()
  const [waiting, aborted] = [pool.get({ lazy: true }), pool.get({ lazy: true, signal: abort.signal })]
  await settled()
  assert.deepEqual(before.stats().lazy, { out: 1, waiting: 2 })
  abort.abort()
  await assert.rejects(aborted, AbortError)
  route.endpoint = after
  before.fence(fenced)
  const lease = await waiting
  assert.equal(lease.address, after.address, 'who waits moves on')
  assert.equal(await lease.call('ECHO', 'y'), 'y')
  await assert.rejects(lent.call('ECHO', 'x'), { code: 'FENCED' })
  await lease.close()
  assert.equal(await pool.use((again) => again.call('ECHO', 'z'), { lazy: true }), 'z')
  assert.deepEqual(after.stats().lazy, { out: 0, waiting: 0 })
  assert.equal(after.pool.stats().activeCount, 0)
  await assert.rejects(pool.get({ lazy: 'yes' as never }), /option lazy must be a boolean, got string/)
})

test('use() gives the lease back, whether the work returns, resolves, throws or rejects', async (t) => {
  const server = await scriptedServer(t, script)
  const route = new ToldRoute()
  route.endpoint = open(t, portOf(server))
  const pool = new RolePool(route, 'write', 1_000)
  assert.equal(await pool.use((lease) => lease.call('ECHO', 'x')), 'x')
  assert.equal(await pool.use(() => 7), 7)
  const thrown = new Error('the work')
  const failing = [
    () => {
      throw thrown
    },
    () => Promise.reject(thrown),
  ]
  for (const work of failing) await assert.rejects(pool.use(work), (error) => error === thrown)
  const { activeCount, idleCount } = route.endpoint.pool.stats()
  assert.deepEqual([activeCount, idleCount], [1, 1])
  assert.equal(server.peers.length, 1)
  await assert.rejects(
    pool.use(() => 7, { signal: AbortSignal.abort() }),
    AbortError,
  )
})
