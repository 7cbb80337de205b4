import assert from 'node:assert/strict'
import { AsyncLocalStorage } from 'node:async_hooks'
import { getEventListeners } from 'node:events'
import { Socket } from 'node:net'
import { type TestContext, test } from 'node:test'
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises'
import { inspect } from 'node:util'
import {
  Connection,
  type ConnectionOptions,
  connect,
  type ExecuteOptions,
  type Rescuer,
  resolveConnectionOptions,
} from '../../lib/connection/index.ts'
import {
  AbortError,
  ConnectionError,
  PoolError,
  ProtocolError,
  ReplyError,
  RespoolError,
  TimeoutError,
} from '../../lib/errors.ts'
import type { Argument, Reply } from '../../lib/resp/index.ts'
import { type Connected, connected } from '../support/connected.ts'
import { array, bulk, error, integer, simple } from '../support/resp-writer.ts'
import { greet, type Peer, type Script, scriptedServer } from '../support/scripted-server.ts'

/** Answers ECHO; what else a test wants, it adds. */
const echo: Script = (command) =>
  greet(command) ?? (command[0] === 'ECHO' ? bulk(command[1] ?? '') : undefined)

/** The error a promise rejects with, checked for its class. */
async function rejection<T extends Error>(
  promise: Promise<unknown>,
  type: abstract new (...args: never[]) => T,
) {
  const reason: unknown = await promise.then(
    (value) => assert.fail(`it gave ${inspect(value)}`),
    (it: unknown) => it,
  )
  assert.ok(reason instanceof type, inspect(reason))
  return reason
}

const MEGABYTE = 1024 * 1024

test('the commands of a tick leave in one write, those of the next tick in another', async (t) => {
  const writes: string[] = []
  const { server, connection } = await connected(t, echo)
  server.peers[0]?.socket.on('data', (bytes: Buffer) => writes.push(bytes.toString()))
  const first = Array.from({ length: 100 }, (_, i) => connection.call('ECHO', i))
  assert.equal(connection.pendingCount, 100)
  assert.deepEqual(
    await Promise.all(first),
    Array.from({ length: 100 }, (_, i) => String(i)),
  )
  assert.equal(writes.length, 1)
  assert.equal(connection.pendingCount, 0)
  await connection.call('ECHO', 'again')
  assert.equal(writes.length, 2)
})

test('an attempt that fails, or is not taken, ends as its rescuer says', async (t) => {
  const { connection } = await connected(
    t,
    (command, peer) => (command[0] === 'GET' ? error('LOADING reading') : echo(command, peer)),
    { maxPending: 3 },
  )
  const asked: { error: Error; command: readonly Argument[]; startedAt: number }[] = []
  const rescuer = (end: Promise<Reply> | undefined): Rescuer => ({
    rescue: (error, command, startedAt) => {
      asked.push({ error, command, startedAt })
      return end
    },
  })
  const from = Math.floor(performance.now())
  const saved = rescuer(Promise.resolve('saved'))
  assert.equal(await connection.attempt(['ECHO', 'x'], {}, saved), 'x')
  assert.equal(asked.length, 0)
  assert.equal(await connection.attempt(['GET', 'a'], {}, saved), 'saved')
  await rejection(connection.attempt(['GET', 'b'], {}, rescuer(undefined)), ReplyError)
  const full = [1, 2, 3].map(() => connection.call('ECHO', 'x'))
  assert.equal(await connection.attempt(['ECHO', 'c'], {}, saved), 'saved')
  await Promise.all(full)
  const signal = AbortSignal.abort()
  await rejection(connection.attempt(['ECHO', 'd'], { signal }, rescuer(undefined)), AbortError)
  const cutOff = connection.attempt(['ECHO', 'e'], {}, saved)
  connection.destroy()
  assert.equal(await cutOff, 'saved')
  assert.equal(await connection.attempt(['ECHO', 'f'], {}, saved), 'saved')
  assert.deepEqual(
    asked.map(({ error, command }) => `${command[1]} ${error.name}`),
    ['a ReplyError', 'b ReplyError', 'c PoolError', 'd AbortError', 'e ConnectionError', 'f ConnectionError'],
  )
  const until = Math.ceil(performance.now())
  for (const { startedAt } of asked) assert.ok(startedAt >= from && startedAt <= until)
})

test('replies come in the order of the commands, however they arrive', async (t) => {
  const { connection } = await connected(t, (command, peer) => {
    if (command[0] !== 'LAST') return greet(command)
    void peer.drip(Buffer.concat([simple('a'), integer(2), array(bulk('c'), error('ERR d')), bulk('e')]))
    return undefined
  })
  const replies = ['ONE', 'TWO', 'THREE', 'LAST'].map((name) => connection.call(name))
  assert.deepEqual(await Promise.all(replies), ['a', 2, ['c', new ReplyError('ERR d')], 'e'])
})

test('10,000 commands at once get each its own reply', async (t) => {
  const { connection } = await connected(t, echo)
  const replies = await Promise.all(
    Array.from({ length: 10_000 }, (_, i) => connection.call('ECHO', `v${i}`)),
  )
  assert.ok(replies.every((reply, i) => reply === `v${i}`))
})

