// The examples: each is short, and is run as a program against real servers.

import assert from 'node:assert/strict'
import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { type TestContext, test } from 'node:test'
import { promisify } from 'node:util'
import { projectFiles, projectRoot, readProjectFile } from './support/project.ts'
import { findBinaries, request, startServer, startTopology } from './support/real-servers.ts'

const run = promisify(execFile)
const timeoutMs = 60_000
const mostLines = 40

/** What each prints. server.js is the demonstration, which test/integration runs; http-service.js is told what to do. */
const printed = new Map([
  ['cache-aside.js', /^100 callers, 1 load: report 1\n$/],
  ['chat.js', /^Ada: anybody here\? \/ Alan: yes \/ Ada: bye\n$/],
  ['import.js', /^50000 rows, the server has 50000 keys\n$/],
  ['job-worker.js', /^done: left behind, first, second; left: 0\n$/],
  ['key-prefix.js', /^ada is Ada\nin the server: shop:user:ada\n$/],
  ['leader-election.js', /^((one|two|three) leads, the lock says \2\n){3}$/],
  ['rate-limiter.js', /^8 calls, 3 refused\n$/],
  ['session-store.js', /^100 visits, 0 of them saw an old session\n$/],
  ['stream-consumer.js', /^handled: end, milk, tea\n$/],
])
const others = ['http-service.js', 'server.js']

test('every example is run, and the short ones are short', () => {
  const names = projectFiles('examples').map((path) => path.slice('examples/'.length))
  assert.deepEqual(names, [...printed.keys(), ...others].sort())
  for (const name of names.filter((it) => it !== 'server.js')) {
    const lines = readProjectFile(`examples/${name}`).trimEnd().split('\n').length
    assert.ok(lines <= mostLines, `${name} has ${lines} lines, more than ${mostLines}`)
  }
})

test('every example says what it did, and its process exits', async (t) => {
  if (findBinaries() === undefined) return t.skip('no server to run it against')
  const { master, sentinels } = await startTopology(t)
  for (const [name, expected] of printed) {
    await request(master, 'FLUSHALL')
    const isForSentinel = readProjectFile(`examples/${name}`).includes("'redis+sentinel://")
    const addresses = sentinels.map(({ port }) => `127.0.0.1:${port}`).join()
    const url = isForSentinel
      ? `redis+sentinel://${addresses}/localmaster?readFrom=prefer-replica`
      : `redis://127.0.0.1:${master.port}`
    const { stdout, stderr } = await run(process.execPath, [`examples/${name}`], {
      cwd: projectRoot,
      timeout: timeoutMs,
      env: { ...process.env, RESPOOL_URL: url },
    })
    assert.equal(stderr, '', name)
    assert.match(stdout, expected, name)
  }
})

test('the HTTP service answers, and exits by itself when it is told to end', async (t) => {
  if (findBinaries() === undefined) return t.skip('no server to run it against')
  const { port: serverPort } = await startServer(t)
  const service = startService(t, `redis://127.0.0.1:${serverPort}`)
  const lines = createInterface({ input: service.stdout })
  const [line] = (await once(lines, 'line')) as [string]
  const { port }: { port: number } = JSON.parse(line.replace('listening on ', ''))
  const texts = await Promise.all(
    ['/a', '/a', '/b'].map(async (path) => (await fetch(`http://127.0.0.1:${port}${path}`)).text()),
  )
  assert.deepEqual(texts.sort(), ['visit 1\n', 'visit 1\n', 'visit 2\n'])
  service.kill('SIGTERM')
  assert.deepEqual(await once(service, 'exit'), [0, null])
})

function startService(t: TestContext, url: string) {
  const env = { ...process.env, RESPOOL_URL: url, PORT: '0' }
  const path = join(projectRoot, 'examples/http-service.js')
  const service = spawn(process.execPath, [path], { env, stdio: ['ignore', 'pipe', 'inherit'] })
  t.after(() => service.kill('SIGKILL'))
  return service
}
