// What a shared connection's silence means, and what is done about it.

import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { Endpoint, type EndpointOptions } from '../../lib/endpoint/index.ts'
import { ConnectionError, RespoolError } from '../../lib/errors.ts'
import { eventually, request, startServer } from '../support/real-servers.ts'
import {
  greet,
  type Peer,
  type Script,
  type ScriptedServer,
  scriptedServer,
} from '../support/scripted-server.ts'

/** Short, so that the tests are; far above a round trip. */
const SUSPECT_AFTER = 100

function open(t: TestContext, port: number, overrides: Partial<EndpointOptions> = {}): Endpoint {
  const endpoint = new Endpoint(`127.0.0.1:${port}`, {
    connection: { host: '127.0.0.1', port, commandTimeout: 3_000 },
    pool: { maxIdle: 2, maxActive: 2, wait: true },
    pingInterval: 0,
    suspectAfter: SUSPECT_AFTER,
    maxHeld: 1_000,
    maxHeldBytes: 100_000,
    ...overrides,
  })
  t.after(() => endpoint.fence(new Error('the test is over')))
  return endpoint
}

/** A server that answers ECHO, and on some connections nothing from a moment on. */
async function moody(t: TestContext, extra?: Script) {
  const mute = new Set<Peer>()
  let isMuteToAll = false
  const server: ScriptedServer = await scriptedServer(t, (command, peer) => {
    if (mute.has(peer) || isMuteToAll) return undefined
    const answer = extra?.(command, peer)
    if (answer !== undefined) return answer
    return command[0] === 'ECHO' ? `+${command[1]}\r\n` : greet(command)
  })
  return {
    server,
    port: 'port' in server.options ? server.options.port : 0,
    mute: (index: number) => mute.add(server.peers[index] as Peer),
    unmute: (index: number) => mute.delete(server.peers[index] as Peer),
    muteAll: (on: boolean) => {
      isMuteToAll = on
    },
    echoes: () => server.commands.filter(([name]) => name === 'ECHO').map(([, text]) => text),
  }
}

async function end(reply: Promise<unknown>): Promise<unknown> {
  return await reply.catch((error: unknown) =>
    error instanceof RespoolError ? `${error.code} ${error.mayHaveExecuted}` : error,
  )
}

test('a half-open connection is replaced, and only what was written to it is in doubt', async (t) => {
  const { server, port, mute, echoes } = await moody(t)
  const endpoint = open(t, port)
  assert.equal(await endpoint.execute(['ECHO', 'before']), 'before')
  mute(0)
  const startedAt = performance.now()
  const lost = end(endpoint.execute(['ECHO', 'lost']))
  await eventually('it is suspect', () => endpoint.isSuspect)
  const kept = [1, 2, 3].map((i) => endpoint.execute(['ECHO', `kept ${i}`]))
  assert.deepEqual(await Promise.all(kept), ['kept 1', 'kept 2', 'kept 3'])
  const tookMs = performance.now() - startedAt
  assert.equal(await lost, 'CONNECTION_LOST true')
  assert.ok(tookMs >= SUSPECT_AFTER && tookMs < SUSPECT_AFTER + 350, `took ${tookMs} ms`)
  assert.equal(endpoint.isSuspect, false)
  assert.deepEqual(echoes(), ['before', 'lost', 'kept 1', 'kept 2', 'kept 3'])
  assert.equal(server.peers.length, 2)
  await eventually('the dead one is closed', () => server.openCount === 1)
})

