// Subscriptions over a server that refuses, stalls and cuts when it is told to: what is sent, in which order, and what
// those who subscribed are told.

import assert from 'node:assert/strict'
import { AsyncLocalStorage } from 'node:async_hooks'
import { once } from 'node:events'
import { test } from 'node:test'
import { createClient } from '../../lib/client/index.ts'
import type { Gap } from '../../lib/client/subscription-options.ts'
import { type RespoolError, TimeoutError } from '../../lib/errors.ts'
import { freePorts } from '../support/free-ports.ts'
import { eventually } from '../support/real-servers.ts'
import { bulk, error, integer } from '../support/resp-writer.ts'
import type { Peer } from '../support/scripted-server.ts'
import { ScriptedPubSub } from './scripted-pubsub.ts'

const ignore = () => undefined

/** The connection that is subscribed now. */
function current(node: ScriptedPubSub): Peer {
  const peer = node.subscribers.at(-1)
  assert.ok(peer)
  return peer
}

for (const protocol of [3, 2] as const) {
  const name = (what: string) => `RESP${protocol}: ${what}`

  test(name('listeners get payload, channel and pattern, as text or as bytes'), async (t) => {
    const node = await new ScriptedPubSub(protocol).listen(t)
    const client = node.client(t)
    const got: unknown[] = []
    const take = (...args: unknown[]) => got.push(args)
    await client.subscribe(['news', 'sport'], take)
    await client.psubscribe('n*', take)
    await client.ssubscribe('shard', take)
    node.publish('news', 'é')
    node.publish('sport', '')
    node.publish('shard', 's')
    await eventually('all came', () => got.length === 4)
    assert.deepEqual(got, [
      ['é', 'news', undefined],
      ['é', 'news', 'n*'],
      ['', 'sport', undefined],
      ['s', 'shard', undefined],
    ])
    assert.deepEqual(node.asked(), ['SUBSCRIBE news sport', 'PSUBSCRIBE n*', 'SSUBSCRIBE shard'])
    assert.equal(node.subscribers.length, 1)

    got.length = 0
    const bytes = Buffer.from([0xff, 0x00, 0x0d, 0x0a])
    await client.subscribe('news', (message: Buffer, channel) => take(message, channel), {
      replies: 'buffer',
    })
    await client.psubscribe('n*', take, { replies: 'buffer' })
    assert.equal(node.subscribers.length, 2, 'payloads as bytes have a connection of their own')
    const peer = current(node)
    peer.send(node.message('news', bytes))
    peer.send(node.frame(bulk('pmessage'), bulk('n*'), bulk('news'), bulk(bytes)))
    await eventually('both came', () => got.length === 2)
    assert.deepEqual(got, [
      [bytes, 'news'],
      [bytes, 'news', 'n*'],
    ])
  })

  test(name('a channel is asked for once, and given up with the last who wants it'), async (t) => {
    const node = await new ScriptedPubSub(protocol).listen(t)
    const client = node.client(t)
    const got: string[] = []
    const first = await client.subscribe(['a', 'b'], (_, channel) => got.push(`1${channel}`))
    const second = await client.subscribe(['b', 'c'], (_, channel) => got.push(`2${channel}`))
    for (const channel of ['a', 'b', 'c']) node.publish(channel, '')
    await eventually('all came', () => got.length === 4)
    assert.deepEqual(got, ['1a', '1b', '2b', '2c'])
    assert.deepEqual(node.asked(), ['SUBSCRIBE a b', 'SUBSCRIBE c'])
    await first.close()
    assert.deepEqual([node.count('a'), node.count('b'), node.count('c')], [0, 1, 1])
    assert.equal(first.state, 'closed')
    await first.close()
    const peer = current(node)
    assert.equal(peer.isClosed, false)
    await second.close()
    assert.deepEqual(node.asked().slice(2), ['UNSUBSCRIBE a', 'UNSUBSCRIBE b c'])
    await eventually('the connection is closed with the last', () => peer.isClosed)
    assert.equal(client.stats().master?.connected, false, 'there never was another')
    const third = await client.subscribe('a', ignore)
    assert.equal(node.subscribers.length, 2)
    await third[Symbol.asyncDispose]()
  })

  test(name('whatever is subscribed and closed without waiting, the last word counts'), async (t) => {
    const node = await new ScriptedPubSub(protocol).listen(t)
    const client = node.client(t)
    await client.subscribe('other', ignore)
    for (let round = 0; round < 20; round += 1) {
      const got: string[] = []
      const subscriptions = await Promise.all([client.subscribe('a', ignore), client.subscribe('a', ignore)])
      const closing = subscriptions.map((subscription) => subscription.close())
      const again = client.subscribe('a', (message) => got.push(message))
      await Promise.all([...closing, again])
      assert.equal(node.count('a'), 1)
      node.publish('a', 'x')
      await eventually('it came', () => got.length === 1)
      await (await again).close()
      assert.equal(node.count('a'), 0)
    }
    assert.equal(node.subscribers.length, 1)
    assert.equal(node.count('other'), 1)
  })

  test(name('a refusal concerns only those who wanted that channel'), async (t) => {
    const node = await new ScriptedPubSub(protocol).listen(t)
    node.forbidden.add('secret')
    const client = node.client(t)
    // one command: nothing is connected yet
    const outcomes = await Promise.allSettled([
      client.subscribe('a', ignore),
      client.subscribe(['b', 'secret', 'c'], ignore),
      client.subscribe(['b', 'd'], ignore),
    ])
    assert.deepEqual(
      outcomes.map((it) => (it.status === 'fulfilled' ? it.value.state : (it.reason as RespoolError).code)),
      ['active', 'REPLY_ERROR', 'active'],
    )
    await assert.rejects(client.subscribe('secret', ignore), { prefix: 'NOPERM' })
    await eventually('c is given up', () => node.count('c') === 0)
    assert.deepEqual([node.count('a'), node.count('b'), node.count('d')], [1, 1, 1])
    assert.equal(node.subscribers.length, 1)
  })

  test(name('after a loss all is subscribed again, in the first order, and a gap is told'), async (t) => {
    const node = await new ScriptedPubSub(protocol).listen(t)
    const client = node.client(t)
    const told: unknown[] = []
    const events: Gap[] = []
    client.on('gap', (gap) => events.push(gap))
    const patternGaps: Gap[] = []
    const onGap = ({ channels }: Gap) => told.push(['gap', channels])
    const take = (message: string, channel: string) => told.push([message, channel])
    const a = await client.subscribe(['z', 'a'], take, { onGap })
    await client.psubscribe('p*', take, { onGap: (gap) => patternGaps.push(gap) })
    await client.subscribe('m', take)
    await (await client.subscribe('b', take)).close()
    const before = current(node)
    node.publish('a', 'before')
    await eventually('it came', () => told.length === 1)
    // a message in the same piece as the confirmations comes after the notice all the same
    node.intercept = (command) => {
      if (command.join(' ') !== 'SUBSCRIBE z a') return 'pass'
      const confirmations = ['z', 'a'].map((it, i) => node.frame(bulk('subscribe'), bulk(it), integer(i + 1)))
      return Buffer.concat([...confirmations, node.message('a', 'after')])
    }
    before.reset()
    await eventually('it is told', () => events.length === 1 && told.length === 3)
    assert.deepEqual(node.asked(current(node)), ['SUBSCRIBE z a', 'PSUBSCRIBE p*', 'SUBSCRIBE m'])
    assert.deepEqual(told, [
      ['before', 'a'],
      ['gap', 2],
      ['after', 'a'],
    ])
    assert.deepEqual([patternGaps.length, patternGaps[0]?.channels], [1, 1])
    assert.equal(a.state, 'active')
    const [gap] = events
    assert.ok(gap)
    assert.equal((gap.reason as RespoolError).code, 'CONNECTION_LOST')
    assert.deepEqual([gap.from, gap.to, gap.channels], [node.server.address, node.server.address, 4])
    assert.ok(gap.downtime >= 40 && gap.downtime < 5_000, `${gap.downtime} ms`)
    assert.ok(Object.isFrozen(gap))
  })

  test(name('a connection cut between command and confirmation is no end'), async (t) => {
    const node = await new ScriptedPubSub(protocol).listen(t)
    const client = node.client(t)
    const [gaps, events]: [Gap[], Gap[]] = [[], []]
    let cuts = 2
    node.intercept = (command, peer) => {
      if (command[0] !== 'SUBSCRIBE' || cuts === 0) return 'pass'
      cuts -= 1
      const confirmation = node.frame(bulk('subscribe'), bulk('a'), integer(1))
      // all of the first of two, half of the second
      peer.cut(Buffer.concat([confirmation, confirmation]), Math.floor(confirmation.length * 1.5))
      return undefined
    }
    const got: string[] = []
    const subscription = await client.subscribe(['a', 'b'], (message) => got.push(message), {
      onGap: (gap) => gaps.push(gap),
    })
    assert.equal(cuts, 0)
    assert.equal(node.subscribers.length, 3)
    assert.deepEqual(gaps, [], 'nothing was ever received')
    client.on('gap', (gap) => events.push(gap))
    // and the same again with a subscription that is active: one gap, from the first loss to the end of the last
    cuts = 2
    current(node).reset()
    await eventually('it is lost', () => subscription.state === 'recovering')
    await eventually('it is back', () => subscription.state === 'active')
    assert.equal(node.subscribers.length, 6)
    assert.equal(gaps.length, 1)
    node.publish('b', 'x')
    await eventually('it came', () => got.length === 1)
    assert.deepEqual(node.asked(), Array(6).fill('SUBSCRIBE a b'))
    assert.equal(events.length, 1)
  })

  test(name('a server that confirms in another order, or not all, is not taken at its word'), async (t) => {
    const node = await new ScriptedPubSub(protocol).listen(t)
    const client = node.client(t, { commandTimeout: 100 })
    let isHalf = true
    node.intercept = (command) => {
      if (command[0] !== 'SUBSCRIBE') return 'pass'
      const [a, b] = ['b', 'a'].map((it, i) => node.frame(bulk('subscribe'), bulk(it), integer(i)))
      if (!isHalf) return Buffer.concat([a as Buffer, b as Buffer])
      isHalf = false
      return a
    }
    const subscription = await client.subscribe(['a', 'b'], ignore, { timeout: 5_000 })
    assert.equal(subscription.state, 'active')
    assert.equal(node.subscribers.length, 2, 'the one that confirmed half was given up')
  })

  test(name('a subscription that the server ends by itself is begun again'), async (t) => {
    const node = await new ScriptedPubSub(protocol).listen(t)
    const client = node.client(t)
    const gaps: Gap[] = []
    await client.ssubscribe('a', ignore, { onGap: (gap) => gaps.push(gap) })
    current(node).send(node.frame(bulk('sunsubscribe'), bulk('a'), integer(0)))
    await eventually('a gap is told', () => gaps.length === 1)
    assert.equal(node.count('a', 'ssubscribe'), 1)
    assert.match(gaps[0]?.reason.message ?? '', /the server ended a subscription/)
  })

  test(name('a channel that is not allowed any more ends its subscription, and no other'), async (t) => {
    const node = await new ScriptedPubSub(protocol).listen(t)
    const client = node.client(t)
    const lost = await client.subscribe('secret', ignore)
    const kept = await client.subscribe(['a', 'b'], ignore)
    const iterator = client.subscription('secret')
    await iterator.ready()
    const next = iterator.next()
    node.forbidden.add('secret')
    current(node).reset()
    await lost.closed
    await assert.rejects(next, { prefix: 'NOPERM' })
    assert.deepEqual(await iterator.next(), { done: true, value: undefined })
    assert.equal((lost.error as RespoolError).code, 'REPLY_ERROR')
    await eventually('the others are back', () => kept.state === 'active')
    assert.equal(kept.error, undefined)
  })

  test(
    name('an idle connection whose peer says nothing is replaced within about two intervals'),
    async (t) => {
      const node = await new ScriptedPubSub(protocol).listen(t)
      const client = node.client(t, { pingInterval: 300, commandTimeout: 5_000 })
      const gaps: Gap[] = []
      await client.subscribe('a', ignore, { onGap: (gap) => gaps.push(gap) })
      const peer = current(node)
      const pings = () => peer.commands.filter(([it]) => it === 'PING').length
      await eventually('it is asked whether it is there', () => pings() >= 3)
      assert.equal(node.subscribers.length, 1, 'one that answers is kept')
      const from = performance.now()
      node.intercept = (_, it) => (it === peer ? undefined : 'pass')
      await eventually('it is replaced', () => gaps.length === 1)
      const took = performance.now() - from
      assert.ok(took < 1_500, `${took} ms`)
      assert.match(gaps[0]?.reason.message ?? '', /has not answered for 300 ms/)
    },
  )

  test(name('the last one is closed within a bound although the server does not confirm'), async (t) => {
    const node = await new ScriptedPubSub(protocol).listen(t)
    const client = node.client(t, { commandTimeout: 60_000 })
    const subscription = await client.subscribe('a', ignore)
    node.intercept = (command) => (command[0] === 'UNSUBSCRIBE' ? undefined : 'pass')
    const from = performance.now()
    await subscription.close()
    assert.ok(performance.now() - from < 5_000)
    await eventually('the server sees it', () => node.server.openCount === 0)
  })
}

