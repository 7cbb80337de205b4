// Which sentinels are watched, by what they list of each other.

import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { resolveSentinelOptions, type SentinelOptions } from '../../lib/sentinel/options.ts'
import { Sentinels } from '../../lib/sentinel/sentinels.ts'
import { freePorts } from '../support/free-ports.ts'
import { eventually } from '../support/real-servers.ts'
import { type Knowledge, ScriptedSentinel } from './scripted-deployment.ts'

const KNOWLEDGE: Knowledge = {
  name: 'm',
  master: '10.0.0.1:6379',
  epoch: 7,
  replicas: [],
  sentinels: [],
}

function watch(t: TestContext, seeds: readonly string[], options: Partial<SentinelOptions> = {}): Sentinels {
  const resolved = resolveSentinelOptions({ name: 'm', sentinels: seeds, pingInterval: 0, ...options })
  const sentinels = new Sentinels(resolved, { onEvent: () => undefined, onChange: () => undefined })
  t.after(() => sentinels.close(new Error('the test is over')))
  sentinels.start()
  return sentinels
}

async function sentinelNamed(t: TestContext, runId: string | undefined): Promise<ScriptedSentinel> {
  const sentinel = await new ScriptedSentinel(KNOWLEDGE).listen(t)
  sentinel.runId = runId
  return sentinel
}

function listed(address: string, runid: string, flags = 'sentinel') {
  const at = address.lastIndexOf(':')
  return new Map([
    ['ip', address.slice(0, at)],
    ['port', address.slice(at + 1)],
    ['flags', flags],
    ...(runid === '' ? [] : ([['runid', runid]] as const)),
  ])
}

const addresses = ({ links }: Sentinels) => links.map(({ address }) => address)
const askAll = ({ links }: Sentinels) => Promise.allSettled(links.map((link) => link.ask('m')))
const later = (ms: number) => performance.now() + ms

test('a sentinel named by the user and listed by its address is watched once', async (t) => {
  const one = await sentinelNamed(t, 'one')
  const other = await sentinelNamed(t, 'other')
  const byName = one.address.replace('127.0.0.1', 'localhost')
  const sentinels = watch(t, [byName])
  await askAll(sentinels)
  sentinels.update({ sentinels: [listed(one.address, 'one'), listed(other.address, 'other')] })
  assert.deepEqual(addresses(sentinels), [byName, other.address])
  await askAll(sentinels)
  sentinels.update({ sentinels: [listed(byName, ''), listed(one.address, 'one')] })
  assert.deepEqual(addresses(sentinels), [byName, other.address])
  assert.equal(one.server.peers.length, 1)
})

test('a sentinel that turns out to be one that is watched already is let go', async (t) => {
  const one = await sentinelNamed(t, 'one')
  const byName = one.address.replace('127.0.0.1', 'localhost')
  const sentinels = watch(t, [byName])
  // listed before it could tell its name
  sentinels.update({ sentinels: [listed(one.address, '')] })
  assert.equal(sentinels.links.length, 2)
  await askAll(sentinels)
  sentinels.update({ sentinels: [] })
  assert.deepEqual(addresses(sentinels), [byName])
  await eventually('its connection is closed', () => one.server.openCount === 1)
})

test('a sentinel that may not tell its name has the one that others list at its address', async (t) => {
  const one = await sentinelNamed(t, undefined)
  const sentinels = watch(t, [one.address])
  await askAll(sentinels)
  sentinels.update({ sentinels: [listed(one.address, 'one')] })
  await askAll(sentinels)
  assert.equal(sentinels.links[0]?.runId, 'one')
  sentinels.update({ sentinels: [listed('10.0.0.1:1', 'one')] })
  assert.deepEqual(addresses(sentinels), [one.address])
})

test('those that the user named stay, even two that lead to one', async (t) => {
  const one = await sentinelNamed(t, 'one')
  const [port = 0] = await freePorts(1)
  const seeds = [one.address, one.address.replace('127.0.0.1', 'localhost'), `127.0.0.1:${port}`]
  const sentinels = watch(t, seeds)
  await askAll(sentinels)
  sentinels.update({ sentinels: [] }, later(1_000_000))
  assert.deepEqual(addresses(sentinels), seeds)
})