test('an error reply rejects its command and nothing else', async (t) => {
  const { connection } = await connected(t, (command) =>
    command[0] === 'BAD' ? '-WRONGTYPE Operation against a key\r\n' : echo(command, undefined as never),
  )
  const [before, bad, after] = await Promise.allSettled([
    connection.call('ECHO', 'a'),
    connection.call('BAD'),
    connection.call('ECHO', 'b'),
  ])
  assert.deepEqual(
    [before, after],
    [
      { status: 'fulfilled', value: 'a' },
      { status: 'fulfilled', value: 'b' },
    ],
  )
  assert.ok(bad?.status === 'rejected' && bad.reason instanceof ReplyError)
  assert.deepEqual([bad.reason.prefix, bad.reason.mayHaveExecuted], ['WRONGTYPE', false])
  assert.equal(connection.error, undefined)
})

test('bytes and text can be asked for command by command', async (t) => {
  const { connection } = await connected(t, echo)
  const options = { replies: 'buffer' } as const
  assert.deepEqual(
    await Promise.all([
      connection.execute(['ECHO', 'a'], options),
      connection.call('ECHO', 'b'),
      connection.execute(['ECHO', 'c'], { replies: 'string' }),
      connection.execute(['ECHO', 'd'], options),
    ]),
    [Buffer.from('a'), 'b', 'c', Buffer.from('d')],
  )
})

test('large commands and replies pass whole in both directions', async (t) => {
  const { connection } = await connected(t, echo)
  const large = 'abcdefghijklmnopqrstuvwxyz012345'.repeat(MEGABYTE / 8)
  const replies = await Promise.all([
    connection.call('ECHO', large),
    connection.execute(['ECHO', Buffer.from(large)], { replies: 'buffer' }),
    connection.call('ECHO', 'small'),
  ])
  assert.ok(replies[0] === large)
  assert.ok(Buffer.isBuffer(replies[1]) && replies[1].toString() === large)
  assert.equal(replies[2], 'small')
})

test('misuse throws at once, and nothing is sent of it', async (t) => {
  const { server, connection } = await connected(t, echo)
  const sent = server.commands.length
  assert.throws(() => connection.call('GET', null as never), { name: 'TypeError', message: /argument 1/ })
  assert.throws(() => connection.execute([]), { name: 'TypeError' })
  for (const timeout of [-1, Number.NaN]) {
    assert.throws(() => connection.execute(['GET', 'k'], { timeout }), {
      name: 'RangeError',
      message: /timeout/,
    })
  }
  assert.throws(() => connection.call('CLIENT', 'REPLY', 'OFF'), {
    name: 'TypeError',
    message: /CLIENT REPLY/,
  })
  assert.throws(() => connection.call('client', 'reply', 'skip'), { name: 'TypeError' })
  assert.equal(connection.pendingCount, 0)
  assert.equal(await connection.call('ECHO', 'a'), 'a')
  assert.equal(server.commands.length, sent + 1)
})

test('arguments are the caller’s again at once, also those of a command that waits', async (t) => {
  const { server, connection } = await connected(t, echo)
  const bytes = Buffer.from('before')
  const command = ['ECHO', bytes]
  const replies = [
    connection.execute(command),
    connection.execute(command, { signal: new AbortController().signal }),
  ]
  bytes.fill('x')
  command.length = 0
  assert.deepEqual(await Promise.all(replies), ['before', 'before'])
  assert.equal(server.commands.length, 5)
})

test('the context of the caller is kept across a reply', async (t) => {
  const { connection } = await connected(t, echo)
  const context = new AsyncLocalStorage<number>()
  const seen = await Promise.all(
    [1, 2, 3].map((id) =>
      context.run(id, async () => {
        await connection.call('ECHO', id)
        return context.getStore()
      }),
    ),
  )
  assert.deepEqual(seen, [1, 2, 3])
})

test('a command beyond its deadline times out, and its late reply is nobody else’s', async (t) => {
  let late: Peer | undefined
  const { server, connection } = await connected(t, (command, peer) => {
    if (command[0] !== 'SLOW') return echo(command, peer)
    late = peer
    return undefined
  })
  const slow = await rejection(connection.execute(['SLOW'], { timeout: 20 }), TimeoutError)
  assert.equal(slow.timeout, 20)
  assert.equal(slow.code, 'COMMAND_TIMEOUT')
  assert.equal(slow.mayHaveExecuted, true)
  assert.equal(slow.message, `no reply within 20 ms at ${connection.address}`)
  assert.equal(connection.pendingCount, 1)
  await server.until(() => late !== undefined)
  const next = connection.call('ECHO', 'mine')
  late?.send('$4\r\nlate\r\n')
  assert.equal(await next, 'mine')
  assert.equal(connection.error, undefined)
  assert.equal(connection.pendingCount, 0)
})

test('a late error reply is swallowed as well', async (t) => {
  let late: Peer | undefined
  const { server, connection } = await connected(t, (command, peer) => {
    if (command[0] !== 'SLOW') return echo(command, peer)
    late = peer
    return undefined
  })
  await rejection(connection.execute(['SLOW'], { timeout: 5 }), TimeoutError)
  await server.until(() => late !== undefined)
  late?.send('-ERR late\r\n')
  assert.equal(await connection.call('ECHO', 'mine'), 'mine')
})

