// The rules of the house about what may import what, checked on the sources of lib: see ARCHITECTURE.md.

import assert from 'node:assert/strict'
import { posix } from 'node:path'
import { test } from 'node:test'
import { projectFiles, readProjectFile } from './support/project.ts'

/** A layer and those below it, which it may import. */
const below: Readonly<Record<string, readonly string[]>> = {
  errors: [],
  resp: ['errors'],
  commands: ['errors', 'resp'],
  connection: ['errors', 'resp', 'commands'],
  pool: ['errors', 'resp', 'commands', 'connection'],
  endpoint: ['errors', 'resp', 'commands', 'connection', 'pool'],
  sentinel: ['errors', 'resp', 'commands', 'connection', 'pool', 'endpoint'],
  cluster: ['errors', 'resp', 'commands', 'connection', 'pool', 'endpoint'],
  client: ['errors', 'resp', 'commands', 'connection', 'pool', 'endpoint', 'sentinel', 'cluster'],
  index: ['errors', 'resp', 'commands', 'connection', 'pool', 'endpoint', 'sentinel', 'cluster', 'client'],
}

interface Source {
  readonly path: string
  readonly text: string
}

const sources: readonly Source[] = projectFiles('lib')
  .filter((path) => path.endsWith('.ts'))
  .map((path) => ({ path, text: readProjectFile(path) }))

/** `lib/resp/decoder.ts` → `resp`, `lib/errors.ts` → `errors`. */
function layerOf(path: string): string {
  const [, first = ''] = path.split('/')
  return first.replace(/\.ts$/, '')
}

/** The text without comments; strings stay. */
function code(text: string): string {
  const strings = /'(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*"|`(?:\\.|[^`\\])*`/.source
  return text.replace(new RegExp(`${strings}|//[^\\n]*|/\\*[^]*?\\*/`, 'g'), (it) =>
    it.startsWith('/') ? ' ' : it,
  )
}

