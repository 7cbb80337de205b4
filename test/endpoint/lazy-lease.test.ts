// Leases that share a connection until they need one: against servers that do what they are told. The first connection
// of a server is the shared one.

import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { Endpoint, type EndpointOptions, LazyLease, RETRY_MS } from '../../lib/endpoint/index.ts'
import { ConnectionError, PoolError, RespoolError, TimeoutError } from '../../lib/errors.ts'
import type { Reply } from '../../lib/resp/index.ts'
import { settled } from '../support/clock.ts'
import { eventually } from '../support/real-servers.ts'
import {
  greet,
  type Peer,
  type Script,
  type ScriptedServer,
  scriptedServer,
} from '../support/scripted-server.ts'

type Overrides = Partial<Omit<EndpointOptions, 'connection'>> & { readonly connection?: object }

/** Answers the handshake and most commands; `HANG` never. */
const obliging: Script = (command) => {
  if (command[0] === 'ECHO') return `+${command[1]}\r\n`
  if (command[0] === 'HANG') return undefined
  return greet(command) ?? '+OK\r\n'
}

async function open(
  t: TestContext,
  script: Script = obliging,
  overrides: Overrides = {},
): Promise<{ readonly server: ScriptedServer; readonly endpoint: Endpoint }> {
  const server = await scriptedServer(t, script)
  const { connection, ...others } = overrides
  const port = 'port' in server.options ? server.options.port : 0
  const endpoint = new Endpoint(server.address, {
    connection: { host: '127.0.0.1', port, commandTimeout: 2_000, ...connection },
    pool: { maxIdle: 2, maxActive: 2, wait: true },
    pingInterval: 0,
    suspectAfter: 0,
    maxHeld: 1_000,
    maxHeldBytes: 100_000,
    ...others,
  })
  t.after(() => endpoint.fence(new Error('the test is over')))
  await endpoint.connect()
  return { server, endpoint }
}

/** What came over a connection after the handshake, the words of a command between spaces. */
function received(server: ScriptedServer, index: number): string[] {
  const words = (server.peers[index]?.commands ?? []).map((command) => command.join(' '))
  return words.filter((line) => !/^(HELLO|CLIENT SETINFO)/.test(line))
}

/** How a command ended, in short. */
async function end(reply: Promise<unknown>): Promise<unknown> {
  try {
    return await reply
  } catch (error) {
    return error instanceof RespoolError ? `${error.code} ${error.mayHaveExecuted}` : error
  }
}

const fenced = new ConnectionError('FENCED', 'replaced', { address: 'it', phase: 'ready' })

/** An idle connection in the pool, so that the next one is there without a dial. */
async function warm(endpoint: Endpoint): Promise<void> {
  await (await endpoint.lend({})).close()
  assert.equal(endpoint.pool.stats().idleCount, 1)
}

/** A few turns of the event loop: what could have been sent would have arrived. */
async function turns(): Promise<void> {
  for (let i = 0; i < 10; i += 1) await new Promise((resolve) => setTimeout(resolve, 1))
}

/** Answers of commands that were held back. */
class HeldReplies {
  readonly #peers: Peer[] = []
  readonly script: Script = (command, peer) => {
    if (command[0] !== 'HANG') return obliging(command, peer)
    this.#peers.push(peer)
    return undefined
  }

  get count(): number {
    return this.#peers.length
  }

  answer(): void {
    this.#peers.shift()?.send('+late\r\n')
  }
}

test('ordinary commands of all lazy leases share one connection', async (t) => {
  const { server, endpoint } = await open(t)
  const leases = await Promise.all([endpoint.lendLazily({}), endpoint.lendLazily({})])
  const replies = leases.flatMap((lease, i) => ['x', 'y'].map((word) => lease.call('ECHO', `${word}${i}`)))
  assert.deepEqual(await Promise.all(replies), ['x0', 'y0', 'x1', 'y1'])
  for (const lease of leases) {
    assert.deepEqual([lease.isPinned, lease.connection, lease.error], [false, undefined, undefined])
    assert.equal(lease.address, endpoint.address)
    await lease.close()
  }
  assert.equal(server.peers.length, 1)
  assert.equal(endpoint.pool.stats().activeCount, 0)
})