test('a command’s deadline does not wait for that of the command before', async (t) => {
  const { connection } = await connected(t, echo)
  const outcomes: string[] = []
  const first = rejection(connection.execute(['NEVER'], { timeout: 60_000 }), ConnectionError)
  void first.then(() => outcomes.push('first'))
  const [second, third] = [20, 10].map((timeout) =>
    rejection(connection.execute(['NEVER'], { timeout }), TimeoutError),
  )
  assert.equal((await third)?.timeout, 10)
  assert.equal((await second)?.timeout, 20)
  assert.deepEqual(outcomes, [])
  connection.destroy()
  await first
})

test('a peer that is silent for commandTimeout is taken for dead, and all that waits fails', async (t) => {
  const { server, connection } = await connected(t, echo, { commandTimeout: 30 })
  const late = rejection(connection.call('NEVER'), TimeoutError)
  const blocked = rejection(connection.call('BLPOP', 'k', 0), ConnectionError)
  assert.equal((await late).mayHaveExecuted, true)
  const lost = await blocked
  assert.equal(lost.code, 'CONNECTION_LOST')
  assert.equal(lost.phase, 'ready')
  assert.equal(lost.mayHaveExecuted, true)
  assert.equal(lost.message, `the peer has been silent for 30 ms (${server.address})`)
  assert.ok(connection.error instanceof ConnectionError)
  await connection.closed
  await server.until(() => server.openCount === 0)
})

test('a peer that says anything is not taken for dead', async (t) => {
  const { connection } = await connected(
    t,
    (command, peer) => {
      if (command[0] === 'NEVER') peer.send('>1\r\n+alive\r\n')
      return echo(command, peer)
    },
    { commandTimeout: 300 },
  )
  await rejection(connection.call('NEVER'), TimeoutError)
  assert.equal(connection.error, undefined)
})

for (const [what, evil] of [
  ['trickles bytes and completes no reply', '$1000000\r\n'],
  ['gave a wrong length, which swallows all other replies,', '$536870912\r\nv\r\n'],
] as const) {
  test(`a peer that ${what} is taken for dead after twice the commandTimeout`, async (t) => {
    const { connection } = await connected(
      t,
      (command, peer) => {
        if (command[0] !== 'EVIL') return greet(command) ?? '+v\r\n'
        const dripping = setInterval(() => peer.send('x'), 5)
        peer.socket.once('close', () => clearInterval(dripping))
        return evil
      },
      { commandTimeout: 50 },
    )
    await rejection(connection.call('EVIL'), TimeoutError)
    const error = await rejection(connection.call('GET', 'k'), TimeoutError)
    assert.equal(error.mayHaveExecuted, true)
    assert.ok(connection.error instanceof ConnectionError)
    assert.match(connection.error.message, /completed no reply for 100 ms/)
  })
}

test('a reply that is larger than its deadline does not end the connection while its bytes come', async (t) => {
  const { connection } = await connected(
    t,
    (command, peer) => {
      if (command[0] === 'LARGE') return '$10\r\n01234'
      if (command[0] !== 'ECHO') return echo(command, peer)
      setTimeout(() => peer.send('56789\r\n$6\r\nbehind\r\n'), 150)
      return undefined
    },
    { commandTimeout: 200 },
  )
  const large = rejection(connection.call('LARGE'), TimeoutError)
  await sleep(150)
  const behind = connection.call('ECHO', 'behind')
  await large
  assert.equal(await behind, 'behind')
  assert.equal(connection.error, undefined)
})

test('without a commandTimeout no command has a deadline but its own, and silence is no fault', async (t) => {
  const { server, connection } = await connected(t, echo, { commandTimeout: 0 })
  const endless = connection.call('NEVER')
  await rejection(connection.execute(['NEVER'], { timeout: 10 }), TimeoutError)
  assert.equal(connection.error, undefined)
  server.peers[0]?.send('+at last\r\n+late\r\n')
  assert.equal(await endless, 'at last')
})

test('a blocking command has its own timeout and the commandTimeout', async (t) => {
  const { connection } = await connected(t, echo, { commandTimeout: 40 })
  const startedAt = performance.now()
  const error = await rejection(connection.call('BLPOP', 'k', 0.05), TimeoutError)
  assert.equal(error.timeout, 90)
  assert.ok(performance.now() - startedAt >= 89)
})

test('a command that blocks for ever has no deadline, and one of its own if it is given one', async (t) => {
  const { server, connection } = await connected(t, echo, { commandTimeout: 10 })
  const popped = connection.call('BLPOP', 'k', 0)
  await sleep(40)
  assert.equal(connection.error, undefined)
  server.peers[0]?.send('*2\r\n$1\r\nk\r\n$1\r\nv\r\n')
  assert.deepEqual(await popped, ['k', 'v'])
  await rejection(connection.execute(['BLPOP', 'k', 0], { timeout: 15 }), TimeoutError)
})

test('a command aborted before it left is never written', async (t) => {
  const { server, connection } = await connected(t, echo)
  const controller = new AbortController()
  const { signal } = controller
  const before = connection.call('ECHO', 'before')
  const aborted = rejection(connection.execute(['INCR', 'n'], { signal }), AbortError)
  const after = connection.call('ECHO', 'after')
  const reason = new Error('no more')
  controller.abort(reason)
  const error = await aborted
  assert.equal(error.mayHaveExecuted, false)
  assert.equal(error.cause, reason)
  assert.deepEqual(await Promise.all([before, after]), ['before', 'after'])
  assert.deepEqual(
    server.commands.slice(3).map((command) => command[0]),
    ['ECHO', 'ECHO'],
  )
  assert.equal(connection.pendingCount, 0)
})