test('one that is not confirmed in time, or not wanted any more, is given up', async (t) => {
  const node = await new ScriptedPubSub().listen(t)
  const client = node.client(t)
  await client.subscribe('a', ignore)
  node.intercept = () => undefined
  await assert.rejects(client.subscribe('b', ignore, { timeout: 30 }), {
    code: 'COMMAND_TIMEOUT',
    message: 'not subscribed within 30 ms',
    timeout: 30,
  })
  const abort = new AbortController()
  const aborted = client.subscribe('c', ignore, { signal: abort.signal })
  await eventually('it is sent', () => node.asked().includes('SUBSCRIBE c'))
  abort.abort()
  await assert.rejects(aborted, { code: 'ABORT_ERR' })
  await assert.rejects(client.subscribe('d', ignore, { signal: abort.signal }), { code: 'ABORT_ERR' })
  await eventually('both are unsubscribed', () => node.asked().at(-1) === 'UNSUBSCRIBE c')
  assert.deepEqual(node.asked(), [
    'SUBSCRIBE a',
    'SUBSCRIBE b',
    'UNSUBSCRIBE b',
    'SUBSCRIBE c',
    'UNSUBSCRIBE c',
  ])
})

test('with nobody there, the deadline says why; with somebody at last, it is subscribed', async (t) => {
  const [port = 0] = await freePorts(1)
  const client = createClient({ port, commandTimeout: 120, pingInterval: 0 })
  t.after(() => client.destroy())
  await assert.rejects(client.subscribe('a', ignore), (error: TimeoutError) => {
    assert.ok(error instanceof TimeoutError)
    assert.match(error.message, /^not subscribed within 120 ms: could not connect: ECONNREFUSED/)
    assert.equal((error.cause as RespoolError).code, 'CONNECT_FAILED')
    return true
  })
  const subscribed = client.subscribe('a', ignore, { timeout: 10_000 })
  const node = await new ScriptedPubSub().listen(t, port)
  await subscribed
  assert.equal(node.count('a'), 1)
})

