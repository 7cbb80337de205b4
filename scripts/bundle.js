// @ts-check
/**
 * Makes what is published out of what was compiled: dist/respool.js, one module without comments, and
 * dist/types/, the declarations that the public ones need. The tests run on the modules in dist/lib.
 *
 * One module because the import of eighty costs four times as much: each is looked up, read and compiled by itself.
 * Its code is left as it reads, with names and lines, so that a stack trace says something without a source map.
 */
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { build, transform } from 'esbuild'
import { isMain, root, runMain } from './setup.js'

const source = join(root, 'dist/lib')
const types = join(root, 'dist/types')

/** What another file is imported or re-exported by; its ending is that of the source. */
const specifier = /(\bfrom |\bimport\()(['"])(\.[^'"]+)\.ts\2/g

/** Writes the module and the declarations. */
export async function bundle() {
  await writeModule()
  writeTypes()
}

async function writeModule() {
  const common = /** @type {const} */ ({
    format: 'esm',
    platform: 'node',
    target: 'node20.19',
    logLevel: 'warning',
  })
  // The comments go with the white space, and the second pass lays the code out again.
  const packed = await build({
    ...common,
    absWorkingDir: root,
    entryPoints: [join(source, 'index.js')],
    bundle: true,
    minifyWhitespace: true,
    write: false,
  })
  const { code } = await transform(packed.outputFiles[0]?.text ?? '', common)
  writeFileSync(join(root, 'dist/respool.js'), code)
}

/** Copies the declarations that are reached from the public ones; of the others no user's compiler needs to know. */
function writeTypes() {
  rmSync(types, { recursive: true, force: true })
  const wanted = new Set([join(source, 'index.d.ts')])
  // A set gives what is added to it while it is walked through.
  for (const path of wanted) {
    const text = readFileSync(path, 'utf8').replace(specifier, (_, before, quote, name) => {
      wanted.add(join(dirname(path), `${name}.d.ts`))
      return `${before}${quote}${name}.js${quote}`
    })
    const copy = join(types, relative(source, path))
    mkdirSync(dirname(copy), { recursive: true })
    writeFileSync(copy, text)
  }
}

if (isMain(import.meta.url)) {
  await runMain('bundle', async () => {
    await bundle()
    return 0
  })
}