test('a connection all of whose commands are taken back goes on', async (t) => {
  const { server, connection } = await connected(t, echo)
  const controller = new AbortController()
  const options = { signal: controller.signal }
  const all = [1, 2, 3].map((n) => rejection(connection.execute(['INCRBY', 'n', n], options), AbortError))
  controller.abort()
  await Promise.all(all)
  assert.equal(await connection.call('ECHO', 'on'), 'on')
  assert.equal(server.commands.length, 4)
})

test('a command aborted after it left may have run, and its reply is swallowed', async (t) => {
  const { server, connection } = await connected(t, echo)
  const controller = new AbortController()
  const aborted = rejection(connection.execute(['INCR', 'n'], { signal: controller.signal }), AbortError)
  await server.until(() => server.commands.length === 4)
  controller.abort()
  assert.equal((await aborted).mayHaveExecuted, true)
  const next = connection.call('ECHO', 'mine')
  server.peers[0]?.send(':1\r\n')
  assert.equal(await next, 'mine')
})

test('of many commands under one signal each knows whether it left', async (t) => {
  const { server, connection } = await connected(t, echo)
  const controller = new AbortController()
  const options = { signal: controller.signal }
  const sent = Array.from({ length: 50 }, () =>
    rejection(connection.execute(['INCR', 'n'], options), AbortError),
  )
  await server.until(() => server.commands.length === 53)
  // so few that they wait for the end of the tick
  const unsent = Array.from({ length: 20 }, () =>
    rejection(connection.execute(['INCR', 'n'], options), AbortError),
  )
  assert.equal(getEventListeners(controller.signal, 'abort').length, 1)
  controller.abort()
  assert.ok((await Promise.all(sent)).every((it) => it.mayHaveExecuted))
  assert.ok((await Promise.all(unsent)).every((it) => !it.mayHaveExecuted))
})

test('many commands of one tick begin to leave before it ends', async (t) => {
  const { server, connection } = await connected(t, echo)
  const controller = new AbortController()
  const options = { signal: controller.signal }
  const replies = Array.from({ length: 40 }, () =>
    rejection(connection.execute(['INCR', 'n'], options), AbortError),
  )
  controller.abort()
  const left = (await Promise.all(replies)).filter((it) => it.mayHaveExecuted).length
  assert.equal(left, 32)
  const last = rejection(connection.call('ECHO', 'x'), ConnectionError)
  await server.until(() => server.commands.at(-1)?.[0] === 'ECHO')
  assert.equal(server.commands.length, 3 + left + 1)
  connection.destroy()
  await last
})

/** Whether a command left before the end of the tick in which it is given; given while promises go on. */
async function leavesEarly(connection: Connection): Promise<boolean> {
  const controller = new AbortController()
  process.nextTick(() => controller.abort())
  const { signal } = controller
  const { mayHaveExecuted } = await rejection(connection.execute(['ECHO', 'x'], { signal }), AbortError)
  return mayHaveExecuted
}

test('commands that come one by one leave without waiting for the end of the tick', async (t) => {
  const { connection } = await connected(t, echo)
  assert.equal(await leavesEarly(connection), false)
  for (let i = 0; i < 10; i++) await connection.call('ECHO', i)
  assert.equal(await leavesEarly(connection), true)
  await Promise.all([connection.call('ECHO', 'a'), connection.call('ECHO', 'b')])
  assert.equal(await leavesEarly(connection), false)
})

test('where others are under way, no command is taken for a lone one', async (t) => {
  const { connection } = await connected(t, greet)
  const unanswered: Promise<unknown>[] = []
  for (let i = 0; i < 20; i++) {
    unanswered.push(rejection(connection.call('ECHO', i), ConnectionError))
    await nextTurn()
  }
  assert.equal(await leavesEarly(connection), false)
  connection.destroy()
  await Promise.all(unanswered)
})

test('after lone commands, those given together leave in one write', async (t) => {
  const { server, connection } = await connected(t, echo)
  for (let i = 0; i < 10; i++) await connection.call('ECHO', i)
  const writes: string[] = []
  server.peers[0]?.socket.on('data', (bytes: Buffer) => writes.push(bytes.toString()))
  await Promise.all(['MULTI', 'INCR', 'EXEC'].map((word) => connection.call('ECHO', word)))
  assert.equal(writes.length, 1)
})

test('a lone command that is aborted by the code that gave it never leaves', async (t) => {
  const { server, connection } = await connected(t, echo)
  for (let i = 0; i < 10; i++) await connection.call('ECHO', i)
  const before = server.commands.length
  const controller = new AbortController()
  const given = rejection(connection.execute(['INCR', 'n'], { signal: controller.signal }), AbortError)
  controller.abort()
  assert.equal((await given).mayHaveExecuted, false)
  await connection.call('ECHO', 'x')
  assert.equal(server.commands.length, before + 1)
})

