// Where commands go, and how often: by their own flags, by the outcome of each attempt, within one deadline.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { createClient } from '../../lib/client/index.ts'
import { AbortError, ConnectionError, ReplyError, type RespoolError, TimeoutError } from '../../lib/errors.ts'
import { masterRole, ScriptedNode, scriptedDeployment } from '../sentinel/scripted-deployment.ts'
import { clientOf, failure } from '../support/clients.ts'
import { settled } from '../support/clock.ts'
import { freePorts } from '../support/free-ports.ts'
import { eventually } from '../support/real-servers.ts'
import { bulk, error } from '../support/resp-writer.ts'
import type { Peer } from '../support/scripted-server.ts'

/** Does that with the first so many arrivals of a command, and answers the later ones. */
function atFirst(
  name: string,
  times: number,
  what: (peer: Peer) => Buffer | undefined,
): ScriptedNode['intercept'] {
  let seen = 0
  return (command, peer) => {
    if (command[0] !== name) return 'pass'
    seen += 1
    return seen <= times ? what(peer) : 'pass'
  }
}

function cut(peer: Peer): undefined {
  peer.reset()
}

test('reads go where readFrom says, by the command’s own flags; all else goes to the master', async (t) => {
  const { master, replicas, seeds } = await scriptedDeployment(t)
  const [replica] = replicas
  assert.ok(replica)
  for (const node of [master, replica]) {
    node.intercept = ([name = '']) =>
      ['GET', 'get', 'MGET', 'EVAL_RO', 'SET', 'GETDEL', 'EVAL', 'PUBLISH', 'NOSUCH'].includes(name)
        ? bulk(`${name} ${node === master ? 'master' : 'replica'}`)
        : 'pass'
  }
  const client = createClient({ sentinel: { name: 'm', sentinels: seeds }, readFrom: 'replica' })
  t.after(() => client.destroy())
  await client.ready()
  await eventually('the replica is well', () => client.topology?.replicas[0]?.healthy)
  const rows: [string, string][] = [
    ['GET', 'replica'],
    ['get', 'replica'],
    ['MGET', 'replica'],
    ['EVAL_RO', 'replica'],
    ['SET', 'master'],
    ['GETDEL', 'master'],
    ['EVAL', 'master'],
    ['PUBLISH', 'master'],
    ['NOSUCH', 'master'],
  ]
  for (const [name, where] of rows) {
    assert.equal(await client.call(name, 'k'), `${name} ${where}`)
    assert.equal(await client.with({ readFrom: 'master' }).call(name, 'k'), `${name} master`)
  }
})

test('a command that changes the state of its connection is refused at once, by its name', async (t) => {
  const node = await new ScriptedNode().listen(t)
  const client = clientOf(t, node)
  const rows: [string, ...string[]][] = [
    ['MULTI'],
    ['WATCH', 'k'],
    ['SUBSCRIBE', 'c'],
    ['UNSUBSCRIBE'],
    ['SELECT', '1'],
    ['AUTH', 'p'],
    ['HELLO', '3'],
    ['RESET'],
    ['QUIT'],
    ['MONITOR'],
    ['CLIENT', 'SETNAME', 'n'],
    ['CLIENT', 'REPLY', 'OFF'],
    ['CLIENT', 'TRACKING', 'ON'],
  ]
  for (const [name, ...args] of rows) {
    const expected = name === 'CLIENT' ? `${name} ${args[0]}` : name
    for (const call of [
      () => client.call(name, ...args),
      () => client.with({}).call(name.toLowerCase(), ...args),
    ]) {
      assert.throws(
        () => void call(),
        (error) => error instanceof TypeError && error.message.startsWith(`${expected} changes the state`),
      )
    }
  }
  assert.throws(() => void client.call('GET', {} as never), TypeError)
  assert.throws(() => void client.call('' as string, undefined as never), TypeError)
  await settled()
  assert.equal(node.server.peers.length, 0)
})

