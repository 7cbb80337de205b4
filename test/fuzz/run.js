// Looks for a wire that the decoder reads wrongly: `npm run fuzz -- [--seconds 60] [--inputs 0] [--seed 1]`.
//
// Inputs are made by Jazzer.js (libFuzzer for Node), which is guided by the parts of dist/lib/resp that each input
// reaches; it is installed into .cache/fuzz, from the lock file beside this one, and runs nothing on installation.
// Where its native part cannot be loaded (on Linux it wants glibc 2.38), inputs come from our own mutations, by the
// grammar and without guidance. Either way decoder.fuzz.js judges them. Ends with 1 when something was found.

import { spawnSync } from 'node:child_process'
import { copyFileSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { performance } from 'node:perf_hooks'
import process from 'node:process'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { corpus } from '../../dist/test/fuzz/corpus.js'
import { mutate } from '../../dist/test/support/mutate.js'
import { freshSeed, randomNumbers } from '../../dist/test/support/random-numbers.js'
import { fuzz } from './decoder.fuzz.js'

const here = dirname(fileURLToPath(import.meta.url))
const work = join(dirname(dirname(here)), '.cache', 'fuzz')
const target = join(here, 'decoder.fuzz.js')

/** What RESP is made of, for the mutations of libFuzzer, which knows bytes only. */
const words = [
  ...[...'+-:$*_,#(!=%~>|;.'].map((type) => `\r\n${type}`),
  ...['\r\n', '-1\r\n', '?\r\n', '.\r\n', ';0\r\n', 'txt:', 'mkd:', 'inf', '-inf', 'nan', '#t\r\n', '_\r\n'],
  ...[
    '|1\r\n+a\r\n+b\r\n',
    '>1\r\n',
    '*?\r\n',
    '%?\r\n',
    '~?\r\n',
    '$?\r\n',
    '9007199254740993',
    '99999999999',
  ],
]

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '60' },
    inputs: { type: 'string', default: '0' },
    seed: { type: 'string', default: String(freshSeed()) },
  },
})
const [seconds, inputs, seed] = [values.seconds, values.inputs, values.seed].map(Number)
if (![seconds, inputs, seed].every((it) => Number.isInteger(it) && it >= 0)) {
  console.error('--seconds, --inputs and --seed are whole numbers; 0 seconds or inputs is no limit')
  process.exit(2)
}

const missing = install()
if (missing === undefined) {
  process.exitCode = runGuided()
} else {
  console.log(`without guidance by coverage: ${missing}`)
  process.exitCode = runByMutation()
}

/** @returns {string | undefined} why there is no Jazzer.js */
function install() {
  mkdirSync(work, { recursive: true })
  const lock = readFileSync(join(here, 'package-lock.json'), 'utf8')
  const installed = join(work, 'package-lock.json')
  const isThere = existsSync(join(work, 'node_modules')) && readFileSync(installed, 'utf8') === lock
  if (!isThere) {
    copyFileSync(join(here, 'package.json'), join(work, 'package.json'))
    writeFileSync(installed, lock)
    const { status, stderr } = npm('ci', '--ignore-scripts', '--silent')
    if (status !== 0) return `npm ci failed: ${stderr.trim()}`
  }
  const options = { cwd: work, encoding: /** @type {const} */ ('utf8') }
  const loaded = spawnSync(process.execPath, ['-e', "require('@jazzer.js/fuzzer')"], options)
  return loaded.status === 0 ? undefined : (/^Error: .*$/m.exec(loaded.stderr)?.[0] ?? 'it does not load')
}

/** @param {string[]} args */
function npm(...args) {
  const done = spawnSync('npm', args, { cwd: work, encoding: 'utf8' })
  // half an installation is none the next time
  if (done.status !== 0) rmSync(join(work, 'node_modules'), { recursive: true, force: true })
  return { status: done.status, stderr: done.stderr ?? String(done.error) }
}

function runGuided() {
  const seeds = join(work, 'seeds')
  const found = join(work, 'corpus')
  for (const folder of [seeds, found]) mkdirSync(folder, { recursive: true })
  for (const [i, wire] of corpus.entries()) {
    for (const how of '0123')
      writeFileSync(join(seeds, `${i}-${how}`), Buffer.concat([Buffer.from(`${how}0`), wire]))
  }
  const dictionary = join(work, 'resp.dict')
  writeFileSync(dictionary, words.map((word) => `"${escaped(word)}"\n`).join(''))
  const cli = join(work, 'node_modules/@jazzer.js/core/dist/cli.js')
  const options = [
    '--sync',
    '--timeout',
    '10000',
    '--includes',
    'dist/lib/resp',
    '--disable_bug_detectors',
    '.*',
  ]
  const limits = [`-max_total_time=${seconds}`, ...(inputs > 0 ? [`-runs=${inputs}`] : [])]
  const rest = [`-dict=${dictionary}`, `-artifact_prefix=${work}/`, `-seed=${seed}`, '-max_len=1024']
  const { status } = spawnSync(
    process.execPath,
    [cli, target, ...options, found, seeds, '--', ...limits, ...rest, '-print_final_stats=1'],
    { stdio: 'inherit' },
  )
  return status ?? 1
}

function runByMutation() {
  const random = randomNumbers(seed)
  const endsAt = seconds === 0 ? Number.POSITIVE_INFINITY : performance.now() + seconds * 1000
  let run = 0
  for (; (inputs === 0 || run < inputs) && performance.now() < endsAt; run += 1) {
    const input = Buffer.concat([Buffer.of(random(4), random(256)), mutate(random, corpus)])
    try {
      fuzz(input)
    } catch (error) {
      console.error(error)
      console.error(`seed ${seed}, input ${run}: ${input.toString('hex')}`)
      return 1
    }
  }
  console.log(`${run} inputs, none read wrongly (seed ${seed})`)
  return 0
}

/** @param {string} word as libFuzzer reads it: hexadecimal but for letters and digits */
function escaped(word) {
  return word.replace(/[^\w]/g, (it) => `\\x${it.charCodeAt(0).toString(16).padStart(2, '0')}`)
}
