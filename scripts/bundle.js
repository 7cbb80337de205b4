// @ts-check
/**
 * Makes what is published out of what was compiled: dist/respool.js, one module, and dist/types/, the declarations
 * that the public ones need. The tests run on the modules in dist/lib.
 *
 * One module because the import of a hundred costs four times as much: each is looked up, read and compiled by
 * itself. Comments, white space and names that nobody sees go; those of classes, functions and public methods stay, and lines are
 * short, so that a stack trace says something without a source map, which would be larger than the module.
 */
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { build } from 'esbuild'
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
  const { outputFiles } = await build({
    absWorkingDir: root,
    entryPoints: [join(source, 'index.js')],
    write: false,
    bundle: true,
    format: 'esm',
    platform: 'node',
    target: 'node20.19',
    minify: true,
    keepNames: true,
    lineLimit: 100,
    logLevel: 'warning',
  })
  writeFileSync(join(root, 'dist/respool.js'), outputFiles[0]?.text ?? '')
}

/**
 * Copies the declarations that are reached from the public ones; of the others no user's compiler needs to know. Of the
 * doors of the layers, too, only that is copied which somebody comes for.
 */
function writeTypes() {
  rmSync(types, { recursive: true, force: true })
  for (const [path, names] of reachable(join(source, 'index.d.ts'))) {
    const narrow = textOf(path).replace(/^(?: {4})+/gm, (indent) => '\t'.repeat(indent.length / 4))
    const text = isDoor(path) ? narrow.replace(clause, (all) => keep(all, names)) : narrow
    const copy = join(types, relative(source, path))
    mkdirSync(dirname(copy), { recursive: true })
    writeFileSync(copy, text.replace(specifier, '$1$2$3.js$2'))
  }
}

/**
 * All files from here on, each with the names that others want of it.
 *
 * @param {string} start
 * @returns {Map<string, Set<string>>}
 */
function reachable(start) {
  /** @type {Map<string, Set<string>>} */
  const wanted = new Map([[start, new Set()]])
  const open = [start]
  for (let path = open.pop(); path !== undefined; path = open.pop()) {
    const text = textOf(path)
    const want = (/** @type {string} */ name, /** @type {string[]} */ names) => {
      const target = join(dirname(/** @type {string} */ (path)), `${name}.d.ts`)
      const known = wanted.get(target)
      const all = new Set([...(known ?? []), ...names])
      wanted.set(target, all)
      if (all.size !== (known?.size ?? -1)) open.push(target)
    }
    const names = wanted.get(path) ?? new Set()
    const isKept = (/** @type {string} */ name) => !isDoor(path) || path === start || names.has(name)
    for (const [, list = '', name = ''] of text.matchAll(clause)) {
      const items = itemsOf(list).filter((item) => isKept(item.public))
      if (items.length > 0)
        want(
          name,
          items.map((item) => item.own),
        )
    }
    // `export * from` and `import('…')`
    for (const [, , , name = ''] of text.replace(clause, '').matchAll(specifier)) want(name, [])
  }
  return wanted
}

/**
 * A file without the imports that nothing in it needs any more, now that what is internal has been left out.
 *
 * @param {string} path
 */
function textOf(path) {
  const text = readFileSync(path, 'utf8')
  const code = text.replace(clause, '').replace(/\/\*.*?\*\//gs, '')
  return text.replace(clause, (all, list) => {
    if (!all.startsWith('import')) return all
    const used = itemsOf(list).filter((item) => new RegExp(`\\b${item.public}\\b`).test(code))
    return keep(all, new Set(used.map((item) => item.public)))
  })
}

/** What a clause imports or exports by name, and from where. */
const clause = /^(?:import|export)(?: type)? \{([^}]*)\} from ['"](\.[^'"]+)\.ts['"];?\n/gm

/** @param {string} list `type A, B as C` */
function itemsOf(list) {
  return list
    .split(',')
    .map((item) => item.trim())
    .filter((item) => item !== '')
    .map((item) => {
      const [own = '', name = own] = item.replace(/^type /, '').split(' as ')
      return { item, own, public: name }
    })
}

/** @param {string} all a clause @param {Set<string>} names */
function keep(all, names) {
  const [, list = ''] = new RegExp(clause.source).exec(all) ?? []
  const items = itemsOf(list).filter((item) => names.has(item.public))
  if (items.length === 0) return ''
  return all.replace(`{${list}}`, `{ ${items.map(({ item }) => item).join(', ')} }`)
}

/** @param {string} path the door of a layer, not that of the package */
function isDoor(path) {
  return path.endsWith('/index.d.ts') && path !== join(source, 'index.d.ts')
}

if (isMain(import.meta.url)) {
  await runMain('bundle', async () => {
    await bundle()
    return 0
  })
}
