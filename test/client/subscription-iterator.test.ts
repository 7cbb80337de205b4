// Messages at the consumer's pace: order, bounds, gaps at their places, and all the ways in which it ends.

import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import type { Client } from '../../lib/client/index.ts'
import type { SubscriptionIterator } from '../../lib/client/subscription-iterator.ts'
import type { Overflow } from '../../lib/client/subscription-options.ts'
import type { Message } from '../../lib/client/subscription-queue.ts'
import { outcome } from '../support/counted-pool.ts'
import { eventually } from '../support/real-servers.ts'
import { ScriptedPubSub } from './scripted-pubsub.ts'

interface Scene {
  readonly node: ScriptedPubSub
  readonly client: Client
}

async function scene(t: TestContext): Promise<Scene> {
  const node = await new ScriptedPubSub().listen(t)
  return { node, client: node.client(t) }
}

/** Publishes all, and returns when all have come as far as the buffer. */
async function publish(node: ScriptedPubSub, client: Client, payloads: readonly string[]): Promise<void> {
  let isThere = false
  const last = await client.subscribe('last', () => {
    isThere = true
  })
  for (const payload of payloads) node.publish('a', payload)
  node.publish('last', '')
  await eventually('all came', () => isThere)
  await last.close()
}

async function payloads(iterator: SubscriptionIterator, count: number): Promise<string[]> {
  const taken: string[] = []
  while (taken.length < count) {
    const { value } = await iterator.next()
    taken.push(value?.message ?? 'end')
  }
  return taken
}

test('a loop gets channel, message and pattern, in order, and its end closes the subscription', async (t) => {
  const { node, client } = await scene(t)
  const got: Message[] = []
  const iterator = client.subscription(['a', 'b'])
  await iterator.ready()
  node.publish('a', '1')
  node.publish('b', '2')
  for await (const event of iterator) {
    got.push(event)
    if (event.message === '1') node.publish('a', '3')
    if (event.message === '3') break
  }
  assert.deepEqual(got, [
    { channel: 'a', message: '1', pattern: undefined },
    { channel: 'b', message: '2', pattern: undefined },
    { channel: 'a', message: '3', pattern: undefined },
  ])
  assert.deepEqual([node.count('a'), node.count('b')], [0, 0])
  assert.deepEqual(await iterator.next(), { done: true, value: undefined })

  await using byPattern = client.psubscription('a*', { replies: 'buffer' })
  await byPattern.ready()
  node.publish('ab', 'x')
  assert.deepEqual(await byPattern.next(), {
    done: false,
    value: { channel: 'ab', message: Buffer.from('x'), pattern: 'a*' },
  })
  await using shard = client.ssubscription('s')
  await shard.ready()
  assert.equal(node.count('s', 'ssubscribe'), 1)
})

test('nothing is subscribed before the first next() or ready(), and then once', async (t) => {
  const { node, client } = await scene(t)
  const iterator = client.subscription('a')
  await new Promise(setImmediate)
  assert.deepEqual(node.asked(), [])
  const next = iterator.next()
  await Promise.all([iterator.ready(), iterator.ready()])
  node.publish('a', '1')
  assert.equal((await next).value?.message, '1')
  assert.deepEqual(node.asked(), ['SUBSCRIBE a'])
  await client.subscription('b').return()
  assert.deepEqual(node.asked(), ['SUBSCRIBE a'], 'one that is never begun asks nothing')
})

test('several calls of next() get one message each, in order, and all of them the end', async (t) => {
  const { node, client } = await scene(t)
  const iterator = client.subscription('a')
  const nexts = [iterator.next(), iterator.next(), iterator.next(), iterator.next()]
  await iterator.ready()
  node.publish('a', '1')
  node.publish('a', '2')
  assert.equal((await nexts[0])?.value?.message, '1')
  assert.equal((await nexts[1])?.value?.message, '2')
  assert.equal(await outcome(nexts[2] as Promise<unknown>), 'pending')
  await iterator.close()
  assert.deepEqual(await Promise.all(nexts.slice(2)), Array(2).fill({ done: true, value: undefined }))
})

