import assert from 'node:assert/strict'
import { AsyncLocalStorage } from 'node:async_hooks'
import { getEventListeners } from 'node:events'
import { test } from 'node:test'
import { AbortError, ConnectionError, ReplyError, TimeoutError } from '../../lib/errors.ts'
import type { Argument } from '../../lib/resp/index.ts'
import { connected } from '../support/connected.ts'
import { array, bulk, integer, simple } from '../support/resp-writer.ts'
import { greet, type Script } from '../support/scripted-server.ts'

/** Answers ECHO; to BAD with an error, to MUTE not at all. */
const script: Script = (command) => {
  if (command[0] === 'ECHO') return bulk(command[1] ?? '')
  if (command[0] === 'BAD') return '-WRONGTYPE no\r\n'
  return command[0] === 'MUTE' ? undefined : greet(command)
}
const echoes = (count: number, prefix = ''): Argument[][] =>
  Array.from({ length: count }, (_, i) => ['ECHO', `${prefix}${i}`])
const texts = (count: number, prefix = '') => Array.from({ length: count }, (_, i) => `${prefix}${i}`)

test('a batch gives the outcome of each command in order, error replies among them', async (t) => {
  const { connection } = await connected(t, script)
  assert.deepEqual(await connection.executeAll([['ECHO', 'a'], ['BAD'], ['ECHO', 'b']]), [
    'a',
    new ReplyError('WRONGTYPE no'),
    'b',
  ])
})

test('a batch leaves in one write, and its commands have nothing between them', async (t) => {
  const { server, connection } = await connected(t, script)
  const writes: string[] = []
  server.peers[0]?.socket.on('data', (bytes: Buffer) => writes.push(bytes.toString()))
  const before = server.commands.length
  const [one, many, other] = [
    connection.call('ECHO', 'before'),
    connection.executeAll(echoes(20)),
    connection.call('ECHO', 'behind'),
  ]
  assert.equal(connection.pendingCount, 22)
  assert.deepEqual(await Promise.all([one, many, other]), ['before', texts(20), 'behind'])
  assert.equal(writes.length, 1)
  assert.deepEqual(
    server.commands.slice(before).map(([, text]) => text),
    ['before', ...texts(20), 'behind'],
  )
})

test('a batch of 10,000 commands, and one of none', async (t) => {
  const { connection } = await connected(t, script)
  assert.deepEqual(await connection.executeAll(echoes(10_000)), texts(10_000))
  assert.deepEqual(await connection.executeAll([]), [])
})

test('a batch beside single commands and other batches, with replies in pieces of every size', async (t) => {
  const { connection } = await connected(t, (command, peer) => {
    if (command[0] !== 'LAST') return command[0]?.startsWith('N') ? undefined : greet(command)
    void peer.drip(Array.from({ length: 8 }, (_, i) => integer(i)).join(''))
    return undefined
  })
  const outcomes = await Promise.all([
    connection.executeAll([['N0'], ['N1'], ['N2']]),
    connection.call('N3'),
    connection.executeAll([['N4'], ['N5'], ['N6']]),
    connection.call('LAST'),
  ])
  assert.deepEqual(outcomes, [[0, 1, 2], 3, [4, 5, 6], 7])
})

test('a batch takes the options for each of its commands', async (t) => {
  const { connection } = await connected(t, script)
  const [bytes] = await connection.executeAll([['ECHO', 'a']], { replies: 'buffer' })
  assert.deepEqual(bytes, Buffer.from('a'))
  const seen: unknown[] = []
  await connection.executeAll([['ECHO', 'a']], { onAttributes: (it) => seen.push(it) })
  assert.deepEqual(seen, [])
  assert.throws(() => connection.executeAll([['ECHO']], { timeout: -1 }), RangeError)
})

test('commands that change their connection may be part of a batch', async (t) => {
  const { connection } = await connected(t, (command) => {
    if (command[0] === 'MULTI') return '+OK\r\n'
    if (command[0] === 'SET') return '+QUEUED\r\n'
    return command[0] === 'EXEC' ? array(simple('OK'), simple('OK')) : script(command, undefined as never)
  })
  const transaction = connection.executeAll([['MULTI'], ['SET', 'a', 1], ['SET', 'b', 2], ['EXEC'], ['BAD']])
  const [multi, a, b, exec, bad] = await transaction
  assert.deepEqual([multi, a, b, exec], ['OK', 'QUEUED', 'QUEUED', ['OK', 'OK']])
  assert.ok(bad instanceof ReplyError)
  assert.equal(connection.isInTransaction, false)
})

