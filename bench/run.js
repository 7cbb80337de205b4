// Measures the clients beside each other:
//
//   npm run bench -- [--clients a,b] [--work x,y,tls-*] [--rounds 5] [--ms 400] [--markdown]
//   node bench/run.js --help                               all options, clients and workloads
//   node bench/run.js --runtime newest --work get16-c100   under the Node that bench/package.json brings
//   node bench/run.js --against DIR --clients respool      this build of respool beside another
//   node bench/run.js --from bench/results/latest.json --markdown   the tables of an earlier run
//
// One process for each client and workload; server and client have a core each where there are two. Each is warmed
// up; then rounds are interleaved, with one active at a time. The tables show medians, with the spread of the
// throughput; ratios are medians of the ratio of each round. Compare within one run only, and look at CPU per
// operation first. Memory is measured by memory.js.

import { readFileSync } from 'node:fs'
import { fail, integer, pick, readOptions } from './cli.js'
import { clients } from './clients/index.js'
import { measure } from './measure.js'
import { describe, describeAsMarkdown } from './report.js'
import { startServer } from './server.js'
import { describeSetting, options, readSetting, resultsFile, writeResults } from './setting.js'
import { workloads } from './workloads.js'

const values = readOptions(
  {
    clients: { value: 'A,B', help: 'whom to measure, else all where they say something' },
    work: { value: 'X,Y', help: "which work; 'tls-*' stands for all that begin so" },
    rounds: { value: 'N', help: 'rounds of each', byDefault: '5' },
    ms: { value: 'MS', help: 'milliseconds of one', byDefault: '400' },
    warmup: { value: 'MS', help: 'milliseconds before the first', byDefault: '800' },
    ...options,
    from: { value: 'FILE', help: 'measure nothing, print the tables of these figures' },
    out: { value: 'FILE', help: 'where the figures go', byDefault: resultsFile('latest.json') },
  },
  'Measures Redis clients beside each other.',
  () => `\n\nclients: ${Object.keys(clients).join(', ')}\n\n${describeWorkloads()}`,
)

if (values.from === undefined) {
  const run = await runAll()
  if (values.markdown) console.log(`\n${describeAsMarkdown(run)}`)
  writeResults(values.out, run)
} else {
  const run = JSON.parse(readFileSync(values.from, 'utf8'))
  for (const [work, samples] of Object.entries(run.results)) console.log(describe(work, samples))
  if (values.markdown) console.log(`\n${describeAsMarkdown(run)}`)
}
process.exit(0)

async function runAll() {
  const works = pick(Object.keys(workloads), values.work, 'workload')
  const named = pick(Object.keys(clients), values.clients, 'client', [])
  const setting = readSetting(values)
  for (const name of named) {
    if (name.endsWith('-other') && !setting.builds.other) fail(`'${name}' needs --against`)
  }
  const [rounds, ms, warmup] = ['rounds', 'ms', 'warmup'].map((name) => integer(values, name, 1))
  const server = await startServer()
  const notes = []
  const onNote = (note) => {
    notes.push(note)
    console.error(note)
  }
  const results = {}
  for (const work of works) {
    results[work] = await measure(work, whoFor(work, named, setting), {
      ...setting,
      server,
      rounds,
      ms,
      warmup,
      onNote,
    })
    if (Object.keys(results[work]).length > 0) console.log(describe(work, results[work]))
  }
  server.stop()
  return { ...describeSetting(setting), server: server.version, rounds, ms, warmup, notes, results }
}

function whoFor(work, named, { builds }) {
  const isIn = (name) => {
    if (name === 'respool-other' && builds.other !== undefined) return true
    if (named.length > 0) return named.includes(name)
    return clients[name].only?.includes(work) ?? true
  }
  return Object.keys(clients).filter(isIn)
}

function describeWorkloads() {
  const rows = Object.entries(workloads).map(([name, { title }]) => `  ${name.padEnd(18)}${title}`)
  return ['work:', ...rows].join('\n')
}
