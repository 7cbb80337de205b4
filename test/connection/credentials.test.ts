import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { type ConnectionOptions, type Credentials, connect } from '../../lib/connection/index.ts'
import { ConnectionError } from '../../lib/errors.ts'
import { eventually } from '../support/real-servers.ts'
import { bulk } from '../support/resp-writer.ts'
import { greet, type Script, scriptedServer } from '../support/scripted-server.ts'

/** A connection with credentials of a few milliseconds, and the AUTHs that followed. */
async function expiring(
  t: TestContext,
  credentials: () => Credentials | Promise<Credentials>,
  script?: Script,
) {
  const server = await scriptedServer(t, (command, peer) => {
    if (command[0] === 'AUTH') return script?.(command, peer) ?? '+OK\r\n'
    if (command[0] === 'MULTI' || command[0] === 'EXEC') return '+OK\r\n'
    return greet(command)
  })
  const connection = await connect({ ...server.options, credentials })
  t.after(() => connection.destroy())
  const auths = () => server.commands.filter(([name]) => name === 'AUTH').map((command) => command.slice(1))
  return { server, connection, auths }
}

test('credentials that expire are asked for again in time, again and again', async (t) => {
  let asked = 0
  const { connection, auths } = await expiring(t, () => {
    asked += 1
    return { username: 'app', password: `token-${asked}`, expiresIn: 20 }
  })
  await eventually('three more', () => auths().length >= 3)
  assert.deepEqual(auths().slice(0, 3), [
    ['app', 'token-2'],
    ['app', 'token-3'],
    ['app', 'token-4'],
  ])
  assert.equal(connection.error, undefined)
})

test('credentials that do not expire are asked for once', async (t) => {
  let asked = 0
  const { connection } = await expiring(t, () => {
    asked += 1
    return { password: 'secret' }
  })
  await connection.call('PING').catch(() => undefined)
  assert.equal(asked, 1)
})

test('the password alone is that of the default user', async (t) => {
  const { auths } = await expiring(t, () => ({ password: 'secret', expiresIn: 10 }))
  await eventually('one more', () => auths().length >= 1)
  assert.deepEqual(auths()[0], ['secret'])
})

test('a transaction is not interrupted by AUTH', async (t) => {
  const { connection, auths, server } = await expiring(t, () => ({ password: 'secret', expiresIn: 10 }))
  await connection.call('MULTI')
  assert.equal(connection.isInTransaction, true)
  const before = auths().length
  await new Promise((resolve) => setTimeout(resolve, 60))
  assert.equal(auths().length, before)
  await connection.call('EXEC')
  await eventually('AUTH after EXEC', () => auths().length > before)
  const names = server.commands.map(([name]) => name)
  assert.ok(names.lastIndexOf('AUTH') > names.lastIndexOf('EXEC'))
})

test('AUTH waits behind a command that blocks for longer than commandTimeout, and harms neither', async (t) => {
  const server = await scriptedServer(t, (command, peer) => {
    if (command[0] === 'BLPOP' || command[1] === 'authenticated') return undefined
    if (command[0] !== 'AUTH') return greet(command)
    setTimeout(() => peer.send('$6\r\npopped\r\n+OK\r\n$13\r\nauthenticated\r\n'), 120)
    return undefined
  })
  let asked = 0
  const credentials = () => {
    asked += 1
    return { password: 'secret', expiresIn: asked === 1 ? 20 : 60_000 }
  }
  const connection = await connect({ ...server.options, credentials, commandTimeout: 30 })
  t.after(() => connection.destroy())
  assert.equal(await connection.call('BLPOP', 'k', 0), 'popped')
  assert.equal(await connection.call('PING'), 'PONG')
  assert.equal(connection.error, undefined)
  assert.equal(asked, 2)
})

test('a connection whose new credentials are refused is destroyed, and the error keeps the secret', async (t) => {
  const { connection } = await expiring(
    t,
    () => ({ password: 'hush-hush', expiresIn: 10 }),
    () => '-WRONGPASS invalid username-password pair or user is disabled.\r\n',
  )
  await connection.closed
  assert.ok(connection.error instanceof ConnectionError)
  assert.equal(connection.error.code, 'CONNECTION_LOST')
  assert.match(connection.error.message, /^the connection could not authenticate anew: WRONGPASS \(/)
  assert.ok(!connection.error.message.includes('hush'))
})

test('a connection is destroyed when its credentials cannot be had again', async (t) => {
  let asked = 0
  const { connection } = await expiring(t, async () => {
    asked += 1
    if (asked > 1) throw new Error('vault is sealed, token hush-hush')
    return { password: 'secret', expiresIn: 10 }
  })
  await connection.closed
  assert.ok(connection.error instanceof ConnectionError)
  assert.ok(!connection.error.message.includes('hush'))
  assert.match(String(connection.error.cause), /vault is sealed/)
})

test('a connection is destroyed when its credentials expire while it still waits for new ones', async (t) => {
  let asked = 0
  const { connection } = await expiring(t, () => {
    asked += 1
    return asked === 1 ? { password: 'secret', expiresIn: 30 } : new Promise<never>(() => undefined)
  })
  await connection.closed
  assert.equal(asked, 2)
  assert.ok(connection.error instanceof ConnectionError && connection.error.code === 'CONNECTION_LOST')
  assert.match(String(connection.error.cause), /expired before there were new ones/)
})

test('credentials of a wrong shape are refused by name', async () => {
  for (const given of [
    null,
    'secret',
    {},
    { password: 1 },
    { password: 'x', expiresIn: 0 },
    { password: 'x', username: 1 },
  ]) {
    const credentials = (() => given) as unknown as NonNullable<ConnectionOptions['credentials']>
    await assert.rejects(connect({ port: 1, credentials }), {
      name: 'TypeError',
      message: 'option credentials must give an object with a password, and expiresIn above 0 if at all',
    })
  }
})

test('a connection that is closed asks for nothing any more', async (t) => {
  let asked = 0
  const { connection } = await expiring(t, () => {
    asked += 1
    return { password: 'secret', expiresIn: 30 }
  })
  await connection.close()
  await new Promise((resolve) => setTimeout(resolve, 50))
  assert.equal(asked, 1)
})

test('a refused AUTH that is not answered at all moves no reply to another command', async (t) => {
  let auths = 0
  const server = await scriptedServer(t, (command) => {
    if (command[0] === 'GET' || command[0] === 'PING') return bulk(command[1] ?? '')
    if (command[0] !== 'AUTH') return greet(command)
    auths += 1
    return undefined // as Redis 8.0 does while earlier replies are unsent
  })
  const credentials = () => ({ password: 'secret', expiresIn: 20 })
  const connection = await connect({ ...server.options, credentials, commandTimeout: 1000 })
  t.after(() => connection.destroy())
  while (connection.error === undefined) {
    const keys = Array.from({ length: 50 }, (_, i) => `key ${i}`)
    const replies = await Promise.allSettled(keys.map((key) => connection.call('GET', key)))
    for (const [i, reply] of replies.entries()) {
      if (reply.status === 'fulfilled') assert.equal(reply.value, keys[i])
      else assert.ok(reply.reason instanceof ConnectionError)
    }
  }
  assert.equal(auths, 1)
  assert.match(connection.error.message, /could not authenticate anew/)
})
