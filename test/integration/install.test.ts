// install.sh, run for real: on free ports, in a run directory of its own.

import assert from 'node:assert/strict'
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { freePorts } from '../support/free-ports.ts'
import { eventually, request, startServer } from '../support/real-servers.ts'
import { tempDir } from '../support/temp-dir.ts'

/** Longer than any bound in install.sh: a script that hangs is a failure of its own. */
const scriptTimeoutMs = 100_000
/** The sentinels turn an old master into a replica once it has said "master" for some 10 s. */
const conversionTimeoutMs = 40_000

const root = repositoryRoot()

test('a topology comes up, survives its master and goes away', async (t) => {
  const { install, ports, pids, runDir } = await prepare(t)
  const [master, replica, ...sentinels] = ports
  const before = tree()

  await t.test(
    'start brings up a master, its replica and three sentinels that know one another',
    async () => {
      const { stdout } = await install(['start'])
      assert.match(stdout, new RegExp(`ready: master 127\\.0\\.0\\.1:${master}`))
      assert.deepEqual(
        await Promise.all(ports.map((port) => request({ port }, 'PING'))),
        Array(5).fill('PONG'),
      )
      assert.equal(await role(master), 'master')
      assert.equal(await role(replica), 'slave')
      for (const port of sentinels) {
        const view = String(await request({ port }, 'INFO', 'sentinel'))
        assert.match(
          view,
          new RegExp(`name=localmaster,status=ok,address=127.0.0.1:${master},slaves=1,sentinels=3`),
        )
      }
    },
  )

  await t.test('what was asked for stays in the run directory, logs included', () => {
    const logs = readdirSync(runDir).filter((name) => name.endsWith('.log'))
    const expected = ports.map((port, n) => `redis-${n < 2 ? '' : 'sentinel-'}${port}.log`)
    assert.deepEqual(logs.sort(), expected.sort())
    assert.deepEqual(tree(), before)
  })

  await t.test('status shows each server with its role, pid and log', async () => {
    const { stdout } = await install(['status'])
    const rows = stdout.trimEnd().split('\n').slice(1)
    assert.equal(rows.length, 5)
    for (const [n, row] of rows.entries()) {
      assert.match(
        row,
        new RegExp(`^${ports[n]} .* ${pids()[n]} .*up, .*${runDir}/redis-.*${ports[n]}\\.log$`),
      )
    }
    assert.match(rows[0] ?? '', / master .*replicas connected: 1/)
    assert.match(rows[1] ?? '', new RegExp(` replica .*link to master 127\\.0\\.0\\.1:${master} up`))
    assert.match(
      rows[2] ?? '',
      new RegExp(` sentinel .*localmaster: status ok, address 127\\.0\\.0\\.1:${master},`),
    )
  })

  await t.test('a second start changes nothing, from whatever directory', async () => {
    const running = pids()
    const { stdout } = await install(['start'], { cwd: tmpdir() })
    assert.match(stdout, /already run, nothing changed/)
    assert.deepEqual(pids(), running)
  })

  await t.test('start refuses other ports while servers run on these', async () => {
    const { code, stderr } = await install(['start'], {
      env: { RESPOOL_PORTS: (await freePorts(5)).join(' ') },
    })
    assert.equal(code, 1)
    assert.match(stderr, new RegExp(`has servers on ${ports.join(' ')}: stop them first`))
  })

  await t.test('a killed master that is restarted comes back as a replica', async () => {
    signal(pids()[0], 'SIGKILL')
    await eventually('a new master', async () => (await role(replica)) === 'master', { timeout: 20_000 })
    const down = await install(['status'])
    assert.equal(down.code, 3)
    assert.match(down.stdout, new RegExp(`^${master} .* down`, 'm'))

    const { code, stdout } = await install(['restart', `${master}`])
    assert.equal(code, 0)
    assert.match(stdout, new RegExp(`started server ${master} `))
    await eventually('the old master is a replica', async () => (await role(master)) === 'slave', {
      timeout: conversionTimeoutMs,
    })
  })

  await t.test('start brings back those that are missing, as they were', async () => {
    // One that is not in step yet, or not known to be, is no replica to promote: Redis 6.0 does not find another way.
    await eventually(
      'the sentinels see a replica in step',
      async () => (await Promise.all(sentinels.map(linkOfReplica))).every((link) => link === 'ok'),
      { timeout: 30_000 },
    )
    const running = pids()
    signal(running[1], 'SIGKILL')
    // Not only promoted, but known to be: what only the leader of a failover knows is lost with it.
    await eventually(
      'every sentinel knows the new master',
      async () => (await Promise.all(sentinels.map(masterOf))).every((port) => port === master),
      { timeout: 30_000 },
    )
    signal(running[4], 'SIGKILL')
    const { code, stdout } = await install(['start'])
    assert.equal(code, 0)
    // The replica came back with the role it had, master, and start waited until that was put right.
    assert.equal(await role(replica), 'slave')
    assert.match(stdout, new RegExp(`ready: master 127\\.0\\.0\\.1:${master}`))
    assert.deepEqual(
      [0, 2, 3].map((n) => pids()[n]),
      [0, 2, 3].map((n) => running[n]),
    )
    assert.notEqual(pids()[1], running[1])
    assert.notEqual(pids()[4], running[4])
  })

  await t.test('restart ends one that runs, and only that', async () => {
    const running = pids()
    assert.equal((await install(['restart', `${sentinels[0]}`])).code, 0)
    assert.notEqual(pids()[2], running[2])
    assert.deepEqual(pids().toSpliced(2, 1), running.toSpliced(2, 1))
  })

  await t.test('stop needs no RESPOOL_PORTS, ends all five and leaves the logs', async () => {
    const running = pids()
    const { code } = await install(['stop'], { env: { RESPOOL_PORTS: undefined } })
    assert.equal(code, 0)
    assert.deepEqual(running.filter(isAlive), [])
    assert.deepEqual(
      readdirSync(runDir).filter((name) => !name.endsWith('.log')),
      [],
    )
    assert.match((await install(['stop'])).stdout, /none of our servers runs/)
  })
  assert.deepEqual(tree(), before)
})