test('an argument that is none refuses the whole batch, and nothing of it is sent', async (t) => {
  const { server, connection } = await connected(t, script)
  const before = server.commands.length
  for (const bad of [
    [
      ['ECHO', 'a'],
      ['ECHO', null as never],
    ],
    [['MULTI'], [], ['EXEC']],
  ] as Argument[][][]) {
    assert.throws(() => connection.executeAll(bad), TypeError)
  }
  assert.throws(
    () =>
      connection.executeAll([
        ['ECHO', 'a'],
        ['CLIENT', 'REPLY', 'OFF'],
      ]),
    /CLIENT REPLY/,
  )
  assert.equal(connection.pendingCount, 0)
  assert.equal(connection.isInTransaction, false)
  assert.equal(await connection.call('ECHO', 'next'), 'next')
  assert.deepEqual(server.commands.slice(before), [['ECHO', 'next']])
})

test('a batch that does not fit the queue is refused whole', async (t) => {
  const { server, connection } = await connected(t, script, { maxPending: 10 })
  const eight = connection.executeAll(echoes(8))
  for (const commands of [echoes(3), [['MULTI'], ['ECHO'], ['EXEC']]]) {
    await assert.rejects(connection.executeAll(commands), { code: 'QUEUE_FULL', message: /maxPending 10/ })
  }
  assert.deepEqual(await connection.executeAll(echoes(2)), texts(2))
  assert.deepEqual(await eight, texts(8))
  assert.equal(server.commands.filter(([name]) => name === 'MULTI').length, 0)
})

test('a batch on a connection that has ended is refused', async (t) => {
  const { connection } = await connected(t, script)
  await connection.close()
  await assert.rejects(connection.executeAll(echoes(2)), { code: 'CONNECTION_CLOSED' })
})

test('a peer that is gone in the middle leaves the replies that came, and an unknown outcome for the others', async (t) => {
  const { connection } = await connected(t, (command, peer) => {
    if (command[1] === '2') peer.close()
    return script(command, peer)
  })
  const outcomes = await connection.executeAll([
    ['ECHO', '0'],
    ['ECHO', '1'],
    ['MUTE'],
    ['MUTE', '2'],
    ['MUTE'],
  ])
  assert.deepEqual(outcomes.slice(0, 2), ['0', '1'])
  for (const outcome of outcomes.slice(2)) {
    assert.ok(outcome instanceof ConnectionError)
    assert.deepEqual([outcome.code, outcome.mayHaveExecuted], ['CONNECTION_LOST', true])
  }
})

test('a batch that was not written when its connection ends was not executed', async (t) => {
  const { connection } = await connected(t, script)
  const batch = connection.executeAll(echoes(2))
  connection.destroy()
  for (const outcome of await batch) {
    assert.ok(outcome instanceof ConnectionError)
    assert.equal(outcome.mayHaveExecuted, false)
  }
})

test('the deadline of a batch gives up what has no reply, and late replies are swallowed in their places', async (t) => {
  let late: () => void = () => undefined
  const { connection } = await connected(t, (command, peer) => {
    if (command[0] === 'MUTE') late = () => peer.send(bulk('late'))
    return script(command, peer)
  })
  const outcomes = await connection.executeAll([['ECHO', 'a'], ['MUTE'], ['ECHO', 'b']], { timeout: 300 })
  // the peer answered the third in the place of the second: it is the order that counts
  assert.deepEqual(outcomes.slice(0, 2), ['a', 'b'])
  assert.ok(outcomes[2] instanceof TimeoutError)
  assert.equal(outcomes[2].mayHaveExecuted, true)
  const next = connection.call('ECHO', 'next')
  late()
  assert.equal(await next, 'next')
  assert.equal(connection.error, undefined)
})

