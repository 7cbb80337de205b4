// @ts-check
// Runs the tests on every runtime: `npm run test:runtimes -- [--on node-22,bun] [words of a test's path…]`.
//
// Each file is a process of its own, bounded in time. What fails on Bun and Deno and is known (differences.js) is
// counted and does not fail the run; known and passing is told, for then it can be taken off the list.

import { spawn, spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import process from 'node:process'
import { parseArgs } from 'node:util'
import { compiled, filesIn, root } from '../../scripts/setup.js'
import { differences } from './differences.js'
import { fileTimeoutMs, provide, runtimes } from './runtimes.js'

/** They look at the project and its tools, and not at what the library does. */
const notOfTheLibrary = [
  'test/docs.test.ts',
  'test/layering.test.ts',
  'test/package.test.ts',
  'test/commands/table.test.ts',
  'test/integration/demo.test.ts',
  'test/integration/install.test.ts',
  'test/integration/scripts.test.ts',
]
/** Files at a time: most of them wait for timers and servers. */
const concurrency = 2
/** After its own bound, for a runtime that does not keep to it. */
const graceMs = 10_000

/**
 * @typedef {object} Outcome
 * @property {number} passed
 * @property {number} skipped
 * @property {string[]} failed names; that of the file where it did not get so far
 * @property {string} output for people
 */

const { values, positionals } = parseArgs({
  options: { on: { type: 'string', default: Object.keys(runtimes).join(',') }, verbose: { type: 'boolean' } },
  allowPositionals: true,
})
const names = values.on.split(',')
for (const name of names) {
  if (runtimes[name] !== undefined) continue
  console.error(`--on: there is no '${name}', there are ${Object.keys(runtimes).join(', ')}`)
  process.exit(2)
}
const files = filesIn('test')
  .filter((path) => path.endsWith('.test.ts') && !notOfTheLibrary.includes(path))
  .filter((path) => positionals.length === 0 || positionals.some((word) => path.includes(word)))

const reports = mkdtempSync(join(tmpdir(), 'respool-runtimes-'))
process.on('exit', () => rmSync(reports, { recursive: true, force: true }))
const binaries = provide(names, join(root, '.cache', 'runtimes'))

for (const name of names) {
  const binary = binaries.get(name)
  if (binary === undefined) {
    console.log(`${name}: not to be had`)
    process.exitCode = 1
  } else if (!(await runAll(name, binary))) process.exitCode = 1
}

/** @param {string} name @param {string} binary @returns {Promise<boolean>} whether all is well */
async function runAll(name, binary) {
  const { stdout } = spawnSync(binary, ['--version'], { encoding: 'utf8' })
  const startedAt = performance.now()
  const known = differences[name] ?? {}
  const sum = { passed: 0, skipped: 0, known: 0 }
  let isWell = true
  const left = [...files]
  const work = async () => {
    for (let file = left.shift(); file !== undefined; file = left.shift()) {
      const expected = known[file] ?? {}
      const outcome = await runFile(name, binary, file)
      sum.passed += outcome.passed
      sum.skipped += outcome.skipped
      const unknown = outcome.failed.filter((test) => expected[test.split(' > ')[0] ?? test] === undefined)
      sum.known += outcome.failed.length - unknown.length
      for (const test of unknown) console.log(`${name} ${file}: ${test}`)
      if (unknown.length > 0 && values.verbose) console.log(outcome.output)
      for (const test of Object.keys(expected)) {
        if (!outcome.failed.includes(test))
          console.log(`${name} ${file}: passes though it is on the list: ${test}`)
      }
      isWell &&= unknown.length === 0
    }
  }
  await Promise.all(Array.from({ length: concurrency }, work))
  const seconds = ((performance.now() - startedAt) / 1000).toFixed(0)
  const version = /[\d.]+/.exec(stdout)?.[0]
  const result = `${sum.passed} passed, ${sum.known} known to fail, ${sum.skipped} skipped, ${seconds} s`
  console.log(`${isWell ? 'ok  ' : 'FAIL'} ${name} (${version}): ${files.length} files, ${result}`)
  return isWell
}

/** @param {string} name @param {string} binary @param {string} file @returns {Promise<Outcome>} */
function runFile(name, binary, file) {
  const report = join(reports, `${name}-${file.replaceAll('/', '-')}.xml`)
  const args = /** @type {import('./runtimes.js').Runtime} */ (runtimes[name]).command(compiled(file), report)
  return new Promise((resolve) => {
    // A group of its own, so that its servers go with it when it has to be killed.
    const child = spawn(binary, args, { cwd: root, stdio: ['ignore', 'pipe', 'pipe'], detached: true })
    let output = ''
    child.stdout.on('data', (chunk) => {
      output += chunk
    })
    child.stderr.on('data', (chunk) => {
      output += chunk
    })
    const timer = setTimeout(() => {
      if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL')
    }, fileTimeoutMs + graceMs)
    child.once('close', (code, signal) => {
      clearTimeout(timer)
      const outcome = readReport(existsSync(report) ? readFileSync(report, 'utf8') : '')
      if (code !== 0 && outcome.failed.length === 0)
        outcome.failed.push(`the file ended with ${signal ?? code}`)
      resolve({ ...outcome, output })
    })
  })
}

/** @param {string} xml @returns {Omit<Outcome, 'output'>} */
function readReport(xml) {
  const cases = [...xml.matchAll(/<testcase\b[^>]*?\bname="([^"]*)"[^>]*?(?:\/>|>(.*?)<\/testcase>)/gs)]
  const having = (/** @type {string} */ tag) => cases.filter(([, , body = '']) => body.includes(`<${tag}`))
  const failed = having('failure')
    .concat(having('error'))
    .map(([, name = '']) => unescaped(name))
  const skipped = having('skipped').length
  return { passed: cases.length - failed.length - skipped, skipped, failed: [...new Set(failed)] }
}

/** @param {string} text */
function unescaped(text) {
  const characters = { lt: '<', gt: '>', quot: '"', apos: "'", '#39': "'", amp: '&' }
  return text.replace(/&(lt|gt|quot|apos|#39|amp);/g, (_, name) => Reflect.get(characters, name))
}