test('attempts are 50 to 100 ms apart, or a second where none can succeed', async (t) => {
  for (const [answer, least, most] of [
    [undefined, 4, 13],
    [error('WRONGPASS no such user'), 1, 1],
  ] as const) {
    const node = await new ScriptedPubSub().listen(t)
    node.intercept = (_, peer) => {
      if (answer === undefined) peer.reset()
      return answer
    }
    const client = node.client(t)
    const failing = assert.rejects(client.subscribe('a', ignore, { timeout: 600 }))
    const waiting = assert.rejects(client.subscribe('b', ignore, { timeout: 600 }))
    await Promise.all([failing, waiting])
    const count = node.server.peers.length
    assert.ok(count >= least && count <= most, `${count} attempts`)
  }
})

test('who subscribes when the last one has left need not wait for what an attempt that failed would have to', async (t) => {
  const node = await new ScriptedPubSub().listen(t)
  const client = node.client(t)
  const took: number[] = []
  for (let i = 0; i < 5; i += 1) {
    const from = performance.now()
    const subscription = await client.subscribe('news', ignore)
    took.push(performance.now() - from)
    await subscription.close()
  }
  assert.equal(node.subscribers.length, 5)
  assert.ok(Math.min(...took.slice(1)) < 40, `took ${took.map(Math.round)} ms`)
})

