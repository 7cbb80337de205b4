// A client of one real server.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Client, createClient } from '../../lib/client/index.ts'
import { RespoolError } from '../../lib/errors.ts'
import { clientOf } from '../support/clients.ts'
import { eventually, request, startServer } from '../support/real-servers.ts'

test('one server, in both versions of the protocol', async (t) => {
  const server = await startServer(t, { password: 'secret', unixSocket: true })
  const targets: [string, Client][] = [
    ['RESP3', clientOf(t, server, { password: 'secret' })],
    ['RESP2', clientOf(t, server, { password: 'secret', protocol: 2 })],
    ['a URL', createClient(`redis://:secret@127.0.0.1:${server.port}/1?readFrom=prefer-replica`)],
    ['a unix socket', createClient(`redis+unix://:secret@${server.socketPath}`)],
  ]
  for (const [how, client] of targets) {
    t.after(() => client.destroy())
    await t.test(`commands, bytes, errors, blocking and leases, by ${how}`, async () => {
      await client.ready()
      assert.equal(await client.call('FLUSHDB'), 'OK')
      assert.equal(await client.call('SET', 'k', 'v', 'EX', 100), 'OK')
      assert.equal(await client.call('GET', 'k'), 'v')
      assert.deepEqual(await client.with({ replies: 'buffer' }).call('GET', 'k'), Buffer.from('v'))
      assert.equal(await client.call('GET', 'absent'), null)
      await assert.rejects(client.call('INCR', 'k'), { code: 'REPLY_ERROR', prefix: 'ERR' })
      const sums = await Promise.all(Array.from({ length: 1_000 }, () => client.call('INCR', 'n')))
      assert.deepEqual(
        sums,
        Array.from({ length: 1_000 }, (_, i) => i + 1),
      )

      const popped = client.call('BLPOP', 'q', 5)
      assert.equal(await client.call('GET', 'k'), 'v', 'nobody waits for it')
      await client.call('RPUSH', 'q', 'x')
      assert.deepEqual(await popped, ['q', 'x'])
      assert.equal(await client.call('BLPOP', 'q', 0.05), null)

      const executed = await client.use(async (lease) => {
        await lease.call('WATCH', 'n')
        await lease.call('MULTI')
        await lease.call('INCR', 'n')
        return await lease.call('EXEC')
      })
      assert.deepEqual(executed, [1_001])
      await client.close()
      await assert.rejects(client.call('GET', 'k'), { code: 'CLIENT_CLOSED' })
    })
  }
  const list = String(await request({ port: server.port, password: 'secret' }, 'CLIENT', 'LIST'))
  assert.equal(list.split('\n').filter((line) => line.includes('addr=')).length, 1, 'only the one who asks')
})

test('a signal or a deadline ends a command on the server’s side, too, where it blocks', async (t) => {
  const server = await startServer(t)
  const client = clientOf(t, server)
  const blocked = async () =>
    Number(/blocked_clients:(\d+)/.exec(String(await request(server, 'INFO', 'clients')))?.[1])
  const abort = new AbortController()
  const popped = client.with({ signal: abort.signal }).call('BLPOP', 'q', 0)
  await eventually('it blocks', async () => (await blocked()) === 1)
  abort.abort()
  await assert.rejects(popped, { code: 'ABORT_ERR' })
  await eventually('it is gone', async () => (await blocked()) === 0)
  await client.call('RPUSH', 'q', 'x')
  assert.equal(await client.call('LLEN', 'q'), 1, 'nobody takes it')
})

test('a server that is killed under load and comes back runs no write twice and loses no command', async (t) => {
  const server = await startServer(t, { args: ['--appendonly', 'yes', '--appendfsync', 'always'] })
  const client = clientOf(t, server)
  await client.ready()
  let [acknowledged, unknown] = [0, 0]
  const strange: unknown[] = []
  const open = new Set<Promise<void>>()
  const timer = setInterval(() => {
    for (let i = 0; i < 5; i += 1) {
      const reply = client.call('INCR', 'n').then(
        () => {
          acknowledged += 1
        },
        (error: unknown) => {
          if (error instanceof RespoolError && error.mayHaveExecuted) unknown += 1
          else strange.push(error)
        },
      )
      open.add(reply)
      void reply.finally(() => open.delete(reply))
    }
  }, 2)
  t.after(() => clearInterval(timer))
  for (let round = 0; round < 3; round += 1) {
    const before = acknowledged
    await eventually('writes flow', () => acknowledged > before + 50)
    await server.stop('SIGKILL')
    await server.restart()
  }
  const before = acknowledged
  await eventually('writes flow again', () => acknowledged > before + 50)
  clearInterval(timer)
  await eventually('every promise settles', () => open.size === 0)
  const value = Number(await client.call('GET', 'n'))
  const what = `counter ${value}, acknowledged ${acknowledged}, unknown ${unknown}`
  assert.ok(value >= acknowledged && value <= acknowledged + unknown, what)
  assert.deepEqual(strange, [], what)
})

test('a script that writes on a replica is refused for its role, and tried again until the deadline', async (t) => {
  const master = await startServer(t)
  const replica = await startServer(t, { replicaOf: master.port })
  const client = clientOf(t, replica, { commandTimeout: 400 })
  for (const call of [
    () => client.call('SET', 'k', 'v'),
    () => client.call('EVAL', "return redis.call('SET', KEYS[1], 'v')", 1, 'k'),
  ]) {
    await assert.rejects(call(), (error: RespoolError) => {
      assert.equal(error.code, 'COMMAND_TIMEOUT')
      assert.equal(error.mayHaveExecuted, false)
      assert.match(error.message, /READONLY/)
      return true
    })
  }
  const waiting = client.with({ timeout: 5_000 }).call('SET', 'k', 'v')
  assert.equal(await request(replica, 'REPLICAOF', 'NO', 'ONE'), 'OK')
  assert.equal(await waiting, 'OK')
})