test('the first command that changes its connection gets one of its own, and all behind it follow', async (t) => {
  const { server, endpoint } = await open(t)
  const lease = await endpoint.lendLazily({})
  const lines = ['ECHO 1', 'WATCH k', 'ECHO 2', 'MULTI', 'SET k v', 'EXEC', 'ECHO 3']
  const replies = lines.map((line) => lease.execute(line.split(' ')))
  assert.equal(lease.isPinned, false)
  await Promise.all(replies)
  assert.equal(lease.isPinned, true)
  assert.equal(lease.connection?.address, endpoint.address)
  await lease.call('ECHO', '4')
  assert.deepEqual(received(server, 0), ['ECHO 1'])
  assert.deepEqual(received(server, 1), [...lines.slice(1), 'ECHO 4'])
  await lease.close()
  const { activeCount, idleCount } = endpoint.pool.stats()
  assert.deepEqual([activeCount, idleCount], [1, 1], 'it is back')
})

test('a command that comes in the moment of the pinning does not overtake those that waited', async (t) => {
  const { server, endpoint } = await open(t)
  await warm(endpoint)
  const lease = await endpoint.lendLazily({})
  const late: Promise<unknown>[] = []
  const early = ['WATCH', 'ECHO', 'ECHO'].map((name, i) => lease.call(name, `early ${i}`))
  // one command in each microtask from the one in which it is there
  while (!lease.isPinned) await undefined
  for (let i = 0; i < 20; i += 1) {
    late.push(lease.call('ECHO', `late ${i}`))
    await undefined
  }
  await Promise.all([...early, ...late])
  const order = received(server, 1).map((line) => line.replace(/^\w+ /, ''))
  assert.deepEqual(order, [
    ...[0, 1, 2].map((i) => `early ${i}`),
    ...Array.from({ length: 20 }, (_, i) => `late ${i}`),
  ])
})

const states = [
  ['WATCH k', 'UNWATCH', 'MULTI', 'EXEC', 'DISCARD', 'SELECT 1', 'AUTH pw', 'HELLO 3', 'RESET', 'QUIT'],
  [
    'SUBSCRIBE x',
    'PSUBSCRIBE x',
    'SSUBSCRIBE x',
    'UNSUBSCRIBE',
    'MONITOR',
    'READONLY',
    'READWRITE',
    'ASKING',
  ],
  [
    'CLIENT SETNAME x',
    'client tracking on',
    'CLIENT NO-EVICT ON',
    'CLIENT NO-TOUCH ON',
    'CLIENT CAPA redirect',
  ],
  ['BLPOP q 1', 'XREAD BLOCK 1 STREAMS s 0', 'WAIT 1 10', 'SCRIPT DEBUG YES', 'PSYNC ? -1'],
].flat()

test('each command that blocks, or changes its connection, pins; no other does', async (t) => {
  const { server, endpoint } = await open(t, obliging, { pool: { maxActive: 0 } })
  for (const line of states) {
    const lease = await endpoint.lendLazily({})
    lease.execute(line.split(' ')).catch(() => undefined)
    await eventually(`${line} pins`, () => lease.isPinned)
    lease.destroy()
  }
  await server.until(() => server.peers.length === states.length + 1)
  assert.deepEqual(received(server, 0), [])
  const others = [
    'GET k',
    'CLIENT ID',
    'client info',
    'HELLO',
    'XREAD STREAMS s 0',
    'FT.SEARCH i *',
    'EVAL x 0',
  ]
  const lease = await endpoint.lendLazily({})
  for (const line of others) await lease.execute(line.split(' '))
  assert.equal(lease.isPinned, false)
  assert.deepEqual(
    server.peers[0]?.commands.slice(-others.length).map((words) => words.join(' ')),
    others,
  )
})

test('what no connection takes is told at once, pinned or not, and pins nothing', async (t) => {
  const { server, endpoint } = await open(t)
  const lease = await endpoint.lendLazily({})
  const misuse = (): void => {
    assert.throws(() => lease.call('CLIENT', 'REPLY', 'OFF'), /CLIENT REPLY is not supported/)
    assert.throws(() => lease.execute([]), TypeError)
    assert.throws(() => lease.call('GET', undefined as never), /argument 1 of the command/)
    assert.throws(() => lease.call('WATCH', {} as never), /argument 1 of the command/)
    const silencing = ['CLIENT', 'REPLY', 'SKIP']
    assert.throws(() => lease.executeAll([['GET', 'k'], silencing]), TypeError)
    const bad = ['SET', 'k', null as never]
    assert.throws(() => lease.executeAll([['MULTI'], bad]), TypeError)
  }
  misuse()
  assert.equal(await end(lease.call('ECHO', 'x')), 'x')
  assert.equal(server.peers.length, 1, 'nothing was pinned')
  const watching = lease.call('WATCH', 'k')
  misuse()
  await watching
  misuse()
  assert.deepEqual(received(server, 1), ['WATCH k'])
})

