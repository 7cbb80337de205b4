// One pool and one kind of work in a process of its own, told by its parent when to work: `{ ms }` in, the figures of
// that round out; `{ allocations: n }` in, the bytes that so many leases allocate.

import { PerformanceObserver } from 'node:perf_hooks'
import { createInterface } from 'node:readline'
import { pools, SIZE } from './pools.js'

const TASKS = 100

const task = JSON.parse(process.argv[2])
const pool = await pools[task.pool].open(task)

const turn =
  pool.use ??
  (async () => {
    const it = await pool.borrow()
    if (task.work === 'get') await pool.get(it)
    await pool.giveBack(it)
  })

/** Borrows until the time is over; how many times. */
async function work(until) {
  let done = 0
  const one = async () => {
    for (let i = 1; ; i += 1) {
      await turn()
      done += 1
      if (i % 16 === 0 && performance.now() >= until) return
    }
  }
  await Promise.all(Array.from({ length: task.work === 'idle' ? 1 : TASKS }, one))
  return done
}

/** Bytes for a lease; `undefined` when the collector ran meanwhile. */
async function allocations(leases) {
  let collections = 0
  const observer = new PerformanceObserver((list) => {
    collections += list.getEntries().length
  })
  observer.observe({ entryTypes: ['gc'] })
  globalThis.gc()
  await new Promise((resolve) => setTimeout(resolve, 20))
  collections = 0
  const before = process.memoryUsage().heapUsed
  for (let i = 0; i < leases; i += 1) await turn()
  const after = process.memoryUsage().heapUsed
  await new Promise((resolve) => setTimeout(resolve, 20))
  observer.disconnect()
  return collections > 0 ? undefined : (after - before) / leases
}

// all there is is opened before the first round
if (pool.borrow !== undefined) {
  const all = await Promise.all(Array.from({ length: SIZE }, () => pool.borrow()))
  for (const it of all) await pool.giveBack(it)
}
console.log(JSON.stringify({ ready: true }))
for await (const line of createInterface({ input: process.stdin })) {
  const { ms, leases } = JSON.parse(line)
  if (leases !== undefined) {
    console.log(JSON.stringify({ bytes: await allocations(leases) }))
    continue
  }
  const cpu = process.cpuUsage()
  const from = performance.now()
  const done = await work(from + ms)
  const seconds = (performance.now() - from) / 1000
  const { user, system } = process.cpuUsage(cpu)
  console.log(JSON.stringify({ ops: done / seconds, cpu: (user + system) / done }))
}
process.exit(0)
