// Iterators: what is asked, when, and of whom; what becomes of them when their server changes.

import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { type Client, type ClientOptions, createClient } from '../../lib/client/index.ts'
import { AbortError, ConnectionError, type RespoolError } from '../../lib/errors.ts'
import { masterRole, ScriptedNode, scriptedDeployment } from '../sentinel/scripted-deployment.ts'
import { failure } from '../support/clients.ts'
import { settled } from '../support/clock.ts'
import { eventually } from '../support/real-servers.ts'
import { array, bulk, error, integer, simple } from '../support/resp-writer.ts'

const PAGES = 4

/** A server that gives pages of two: those of cursor 2 are `a2` and `b2`, and the last one is empty. */
function scans(node: ScriptedNode): { runId: string; info: 'told' | 'forbidden' } {
  const state = { runId: `id${node.port}`, info: 'told' as 'told' | 'forbidden' }
  node.intercept = ([name = '', ...args]) => {
    if (name === 'INFO') {
      return state.info === 'told'
        ? bulk(`# Server\r\nredis_version:7.0.15\r\nrun_id:${state.runId}\r\n`)
        : error('NOPERM this user has no permissions')
    }
    if (!name.endsWith('SCAN')) return 'pass'
    const cursor = Number(name === 'SCAN' ? args[0] : args[1])
    const isLast = cursor === PAGES - 1
    return array(
      bulk(String(isLast ? 0 : cursor + 1)),
      isLast ? array() : array(bulk(`a${cursor}`), bulk(String(cursor))),
    )
  }
  return state
}

const ALL = ['a0', '0', 'a1', '1', 'a2', '2']

interface Setting {
  readonly node: ScriptedNode
  readonly client: Client
  readonly state: ReturnType<typeof scans>
}

async function setting(t: TestContext, options: ClientOptions = {}): Promise<Setting> {
  const node = await new ScriptedNode().listen(t)
  const state = scans(node)
  const client = createClient({ port: node.port, pingInterval: 0, ...options })
  t.after(() => client.destroy())
  return { node, client, state }
}

/** Cuts off all connections and waits until that has been noticed. */
async function cut({ node, client }: Setting): Promise<void> {
  for (const peer of node.server.peers) peer.reset()
  await eventually('it is noticed', () => client.stats().master?.connected === false)
}

test('a loop gets all items, and pages are asked for as it goes', async (t) => {
  const { node, client } = await setting(t)
  const items: string[] = []
  const counts: number[] = []
  for await (const item of client.scanIterator()) {
    items.push(item)
    counts.push(node.count('SCAN'))
    await settled()
    assert.equal(node.count('SCAN'), counts.at(-1), 'nothing is asked while the body runs')
  }
  assert.deepEqual(items, ALL)
  assert.deepEqual(counts, [1, 1, 2, 2, 3, 3])
  assert.equal(node.count('SCAN'), PAGES)
})

test('nothing is asked before the first next(), and a loop that is left asks nothing more', async (t) => {
  const { node, client } = await setting(t)
  const iterator = client.scanIterator()
  await settled()
  assert.equal(node.server.peers.length, 0)
  for await (const item of iterator) {
    assert.equal(item, 'a0')
    break
  }
  assert.deepEqual(await iterator.next(), { done: true, value: undefined })
  assert.deepEqual(await iterator.return(), { done: true, value: undefined })
  await settled()
  assert.equal(node.count('SCAN'), 1)
  await client.close()
})

test('calls of next() without waiting get one item each, in order', async (t) => {
  const { client } = await setting(t)
  const iterator = client.scanIterator()
  const results = await Promise.all(Array.from({ length: 8 }, () => iterator.next()))
  assert.deepEqual(
    results.map(({ value }) => value),
    [...ALL, undefined, undefined],
  )
})

test('pages come as the server gives them, without the empty ones', async (t) => {
  const { client } = await setting(t)
  const pages: string[][] = []
  for await (const page of client.sscanIterator('k').pages()) pages.push(page)
  assert.deepEqual(pages, [
    ['a0', '0'],
    ['a1', '1'],
    ['a2', '2'],
  ])
})

