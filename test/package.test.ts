// The package as a user installs it: packed, installed into an empty project without a network, and used there.

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { promisify } from 'node:util'
import * as respool from '../lib/index.ts'
import { projectRoot } from './support/project.ts'
import { findBinaries, startServer } from './support/real-servers.ts'
import { tempDir } from './support/temp-dir.ts'

const execute = promisify(execFile)
const timeout = 120_000

/** What the import of the library may load; all else of Node is loaded by its first use. */
const loadedAtOnce = new Set(
  [
    'async_hooks',
    'buffer',
    'diagnostics_channel',
    'events',
    'net',
    'perf_hooks',
    'timers/promises',
    'util',
  ].map((name) => `node:${name}`),
)

/** The user's project: a folder with the package installed. */
let folder = ''
const cleanups: (() => Promise<void> | void)[] = []

before(async () => {
  folder = tempDir({ after: (fn) => cleanups.push(fn) })
  const npm = (args: readonly string[], cwd: string) => execute('npm', args, { cwd, timeout })
  // Not built anew: other tests run on what there is.
  const { stdout } = await npm(
    ['pack', '--json', '--ignore-scripts', '--pack-destination', folder],
    projectRoot,
  )
  const [{ filename }] = JSON.parse(stdout) as [{ filename: string }]
  writeFileSync(join(folder, 'package.json'), '{"private":true,"type":"module"}')
  await npm(['install', '--offline', '--ignore-scripts', '--no-audit', '--no-fund', `./${filename}`], folder)
})

after(async () => {
  for (const cleanup of cleanups) await cleanup()
})

/** Writes a program into the user's project and runs it. */
async function run(name: string, program: string, flags: readonly string[] = []): Promise<string> {
  writeFileSync(join(folder, name), program)
  const { stdout, stderr } = await execute(process.execPath, [...flags, name], { cwd: folder, timeout })
  assert.equal(stderr, '')
  return stdout
}

test('it brings nothing but itself', () => {
  const installed = readdirSync(join(folder, 'node_modules')).filter((name) => !name.startsWith('.'))
  assert.deepEqual(installed, ['respool'])
  const lock = JSON.parse(readFileSync(join(folder, 'package-lock.json'), 'utf8')) as { packages: object }
  assert.deepEqual(Object.keys(lock.packages), ['', 'node_modules/respool'])
})

test('what is published exports what the sources do, and classes and functions keep their names', async () => {
  const program = `
    import * as respool from 'respool'
    console.log(JSON.stringify(Object.entries(respool).map(([key, it]) => [key, typeof it, it.name ?? null])))`
  const published = JSON.parse(await run('names.js', program)) as unknown
  const compiled = Object.entries(respool).map(([key, it]) => [key, typeof it, 'name' in it ? it.name : null])
  assert.deepEqual(published, compiled)
})

test('CommonJS requires it, and has the very classes that others import', async () => {
  const program = `
    const { createClient, Pool, RespoolError } = require('respool')
    const client = createClient()
    client.call('PING').catch((error) => console.log(error instanceof RespoolError, error.code))
    client.destroy()
    import('respool').then((it) => console.log(it.Pool === Pool))`
  // A warning that require() of an ES module is an experiment is Node's own, before 22.13.
  const stdout = await run('user.cjs', program, ['--disable-warning=ExperimentalWarning'])
  assert.deepEqual(stdout.trim().split('\n').sort(), ['true', 'true CLIENT_CLOSED'])
})

test('its import loads of Node only what every program with a connection needs', () => {
  const text = readFileSync(join(folder, 'node_modules/respool/dist/respool.js'), 'utf8')
  const imported = [...text.matchAll(/\bfrom"([\w:./-]+)"/g)].map(([, name = '']) => name)
  assert.ok(imported.length > 3)
  assert.deepEqual(
    imported.filter((name) => !loadedAtOnce.has(name)),
    [],
  )
  assert.doesNotMatch(text, /\bimport\(/, 'nothing is imported later')
})

test('its import writes nothing, and leaves nothing behind that runs or listens', async () => {
  const program = `
    const globals = Reflect.ownKeys(globalThis).length
    const events = ['exit', 'beforeExit', 'uncaughtException', 'unhandledRejection', 'warning', 'SIGINT', 'SIGTERM']
    const count = () => events.map((name) => process.listenerCount(name)).join()
    const [listeners, resources] = [count(), process.getActiveResourcesInfo().join()]
    await import('respool')
    const isSame = count() === listeners && process.getActiveResourcesInfo().join() === resources
    console.log(Reflect.ownKeys(globalThis).length - globals, isSame)`
  assert.equal(await run('quiet.js', program), '0 true\n')
})

for (const [name, settings] of Object.entries({
  nodenext: { module: 'nodenext', moduleResolution: 'nodenext' },
  bundler: { module: 'esnext', moduleResolution: 'bundler' },
  'nodenext and nobody’s types asked for': { module: 'nodenext', types: [] },
})) {
  test(`a strict program compiles with moduleResolution ${name}, the library's own types included`, async () => {
    const types = join(folder, 'node_modules', '@types')
    mkdirSync(join(folder, 'node_modules'), { recursive: true })
    if (!readdirSync(join(folder, 'node_modules')).includes('@types')) {
      symlinkSync(join(projectRoot, 'node_modules/@types'), types)
    }
    const program = `
      import { type Client, createClient, type Pool, type ReplyError, RespoolError } from 'respool'
      const client: Client = createClient({ port: 6379, readFrom: 'prefer-replica' })
      const set: string | null = await client.set('key', 'value')
      const value: string | null = await client.get('key')
      const bytes: Buffer | null = await client.with({ replies: 'buffer' }).get('key')
      client.on('switch', ({ from, to }) => console.log(from, to))
      export const code = (error: unknown) => error instanceof RespoolError ? error.code : undefined
      export type Known = [Pool<never>, ReplyError]
      // @ts-expect-error: there is no such option
      createClient({ prot: 6379 })
      // @ts-expect-error: a value is missing
      await client.set('key')
      console.log(set, value, bytes)
      await client.close()`
    writeFileSync(join(folder, 'program.ts'), program)
    const compilerOptions = {
      target: 'es2023',
      lib: ['es2023', 'esnext.disposable'],
      types: ['node'],
      strict: true,
      exactOptionalPropertyTypes: true,
      noEmit: true,
      skipLibCheck: false,
      ...settings,
    }
    const project = join(folder, `tsconfig.${name.replaceAll(' ', '-')}.json`)
    writeFileSync(project, JSON.stringify({ compilerOptions, files: ['program.ts'] }))
    const compiler = join(projectRoot, 'node_modules/typescript/bin/tsc')
    const result = await execute(process.execPath, [compiler, '-p', project], { timeout }).catch(
      (error: { stdout: string }) => error,
    )
    assert.equal(result.stdout, '')
  })
}

test('it talks to a server', { skip: findBinaries() === undefined && 'no server' }, async (t) => {
  const { port } = await startServer(t)
  const program = `
    import { createClient } from 'respool'
    const client = createClient({ port: ${port} })
    console.log(await client.set('key', 'value'), await client.get('key'), await client.call('GET', 'none'))
    await client.close()`
  assert.equal(await run('talks.js', program), 'OK value null\n')
})