test('a wrong password is told at once to who waits, and outlived by who was there before', async (t) => {
  const node = await new ScriptedPubSub().listen(t)
  const client = node.client(t, { commandTimeout: 10_000 })
  const subscription = await client.subscribe('a', ignore)
  node.intercept = (command) => (command[0] === 'HELLO' ? error('WRONGPASS no such user') : 'pass')
  current(node).reset()
  await eventually('it is lost', () => subscription.state === 'recovering')
  await assert.rejects(client.subscribe('b', ignore), { code: 'HANDSHAKE_FAILED' })
  assert.equal(subscription.state, 'recovering')
  node.intercept = () => 'pass'
  await eventually('it is back', () => subscription.state === 'active')
  assert.equal(node.count('b'), 0)
})

test('a listener that throws, or rejects, harms nobody else', async (t) => {
  const node = await new ScriptedPubSub().listen(t)
  const client = node.client(t)
  const errors: unknown[] = []
  const got: string[] = []
  const onError = (thrown: unknown) => errors.push((thrown as Error).message)
  const bad = (message: string) => {
    throw new Error(`bad ${message}`)
  }
  await client.subscribe('a', bad, { onError, onGap: () => bad('gap') })
  await client.subscribe('a', async (message) => bad(`later ${message}`), { onError })
  await client.subscribe('a', (message) => got.push(message))
  for (const message of ['1', '2']) node.publish('a', message)
  await eventually('all came', () => got.length === 2 && errors.length === 4)
  assert.deepEqual(errors.toSorted(), ['bad 1', 'bad 2', 'bad later 1', 'bad later 2'])
  current(node).reset()
  await eventually('the gap came', () => errors.length === 5)
  assert.equal(errors[4], 'bad gap')

  await client.subscribe('b', bad)
  const [warning] = (await Promise.all([once(process, 'warning'), node.publish('b', '1')]))[0] as [Error]
  assert.equal((warning as NodeJS.ErrnoException).code, 'LISTENER_ERROR')
  assert.equal(warning.name, 'RespoolWarning')
})

