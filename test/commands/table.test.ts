import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { commandRows, keyLayouts } from '../../lib/commands/table.gen.ts'

// The tests run as compiled output, somewhere below the project.
function projectRoot(): string {
  let dir = dirname(fileURLToPath(import.meta.url))
  while (!existsSync(join(dir, 'package.json'))) dir = dirname(dir)
  return dir
}

test('generating again gives the table as it is', async () => {
  const root = projectRoot()
  await promisify(execFile)(process.execPath, [join(root, 'scripts', 'generate-commands.js'), 'check'])
})

test('every row has a name of its own, known bits and a layout that exists', () => {
  const names = new Set<string>()
  for (const [name, bits, layout] of commandRows) {
    assert.match(name, /^[A-Z0-9:_-]+( [A-Z0-9_-]+)?$/)
    assert.ok(!names.has(name), name)
    names.add(name)
    assert.ok(bits >= 0 && bits < 8 && (bits & 3) !== 3, name)
    assert.ok(keyLayouts[layout] !== undefined, name)
  }
  assert.ok(names.size > 350)
})

test('every subcommand has its container in the table', () => {
  const names = new Set(commandRows.map(([name]) => name))
  for (const name of names) assert.ok(names.has(name.replace(/ .*/, '')), name)
})
