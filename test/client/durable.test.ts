// Writes that are done when enough replicas have them: what is sent, what its answers mean, and how long it takes.

import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { inspect } from 'node:util'
import { type Client, type ClientOptions, type CommandOptions, createClient } from '../../lib/client/index.ts'
import { DurabilityError, ReplyError, TimeoutError } from '../../lib/errors.ts'
import { ScriptedNode } from '../sentinel/scripted-deployment.ts'
import { failure } from '../support/clients.ts'
import { eventually } from '../support/real-servers.ts'
import { error, integer } from '../support/resp-writer.ts'
import type { Peer } from '../support/scripted-server.ts'

interface Setting {
  readonly node: ScriptedNode
  readonly client: Client
}

/** A server that answers WAIT like that. */
async function setting(
  t: TestContext,
  wait: (peer: Peer, arrivals: number) => Buffer | undefined,
  options: ClientOptions = {},
): Promise<Setting> {
  const node = await new ScriptedNode().listen(t)
  node.intercept = ([name], peer) => (name === 'WAIT' ? wait(peer, node.count('WAIT')) : 'pass')
  const client = createClient({ port: node.port, pingInterval: 0, ...options })
  t.after(() => client.destroy())
  return { node, client }
}

async function notDurable(reply: Promise<unknown>): Promise<DurabilityError> {
  const outcome = await failure(reply)
  assert.ok(outcome instanceof DurabilityError, String(outcome))
  assert.equal(outcome.code, 'NOT_DURABLE')
  assert.equal(outcome.mayHaveExecuted, true)
  return outcome
}

/** The commands of each connection, without those of the handshake. */
function traffic({ server }: ScriptedNode): string[][] {
  return server.peers.map(({ commands }) =>
    commands.map(([name = '']) => name).filter((name) => !['HELLO', 'CLIENT'].includes(name)),
  )
}

test('the write and its WAIT leave in one piece, over a connection of their own', async (t) => {
  const { node, client } = await setting(t, () => integer(2))
  await client.ready()
  const durable = client.with({ durable: 2, timeout: 1_000 })
  assert.equal(await durable.call('INCR', 'n'), 1)
  const chunks: string[] = []
  node.server.peers[1]?.socket.on('data', (bytes: Buffer) => chunks.push(bytes.toString('latin1')))
  assert.equal(await durable.call('INCR', 'n'), 2)
  assert.deepEqual(traffic(node), [['PING'], ['INCR', 'WAIT', 'INCR', 'WAIT']])
  assert.equal(chunks.length, 1)
  const { pool } = client.stats().master ?? {}
  assert.deepEqual([pool?.activeCount, pool?.idleCount], [1, 1], 'it came back')
})

test('WAIT is told less than what is left of the timeout, and never 0, which is for ever', async (t) => {
  const { node, client } = await setting(t, () => integer(1))
  for (const [timeout, low, high] of [
    [5_000, 4_000, 4_800],
    [200, 50, 100],
    [20, 1, 10],
    [1, 1, 1],
  ] as const) {
    await client.ready()
    const before = node.count('WAIT')
    // the shortest may be over before there is a connection
    const reply = client.with({ durable: 1, timeout }).call('INCR', 'n')
    if (timeout > 1) await reply
    else await reply.catch(() => undefined)
    const asked = node.server.commands.filter(([name]) => name === 'WAIT').slice(before)
    for (const [, wanted, ms] of asked) {
      assert.equal(wanted, '1')
      assert.ok(Number(ms) >= low && Number(ms) <= high, `timeout ${timeout}: WAIT 1 ${ms}`)
    }
    assert.ok(asked.length === 1 || timeout === 1)
  }
})

test('too few replicas are an error with the figures and with what the write answered', async (t) => {
  const { node, client } = await setting(t, () => integer(1))
  const thrown = await notDurable(client.with({ durable: 3 }).call('INCR', 'n'))
  assert.deepEqual([thrown.acknowledged, thrown.wanted, thrown.reply, thrown.cause], [1, 3, 1, undefined])
  assert.equal(thrown.message, '3 replicas were to acknowledge the write in time, 1 did; it was executed')
  assert.equal(node.value('n'), 1)
  assert.equal(node.count('WAIT'), 1, 'it is not tried again')
})