test('each kind has its command, its shape and its bytes', async (t) => {
  const { node, client } = await setting(t)
  const bytes = client.with({ replies: 'buffer' })
  const first = async <T>(iterator: AsyncIterable<T>): Promise<T | undefined> => {
    for await (const item of iterator) return item
    return undefined
  }
  assert.deepEqual(await first(client.hscanIterator('k', { match: 'a*', count: 2 })), ['a0', '0'])
  assert.deepEqual(await first(client.zscanIterator('k')), ['a0', 0])
  assert.deepEqual(await first(bytes.hscanIterator('k')), [Buffer.from('a0'), Buffer.from('0')])
  assert.deepEqual(await first(bytes.zscanIterator(Buffer.from('k'))), [Buffer.from('a0'), 0])
  assert.deepEqual(await first(bytes.sscanIterator('k')), Buffer.from('a0'))
  assert.deepEqual(await first(bytes.scanIterator({ type: 'set' })), Buffer.from('a0'))
  assert.deepEqual(
    node.server.commands.filter(([name]) => name?.endsWith('SCAN')),
    [
      ['HSCAN', 'k', '0', 'MATCH', 'a*', 'COUNT', '2'],
      ['ZSCAN', 'k', '0'],
      ['HSCAN', 'k', '0'],
      ['ZSCAN', 'k', '0'],
      ['SSCAN', 'k', '0'],
      ['SCAN', '0', 'TYPE', 'set'],
    ],
  )
  const items: Buffer[] = []
  for await (const item of bytes.scanIterator()) items.push(item)
  assert.deepEqual(items.map(String), ALL)
})

test('a wrong option, or a key that is none, throws at once', async (t) => {
  const { client } = await setting(t)
  assert.throws(() => client.scanIterator({ count: 0 }), RangeError)
  assert.throws(() => client.hscanIterator({} as never), TypeError)
})

test('a server’s error ends the loop', async (t) => {
  const { node, client } = await setting(t)
  node.intercept = ([name]) => (name === 'HSCAN' ? error('WRONGTYPE Operation against a key') : 'pass')
  const iterator = client.hscanIterator('k')
  await assert.rejects(iterator.next(), { code: 'REPLY_ERROR', prefix: 'WRONGTYPE' })
  assert.deepEqual(await iterator.next(), { done: true, value: undefined })
})

test('the settings of a view hold for each page: its deadline, its signal', async (t) => {
  const { node, client } = await setting(t)
  const { intercept } = node
  const abort = new AbortController()
  const iterator = client.with({ signal: abort.signal }).scanIterator()
  await iterator.next()
  abort.abort(new Error('enough'))
  await iterator.next()
  const aborted = await failure(iterator.next())
  assert.ok(aborted instanceof AbortError)
  node.intercept = (command, peer) =>
    command[0] === 'SCAN' && command[1] !== '0' ? undefined : intercept(command, peer)
  const slow = client.with({ timeout: 300 }).scanIterator()
  await slow.next()
  await slow.next()
  assert.equal((await failure(slow.next())).code, 'COMMAND_TIMEOUT')
})

test('a connection that is lost is no loss, where the process is the same', async (t) => {
  const given = await setting(t)
  const items: string[] = []
  for await (const item of given.client.scanIterator()) {
    items.push(item)
    if (item === 'a1') await cut(given)
  }
  assert.deepEqual(items, ALL)
  assert.equal(given.node.count('INFO'), 2, 'behind the first page, and for the new connection')
})

test('a page that was lost with its connection is asked for again', async (t) => {
  const { node, client } = await setting(t)
  const { intercept } = node
  let cuts = 1
  node.intercept = (command, peer) => {
    if (command[0] !== 'SCAN' || command[1] !== '2' || cuts-- <= 0) return intercept(command, peer)
    peer.reset()
    return undefined
  }
  const items: string[] = []
  for await (const item of client.scanIterator()) items.push(item)
  assert.deepEqual(items, ALL)
  assert.equal(node.count('SCAN'), PAGES + 1)
})

