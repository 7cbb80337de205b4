// `npm run test:failover -- --help`: what a client of respool sees of each fault, measured on real servers.
//
// Every run has its own deployment, in its own directory, on free ports; whatever happens, all of it is gone in the
// end. The exit code is 1 when a figure is not what it must be.

import { appendFileSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { line, markdown, verdicts } from './report.ts'
import { brokenLaws, requirements } from './requirements.ts'
import { DEFAULT_RATE, type Run, type RunOptions, runScenario } from './run.ts'
import type { Scenario } from './scenario.ts'
import { scenarios } from './scenarios/index.ts'

const options = {
  scenario: { type: 'string' },
  runs: { type: 'string', default: '1' },
  rate: { type: 'string', default: String(DEFAULT_RATE) },
  'no-early': { type: 'boolean', default: false },
  json: { type: 'string' },
  markdown: { type: 'boolean', default: false },
  from: { type: 'string' },
  help: { type: 'boolean', default: false },
} as const

const help = `Runs one client under a steady load through faults of a Sentinel deployment, and measures what it saw.

  --scenario NAME[,NAME]  which (all)
  --runs N                how often each (1)
  --rate N                writes a second, and as many reads (${DEFAULT_RATE})
  --no-early              the client waits for the announcement: adoptEarly false
  --json FILE             appends a line of JSON for each run
  --from FILE[,FILE]      runs nothing, and tells of the runs in such files
  --markdown              the tables at the end, in Markdown

${scenarios.map(({ name, about }) => `  ${name.padEnd(24)}${about}`).join('\n')}
`

/** Everything that is started has its files in here. */
const scratch = mkdtempSync(join(tmpdir(), 'respool-failover-'))
process.env.TMPDIR = scratch
process.once('exit', () => rmSync(scratch, { recursive: true, force: true }))
// the servers are ended by the first signal; this makes it an exit, so that the rest goes, too
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => process.exit(1))

let failures = 0
process.exit(await main())

async function main(): Promise<number> {
  const { values } = parseArgs({ options })
  if (values.help) {
    console.log(help)
    return 0
  }
  const runs = values.from === undefined ? await runAll(values) : readRuns(values.from)
  console.log(values.markdown ? markdown(runs) : verdicts(runs))
  const isMet = requirements.every(({ check }) => check(runs).isMet !== false)
  return isMet && failures === 0 && runs.every((run) => run.trouble === undefined) ? 0 : 1
}

async function runAll(values: {
  readonly scenario?: string | undefined
  readonly runs: string
  readonly rate: string
  readonly 'no-early': boolean
  readonly json?: string | undefined
}): Promise<Run[]> {
  const picked = pick(values.scenario)
  const times = integer('runs', values.runs, 1, 1_000)
  const rate = integer('rate', values.rate, 10, 100_000)
  const runs: Run[] = []
  for (let i = 0; i < times; i++) {
    for (const scenario of picked) {
      const run = await attempt(scenario, { rate, adoptEarly: !values['no-early'], isShort: false })
      if (run === undefined) continue
      runs.push(run)
      if (values.json !== undefined) appendFileSync(values.json, `${JSON.stringify(run)}\n`)
      console.error(line(run))
      for (const broken of brokenLaws(run)) console.error(`  BROKEN: ${broken}`)
    }
  }
  return runs
}

/** One run that cannot be made is told of, and costs no other. */
async function attempt(scenario: Scenario, options: RunOptions): Promise<Run | undefined> {
  try {
    return await runScenario(scenario, options)
  } catch (error) {
    failures += 1
    console.error(`${scenario.name}: FAILED`, error)
    return undefined
  }
}

function readRuns(files: string): Run[] {
  return files.split(',').flatMap((file) =>
    readFileSync(file, 'utf8')
      .split('\n')
      .filter((text) => text !== '')
      .map((text) => JSON.parse(text) as Run),
  )
}

function pick(names: string | undefined): readonly Scenario[] {
  if (names === undefined) return scenarios
  return names.split(',').map((name) => {
    const scenario = scenarios.find((it) => it.name === name)
    return (
      scenario ?? fail(`there is no scenario '${name}', only ${scenarios.map((it) => it.name).join(', ')}`)
    )
  })
}

function integer(name: string, text: string, min: number, max: number): number {
  const number = Number(text)
  if (Number.isInteger(number) && number >= min && number <= max) return number
  return fail(`--${name} must be an integer from ${min} to ${max}, got '${text}'`)
}

/** A mistake of the user's: a line, no stack. */
function fail(message: string): never {
  console.error(`${message}; --help tells more`)
  process.exit(1)
}
