// Many GETs with 100 in flight: whether the heap grows by them, and how much of the time went into collecting garbage.

import { constants, PerformanceObserver } from 'node:perf_hooks'
import { settled } from './settle.js'

const IN_FLIGHT = 100
/** Part of the operations, at most as many: the heap of a client at work, not of one that begins. */
const WARM_UP = 0.05
const MAX_WARM_UP = 200_000

/** Bytes, milliseconds; garbage collection where the runtime tells of it. */
export async function measureLoad(open, { ops }) {
  const client = await open()
  await run(client, Math.min(ops * WARM_UP, MAX_WARM_UP))
  const before = await settled()
  const watch = watchCollections()
  const cpu = process.cpuUsage()
  const from = performance.now()
  await run(client, ops)
  const ms = performance.now() - from
  const { user, system } = process.cpuUsage(cpu)
  const { rss } = process.memoryUsage()
  const collections = await watch.stop()
  const after = await settled()
  return {
    opsPerSecond: (ops / ms) * 1000,
    cpu: (user + system) / ops,
    growth: after.held - before.held,
    rss,
    ...(collections && {
      collections: collections.counts,
      collectionShare: collections.ms / ms,
      collectionMsPerMillion: collections.ms / (ops / 1e6),
    }),
  }
}

async function run(client, ops) {
  let left = ops
  const loop = async () => {
    while (left > 0) {
      left -= 1
      await client.get('k16')
    }
  }
  await Promise.all(Array.from({ length: IN_FLIGHT }, loop))
}

function watchCollections() {
  if (!PerformanceObserver.supportedEntryTypes.includes('gc')) return { stop: async () => undefined }
  const names = {
    [constants.NODE_PERFORMANCE_GC_MINOR]: 'minor',
    [constants.NODE_PERFORMANCE_GC_MAJOR]: 'major',
    [constants.NODE_PERFORMANCE_GC_INCREMENTAL]: 'incremental',
    [constants.NODE_PERFORMANCE_GC_WEAKCB]: 'weak callbacks',
  }
  const counts = {}
  let ms = 0
  const take = (entries) => {
    for (const { detail, duration } of entries) {
      const name = names[detail.kind] ?? 'other'
      counts[name] = (counts[name] ?? 0) + 1
      ms += duration
    }
  }
  const observer = new PerformanceObserver((list) => take(list.getEntries()))
  observer.observe({ entryTypes: ['gc'] })
  return {
    /** What the observer has not been told of yet comes with it, and what the count itself causes does not. */
    async stop() {
      await new Promise((resolve) => setImmediate(resolve))
      take(observer.takeRecords())
      observer.disconnect()
      return { counts, ms }
    },
  }
}