test('a signal that was aborted before rejects at once and sends nothing', async (t) => {
  const { server, connection } = await connected(t, echo)
  const error = await rejection(
    connection.execute(['INCR', 'n'], { signal: AbortSignal.abort() }),
    AbortError,
  )
  assert.equal(error.mayHaveExecuted, false)
  await connection.call('ECHO', 'x')
  assert.equal(server.commands.length, 4)
})

test('a command leaves no listener in its signal, however it ends', async (t) => {
  const { connection } = await connected(t, (command) =>
    command[0] === 'BAD' ? '-ERR bad\r\n' : echo(command, undefined as never),
  )
  const controller = new AbortController()
  const { signal } = controller
  await connection.execute(['ECHO', 'a'], { signal })
  await rejection(connection.execute(['BAD'], { signal }), ReplyError)
  await rejection(connection.execute(['NEVER'], { signal, timeout: 5 }), TimeoutError)
  const lost = rejection(connection.execute(['NEVER'], { signal }), ConnectionError)
  connection.destroy()
  await lost
  assert.deepEqual(getEventListeners(signal, 'abort'), [])
})

/** A connection whose peer reads nothing, after so many megabytes that the socket takes no more. */
async function blocked(
  t: TestContext,
  options: ConnectionOptions = {},
  execution: ExecuteOptions = {},
): Promise<Connected & { peer: Peer; filling: Promise<PromiseSettledResult<Reply>[]> }> {
  const context = await connected(t, echo, options)
  const peer = context.server.peers[0] as Peer
  peer.socket.pause()
  const filling = Promise.allSettled(echoMegabytes(context.connection, 16, execution))
  await new Promise(setImmediate)
  return { ...context, peer, filling }
}

function echoMegabytes(
  connection: Connection,
  count: number,
  options: ExecuteOptions = {},
): Promise<Reply>[] {
  const megabyte = Buffer.alloc(MEGABYTE, 'x')
  return Array.from({ length: count }, () =>
    connection.execute(['ECHO', megabyte], { ...options, replies: 'buffer' }),
  )
}

const isKept = (outcome: PromiseSettledResult<Reply>) => outcome.status === 'fulfilled'

test('commands to a peer that does not read wait unsent, and can be taken back', async (t) => {
  const { server, connection, peer, filling } = await blocked(t)
  const controller = new AbortController()
  const kept = connection.call('ECHO', 'kept')
  const aborted = rejection(connection.execute(['INCR', 'n'], { signal: controller.signal }), AbortError)
  const late = rejection(connection.execute(['INCR', 'n'], { timeout: 20 }), TimeoutError)
  const last = connection.call('ECHO', 'last')
  await new Promise(setImmediate)
  controller.abort()
  assert.equal((await aborted).mayHaveExecuted, false)
  const error = await late
  assert.equal(error.mayHaveExecuted, false)
  assert.equal(error.message, `not sent within 20 ms at ${server.address}`)
  assert.equal(connection.error, undefined)
  peer.socket.resume()
  assert.deepEqual(await Promise.all([kept, last]), ['kept', 'last'])
  assert.ok((await filling).every(isKept))
  assert.deepEqual(
    server.commands.filter(([name]) => name === 'INCR'),
    [],
  )
})

test('bytes that the socket still holds are not overwritten by what other connections send', async (t) => {
  const { server, connection } = await connected(t, echo)
  const peer = server.peers[0] as Peer
  peer.socket.pause()
  const text = (i: number) => `${i}:`.padEnd(1000, String(i % 10))
  const replies = Promise.all(Array.from({ length: 16_384 }, (_, i) => connection.call('ECHO', text(i))))
  await new Promise(setImmediate)
  const other = await connect(server.options)
  t.after(() => other.destroy())
  const noise = 'y'.repeat(5000)
  for (let i = 0; i < 20; i += 1) assert.equal(await other.call('ECHO', noise), noise)
  peer.socket.resume()
  assert.ok((await replies).every((reply, i) => reply === text(i)))
})

test('a command has its whole deadline, also behind a peer that has not read for long', async (t) => {
  const { connection } = await blocked(t, { commandTimeout: 0 })
  const first = rejection(connection.execute(['ECHO', 'a'], { timeout: 60 }), TimeoutError)
  await sleep(40)
  const startedAt = performance.now()
  await rejection(connection.execute(['ECHO', 'b'], { timeout: 60 }), TimeoutError)
  assert.ok(performance.now() - startedAt >= 59)
  await first
})

test('too many commands in the queue are refused with the numbers', async (t) => {
  const { connection } = await connected(t, echo, { maxPending: 3 })
  const accepted = Promise.all([1, 2, 3].map((n) => connection.call('ECHO', n)))
  const error = await rejection(connection.call('ECHO', 4), PoolError)
  assert.equal(error.code, 'QUEUE_FULL')
  assert.equal(error.mayHaveExecuted, false)
  assert.match(
    error.message,
    /^3 commands are waiting at 127\.0\.0\.1:\d+, 63 bytes unsent; .* maxPending 3 /,
  )
  assert.deepEqual(await accepted, ['1', '2', '3'])
  assert.equal(await connection.call('ECHO', 5), '5')
})

