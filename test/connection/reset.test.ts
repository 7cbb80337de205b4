// A connection made what it was after its handshake.

import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import type { ConnectionOptions, Credentials } from '../../lib/connection/index.ts'
import { ConnectionError } from '../../lib/errors.ts'
import { connected } from '../support/connected.ts'
import { eventually } from '../support/real-servers.ts'
import { greet, greetInResp2, type Script } from '../support/scripted-server.ts'

/** A server with RESET; the script comes first, from the moment the handshake is over. */
async function resettable(
  t: TestContext,
  options: ConnectionOptions = {},
  script: Script = () => undefined,
  greeting: (command: readonly string[]) => string | undefined = greet,
) {
  let isReady = false
  const pieces: number[] = []
  const context = await connected(
    t,
    (command, peer) => {
      const answer = isReady ? script(command, peer) : undefined
      return answer ?? (command[0] === 'RESET' ? '+RESET\r\n' : greeting(command))
    },
    options,
    { onConnect: ({ socket }) => socket.on('data', (piece) => pieces.push(piece.length)) },
  )
  isReady = true
  const { commands } = context.server
  const handshake = [...commands]
  return { ...context, handshake, since: () => commands.slice(handshake.length), pieces }
}

async function failure(reset: Promise<void>): Promise<ConnectionError> {
  const error = await reset.then(
    () => assert.fail('it was reset'),
    (it: unknown) => it,
  )
  assert.ok(error instanceof ConnectionError)
  return error
}

const everything = {
  username: 'app',
  password: 'hush-hush',
  clientName: 'worker',
  database: 3,
} satisfies ConnectionOptions

test('a reset is RESET and the whole handshake, in one write', async (t) => {
  const { connection, handshake, since, pieces } = await resettable(t, everything)
  const before = pieces.length
  await connection.reset()
  assert.deepEqual(since(), [['RESET'], ...handshake])
  assert.deepEqual(since()[1], ['HELLO', '3', 'AUTH', 'app', 'hush-hush', 'SETNAME', 'worker'])
  assert.equal(pieces.length, before + 1)
  assert.equal(connection.protocol, 3)
  assert.equal(connection.error, undefined)
})

for (const [how, options, greeting] of [
  ['asked for', { ...everything, protocol: 2 }, greet],
  ['all that the server has', everything, greetInResp2],
] as const) {
  test(`where RESP2 is ${how}, no HELLO follows RESET`, async (t) => {
    const { connection, since } = await resettable(t, options, undefined, greeting)
    await connection.reset()
    assert.deepEqual(since(), [
      ['RESET'],
      ['AUTH', 'app', 'hush-hush'],
      ['CLIENT', 'SETNAME', 'worker'],
      ['SELECT', '3'],
    ])
    assert.equal(connection.protocol, 2)
  })
}

test('the limit of what may wait is for commands: no handshake meets it', async (t) => {
  const { connection } = await resettable(t, { ...everything, maxPending: 1, maxPendingBytes: 1 })
  await connection.reset()
  assert.equal(connection.error, undefined)
})

test('a connection knows whether it was altered, and that it no longer is', async (t) => {
  const { connection } = await resettable(t, everything, ([name]) => {
    return ['MULTI', 'EXEC', 'WATCH', 'MONITOR'].includes(name ?? '') ? '+OK\r\n' : undefined
  })
  assert.equal(connection.isAltered, false)
  for (const name of ['WATCH', 'MULTI', 'EXEC'])
    await connection.call(name, ...(name === 'WATCH' ? ['k'] : []))
  assert.equal(connection.isAltered, false)
  for (const command of [['SELECT', '1'], ['AUTH', 'x'], ['CLIENT', 'SETNAME', 'x'], ['MONITOR']] as const) {
    await connection.call(...(command as unknown as [string]))
    assert.equal(connection.isAltered, true, command[0])
    await connection.reset()
    assert.equal(connection.isAltered, false)
  }
  await connection.call('MULTI')
  await connection.reset()
  assert.equal(connection.isInTransaction, false)
})