test('a blocking command has a connection of its own, so that others do not wait for it', async (t) => {
  const node = await new ScriptedNode().listen(t)
  let answer = (): void => assert.fail('there is nothing to answer')
  node.intercept = (command, peer) => {
    if (command[0] !== 'BLPOP') return 'pass'
    answer = () => peer.send('*2\r\n$1\r\nq\r\n$1\r\nx\r\n')
    return undefined
  }
  const client = clientOf(t, node)
  const popped = client.call('BLPOP', 'q', 0)
  await eventually('it blocks', () => node.count('BLPOP') === 1)
  assert.equal(await client.call('INCR', 'n'), 1)
  answer()
  assert.deepEqual(await popped, ['q', 'x'])
  assert.equal(node.server.peers.length, 2)
  const again = client.call('BLPOP', 'q', 0)
  await eventually('it blocks again', () => node.count('BLPOP') === 2)
  answer()
  await again
  assert.equal(node.server.peers.length, 2, 'the connection was kept')
  const { pool } = client.stats().master ?? {}
  assert.deepEqual([pool?.activeCount, pool?.idleCount], [1, 1])
})

test('a blocking command is given its own time and a margin, however long it waits for a connection', async (t) => {
  const node = await new ScriptedNode().listen(t)
  node.intercept = (command) => (command[0] === 'BLPOP' ? undefined : 'pass')
  const client = clientOf(t, node, { pool: { maxActive: 1, wait: true }, commandTimeout: 100 })
  const start = performance.now()
  const first = failure(client.call('BLPOP', 'q', 0.2))
  // the only connection is taken
  const second = failure(client.with({ timeout: 50 }).call('BLPOP', 'q', 0))
  assert.equal((await second).code, 'COMMAND_TIMEOUT')
  assert.equal((await second).mayHaveExecuted, false)
  assert.ok(performance.now() - start < 250)
  const error = await first
  const ms = performance.now() - start
  assert.ok(error instanceof TimeoutError)
  assert.equal(error.timeout, 300)
  assert.equal(error.mayHaveExecuted, true)
  assert.ok(ms >= 295 && ms < 1_500, `${ms} ms`)
  assert.equal(node.count('BLPOP'), 1)
})

test('a blocking command that may wait for ever looks for a server no longer than others', async (t) => {
  const [port = 0] = await freePorts(1)
  const client = createClient({ port, commandTimeout: 150 })
  t.after(() => client.destroy())
  const start = performance.now()
  const error = await failure(client.call('BLPOP', 'q', 0))
  assert.equal(error.code, 'COMMAND_TIMEOUT')
  assert.match(error.message, /ECONNREFUSED/)
  assert.ok(performance.now() - start < 1_500)
})

test('a signal ends a blocking command, wherever it waits, and its connection', async (t) => {
  const node = await new ScriptedNode().listen(t)
  node.intercept = (command) => (command[0] === 'BLPOP' ? undefined : 'pass')
  const client = clientOf(t, node, { pool: { maxActive: 1, wait: true } })
  const [first, second] = [new AbortController(), new AbortController()]
  const blocked = failure(client.with({ signal: first.signal }).call('BLPOP', 'q', 0))
  const waiting = failure(client.with({ signal: second.signal }).call('BLPOP', 'q', 0))
  await eventually('it blocks', () => node.count('BLPOP') === 1)
  second.abort()
  assert.ok((await waiting) instanceof AbortError)
  assert.equal((await waiting).mayHaveExecuted, false)
  first.abort()
  assert.ok((await blocked) instanceof AbortError)
  assert.equal((await blocked).mayHaveExecuted, true)
  await node.server.until(() => node.server.openCount === 0)
  const aborted = await failure(client.with({ signal: first.signal }).call('BLPOP', 'q', 0))
  assert.ok(aborted instanceof AbortError)
})