test('what a write answered may be data, and no log shows it', async (t) => {
  const { node, client } = await setting(t, () => integer(0))
  const { intercept } = node
  node.intercept = (command, peer) =>
    command[0] === 'GETDEL' ? '$6\r\nsecret\r\n' : intercept(command, peer)
  const thrown = await notDurable(client.with({ durable: 1 }).call('GETDEL', 'k'))
  assert.equal(thrown.reply, 'secret')
  assert.doesNotMatch(inspect(thrown, { depth: 5 }), /secret/)
  assert.doesNotMatch(JSON.stringify(thrown), /secret/)
})

test('more replicas than were asked for are enough', async (t) => {
  const { client } = await setting(t, () => integer(5))
  assert.equal(await client.with({ durable: 1 }).call('SET', 'k', 'v'), 'OK')
})

test('a WAIT that is refused leaves the write as it was: executed, and not known to be durable', async (t) => {
  for (const refusal of [
    "NOPERM this user has no permissions to run the 'wait' command",
    'UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)',
    'READONLY', // of the kinds that let a command be tried again, if it were the command that was refused
    'LOADING',
  ]) {
    const { node, client } = await setting(t, () => error(refusal))
    const thrown = await notDurable(client.with({ durable: 1, idempotent: true }).call('INCR', 'n'))
    assert.deepEqual([thrown.acknowledged, thrown.reply], [undefined, 1])
    assert.ok(thrown.cause instanceof ReplyError)
    assert.equal(thrown.cause.message, refusal)
    assert.equal(node.value('n'), 1, refusal)
  }
})

test('a WAIT that is not answered ends with the timeout, and its connection with it', async (t) => {
  const { node, client } = await setting(t, () => undefined)
  const start = performance.now()
  const thrown = await notDurable(client.with({ durable: 1, timeout: 100 }).call('INCR', 'n'))
  const ms = performance.now() - start
  assert.ok(ms >= 95 && ms < 1_500, `${ms} ms`)
  assert.deepEqual([thrown.acknowledged, thrown.reply], [undefined, 1])
  assert.ok(thrown.cause instanceof TimeoutError)
  assert.equal(client.stats().master?.pool.activeCount, 0)
  await node.server.until(() => node.server.openCount === 0)
})

test('a write that nobody answers is one whose outcome is unknown', async (t) => {
  const { node, client } = await setting(t, () => undefined)
  node.intercept = ([name]) => (name === 'INCR' || name === 'WAIT' ? undefined : 'pass')
  const thrown = await failure(client.with({ durable: 1, timeout: 50 }).call('INCR', 'n'))
  assert.ok(thrown instanceof TimeoutError)
  assert.deepEqual([thrown.mayHaveExecuted, thrown.timeout], [true, 50])
})

test('a write whose connection is lost before WAIT’s answer runs once, unless it is idempotent', async (t) => {
  const wait = (peer: Peer, arrivals: number) => {
    if (arrivals > 1) return integer(1)
    setImmediate(() => peer.reset()) // behind the reply to the write
    return undefined
  }
  const once = await setting(t, wait)
  const thrown = await failure(once.client.with({ durable: 1 }).call('INCR', 'n'))
  assert.deepEqual([thrown.code, thrown.mayHaveExecuted], ['CONNECTION_LOST', true])
  assert.equal(once.node.value('n'), 1)
  const again = await setting(t, wait)
  assert.equal(await again.client.with({ durable: 1, idempotent: true }).call('INCR', 'n'), 2)
})

test('a write that is answered by an error is over, whatever WAIT says', async (t) => {
  const { node, client } = await setting(t, () => integer(0))
  const { intercept } = node
  node.intercept = (command, peer) => (command[0] === 'HSET' ? error('WRONGTYPE') : intercept(command, peer))
  await assert.rejects(client.with({ durable: 1 }).call('HSET', 'k', 'f', 'v'), { prefix: 'WRONGTYPE' })
})

