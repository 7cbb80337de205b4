// Measures the clients beside each other: `npm run bench -- [--clients a,b] [--work x,y] [--rounds 5] [--ms 400]`.
//
// One process for each client and workload; server and client have a core each where there are two. Rounds are
// interleaved, A B C A B C, with one active at a time, so that a machine whose speed drifts does so for all of
// them. The table shows medians, with the spread of the throughput; ratios are medians of the ratio of each
// round. Compare within one run only, and look at CPU per operation first.

import { spawn } from 'node:child_process'
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { availableParallelism, cpus, tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { clients } from './clients.js'
import { openRaw } from './raw.js'
import { workloads } from './workloads.js'

const here = dirname(fileURLToPath(import.meta.url))
const { values: args } = parseArgs({
  options: {
    clients: { type: 'string', default: ['raw', ...Object.keys(clients)].join(',') },
    work: { type: 'string', default: Object.keys(workloads).join(',') },
    rounds: { type: 'string', default: '5' },
    ms: { type: 'string', default: '400' },
    out: { type: 'string', default: join(here, 'results', 'latest.json') },
  },
})
const rounds = Number(args.rounds)
const ms = Number(args.ms)
const names = pickFrom(['raw', ...Object.keys(clients)], args.clients, 'client')
const works = pickFrom(Object.keys(workloads), args.work, 'workload')
const pinned = availableParallelism() >= 2

/** Ended with us, however we end. */
const children = new Set()
process.once('exit', () => {
  for (const child of children) child.kill('SIGKILL')
})

const server = await startServer()
const results = {}
try {
  for (const work of works) {
    results[work] = await measure(work)
    print(work, results[work])
  }
} finally {
  server.stop()
}
mkdirSync(dirname(args.out), { recursive: true })
writeFileSync(
  args.out,
  `${JSON.stringify({ at: new Date().toISOString(), node: process.version, cpu: cpus()[0]?.model, rounds, ms, results }, null, 2)}\n`,
)
console.log(`\nwritten to ${args.out}`)

async function measure(work) {
  await server.prepare(workloads[work])
  const workers = []
  for (const name of names) {
    const worker = await startWorker(name, work)
    if (worker !== undefined) workers.push(worker)
  }
  const samples = Object.fromEntries(workers.map(({ name }) => [name, []]))
  for (const worker of workers) await worker.round(ms) // warm-up
  for (let i = 0; i < rounds; i += 1) {
    for (const worker of workers) samples[worker.name].push(await worker.round(ms))
  }
  for (const worker of workers) worker.stop()
  return samples
}

function print(work, samples) {
  console.log(`\n${work}`)
  const mine = samples.respool
  const header = ['', 'ops/s', 'min', 'max', 'µs/op', 'respool: ops ×', 'CPU ×']
  const rows = Object.entries(samples).map(([name, list]) => {
    const ops = list.map((sample) => sample.ops)
    const ratio = (key) =>
      mine && name !== 'respool' ? median(list.map((s, i) => mine[i][key] / s[key])).toFixed(2) : ''
    return [
      name,
      round(median(ops)),
      round(Math.min(...ops)),
      round(Math.max(...ops)),
      median(list.map((s) => s.cpu)).toFixed(2),
      ratio('ops'),
      ratio('cpu'),
    ]
  })
  for (const row of [header, ...rows])
    console.log(
      row.map((cell, i) => (i === 0 ? String(cell).padEnd(22) : String(cell).padStart(15))).join(''),
    )
}

async function startWorker(name, work) {
  const runtime = clients[name]?.runtime === 'bun' ? findBun() : process.execPath
  if (runtime === undefined) return undefined
  const command = [runtime, join(here, 'worker.js'), name, work, '127.0.0.1', String(server.port)]
  const child = start(command, 1)
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  const next = async () => {
    for (;;) {
      const { value, done } = await lines.next()
      if (done) throw new Error(`${name} ended during ${work}`)
      if (value.startsWith('{')) return JSON.parse(value) // a client may write a log there
    }
  }
  const { ready } = await next().catch((error) => {
    console.error(`${error.message}; left out`)
    return { ready: false }
  })
  const stop = () => child.kill('SIGKILL')
  if (!ready) {
    stop()
    return undefined
  }
  const ask = async (forMs) => {
    child.stdin.write(`${JSON.stringify({ ms: forMs })}\n`)
    return await next()
  }
  return { name, round: ask, stop }
}

async function startServer() {
  const port = await freePort()
  const dir = mkdtempSync(join(tmpdir(), 'respool-bench-'))
  const options = {
    port,
    bind: '127.0.0.1',
    save: '',
    appendonly: 'no',
    dir,
    'client-output-buffer-limit': 'pubsub 0 0 0',
  }
  const flags = Object.entries(options).flatMap(([key, value]) => [
    `--${key}`,
    ...(value === '' ? [''] : String(value).split(' ')),
  ])
  const child = start([process.env.RESPOOL_SERVER ?? 'redis-server', ...flags], 0)
  child.stdout.resume()
  for (let i = 0; i < 200; i += 1) {
    const raw = await openRaw({ host: '127.0.0.1', port }).catch(() => undefined)
    if (raw !== undefined) {
      await raw.close()
      break
    }
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
  return {
    port,
    async prepare({ prepare }) {
      const { connect } = await import('../dist/lib/index.js')
      const connection = await connect({ port })
      await prepare?.((...command) => connection.execute(command))
      await connection.close()
    },
    stop() {
      child.kill('SIGKILL')
      rmSync(dir, { recursive: true, force: true })
    },
  }
}

function start(command, core) {
  const [program, ...rest] = pinned ? ['taskset', '-c', String(core), ...command] : command
  const child = spawn(program, rest, { stdio: ['pipe', 'pipe', 'inherit'] })
  children.add(child)
  child.once('exit', () => children.delete(child))
  return child
}

/** The binary that comes as a package; Bun's own install step downloads nothing here. */
function findBun() {
  try {
    const scope = join(here, 'node_modules', '@oven')
    const [folder] = readdirSync(scope).filter((name) => !name.includes('musl') && !name.includes('baseline'))
    return folder && join(scope, folder, 'bin', 'bun')
  } catch {
    return undefined
  }
}

function pickFrom(all, wanted, what) {
  const list = wanted.split(',')
  for (const name of list)
    if (!all.includes(name)) throw new Error(`unknown ${what} '${name}', there are ${all.join(', ')}`)
  return list
}

function freePort() {
  return new Promise((resolve) => {
    const probe = createServer().listen(0, '127.0.0.1', () => {
      const { port } = probe.address()
      probe.close(() => resolve(port))
    })
  })
}

function median(values) {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
}

function round(value) {
  return value >= 1e6
    ? `${(value / 1e6).toFixed(2)}M`
    : value >= 1e3
      ? `${(value / 1e3).toFixed(1)}k`
      : value.toFixed(0)
}
