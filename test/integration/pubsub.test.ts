// Pub/Sub over real servers: what is received, what the server says of who is subscribed, and what becomes of
// subscriptions while connections and masters are lost.

import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Client, createClient } from '../../lib/client/index.ts'
import type { Gap } from '../../lib/client/subscription-options.ts'
import type { RespoolError } from '../../lib/errors.ts'
import { clientOf } from '../support/clients.ts'
import { runProgram } from '../support/program.ts'
import { eventually, request, startServer, startTopology, type TestServer } from '../support/real-servers.ts'

const ignore = () => undefined

/** How many connections are subscribed to the channel. */
async function subscribersOf(server: TestServer, channel: string): Promise<number> {
  const reply = await request(server, 'PUBSUB', 'NUMSUB', channel)
  return Number(Array.isArray(reply) ? reply[1] : reply)
}

async function majorVersion(server: TestServer): Promise<number> {
  return Number(/redis_version:(\d+)/.exec(String(await request(server, 'INFO', 'server')))?.[1])
}

/** The connections that are subscribed to anything, those of sentinels apart. */
async function connections(server: TestServer): Promise<string[]> {
  const list = String(await request(server, 'CLIENT', 'LIST', 'TYPE', 'pubsub'))
  return list.split('\n').filter((line) => line.includes('addr=') && !line.includes('name=sentinel-'))
}

function addressOf({ port }: TestServer): string {
  return `127.0.0.1:${port}`
}

/** What the process warned of until the test ends. */
function warnings(t: TestContext): Error[] {
  const heard: Error[] = []
  const listener = (warning: Error) => heard.push(warning)
  process.on('warning', listener)
  t.after(() => {
    process.off('warning', listener)
  })
  return heard
}

for (const protocol of [3, 2] as const) {
  test(`RESP${protocol}: one server`, async (t) => {
    const server = await startServer(t)
    const hasShards = (await majorVersion(server)) >= 7
    const warned = warnings(t)

    await t.test('messages come to whom they are for, until they are not wanted any more', async (t) => {
      const client = clientOf(t, server, { protocol })
      const got: unknown[][] = []
      const take = (...args: unknown[]) => got.push(args)
      const channels = await client.subscribe(['news', 'sport'], take)
      const pattern = await client.psubscribe('n[ae]*', take)
      const bytes = await client.subscribe('news', take, { replies: 'buffer' })
      const binary = Buffer.from([0xff, 0, 13, 10])
      await client.call('PUBLISH', 'news', binary)
      await client.call('PUBLISH', 'sport', '2')
      await client.call('PUBLISH', 'navy', '3')
      await eventually('all came', () => got.length === 5)
      assert.deepEqual(
        got.filter(([message]) => Buffer.isBuffer(message)),
        [[binary, 'news', undefined]],
      )
      assert.deepEqual(
        got.filter(([message]) => !Buffer.isBuffer(message)),
        [
          [binary.toString(), 'news', undefined],
          [binary.toString(), 'news', 'n[ae]*'],
          ['2', 'sport', undefined],
          ['3', 'navy', 'n[ae]*'],
        ],
      )
      assert.equal(await subscribersOf(server, 'news'), 2)
      assert.equal((await connections(server)).length, 2)
      await channels.close()
      assert.equal(await subscribersOf(server, 'news'), 1)
      assert.equal(await request(server, 'PUBSUB', 'NUMPAT'), 1)
      await Promise.all([pattern.close(), bytes.close()])
      assert.deepEqual(await connections(server), [])
      await client.close()
    })

    await t.test('shard channels, where the server has them', async (t) => {
      const client = clientOf(t, server, { protocol })
      if (!hasShards) {
        await assert.rejects(client.ssubscribe('s', ignore), {
          code: 'REPLY_ERROR',
          message: /unknown command/,
        })
        assert.deepEqual(await connections(server), [])
        return
      }
      const got: string[] = []
      const shard = await client.ssubscribe('s', (message) => got.push(message))
      await client.subscribe('s', ignore)
      assert.equal(await client.call('SPUBLISH', 's', '1'), 1)
      await eventually('it came', () => got.length === 1)
      await shard.close()
      assert.equal(await client.call('SPUBLISH', 's', '2'), 0)
      assert.equal(await subscribersOf(server, 's'), 1)
    })

    await t.test('an iterator gets all that is published behind ready(), at its own pace', async (t) => {
      const client = clientOf(t, server, { protocol })
      const iterator = client.subscription(['a', 'b'], { limit: 2_000 })
      await iterator.ready()
      const sent = Array.from({ length: 1_000 }, (_, i) => String(i))
      await Promise.all(sent.map((message) => client.call('PUBLISH', 'a', message)))
      const got: string[] = []
      for await (const { message } of iterator) if (got.push(message) === sent.length) break
      assert.deepEqual(got, sent)
      assert.equal(iterator.dropped, 0)
      assert.deepEqual(await connections(server), [])
    })

    await t.test('a killed connection is replaced, all is as before, and the gap is told', async (t) => {
      const client = clientOf(t, server, { protocol })
      const gaps: Gap[] = []
      const got: string[] = []
      await client.subscribe('a', (message) => got.push(message), { onGap: (gap) => gaps.push(gap) })
      await client.subscribe(['b', 'a'], ignore)
      await client.psubscribe('p*', ignore)
      for (let round = 1; round <= 3; round += 1) {
        await request(server, 'CLIENT', 'KILL', 'TYPE', 'pubsub')
        await eventually('a gap is told', () => gaps.length === round)
        await client.call('PUBLISH', 'a', String(round))
        await eventually('what is published then comes', () => got.length === round)
        await eventually('all is subscribed', async () => (await request(server, 'PUBSUB', 'NUMPAT')) === 1)
        assert.deepEqual([await subscribersOf(server, 'a'), await subscribersOf(server, 'b')], [1, 1])
        assert.equal((await connections(server)).length, 1)
      }
      assert.deepEqual(got, ['1', '2', '3'])
      assert.equal((gaps[0]?.reason as RespoolError | undefined)?.code, 'CONNECTION_LOST')
    })

    await t.test('ten thousand channels, each with its own listener', async (t) => {
      const client = clientOf(t, server, { protocol })
      const gaps: Gap[] = []
      client.on('gap', (gap) => gaps.push(gap))
      const got = new Set<string>()
      const names = Array.from({ length: 10_000 }, (_, i) => `channel:${i}`)
      const { signal } = new AbortController()
      const subscriptions = await Promise.all(
        names.map((name) => client.subscribe(name, (_, channel) => got.add(channel), { signal })),
      )
      assert.equal((await connections(server)).length, 1)
      await request(server, 'CLIENT', 'KILL', 'TYPE', 'pubsub')
      await eventually('all are subscribed again', () => gaps.length === 1)
      assert.equal(gaps[0]?.channels, 10_000)
      await Promise.all(names.map((name) => client.call('PUBLISH', name, '')))
      await eventually('all came', () => got.size === 10_000)
      await Promise.all(subscriptions.map((subscription) => subscription.close()))
      assert.deepEqual(await connections(server), [])
    })

    await t.test('a server that hangs is found out, and taken back when it wakes up', async (t) => {
      const client = clientOf(t, server, { protocol, pingInterval: 100 })
      const gaps: Gap[] = []
      const subscription = await client.subscribe('a', ignore, { onGap: (gap) => gaps.push(gap) })
      server.signal('SIGSTOP')
      t.after(() => server.signal('SIGCONT'))
      const from = performance.now()
      await eventually('it is found out', () => subscription.state === 'recovering')
      const ms = performance.now() - from
      assert.ok(ms < 2_000, `${ms} ms`)
      server.signal('SIGCONT')
      await eventually('a gap is told', () => gaps.length === 1)
      assert.equal(await subscribersOf(server, 'a'), 1)
    })

    assert.deepEqual(warned, [], 'such as of too many listeners')
  })
}