test('a write whose connection was cut after it was sent runs once, and its error says that it may have', async (t) => {
  const node = await new ScriptedNode().listen(t)
  // it runs, and the reply does not get through
  let runs = 0
  node.intercept = (command, peer) => {
    if (command[0] !== 'INCR') return 'pass'
    runs += 1
    peer.reset()
    return undefined
  }
  const client = clientOf(t, node)
  const outcomes = await Promise.all([1, 2, 3].map(() => failure(client.call('INCR', 'n'))))
  for (const error of outcomes) {
    assert.ok(error instanceof ConnectionError)
    assert.equal(error.code, 'CONNECTION_LOST')
    assert.equal(error.mayHaveExecuted, true)
  }
  await sleep(150)
  assert.ok(runs >= 1 && runs <= 3, `${runs} runs of 3 commands`)
  const before = runs
  assert.equal((await failure(client.call('INCR', 'n'))).mayHaveExecuted, true)
  await sleep(150)
  assert.equal(runs, before + 1)
})

test('a blocking write that was cut off is not sent again', async (t) => {
  const node = await new ScriptedNode().listen(t)
  node.intercept = atFirst('BLPOP', 1, cut)
  const client = clientOf(t, node)
  const outcome = await failure(client.call('BLPOP', 'q', 1))
  assert.equal(outcome.code, 'CONNECTION_LOST')
  assert.equal(outcome.mayHaveExecuted, true)
  assert.equal(node.count('BLPOP'), 1)
})

test('a read, or what the caller calls idempotent, is tried again after a loss', async (t) => {
  const node = await new ScriptedNode().listen(t)
  const client = clientOf(t, node)
  node.intercept = atFirst('GET', 2, cut)
  assert.equal(await client.call('GET', 'k'), `k of ${node.address}`)
  assert.equal(node.count('GET'), 3)
  node.intercept = atFirst('SET', 2, cut)
  assert.equal(await client.with({ idempotent: true }).call('SET', 'k', 'v'), 'OK')
  assert.equal(node.count('SET'), 3)
  node.intercept = atFirst('XREAD', 1, cut)
  const xread = client.with({ timeout: 200 }).call('XREAD', 'BLOCK', 1, 'STREAMS', 's', '$')
  assert.equal((await failure(xread)).code, 'COMMAND_TIMEOUT')
  assert.equal(node.count('XREAD'), 2, 'a blocking read too')
})

test('what was not sent is tried again, whatever it does', async (t) => {
  const [port = 0] = await freePorts(1)
  const client = createClient({ port, pingInterval: 0 })
  t.after(() => client.destroy())
  const replies = [client.call('INCR', 'n'), client.call('BLPOP', 'q', 1)]
  await sleep(80)
  const node = new ScriptedNode()
  node.intercept = (command) => (command[0] === 'BLPOP' ? bulk('x') : 'pass')
  await node.listen(t, port)
  assert.deepEqual(await Promise.all(replies), [1, 'x'])
  assert.equal(node.value('n'), 1)
})

test('what was refused is tried again until it is taken', async (t) => {
  const node = await new ScriptedNode().listen(t)
  const client = clientOf(t, node)
  for (const refusal of [
    'LOADING reading',
    'READONLY a replica',
    'NOREPLICAS none',
    'BUSY a script',
    'MASTERDOWN',
  ]) {
    const before = node.value('n')
    node.intercept = atFirst('INCR', 2, () => error(refusal))
    assert.equal(await client.call('INCR', 'n'), before + 1, refusal)
  }
  node.intercept = atFirst('BLPOP', 1, () => error('LOADING reading'))
  const start = performance.now()
  await failure(client.with({ timeout: 100 }).call('BLPOP', 'q', 0.1))
  assert.equal(node.count('BLPOP'), 2)
  assert.ok(performance.now() - start < 2_000)
})

test('an error reply that is an answer is given at once', async (t) => {
  const node = await new ScriptedNode().listen(t)
  node.intercept = (command) =>
    command[0] === 'INCR' ? error('ERR value is not an integer or out of range') : 'pass'
  const client = clientOf(t, node)
  const answer = await failure(client.call('INCR', 'n'))
  assert.ok(answer instanceof ReplyError)
  assert.equal(answer.mayHaveExecuted, false)
  assert.equal(node.count('INCR'), 1)
})

