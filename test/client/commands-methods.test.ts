// The commands as methods: which there are, what they are called, what they send.

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { test } from 'node:test'
import { promisify } from 'node:util'
import { Client, CommandView } from '../../lib/client/index.ts'
import { defineMethods, methods } from '../../lib/client/methods.ts'
import { commandName, isStateful } from '../../lib/commands/index.ts'
import type { Argument } from '../../lib/resp/index.ts'
import { projectFiles, projectRoot, readProjectFile } from '../support/project.ts'

interface Documented {
  readonly name: string
}

const documented = new Set(
  projectFiles('scripts/data')
    .filter((path) => /docs-.*\.json$/.test(path))
    .flatMap((path) => (JSON.parse(readProjectFile(path)) as { commands: Documented[] }).commands)
    .map(({ name }) => name),
)
const internal = ['DEBUG', 'PFDEBUG', 'PFSELFTEST', 'RESTORE-ASKING']

test('generating again gives the types and the table as they are', async () => {
  await promisify(execFile)(process.execPath, [join(projectRoot, 'scripts', 'generate-methods.js'), 'check'])
})

test('every method has its types, and all types have their method', () => {
  const text = readProjectFile('lib/client/commands.gen.ts')
  const typed = new Set([...text.matchAll(/^ {2}(\w+)\(/gm)].map(([, name]) => name))
  assert.deepEqual(methods.map(({ name }) => name).sort(), [...typed].sort())
  assert.ok(methods.length > 320)
})

test('a method is the command in lower case, with a capital behind each space, dash and underscore', () => {
  const names = new Map(methods.map(({ name, words }) => [words.join(' '), name]))
  for (const [command, name] of [
    ['GET', 'get'],
    ['CLIENT SETINFO', 'clientSetinfo'],
    ['XINFO STREAM', 'xinfoStream'],
    ['MEMORY MALLOC-STATS', 'memoryMallocStats'],
    ['CLUSTER COUNT-FAILURE-REPORTS', 'clusterCountFailureReports'],
    ['BITFIELD_RO', 'bitfieldRo'],
  ] as const) {
    assert.equal(names.get(command), name)
  }
  assert.equal(new Set(names.values()).size, names.size, 'no two commands have the same name')
})

test('every method sends the words of its command, then its arguments as they are', () => {
  class Recorder {}
  const sent: (readonly Argument[])[] = []
  defineMethods(Recorder.prototype, (_, command) => sent.push(command))
  const recorder = new Recorder() as Record<string, (...args: Argument[]) => unknown>
  const bytes = Buffer.from('x')
  for (const { name, words } of methods) {
    recorder[name]?.('a', 1, 2n, bytes)
    assert.deepEqual(sent.pop(), [...words, 'a', 1, 2n, bytes], name)
    assert.equal(commandName(words), words.join(' '), 'the command is known')
  }
})

test('no method hides a member of the client or of a view', () => {
  for (const prototype of [Client.prototype, CommandView.prototype] as object[]) {
    for (const { name } of methods) {
      const own = Object.getOwnPropertyDescriptor(prototype, name)
      assert.ok(own?.enumerable, `${name} is a method twice`)
      assert.ok(!(name in Object.getPrototypeOf(prototype)), `${name} is inherited, too`)
    }
  }
})

test('a command is a method, or changes or tells the state of its connection, or is internal to servers', () => {
  const isMethod = new Set(methods.map(({ words }) => words.join(' ')))
  for (const name of documented) {
    const words = name.split(' ')
    // HELLO without an argument changes nothing, it only tells
    const changes =
      isStateful(name === 'HELLO' ? ['HELLO', 3] : words) || name === 'WAIT' || name === 'WAITAOF'
    assert.equal(isMethod.has(name), !changes && !internal.includes(name), name)
  }
  for (const name of isMethod) assert.ok(documented.has(name), name)
})

test('docs/commands.md tells of every reply that has a shape, and of every command that is no method', () => {
  const text = readProjectFile('docs/commands.md')
  for (const { name, shaper } of methods) {
    if (shaper !== undefined)
      assert.ok(text.includes(`\`${name}\``), `docs/commands.md does not tell of ${name}`)
  }
  const isMethod = new Set(methods.map(({ words }) => words.join(' ')))
  for (const name of documented) {
    // the kin of SUBSCRIBE, and what only servers say to each other
    if (isMethod.has(name) || /SUBSCRIBE$|^CLUSTER SYNCSLOTS$/.test(name)) continue
    assert.ok(text.includes(`\`${name}\``), `docs/commands.md does not tell of ${name}`)
  }
})