test('while nobody answers, commands wait unsent, and go on where the peer was silent', async (t) => {
  const { server, port, muteAll } = await moody(t)
  const troubles: Error[] = []
  const endpoint = open(t, port, { onTrouble: (error) => troubles.push(error) })
  await endpoint.execute(['ECHO', 'before'])
  muteAll(true)
  const first = endpoint.execute(['ECHO', 'asked'])
  await eventually('it is suspect', () => endpoint.isSuspect)
  const waiting = endpoint.execute(['ECHO', 'waiting'])
  await sleep(SUSPECT_AFTER * 2)
  assert.equal(endpoint.stats().held, 1)
  assert.equal(endpoint.stats().suspect, true)
  assert.ok(!server.commands.some(([, text]) => text === 'waiting'))
  assert.match(String(troubles[0]?.message), /does not answer: no byte for 100 ms/)
  muteAll(false)
  server.peers[0]?.send('+asked\r\n')
  assert.equal(await first, 'asked')
  assert.equal(await waiting, 'waiting')
  assert.equal(endpoint.isSuspect, false)
  assert.equal(endpoint.isConnected, true)
  await eventually('the probe is closed', () => server.openCount === 1)
  assert.ok(server.peers[0]?.isClosed === false, 'the connection is the same one')
})

test('on RESP2, where a handshake may be no question, a new connection proves nothing before it is answered', async (t) => {
  const { server, port, muteAll } = await moody(t)
  const connection = { host: '127.0.0.1', port, protocol: 2, commandTimeout: 3_000 } as const
  const endpoint = open(t, port, { connection })
  await endpoint.execute(['ECHO', 'before'])
  muteAll(true)
  const asked = end(endpoint.execute(['ECHO', 'asked']))
  await eventually('it is probed', () => server.peers.length === 2)
  await sleep(SUSPECT_AFTER)
  assert.equal(endpoint.isSuspect, true)
  muteAll(false)
  server.peers[0]?.send('+asked\r\n')
  assert.equal(await asked, 'asked')
  await eventually('the probe is closed', () => server.openCount === 1)
})

test('on RESP2, a connection is not given up for a server that is busy with a script', async (t) => {
  let isBusy = false
  const { server, port, mute } = await moody(t, ([name]) =>
    isBusy && name === 'PING' ? '-BUSY Redis is busy running a script\r\n' : undefined,
  )
  const connection = { host: '127.0.0.1', port, protocol: 2, commandTimeout: 3_000 } as const
  const endpoint = open(t, port, { connection })
  await endpoint.execute(['ECHO', 'before'])
  mute(0)
  isBusy = true
  const script = end(endpoint.execute(['ECHO', 'a long script']))
  await eventually('it is probed twice', () => server.commands.filter(([name]) => name === 'PING').length > 1)
  server.peers[0]?.send('+done\r\n')
  assert.equal(await script, 'done')
})

test('a command that waits for a silent peer ends at its deadline, unsent, and says why', async (t) => {
  const { port, muteAll } = await moody(t)
  const endpoint = open(t, port)
  await endpoint.execute(['ECHO', 'before'])
  muteAll(true)
  const asked = end(endpoint.execute(['ECHO', 'asked'], { timeout: 400 }))
  await eventually('it is suspect', () => endpoint.isSuspect)
  await assert.rejects(endpoint.execute(['ECHO', 'waiting'], { timeout: 50 }), {
    code: 'COMMAND_TIMEOUT',
    mayHaveExecuted: false,
    message: /within 50 ms: the peer does not answer: no byte for 100 ms/,
  })
  assert.equal(await asked, 'COMMAND_TIMEOUT true')
})

test('a fence moves those that wait for a silent peer at once', async (t) => {
  const { server, port, muteAll } = await moody(t)
  const endpoint = open(t, port)
  await endpoint.execute(['ECHO', 'before'])
  muteAll(true)
  const asked = end(endpoint.execute(['ECHO', 'asked']))
  await eventually('it is suspect', () => endpoint.isSuspect)
  const waiting = end(endpoint.execute(['ECHO', 'waiting']))
  endpoint.fence(new ConnectionError('FENCED', 'replaced', { address: 'it', phase: 'ready' }))
  assert.deepEqual(await Promise.all([asked, waiting]), ['FENCED true', 'FENCED false'])
  assert.equal(endpoint.isSuspect, false)
  await eventually('no connection is left, the probe neither', () => server.openCount === 0)
})