test('all attempts share one deadline, and the error has the reason of the last', async (t) => {
  const node = await new ScriptedNode().listen(t)
  node.intercept = (command) => (command[0] === 'INCR' ? error('LOADING reading') : 'pass')
  const client = clientOf(t, node)
  const start = performance.now()
  const late = await failure(client.with({ timeout: 200 }).call('INCR', 'n'))
  const ms = performance.now() - start
  assert.ok(late instanceof TimeoutError)
  assert.equal(late.timeout, 200)
  assert.equal(late.mayHaveExecuted, false)
  assert.match(late.message, /not done within 200 ms: LOADING/)
  assert.ok(late.cause instanceof ReplyError)
  assert.ok(ms >= 190 && ms < 600, `${ms} ms`)
  assert.ok(node.count('INCR') >= 2 && node.count('INCR') <= 6, `${node.count('INCR')} attempts`)
})

test('the deadline begins with the call, not with the second attempt', async (t) => {
  const node = await new ScriptedNode().listen(t)
  let attempts = 0
  node.intercept = (command, peer) => {
    if (command[0] !== 'GET') return 'pass'
    attempts += 1
    if (attempts === 1) setTimeout(() => peer.reset(), 300)
    return undefined
  }
  const client = clientOf(t, node)
  await client.ready()
  const start = performance.now()
  const late = await failure(client.with({ timeout: 400 }).call('GET', 'k'))
  const ms = performance.now() - start
  assert.ok(late instanceof TimeoutError)
  assert.equal(late.timeout, 400)
  assert.equal(attempts, 2)
  assert.ok(ms >= 390 && ms < 600, `${ms} ms`)
})

test('once an outcome was unknown, it stays so, whatever becomes of the next attempts', async (t) => {
  /** How an idempotent SET ends that is cut off at first; then the node goes on as told. */
  const ending = async (next: ScriptedNode['intercept'], signal?: AbortSignal): Promise<RespoolError> => {
    const node = await new ScriptedNode().listen(t)
    const client = clientOf(t, node)
    await client.ready()
    node.intercept = (command, peer) => {
      if (command[0] !== 'SET') return 'pass'
      node.intercept = next
      peer.reset()
      return undefined
    }
    const outcome = await failure(
      client.with({ idempotent: true, timeout: 200, signal }).call('SET', 'k', 'v'),
    )
    assert.equal(outcome.mayHaveExecuted, true)
    return outcome
  }
  const answer = (name: string, text: string) => (command: readonly string[]) =>
    command[0] === name ? error(text) : 'pass'

  const refused = await ending(answer('SET', 'LOADING reading'))
  assert.ok(refused instanceof TimeoutError)
  assert.equal(refused.timeout, 200)
  assert.match(refused.message, /not done within 200 ms: LOADING/)

  const away = await ending(answer('HELLO', 'LOADING reading'))
  assert.ok(away instanceof TimeoutError)
  assert.equal(away.timeout, 200)
  assert.match(away.message, /no connection to/)

  const abort = new AbortController()
  let again = 0
  const aborted = await ending((command) => {
    if (command[0] !== 'SET') return 'pass'
    again += 1
    if (again === 2) abort.abort()
    return error('LOADING reading')
  }, abort.signal)
  assert.ok(aborted instanceof AbortError)

  const lockedOut = await ending(answer('HELLO', 'WRONGPASS no longer'))
  assert.ok(lockedOut instanceof ConnectionError)
  assert.equal(lockedOut.code, 'CONNECTION_LOST')
  assert.match(lockedOut.message, /; tried again, but: the server refused HELLO: WRONGPASS/)
  assert.equal((lockedOut.cause as RespoolError).code, 'HANDSHAKE_FAILED')

  // an answer is an answer, though: this time it certainly ran, or certainly did not
  const node = await new ScriptedNode().listen(t)
  const client = clientOf(t, node)
  node.intercept = (command, peer) => {
    if (command[0] !== 'SET') return 'pass'
    node.intercept = answer('SET', 'WRONGTYPE no')
    peer.reset()
    return undefined
  }
  assert.ok((await failure(client.with({ idempotent: true }).call('SET', 'k', 'v'))) instanceof ReplyError)
})