test('one that is listed and cannot be reached is dropped after 30 s, unlisted after 3 s; listed, it comes back', async (t) => {
  const seed = await sentinelNamed(t, 'seed')
  const [port = 0] = await freePorts(1)
  const gone = `127.0.0.1:${port}`
  const sentinels = watch(t, [seed.address])
  const knows = (fields: ReadonlyMap<string, string>[], ms: number) => {
    sentinels.update({ sentinels: fields }, later(ms))
    return addresses(sentinels).includes(gone)
  }
  assert.equal(knows([listed(gone, 'gone')], 0), true)
  assert.equal(knows([listed(gone, 'gone')], 29_000), true)
  assert.equal(knows([listed(gone, 'gone')], 30_001), false)
  assert.equal(knows([listed(gone, 'gone')], 0), true, 'it is listed as one that is there')
  assert.equal(knows([], 2_500), true)
  assert.equal(knows([], 3_001), false)
  for (const flags of ['s_down,sentinel', 'sentinel,disconnected', 's_down,o_down']) {
    assert.equal(knows([listed(gone, 'gone', flags)], 0), false, flags)
  }
})

test('one that can be reached stays, though nobody lists it for a while', async (t) => {
  const [seed, other] = [await sentinelNamed(t, 'seed'), await sentinelNamed(t, 'other')]
  const sentinels = watch(t, [seed.address])
  sentinels.update({ sentinels: [listed(other.address, 'other')] })
  await askAll(sentinels)
  sentinels.update({ sentinels: [] }, later(1_000_000))
  assert.deepEqual(addresses(sentinels), [seed.address, other.address])
  await other.server.close()
  await eventually('the loss is noticed', () => sentinels.links[1]?.isConnected === false)
  sentinels.update({ sentinels: [] })
  assert.equal(sentinels.links.length, 2, 'it may be back in a second')
  sentinels.update({ sentinels: [] }, later(3_001))
  assert.deepEqual(addresses(sentinels), [seed.address])
})

test('one that has moved is watched where it is now', async (t) => {
  const [seed, before, after] = [
    await sentinelNamed(t, 'seed'),
    await sentinelNamed(t, 'mover'),
    await sentinelNamed(t, 'mover'),
  ]
  const sentinels = watch(t, [seed.address])
  sentinels.update({ sentinels: [listed(before.address, 'mover')] })
  await askAll(sentinels)
  await before.server.close()
  await eventually('the loss is noticed', () => sentinels.links[1]?.isConnected === false)
  sentinels.update({ sentinels: [listed(after.address, 'mover')] })
  assert.deepEqual(addresses(sentinels), [seed.address, after.address])
})

test('a listed address that is none is not watched', async (t) => {
  const seed = await sentinelNamed(t, 'seed')
  const sentinels = watch(t, [seed.address])
  const rows = [
    new Map(),
    listed(':1', 'a'),
    listed('h:0', 'b'),
    listed('h:99999', 'c'),
    listed('a b:1', 'd'),
  ]
  sentinels.update({ sentinels: rows })
  assert.deepEqual(addresses(sentinels), [seed.address])
})

test('the states tell of TILT, of what is forbidden and of why there is no connection', async (t) => {
  const [tilted, mute] = [await sentinelNamed(t, 'tilted'), await sentinelNamed(t, 'mute')]
  tilted.isTilted = true
  Object.assign(mute, { isMute: true, forbidden: ['INFO'] })
  const [port = 0] = await freePorts(1)
  const sentinels = watch(t, [tilted.address, mute.address, `127.0.0.1:${port}`])
  await askAll(sentinels)
  await eventually('it was refused', () => sentinels.links[1]?.forbidden.length === 3)
  const [one, two, three] = sentinels.states
  assert.deepEqual(one, { address: tilted.address, connected: true, tilt: true })
  assert.deepEqual(two, {
    address: mute.address,
    connected: true,
    forbidden: ['PSUBSCRIBE', 'SUBSCRIBE', 'INFO'],
  })
  assert.equal(three?.connected, false)
  assert.match(three?.trouble ?? '', /ECONNREFUSED/)
})

test('they are heard when more than half of those that are connected deliver events', async (t) => {
  const all = [await sentinelNamed(t, 'a'), await sentinelNamed(t, 'b'), await sentinelNamed(t, 'c')]
  const [one, two] = all
  assert.ok(one && two)
  one.isMute = true
  const heard = watch(
    t,
    all.map(({ address }) => address),
  )
  assert.equal(heard.areHeard, true, 'none is connected: there is nothing to make up for')
  await askAll(heard)
  await eventually('two of three deliver', () => heard.links.filter(({ isHeard }) => isHeard).length === 2)
  assert.equal(heard.areHeard, true)
  two.isMute = true
  const unheard = watch(
    t,
    all.map(({ address }) => address),
  )
  await askAll(unheard)
  await eventually('one of three delivers', () => unheard.links.filter(({ isHeard }) => isHeard).length === 1)
  assert.equal(unheard.areHeard, false)
})