test('stop ends a hung server, and no stranger', async (t) => {
  const { install, ports, pids, runDir } = await prepare(t)
  const foreign = await startServer(t)
  const stranger = spawn('sleep', ['300'], { stdio: 'ignore' })
  t.after(() => end(stranger))
  assert.equal((await install(['start'])).code, 0)
  const running = pids()

  signal(running[1], 'SIGSTOP')
  const again = await install(['start'])
  assert.equal(again.code, 1)
  assert.match(again.stderr, new RegExp(`server ${ports[1]} .*does not answer.*restart ${ports[1]}`))
  assert.match((await install(['status'])).stdout, new RegExp(`^${ports[1]} .* not answering`, 'm'))

  // The sentinel's pid has gone to another process, and the pidfile does not know.
  signal(running[4], 'SIGKILL')
  writeFileSync(join(runDir, `sentinel_${ports[4]}.pid`), `${stranger.pid}\n`)
  // A server whose pidfile was lost is still ours.
  rmSync(join(runDir, `sentinel_${ports[3]}.pid`))

  const { code, stdout } = await install(['stop'])
  assert.equal(code, 0)
  assert.match(
    stdout,
    new RegExp(`${ports[4]}: the pidfile is out of date, ${stranger.pid} is another process`),
  )
  assert.match(stdout, new RegExp(`ended ${ports[1]} .*SIGKILL`))
  assert.deepEqual(running.filter(isAlive), [])
  assert.equal(stranger.exitCode, null)
  assert.equal(stranger.signalCode, null)
  assert.equal(await foreign.cli('PING'), 'PONG')
})

test('a port that a foreign server holds is named with its holder, and nothing is started', async (t) => {
  const { install, ports, runDir } = await prepare(t)
  const foreign = await startServer(t, { port: ports[3] ?? 0 })

  for (const args of [['start'], ['start', '--take-over']]) {
    const { code, stderr } = await install(args)
    assert.equal(code, 1)
    assert.match(stderr, new RegExp(`port ${ports[3]} is taken by .*\\(pid ${foreign.pid}\\b`))
    assert.deepEqual(await listening(ports), [ports[3]])
    assert.deepEqual(readdirSync(runDir), [])
  }
  assert.equal(await foreign.cli('PING'), 'PONG')
})

test('a port that any other program holds is named with its holder', async (t) => {
  const { install, ports } = await prepare(t)
  const server = createServer((socket) => socket.on('error', () => socket.destroy()))
  t.after(() => {
    server.close()
  })
  // On all addresses, IPv6 included: 127.0.0.1 is taken by that, too.
  await new Promise<void>((resolve) => server.listen(ports[0], resolve))

  const { code, stderr } = await install(['start'])
  assert.equal(code, 1)
  assert.match(stderr, new RegExp(`port ${ports[0]} is taken by .*\\(pid ${process.pid}\\b`))
  assert.match(stderr, /RESPOOL_PORTS=/)
  assert.deepEqual(await listening(ports), [ports[0]])
})