test('a consumer that is slow loses what its policy says, and is told how much', async (t) => {
  const sent = Array.from({ length: 10 }, (_, i) => String(i))
  const rows: [Overflow | undefined, expected: string[]][] = [
    [undefined, ['7', '8', '9']],
    ['drop-oldest', ['7', '8', '9']],
    ['drop-newest', ['0', '1', '2']],
  ]
  for (const [overflow, expected] of rows) {
    const { node, client } = await scene(t)
    const iterator = client.subscription('a', { limit: 3, overflow })
    await iterator.ready()
    await publish(node, client, sent)
    assert.deepEqual([iterator.buffered, iterator.dropped], [3, 7], overflow)
    assert.deepEqual(await payloads(iterator, 3), expected, overflow)
    await publish(node, client, ['10'])
    assert.deepEqual(await payloads(iterator, 1), ['10'])
    assert.equal(iterator.dropped, 7)
  }
})

test("with overflow 'close' it gets what was buffered, then the error, then nothing", async (t) => {
  const { node, client } = await scene(t)
  const iterator = client.subscription('a', { limit: 2, overflow: 'close' })
  await iterator.ready()
  await publish(node, client, ['1', '22', '3', '4'])
  await eventually('it is unsubscribed', () => node.count('a') === 0)
  assert.deepEqual(await payloads(iterator, 2), ['1', '22'])
  await assert.rejects(iterator.next(), {
    code: 'QUEUE_FULL',
    message: '2 messages of 3 bytes wait for their consumer; the limits are 2 and 67108864 bytes',
  })
  assert.deepEqual(await iterator.next(), { done: true, value: undefined })
})

test('the buffer is bounded in bytes as well; one message may be larger', async (t) => {
  const { node, client } = await scene(t)
  const iterator = client.subscription('a', { limitBytes: 10 })
  await iterator.ready()
  await publish(node, client, ['12345', '67890', 'a'])
  assert.deepEqual(await payloads(iterator, 2), ['67890', 'a'])
  await publish(node, client, ['b', 'x'.repeat(20)])
  assert.equal(iterator.buffered, 1)
  assert.deepEqual(await payloads(iterator, 1), ['x'.repeat(20)])
  assert.equal(iterator.dropped, 2)
})

test('gaps are told at their place: after what came before, or at once where the consumer waits', async (t) => {
  const { node, client } = await scene(t)
  const told: string[] = []
  const iterator = client.subscription('a', { onGap: ({ channels }) => told.push(`gap ${channels}`) })
  await iterator.ready()
  let events = 0
  client.on('gap', () => {
    events += 1
  })
  await publish(node, client, ['1', '2'])
  node.subscribers.at(-1)?.reset()
  await eventually('it is over', () => events === 1)
  await publish(node, client, ['3'])
  assert.deepEqual(told, [])
  assert.deepEqual(await payloads(iterator, 2), ['1', '2'])
  assert.deepEqual(told, [])
  assert.deepEqual(await payloads(iterator, 1), ['3'])
  assert.deepEqual(told, ['gap 1'])
  const next = iterator.next()
  node.subscribers.at(-1)?.reset()
  await eventually('it is told without a message', () => told.length === 2)
  node.publish('a', '4')
  assert.equal((await next).value?.message, '4')
})

test('what onGap throws ends the iteration', async (t) => {
  const { node, client } = await scene(t)
  const fault = new Error('the listener')
  for (const isWaiting of [true, false]) {
    const iterator = client.subscription('a', {
      onGap: () => {
        throw fault
      },
    })
    await iterator.ready()
    const waiting = isWaiting ? iterator.next() : undefined
    let isOver = false
    client.once('gap', () => {
      isOver = true
    })
    const failing = waiting && assert.rejects(waiting, (error) => error === fault)
    node.subscribers.at(-1)?.reset()
    if (!isWaiting) {
      await eventually('it is over', () => isOver)
      await assert.rejects(iterator.next(), (error) => error === fault)
    }
    await failing
    await eventually('it is unsubscribed', () => node.count('a') === 0)
  }
})