test('replies that were owed come before, each to its own', async (t) => {
  const { connection } = await resettable(t, {}, (command, peer) => {
    if (command[0] === 'GET') setTimeout(() => peer.send('$5\r\nvalue\r\n'), 20)
    if (command[0] === 'RESET') setTimeout(() => peer.send('+RESET\r\n'), 20)
    if (command[0] === 'HELLO') setTimeout(() => peer.send(`${greet(['HELLO'])}+OK\r\n+OK\r\n`), 20)
    return ['GET', 'RESET', 'HELLO', 'CLIENT'].includes(command[0] ?? '') ? '' : undefined
  })
  const owed = connection.call('GET', 'k')
  await connection.reset()
  assert.equal(await owed, 'value')
  assert.equal(connection.pendingCount, 0)
})

test('MONITOR that was given before RESET was answered is in force after it', async (t) => {
  const line = '1700000000.123456 [0 127.0.0.1:50000] "ping"'
  const { connection } = await resettable(t, {}, (command) => {
    if (command[0] === 'MONITOR') return `+OK\r\n+${line}\r\n`
    return command[0] === 'GET' ? `+${line}\r\n$5\r\nvalue\r\n` : undefined
  })
  const pushes: unknown[] = []
  connection.onPush = (push) => pushes.push(push)
  const replies = [connection.call('RESET'), connection.call('MONITOR'), connection.call('GET', 'k')]
  assert.deepEqual(await Promise.all(replies), ['RESET', 'OK', 'value'])
  assert.deepEqual(pushes, [
    ['monitor', line],
    ['monitor', line],
  ])
})

const refusals: [what: string, script: Script, message: RegExp][] = [
  [
    'a server without RESET',
    ([name]) => (name === 'RESET' ? "-ERR unknown command 'RESET'\r\n" : undefined),
    /refused RESET: ERR unknown command/,
  ],
  [
    'a user who may not RESET',
    ([name]) => (name === 'RESET' ? '-NOPERM no permissions\r\n' : undefined),
    /refused RESET: NOPERM/,
  ],
  [
    'a proxy that queues RESET',
    ([name]) => (name === 'RESET' ? '+QUEUED\r\n' : undefined),
    /answered RESET with something else/,
  ],
  [
    'a server whose password has changed',
    ([name]) => (name === 'HELLO' ? '-WRONGPASS invalid username-password pair: hush-hush\r\n' : undefined),
    /refused HELLO with AUTH: WRONGPASS/,
  ],
  [
    'a server that has forgotten RESP3',
    ([name]) => (name === 'HELLO' ? '-NOPROTO unsupported protocol version\r\n' : undefined),
    /speaks RESP2, and spoke RESP3 before/,
  ],
  [
    'a database that has gone',
    ([name]) => (name === 'SELECT' ? '-ERR DB index is out of range\r\n' : undefined),
    /refused SELECT 3: ERR DB index/,
  ],
  [
    'a peer that goes in between',
    ([name], peer) => {
      if (name === 'HELLO') peer.reset()
      return name === 'HELLO' ? '' : undefined
    },
    /could not be reset|the connection broke|the peer closed/,
  ],
  [
    'a peer that answers with nonsense',
    ([name]) => (name === 'HELLO' ? '?\r\n' : undefined),
    /unexpected type byte/,
  ],
]
for (const [what, script, message] of refusals) {
  test(`${what} costs the connection, and the error keeps the secret`, async (t) => {
    const { connection, server } = await resettable(t, everything, script)
    const outcome = await connection.reset().catch((error: unknown) => error)
    assert.ok(outcome instanceof Error)
    assert.match(outcome.message, message)
    assert.ok(connection.error !== undefined)
    assert.ok(!JSON.stringify(outcome).includes('hush') && !String(outcome).includes('hush'))
    await connection.closed
    await server.until(() => server.openCount === 0)
  })
}

test('a peer that does not answer RESET is found out as for any command', async (t) => {
  const { connection } = await resettable(t, { commandTimeout: 30 }, ([name]) => {
    return name === 'RESET' ? '' : undefined
  })
  const error = await failure(connection.reset())
  assert.equal(error.code, 'CONNECTION_LOST')
})

