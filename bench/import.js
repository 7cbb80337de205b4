// What it costs to import each client, and to compile a program that uses it: `npm run bench:import`.
//
//   import  a new process imports it: wall time and CPU from before to after, its files in the system's cache
//   tsc     the compiler on a small program that uses it, and as the ratio to one that imports nothing
//
// One after the other, in turns; the first turn is not counted.

import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import process from 'node:process'
import { fileURLToPath } from 'node:url'
import { integer, pick, readOptions } from './cli.js'
import { columns } from './report.js'
import { digits, median, medianOf } from './statistics.js'

const here = dirname(fileURLToPath(import.meta.url))
const root = dirname(here)

/** What each is imported by, from where, and a program that sets and gets a key. */
const clients = {
  respool: {
    specifier: 'respool',
    home: root,
    program: `import { createClient } from 'respool'\nconst client = createClient()`,
  },
  ioredis: {
    specifier: 'ioredis',
    home: here,
    program: `import { Redis } from 'ioredis'\nconst client = new Redis()`,
  },
  iovalkey: {
    specifier: 'iovalkey',
    home: here,
    program: `import { Redis } from 'iovalkey'\nconst client = new Redis()`,
  },
  'node-redis': {
    specifier: 'redis',
    home: here,
    program: `import { createClient } from 'redis'\nconst client = createClient()`,
  },
}
const nothing = {
  specifier: 'node:events',
  home: root,
  program: 'const client = { set: async (_: string, it: string) => it, get: async (it: string) => it }',
}
const use = `\nawait client.set('key', 'value')\nexport const value: string | null = await client.get('key')\n`

const values = readOptions(
  {
    clients: { value: 'A,B', help: 'whom to measure, else all' },
    rounds: { value: 'N', help: 'imports of each', byDefault: '20' },
    compilations: { value: 'N', help: 'of each program', byDefault: '7' },
  },
  'Measures what the import of a client costs, at run time and at compile time.',
)
const names = pick(Object.keys(clients), values.clients, 'client')
const [rounds, compilations] = ['rounds', 'compilations'].map((name) => integer(values, name, 1))

const measured = { nothing, ...Object.fromEntries(names.map((name) => [name, clients[name]])) }

const imports = inTurns(rounds, ({ specifier, home }) => importOnce(specifier, home))
const folders = []
try {
  const homes = new Map(Object.values(measured).map((client) => [client, writeProgram(client)]))
  print(
    imports,
    inTurns(compilations, (client) => compileOnce(homes.get(client))),
  )
} finally {
  for (const folder of folders) rmSync(folder, { recursive: true, force: true })
}

/** @returns what `work` gave for each, so many times */
function inTurns(count, work) {
  const samples = Object.fromEntries(Object.keys(measured).map((name) => [name, []]))
  for (let i = 0; i <= count; i += 1) {
    for (const [name, client] of Object.entries(measured)) {
      const sample = work(client)
      if (i > 0) samples[name].push(sample)
    }
  }
  return samples
}

/** Milliseconds of wall time and of CPU. */
function importOnce(specifier, cwd) {
  const program = `
    const before = process.cpuUsage(), startedAt = performance.now()
    await import(${JSON.stringify(specifier)})
    const ms = performance.now() - startedAt, { user, system } = process.cpuUsage(before)
    process.stdout.write(JSON.stringify({ ms, cpu: (user + system) / 1000 }), () => process.exit())`
  return JSON.parse(run(['--input-type=module', '-e', program], cwd))
}

/** @returns the folder of a project that has nothing but the program; it is found from there what is imported */
function writeProgram({ home, program }) {
  const parent = join(home, '.cache')
  mkdirSync(parent, { recursive: true })
  const folder = mkdtempSync(join(parent, 'import-'))
  folders.push(folder)
  const compilerOptions = {
    target: 'es2023',
    lib: ['es2023', 'esnext.disposable'],
    module: 'nodenext',
    types: ['node'],
    typeRoots: [join(root, 'node_modules/@types')],
    strict: true,
    skipLibCheck: true,
    noEmit: true,
  }
  writeFileSync(join(folder, 'program.ts'), program + use)
  writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify({ compilerOptions, files: ['program.ts'] }))
  return folder
}

/** Milliseconds. */
function compileOnce(folder) {
  const startedAt = performance.now()
  run([join(root, 'node_modules/typescript/bin/tsc'), '-p', folder], root)
  return performance.now() - startedAt
}

function run(args, cwd) {
  const { status, stdout, stderr } = spawnSync(process.execPath, args, { cwd, encoding: 'utf8' })
  if (status !== 0) throw new Error(`node ${args.at(-1)}: ${stdout}${stderr}`)
  return stdout
}

function print(imported, compiled) {
  const rows = Object.keys(measured).map((name) => {
    const all = imported[name]
    return [
      name,
      digits(medianOf(all, 'ms')),
      digits(Math.min(...all.map(({ ms }) => ms))),
      digits(medianOf(all, 'cpu')),
      digits(median(compiled[name])),
      `${median(compiled[name].map((ms, i) => ms / compiled.nothing[i])).toFixed(2)} ×`,
    ]
  })
  const header = ['', 'import, ms', 'least', 'CPU, ms', 'tsc, ms', 'to nothing']
  console.log(`Node ${process.versions.node}, medians of ${rounds} and ${compilations}`)
  console.log(columns([header, ...rows]))
}
