// What the documents say, as far as a program can tell: links, names of files, commands and variables, and the
// JavaScript of the READMEs and of some guides, which is compiled and run.

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join, posix } from 'node:path'
import { type TestContext, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { projectFiles, readProjectFile } from './support/project.ts'
import { findBinaries, startTopology } from './support/real-servers.ts'

const run = promisify(execFile)
const root = dirname(fileURLToPath(import.meta.resolve('respool/package.json')))

const readmes = ['README.md', 'README.zh-CN.md'] as const
const documents: readonly { readonly path: string; readonly text: string }[] = [
  ...readdirSync(root).filter((name) => name.endsWith('.md')),
  ...projectFiles('docs').filter((path) => path.endsWith('.md')),
].map((path) => ({ path, text: readProjectFile(path) }))

/** Documents whose JavaScript is compiled and run; the translation has the README's. */
const runnable = [
  'README.md',
  'docs/blocking.md',
  'docs/consistency.md',
  'docs/events.md',
  'docs/iteration.md',
  'docs/pipelines.md',
  'docs/scripts.md',
] as const

/** Ports of the guide, in the order of `RESPOOL_PORTS`. */
const guidePorts = [6379, 6380, 26379, 26380, 26381] as const
const compilerTimeoutMs = 120_000
const snippetTimeoutMs = 60_000

interface Block {
  readonly language: string
  readonly code: string
}

/** The fenced blocks, in order. */
function blocksOf(text: string): Block[] {
  return [...text.matchAll(/^```(\w*)\n(.*?)^```$/gms)].map(([, language = '', code = '']) => ({
    language,
    code,
  }))
}

/** The same for all that a translation may change: comments, and the blanks before them. */
function withoutComments({ language, code }: Block): Block {
  const mark = { js: '//', ts: '//', sh: '#' }[language]
  if (mark === undefined) return { language, code }
  const lines = code
    .split('\n')
    .map((line) => line.replace(new RegExp(`(^|\\s)\\s*${mark}.*$`), '').trimEnd())
  return { language, code: lines.join('\n') }
}

/** What a heading is called in a link, as on GitHub: `## How it ends` → `how-it-ends`. */
function anchorsOf(text: string): string[] {
  const prose = text.replace(/^```.*?^```$/gms, '')
  return [...prose.matchAll(/^#+ (.+)$/gm)].map(([, heading = '']) =>
    heading
      .toLowerCase()
      .replace(/[^\p{L}\p{N}\s_-]/gu, '')
      .replace(/\s/g, '-'),
  )
}

/** All that the expression's first group matches, in any document, with where it was found. */
function mentions(expression: RegExp): { readonly path: string; readonly found: string }[] {
  return documents.flatMap(({ path, text }) =>
    [...text.matchAll(expression)].map(([, found = '']) => ({ path, found })),
  )
}

/** A folder inside the project, so that the package is found by its own name, gone when the test ends. */
function snippetFolder(t: TestContext): string {
  const cache = join(root, '.cache')
  mkdirSync(cache, { recursive: true })
  const folder = mkdtempSync(join(cache, 'docs-'))
  t.after(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

/** Writes the JavaScript of the documents, a file each, and returns their paths. */
function writeSnippets(folder: string, change = (code: string) => code): string[] {
  const snippetsOf = (path: string) =>
    blocksOf(readProjectFile(path)).filter(({ language }) => language === 'js')
  assert.ok(snippetsOf('README.md').length >= 5, 'the README has a snippet for each part of the interface')
  const snippets = runnable.flatMap(snippetsOf)
  return snippets.map(({ code }, i) => {
    const path = join(folder, `snippet-${i + 1}.js`)
    writeFileSync(path, change(code))
    return path
  })
}

test('every relative link leads to a file, and to a heading where it names one', () => {
  for (const { path, found } of mentions(/\]\(([^)\s]+)\)/g)) {
    if (/^[a-z]+:/.test(found)) continue
    const [file = '', anchor] = found.split('#')
    const target = file === '' ? path : posix.join(posix.dirname(path), file)
    assert.ok(existsSync(join(root, target)), `${path} links to ${found}, which is not there`)
    if (anchor === undefined) continue
    const anchors = anchorsOf(readProjectFile(target))
    assert.ok(anchors.includes(decodeURIComponent(anchor)), `${path} links to ${found}: no such heading`)
  }
})

test('every file and folder that a document names exists', () => {
  const named = /(?<![\w/.…-])(?:\.\/)?((?:lib|test|docs|scripts|conf|examples|bench|\.ci)\/[\w./-]*\w)/g
  const all = mentions(named)
  assert.ok(all.length > 100, 'the expression finds the names')
  for (const { path, found } of all) {
    assert.ok(existsSync(join(root, found)), `${path} names ${found}, which is not there`)
  }
})

test('the architecture tells of every file of lib', () => {
  const text = readProjectFile('ARCHITECTURE.md')
  for (const path of projectFiles('lib')) {
    // the doors of the layers are told of together
    if (path.endsWith('/index.ts')) continue
    assert.ok(text.includes(`\`${path}\``), `ARCHITECTURE.md does not tell of ${path}`)
  }
})

test('every script of npm that a document names is one', () => {
  const { scripts }: { scripts: Record<string, string> } = JSON.parse(readProjectFile('package.json'))
  const named = mentions(/\bnpm (?:run )?(start|test|(?<=run )[a-z:]+)\b/g)
  assert.ok(named.length > 0)
  for (const { path, found } of named) {
    assert.ok(found in scripts, `${path} names the script ${found}, which package.json has not`)
  }
})

test('every command of install.sh that a document names is one', async () => {
  const { stdout: usage } = await run('sh', ['install.sh', 'help'], { cwd: root, timeout: snippetTimeoutMs })
  const named = mentions(/\bsh install\.sh ([a-z]+(?: --[a-z-]+)?)/g)
  assert.ok(named.length > 0)
  for (const { path, found } of named) {
    const [command = '', option = ''] = found.split(' ')
    const line = usage.split('\n').find((it) => it.startsWith(`  ${command} `))
    assert.ok(line?.includes(option), `${path} names sh install.sh ${found}, which there is not`)
  }
})

test('every variable of the environment that a document names is read by something', () => {
  const readers = ['install.sh', ...['scripts', 'test/support', 'examples'].flatMap(projectFiles)]
  const code = readers.filter((path) => /\.(sh|js|ts)$/.test(path)).map(readProjectFile)
  for (const { path, found } of mentions(/\b(RESPOOL_[A-Z_]+)\b/g)) {
    assert.ok(
      code.some((text) => text.includes(found)),
      `${path} names ${found}, which nothing reads`,
    )
  }
})

test('the documents name the oldest Node that package.json allows', () => {
  const { engines }: { engines: { node: string } } = JSON.parse(readProjectFile('package.json'))
  const oldest = engines.node.replace('>=', 'Node ')
  for (const path of [...readmes, 'CONTRIBUTING.md']) {
    assert.ok(readProjectFile(path).includes(oldest), `${path} does not say ${oldest}`)
  }
})

test('the guide for contributors gives a reason for each dependency, and the coverage that is enforced', () => {
  const text = readProjectFile('CONTRIBUTING.md')
  const { devDependencies }: { devDependencies: object } = JSON.parse(readProjectFile('package.json'))
  const [, table = ''] = text.split('## Dependencies')
  const told = [...table.matchAll(/^\| `([^`]+)` \|/gm)].map(([, name = '']) => name)
  assert.deepEqual(told.sort(), Object.keys(devDependencies).sort())
  const { lines, branches }: { lines: number; branches: number } = JSON.parse(readProjectFile('.c8rc.json'))
  assert.equal(lines, branches)
  assert.ok(text.includes(`must be ${lines} % or better`))
})

test('both READMEs have the same code and output, but for the comments', () => {
  const [english, chinese] = readmes.map((path) => blocksOf(readProjectFile(path)).map(withoutComments))
  assert.deepEqual(chinese, english)
})

test('the code of the documents is right by its types', async (t) => {
  const folder = snippetFolder(t)
  writeSnippets(folder)
  const compilerOptions = {
    allowJs: true,
    checkJs: true,
    noEmit: true,
    incremental: false,
    declaration: false,
    noUnusedLocals: false,
  }
  const project = { extends: '../../tsconfig.json', compilerOptions, include: ['*.js'] }
  writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify(project))
  const compiler = join(root, 'node_modules/typescript/bin/tsc')
  const result = await run(process.execPath, [compiler, '-p', folder], { timeout: compilerTimeoutMs }).catch(
    (error: { stdout: string }) => error,
  )
  assert.equal(result.stdout, '')
  assert.ok(!(result instanceof Error), String(result))
})

test('the code of the documents runs to its end against real servers, and its process exits', async (t) => {
  if (findBinaries() === undefined) return t.skip('no server to run it against')
  const { master, replicas, sentinels } = await startTopology(t)
  const ports = [master, ...replicas, ...sentinels].map(({ port }) => String(port))
  const onTheirPorts = (code: string) =>
    code.replace(/\b\d{4,5}\b/g, (port) => ports[guidePorts.findIndex((it) => String(it) === port)] ?? port)
  for (const path of writeSnippets(snippetFolder(t), onTheirPorts)) {
    const { stderr } = await run(process.execPath, [path], { timeout: snippetTimeoutMs })
    assert.equal(stderr, '', path)
  }
})