test('the connection of its own is silent until the commands on the shared one have ended', async (t) => {
  const replies = new HeldReplies()
  const { server, endpoint } = await open(t, replies.script)
  await warm(endpoint)
  const lease = await endpoint.lendLazily({})
  const before = lease.call('HANG')
  const own = lease.call('WATCH', 'k')
  await server.until(() => replies.count === 1)
  await turns()
  assert.equal(endpoint.pool.stats().idleCount, 0, 'it is lent')
  assert.deepEqual(received(server, 1), [])
  assert.equal(lease.isPinned, false)
  replies.answer()
  assert.deepEqual(await Promise.all([before, own]), ['late', 'OK'])
})

test('a command with a deadline or a signal of its own ends before others without confusing that', async (t) => {
  const replies = new HeldReplies()
  const { server, endpoint } = await open(t, replies.script)
  await warm(endpoint)
  for (const first of [{}, { timeout: 10_000 }]) {
    const lease = await endpoint.lendLazily({})
    const abort = new AbortController()
    const patient = lease.execute(['HANG'], first)
    const hasty = end(lease.execute(['HANG'], { timeout: 20 }))
    const aborted = end(lease.execute(['HANG'], { signal: abort.signal }))
    await server.until(() => replies.count === 3)
    assert.equal(await hasty, 'COMMAND_TIMEOUT true')
    abort.abort()
    assert.equal(await aborted, 'ABORT_ERR true')
    const before = received(server, 1)
    const own = lease.call('WATCH', 'k')
    await turns()
    assert.deepEqual(received(server, 1), before)
    for (let left = 3; left > 0; left -= 1) replies.answer()
    assert.deepEqual(await Promise.all([patient, own]), ['late', 'OK'])
    await lease.close()
  }
})

test('nor does a command that the shared connection had no room for', async (t) => {
  const replies = new HeldReplies()
  const { server, endpoint } = await open(t, replies.script, { connection: { maxPending: 4 } })
  await warm(endpoint)
  const lease = await endpoint.lendLazily({})
  const sent = Array.from({ length: 4 }, () => lease.call('HANG'))
  assert.equal(await end(lease.call('HANG')), 'QUEUE_FULL false')
  const own = lease.call('WATCH', 'k')
  await turns()
  assert.deepEqual(received(server, 1), [])
  for (let left = 4; left > 0; left -= 1) replies.answer()
  assert.deepEqual(await Promise.all([...sent, own]), ['late', 'late', 'late', 'late', 'OK'])
  assert.equal(received(server, 0).at(-1), 'PING')
})

test('an endpoint that has ended is not asked again and again', async () => {
  const error = new PoolError('CLIENT_CLOSED', 'the client was destroyed')
  let asked = 0
  const refuse = (): Promise<never> => {
    asked += 1
    return Promise.reject(error)
  }
  const limits = { maxHeld: 10, maxHeldBytes: 1_000 }
  const settings = { address: 'it', commandTimeout: 0, resetTimeoutMs: 0, limits }
  const borrow = (): Promise<never> => Promise.reject(error)
  const giveBack = (): void => undefined
  const lease = new LazyLease({ ...settings, error, execute: refuse, executeAll: refuse, borrow, giveBack })
  assert.equal(await end(lease.call('ECHO', 'x')), 'CLIENT_CLOSED false')
  assert.equal(await end(lease.call('WATCH', 'k')), 'CLIENT_CLOSED false')
  await new Promise((resolve) => setTimeout(resolve, 2 * RETRY_MS))
  assert.equal(asked, 1)
  await lease.close()
})