test('too many bytes in the queue are refused with the numbers', async (t) => {
  const { connection } = await blocked(t, { maxPendingBytes: 16 * MEGABYTE, commandTimeout: 0 })
  const waiting = Promise.allSettled(echoMegabytes(connection, 16))
  const error = await rejection(connection.call('ECHO', 'a'), PoolError)
  assert.equal(error.code, 'QUEUE_FULL')
  assert.match(
    error.message,
    /^32 commands are waiting at .*, 16777\d{3} bytes unsent; .* maxPendingBytes 16777216$/,
  )
  connection.destroy()
  for (const outcome of await waiting) {
    assert.ok(outcome.status === 'rejected' && outcome.reason instanceof ConnectionError)
    assert.equal(outcome.reason.mayHaveExecuted, false)
  }
})

test('close() waits for the replies, takes no more commands, and ends the socket', async (t) => {
  const { server, connection } = await connected(t, echo)
  const replies = [connection.call('ECHO', 'a'), connection.call('NEVER')]
  let isClosed = false
  const closing = connection.close().then(() => {
    isClosed = true
  })
  const refused = await rejection(connection.call('ECHO', 'b'), ConnectionError)
  assert.equal(refused.code, 'CONNECTION_CLOSED')
  assert.equal(refused.mayHaveExecuted, false)
  assert.equal(await replies[0], 'a')
  assert.equal(isClosed, false)
  server.peers[0]?.send('+finished\r\n')
  assert.equal(await replies[1], 'finished')
  await closing
  assert.equal((connection.error as ConnectionError).code, 'CONNECTION_CLOSED')
  assert.equal((await rejection(connection.call('ECHO', 'c'), ConnectionError)).code, 'CONNECTION_CLOSED')
  await server.until(() => server.openCount === 0)
})

test('close() waits for nothing that nobody waits for', async (t) => {
  const { connection } = await connected(t, echo)
  const controller = new AbortController()
  const aborted = rejection(connection.execute(['NEVER'], { signal: controller.signal }), AbortError)
  await rejection(connection.execute(['NEVER'], { timeout: 5 }), TimeoutError)
  controller.abort()
  await aborted
  assert.equal(connection.pendingCount, 2)
  await connection.close()
  assert.equal((connection.error as ConnectionError).code, 'CONNECTION_CLOSED')
})

test('close() ends when the last command has timed out or was aborted', async (t) => {
  const { server, connection } = await connected(t, echo)
  const late = rejection(connection.execute(['NEVER'], { timeout: 20 }), TimeoutError)
  await connection.close()
  await late
  const other = await connect(server.options)
  const controller = new AbortController()
  const aborted = rejection(other.execute(['NEVER'], { signal: controller.signal }), AbortError)
  const closing = other.close()
  controller.abort()
  await Promise.all([aborted, closing])
})

test('close() ends with the last deadline, though the peer never takes what the socket holds', async (t) => {
  const { server, connection, filling } = await blocked(t, { commandTimeout: 0 }, { timeout: 40 })
  const unsent = rejection(connection.execute(['ECHO', 'a'], { timeout: 20 }), TimeoutError)
  await connection.close()
  assert.equal((await unsent).mayHaveExecuted, false)
  for (const outcome of await filling) {
    assert.ok(outcome.status === 'rejected' && outcome.reason instanceof TimeoutError)
    assert.equal(outcome.reason.mayHaveExecuted, true)
  }
  server.peers[0]?.socket.resume()
  await server.until(() => server.openCount === 0)
})

test('close() ends when what was left to send was taken back', async (t) => {
  const { connection, peer, filling } = await blocked(t)
  const controller = new AbortController()
  const aborted = rejection(connection.execute(['INCR', 'n'], { signal: controller.signal }), AbortError)
  const closing = connection.close()
  controller.abort()
  await aborted
  peer.socket.resume()
  await closing
  assert.ok((await filling).every(isKept))
})

test('destroy() fails what is in flight, and says what may have run', async (t) => {
  const { server, connection } = await connected(t, echo)
  const sent = rejection(connection.call('INCR', 'n'), ConnectionError)
  await server.until(() => server.commands.length === 4)
  const unsent = rejection(connection.call('INCR', 'n'), ConnectionError)
  connection.destroy()
  assert.deepEqual([(await sent).code, (await sent).mayHaveExecuted], ['CONNECTION_CLOSED', true])
  assert.deepEqual([(await unsent).code, (await unsent).mayHaveExecuted], ['CONNECTION_CLOSED', false])
  await connection.closed
  assert.equal(server.commands.length, 4)
})

test('destroy(error) makes the first reason the reason of all, with its code', async (t) => {
  const { server, connection } = await connected(t, echo)
  const fenced = new ConnectionError('FENCED', 'a failover', { address: server.address, phase: 'ready' })
  const sent = rejection(connection.call('INCR', 'n'), ConnectionError)
  await server.until(() => server.commands.length === 4)
  connection.destroy(fenced)
  connection.destroy(new Error('another'))
  await connection.close()
  assert.equal(connection.error, fenced)
  const error = await sent
  assert.deepEqual([error.code, error.mayHaveExecuted, error.cause], ['FENCED', true, fenced])
  assert.equal(await rejection(connection.call('PING'), ConnectionError), fenced)
})

