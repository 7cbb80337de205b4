// What the documents say, as far as a program can tell: links, names of files, commands and variables, and their code:
// it is compiled and run against real servers, and a value that a comment names is the value that comes.

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join, posix } from 'node:path'
import { type TestContext, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { transform } from 'esbuild'
import { errorCodes } from '../lib/index.ts'
import { makeCertificate, missingOpenssl } from './support/certificate.ts'
import { projectFiles, readProjectFile } from './support/project.ts'
import { findBinaries, request, startServer, startTopology } from './support/real-servers.ts'

const run = promisify(execFile)
const root = dirname(fileURLToPath(import.meta.resolve('respool/package.json')))

const readmes = ['README.md', 'README.zh-CN.md'] as const
const documents: readonly { readonly path: string; readonly text: string }[] = [
  ...readdirSync(root).filter((name) => name.endsWith('.md')),
  ...projectFiles('docs').filter((path) => path.endsWith('.md')),
].map((path) => ({ path, text: readProjectFile(path) }))

/** Documents whose code is compiled and run; the translation has the README's. */
const runnable = ['README.md', ...projectFiles('docs').filter((path) => path.endsWith('.md'))]

/** Ports of the guide, in the order of `RESPOOL_PORTS`, and that of a server with TLS and a password. */
const guidePorts = [6379, 6380, 26379, 26380, 26381] as const
const tlsPort = 6390
/** The password of that server; its certificate is `ca.pem` where snippets run. */
const tlsPassword = 'secret'
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

/** A block that can be compiled by itself. */
interface Snippet {
  /** Where it is, `guide.md-3.js`: the third such block of docs/guide.md. */
  readonly name: string
  readonly code: string
}

/** The blocks of JavaScript and TypeScript. */
function snippetsOf(path: string): Snippet[] {
  return blocksOf(readProjectFile(path))
    .filter(({ language }) => language === 'js' || language === 'ts')
    .map(({ language, code }, i) => ({ name: `${posix.basename(path)}-${i + 1}.${language}`, code }))
}

/** The rows of docs/coming-from.md, under the heading of each thing: the client, and its lines of code. */
const things = readProjectFile('docs/coming-from.md')
  .split(/^### \d+\. /m)
  .slice(1)
  .map((text) => ({
    title: text.slice(0, text.indexOf('\n')),
    rows: new Map(
      [...text.matchAll(/^\| ([^|]*\w[^|]*) \| (.*) \|$/gm)].map(([, client = '', cell = '']) => [
        client.replaceAll('*', ''),
        [...cell.matchAll(/`([^`]+)`/g)].map(([, code = '']) => code),
      ]),
    ),
  }))

/** Our rows as one program, in which each begins with an empty server. */
const ourRows: Snippet = {
  name: 'coming-from.md-things.js',
  code: [
    "import { readFileSync } from 'node:fs'",
    "import { connect, createClient, Pool } from 'respool'",
    'const redis = createClient({ port: 6379 })',
    ...things.flatMap(({ title, rows }) => [
      `await redis.flushall() // ${title}`,
      '{',
      ...(rows.get('respool') ?? []),
      '}',
    ]),
    'await redis.close()',
  ].join('\n'),
}

const snippets = [...runnable.flatMap(snippetsOf), ourRows]

/**
 * The code with a check at each line that is a whole expression, or the definition of one constant, and has its value
 * as a comment: `await redis.get('key') // 'value'`. A comment that is no value is only a comment.
 */
function withChecks(code: string): { readonly code: string; readonly checks: number } {
  let checks = 0
  const lines = code.split('\n').map((line) => {
    const [, before = '', expression = '', value = ''] =
      /^(\s*(?:const .+? = )?)(\S.*?)\s+\/\/ (.+)$/.exec(line) ?? []
    if (!isExpression(expression) || !isValue(value)) return line
    checks += 1
    return `${before}__is(${expression}, ${value})`
  })
  const check = `
import __assert from 'node:assert/strict'
function __is(actual, expected) {
  __assert.deepEqual(Buffer.isBuffer(actual) ? actual : structuredClone(actual), expected)
  return actual
}
`
  return { code: `${lines.join('\n')}${check}`, checks }
}

function isExpression(text: string): boolean {
  return parses(`async () => (${text})`)
}

function isValue(text: string): boolean {
  if (!/^(?:['"\d[{-]|null$|true$|false$|undefined$|new Map|Buffer\.)/.test(text)) return false
  return parses(`[${text}].length`) && new Function(`return [${text}].length`)() === 1
}

function parses(text: string): boolean {
  try {
    new Function(`return (${text})`)
    return true
  } catch {
    return false
  }
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

test('the guide says of each error code what to do', () => {
  const [, table = ''] = readProjectFile('docs/guide.md').split(/^## (?:Errors|TLS.*)$/m)
  const told = [...table.matchAll(/^\| (`[A-Z].*?) \|/gm)].flatMap(([, codes = '']) =>
    [...codes.matchAll(/`(\w+)`/g)].map(([, code = '']) => code),
  )
  assert.deepEqual(told.sort(), Object.keys(errorCodes).sort())
})

test('each of the thirty things that people do is told for all four clients', () => {
  assert.equal(things.length, 30)
  for (const { title, rows } of things) {
    assert.deepEqual([...rows.keys()], ['ioredis', 'node-redis', 'redigo', 'respool'], title)
    assert.notEqual(rows.get('respool')?.length, 0, title)
  }
})

test('every block of JavaScript or TypeScript is a program: it imports what it uses', () => {
  for (const { name, code } of snippets) {
    assert.match(code, /^import .* from 'respool'$/m, `${name} does not import the package`)
  }
})

test('the code of the documents is right by its types', async (t) => {
  const folder = snippetFolder(t)
  for (const { name, code } of snippets) writeFileSync(join(folder, name), code)
  const compilerOptions = {
    allowJs: true,
    checkJs: true,
    noEmit: true,
    incremental: false,
    declaration: false,
    noUnusedLocals: false,
  }
  const project = { extends: '../../tsconfig.json', compilerOptions, include: ['*.js', '*.ts'] }
  writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify(project))
  const compiler = join(root, 'node_modules/typescript/bin/tsc')
  const result = await run(process.execPath, [compiler, '-p', folder], { timeout: compilerTimeoutMs }).catch(
    (error: { stdout: string }) => error,
  )
  assert.equal(result.stdout, '')
  assert.ok(!(result instanceof Error), String(result))
})

test('the code of the documents runs to its end, gives what its comments say, and its process exits', async (t) => {
  if (findBinaries() === undefined) return t.skip('no server to run it against')
  const folder = snippetFolder(t)
  const { master, replicas, sentinels } = await startTopology(t)
  const ports = new Map<string, number>(
    [master, ...replicas, ...sentinels].map(({ port }, i) => [String(guidePorts[i]), port]),
  )
  if (missingOpenssl() === false) {
    const { certPath: cert, keyPath: key } = makeCertificate(t)
    const { port } = await startServer(t, { password: tlsPassword, tls: { cert, key, ca: cert } })
    ports.set(String(tlsPort), port)
    copyFileSync(cert, join(folder, 'ca.pem'))
  }
  const failures: string[] = []
  let checked = 0
  for (const { name, code: written } of snippets) {
    if (written.includes(String(tlsPort)) && !ports.has(String(tlsPort))) continue
    await request(master, 'FLUSHALL')
    // ports of the documents are those of the servers here
    const { code, checks } = withChecks(
      written.replace(/\b\d{4,5}\b/g, (port) => String(ports.get(port) ?? port)),
    )
    checked += checks
    const program = `${name}.mjs`
    // types, and what the oldest Node does not know yet: `await using`
    writeFileSync(join(folder, program), (await transform(code, { loader: 'ts', target: 'node20' })).code)
    const options = { cwd: folder, timeout: snippetTimeoutMs }
    // with what the process wrote, in the message
    const { stderr } = await run(process.execPath, [program], options).catch((error: Error) => ({
      stderr: error.message,
    }))
    if (stderr !== '') failures.push(`${name}: ${stderr}`)
  }
  assert.deepEqual(failures, [])
  assert.ok(checked > 50, `${checked} values of comments were checked`)
})