test('commands on the shared connection that failed have ended too', async (t) => {
  const { server, endpoint } = await open(t, (command, peer) => {
    if (command[0] === 'CUT') peer.close()
    return command[0] === 'CUT' ? undefined : obliging(command, peer)
  })
  const lease = await endpoint.lendLazily({})
  const hung = end(lease.execute(['HANG'], { timeout: 50 }))
  assert.equal(await lease.call('MULTI'), 'OK')
  assert.equal(await hung, 'COMMAND_TIMEOUT true')
  await lease.close()

  const next = await endpoint.lendLazily({})
  const lost = [end(next.call('HANG')), end(next.call('CUT'))]
  assert.equal(await next.call('WATCH', 'k'), 'OK')
  assert.deepEqual(await Promise.all(lost), ['CONNECTION_LOST true', 'CONNECTION_LOST true'])
  assert.equal(server.peers.length, 2, 'the connection that came back is used again')
})

test('the loss of the shared connection fails what is on it, and the lease goes on with the next', async (t) => {
  const { server, endpoint } = await open(t, (command, peer) => {
    if (command[0] === 'CUT') peer.close()
    return command[0] === 'CUT' ? undefined : obliging(command, peer)
  })
  const lease = await endpoint.lendLazily({})
  assert.equal(await end(lease.call('CUT')), 'CONNECTION_LOST true')
  await eventually('the loss is known', () => !endpoint.isConnected)
  assert.equal(lease.error, undefined)
  const bytes = Buffer.from('x')
  const command: [string, Buffer] = ['ECHO', bytes]
  const reply = lease.execute(command)
  bytes.fill('!')
  command[0] = 'HANG'
  assert.equal(await reply, 'x', 'the caller has the array and the bytes again')
  assert.deepEqual(
    await lease.executeAll([
      ['ECHO', '1'],
      ['ECHO', '2'],
    ]),
    ['1', '2'],
  )
  assert.equal(server.peers.length, 2)
})

test('commands that wait for the connection are copied, and their deadlines are told as they were set', async (t) => {
  const { server, endpoint } = await open(t)
  const lease = await endpoint.lendLazily({})
  const bytes = Buffer.from('k')
  const command: [string, Buffer] = ['WATCH', bytes]
  const reply = lease.execute(command)
  const hung = lease.execute(['HANG'], { timeout: 80 })
  bytes.fill('!')
  command[0] = 'HANG'
  assert.equal(await reply, 'OK')
  assert.deepEqual(received(server, 1)[0], 'WATCH k')
  await assert.rejects(hung, (error) => {
    assert.ok(error instanceof TimeoutError)
    assert.deepEqual([error.timeout, error.mayHaveExecuted], [80, true])
    return true
  })
})

test('a blocking command has its own time from when it is sent', async (t) => {
  const { server, endpoint } = await open(
    t,
    (command, peer) => {
      if (command[0] !== 'BLPOP') return obliging(command, peer)
      setTimeout(() => peer.send('*-1\r\n'), 150)
      return undefined
    },
    { connection: { commandTimeout: 100 } },
  )
  const lease = await endpoint.lendLazily({})
  assert.equal(await lease.call('BLPOP', 'q', 0.15), null)
  assert.equal(await end(lease.execute(['BLPOP', 'q', 0.15], { timeout: 50 })), 'COMMAND_TIMEOUT true')
  assert.deepEqual(received(server, 0), [])
})

test('with nothing to be had, what waited for a connection fails, and so does all that comes behind', async (t) => {
  const { server, endpoint } = await open(t, (command, { index }) =>
    command[0] === 'HELLO' && index > 0
      ? '-ERR max number of clients reached\r\n'
      : obliging(command, {} as Peer),
  )
  const lease = await endpoint.lendLazily({})
  const before = lease.call('ECHO', 'before')
  const held = [lease.call('MULTI'), lease.call('SET', 'k', 'v'), lease.call('EXEC'), lease.pin()].map(end)
  assert.equal(await before, 'before')
  assert.deepEqual(await Promise.all(held), new Array(4).fill('HANDSHAKE_FAILED false'))
  assert.equal(await end(lease.call('SET', 'k', 'v')), 'HANDSHAKE_FAILED false')
  assert.equal(await end(lease.pin()), 'HANDSHAKE_FAILED false')
  assert.deepEqual(await lease.executeAll([['GET', 'k']]).then(([error]) => error), lease.error)
  assert.equal((lease.error as RespoolError).code, 'HANDSHAKE_FAILED')
  assert.deepEqual(received(server, 0), ['ECHO before'], 'nothing of the transaction ran outside of one')
  await lease.close()
  assert.equal(endpoint.stats().lazy.out, 0)
  const next = await endpoint.lendLazily({})
  assert.equal(await next.call('ECHO', 'next'), 'next')
})