test('a reason of any class fails commands with an error of ours', async (t) => {
  const { server, connection } = await connected(t, echo)
  const sent = rejection(connection.call('INCR', 'n'), ConnectionError)
  await server.until(() => server.commands.length === 4)
  const reason = new Error('the owner has had enough')
  connection.destroy(reason)
  const error = await sent
  assert.deepEqual([error.code, error.mayHaveExecuted, error.cause], ['CONNECTION_LOST', true, reason])
  assert.equal(error.message, 'the connection ended: the owner has had enough')
})

test('close() and destroy() are legal in any state, again and again', async (t) => {
  const options = resolveConnectionOptions()
  for (const first of ['close', 'destroy'] as const) {
    const connecting = new Connection(new Socket(), 'nowhere', options)
    assert.match((await rejection(connecting.call('PING'), ConnectionError)).message, /connecting/)
    void connecting[first]()
    await connecting.close()
    connecting.destroy()
    assert.equal((connecting.error as ConnectionError).phase, 'handshake')
  }
  const { server, connection } = await connected(t, echo)
  const waiting = connection.call('ECHO', 'a')
  await Promise.all([connection.close(), connection.close()])
  assert.equal(await waiting, 'a')
  connection.destroy()
  await connection.close()
  assert.equal((connection.error as ConnectionError).code, 'CONNECTION_CLOSED')
  const other = await connect(server.options)
  const lost = rejection(other.call('NEVER'), ConnectionError)
  void other.close()
  other.destroy()
  await lost
  await other.close()
})

test('a connection is closed at the end of its scope', async (t) => {
  const server = await scriptedServer(t, echo)
  let outer: Connection
  {
    await using connection = await connect(server.options)
    outer = connection
    assert.equal(await connection.call('ECHO', 'a'), 'a')
  }
  assert.equal((outer.error as ConnectionError).code, 'CONNECTION_CLOSED')
})

test('a peer that closes at any byte of a reply fails all that waits, at once and with a reason', async (t) => {
  const reply = Buffer.concat([array(bulk('abc'), integer(12), simple('x')), bulk('next')])
  const server = await scriptedServer(t, (command, peer) => {
    if (command[0] === 'CUT') peer.cut(reply, Number(command[1]))
    return greet(command)
  })
  for (let bytes = 0; bytes < reply.length; bytes += 1) {
    const connection = await connect(server.options)
    const all = await Promise.allSettled([
      connection.call('CUT', bytes),
      connection.call('NEXT'),
      connection.call('INCR', 'n'),
    ])
    const failed = all.filter((it) => it.status === 'rejected').map((it) => it.reason as unknown)
    assert.equal(failed.length, bytes < reply.length - bulk('next').length ? 3 : 2, `${bytes} bytes`)
    for (const error of failed) {
      assert.ok(error instanceof ConnectionError)
      assert.deepEqual([error.code, error.phase, error.mayHaveExecuted], ['CONNECTION_LOST', 'ready', true])
      assert.equal(error.address, server.address)
      assert.equal(error.message, `the peer closed the connection (${server.address})`)
    }
    await connection.closed
  }
})

