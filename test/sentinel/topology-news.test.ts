import assert from 'node:assert/strict'
import { test } from 'node:test'
import { freezeTopology, type Topology } from '../../lib/sentinel/topology.ts'
import { TopologyNews } from '../../lib/sentinel/topology-news.ts'

function topology(changes: Partial<Topology> = {}, lag?: number): Topology {
  const replicas = [{ address: 'b:1', healthy: true, lag, latency: lag }]
  const rest = { generation: 1, epoch: 1, master: 'a:1', sentinels: [], holding: false }
  return freezeTopology({ ...rest, replicas, ...changes })
}

function newsOf(first: Topology) {
  const told: Topology[] = []
  const state = { now: first }
  const news = new TopologyNews(
    () => state.now,
    (it) => told.push(it),
  )
  return { news, told, state }
}

test('what says nothing else is not told again', () => {
  const { news, told, state } = newsOf(topology())
  news.publish()
  state.now = topology()
  news.publish()
  assert.deepEqual(told, [])
})

test('a change is told once, with the topology that is the latest from then on', () => {
  const { news, told, state } = newsOf(topology())
  state.now = topology({ holding: true })
  news.publish()
  news.publish()
  assert.deepEqual(told, [state.now])
  assert.equal(news.latest(0), state.now)
})

test('a measurement is no news, but whoever asks gets it', () => {
  const { news, told, state } = newsOf(topology({}, 1))
  state.now = topology({}, 2)
  news.publish()
  assert.deepEqual(told, [])
  assert.equal(news.latest(100).replicas[0]?.lag, 2)
})

test('as long as nothing new is measured, whoever asks gets the same topology', () => {
  const { news, state } = newsOf(topology({}, 1))
  const first = news.latest(100)
  state.now = topology({}, 2)
  assert.equal(news.latest(100), first)
  assert.notEqual(news.latest(101), first)
})