test('who pins queues for a connection like everybody, within the deadline of its commands', async (t) => {
  const { server, endpoint } = await open(t)
  const exclusive = await Promise.all([endpoint.lend({}), endpoint.lend({})])
  const lease = await endpoint.lendLazily({})
  assert.equal(await lease.call('ECHO', 'x'), 'x', 'shared ones need no place')
  const late = lease.execute(['WATCH', 'k'], { timeout: 30 })
  const held = lease.call('MULTI')
  await assert.rejects(late, (error) => {
    assert.ok(error instanceof TimeoutError)
    assert.deepEqual([error.timeout, error.mayHaveExecuted], [30, false])
    assert.match(error.message, /no connection of its own to .* within 30 ms/)
    return true
  })
  await exclusive[0]?.close()
  assert.equal(await held, 'OK')
  assert.deepEqual(
    server.peers.flatMap((_, i) => received(server, i)),
    ['ECHO x', 'MULTI'],
  )
})

test('where the pool does not wait, a pin does not either', async (t) => {
  const { endpoint } = await open(t, obliging, { pool: { maxActive: 1, maxIdle: 1 } })
  const lease = await endpoint.lendLazily({})
  await assert.rejects(endpoint.lendLazily({}), { code: 'POOL_EXHAUSTED' })
  const exclusive = await endpoint.lend({})
  assert.equal(await end(lease.call('MULTI')), 'POOL_EXHAUSTED false')
  await lease.close()
  await exclusive.close()
  const next = await endpoint.lendLazily({})
  assert.equal(await next.call('MULTI'), 'OK')
})

test('among lazy leases there is a connection for everyone who pins', async (t) => {
  const { server, endpoint } = await open(t, obliging, { pool: { maxActive: 3, maxIdle: 3, wait: true } })
  let [most, out] = [0, 0]
  const one = async (): Promise<void> => {
    const lease = await endpoint.lendLazily({})
    out += 1
    most = Math.max(most, out, endpoint.pool.stats().activeCount)
    await lease.call('WATCH', 'k')
    await lease.call('ECHO', 'x')
    assert.equal(endpoint.pool.stats().waitingCount, 0)
    out -= 1
    await lease.close()
  }
  await Promise.all(Array.from({ length: 50 }, one))
  assert.equal(most, 3)
  assert.deepEqual(endpoint.stats().lazy, { out: 0, waiting: 0 })
  assert.equal(server.peers.length, 4)
})

test('after close() every use is refused, and a second close() changes nothing', async (t) => {
  const { server, endpoint } = await open(t)
  for (const isPinned of [false, true]) {
    const lease = await endpoint.lendLazily({})
    if (isPinned) await lease.call('WATCH', 'k')
    const closed = lease.close()
    assert.equal(lease.close(), closed)
    await closed
    await lease.close()
    lease.destroy()
    lease[Symbol.dispose]()
    assert.deepEqual(endpoint.stats().lazy, { out: 0, waiting: 0 })
    assert.equal(await end(lease.call('ECHO', 'x')), 'LEASE_RETURNED false')
    assert.equal(await end(lease.call('MULTI')), 'LEASE_RETURNED false')
    assert.equal(await end(lease.executeAll([['ECHO', 'x']])), 'LEASE_RETURNED false')
    assert.equal(await end(lease.pin()), 'LEASE_RETURNED false')
    assert.throws(() => lease.connection, { code: 'LEASE_RETURNED' })
    assert.equal((lease.error as RespoolError).code, 'LEASE_RETURNED')
    assert.equal(lease.isPinned, false)
  }
  assert.deepEqual(received(server, 0), [])
  assert.deepEqual(received(server, 1), ['WATCH k', 'UNWATCH'])
})

