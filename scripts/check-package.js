// @ts-check
/**
 * Judges the package as it would be published: packs what `npm run build` made and looks at the archive.
 * Nothing that a user installs may come from elsewhere, be larger than was promised, or be resolved differently by
 * one of the tools that read package.json.
 */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { checkPackage, createPackageFromTarballData } from '@arethetypeswrong/core'
import { publint } from 'publint'
import { formatMessage } from 'publint/utils'
import { isMain, root, runMain } from './setup.js'

/** What was promised: less than this when installed. */
export const maxUnpackedBytes = 500 * 1024

/** All that may be in it. */
const expected =
  /^(?:dist\/respool\.js|dist\/types\/.+\.d\.ts|package\.json|LICENSE|NOTICE|(?:README|CHANGELOG)[\w.-]*\.md)$/

/**
 * Packs the build as it is.
 *
 * @param {string} folder where the archive goes
 * @returns {{ archive: string, unpackedSize: number, files: string[] }}
 */
export function pack(folder) {
  // Without prepack: what is judged is what is there, and tests may be running on it.
  const args = ['pack', '--json', '--ignore-scripts', '--pack-destination', folder]
  const [packed] = JSON.parse(npm(args, root))
  return {
    archive: join(folder, packed.filename),
    unpackedSize: packed.unpackedSize,
    files: packed.files.map((/** @type {{ path: string }} */ { path }) => path),
  }
}

/**
 * Runs npm and gives what it printed.
 *
 * @param {readonly string[]} args @param {string} cwd
 */
export function npm(args, cwd) {
  return execFileSync('npm', args, { cwd, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] })
}

/**
 * All that is wrong with the package, as lines.
 *
 * @param {ReturnType<typeof pack>} packed
 * @returns {Promise<string[]>}
 */
export async function packageFaults({ archive, unpackedSize, files }) {
  const bytes = readFileSync(archive)
  return [
    ...lockFaults(),
    ...dependencyFaults(),
    ...files.filter((path) => !expected.test(path)).map((path) => `${path} is published`),
    ...(unpackedSize < maxUnpackedBytes
      ? []
      : [`it has ${unpackedSize} bytes, ${maxUnpackedBytes} are too many`]),
    ...(await publintFaults(bytes)),
    ...(await typeFaults(bytes)),
  ]
}

/** Addresses of a registry would be asked instead of the one that is set up. */
function lockFaults() {
  const lock = readFileSync(join(root, 'package-lock.json'), 'utf8')
  return lock.includes('"resolved"') ? ['package-lock.json names addresses: "resolved"'] : []
}

function dependencyFaults() {
  const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
  const kinds = ['dependencies', 'optionalDependencies', 'peerDependencies', 'bundleDependencies']
  return kinds.filter((kind) => manifest[kind] !== undefined).map((kind) => `package.json has ${kind}`)
}

/** @param {Buffer} bytes */
async function publintFaults(bytes) {
  const tarball = new Uint8Array(bytes).buffer
  const { messages, pkg } = await publint({ pack: { tarball }, strict: true })
  return messages.map(
    (message) => `publint: ${formatMessage(message, pkg, { color: false }) ?? message.code}`,
  )
}

/** @param {Buffer} bytes */
async function typeFaults(bytes) {
  const result = await checkPackage(createPackageFromTarballData(new Uint8Array(bytes)))
  if (result.types === false) return ['there are no types']
  return (
    result.problems
      // It warns that CommonJS before require(esm) could not load the package: we demand a Node that can.
      .filter(({ kind }) => kind !== 'CJSResolvesToESM')
      .map((problem) => `types: ${JSON.stringify(problem)}`)
  )
}

if (isMain(import.meta.url)) {
  await runMain('package', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'respool-package-'))
    try {
      const packed = pack(folder)
      const faults = await packageFaults(packed)
      for (const fault of faults) console.error(`package: ${fault}`)
      const kib = (packed.unpackedSize / 1024).toFixed(0)
      console.log(`package: ${packed.files.length} files, ${kib} KiB unpacked`)
      return faults.length === 0 ? 0 : 1
    } finally {
      rmSync(folder, { recursive: true, force: true })
    }
  })
}