test('an ACL that forbids a channel concerns who asked for it', async (t) => {
  const server = await startServer(t)
  const rules = ['on', 'nopass', '+@all', '~*', 'resetchannels', '&ok:*']
  if ((await request(server, 'ACL', 'SETUSER', 'limited', ...rules)) !== 'OK') {
    return t.skip('the server, before Redis 6.2, has no rules for channels')
  }
  const client = clientOf(t, server, { username: 'limited', password: 'any' })
  const outcomes = await Promise.allSettled([
    client.subscribe('ok:1', ignore),
    client.subscribe(['ok:2', 'secret'], ignore),
    client.subscribe('ok:2', ignore),
    client.psubscribe('*', ignore),
  ])
  assert.deepEqual(
    outcomes.map((it) =>
      it.status === 'fulfilled' ? it.value.state : (it.reason as { prefix?: string }).prefix,
    ),
    ['active', 'NOPERM', 'active', 'NOPERM'],
  )
  // forbidden later: the server closes the connection, and refuses the one of the two
  const kept = await client.subscribe('ok:3', ignore)
  const lost = await client.subscribe('ok:4', ignore)
  await request(server, 'ACL', 'SETUSER', 'limited', 'resetchannels', '&ok:1', '&ok:2', '&ok:3')
  await lost.closed
  assert.equal((lost.error as RespoolError).code, 'REPLY_ERROR')
  await eventually('the others are back', () => kept.state === 'active')
})

test('a subscription keeps the process, and nothing is left of it after close()', async (t) => {
  const server = await startServer(t)
  const program = `
    import { createClient } from ${JSON.stringify(import.meta.resolve('respool'))}
    const client = createClient({ port: ${server.port} })
    const subscription = await client.subscribe('a', async (message) => {
      if (message !== 'end') return
      console.log(process.exitCode ?? 'alive')
      await subscription.close()
      await client.close()
    })
    for await (const { message } of client.subscription('b')) if (message === 'end') break`
  const running = runProgram(t, program)
  await eventually('both are subscribed', async () => (await subscribersOf(server, 'b')) === 1, {
    timeout: 15_000,
  })
  await sleep(300) // it would have ended by now
  await request(server, 'PUBLISH', 'b', 'end')
  await request(server, 'PUBLISH', 'a', 'end')
  assert.deepEqual(await running, { stdout: 'alive\n', stderr: '' })
})