test('a signal ends it at once, whatever is buffered, and never later', async (t) => {
  const { node, client } = await scene(t)
  const abort = new AbortController()
  const iterator = client.subscription('a', { signal: abort.signal })
  await iterator.ready()
  await publish(node, client, ['1'])
  abort.abort(new Error('enough'))
  await assert.rejects(iterator.next(), (error: Error) => {
    assert.equal(error.name, 'AbortError')
    assert.equal((error.cause as Error).message, 'enough')
    return true
  })
  assert.deepEqual(await iterator.next(), { done: true, value: undefined })
  await eventually('it is unsubscribed', () => node.count('a') === 0)

  const again = new AbortController()
  const waiting = client.subscription('a', { signal: again.signal })
  const next = waiting.next()
  await waiting.ready()
  again.abort()
  await assert.rejects(next, { code: 'ABORT_ERR' })

  const late = client.subscription('a', { signal: again.signal })
  await assert.rejects(late.next(), { code: 'ABORT_ERR' })
  await assert.rejects(client.subscription('a', { signal: again.signal }).ready(), { code: 'ABORT_ERR' })
  assert.deepEqual(await late.next(), { done: true, value: undefined })
})

test('a subscription that is refused is told by the first next(), and by ready()', async (t) => {
  const { node, client } = await scene(t)
  node.forbidden.add('a')
  const iterator = client.subscription('a')
  await assert.rejects(iterator.next(), { prefix: 'NOPERM' })
  assert.deepEqual(await iterator.next(), { done: true, value: undefined })
  await assert.rejects(iterator.ready(), { prefix: 'NOPERM' }, 'the reason, however often it is asked')
  await assert.rejects(client.subscription('a').ready(), { prefix: 'NOPERM' })
  node.intercept = (command) => (command[0] === 'SUBSCRIBE' ? undefined : 'pass')
  await assert.rejects(client.subscription('b', { timeout: 20 }).next(), { code: 'COMMAND_TIMEOUT' })
  const unconfirmed = client.subscription('b')
  const ready = assert.rejects(unconfirmed.ready(), { code: 'CLIENT_CLOSED' })
  await unconfirmed.return()
  await ready
})

test('close() of the client ends it after what is buffered, destroy() fails it', async (t) => {
  for (const how of ['close', 'destroy'] as const) {
    const { node, client } = await scene(t)
    const iterator = client.subscription('a')
    const waiting = client.subscription('b')
    await Promise.all([iterator.ready(), waiting.ready()])
    await publish(node, client, ['1'])
    const next = waiting.next()
    const failing = how === 'close' ? undefined : assert.rejects(next, { code: 'CLIENT_CLOSED' })
    await client[how]()
    await failing
    if (how === 'close') assert.deepEqual(await next, { done: true, value: undefined })
    assert.deepEqual(await payloads(iterator, 1), ['1'])
    if (how === 'destroy') await assert.rejects(iterator.next(), { code: 'CLIENT_CLOSED' })
    assert.deepEqual(await iterator.next(), { done: true, value: undefined })
    await assert.rejects(client.subscription('c').next(), { code: 'CLIENT_CLOSED' })
    await eventually('no socket is left', () => node.server.openCount === 0)
  }
})

test('close() leaves what is buffered to be taken, return() does not', async (t) => {
  const { node, client } = await scene(t)
  const closed = client.subscription('a')
  const returned = client.subscription('a')
  await Promise.all([closed.ready(), returned.ready()])
  await publish(node, client, ['1'])
  await Promise.all([closed.close(), returned.return()])
  assert.deepEqual(await payloads(closed, 2), ['1', 'end'])
  assert.deepEqual(await payloads(returned, 1), ['end'])
  assert.equal(returned.buffered, 0)
  // not the client was
  await assert.rejects(returned.ready(), { code: 'CLIENT_CLOSED', message: 'the subscription was closed' })
})
