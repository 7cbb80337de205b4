// @ts-check
/**
 * `npm run docs:api`: the API reference, from the types and comments of lib/, into dist/api/. A warning is an error:
 * a link that leads nowhere, a type that users meet and cannot name.
 *
 * TypeDoc and its compiler are a package of their own in scripts/api, installed into .cache/api; no script of theirs
 * is run.
 */
import { copyFileSync, existsSync, mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import process from 'node:process'
import { Fault, isMain, root, run, runMain } from './setup.js'

const source = join(root, 'scripts/api')
const installed = join(root, '.cache/api')

function install() {
  const lock = readFileSync(join(source, 'package-lock.json'), 'utf8')
  const copy = join(installed, 'package-lock.json')
  const isThere = existsSync(join(installed, 'node_modules')) && readFileSync(copy, 'utf8') === lock
  if (isThere) return
  mkdirSync(installed, { recursive: true })
  for (const name of ['package.json', 'package-lock.json'])
    copyFileSync(join(source, name), join(installed, name))
  const status = run([
    'npm',
    'ci',
    '--prefix',
    installed,
    '--ignore-scripts',
    '--no-audit',
    '--no-fund',
    '--silent',
  ])
  if (status !== 0) throw new Fault("'npm ci' of the API reference failed", status)
}

if (isMain(import.meta.url)) {
  await runMain('api', () => {
    install()
    const typedoc = join(installed, 'node_modules/typedoc/bin/typedoc')
    return run([process.execPath, typedoc, '--options', join(source, 'typedoc.json')])
  })
}