test('close() leaves what is on the shared connection to settle', async (t) => {
  const replies = new HeldReplies()
  const { server, endpoint } = await open(t, replies.script, { pool: { maxActive: 1, wait: true } })
  const lease = await endpoint.lendLazily({})
  const inFlight = lease.call('HANG')
  await server.until(() => replies.count === 1)
  const waiting = endpoint.lendLazily({})
  await lease.close()
  const next = await waiting
  const behind = next.call('ECHO', 'x')
  replies.answer()
  assert.deepEqual(await Promise.all([inFlight, behind]), ['late', 'x'])
})

test('a connection of its own comes back clean before the permit does', async (t) => {
  let undo = (): void => assert.fail('nothing is undone')
  const { server, endpoint } = await open(
    t,
    (command, peer) => {
      if (command[0] !== 'DISCARD') return obliging(command, peer)
      undo = () => peer.send('+OK\r\n')
      return undefined
    },
    { pool: { maxActive: 1, maxIdle: 1, wait: true } },
  )
  const lease = await endpoint.lendLazily({})
  await lease.call('MULTI')
  const closed = lease.close()
  const waiting = endpoint.lendLazily({})
  await server.until(() => received(server, 1).includes('DISCARD'))
  assert.deepEqual(endpoint.stats().lazy, { out: 1, waiting: 1 })
  undo()
  await closed
  const next = await waiting
  await next.call('WATCH', 'k')
  assert.deepEqual(received(server, 1), ['MULTI', 'DISCARD', 'WATCH k'])
})

test('commands that wait for the connection at close() still go first', async (t) => {
  const { server, endpoint } = await open(t)
  const lease = await endpoint.lendLazily({})
  const replies = ['WATCH k', 'MULTI', 'SET k v', 'EXEC'].map((line) => lease.execute(line.split(' ')))
  await lease.close()
  assert.deepEqual(await Promise.all(replies), ['OK', 'OK', 'OK', 'OK'])
  assert.deepEqual(received(server, 1).slice(0, 4), ['WATCH k', 'MULTI', 'SET k v', 'EXEC'])
  assert.deepEqual(endpoint.stats().lazy, { out: 0, waiting: 0 })
  assert.equal(endpoint.pool.stats().idleCount, 1)
})

test('but no longer than resetTimeout; then they are not sent at all', async (t) => {
  const pool = { maxActive: 1, maxIdle: 1, wait: true, resetTimeout: 50 }
  const { server, endpoint } = await open(t, obliging, { pool })
  const exclusive = await endpoint.lend({})
  const lease = await endpoint.lendLazily({})
  const held = end(lease.call('MULTI'))
  const startedAt = performance.now()
  await lease.close()
  const ms = performance.now() - startedAt
  assert.ok(ms >= 48 && ms < 5_000, `${ms} ms`)
  assert.equal(await held, 'LEASE_RETURNED false')
  assert.equal(endpoint.pool.stats().waitingCount, 0)
  await exclusive.close()
  assert.deepEqual(
    server.peers.flatMap((_, i) => received(server, i)),
    [],
  )
})

test('with nobody waiting for it any more, close() does not wait for the connection', async (t) => {
  const { endpoint } = await open(t, obliging, { pool: { maxActive: 1, wait: true, resetTimeout: 0 } })
  const exclusive = await endpoint.lend({})
  const lease = await endpoint.lendLazily({})
  assert.equal(await end(lease.execute(['MULTI'], { timeout: 10 })), 'COMMAND_TIMEOUT false')
  const pinning = end(lease.pin())
  assert.equal(endpoint.pool.stats().waitingCount, 1)
  await lease.close()
  assert.equal(await pinning, 'LEASE_RETURNED false')
  assert.equal(endpoint.pool.stats().waitingCount, 0)
  await exclusive.close()
})

test('a connection that is there too late goes back to the pool untouched', async (t) => {
  const replies = new HeldReplies()
  const { server, endpoint } = await open(t, replies.script)
  await warm(endpoint)
  // lent, but nobody was told yet
  const hasty = await endpoint.lendLazily({})
  const pin = end(hasty.pin())
  assert.equal(endpoint.pool.stats().idleCount, 0)
  hasty.destroy()
  assert.equal(await pin, 'LEASE_RETURNED false')
  await eventually('it is back', () => endpoint.pool.stats().idleCount === 1)
  // the connection is there, the earlier reply is not
  const lease = await endpoint.lendLazily({})
  const before = lease.call('HANG')
  const pinning = end(lease.pin())
  await server.until(() => replies.count === 1)
  await settled()
  lease.destroy()
  assert.equal(await pinning, 'LEASE_RETURNED false')
  await eventually('it is back', () => endpoint.pool.stats().idleCount === 1)
  replies.answer()
  assert.equal(await before, 'late', 'what is shared is not destroyed')
  assert.deepEqual(received(server, 1), [])
})

