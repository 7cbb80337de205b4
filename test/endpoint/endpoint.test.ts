// What is held open to one server, against servers that do what they are told.

import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { type Connection, connect } from '../../lib/connection/index.ts'
import { Endpoint, type EndpointOptions } from '../../lib/endpoint/index.ts'
import { ConnectionError, PoolError, ReplyError, RespoolError, TimeoutError } from '../../lib/errors.ts'
import { settled } from '../support/clock.ts'
import { freePorts } from '../support/free-ports.ts'
import { eventually } from '../support/real-servers.ts'
import {
  greet,
  type Peer,
  type Script,
  type ScriptedServer,
  scriptedServer,
} from '../support/scripted-server.ts'

type Overrides = Partial<Omit<EndpointOptions, 'connection'>> & { readonly connection?: object }

function open(t: TestContext, port: number, overrides: Overrides = {}): Endpoint {
  const { connection, ...others } = overrides
  const endpoint = new Endpoint(`127.0.0.1:${port}`, {
    connection: { host: '127.0.0.1', port, commandTimeout: 2_000, ...connection },
    pool: { maxIdle: 2, maxActive: 2, wait: true },
    pingInterval: 0,
    suspectAfter: 0,
    maxHeld: 1_000,
    maxHeldBytes: 100_000,
    ...others,
  })
  t.after(() => endpoint.fence(new Error('the test is over')))
  return endpoint
}

function portOf({ options }: ScriptedServer): number {
  return 'port' in options ? options.port : 0
}

/** Answers the handshake, ECHO with its argument, `HANG` never. */
const obliging: Script = (command) => {
  if (command[0] === 'ECHO') return `+${command[1]}\r\n`
  if (command[0] === 'ROLE') return '*1\r\n+master\r\n'
  return greet(command)
}

function names(server: ScriptedServer): string[] {
  return server.commands.flatMap(([name = '', argument = '']) => (name === 'ECHO' ? [argument] : []))
}

/** `fence()` with this. */
const fenced = new ConnectionError('FENCED', 'replaced', { address: 'it', phase: 'ready' })

/** How a command ended, in short. */
async function end(reply: Promise<unknown>): Promise<unknown> {
  try {
    return await reply
  } catch (error) {
    return error instanceof RespoolError ? `${error.code} ${error.mayHaveExecuted}` : error
  }
}

test('one dial serves all commands that come meanwhile, in their order', async (t) => {
  const server = await scriptedServer(t, obliging)
  const endpoint = open(t, portOf(server))
  assert.equal(endpoint.isConnected, false)
  const replies = Array.from({ length: 50 }, (_, i) => endpoint.execute(['ECHO', `${i}`]))
  assert.equal(endpoint.stats().held, 50)
  const expected = Array.from({ length: 50 }, (_, i) => `${i}`)
  assert.deepEqual(await Promise.all(replies), expected)
  assert.deepEqual(names(server), expected)
  assert.equal(server.peers.length, 1)
  assert.equal(endpoint.isConnected, true)
  assert.equal(endpoint.stats().held, 0)
})

test('nothing connects before the first command', async (t) => {
  const server = await scriptedServer(t, obliging)
  const endpoint = open(t, portOf(server))
  await settled()
  assert.equal(server.peers.length, 0)
  assert.deepEqual(endpoint.stats(), {
    address: endpoint.address,
    pool: endpoint.pool.stats(),
    connected: false,
    suspect: false,
    pending: 0,
    held: 0,
    lazy: { out: 0, waiting: 0 },
  })
  assert.equal(endpoint.silence, 0)
  assert.equal(endpoint.load, 0)
})