test('a busy loop of our own is not taken for silence', async (t) => {
  const { server, port } = await moody(t)
  const endpoint = open(t, port)
  await endpoint.execute(['ECHO', 'before'])
  const reply = endpoint.execute(['ECHO', 'asked'])
  await server.until(() => server.commands.some(([, text]) => text === 'asked')) // it is answered, too
  const until = performance.now() + SUSPECT_AFTER * 3
  while (performance.now() < until) {
    // the reply waits in the kernel meanwhile
  }
  assert.equal(await reply, 'asked')
  await sleep(60)
  assert.equal(endpoint.isSuspect, false)
  assert.equal(server.peers.length, 1)
})

test('a connection that its server holds back is not given up', async (t) => {
  let flags = 'b'
  const greeting = ([name, subcommand]: string[], { index }: Peer) => {
    if (name === 'HELLO') return `%2\r\n+proto\r\n:3\r\n+id\r\n:${index + 7}\r\n`
    return name === 'CLIENT' && subcommand === 'LIST' ? line() : undefined
  }
  const line = () => {
    const text = `id=1 addr=x flags=${flags} db=0\n`
    return `$${text.length}\r\n${text}\r\n`
  }
  const { server, port, mute } = await moody(t, greeting)
  const endpoint = open(t, port)
  await endpoint.execute(['ECHO', 'before'])
  mute(0)
  const asked = end(endpoint.execute(['ECHO', 'asked']))
  await eventually('the server was asked twice', () => {
    return server.commands.filter((command) => command[1] === 'LIST').length >= 2
  })
  assert.equal(endpoint.isSuspect, true)
  assert.equal(server.peers[0]?.isClosed, false)
  const asks = server.commands.filter((command) => command[1] === 'LIST')
  assert.deepEqual(asks[0], ['CLIENT', 'LIST', 'ID', '7'])
  flags = 'N'
  assert.equal(await asked, 'CONNECTION_LOST true')
  assert.equal(server.peers.length, 2)
})

test('suspectAfter 0 suspects nobody', async (t) => {
  const { server, port, mute } = await moody(t)
  const endpoint = open(t, port, { suspectAfter: 0 })
  await endpoint.execute(['ECHO', 'before'])
  mute(0)
  const asked = end(endpoint.execute(['ECHO', 'asked'], { timeout: 400 }))
  await sleep(300)
  assert.equal(endpoint.isSuspect, false)
  assert.equal(await asked, 'COMMAND_TIMEOUT true')
  assert.equal(server.peers.length, 1)
})

test('an idle endpoint keeps no timer and no probe', async (t) => {
  const { server, port } = await moody(t)
  const endpoint = open(t, port)
  const before = process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length
  for (let i = 0; i < 10; i += 1) await endpoint.execute(['ECHO', 'x'])
  await sleep(80)
  const after = process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length
  assert.ok(after <= before, `${before} timers before, ${after} after`)
  assert.equal(server.peers.length, 1)
})

test('a paused server delays writes and loses none', async (t) => {
  const server = await startServer(t)
  const endpoint = open(t, server.port)
  assert.equal(await endpoint.execute(['SET', 'k', '0']), 'OK')
  const paused = await request(server, 'CLIENT', 'PAUSE', '600', 'WRITE').catch(String)
  if (paused !== 'OK') return t.skip('this server cannot pause writes alone')
  const first = endpoint.execute(['INCR', 'k'])
  await eventually('it is suspect', () => endpoint.isSuspect)
  const second = endpoint.execute(['INCR', 'k'])
  assert.deepEqual(await Promise.all([first, second]), [1, 2])
})

test('a slow script delays the others and loses none', async (t) => {
  const server = await startServer(t)
  const endpoint = open(t, server.port)
  const script = "local x = 0; for i = 1, 4e7 do x = x + i end; return redis.call('INCR', 'k')"
  const slow = endpoint.execute(['EVAL', script, '0'])
  await eventually('it is suspect', () => endpoint.isSuspect)
  const next = endpoint.execute(['INCR', 'k'])
  assert.deepEqual(await Promise.all([slow, next]), [1, 2])
})