test('a signal ends a command that waits, and one that is in flight', async (t) => {
  const node = await new ScriptedNode().listen(t)
  node.intercept = (command) => (command[0] === 'GET' ? error('LOADING reading') : 'pass')
  const client = clientOf(t, node)
  const reason = new Error('enough')
  const begin = (name: string) => {
    const abort = new AbortController()
    const outcome = failure(client.with({ signal: abort.signal }).call(name, 'k'))
    return { abort, outcome }
  }
  const retried = begin('GET')
  await eventually('it is tried again', () => node.count('GET') >= 2)
  retried.abort.abort(reason)
  node.intercept = (command) => (command[0] === 'INCR' ? undefined : 'pass')
  const inFlight = begin('INCR')
  await eventually('it is sent', () => node.count('INCR') === 1)
  inFlight.abort.abort(reason)
  for (const { outcome } of [retried, inFlight]) {
    const ended = await outcome
    assert.ok(ended instanceof AbortError)
    assert.equal(ended.cause, reason)
  }
  assert.equal((await inFlight.outcome).mayHaveExecuted, true)
  const before = node.server.commands.length
  const late = client.with({ signal: inFlight.abort.signal }).call('INCR', 'k')
  assert.ok((await failure(late)) instanceof AbortError)
  assert.equal(node.server.commands.length, before)
})

test('bytes are the caller’s again after the call: no attempt sees what becomes of them', async (t) => {
  const node = await new ScriptedNode().listen(t)
  const client = clientOf(t, node)
  const call = (name: string, ...args: (string | number)[]) => {
    const bytes = Buffer.from('before')
    const reply = client.with({ idempotent: true }).call(name, 'k', bytes, ...args)
    bytes.fill('x')
    return reply
  }
  const held = call('SET') // while the connection is made
  await held
  node.intercept = atFirst('SET', 2, cut)
  await call('SET') // over the shared connection, and again
  node.intercept = (command) => (command[0] === 'BLMPOP' ? bulk('ok') : 'pass')
  const view = new Uint8Array(Buffer.from('before'))
  const blocking = client.call('BLMPOP', 1, 1, view, 'LEFT')
  view.fill(0)
  await blocking
  const sent = node.server.commands.filter(([name]) => name === 'SET' || name === 'BLMPOP')
  assert.equal(sent.length, 5)
  for (const command of sent) assert.equal(command[0] === 'SET' ? command[2] : command[3], 'before')
})

test('what waits for a master is bounded, in commands and in bytes', async (t) => {
  const { sentinels, seeds } = await scriptedDeployment(t, { sentinels: 1 })
  for (const sentinel of sentinels) sentinel.isSilent = true
  const client = createClient({
    sentinel: { name: 'm', sentinels: seeds },
    maxHeld: 3,
    maxHeldBytes: 100,
    commandTimeout: 5_000,
  })
  t.after(() => client.destroy())
  const held = [client.call('SET', 'k', Buffer.alloc(40)), client.call('INCR', 12_345_678n as never)]
  assert.equal((await failure(client.call('SET', 'k', 'v'.repeat(60)))).code, 'QUEUE_FULL')
  held.push(client.call('INCR', 'n'))
  const full = await failure(client.call('GET', 'k'))
  assert.equal(full.code, 'QUEUE_FULL')
  assert.match(full.message, /3 commands of .*the limits are 3 and 100 bytes/)
  assert.equal(full.mayHaveExecuted, false)
  client.destroy()
  for (const reply of held) assert.equal((await failure(reply)).code, 'CLIENT_CLOSED')
})