test('a peer that resets the connection is a loss with the cause', async (t) => {
  const { connection } = await connected(t, (command, peer) => {
    if (command[0] === 'RST') peer.reset()
    return greet(command)
  })
  const error = await rejection(connection.call('RST'), ConnectionError)
  assert.equal(error.code, 'CONNECTION_LOST')
  assert.match(error.message, /^the connection broke: ECONNRESET \(/)
  assert.equal(connection.error instanceof RespoolError && connection.error.mayHaveExecuted, false)
})

test('a peer that closes an idle connection ends it, and the next command says why', async (t) => {
  const { server, connection } = await connected(t, echo)
  server.peers[0]?.close()
  await connection.closed
  const error = await rejection(connection.call('PING'), ConnectionError)
  assert.deepEqual([error.code, error.mayHaveExecuted], ['CONNECTION_LOST', false])
  assert.equal(connection.error, error)
})

test('QUIT is answered, and then the connection is gone', async (t) => {
  const { connection } = await connected(t, (command, peer) => {
    if (command[0] === 'QUIT') peer.cut('+OK\r\n', 5)
    return greet(command)
  })
  assert.equal(await connection.call('QUIT'), 'OK')
  await connection.closed
  assert.equal((connection.error as ConnectionError).code, 'CONNECTION_LOST')
})

for (const [what, wire, message] of [
  ['garbage', '@@@\r\n', /unexpected type byte '@'/],
  ['an answer of a web server', 'HTTP/1.1 200 OK\r\n\r\n', /unexpected type byte 'H'/],
  ['a reply and then garbage', '+OK\r\n$x\r\n', /malformed length/],
] as const) {
  test(`${what} ends the connection with a protocol error`, async (t) => {
    const { server, connection } = await connected(t, (command) =>
      command[0] === 'BAD' ? wire : greet(command),
    )
    const all = [connection.call('BAD'), connection.call('INCR', 'n')]
    const failed = (await Promise.allSettled(all)).filter((it) => it.status === 'rejected').at(-1)
    assert.ok(failed?.reason instanceof ProtocolError)
    assert.deepEqual([failed.reason.code, failed.reason.mayHaveExecuted], ['PROTOCOL_ERROR', true])
    assert.match(failed.reason.message, message)
    assert.ok(failed.reason.message.endsWith(`(${server.address})`))
    const refused = await rejection(connection.call('PING'), ProtocolError)
    assert.equal(refused.mayHaveExecuted, false)
    await server.until(() => server.openCount === 0)
  })
}

test('a reply that no command asked for ends the connection', async (t) => {
  const { server, connection } = await connected(t, echo)
  server.peers[0]?.send('+surprise\r\n')
  await connection.closed
  assert.ok(connection.error instanceof ProtocolError)
  assert.match(connection.error.message, /^a reply that no command asked for \(/)
})

test('a reply to a command that was not sent yet ends the connection, and the command fails', async (t) => {
  const { server, connection } = await connected(t, echo)
  const unsent = rejection(connection.call('INCR', 'n'), ProtocolError)
  connection.receive(Buffer.from(':1\r\n'), 4)
  assert.equal((await unsent).mayHaveExecuted, false)
  assert.match((await unsent).message, /not sent yet/)
  await connection.closed
  assert.equal(server.commands.length, 3)
})

test('a reply beyond a limit ends the connection with the limit', async (t) => {
  const { connection } = await connected(t, (command) =>
    command[0] === 'BIG' ? '$536870913\r\n' : greet(command),
  )
  const error = await rejection(connection.call('BIG'), ProtocolError)
  assert.equal(error.code, 'PROTOCOL_LIMIT')
  assert.match(error.message, /536870913 bytes, the limit maxBulkBytes is 536870912/)
})

test('what arrives behind the end is not looked at', async (t) => {
  const { connection } = await connected(t, echo)
  connection.destroy()
  connection.receive(Buffer.from('@'), 1)
  assert.equal((connection.error as ConnectionError).code, 'CONNECTION_CLOSED')
})

test('silence is the time for which a reply has been owed and nothing came', async (t) => {
  const { connection } = await connected(t, echo)
  await sleep(5)
  assert.equal(connection.silence, 0)
  const givenAt = performance.now()
  const lost = rejection(connection.call('NEVER'), ConnectionError)
  const early = connection.silence
  // a command's instant is in whole milliseconds
  assert.ok(early >= 0 && early <= performance.now() - givenAt + 1)
  await sleep(10)
  assert.ok(connection.silence >= early + 8)
  connection.destroy()
  await lost
  assert.equal(connection.silence, 0)
})

test('a connection that is destroyed before it was ready never is', async () => {
  const connection = new Connection(new Socket(), 'nowhere', resolveConnectionOptions())
  const ready = connection.ready(
    async () => ({ protocol: 3, id: 1 }),
    async () => undefined,
  )
  connection.destroy()
  assert.equal((await rejection(ready, ConnectionError)).code, 'CONNECTION_CLOSED')
})

test('the instant at which the peer was last heard moves with each piece of a reply', async (t) => {
  const { connection } = await connected(t, echo)
  const before = connection.heardAt
  await sleep(5)
  await connection.call('ECHO', 'a')
  assert.ok(connection.heardAt >= before + 4)
  assert.ok(connection.heardAt <= performance.now())
})

test('a connection shown in a log has no password in it', async (t) => {
  const { connection } = await connected(t, echo, { username: 'me', password: 'hunter2' })
  await connection.call('ECHO', 'hunter2')
  const lost = rejection(connection.call('AUTH', 'hunter2'), ConnectionError)
  connection.destroy()
  const shown = [connection, await lost, connection.error].map((it) =>
    inspect(it, { depth: 20, showHidden: true }),
  )
  for (const text of [...shown, JSON.stringify(connection)]) assert.doesNotMatch(text, /hunter2/)
})

test('HELLO and RESET leave the connection as the server leaves it', async (t) => {
  const { connection } = await connected(t, (command) => {
    if (command[0] === 'HELLO' && command[1] === '2') return '*2\r\n$5\r\nproto\r\n:2\r\n'
    return command[0] === 'RESET' ? '+RESET\r\n' : greet(command)
  })
  assert.equal(connection.protocol, 3)
  await connection.call('HELLO', 2)
  assert.equal(connection.protocol, 2)
  await connection.call('HELLO', 3)
  assert.equal(connection.protocol, 3)
  await connection.call('RESET')
  assert.equal(connection.protocol, 2)
})

test('attributes reach who asks for them, before the reply, and nobody else', async (t) => {
  const { connection } = await connected(t, (command) => {
    if (command[0] === 'PLAIN') return '+plain\r\n'
    if (command[0] !== 'RICH') return greet(command)
    return '|1\r\n+ttl\r\n:3600\r\n*2\r\n:1\r\n|1\r\n+kind\r\n+odd\r\n:2\r\n'
  })
  const seen: unknown[] = []
  const options: ExecuteOptions = { onAttributes: (attributes) => seen.push(attributes) }
  const rich = connection.execute(['RICH'], options).then((reply) => seen.push(reply))
  const silent = connection.call('RICH')
  const plain = connection.execute(['PLAIN'], options)
  assert.deepEqual(await silent, [1, 2])
  assert.equal(await plain, 'plain')
  await rich
  assert.deepEqual(seen, [
    [new Map<Reply, Reply>([['ttl', 3600]]), new Map<Reply, Reply>([['kind', 'odd']])],
    [1, 2],
  ])
})