test('a command that comes in the moment of the release does not overtake those that waited', async (t) => {
  const server = await scriptedServer(t, obliging)
  let onVerified = (): void => undefined
  const endpoint = open(t, portOf(server), {
    verify: () => {
      onVerified()
      return Promise.resolve()
    },
  })
  const late: Promise<unknown>[] = []
  onVerified = () => {
    // one command in each of the microtasks around the release
    const next = (left: number): void => {
      if (left === 0) return
      late.push(endpoint.execute(['ECHO', `late ${20 - left}`]))
      queueMicrotask(() => next(left - 1))
    }
    next(20)
  }
  const early = [1, 2, 3].map((i) => endpoint.execute(['ECHO', `early ${i}`]))
  await Promise.all(early)
  assert.equal(late.length, 20)
  await Promise.all(late)
  assert.deepEqual(names(server).slice(0, 3), ['early 1', 'early 2', 'early 3'])
  assert.deepEqual(
    names(server).slice(3),
    Array.from({ length: 20 }, (_, i) => `late ${i}`),
  )
})

test('a server that is away is dialed again, and the command goes when it is back', async (t) => {
  const [port = 0] = await freePorts(1)
  const troubles: Error[] = []
  const endpoint = open(t, port, { onTrouble: (error) => troubles.push(error) })
  const reply = endpoint.execute(['ECHO', 'x'])
  await eventually('two dials have failed', () => troubles.length >= 2)
  await scriptedServer(t, obliging, { port })
  assert.equal(await reply, 'x')
  assert.ok(troubles.every((error) => error instanceof ConnectionError && error.code === 'CONNECT_FAILED'))
})

test('the deadline tells why there is no connection', async (t) => {
  const [port = 0] = await freePorts(1)
  const endpoint = open(t, port)
  await assert.rejects(endpoint.execute(['ECHO', 'x'], { timeout: 100 }), (error) => {
    assert.ok(error instanceof TimeoutError)
    assert.equal(error.timeout, 100)
    assert.equal(error.mayHaveExecuted, false)
    assert.match(
      error.message,
      new RegExp(`no connection to 127.0.0.1:${port} within 100 ms: .*ECONNREFUSED`),
    )
    assert.ok(error.cause instanceof ConnectionError)
    return true
  })
})

test('however long a server is away, it is dialed again 100 ms after the last dial, and not before', async (t) => {
  const [port = 0] = await freePorts(1)
  let dials = 0
  const endpoint = open(t, port, {
    onTrouble: () => {
      dials += 1
    },
  })
  // only the pauses: sockets and deadlines go by the real time
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const turns = async (ms: number, isOver = () => false): Promise<void> => {
    for (const until = performance.now() + ms; !isOver() && performance.now() < until; ) await settled()
  }
  const failed = async (count: number): Promise<void> => {
    await turns(5_000, () => dials === count)
    assert.equal(dials, count)
    await settled() // the pause begins
  }
  const replies = ['1', '2'].map((n) => endpoint.execute(['ECHO', n], { timeout: 0 }))
  await failed(1)
  for (const [i, pauseMs] of [50, ...new Array<number>(20).fill(100)].entries()) {
    t.mock.timers.tick(pauseMs - 1)
    await turns(5)
    assert.equal(dials, i + 1, `not before ${pauseMs} ms`)
    t.mock.timers.tick(1)
    await failed(i + 2)
  }
  const server = await scriptedServer(t, obliging, { port })
  t.mock.timers.tick(100)
  assert.deepEqual(await Promise.all(replies), ['1', '2'])
  assert.equal(server.peers.length, 1)
})

test('the time that a command waited is part of the deadline that its error tells', async (t) => {
  const [port = 0] = await freePorts(1)
  const endpoint = open(t, port)
  const reply = endpoint.execute(['HANG'], { timeout: 200 })
  await scriptedServer(t, obliging, { port })
  await assert.rejects(reply, (error) => {
    assert.ok(error instanceof TimeoutError)
    assert.deepEqual([error.timeout, error.mayHaveExecuted], [200, true])
    assert.match(error.message, /no reply within 200 ms/)
    return true
  })
  await assert.rejects(open(t, port).execute(['ECHO', 'x'], { timeout: -1 }), RangeError)
})