test('a start that fails half-way ends what it started', async (t) => {
  const { install, ports, runDir } = await prepare(t)
  // A server that can do anything but be a sentinel.
  const server = program(
    t,
    `case " $* " in *" --sentinel "*) echo 'no such mode' >&2; exit 1;; esac; exec redis-server "$@"`,
  )
  const { code, stdout, stderr } = await install(['start'], { env: { RESPOOL_SERVER: server } })
  assert.equal(code, 1)
  assert.match(stdout, new RegExp(`started server ${ports[0]}`))
  assert.match(stderr, new RegExp(`${ports[2]} did not start[^]*no such mode`))
  assert.deepEqual(await listening(ports), [])
  assert.deepEqual(
    readdirSync(runDir).filter((name) => !name.endsWith('.log')),
    [],
  )
})

test('two starts at once start one topology, even where a dead one has left its lock', async (t) => {
  const { install, ports, pids, runDir } = await prepare(t)
  mkdirSync(runDir, { recursive: true })
  const dead = spawn('true')
  await new Promise((resolve) => dead.once('exit', resolve))
  symlinkSync(`${dead.pid}`, join(runDir, 'lock'))

  const both = await Promise.all([install(['start']), install(['start'])])
  assert.deepEqual(
    both.map(({ code }) => code),
    [0, 0],
  )
  assert.equal(both.filter(({ stdout }) => /already run, nothing changed/.test(stdout)).length, 1)
  assert.deepEqual(pids().map(isAlive), Array(5).fill(true))
  assert.deepEqual(await listening(ports), ports)
  assert.equal(existsSync(join(runDir, 'lock')), false)
})

test('misuse is told apart from failure and starts nothing', async (t) => {
  const { install, ports } = await prepare(t)
  const cases: [string[], string, RegExp][] = [
    [['begin'], '', /unknown command 'begin'/],
    [['start', 'now'], '', /start: unexpected argument 'now'/],
    [['restart'], '', /restart needs a port/],
    [['restart', '0x10'], '', /not a port: '0x10'/],
    [['start'], '1 2 3 4', /needs five ports .* has 4/],
    [['start'], '1 2 3 4 5 6', /needs five ports .* has 6/],
    [['start'], '6379 6380 26379 26380 65536', /'65536' is not a port/],
    [['start'], '6379 6380 26379 26380 *', /'\*' is not a port/],
    [['start'], '0 6380 26379 26380 26381', /'0' is not a port/],
    [['start'], '6379 6380 26379 6379 26381', /names 6379 twice/],
  ]
  for (const [args, asked, message] of cases) {
    const { code, stderr } = await install(args, { env: asked === '' ? {} : { RESPOOL_PORTS: asked } })
    assert.equal(code, 2, `${args} ${asked}`)
    assert.match(stderr, message)
  }
  const unknown = await install(['restart', `${ports[0]}`])
  assert.equal(unknown.code, 1)
  assert.match(unknown.stderr, /nothing was started here yet/)
  assert.deepEqual(await listening(ports), [])

  const help = await install(['help'])
  assert.equal(help.code, 0)
  assert.match(help.stdout, /restart PORT/)
})

test('without a server installed, start says what to install', async (t) => {
  const { install } = await prepare(t)
  const tools = tempDir(t)
  for (const name of ['dirname', 'cat']) symlinkSync(await which(name), join(tools, name))
  const env = { PATH: tools, RESPOOL_SERVER: undefined, RESPOOL_CLI: undefined }
  const { code, stderr } = await install(['start'], { env })
  assert.equal(code, 1)
  assert.match(stderr, /neither redis-server nor valkey-server is installed/)
  assert.match(stderr, /apt-get install redis-server/)

  const wrong = await install(['start'], { env: { RESPOOL_SERVER: '/no/such/server' } })
  assert.equal(wrong.code, 1)
  assert.match(wrong.stderr, /RESPOOL_SERVER: no such program: '\/no\/such\/server'/)
})

interface Outcome {
  readonly code: number | string | null | undefined
  readonly stdout: string
  readonly stderr: string
}

interface Prepared {
  /** Master, replica, three sentinels. */
  readonly ports: readonly number[]
  readonly runDir: string
  /** Runs install.sh; an `undefined` in `env` removes the variable. */
  install(
    args: readonly string[],
    options?: { cwd?: string; env?: Readonly<Record<string, string | undefined>> },
  ): Promise<Outcome>
  /** What the pidfiles say, in the order of the ports. */
  pids(): number[]
}

