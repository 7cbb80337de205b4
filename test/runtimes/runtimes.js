// @ts-check
/**
 * The runtimes that the tests are run on: where each comes from, and how it is told to run one file of tests.
 *
 * All are packages of npm that hold nothing but the binary for one system. They go to .cache/runtimes, the newest
 * of each line, and no script of theirs is run.
 */
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import process from 'node:process'

/** A file may start servers and wait for several failovers. */
export const fileTimeoutMs = 300_000

/**
 * @typedef {object} Runtime
 * @property {string} spec what npm is asked for; the name before the first `@` that is not its first letter
 * @property {string} binary from its package's folder
 * @property {(file: string, report: string) => string[]} command runs the file, and writes a report in JUnit's form
 */

const arch = process.arch
const bunArch = arch === 'arm64' ? 'aarch64' : arch
const denoSystem = process.platform === 'linux' ? `linux-${arch}-glibc` : `${process.platform}-${arch}`

/** @type {Readonly<Record<string, Runtime>>} */
export const runtimes = {
  'node-20': node(20),
  'node-22': node(22),
  'node-24': node(24),
  'node-26': node(26),
  bun: {
    spec: `@oven/bun-${process.platform}-${bunArch}@1`,
    binary: 'bin/bun',
    // What is no path to it is a filter.
    command: (file, report) => [
      'test',
      `--timeout=${fileTimeoutMs}`,
      '--reporter=junit',
      `--reporter-outfile=${report}`,
      `./${file}`,
    ],
  },
  deno: {
    spec: `@deno/${denoSystem}@2`,
    binary: 'deno',
    command: (file, report) => [
      'test',
      '--allow-all',
      '--no-check',
      '--preload=test/runtimes/deno-preload.js',
      `--junit-path=${report}`,
      file,
    ],
  },
}

/** @param {number} major @returns {Runtime} */
function node(major) {
  return {
    spec: `node-${major}@npm:node-${process.platform}-${arch}@${major}`,
    binary: 'bin/node',
    command: (file, report) => [
      '--enable-source-maps',
      '--test',
      '--test-reporter=junit',
      `--test-reporter-destination=${report}`,
      `--test-timeout=${fileTimeoutMs}`,
      file,
    ],
  }
}

/**
 * Installs what is missing.
 *
 * @param {readonly string[]} names of {@link runtimes}
 * @param {string} folder kept for the next time
 * @returns {Map<string, string>} the binaries; one that is not to be had is missing, and why was written
 */
export function provide(names, folder) {
  mkdirSync(folder, { recursive: true })
  if (!existsSync(join(folder, 'package.json')))
    writeFileSync(join(folder, 'package.json'), '{"private":true}\n')
  const binaries = new Map()
  for (const name of names) {
    const { spec, binary } = /** @type {Runtime} */ (runtimes[name])
    const path = join(folder, 'node_modules', spec.slice(0, spec.indexOf('@', 1)), binary)
    if (!existsSync(path)) {
      console.log(`installing ${spec}`)
      const options = ['--ignore-scripts', '--no-package-lock', '--no-audit', '--no-fund', '--loglevel=error']
      const { stderr } = spawnSync('npm', ['install', ...options, spec], { cwd: folder, encoding: 'utf8' })
      if (stderr !== '') console.error(stderr.trimEnd())
    }
    if (existsSync(path)) binaries.set(name, path)
  }
  return binaries
}
