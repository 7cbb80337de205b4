// One client and one workload in a process of its own, told by its parent when to work: `{ ms }` in, the figures
// of that round out. Speaks lines of JSON, so that it runs under every runtime.

import { createInterface } from 'node:readline'
import { clients } from './clients.js'
import { openRaw } from './raw.js'
import { workloads } from './workloads.js'

const [name, workloadName, host, port] = process.argv.slice(2)
const workload = workloads[workloadName]
const where = { host, port: Number(port) }

/** Runs for about that long and tells how many operations were completed. */
async function prepare() {
  if (name === 'raw') return await prepareRaw()
  const { open } = clients[name]
  if (workload.special === 'connect') {
    return async (until) => {
      let done = 0
      while (performance.now() < until) {
        const client = await open(where)
        await client.close()
        done += 1
      }
      return done
    }
  }
  const client = await open(where)
  if (workload.special === 'subscribe') return await prepareSubscriber(client)
  const { run, inFlight = 1, count = 1 } = workload
  return async (until) => {
    let done = 0
    const loop = async () => {
      for (let i = 0; ; i += 1) {
        await run(client, i)
        done += count
        if ((i & 7) === 0 && performance.now() >= until) return
      }
    }
    await Promise.all(Array.from({ length: inFlight }, loop))
    return done
  }
}

async function prepareRaw() {
  if (workload.special !== undefined) return undefined
  const raw = await openRaw(where)
  const size = (workload.inFlight ?? 1) * (workload.count ?? 1)
  const batch = await raw.prepare(workload.raw, size)
  return async (until) => {
    let done = 0
    while (performance.now() < until) {
      await batch()
      done += size
    }
    return done
  }
}

/** Messages are published by a script in the server, so that no publisher shares the cores. */
async function prepareSubscriber(client) {
  let received = 0
  let wanted = 0
  let onAll = () => undefined
  await client.subscribe('news', () => {
    received += 1
    if (received === wanted) onAll()
  })
  const publisher = await openRaw(where)
  const script = "for i = 1, 20000 do redis.call('PUBLISH', 'news', 'message-of-16-b') end return 1"
  const publish = await publisher.prepare(['EVAL', script, 0], 1)
  await new Promise((resolve) => setTimeout(resolve, 100))
  return async (until) => {
    const before = received
    while (performance.now() < until) {
      wanted = received + 20_000
      const all = new Promise((resolve) => {
        onAll = resolve
      })
      await publish()
      await all
    }
    return received - before
  }
}

const work = await prepare()
console.log(JSON.stringify({ ready: work !== undefined }))
for await (const line of createInterface({ input: process.stdin })) {
  const { ms } = JSON.parse(line)
  const cpu = process.cpuUsage()
  const from = performance.now()
  const done = await work(from + ms)
  const seconds = (performance.now() - from) / 1000
  const { user, system } = process.cpuUsage(cpu)
  console.log(JSON.stringify({ ops: done / seconds, cpu: (user + system) / done }))
}
process.exit(0)