test('when nobody waits any more, nothing is dialed', async (t) => {
  const [port = 0] = await freePorts(1)
  let dials = 0
  const endpoint = open(t, port, {
    onTrouble: () => {
      dials += 1
    },
  })
  await assert.rejects(endpoint.execute(['ECHO', 'x'], { timeout: 60 }))
  await eventually('the dials have ended', async () => {
    const before = dials
    await new Promise((resolve) => setTimeout(resolve, 250))
    return dials === before
  })
})

test('a command that waits while somebody else dials is not forgotten when that fails', async (t) => {
  const [port = 0] = await freePorts(1)
  const endpoint = open(t, port)
  const attempt = endpoint.connect()
  const reply = endpoint.execute(['ECHO', 'x'])
  await assert.rejects(attempt, { code: 'CONNECT_FAILED' })
  await scriptedServer(t, obliging, { port })
  assert.equal(await reply, 'x')
})

test('a wrong password fails all that wait at once, not at their deadlines', async (t) => {
  const server = await scriptedServer(t, (command) =>
    command[0] === 'HELLO' ? '-WRONGPASS invalid username-password pair\r\n' : greet(command),
  )
  const endpoint = open(t, portOf(server), { connection: { password: 'secret' } })
  const start = performance.now()
  for (const reply of [endpoint.execute(['ECHO', '1']), endpoint.execute(['ECHO', '2'])]) {
    await assert.rejects(reply, (error) => {
      assert.ok(error instanceof ConnectionError)
      assert.equal(error.code, 'HANDSHAKE_FAILED')
      assert.ok(error.cause instanceof ReplyError)
      assert.doesNotMatch(error.message, /secret/)
      return true
    })
  }
  assert.ok(performance.now() - start < 1_000)
  await assert.rejects(endpoint.execute(['ECHO', '3']), { code: 'HANDSHAKE_FAILED' })
  assert.equal(server.peers.length, 2, 'the next command tries anew, once')
})

test('a refusal of the handshake that passes is waited out', async (t) => {
  const server = await scriptedServer(t, (command, { index }) =>
    command[0] === 'HELLO' && index < 2
      ? '-ERR max number of clients reached\r\n'
      : obliging(command, {} as never),
  )
  const endpoint = open(t, portOf(server))
  assert.equal(await endpoint.execute(['ECHO', 'x']), 'x')
  assert.equal(server.peers.length, 3)
})

test('a shared connection that is lost is replaced with the next command, and not before', async (t) => {
  const server = await scriptedServer(t, (command, peer) => {
    if (command[0] === 'CUT') peer.close()
    return obliging(command, peer)
  })
  const troubles: Error[] = []
  const endpoint = open(t, portOf(server), { onTrouble: (error) => troubles.push(error) })
  await endpoint.execute(['ECHO', '1'])
  assert.equal(await end(endpoint.execute(['CUT'])), 'CONNECTION_LOST true')
  await eventually('the loss is told', () => troubles.length === 1)
  assert.equal((troubles[0] as RespoolError).code, 'CONNECTION_LOST')
  assert.equal(endpoint.isConnected, false)
  assert.equal(endpoint.silence, 0)
  assert.equal(server.peers.length, 1)
  assert.equal(await endpoint.execute(['ECHO', '2']), '2')
  assert.equal(server.peers.length, 2)
})

test('the time spent waiting counts to the deadline of the command', async (t) => {
  const [port = 0] = await freePorts(1)
  const endpoint = open(t, port)
  const start = performance.now()
  const reply = endpoint.execute(['HANG'], { timeout: 300 })
  setTimeout(() => void scriptedServer(t, obliging, { port }), 100)
  assert.equal(await end(reply), 'COMMAND_TIMEOUT true')
  const ms = performance.now() - start
  assert.ok(ms >= 295 && ms < 900, `${ms} ms`)
})