test('what RESET would leave behind costs the connection, and nothing is sent', async (t) => {
  const { connection, since } = await resettable(t)
  await connection.call('CLIENT', 'NO-EVICT', 'ON')
  const error = await failure(connection.reset())
  assert.match(error.message, /RESET would not undo all/)
  assert.deepEqual(since(), [['CLIENT', 'NO-EVICT', 'ON']])
})

test('a connection that has ended, or is ending, is not reset', async (t) => {
  const { connection, since } = await resettable(t)
  const closed = connection.close()
  assert.equal((await failure(connection.reset())).code, 'CONNECTION_CLOSED')
  await closed
  const destroyed = (await resettable(t)).connection
  destroyed.destroy(new Error('mine'))
  await assert.rejects(destroyed.reset(), /mine/)
  assert.deepEqual(since(), [])
})

test('credentials are asked for anew, and the old ones are not asked to be renewed', async (t) => {
  let asked = 0
  const credentials = (): Credentials => {
    asked += 1
    return { username: 'app', password: `token-${asked}`, expiresIn: asked === 1 ? 60 : 60_000 }
  }
  const { connection, since } = await resettable(t, { credentials })
  await connection.reset()
  assert.deepEqual(since()[1], ['HELLO', '3', 'AUTH', 'app', 'token-2'])
  await new Promise((resolve) => setTimeout(resolve, 100))
  assert.equal(asked, 2)
  assert.equal(connection.error, undefined)
})

test('credentials that a reset brought are renewed in time, which alters nothing', async (t) => {
  let asked = 0
  const credentials = (): Credentials => {
    asked += 1
    return { password: `token-${asked}`, expiresIn: asked === 2 ? 30 : 60_000 }
  }
  const { connection, since } = await resettable(t, { credentials })
  await connection.reset()
  await eventually('AUTH', () => since().some(([name]) => name === 'AUTH'))
  assert.deepEqual(
    since().find(([name]) => name === 'AUTH'),
    ['AUTH', 'token-3'],
  )
  assert.equal(connection.isAltered, false)
})

test('a renewal under way at a reset has nothing more to say', async (t) => {
  let asked = 0
  let giveLate: ((credentials: Credentials) => void) | undefined
  const credentials = (): Credentials | Promise<Credentials> => {
    asked += 1
    if (asked !== 2) return { password: `token-${asked}`, expiresIn: asked === 1 ? 200 : 60_000 }
    return new Promise((resolve) => {
      giveLate = resolve
    })
  }
  const { connection, since } = await resettable(t, { credentials })
  await eventually('the renewal asks', () => giveLate !== undefined)
  await connection.reset()
  giveLate?.({ password: 'token-2', expiresIn: 10 })
  await new Promise((resolve) => setTimeout(resolve, 100))
  assert.ok(since().every(([name]) => name !== 'AUTH'))
  assert.equal(connection.error, undefined)
  assert.equal(asked, 3)
})

test('credentials that cannot be had again cost the connection, and the error keeps the secret', async (t) => {
  for (const again of [
    () => Promise.reject(new Error('vault is sealed, token hush-hush')),
    () => ({ user: 'hush-hush' }) as unknown as Credentials,
  ]) {
    let asked = 0
    const credentials = () => (asked++ === 0 ? { password: 'secret' } : again())
    const { connection, since } = await resettable(t, { credentials })
    const error = await failure(connection.reset())
    assert.match(error.message, /could not be reset: option credentials/)
    assert.ok(!error.message.includes('hush'))
    assert.equal(connection.error, error)
    assert.deepEqual(since(), [])
  }
})

test('credentials that come when the connection has gone are not used', async (t) => {
  let asked = 0
  let give: ((credentials: Credentials) => void) | undefined
  const credentials = (): Credentials | Promise<Credentials> => {
    asked += 1
    if (asked === 1) return { password: 'secret' }
    return new Promise((resolve) => {
      give = resolve
    })
  }
  const { connection, since } = await resettable(t, { credentials })
  const reset = failure(connection.reset())
  await eventually('it asks', () => give !== undefined)
  connection.destroy()
  give?.({ password: 'secret', expiresIn: 1 })
  assert.equal((await reset).code, 'CONNECTION_CLOSED')
  assert.deepEqual(since(), [])
})