test('a batch aborted before it left is never written', async (t) => {
  const { server, connection } = await connected(t, script)
  const before = server.commands.length
  const controller = new AbortController()
  const aborted = connection.executeAll(echoes(3, 'never '), { signal: controller.signal })
  const kept = connection.executeAll(echoes(3))
  controller.abort()
  for (const outcome of await aborted) {
    assert.ok(outcome instanceof AbortError)
    assert.equal(outcome.mayHaveExecuted, false)
  }
  assert.deepEqual(await kept, texts(3))
  assert.equal(server.commands.length, before + 3)
  assert.deepEqual(getEventListeners(controller.signal, 'abort'), [])
  await assert.rejects(connection.executeAll(echoes(1), { signal: controller.signal }), AbortError)
})

test('a batch aborted after it left may have been executed, and the commands behind it get their own replies', async (t) => {
  const { server, connection } = await connected(t, script)
  const controller = new AbortController()
  const aborted = connection.executeAll([...echoes(2), ['BARRIER']], { signal: controller.signal })
  const left = server.until(() => server.commands.some(([name]) => name === 'BARRIER'))
  await left
  controller.abort()
  const outcomes = await aborted
  const last = outcomes[2]
  assert.ok(last instanceof AbortError)
  assert.equal(last.mayHaveExecuted, true)
  server.peers[0]?.send(integer(0))
  assert.deepEqual(await connection.executeAll(echoes(2)), texts(2))
})

test('a batch waits with the others while the peer takes no more, and its commands expire unsent', async (t) => {
  const { server, connection } = await connected(t, script)
  server.peers[0]?.socket.pause()
  const large = Buffer.alloc(16 * 1024 * 1024)
  const sent = connection.executeAll([['ECHO', large]], { timeout: 100 })
  await new Promise((resolve) => setImmediate(resolve))
  const waiting = connection.executeAll(echoes(2), { timeout: 50 })
  for (const outcome of await waiting) {
    assert.ok(outcome instanceof TimeoutError)
    assert.equal(outcome.mayHaveExecuted, false)
  }
  const [outcome] = await sent
  assert.ok(outcome instanceof Error)
})

test('a batch keeps the context of its caller', async (t) => {
  const { connection } = await connected(t, script)
  const storage = new AsyncLocalStorage<number>()
  const seen = await Promise.all(
    [1, 2, 3].map((id) =>
      storage.run(id, async () => [await connection.executeAll(echoes(1)), storage.getStore()]),
    ),
  )
  assert.deepEqual(
    seen.map(([, id]) => id),
    [1, 2, 3],
  )
})

test('a transaction in a batch ends as one: no part of it is written when another was given up', async (t) => {
  const { server, connection } = await connected(t, script, { commandTimeout: 60_000 })
  const [peer] = server.peers
  assert.ok(peer)
  peer.socket.pause()
  const filler = Buffer.alloc(12 * 1024 * 1024)
  void connection.call('ECHO', filler).catch(() => undefined)
  await new Promise(setImmediate)
  const late = await connection.executeAll([['MULTI'], ...echoes(5_000), ['EXEC']], { timeout: 20 })
  assert.ok(late[0] instanceof TimeoutError && !late[0].mayHaveExecuted)
  assert.equal(new Set(late).size, 1, 'one deadline for all')
  assert.equal(connection.isInTransaction, false)
  const after = connection.call('PING')
  peer.socket.resume()
  await after
  const names = new Set(server.commands.map(([name]) => name))
  assert.ok(!names.has('MULTI') && !names.has('EXEC'))
})

test('a batch knows of a transaction that it leaves open', async (t) => {
  const { connection } = await connected(t, (command) =>
    ['MULTI', 'EXEC', 'WATCH'].includes(command[0] ?? '') ? simple('OK') : script(command, {} as never),
  )
  await connection.executeAll([['WATCH', 'k'], ['MULTI'], ['ECHO', 'a']])
  assert.equal(connection.isInTransaction, true)
  await connection.executeAll([['ECHO', 'a'], ['exec']])
  assert.deepEqual([connection.isInTransaction, connection.isAltered], [false, false])
})

test('more commands at once than may be pending are refused with their number', async (t) => {
  const { connection } = await connected(t, script, { maxPending: 3 })
  await assert.rejects(connection.executeAll(echoes(4)), /, and 4 more were given at once; the limits are/)
})