test('a write that was refused, or not sent, is tried again as ever', async (t) => {
  const { node, client } = await setting(t, () => integer(1))
  const { intercept } = node
  let refusals = 2
  node.intercept = (command, peer) => {
    if (command[0] !== 'INCR' || refusals === 0) return intercept(command, peer)
    refusals -= 1
    return error('NOREPLICAS Not enough good replicas to write.')
  }
  assert.equal(await client.with({ durable: 1 }).call('INCR', 'n'), 1)
  assert.equal(node.count('INCR'), 3)
})

test('a signal ends it: the write may have run', async (t) => {
  const { node, client } = await setting(t, () => undefined)
  const abort = new AbortController()
  const reply = failure(client.with({ durable: 1, signal: abort.signal }).call('INCR', 'n'))
  await eventually('it waits', () => node.count('WAIT') === 1)
  abort.abort()
  const thrown = await reply
  assert.deepEqual([thrown.code, thrown.mayHaveExecuted], ['ABORT_ERR', true])
})

test('durable writes take no more connections than the pool has', async (t) => {
  const { node, client } = await setting(t, () => integer(1), { pool: { maxActive: 2, wait: true } })
  const durable = client.with({ durable: 1 })
  const values = await Promise.all(Array.from({ length: 10 }, () => durable.call('INCR', 'n')))
  assert.deepEqual(
    values.map(Number).sort((a, b) => a - b),
    [1, 2, 3, 4, 5, 6, 7, 8, 9, 10],
  )
  assert.equal(node.server.peers.length, 2)
})

test('reads are as ever; what blocks, or changes its connection, is refused', async (t) => {
  const { node, client } = await setting(t, () => integer(0))
  const durable = client.with({ durable: 1 })
  assert.equal(await durable.call('GET', 'k'), `k of ${node.address}`)
  assert.deepEqual(traffic(node), [['GET']])
  assert.throws(
    () => void durable.call('BLPOP', 'q', 0),
    /^TypeError: BLPOP blocks: option durable is not for it$/,
  )
  assert.throws(() => void durable.call('WAIT', 1, 0), TypeError)
  assert.throws(() => void durable.call('MULTI'), TypeError)
  await assert.doesNotReject(client.call('SET', 'k', 'v'), 'the client is as it was')
})

test('a durable write of a session brings its token, also when too few replicas have it', async (t) => {
  const { node, client } = await setting(t, (_, arrivals) => integer(arrivals === 1 ? 1 : 0))
  const session = client.session()
  const durable = session.with({ durable: 1 })
  await durable.call('INCR', 'n')
  assert.deepEqual(traffic(node), [['INCR', 'WAIT', 'ROLE']])
  assert.match(String(session.token), /^1\.10\./)
  await notDurable(durable.call('INCR', 'n'))
  assert.match(String(session.token), /^1\.10\./)
})

test('a wrong number of replicas is told at once', async (t) => {
  const { client } = await setting(t, () => integer(0))
  const rows: [unknown, kind: typeof TypeError, message: RegExp][] = [
    [{ durable: 0 }, RangeError, /option durable must be an integer from 1 to 2147483647, got 0/],
    [{ durable: -1 }, RangeError, /got -1/],
    [{ durable: 1.5 }, RangeError, /got 1\.5/],
    [{ durable: Number.NaN }, RangeError, /got NaN/],
    [{ durable: 2 ** 31 }, RangeError, /got 2147483648/],
    [{ durable: '1' }, TypeError, /option durable must be a number of replicas, got string/],
    [{ durable: true }, TypeError, /got boolean/],
    [{ durable: null }, TypeError, /got object/],
    [{ durable: 1, timeout: 0 }, RangeError, /option durable needs a timeout above 0, got 0/],
  ]
  for (const [options, kind, message] of rows) {
    assert.throws(
      () => client.with(options as CommandOptions),
      (thrown) => thrown instanceof kind && message.test(thrown.message),
      `${JSON.stringify(options)} ${message}`,
    )
  }
  assert.throws(() => client.with({ durable: 1 }).with({ timeout: 0 }), RangeError)
  assert.equal(await client.with({ durable: undefined }).call('INCR', 'n'), 1)
})
