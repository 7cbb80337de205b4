// @ts-check
/**
 * `npm test`: prepares the clone, then runs every test with coverage, which must not fall below what
 * .c8rc.json demands. `npm test -- pool sentinel` runs only the tests whose path has one of the words, and
 * options go to Node's test runner: `npm test -- pool --test-name-pattern=waiter`. Neither measures coverage.
 */
import { existsSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import process from 'node:process'
import { compiled, Fault, filesIn, root, run, runMain, setup } from './setup.js'

/**
 * In Node 20 this bounds a whole file, from Node 22 on each test. The longest file waits for several
 * failovers, each of 3 to 15 s.
 */
const timeoutMs = 300_000

/**
 * Half the cores, since each of the files that matter has servers of its own at work, but two at least:
 * they wait for timers most of the time.
 */
const concurrency = Math.max(2, Math.floor(availableParallelism() / 2))

await runMain('test', () => {
  const args = process.argv.slice(2)
  const words = args.filter((arg) => !arg.startsWith('-'))
  const options = args.filter((arg) => arg.startsWith('-'))

  setup()
  // By name: given a folder, Node 20 runs the helpers in it as well. From the sources, not from dist/.
  const tests = filesIn('test')
    .filter((path) => path.endsWith('.test.ts'))
    .filter((path) => words.length === 0 || words.some((word) => path.includes(word)))
    .map(compiled)
  if (tests.length === 0)
    throw new Fault(words.length === 0 ? 'no tests' : `no test has ${words.join(' or ')} in its path`)

  const runner = [
    process.execPath,
    '--enable-source-maps',
    '--test',
    '--test-reporter=spec',
    `--test-timeout=${timeoutMs}`,
    `--test-concurrency=${concurrency}`,
    ...options,
    ...tests,
  ]
  if (args.length > 0) return run(runner)
  const c8 = 'node_modules/c8/bin/c8.js'
  if (!existsSync(join(root, c8))) throw new Fault(`${c8} is missing: run 'npm ci'`)
  return run([process.execPath, c8, ...runner])
})