test('what onError throws is an uncaught exception', async (t) => {
  const node = await new ScriptedPubSub().listen(t)
  const client = node.client(t)
  const listeners = process.listeners('uncaughtException')
  process.removeAllListeners('uncaughtException')
  t.after(() => {
    for (const listener of listeners) process.on('uncaughtException', listener)
  })
  const uncaught = once(process, 'uncaughtException')
  const crash = (thrown: unknown) => {
    throw thrown
  }
  await client.subscribe('a', () => crash(new Error('wanted')), { onError: crash })
  node.publish('a', '')
  const [thrown] = (await uncaught) as [Error]
  assert.equal(thrown.message, 'wanted')
})

test('listeners keep the asynchronous context of their subscription', async (t) => {
  const node = await new ScriptedPubSub().listen(t)
  const client = node.client(t)
  const storage = new AsyncLocalStorage<string>()
  const got: unknown[] = []
  const take = () => {
    got.push(storage.getStore())
    throw new Error('for onError')
  }
  await storage.run('first', () => client.subscribe('a', take, { onError: take, onGap: take }).catch(ignore))
  await storage.run('second', () => client.subscribe('a', take, { onError: ignore }))
  await client.subscribe('a', take, { onError: ignore })
  const uncaught = process.listeners('uncaughtException')
  process.removeAllListeners('uncaughtException')
  process.on('uncaughtException', ignore)
  t.after(() => {
    process.off('uncaughtException', ignore)
    for (const listener of uncaught) process.on('uncaughtException', listener)
  })
  storage.run('publisher', () => node.publish('a', ''))
  await eventually('all came', () => got.length === 4)
  assert.deepEqual(got, ['first', 'first', 'second', undefined])
})

