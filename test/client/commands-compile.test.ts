// What the types of the commands cost whoever compiles a program that uses them. Time is the machine's; what the
// compiler counts is the same everywhere.

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { promisify } from 'node:util'
import { projectRoot } from '../support/project.ts'

const timeoutMs = 120_000

/** A folder inside the project, so that the package is found by its own name. */
function folderOf(t: TestContext): string {
  const cache = join(projectRoot, '.cache')
  mkdirSync(cache, { recursive: true })
  const folder = mkdtempSync(join(cache, 'compile-'))
  t.after(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

/** What the compiler counts in checking the program, which has to be right. */
async function countsOf(t: TestContext, program: string): Promise<Record<string, number>> {
  const folder = folderOf(t)
  const compilerOptions = {
    target: 'es2023',
    lib: ['es2023', 'esnext.disposable'],
    types: ['node'],
    module: 'nodenext',
    strict: true,
    skipLibCheck: true,
    noEmit: true,
  }
  writeFileSync(join(folder, 'program.ts'), program)
  writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify({ compilerOptions, files: ['program.ts'] }))
  const compiler = join(projectRoot, 'node_modules/typescript/bin/tsc')
  const { stdout } = await promisify(execFile)(
    process.execPath,
    [compiler, '-p', folder, '--extendedDiagnostics'],
    { timeout: timeoutMs },
  )
  return Object.fromEntries(
    [...stdout.matchAll(/^(\w+):\s+(\d+)$/gm)].map(([, name, count]) => [name, Number(count)]),
  )
}

test('a small program costs the compiler little: types are made as they are used', async (t) => {
  const program = `
    import { createClient } from 'respool'
    const redis = createClient({ port: 1 })
    await redis.set('k', 'v', 'EX', 10)
    const value: string | null = await redis.get('k')
    await redis.zadd('z', 1, 'a', 2, 'b')
    for (const [member, score] of await redis.zrange('z', 0, -1, 'WITHSCORES')) console.log(member, score.toFixed())
    for (const { entries } of (await redis.xread('COUNT', 10, 'BLOCK', 1000, 'STREAMS', 's', '$')) ?? []) {
      for (const { id, fields } of entries) console.log(id, fields['a'])
    }
    const hash = await redis.hgetall('h')
    const bytes: Buffer | null = await redis.with({ replies: 'buffer' }).get('k')
    console.log(value, hash['x'], bytes)
    await redis.close()
  `
  const { Instantiations: instantiations = Number.NaN, Types: types = Number.NaN } = await countsOf(
    t,
    program,
  )
  // 1,500 and 1,850 when this was written; all 330 methods would be some 36,000
  assert.ok(instantiations < 4_000, `${instantiations} instantiations`)
  assert.ok(types < 5_000, `${types} types`)
})