test('what may wait is bounded, in commands and in bytes', async (t) => {
  const server = await scriptedServer(t, () => undefined)
  const endpoint = open(t, portOf(server), { maxHeld: 2, maxHeldBytes: 27 })
  const first = end(endpoint.execute(['ECHO', Buffer.alloc(10)]))
  assert.equal(await end(endpoint.execute(['ECHO', Buffer.alloc(10)])), 'QUEUE_FULL false')
  const second = end(endpoint.execute(['E', 5]))
  assert.equal(endpoint.load, 2)
  assert.equal(await end(endpoint.execute(['E'])), 'QUEUE_FULL false')
  endpoint.fence(fenced)
  assert.deepEqual(await Promise.all([first, second]), ['FENCED false', 'FENCED false'])
})

test('the fence ends commands in flight as unknown, those that were not sent as such, and starts none', async (t) => {
  const server = await scriptedServer(t, obliging)
  const endpoint = open(t, portOf(server))
  await endpoint.execute(['ECHO', '1'])
  const inFlight = end(endpoint.execute(['HANG']))
  await server.until(() => server.commands.some(([name]) => name === 'HANG'))
  const unwritten = end(endpoint.execute(['ECHO', 'never']))
  endpoint.fence(fenced)
  assert.equal(await inFlight, 'FENCED true')
  assert.equal(await unwritten, 'FENCED false')
  assert.equal(await end(endpoint.execute(['ECHO', 'later'])), 'FENCED false')
  assert.equal(await end(endpoint.connect()), 'FENCED false')
  assert.equal(endpoint.error, fenced)
  assert.equal(endpoint.isConnected, false)
  await server.until(() => server.openCount === 0)
  assert.equal(server.peers.length, 1)
  assert.deepEqual(names(server), ['1'])
})

test('the fence ends leases, those that wait for one, and the idle ones', async (t) => {
  const server = await scriptedServer(t, obliging)
  const endpoint = open(t, portOf(server))
  const lent = await endpoint.pool.get()
  const idle = await endpoint.pool.get()
  const busy = end(lent.call('HANG'))
  const waiting = endpoint.pool.get().then(
    () => 'served',
    (error: Error) => error,
  )
  assert.equal(endpoint.load, 2)
  await server.until(() => server.commands.some(([name]) => name === 'HANG'))
  await settled()
  assert.equal(endpoint.pool.stats().waitingCount, 1)
  endpoint.fence(fenced)
  assert.equal(await busy, 'FENCED true')
  assert.equal(await waiting, fenced)
  assert.equal((lent.error as RespoolError).code, 'FENCED')
  assert.equal(await end(idle.call('ECHO', 'never')), 'FENCED false')
  await assert.rejects(endpoint.pool.get(), (error) => {
    assert.ok(error instanceof PoolError)
    assert.equal(error.code, 'POOL_CLOSED')
    assert.equal(error.cause, fenced)
    return true
  })
  await server.until(() => server.openCount === 0)
  assert.deepEqual(names(server), [])
})

test('the fence ends a dial that is under way, and what waits for it', async (t) => {
  const server = await scriptedServer(t, () => undefined)
  const endpoint = open(t, portOf(server))
  const replies = [end(endpoint.execute(['ECHO', '1'])), end(endpoint.pool.get())]
  await server.until(() => server.commands.length >= 2)
  endpoint.fence(fenced)
  assert.deepEqual(await Promise.all(replies), ['FENCED false', 'FENCED false'])
  await server.until(() => server.openCount === 0)
})

test('the fence ends a look at a new connection, however long that would take', async (t) => {
  const server = await scriptedServer(t, (command) => (command[0] === 'ROLE' ? undefined : greet(command)))
  const verify = async (connection: Connection) => {
    await connection.call('ROLE')
  }
  const endpoint = open(t, portOf(server), { verify, connection: { commandTimeout: 60_000 } })
  const replies = [end(endpoint.execute(['ECHO', '1'])), end(endpoint.pool.get())]
  await server.until(() => server.commands.filter(([name]) => name === 'ROLE').length === 2)
  endpoint.fence(fenced)
  assert.deepEqual(await Promise.all(replies), ['FENCED false', 'FENCED false'])
  await server.until(() => server.openCount === 0)
})