interface Stream {
  /** Numbers in the order in which they came. */
  readonly got: number[]
  /** Numbers acknowledged by a server with somebody subscribed there. */
  readonly heard: Set<number>
  readonly gaps: { readonly gap: Gap; readonly next: number }[]
  stop(): Promise<void>
}

/** Publishes a number every few milliseconds to whoever is master, and receives them. */
async function stream(t: TestContext, client: Client, channel: string): Promise<Stream> {
  const [got, heard, gaps]: [number[], Set<number>, Stream['gaps'][number][]] = [[], new Set(), []]
  let next = 0
  const open = new Set<Promise<void>>()
  await client.subscribe(channel, (message) => got.push(Number(message)), {
    onGap: (gap) => gaps.push({ gap, next }),
  })
  const timer = setInterval(() => {
    const number = next
    next += 1
    const sent = client
      .call('PUBLISH', channel, number)
      .then((count) => void (Number(count) > 0 && heard.add(number)), ignore)
      .finally(() => open.delete(sent))
    open.add(sent)
  }, 5)
  t.after(() => clearInterval(timer))
  return {
    got,
    heard,
    gaps,
    stop: async () => {
      clearInterval(timer)
      await eventually('every publication has settled', () => open.size === 0)
    },
  }
}

for (const how of ['planned', 'kill'] as const) {
  test(`subscriptions move with the master, in order and without loss outside of the gap: ${how}`, async (t) => {
    const topology = await startTopology(t)
    const { master, replicas, sentinels, name } = topology
    const [heir] = replicas
    assert.ok(heir)
    const seeds = sentinels.map(addressOf)
    const clients = ([3, 2] as const).map((protocol) => {
      const client = createClient({ sentinel: { name, sentinels: seeds }, protocol })
      t.after(() => client.destroy())
      return client
    })
    const streams = await Promise.all(clients.map((client, i) => stream(t, client, `numbers:${i}`)))
    await eventually('messages come', () => streams.every(({ got }) => got.length > 50))
    if (how === 'kill') await master.stop('SIGKILL')
    else await request(sentinels[0] as TestServer, 'SENTINEL', 'FAILOVER', name)
    await eventually('gaps are told', () => streams.every(({ gaps }) => gaps.length > 0), { timeout: 20_000 })
    const after = streams.map(({ got }) => got.length)
    await eventually('messages come again', () =>
      streams.every(({ got }, i) => got.length > (after[i] ?? 0) + 100),
    )
    await Promise.all(streams.map((it) => it.stop()))
    await sleep(100) // for what is on its way
    for (const [i, { got, heard, gaps }] of streams.entries()) {
      assert.equal(gaps.length, 1)
      const [{ gap, next } = { gap: undefined, next: 0 }] = gaps
      assert.deepEqual([gap?.from, gap?.to, gap?.channels], [addressOf(master), addressOf(heir), 1])
      assert.deepEqual(got, [...new Set(got)], 'nothing comes twice')
      assert.deepEqual(
        got,
        got.toSorted((a, b) => a - b),
        'all in order',
      )
      const missing = [...heard].filter((number) => number >= next && !got.includes(number))
      assert.deepEqual(missing, [], 'what is published after the notice comes')
      const unheard = Array.from({ length: (got.at(-1) ?? 0) - next }, (_, k) => next + k)
      assert.deepEqual(
        unheard.filter((number) => !got.includes(number)),
        [],
        'and nobody is missing on the new master',
      )
      assert.equal(await subscribersOf(heir, `numbers:${i}`), 1)
      t.diagnostic(
        `${how}: gap of ${gap?.downtime} ms, ${next - got.filter((it) => it < next).length} missed`,
      )
    }
    await Promise.all(clients.map((client) => client.close()))
    assert.deepEqual(await connections(heir), [])
  })
}

test('subscriptions at a replica move to another one when it dies', async (t) => {
  const { master, replicas, sentinels, name } = await startTopology(t, { replicas: 2 })
  const client = createClient({ sentinel: { name, sentinels: sentinels.map(addressOf) } })
  t.after(() => client.destroy())
  const got: string[] = []
  const gaps: Gap[] = []
  await client.ready()
  await client.subscribe('a', (message) => got.push(message), {
    readFrom: 'replica',
    timeout: 20_000,
    onGap: (gap) => gaps.push(gap),
  })
  await client.call('PUBLISH', 'a', '1')
  await eventually('it came by way of the replica', () => got.length === 1)
  assert.deepEqual(await connections(master), [])
  const counts = await Promise.all(replicas.map((replica) => subscribersOf(replica, 'a')))
  assert.deepEqual(counts.toSorted(), [0, 1])
  const victim = replicas[counts.indexOf(1)] as TestServer
  const heir = replicas[counts.indexOf(0)] as TestServer
  await victim.stop('SIGKILL')
  await eventually('a gap is told', () => gaps.length === 1)
  assert.equal(gaps[0]?.to, addressOf(heir))
  await client.call('PUBLISH', 'a', '2')
  await eventually('the next came', () => got.length === 2)
})