/** The specifiers of all imports, exports from, dynamic imports and requires. */
function importsOf(text: string): string[] {
  const forms = [
    /\b(?:import|export)\b[^'"`;()]*?\bfrom\s*['"]([^'"]+)['"]/g,
    /\bimport\s*['"]([^'"]+)['"]/g,
    /\b(?:import|require)\s*\(\s*['"`]([^'"`]+)['"`]/g,
  ]
  return forms.flatMap((form) => [...code(text).matchAll(form)].map((match) => match[1] as string))
}

/** Files of lib that a file needs at run time: all but `import type`. */
function runTimeImportsOf({ path, text }: Source): string[] {
  const withoutTypes = code(text).replace(/\b(?:import|export)\s+type\b[^'"]*['"][^'"]+['"]/g, '')
  return importsOf(withoutTypes)
    .filter((specifier) => specifier.startsWith('.'))
    .map((specifier) => posix.join(posix.dirname(path), specifier))
}

/** What is wrong with the imports of one file. */
function faultsOf({ path, text }: Source): string[] {
  const layer = layerOf(path)
  return importsOf(text).flatMap((specifier) => {
    const fault = (what: string) => [`${path} imports ${specifier}: ${what}`]
    if (specifier.startsWith('node:')) return []
    if (!specifier.startsWith('.')) return fault('a dependency at run time')
    if (!specifier.endsWith('.ts')) return fault('an import without its file’s ending')
    const target = posix.join(posix.dirname(path), specifier)
    const targetLayer = layerOf(target)
    if (!target.startsWith('lib/')) return fault('out of lib')
    if (targetLayer === layer) return posix.basename(target) === 'index.ts' ? fault('its own door') : []
    if (!below[layer]?.includes(targetLayer)) return fault(`${targetLayer} is not below ${layer}`)
    const door = targetLayer === 'errors' ? 'lib/errors.ts' : `lib/${targetLayer}/index.ts`
    return target === door ? [] : fault(`not through ${door}`)
  })
}

/** What lib never does, apart from imports. */
function sinsOf({ path, text }: Source): string[] {
  const forbidden: [RegExp, string][] = [
    [/\bconsole\b/, 'writes to the console'],
    [/\bprocess\s*\.\s*env\b|\bprocess\s*\[/, 'reads the environment'],
    [/\bprocess\s*\.\s*(?:on|once|addListener)\b/, 'listens to the process'],
    [/\bas any\b|:\s*any\b|<any\b/, 'uses any'],
    [/@ts-(?:nocheck|ignore)/, 'silences the compiler'],
    [/\bexport\s+default\b/, 'has a default export'],
    [/^\s*(?:export\s+)?(?:const\s+)?enum\b|^\s*(?:export\s+)?namespace\b/m, 'needs a compiler to run'],
  ]
  // the directives of the compiler are comments
  return forbidden.flatMap(([form, what]) =>
    form.test(form.source.includes('@ts') ? text : code(text)) ? [`${path} ${what}`] : [],
  )
}

test('imports of lib go down only, through the doors of the layers, and to nothing but Node', () => {
  assert.ok(sources.length > 20)
  assert.deepEqual(sources.flatMap(faultsOf), [])
})

test('every folder of lib is a layer', () => {
  for (const { path } of sources) assert.ok(layerOf(path) in below, `${path} belongs to no layer`)
})

test('no file of lib needs itself at run time, by whatever way round', () => {
  const needs = new Map(sources.map((source) => [source.path, runTimeImportsOf(source)]))
  const done = new Set<string>()
  const visit = (path: string, way: readonly string[]): void => {
    assert.ok(!way.includes(path), `a circle: ${[...way, path].join(' → ')}`)
    if (done.has(path)) return
    for (const next of needs.get(path) ?? []) visit(next, [...way, path])
    done.add(path)
  }
  for (const { path } of sources) visit(path, [])
})

test('lib writes to no console, reads no environment and hides nothing from the compiler', () => {
  assert.deepEqual(sources.flatMap(sinsOf), [])
})

test('a generated file says from what and by what it was made', () => {
  const generated = sources.filter(({ path }) => path.endsWith('.gen.ts'))
  assert.ok(generated.length > 0)
  for (const { path, text } of generated) {
    assert.match(text.split('\n')[0] ?? '', /^\/\/ Generated by scripts\/\S+ from /, path)
  }
})

test('only the table of the protocol and what it is for know bytes of the wire', () => {
  for (const { path, text } of sources) {
    if (layerOf(path) === 'resp') continue
    assert.doesNotMatch(
      code(text),
      /0x(?:0a|0d|21|23|24|25|28|2a|2b|2c|2d|3a|3d|3e|5f|7c|7e)\b|\\r\\n/i,
      path,
    )
  }
})

test('package.json has no dependency at run time', () => {
  const manifest = JSON.parse(readProjectFile('package.json')) as Record<string, unknown>
  for (const kind of ['dependencies', 'peerDependencies', 'optionalDependencies', 'bundleDependencies']) {
    assert.equal(manifest[kind], undefined, kind)
  }
})

for (const [what, path, text] of [
  ['an import of a layer above', 'lib/resp/a.ts', `import { Pool } from '../pool/index.ts'`],
  ['a type of a layer above', 'lib/resp/a.ts', `import type { Pool } from '../pool/index.ts'`],
  ['an import of a layer beside', 'lib/cluster/a.ts', `export { S } from '../sentinel/index.ts'`],
  ['an import round a door', 'lib/pool/a.ts', `import { Decoder } from '../resp/decoder.ts'`],
  ['an import of the own door', 'lib/pool/a.ts', `export * from './index.ts'`],
  ['an import over several lines', 'lib/errors.ts', `import {\n  type A,\n  b,\n} from './resp/index.ts'`],
  ['a dynamic import', 'lib/pool/a.ts', `const a = await import('../client/index.ts')`],
  ['a require', 'lib/pool/a.ts', `const a = require('left-pad')`],
  ['an import for its effect', 'lib/pool/a.ts', `import 'left-pad'`],
  ['a module of Node without its prefix', 'lib/pool/a.ts', `import { connect } from 'net'`],
  ['an import out of lib', 'lib/pool/a.ts', `import { x } from '../../test/support/clock.ts'`],
  ['an import without an ending', 'lib/pool/a.ts', `import { x } from './stats'`],
] as const) {
  test(`${what} is found`, () => {
    assert.equal(faultsOf({ path, text }).length, 1)
  })
}

test('imports that are right, in comments or in strings are no faults', () => {
  const text = [
    `import { connect } from 'node:net'`,
    `import { RespoolError } from '../errors.ts'`,
    `import type { Reply } from '../resp/index.ts'`,
    `import { waiter } from './waiters.ts'`,
    `// import { x } from 'left-pad'`,
    `/* import 'left-pad' */ const url = 'redis://localhost' // console`,
  ].join('\n')
  assert.deepEqual(faultsOf({ path: 'lib/pool/a.ts', text }), [])
  assert.deepEqual(sinsOf({ path: 'lib/pool/a.ts', text }), [])
})

test('what lib never does is found', () => {
  for (const text of [
    `console.log(1)`,
    `const { HOME } = process.env`,
    `process.on('exit', f)`,
    `const a = b as any`,
    `// @ts-ignore`,
    `export default 1`,
    `enum A { B }`,
  ]) {
    assert.equal(sinsOf({ path: 'lib/pool/a.ts', text }).length, 1, text)
  }
})