test('destroy() ends the connection of its own with what is pending there', async (t) => {
  const { server, endpoint } = await open(t)
  const lease = await endpoint.lendLazily({})
  await lease.pin()
  const pending = end(lease.call('HANG'))
  await server.until(() => received(server, 1).length === 1)
  lease.destroy()
  assert.equal(await pending, 'CONNECTION_CLOSED true')
  await server.until(() => server.openCount === 1)
  assert.deepEqual([endpoint.pool.stats().activeCount, endpoint.stats().lazy.out], [0, 0])

  const waits = await endpoint.lendLazily({})
  const reason = new Error('the borrower’s')
  const held = waits.call('MULTI')
  waits.destroy(reason)
  await assert.rejects(held, (error) => error === reason)
  assert.equal(endpoint.stats().lazy.out, 0)
})

test('a connection of its own that dies takes the lease with it', async (t) => {
  const { endpoint } = await open(t, (command, peer) => {
    if (command[0] === 'CUT') peer.close()
    return command[0] === 'CUT' ? undefined : obliging(command, peer)
  })
  const lease = await endpoint.lendLazily({})
  await lease.call('WATCH', 'k')
  assert.equal(await end(lease.call('CUT')), 'CONNECTION_LOST true')
  assert.equal((lease.error as RespoolError).code, 'CONNECTION_LOST')
  assert.equal(await end(lease.call('ECHO', 'x')), 'CONNECTION_LOST false')
  assert.equal(endpoint.isConnected, true)
})

test('several commands go where the one of them that needs it goes, all or none', async (t) => {
  const { server, endpoint } = await open(t, (command, peer) =>
    command[0] === 'NO' ? '-ERR no\r\n' : obliging(command, peer),
  )
  const lease = await endpoint.lendLazily({})
  const outcomes = (replies: (Reply | Error)[]): unknown[] =>
    replies.map((reply) => (reply instanceof Error ? reply.message : reply))
  assert.deepEqual(outcomes(await lease.executeAll([['ECHO', '1'], ['NO'], ['ECHO', '2']])), [
    '1',
    'ERR no',
    '2',
  ])
  const mixed = [['ECHO', '3'], ['MULTI'], ['NO'], ['EXEC']]
  assert.deepEqual(outcomes(await lease.executeAll(mixed)), ['3', 'OK', 'ERR no', 'OK'])
  assert.deepEqual(outcomes(await lease.executeAll([['ECHO', '4']])), ['4'])
  assert.deepEqual(received(server, 0), ['ECHO 1', 'NO', 'ECHO 2'])
  assert.deepEqual(received(server, 1), ['ECHO 3', 'MULTI', 'NO', 'EXEC', 'ECHO 4'])
})

test('pin() gives the connection before any command, for who wants to listen first', async (t) => {
  const { server, endpoint } = await open(t)
  const lease = await endpoint.lendLazily({})
  await lease.call('ECHO', '1')
  const pushes: unknown[] = []
  const connection = await lease.pin()
  assert.equal(lease.connection, connection)
  assert.equal(await lease.pin(), connection)
  connection.onPush = (push) => pushes.push(push)
  server.peers[1]?.send('>3\r\n+message\r\n+c\r\n+m\r\n')
  await eventually('it is heard', () => pushes.length === 1)
  await lease.call('ECHO', '2')
  await lease.close()
  assert.equal(connection.onPush, undefined)
  assert.deepEqual([received(server, 0), received(server, 1)], [['ECHO 1'], ['ECHO 2']])
})

test('a signal ends the waiting of one pin(), not the pinning', async (t) => {
  const { endpoint } = await open(t, obliging, { pool: { maxActive: 1, maxIdle: 1, wait: true } })
  const exclusive = await endpoint.lend({})
  const lease = await endpoint.lendLazily({})
  const abort = new AbortController()
  const aborted = end(lease.pin({ signal: abort.signal }))
  const patient = lease.pin()
  await settled()
  abort.abort()
  assert.equal(await aborted, 'ABORT_ERR false')
  await exclusive.close()
  assert.equal((await patient).error, undefined)
})