test('a failover moves what was not sent to the new master, in order', async (t) => {
  const deployment = await scriptedDeployment(t)
  const { master, replicas, seeds, sentinels, say } = deployment
  const [heir] = replicas
  assert.ok(heir)
  const client = createClient({ sentinel: { name: 'm', sentinels: seeds }, pingInterval: 0 })
  t.after(() => client.destroy())
  await client.call('INCR', 'n')
  await eventually('listened to', () => sentinels.every(({ subscriberCount }) => subscriberCount === 1))
  await master.server.close()
  await eventually('the loss is noticed', () => client.stats().master?.connected === false)
  const replies = Array.from({ length: 20 }, (_, i) => client.call('SET', `k${i}`, 'v'))
  await sleep(30)
  heir.role = masterRole()
  say({ master: heir.address, epoch: 2, replicas: [] })
  sentinels[0]?.publish(
    '+switch-master',
    `m ${master.address.replace(':', ' ')} ${heir.address.replace(':', ' ')}`,
  )
  assert.deepEqual(await Promise.all(replies), new Array(20).fill('OK'))
  const sent = heir.server.commands.flatMap(([name, key]) => (name === 'SET' ? [key] : []))
  assert.deepEqual(
    sent,
    Array.from({ length: 20 }, (_, i) => `k${i}`),
  )
})

test('what waited at the old master leaves before what waited for a new one, and both before what comes then', async (t) => {
  const deployment = await scriptedDeployment(t)
  const { master, replicas, seeds, sentinels, say } = deployment
  const [heir] = replicas
  assert.ok(heir)
  const client = createClient({ sentinel: { name: 'm', sentinels: seeds }, pingInterval: 0 })
  t.after(() => client.destroy())
  await client.call('INCR', 'n')
  await eventually('listened to', () => sentinels.every(({ subscriberCount }) => subscriberCount === 1))
  await master.server.close()
  await eventually('the loss is noticed', () => client.stats().master?.connected === false)
  const replies: Promise<unknown>[] = []
  const give = (count: number) => {
    for (let i = 0; i < count; i += 1) replies.push(client.call('SET', `k${replies.length}`, 'v'))
  }
  give(5)
  assert.equal(client.stats().master?.held, 5)
  for (const sentinel of sentinels) {
    sentinel.publish(
      '+switch-master',
      `m ${master.address.replace(':', ' ')} ${heir.address.replace(':', ' ')}`,
    )
  }
  await eventually('it is waited for', () => client.topology?.holding)
  give(5)
  client.once('switch', () => give(5))
  heir.role = masterRole()
  say({ master: heir.address, epoch: 2, replicas: [] })
  await eventually('it has switched', () => client.topology?.master === heir.address)
  await eventually('all are given', () => replies.length === 15)
  assert.deepEqual(await Promise.all(replies), new Array(15).fill('OK'))
  const sent = heir.server.commands.flatMap(([name, key]) => (name === 'SET' ? [key] : []))
  assert.deepEqual(
    sent,
    Array.from({ length: 15 }, (_, i) => `k${i}`),
  )
})

test('a blocking command waits while its server is suspect, within its deadline', async (t) => {
  const node = await new ScriptedNode().listen(t)
  const client = clientOf(t, node, { suspectAfter: 50, commandTimeout: 5_000 })
  await client.ready()
  let isHung = true
  node.intercept = ([name = '']) => (isHung ? undefined : name === 'BLPOP' ? bulk('popped') : 'pass')
  client.call('GET', 'k').catch(() => undefined)
  await eventually('it is suspect', () => client.stats().master?.suspect)
  const late = await failure(client.with({ timeout: 30 }).call('BLPOP', 'k', 1))
  assert.ok(late instanceof TimeoutError, String(late))
  assert.equal(late.mayHaveExecuted, false)
  const popped = client.call('BLPOP', 'k', 1)
  await settled()
  assert.ok(!node.server.commands.some(([name]) => name === 'BLPOP'))
  isHung = false
  assert.equal(await popped, 'popped')
})

test('a function for readFrom that throws when a read is let go fails the read', async (t) => {
  const { seeds, master } = await scriptedDeployment(t)
  let calls = 0
  const client = createClient({
    sentinel: { name: 'm', sentinels: seeds },
    pingInterval: 0,
    readFrom: () => {
      calls += 1
      if (calls > 1) throw new Error('no idea')
      return undefined
    },
  })
  t.after(() => client.destroy())
  await assert.rejects(client.call('GET', 'k'), TypeError)
  assert.equal(calls, 2)
  assert.equal(client.stats().working, 0)
  assert.equal(await client.call('SET', 'k', 'v'), 'OK')
  assert.ok(!master.server.commands.some(([name]) => name === 'GET'))
})