test('another process under the same address is another server: the cursor is lost', async (t) => {
  const given = await setting(t)
  const iterator = given.client.scanIterator()
  for (let i = 0; i < 4; i += 1) await iterator.next()
  given.state.runId = 'another'
  await cut(given)
  const interrupted = await failure(iterator.next())
  assert.ok(interrupted instanceof ConnectionError)
  assert.equal(interrupted.code, 'SCAN_INTERRUPTED')
  assert.equal(interrupted.mayHaveExecuted, false)
  const { address } = given.node
  assert.equal(
    interrupted.message,
    `SCAN at ${address} ended after 2 pages of 4 items: its process was replaced`,
  )
  assert.deepEqual(await iterator.next(), { done: true, value: undefined })
})

test('where the server does not say which process it is, a lost connection is the end', async (t) => {
  const given = await setting(t)
  given.state.info = 'forbidden'
  const all: string[] = []
  for await (const item of given.client.scanIterator()) all.push(item)
  assert.deepEqual(all, ALL)
  const iterator = given.client.scanIterator()
  await iterator.next()
  await iterator.next()
  await cut(given)
  assert.equal((await failure(iterator.next())).code, 'SCAN_INTERRUPTED')
})

test('with restart it begins anew, and what was given may come again', async (t) => {
  const given = await setting(t)
  const items: string[] = []
  for await (const item of given.client.scanIterator({ onSwitch: 'restart' })) {
    items.push(item)
    if (items.length === 4) {
      given.state.runId = 'another'
      await cut(given)
    }
  }
  assert.deepEqual(items, ['a0', '0', 'a1', '1', ...ALL])
})

test('a server that changes all the time is given up after ten restarts', async (t) => {
  const given = await setting(t)
  let runs = 0
  const iterate = async () => {
    for await (const item of given.client.scanIterator({ onSwitch: 'restart' })) {
      if (item !== '0') continue
      runs += 1
      given.state.runId = `run ${runs}`
      await cut(given)
    }
  }
  const interrupted = await failure(iterate())
  assert.equal(interrupted.code, 'SCAN_INTERRUPTED')
  assert.match(interrupted.message, /after 11 pages of 22 items and 10 restarts: its process was replaced$/)
  assert.equal(runs, 11)
})

test('a server that is away for longer than the deadline is gone; one that only does not answer is not', async (t) => {
  const given = await setting(t, { commandTimeout: 150 })
  const iterator = given.client.scanIterator()
  await iterator.next()
  await iterator.next()
  await given.node.server.close()
  const interrupted = await failure(iterator.next())
  assert.equal(interrupted.code, 'SCAN_INTERRUPTED')
  assert.match(interrupted.message, /ended after 1 pages of 2 items: it cannot be reached$/)
  assert.equal((interrupted.cause as RespoolError).code, 'COMMAND_TIMEOUT')
})

test('the client’s end is no switch', async (t) => {
  for (const end of ['close', 'destroy'] as const) {
    const { client } = await setting(t)
    const iterator = client.scanIterator({ onSwitch: 'restart' })
    await iterator.next()
    await iterator.next()
    await client[end]()
    assert.equal((await failure(iterator.next())).code, 'CLIENT_CLOSED')
  }
})

interface Deployment {
  readonly client: Client
  readonly nodes: readonly ScriptedNode[]
  /** Makes the replica the master. */
  promote(): Promise<void>
}

async function deployment(t: TestContext, replicas: number): Promise<Deployment> {
  const { seeds, master, replicas: followers, say, sentinels } = await scriptedDeployment(t, { replicas })
  const nodes = [master, ...followers]
  for (const node of nodes) scans(node)
  const client = createClient({ sentinel: { name: 'm', sentinels: seeds } })
  t.after(() => client.destroy())
  await client.ready()
  await eventually('all replicas are well', () => client.topology?.replicas.every(({ healthy }) => healthy))
  const promote = async () => {
    const [node] = followers as [ScriptedNode]
    node.role = masterRole()
    say({ master: node.address, epoch: 2, replicas: [] })
    const switched = new Promise((resolve) => client.once('switch', resolve))
    const [from, to] = [master, node].map(({ address }) => address.replace(':', ' '))
    sentinels[0]?.publish('+switch-master', `m ${from} ${to}`)
    await switched
  }
  return { client, nodes, promote }
}