test('a master that waits for its replicas before it shuts down is sent no more than a few writes', async (t) => {
  const master = await startServer(t)
  const replica = await startServer(t, { replicaOf: master.port })
  await eventually('the replica is online', async () =>
    String(await request(master, 'INFO', 'replication')).includes('state=online'),
  )
  const endpoint = open(t, master.port, {
    suspectAfter: 250,
    connection: { host: '127.0.0.1', port: master.port, commandTimeout: 10_000 },
  })
  await endpoint.execute(['SET', 'k', '0'])
  replica.signal('SIGSTOP')
  await endpoint.execute(['INCR', 'k']) // it lags behind now
  const isGone = request(master, 'SHUTDOWN', 'NOSAVE').catch(() => undefined)
  const outcomes = new Map<unknown, number>()
  const writes: Promise<unknown>[] = []
  for (let i = 0; i < 200; i += 1) {
    writes.push(
      end(endpoint.execute(['INCR', 'k'])).then((how) => {
        const kind = typeof how === 'number' ? 'answered' : how
        outcomes.set(kind, (outcomes.get(kind) ?? 0) + 1)
      }),
    )
    await sleep(5)
  }
  replica.signal('SIGCONT')
  await isGone
  await eventually('the master has exited', () => !endpoint.isConnected)
  endpoint.fence(new ConnectionError('FENCED', 'replaced', { address: 'it', phase: 'ready' }))
  await Promise.all(writes)
  const unknown = outcomes.get('CONNECTION_LOST true') ?? 0
  assert.ok(unknown <= 100, `${unknown} of 200 writes are in doubt`)
  t.diagnostic(JSON.stringify([...outcomes]))
  assert.equal(outcomes.get('FENCED false'), 200 - unknown - (outcomes.get('answered') ?? 0))
})

test('no connection of a suspect server is lent until it is heard', async (t) => {
  const { server, port, muteAll } = await moody(t)
  const endpoint = open(t, port)
  await endpoint.execute(['ECHO', 'before'])
  await (await endpoint.lend({})).close()
  muteAll(true)
  const asked = endpoint.execute(['ECHO', 'asked'])
  await eventually('it is suspect', () => endpoint.isSuspect)
  let isLent = false
  const lent = endpoint.lend({}).then((lease) => {
    isLent = true
    return lease.close()
  })
  await sleep(50)
  assert.equal(isLent, false)
  muteAll(false)
  server.peers.find(({ commands }) => commands.some(([, text]) => text === 'asked'))?.send('+asked\r\n')
  assert.equal(await asked, 'asked')
  await lent
  assert.equal(isLent, true)
})

test('what one connection died of in silence, the others are asked for: idle ones go, one of the caller’s own that is silent dies', async (t) => {
  const { server, port, mute } = await moody(t)
  const endpoint = open(t, port)
  await endpoint.execute(['ECHO', 'shared']) // peer 0
  await (await endpoint.lend({})).close() // peer 1, idle
  const never = new AbortController().signal
  const well = await endpoint.dial(never) // peer 2
  const ill = await endpoint.dial(never) // peer 3
  for (const index of [0, 1, 3]) mute(index)
  const lost = end(endpoint.execute(['ECHO', 'lost']))
  assert.equal(await lost, 'CONNECTION_LOST true')
  await ill.closed
  assert.match(String(ill.error), /no answer to PING/)
  assert.equal(well.error, undefined)
  assert.equal(server.peers[1]?.isClosed, true)
  await eventually('as many are idle as before', () => endpoint.pool.stats().idleCount === 1)
  const lease = await endpoint.lend({})
  assert.equal(await lease.call('ECHO', 'lease'), 'lease')
  await lease.close()
})