test('a peer that does not let itself be looked at is given up like one that does not shake hands', async (t) => {
  const server = await scriptedServer(t, (command, { index }) =>
    command[0] === 'ROLE' && index === 0 ? undefined : obliging(command, {} as never),
  )
  const verify = async (connection: Connection) => {
    await connection.call('ROLE')
  }
  const endpoint = open(t, portOf(server), { verify, connection: { commandTimeout: 0, connectTimeout: 100 } })
  assert.equal(await endpoint.execute(['ECHO', 'x'], { timeout: 5_000 }), 'x')
})

test('a connection that does not pass the look is not used, and is closed', async (t) => {
  const server = await scriptedServer(t, obliging)
  const no = new ConnectionError('HANDSHAKE_FAILED', 'says it is a replica', {
    address: 'it',
    phase: 'handshake',
  })
  let looks = 0
  const troubles: Error[] = []
  const endpoint = open(t, portOf(server), {
    verify: () => {
      looks += 1
      return looks < 3 ? Promise.reject(no) : Promise.resolve()
    },
    onTrouble: (error) => troubles.push(error),
  })
  await assert.rejects(endpoint.pool.get(), (error) => error === no)
  assert.equal(await endpoint.execute(['ECHO', 'x']), 'x')
  assert.deepEqual(troubles, [no, no])
  await server.until(() => server.openCount === 1)
  assert.deepEqual(
    server.peers.map(({ commands }) => commands.some(([name]) => name === 'ECHO')),
    [false, false, true],
  )
})

test('close() waits for what is in flight and for leases, and takes nothing new', async (t) => {
  let answer = (): void => assert.fail('there is nothing to answer')
  const server = await scriptedServer(t, (command, peer) => {
    if (command[0] !== 'HANG') return obliging(command, peer)
    answer = () => peer.send('+done\r\n')
    return undefined
  })
  const endpoint = open(t, portOf(server), { pingInterval: 1_000 })
  await endpoint.execute(['ECHO', '1'])
  const lease = await endpoint.pool.get()
  const inFlight = endpoint.execute(['HANG'])
  await server.until(() => server.commands.some(([name]) => name === 'HANG'))
  let isClosed = false
  const closed = endpoint.close().then(() => {
    isClosed = true
  })
  assert.equal(await end(endpoint.execute(['ECHO', '2'])), 'CONNECTION_CLOSED false')
  await assert.rejects(endpoint.pool.get(), { code: 'POOL_CLOSED' })
  assert.equal(await lease.call('ECHO', '3'), '3')
  answer()
  assert.equal(await inFlight, 'done')
  assert.equal(isClosed, false)
  await lease.close()
  await closed
  await endpoint.close()
  await server.until(() => server.openCount === 0)
  assert.deepEqual(names(server), ['1', '3'])
})

test('close() lets those that wait for a connection go first, and then takes nobody', async (t) => {
  const server = await scriptedServer(t, obliging)
  const endpoint = open(t, portOf(server))
  const replies = ['1', '2', '3'].map((n) => endpoint.execute(['ECHO', n]))
  const closed = endpoint.close()
  assert.equal(endpoint.close(), closed)
  assert.equal(await end(endpoint.execute(['ECHO', '4'])), 'CONNECTION_CLOSED false')
  assert.deepEqual(await Promise.all(replies), ['1', '2', '3'])
  await closed
  await server.until(() => server.openCount === 0)
})

test('close() waits no longer than those that wait, and ends the dial then', async (t) => {
  const server = await scriptedServer(t, () => undefined)
  const endpoint = open(t, portOf(server))
  const reply = end(endpoint.execute(['ECHO', '1'], { timeout: 50 }))
  await server.until(() => server.commands.length >= 1)
  await endpoint.close()
  assert.equal(await reply, 'COMMAND_TIMEOUT false')
  await server.until(() => server.openCount === 0)
})

