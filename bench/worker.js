// One client and one workload in a process of its own, told by its parent when to work: `{ ms }` in, the figures
// of that round out. Speaks lines of JSON, so that it runs under every runtime.

import { createInterface } from 'node:readline'
import { clients } from './clients/index.js'
import { dial, dialOnce, encode, prepareBatch } from './raw.js'
import { workloads } from './workloads.js'

/** Of this process alone, or those whose turn it is not would get the messages too. */
const CHANNEL = `news-${String(process.pid).padStart(8, '0')}`
const MESSAGE = 'message-of-16-by'
/** Messages of one script; two scripts are under way at a time. */
const MESSAGES = 10_000

/** @type {{ client: string, work: string, where: import('./clients/index.js').Where, builds: any }} */
const task = JSON.parse(process.argv[2])
const { where, builds } = task
const { open } = clients[task.client]
const workload = workloads[task.work]

const work = await prepare()
console.log(JSON.stringify({ ready: true, runtime: process.versions.bun ?? process.version }))
for await (const line of createInterface({ input: process.stdin })) {
  const { ms } = JSON.parse(line)
  const cpu = process.cpuUsage()
  const from = performance.now()
  const done = await work(clockFor(ms))
  const seconds = (performance.now() - from) / 1000
  const { user, system } = process.cpuUsage(cpu)
  console.log(JSON.stringify({ ops: done / seconds, cpu: (user + system) / done, done }))
}
process.exit(0)

/** The work of one round: goes on until the clock says so, and tells how many operations were completed. */
function prepare() {
  if (workload.special === 'connect') return prepareConnects()
  if (workload.special === 'subscribe') return prepareSubscriber()
  return open === undefined ? prepareRaw() : prepareClient()
}

/** A flag set by a timer: what looks at it after every operation pays nothing for that. */
function clockFor(ms) {
  const clock = { isOver: false }
  setTimeout(() => {
    clock.isOver = true
  }, ms)
  return clock
}

async function prepareClient() {
  const client = await open(where, { builds })
  const { run, inFlight = 1, count = 1 } = workload
  return async (clock) => {
    let done = 0
    const loop = async (first) => {
      for (let i = first; !clock.isOver; i += 1) {
        await run(client, i)
        done += count
      }
    }
    await Promise.all(Array.from({ length: inFlight }, (_, i) => loop(i)))
    return done
  }
}

async function prepareRaw() {
  const { inFlight = 1, count = 1, raw } = workload
  const size = inFlight * count
  const batch = await prepareBatch(await dial(where), raw, size)
  return async (clock) => {
    let done = 0
    while (!clock.isOver) {
      await batch()
      done += size
    }
    return done
  }
}

async function prepareConnects() {
  const once =
    open === undefined ? () => dialOnce(where) : async () => (await open(where, { builds })).close()
  return async (clock) => {
    let done = 0
    while (!clock.isOver) {
      await once()
      done += 1
    }
    return done
  }
}

/**
 * Messages are published by a script in the server, so that no publisher shares the cores. The next script is asked for
 * when all messages of the one before the last are in: the server has always one to run.
 */
async function prepareSubscriber() {
  const publisher = await dial(where)
  publisher.take = () => undefined
  const script = `for i = 1, ${MESSAGES} do redis.call('PUBLISH', '${CHANNEL}', '${MESSAGE}') end return 1`
  const publish = encode(['EVAL', script, 0])

  let clock = { isOver: true }
  let received = 0
  let published = 0
  /** Received count at which something is to be done. */
  let next = Number.POSITIVE_INFINITY
  let finish = (_value) => undefined
  const more = () => {
    publisher.write(publish)
    published += MESSAGES
  }
  const take = (count) => {
    received += count
    if (received >= next) takeTurn()
  }
  const takeTurn = () => {
    while (received >= next) {
      next += MESSAGES
      if (!clock.isOver) more()
    }
    if (received >= published) finish()
  }
  await (open === undefined ? subscribeRaw(take) : subscribe(take))
  await new Promise((resolve) => setTimeout(resolve, 100))
  return async (clockOfRound) => {
    clock = clockOfRound
    const before = received
    next = received + MESSAGES
    await new Promise((resolve) => {
      finish = resolve
      more()
      more()
    })
    return received - before
  }
}

async function subscribe(take) {
  const client = await open(where, { builds, channel: CHANNEL })
  await client.subscribe(CHANNEL, () => take(1))
}

/** Counts messages by their bytes. */
async function subscribeRaw(take) {
  const messageBytes = encode(['message', CHANNEL, MESSAGE]).length
  const socket = await dial(where)
  await new Promise((resolve) => {
    socket.take = resolve
    socket.write(encode(['SUBSCRIBE', CHANNEL]))
  })
  let bytes = 0
  socket.take = (length) => {
    bytes += length
    take(Math.floor(bytes / messageBytes))
    bytes %= messageBytes
  }
}