test('a listener may use its handle, and close it and others, in the midst of a flood', async (t) => {
  const node = await new ScriptedPubSub().listen(t)
  const client = node.client(t)
  const got: string[] = []
  // messages in the same piece as the confirmation
  node.intercept = (command) =>
    command[0] === 'SUBSCRIBE'
      ? Buffer.concat([
          node.frame(bulk('subscribe'), bulk('a'), integer(1)),
          ...['1', '2', '3'].map((it) => node.message('a', it)),
        ])
      : 'pass'
  const first = await client.subscribe('a', (message) => {
    got.push(`first ${message}`)
    if (message === '2') void first.close()
    if (message === '4') void second.close()
  })
  await eventually('it is closed', () => first.state === 'closed')
  assert.deepEqual(got, ['first 1', 'first 2'])
  await first.closed
  node.intercept = () => 'pass'
  const third = await client.subscribe('a', (message) => {
    got.push(`third ${message}`)
    void second.close()
  })
  const second = await client.subscribe('a', (message) => got.push(`second ${message}`))
  node.publish('a', '4')
  await eventually('it came', () => got.length === 3)
  await second.closed
  assert.deepEqual(got.slice(2), ['third 4'], 'who was closed before its turn is not told')
  await third.close()
})

test('ten thousand channels are few commands, and few again after a loss', async (t) => {
  const node = await new ScriptedPubSub().listen(t)
  const client = node.client(t)
  const channels = Array.from({ length: 10_000 }, (_, i) => `c${i}`)
  const got: string[] = []
  const all = await client.subscribe(channels, (_, channel) => got.push(channel))
  assert.equal(node.asked().length, 10)
  const single = await Promise.all(channels.slice(0, 100).map((channel) => client.subscribe(channel, ignore)))
  assert.equal(node.asked().length, 10)
  current(node).reset()
  await eventually('it is lost', () => all.state === 'recovering')
  await eventually('it is back', () => all.state === 'active')
  const asked = node.asked(current(node)).join(' ').replaceAll('SUBSCRIBE ', '')
  assert.equal(asked, channels.join(' '))
  node.publish('c9999', '')
  await eventually('it came', () => got.length === 1)
  await Promise.all([all.close(), ...single.map((subscription) => subscription.close())])
  assert.equal(node.count('c0'), 0)
})

test('close() ends subscriptions, destroy() fails them, and neither leaves a socket', async (t) => {
  for (const how of ['close', 'destroy'] as const) {
    const node = await new ScriptedPubSub().listen(t)
    const client = node.client(t)
    const subscription = await client.subscribe('a', ignore)
    node.intercept = (command) => (command[0] === 'SUBSCRIBE' ? undefined : 'pass')
    const opening = client.subscribe('b', ignore)
    const failing = assert.rejects(opening, { code: 'CLIENT_CLOSED' })
    await eventually('it is sent', () => node.asked().includes('SUBSCRIBE b'))
    await client[how]()
    await failing
    await subscription.closed
    assert.equal(
      (subscription.error as RespoolError | undefined)?.code,
      how === 'close' ? undefined : 'CLIENT_CLOSED',
    )
    await assert.rejects(client.subscribe('c', ignore), { code: 'CLIENT_CLOSED' })
    await eventually('no socket is left', () => node.server.openCount === 0)
    await subscription.close()
  }
})

test('close() and destroy() end one that finds nobody', async (t) => {
  const [port = 0] = await freePorts(1)
  for (const how of ['close', 'destroy'] as const) {
    const client = createClient({ port })
    t.after(() => client.destroy())
    const failing = assert.rejects(client.subscribe('a', ignore), { code: 'CLIENT_CLOSED' })
    await client[how]()
    await failing
  }
})

test('misuse is told at once', async (t) => {
  const client = createClient()
  t.after(() => client.destroy())
  assert.throws(
    () => client.subscribe('a', undefined as unknown as () => void),
    /a listener must be a function/,
  )
  assert.throws(() => client.psubscribe([], ignore), RangeError)
  assert.throws(() => client.ssubscribe('a', ignore, { limit: 1 } as object), TypeError)
  assert.throws(() => client.subscription(1 as unknown as string), TypeError)
  assert.throws(() => client.psubscription('a', { limit: -1 }), RangeError)
})