test('the fence cuts a close() short that waits', async (t) => {
  const server = await scriptedServer(t, obliging)
  const endpoint = open(t, portOf(server))
  const lease = await endpoint.pool.get()
  await endpoint.execute(['ECHO', '1'])
  const inFlight = end(endpoint.execute(['HANG']))
  await server.until(() => server.commands.some(([name]) => name === 'HANG'))
  const closed = endpoint.close()
  endpoint.fence(fenced)
  await closed
  assert.equal(await inFlight, 'FENCED true')
  assert.equal((lease.error as RespoolError).code, 'FENCED')
  await server.until(() => server.openCount === 0)
})

test('an idle peer that has gone silent is found by asking', async (t) => {
  let isSilent = false
  const server = await scriptedServer(t, (command, peer) => (isSilent ? undefined : obliging(command, peer)))
  const troubles: Error[] = []
  const endpoint = open(t, portOf(server), { pingInterval: 40, onTrouble: (error) => troubles.push(error) })
  await endpoint.execute(['ECHO', '1'])
  await server.until(() => server.commands.filter(([name]) => name === 'PING').length >= 2)
  assert.deepEqual(troubles, [], 'one that answers is left alone')
  isSilent = true
  const start = performance.now()
  await eventually('it is found out', () => troubles.length > 0)
  const ms = performance.now() - start
  assert.ok(ms < 1_000, `${ms} ms`)
  const [error] = troubles as RespoolError[]
  assert.equal(error?.code, 'CONNECTION_LOST')
  assert.match(error?.message ?? '', /does not answer/)
  isSilent = false
  assert.equal(await endpoint.execute(['ECHO', '2']), '2')
})

test('an error reply to the question is a sign of life', async (t) => {
  const server = await scriptedServer(t, (command, peer) =>
    command[0] === 'PING' ? '-NOPERM no PING for you\r\n' : obliging(command, peer),
  )
  const endpoint = open(t, portOf(server), { pingInterval: 30 })
  await endpoint.execute(['ECHO', '1'])
  await server.until(() => server.commands.filter(([name]) => name === 'PING').length >= 3)
  assert.equal(endpoint.isConnected, true)
  assert.equal(server.peers.length, 1)
})

test('a peer that owes an answer is not asked besides, and its silence is measured', async (t) => {
  const server = await scriptedServer(t, obliging)
  const endpoint = open(t, portOf(server), { pingInterval: 20 })
  await endpoint.execute(['ECHO', '1'])
  const hung = end(endpoint.execute(['HANG'], { timeout: 150 }))
  await eventually('it has been silent for a while', () => endpoint.silence > 100)
  assert.equal(endpoint.load, 1)
  assert.equal(endpoint.stats().pending, 1)
  assert.equal(await hung, 'COMMAND_TIMEOUT true')
  assert.equal(server.commands.filter(([name]) => name === 'PING').length, 0)
})

test('connect() brings the shared connection up, once', async (t) => {
  const server = await scriptedServer(t, obliging)
  const endpoint = open(t, portOf(server))
  const [one, two] = await Promise.all([endpoint.connect(), endpoint.connect()])
  assert.equal(one, two)
  assert.equal(await endpoint.connect(), one)
  assert.equal(server.peers.length, 1)
})

test('a connection of its own leads to the same server as the shared one', async (t) => {
  const server = await scriptedServer(t, obliging)
  const endpoint = open(t, portOf(server))
  const direct = await connect(server.options)
  t.after(() => direct.destroy())
  await using lease = await endpoint.pool.get()
  assert.equal(lease.connection.address, direct.address)
  assert.equal(endpoint.address, direct.address)
})

