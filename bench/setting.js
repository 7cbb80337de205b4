// What the programs of this folder have in common: which builds and which Node, and the file of the figures.

import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { cpus } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { fail } from './cli.js'
import { findNode } from './runtimes.js'

const here = dirname(fileURLToPath(import.meta.url))

export const options = {
  runtime: { value: 'NODE', help: "the Node that runs the clients: 'newest' or a path, else this one" },
  build: { value: 'DIR', help: 'compiled respool, the folder with lib/index.js', byDefault: 'dist' },
  against: { value: 'DIR', help: "another build of it, measured beside as 'respool-other'" },
  markdown: { help: 'also print the tables of docs/performance.md' },
}

export function readSetting(values) {
  const build = (dir) => {
    const path = resolve(dir)
    return existsSync(join(path, 'lib', 'index.js')) ? path : fail(`no respool is compiled in '${dir}'`)
  }
  const own = values.build === options.build.byDefault ? join(here, '..', 'dist') : values.build
  const builds = { own: build(own), other: values.against && build(values.against) }
  try {
    return { builds, node: findNode(values.runtime) }
  } catch (error) {
    return fail(error.message)
  }
}

/** What a reader of the figures wants to know of where they are from. */
export function describeSetting({ node }) {
  return {
    at: new Date().toISOString(),
    runtime: `Node ${execFileSync(node, ['--version'], { encoding: 'utf8' }).trim().slice(1)}`,
    cpu: cpus()[0]?.model,
    versions: Object.fromEntries(
      ['ioredis', 'redis', 'iovalkey', '@valkey/valkey-glide', 'bun'].flatMap((name) => {
        const version = versionOf(name)
        return version === undefined ? [] : [[name, version]]
      }),
    ),
  }
}

export function resultsFile(name) {
  return join(here, 'results', name)
}

export function writeResults(path, results) {
  mkdirSync(dirname(path), { recursive: true })
  writeFileSync(path, `${JSON.stringify(results, null, 2)}\n`)
  console.log(`\nwritten to ${path}`)
}

function versionOf(name) {
  try {
    return JSON.parse(readFileSync(join(here, 'node_modules', name, 'package.json'), 'utf8')).version
  } catch {
    return undefined // not installed here
  }
}