test('what waits for a connection is bounded', async (t) => {
  const { endpoint } = await open(t, obliging, { maxHeld: 2, pool: { maxActive: 1, wait: true } })
  const exclusive = await endpoint.lend({})
  const lease = await endpoint.lendLazily({})
  const held = [lease.call('MULTI'), lease.call('ECHO', 'x')]
  assert.equal(await end(lease.call('ECHO', 'y')), 'QUEUE_FULL false')
  await exclusive.close()
  assert.deepEqual(await Promise.all(held), ['OK', 'x'])
})

test('the fence ends lazy leases by the outcome rule, wherever they are', async (t) => {
  const pool = { maxActive: 3, maxIdle: 3, wait: true }
  const { server, endpoint } = await open(t, obliging, { pool })
  const exclusive = await Promise.all([endpoint.lend({}), endpoint.lend({})])
  const leases = await Promise.all([1, 2, 3].map(() => endpoint.lendLazily({})))
  const [shared, pinned, pinning] = leases as [LazyLease, LazyLease, LazyLease]
  await pinned.pin()
  const sent = [shared.call('HANG'), pinned.call('HANG')].map(end)
  const waits = [pinning.call('MULTI'), pinning.call('SET', 'k', 'v')].map(end)
  const waiting = end(endpoint.lendLazily({}))
  await server.until(() => server.commands.filter(([name]) => name === 'HANG').length === 2)
  endpoint.fence(fenced)
  assert.deepEqual(await Promise.all(sent), ['FENCED true', 'FENCED true'])
  assert.deepEqual(await Promise.all(waits), ['FENCED false', 'FENCED false'])
  assert.equal(await waiting, 'FENCED false')
  for (const lease of leases) {
    assert.equal((lease.error as RespoolError).code, 'FENCED')
    assert.equal(await end(lease.call('ECHO', 'never')), 'FENCED false')
    assert.equal(await end(lease.call('MULTI')), 'FENCED false')
    await lease.close()
  }
  await assert.rejects(endpoint.lendLazily({}), { code: 'POOL_CLOSED', cause: fenced })
  assert.equal(endpoint.stats().lazy.out, 0)
  for (const lease of exclusive) await lease.close()
  await server.until(() => server.openCount === 0)
})

test('close() of the endpoint waits for lazy leases, which can do all until they are back', async (t) => {
  const { server, endpoint } = await open(t)
  const [one, two] = await Promise.all([endpoint.lendLazily({}), endpoint.lendLazily({})])
  const waiting = end(endpoint.lendLazily({}))
  let isClosed = false
  const closed = endpoint.close().then(() => {
    isClosed = true
  })
  assert.equal(await waiting, 'POOL_CLOSED false')
  assert.equal(await end(endpoint.lendLazily({})), 'POOL_CLOSED false')
  assert.equal(await end(endpoint.execute(['ECHO', 'x'])), 'CONNECTION_CLOSED false')
  assert.equal(one.error, undefined)
  assert.equal(await one.call('ECHO', 'x'), 'x')
  assert.equal(await two.call('WATCH', 'k'), 'OK')
  const inFlight = one.call('ECHO', 'last')
  await one.close()
  await settled()
  assert.equal(isClosed, false)
  await two.close()
  await closed
  assert.equal(await inFlight, 'last')
  await server.until(() => server.openCount === 0)
})

test('the fence cuts a close() short that waits for lazy leases', async (t) => {
  const { endpoint } = await open(t)
  const lease = await endpoint.lendLazily({})
  const closed = endpoint.close()
  endpoint.fence(fenced)
  await closed
  assert.equal(await end(lease.call('ECHO', 'x')), 'FENCED false')
})

test('a lazy lease ends with its scope', async (t) => {
  const { server, endpoint } = await open(t)
  {
    await using lease = await endpoint.lendLazily({})
    await lease.call('WATCH', 'k')
  }
  assert.deepEqual(received(server, 1), ['WATCH k', 'UNWATCH'])
  {
    using lease = await endpoint.lendLazily({})
    await lease.call('ECHO', 'x')
  }
  assert.deepEqual(endpoint.stats().lazy, { out: 0, waiting: 0 })
})
