// What the borrowers of a server's connections find out about it, and whether its owner hears of it.

import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { Endpoint } from '../../lib/endpoint/index.ts'
import { ConnectionError, type RespoolError } from '../../lib/errors.ts'
import { eventually } from '../support/real-servers.ts'
import { greet, type Script, type ScriptedServer, scriptedServer } from '../support/scripted-server.ts'

/** `SAY` is answered with the error that it names, `CUT` ends the connection, `HANG` does nothing. */
const script: Script = (command, peer) => {
  const [name, ...words] = command
  if (name === 'SAY') return `-${words.join(' ')}\r\n`
  if (name === 'LIE') return '?\r\n'
  if (name === 'HANG') return undefined
  if (name !== 'CUT') return greet(command) ?? '+OK\r\n'
  peer.close()
  return undefined
}

interface Scene {
  readonly endpoint: Endpoint
  readonly server: ScriptedServer
  /** Codes, or the texts of error replies, that the owner was told. */
  readonly told: string[]
}

async function open(t: TestContext): Promise<Scene> {
  const server = await scriptedServer(t, script)
  const told: string[] = []
  const endpoint = new Endpoint(server.address, {
    connection: { ...server.options, commandTimeout: 2_000 },
    pool: { maxIdle: 4 },
    pingInterval: 0,
    suspectAfter: 0,
    maxHeld: 10,
    maxHeldBytes: 1_000,
    onTrouble: (error) => {
      const { code, message } = error as RespoolError
      told.push(code === 'REPLY_ERROR' ? message : code)
    },
  })
  t.after(() => endpoint.fence(new Error('the test is over')))
  return { endpoint, server, told }
}

async function turns(): Promise<void> {
  for (let i = 0; i < 10; i += 1) await new Promise((resolve) => setTimeout(resolve, 1))
}

test('a refusal on a lease is told before its borrower goes on; other errors of a server are not', async (t) => {
  const { endpoint, told } = await open(t)
  const lease = await endpoint.lend({})
  await assert.rejects(lease.call('SAY', 'WRONGTYPE Operation against a key'), /WRONGTYPE/)
  await assert.rejects(lease.call('SAY', 'ERR unknown command'), /unknown/)
  assert.deepEqual(told, [])
  await assert.rejects(lease.call('SAY', 'READONLY You cannot write'), () => {
    assert.deepEqual(told, ['READONLY You cannot write'])
    return true
  })
  await assert.rejects(lease.call('SAY', 'LOADING it is'), /LOADING/)
  assert.equal(told.length, 2, 'each time anew')
  await lease.connection.executeAll([['PING'], ['SAY', 'MASTERDOWN one of several']])
  assert.deepEqual(told.slice(2), ['MASTERDOWN one of several'])
})

test('of many refusals at a time the one that says most is told, once', async (t) => {
  const { endpoint, told } = await open(t)
  const [one, two] = await Promise.all([endpoint.lend({}), endpoint.lend({})])
  const texts = ['LOADING 1', 'ERR no', 'READONLY 2', 'BUSY 3']
  const replies = texts.map((text) => one.call('SAY', text))
  await Promise.allSettled(replies)
  assert.deepEqual(told, ['READONLY 2'])
  await Promise.allSettled(Array.from({ length: 1_000 }, () => two.call('SAY', 'READONLY')))
  assert.ok(told.length < 20, `${told.length} times`)
})

test('a lazy lease tells of refusals, shared or pinned', async (t) => {
  const { endpoint, told } = await open(t)
  const lease = await endpoint.lendLazily({})
  await assert.rejects(lease.call('SAY', 'READONLY shared'))
  await lease.call('WATCH', 'k')
  await assert.rejects(lease.call('SAY', 'READONLY pinned'))
  assert.deepEqual(told, ['READONLY shared', 'READONLY pinned'])
  assert.equal(lease.isPinned, true)
})

test('the loss of a connection that is lent is told, whether something was pending or not', async (t) => {
  const { endpoint, server, told } = await open(t)
  const lease = await endpoint.lend({})
  await assert.rejects(lease.call('CUT'), () => {
    assert.deepEqual(told, ['CONNECTION_LOST'])
    return true
  })
  await lease.close()
  const listener = await endpoint.lend({})
  server.peers[1]?.reset()
  await eventually('it is lost', () => listener.error !== undefined)
  await turns()
  assert.deepEqual(told, ['CONNECTION_LOST', 'CONNECTION_LOST'])
  const deceived = await endpoint.lend({})
  await assert.rejects(deceived.call('LIE'), { code: 'PROTOCOL_ERROR' })
  assert.deepEqual(told.slice(2), ['PROTOCOL_ERROR'])
})

test('a connection that is lost while it is idle, or given back, is no news', async (t) => {
  const { endpoint, server, told } = await open(t)
  const lease = await endpoint.lend({})
  await lease.close()
  server.peers[0]?.close()
  await eventually('it is gone', () => endpoint.pool.stats().activeCount === 0)
  const busy = await endpoint.lend({})
  const pending = busy.call('HANG')
  const closed = busy.close()
  server.peers[1]?.close()
  await assert.rejects(pending, { code: 'CONNECTION_LOST' })
  await closed
  await turns()
  assert.deepEqual(told, [])
})

test('what we end ourselves is no news', async (t) => {
  const { endpoint, told } = await open(t)
  const leases = await Promise.all([1, 2, 3].map(() => endpoint.lend({})))
  leases[0]?.destroy()
  leases[1]?.connection.destroy()
  endpoint.fence(new ConnectionError('FENCED', 'replaced', { address: 'it', phase: 'ready' }))
  await turns()
  assert.deepEqual(told, [])
})

test('nothing is told after the fence', async (t) => {
  const { endpoint, server, told } = await open(t)
  const lease = await endpoint.lend({})
  const refused = lease.call('SAY', 'READONLY')
  lease.connection.onError = ((onError) => (error: Error) => {
    onError?.(error)
    endpoint.fence(new Error('replaced'))
  })(lease.connection.onError)
  await assert.rejects(refused)
  await turns()
  assert.deepEqual(told, [])
  assert.equal(server.peers.length, 1)
})