test('a look that fails on its way says nothing of the command that waits for it', async (t) => {
  const server = await scriptedServer(t, (command, peer) => {
    if (command[0] === 'ROLE') peer.close()
    return greet(command)
  })
  const verify = async (connection: Connection) => {
    await connection.call('ROLE')
  }
  const endpoint = open(t, portOf(server), { verify })
  await assert.rejects(endpoint.pool.get(), (error) => {
    assert.ok(error instanceof ConnectionError)
    assert.equal(error.code, 'HANDSHAKE_FAILED')
    assert.equal(error.mayHaveExecuted, false)
    assert.equal((error.cause as RespoolError).code, 'CONNECTION_LOST')
    return true
  })
})

test('warming opens as many connections as fit the idle list, and leaves them there', async (t) => {
  const server = await scriptedServer(t, obliging)
  const endpoint = open(t, portOf(server), { pool: { maxIdle: 3, maxActive: 5, wait: true } })
  endpoint.warm(10)
  await eventually('three are idle', () => endpoint.pool.stats().idleCount === 3)
  assert.equal(server.peers.length, 3)
  assert.equal(endpoint.pool.stats().activeCount, 3)
})

test('warming a server that is away harms nobody', async (t) => {
  const [port = 0] = await freePorts(1)
  const endpoint = open(t, port)
  endpoint.warm(2)
  await eventually('the dials have failed', () => endpoint.pool.stats().activeCount === 0)
})

test('a connection of the caller’s own is verified, and ends with the endpoint, however that ends', async (t) => {
  const server = await scriptedServer(t, obliging)
  for (const how of ['fence', 'close', 'itself'] as const) {
    const endpoint = open(t, portOf(server), {
      verify: async (connection) => void (await connection.call('ROLE')),
    })
    const connection = await endpoint.dial(new AbortController().signal)
    assert.equal(server.peers.at(-1)?.commands.at(-1)?.[0], 'ROLE')
    assert.equal(await connection.call('ECHO', how), how)
    assert.equal(endpoint.isConnected, false, 'it is not the shared one')
    assert.equal(endpoint.pool.stats().activeCount, 0, 'nor one of the pool')
    if (how === 'itself') await connection.close()
    else if (how === 'close') await endpoint.close()
    else endpoint.fence(fenced)
    await connection.closed
    assert.equal((connection.error as RespoolError).code, how === 'fence' ? 'FENCED' : 'CONNECTION_CLOSED')
    if (how === 'itself') continue
    await assert.rejects(endpoint.dial(new AbortController().signal), {
      code: how === 'fence' ? 'FENCED' : 'CONNECTION_CLOSED',
    })
  }
})

test('a dial of the caller’s own ends by its signal, or with the endpoint; its failure is trouble', async (t) => {
  const server = await scriptedServer(t, (command) =>
    command[0] === 'ROLE' ? undefined : obliging(command, server.peers[0] as Peer),
  )
  const troubles: string[] = []
  const verify = async (connection: Connection) => void (await connection.call('ROLE'))
  const onTrouble = (error: Error) => troubles.push((error as RespoolError).code)
  const endpoint = open(t, portOf(server), { verify, onTrouble })
  const abort = new AbortController()
  const aborted = endpoint.dial(abort.signal)
  const fencing = endpoint.dial(new AbortController().signal)
  await server.until(() => server.commands.filter(([name]) => name === 'ROLE').length === 2)
  abort.abort()
  await assert.rejects(aborted)
  assert.equal(server.peers.length, 2)
  endpoint.fence(fenced)
  await assert.rejects(fencing, (error) => error === fenced)
  await server.until(() => server.openCount === 0)
  assert.deepEqual(troubles, [])
  await assert.rejects(open(t, portOf(server)).dial(AbortSignal.abort()), { code: 'ABORT_ERR' })

  const [port = 0] = await freePorts(1)
  await assert.rejects(open(t, port, { onTrouble }).dial(new AbortController().signal), {
    code: 'CONNECT_FAILED',
  })
  assert.deepEqual(troubles, ['CONNECT_FAILED'])
})