/** Ports and a run directory that does not exist yet; what runs there is ended with the test. */
async function prepare(t: TestContext): Promise<Prepared> {
  const dir = realpathSync(mkdtempSync(join(tmpdir(), 'respool-')))
  // With a space and quotation marks, as a home directory may have them.
  const runDir = join(dir, 'run "1"')
  const ports = await freePorts(5)
  const install: Prepared['install'] = (args, { cwd = root, env = {} } = {}) =>
    new Promise((resolve) => {
      const variables = { RESPOOL_RUN_DIR: runDir, RESPOOL_PORTS: ports.join(' '), ...env }
      execFile(
        '/bin/sh',
        [join(root, 'install.sh'), ...args],
        { cwd, env: { ...process.env, ...variables }, timeout: scriptTimeoutMs },
        (error, stdout, stderr) => resolve({ code: error === null ? 0 : error.code, stdout, stderr }),
      )
    })
  const pids = () =>
    ports.map((port, n) => {
      const file = join(runDir, `${n < 2 ? 'redis' : 'sentinel'}_${port}.pid`)
      return existsSync(file) ? Number(readFileSync(file, 'utf8')) : 0
    })
  t.after(async () => {
    await install(['stop'])
    rmSync(dir, { recursive: true, force: true })
  })
  return { ports, runDir, install, pids }
}

async function role(port: number | undefined): Promise<string> {
  const reply = await request({ port: port ?? 0 }, 'ROLE')
  return Array.isArray(reply) ? String(reply[0]) : String(reply)
}

/** The state of the replica's link to its master, as a sentinel knows it: `ok` or `err`. */
async function linkOfReplica(sentinel: number): Promise<string> {
  const replicas = await request({ port: sentinel }, 'SENTINEL', 'REPLICAS', 'localmaster')
  const fields = Array.isArray(replicas) && Array.isArray(replicas[0]) ? replicas[0] : []
  return String(fields[fields.indexOf('master-link-status') + 1])
}

/** The master that a sentinel knows. */
async function masterOf(sentinel: number): Promise<number> {
  const address = await request({ port: sentinel }, 'SENTINEL', 'GET-MASTER-ADDR-BY-NAME', 'localmaster')
  return Array.isArray(address) ? Number(address[1]) : 0
}

/** Those of the ports where something accepts a connection. */
async function listening(ports: readonly number[]): Promise<number[]> {
  const accepted = await Promise.all(ports.map(accepts))
  return ports.filter((_, n) => accepted[n])
}

function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ port, host: '127.0.0.1' })
    socket.once('connect', () => {
      socket.destroy()
      resolve(true)
    })
    socket.once('error', () => resolve(false))
  })
}

/** A pidfile that is missing must not become pid 0, which is everyone in the test's own process group. */
function signal(pid: number | undefined, name: NodeJS.Signals): void {
  assert.ok(pid !== undefined && pid > 1, `no pid: ${pid}`)
  process.kill(pid, name)
}

function isAlive(pid: number): boolean {
  if (pid <= 1) return false
  try {
    process.kill(pid, 0)
  } catch {
    return false // ESRCH: there is no such process
  }
  // A server's parent is the first process of the machine, and in a container that may not be one that
  // reaps: what is left of the server then has no command line.
  return !existsSync('/proc/self') || readFileSync(`/proc/${pid}/cmdline`, 'utf8') !== ''
}

function end(child: ChildProcess): Promise<void> {
  return new Promise((resolve) => {
    if (child.exitCode !== null || child.signalCode !== null) return resolve()
    child.once('exit', () => resolve())
    child.kill('SIGKILL')
  })
}

/** An executable shell script that lives as long as the test. */
function program(t: TestContext, script: string): string {
  const path = join(tempDir(t), 'program')
  writeFileSync(path, `#!/bin/sh\n${script}\n`, { mode: 0o755 })
  return path
}

function which(name: string): Promise<string> {
  return new Promise((resolve, reject) => {
    execFile('/bin/sh', ['-c', `command -v ${name}`], (error, stdout) => {
      if (error === null) resolve(stdout.trim())
      else reject(error)
    })
  })
}

/** What a server started the wrong way would change: conf/, and what servers leave where they run. */
function tree(): Record<string, string> {
  const left = readdirSync(root).filter((name) => /\.(rdb|aof|log|pid)$/.test(name))
  const conf = readdirSync(join(root, 'conf')).map((name) => [
    name,
    readFileSync(join(root, 'conf', name), 'utf8'),
  ])
  return { ...Object.fromEntries(conf), left: left.join(' ') }
}

/** The tests run from where they were compiled to. */
function repositoryRoot(): string {
  let folder = dirname(fileURLToPath(import.meta.url))
  while (!existsSync(join(folder, 'package.json'))) folder = dirname(folder)
  return folder
}
