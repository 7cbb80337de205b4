// Measures what the clients hold and what their garbage costs:
//
//   npm run bench:memory -- [--clients a,b] [--measure idle,load,peak,kept] [--markdown]
//   node bench/memory.js --ops 200000 --connections 500      shorter
//
// One process for each client and measurement, with --expose-gc, so that none finds what another left.
//
//   idle   bytes of an idle connection that was used before, the slope between two counts of them
//   load   heap growth, RSS and garbage collection over many GETs with 100 in flight
//   peak   RSS while one large value arrives, above the start, in multiples of the value
//   kept   bytes that a reply of 17 or 100 bytes keeps alive when it is kept: a string, bytes, an element of an array
//
// `raw`, a bare socket of Node's, is there where it can be compared: idle.

import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { integer, pick, readOptions } from './cli.js'
import { clients } from './clients/index.js'
import { keptKeys, prepareKept } from './memory/kept.js'
import { describeMemory, describeMemoryAsMarkdown } from './memory/report.js'
import { CLIENT_CORE, start, talkTo } from './processes.js'
import { findBun } from './runtimes.js'
import { startServer } from './server.js'
import { describeSetting, options, readSetting, resultsFile, writeResults } from './setting.js'
import { median } from './statistics.js'

const WORKER = join(dirname(fileURLToPath(import.meta.url)), 'memory', 'worker.js')
/** Long enough for the slowest client and 5 million operations. */
const MAX_MS = 600_000
/** A peak depends on when the collector happens to run. */
const PEAKS = 3
/**
 * A young generation of the least size for `idle`: it would grow by up to 16 MB at some point of the count, or not, and
 * that is as much as the connections have.
 */
const FLAGS = { idle: ['--expose-gc', '--max-semi-space-size=1'] }
const COMMON_FLAGS = ['--expose-gc']

const values = readOptions(
  {
    clients: { value: 'A,B', help: 'whom to measure, else all' },
    measure: { value: 'X,Y', help: 'idle, load, peak, kept', byDefault: 'idle,load,peak,kept' },
    ops: { value: 'N', help: 'operations of load', byDefault: '5000000' },
    connections: { value: 'N', help: 'connections of idle', byDefault: '2000' },
    mebibytes: { value: 'N', help: 'size of the value of peak', byDefault: '64' },
    ...options,
    out: { value: 'FILE', help: 'where the figures go', byDefault: resultsFile('memory.json') },
  },
  'Measures the memory of Redis clients.',
  () => `\n\nclients: ${Object.keys(clients).join(', ')}`,
)

const measurements = pick(['idle', 'load', 'peak', 'kept'], values.measure, 'measurement')
const [ops, connections, mebibytes] = ['ops', 'connections', 'mebibytes'].map((name) =>
  integer(values, name, 1),
)
const bytes = mebibytes * 1024 * 1024
const setting = readSetting(values)
const all = Object.keys(clients)
const byDefault = all.filter((name) => clients[name].kind !== 'variant')
const named = pick(all, values.clients, 'client', byDefault)
if (setting.builds.other !== undefined && !named.includes('respool-other')) named.push('respool-other')

const server = await startServer()
await server.admin('SET', 'k16', 'x'.repeat(16))
await server.admin('SET', 'large', 'x'.repeat(bytes))
await prepareKept(server.admin)

const notes = []
const results = {}
for (const name of named) {
  results[name] = {}
  for (const [key, measurement, what, times] of planFor(name)) {
    const found = await ask(name, measurement, what, times)
    if (found === undefined) continue
    if (measurement === 'kept') results[name].kept = { ...results[name].kept, [key]: found }
    else results[name][key] = found
  }
  console.error(`${name}: done`)
}
server.stop()

const run = {
  ...describeSetting(setting),
  server: server.version,
  ops,
  connections,
  mebibytes,
  notes,
  results,
}
console.log(describeMemory(results))
if (values.markdown) console.log(`\n${describeMemoryAsMarkdown(run)}`)
writeResults(values.out, run)
process.exit(0)

/** Key of the figures, measurement, its options, how often. */
function planFor(name) {
  const plan = {
    idle: [['idle', 'idle', { connections }, 1]],
    load: [['load', 'load', { ops }, 1]],
    peak: [
      ['peakString', 'peak', { bytes, as: 'string' }, PEAKS],
      ['peakBytes', 'peak', { bytes, as: 'bytes' }, PEAKS],
    ],
    kept: keptKeys.map((of) => [of, 'kept', { of }, 1]),
  }
  return measurements
    .filter((measurement) => measurement === 'idle' || clients[name].kind !== 'floor')
    .flatMap((measurement) => plan[measurement])
}

/** Of several runs the one in the middle; one that fails is noted. */
async function ask(client, measurement, what, times) {
  const found = []
  for (let i = 0; i < times; i += 1) {
    const task = { client, where: server.where.tcp, builds: setting.builds, measurement, options: what }
    const one = await runOnce(client, task)
    if (one === undefined) return undefined
    found.push(one)
  }
  return times === 1 ? found[0] : { peak: median(found.map(({ peak }) => peak)) }
}

async function runOnce(client, task) {
  const isBun = clients[client].runtime === 'bun'
  const binary = isBun ? findBun() : setting.node
  if (binary === undefined) {
    note(`${client}: bun is not installed`)
    return undefined
  }
  const flags = isBun ? [] : (FLAGS[task.measurement] ?? COMMON_FLAGS)
  const child = start([binary, ...flags, WORKER, JSON.stringify(task)], CLIENT_CORE)
  const { next, stop } = talkTo(child, client)
  try {
    return await next(MAX_MS)
  } catch (error) {
    note(`${client}, ${task.measurement}: ${error.message}`)
    return undefined
  } finally {
    stop()
  }
}

function note(text) {
  notes.push(text)
  console.error(text)
}
