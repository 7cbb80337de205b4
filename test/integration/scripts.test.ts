// What scripts/setup.js decides. The scripts are plain JavaScript outside of what is compiled, so they
// are loaded from where they are, and typed here as far as they are used.

import assert from 'node:assert/strict'
import { existsSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { delimiter, dirname, join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { tempDir } from '../support/temp-dir.ts'

interface LockFile {
  packages: Record<string, { version?: string; integrity?: string; optional?: boolean }>
}

interface Setup {
  nodeFault(version: string, platform: NodeJS.Platform): string | undefined
  packagesFault(wanted: LockFile, present: LockFile | undefined): string | undefined
  findProgram(name: string, path: string | undefined): string | undefined
  findServer(env: Readonly<Record<string, string | undefined>>): string | undefined
  chooseInstaller(machine: {
    has(program: string): boolean
    isRoot: boolean
    sudoMayAsk: boolean
    sudoNeedsNothing(): boolean
  }): { manager: { program: string; packages: readonly string[] }; prefix: readonly string[] }
  compiled(source: string): string
}

const setup: Setup = await import(pathToFileURL(join(repositoryRoot(), 'scripts/setup.js')).href)

test('Node is refused below 20.19, and Windows outside of WSL', () => {
  for (const version of ['20.19.0', '20.20.2', '22.1.0', '24.0.0-nightly', '100.0.0']) {
    assert.equal(setup.nodeFault(version, 'linux'), undefined, version)
  }
  for (const version of ['20.18.3', '18.20.0', '9.99.0']) {
    assert.match(
      setup.nodeFault(version, 'darwin') ?? '',
      new RegExp(`20\\.19 or newer is needed, this is ${version}`),
    )
  }
  assert.match(setup.nodeFault('22.0.0', 'win32') ?? '', /WSL/)
})

test('packages are installed when they are not those of the lock file', () => {
  const lock = (version: string, more: LockFile['packages'] = {}): LockFile => ({
    packages: {
      '': { version: '0.1.0' },
      'node_modules/a': { version, integrity: `hash of ${version}` },
      ...more,
    },
  })
  assert.match(setup.packagesFault(lock('1.0.0'), undefined) ?? '', /not installed yet/)
  assert.equal(setup.packagesFault(lock('1.0.0'), lock('1.0.0')), undefined)
  assert.match(setup.packagesFault(lock('1.0.1'), lock('1.0.0')) ?? '', /node_modules\/a is not that/)
  assert.match(
    setup.packagesFault(lock('1.0.0', { 'node_modules/b': { version: '2.0.0' } }), lock('1.0.0')) ?? '',
    /b is/,
  )
  // Other platforms' parts stay away, and what the lock file has no hash of is known by its version.
  const optional = lock('1.0.0', { 'node_modules/c': { version: '2.0.0', optional: true } })
  assert.equal(setup.packagesFault(optional, lock('1.0.0')), undefined)
  const hashed = lock('1.0.0', { 'node_modules/c': { version: '2.0.0', integrity: 'hash', optional: true } })
  assert.equal(setup.packagesFault(optional, hashed), undefined)
  const republished = lock('1.0.0', { 'node_modules/a': { version: '1.0.0', integrity: 'another hash' } })
  assert.match(setup.packagesFault(lock('1.0.0'), republished) ?? '', /node_modules\/a is/)
})

test('the server is the one asked for, else redis-server, else valkey-server', (t) => {
  const [both, valkeyOnly, neither] = ['both', 'valkey', 'neither'].map((name) => {
    const folder = join(tempDir(t), name)
    mkdirSync(folder)
    return folder
  })
  assert.ok(both !== undefined && valkeyOnly !== undefined && neither !== undefined)
  for (const path of [
    join(both, 'redis-server'),
    join(both, 'valkey-server'),
    join(valkeyOnly, 'valkey-server'),
  ]) {
    symlinkSync(process.execPath, path)
  }
  // Neither a directory nor a file that cannot be run is a program.
  mkdirSync(join(neither, 'redis-server'))
  writeFileSync(join(neither, 'valkey-server'), '')

  assert.equal(setup.findServer({ PATH: both }), join(both, 'redis-server'))
  assert.equal(
    setup.findServer({ PATH: [neither, valkeyOnly].join(delimiter) }),
    join(valkeyOnly, 'valkey-server'),
  )
  assert.equal(setup.findServer({ PATH: neither }), undefined)
  assert.equal(setup.findServer({ PATH: undefined }), undefined)
  assert.equal(setup.findServer({ PATH: both, RESPOOL_SERVER: 'valkey-server' }), join(both, 'valkey-server'))
  assert.equal(setup.findServer({ PATH: both, RESPOOL_SERVER: process.execPath }), process.execPath)
  assert.throws(
    () => setup.findServer({ PATH: both, RESPOOL_SERVER: 'redis-9' }),
    /no such program: 'redis-9'/,
  )
  assert.equal(setup.findProgram('redis-server', `${neither}${delimiter}${both}`), join(both, 'redis-server'))
})

test("a missing server comes from the system's package manager, as root or through sudo", () => {
  const choose = (programs: string[], isRoot: boolean, { asks = false, free = false } = {}) =>
    setup.chooseInstaller({
      has: (program) => programs.includes(program),
      isRoot,
      sudoMayAsk: asks,
      sudoNeedsNothing: () => free,
    })
  for (const program of ['apt-get', 'dnf', 'yum', 'apk', 'pacman', 'zypper']) {
    const { manager, prefix } = choose([program, 'sudo'], true)
    assert.equal(manager.program, program)
    assert.ok(manager.packages.some((name) => name.startsWith('redis')))
    assert.deepEqual(prefix, [])
  }
  assert.equal(choose(['brew', 'apt-get'], true).manager.program, 'apt-get')
  assert.equal(choose(['dnf', 'yum'], true).manager.program, 'dnf')
  assert.deepEqual(choose(['apt-get', 'sudo'], false, { free: true }).prefix, ['sudo'])
  assert.deepEqual(choose(['apt-get', 'sudo'], false, { asks: true }).prefix, ['sudo'])
  assert.throws(() => choose(['apt-get', 'sudo'], false), /run 'apt-get install redis-server' as root/)
  assert.throws(() => choose(['apk'], false, { asks: true }), /run 'apk add redis' as root/)
  assert.throws(
    () => choose(['sudo'], true),
    /no package manager that is known here: install Redis or Valkey/,
  )
  // Homebrew wants no root.
  assert.deepEqual(choose(['brew', 'sudo'], false).prefix, [])
  assert.throws(() => choose(['brew'], true), /run 'brew install redis' as another user/)
})

test('a test is run from where it was compiled to', () => {
  assert.equal(setup.compiled('test/pool/pool.test.ts'), join('dist', 'test', 'pool', 'pool.test.js'))
})

/** The tests run from where they were compiled to. */
function repositoryRoot(): string {
  let folder = dirname(fileURLToPath(import.meta.url))
  while (!existsSync(join(folder, 'package.json'))) folder = dirname(folder)
  return folder
}