test('all pages are of one replica, while other reads take turns', async (t) => {
  const { client, nodes } = await deployment(t, 3)
  const view = client.with({ readFrom: 'replica' })
  const items: string[] = []
  for await (const item of view.scanIterator()) {
    items.push(item)
    await view.get('k')
  }
  assert.deepEqual(items, ALL)
  assert.deepEqual(nodes.map((node) => node.count('SCAN')).sort(), [0, 0, 0, PAGES])
})

test('a master that is replaced in the middle interrupts: with its reason, or to begin anew', async (t) => {
  for (const onSwitch of ['error', 'restart'] as const) {
    const { client, nodes, promote } = await deployment(t, 1)
    const iterator = client.scanIterator({ onSwitch })
    await iterator.next()
    await iterator.next()
    await promote()
    if (onSwitch === 'error') {
      const interrupted = await failure(iterator.next())
      assert.equal(interrupted.code, 'SCAN_INTERRUPTED')
      assert.equal((interrupted as ConnectionError).address, nodes[0]?.address)
      assert.match(interrupted.message, /ended after 1 pages of 2 items: .* is no longer the master/)
    } else {
      const rest: string[] = []
      for await (const item of iterator) rest.push(item)
      assert.deepEqual(rest, ALL)
    }
  }
})

test('a session that has written is scanned at the master', async (t) => {
  const { client, nodes } = await deployment(t, 1)
  const session = client.session().with({ readFrom: 'replica' })
  const scan = async () => {
    const items: string[] = []
    for await (const item of session.scanIterator()) items.push(item)
    assert.deepEqual(items, ALL)
    return nodes.map((node) => node.count('SCAN'))
  }
  assert.deepEqual(await scan(), [0, PAGES])
  await session.set('k', 'v')
  assert.deepEqual(await scan(), [PAGES, PAGES])
})

test('the types of items are those of their view', () => {
  const check = async (client: Client): Promise<void> => {
    const bytes = client.with({ replies: 'buffer' })
    for await (const [field, value] of client.hscanIterator('k'))
      void [field satisfies string, value satisfies string]
    for await (const [field, value] of bytes.hscanIterator('k'))
      void [field satisfies Buffer, value satisfies Buffer]
    for await (const field of client.hscanIterator('k', { values: false })) void (field satisfies string)
    for await (const field of bytes.hscanIterator('k', { values: false })) void (field satisfies Buffer)
    // @ts-expect-error members have scores
    client.zscanIterator('k', { values: false })
    for await (const [member, score] of client.zscanIterator('k'))
      void [member satisfies string, score satisfies number]
    for await (const member of bytes.sscanIterator('k')) void (member satisfies Buffer)
    for await (const keys of client.scanIterator({ type: 'set' }).pages()) void (keys satisfies string[])
    // @ts-expect-error members have no type
    client.sscanIterator('k', { type: 'set' })
    // @ts-expect-error of what?
    client.sscanIterator()
  }
  assert.equal(typeof check, 'function')
})

test('a peer that answers with something else than a page is not understood', async (t) => {
  const { node, client } = await setting(t)
  const answers = [
    integer(1),
    simple('OK'),
    array(),
    array(integer(0), array()),
    array(bulk('0'), integer(1)),
  ]
  for (const answer of answers) {
    node.intercept = ([name = '']) => (name.endsWith('SCAN') ? answer : 'pass')
    for (const iterator of [client.scanIterator(), client.hscanIterator('k'), client.zscanIterator('k')])
      assert.equal((await failure(iterator.next())).code, 'PROTOCOL_ERROR')
  }
})
