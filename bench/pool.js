// Measures the pools beside each other: `npm run bench:pool -- [--pools a,b] [--work idle,turns,get] [--rounds 9]`.
//
//   idle    get and return of an idle connection, one after the other, without I/O: time and bytes allocated
//   turns   100 tasks that take turns over 10 connections, without I/O
//   get     100 tasks over 10 exclusive connections to a server: borrow, GET, return; as lazy leases, over 10 permits
//
// One process for each pool and kind of work, warmed up, in interleaved rounds with one active at a time. Ratios are
// medians of the ratio of each round.

import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { integer, pick, readOptions } from './cli.js'
import { pools } from './pools/pools.js'
import { CLIENT_CORE, start, talkTo } from './processes.js'
import { columns } from './report.js'
import { startServer } from './server.js'
import { describeSetting, options, readSetting, resultsFile, writeResults } from './setting.js'
import { digits, median, medianOf, ratio, short } from './statistics.js'

const WORKER = join(dirname(fileURLToPath(import.meta.url)), 'pools', 'worker.js')
const GRACE_MS = 20_000
const LEASES_COUNTED = 50_000
/** Room for all that these leases allocate, so that the collector does not run while they are counted. */
const COUNTING = ['--expose-gc', '--max-semi-space-size=256', '--min-semi-space-size=256']

const { build, against, runtime } = options
const values = readOptions(
  {
    pools: { value: 'A,B', help: 'whom to measure, else all' },
    work: { value: 'X,Y', help: 'idle, turns, get', byDefault: 'idle,turns,get' },
    rounds: { value: 'N', help: 'rounds of each', byDefault: '9' },
    ms: { value: 'MS', help: 'milliseconds of one', byDefault: '300' },
    runtime,
    build,
    against,
    out: { value: 'FILE', help: 'where the figures go', byDefault: resultsFile('pool.json') },
  },
  'Measures pools of connections beside each other.',
  () => `\n\npools: ${Object.keys(pools).join(', ')}`,
)

const works = pick(['idle', 'turns', 'get'], values.work, 'work')
const setting = readSetting(values)
const all = Object.keys(pools).filter(
  (name) => name !== 'respool-other' || setting.builds.other !== undefined,
)
const names = pick(all, values.pools, 'pool')
const [rounds, ms] = ['rounds', 'ms'].map((name) => integer(values, name, 1))
const server = await startServer()
await server.admin('SET', 'k16', 'x'.repeat(16))

const results = {}
for (const work of works) {
  results[work] = await measure(work)
  print(work, results[work])
}
server.stop()
writeResults(values.out, { ...describeSetting(setting), server: server.version, rounds, ms, results })
process.exit(0)

async function measure(work) {
  const team = []
  for (const name of names) {
    if (pools[name].needsServer && work !== 'get') continue
    team.push({ name, samples: [], ...(await open(name, work, [])) })
  }
  for (const { ask } of team) await ask({ ms: ms * 2 }, ms + GRACE_MS)
  for (let i = 0; i < rounds; i += 1) {
    for (const { ask, samples } of team) samples.push(await ask({ ms }, ms + GRACE_MS))
  }
  for (const { stop } of team) stop()
  const found = {}
  for (const { name, samples } of team) {
    found[name] = { samples, bytes: work === 'idle' ? await countBytes(name) : undefined }
  }
  return found
}

/** In a process of its own: with so large a young generation every lease is in memory that was never touched. */
async function countBytes(name) {
  const { ask, stop } = await open(name, 'idle', COUNTING)
  await ask({ ms: 100 }, GRACE_MS)
  const { bytes } = await ask({ leases: LEASES_COUNTED }, GRACE_MS)
  stop()
  return bytes
}

async function open(name, work, flags) {
  const where = work === 'get' ? server.where.tcp : undefined
  const task = { pool: name, work, where, builds: setting.builds }
  const child = start([setting.node, ...flags, WORKER, JSON.stringify(task)], CLIENT_CORE)
  const { next, ask, stop } = talkTo(child, name)
  await next(GRACE_MS)
  return { ask, stop }
}

function print(work, found) {
  const mine = found.respool?.samples
  const header = ['', 'leases/s', 'min', 'max', 'µs/lease', 'bytes/lease', 'respool: ops', 'CPU']
  const rows = Object.entries(found).map(([name, { samples, bytes }]) => {
    const ops = samples.map((sample) => sample.ops)
    const against = (figure) =>
      mine && name !== 'respool' ? `${ratio(mine, samples, figure).toFixed(2)} ×` : ''
    return [
      name,
      short(median(ops)),
      short(Math.min(...ops)),
      short(Math.max(...ops)),
      digits(medianOf(samples, 'cpu')),
      bytes === undefined ? '' : bytes.toFixed(0),
      against('ops'),
      against('cpu'),
    ]
  })
  console.log(`\n${work}\n${columns([header, ...rows])}`)
}
