// One server process of a test's own: in the foreground, in a directory of its own, ended with its test, and
// with the test's process, whichever ends first.
//
// Needs `redis-server` or `valkey-server` and the matching cli in the PATH, or RESPOOL_SERVER and RESPOOL_CLI
// with the paths of others.

import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { accessSync, closeSync, constants, existsSync, openSync, readFileSync, writeFileSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { performance } from 'node:perf_hooks'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Address, request, type TestServerTls } from './raw-request.ts'
import { type Cleanup, tempDir } from './temp-dir.ts'

/** One server process. `restart()` gives it another `pid`; all else stays. */
export interface TestServer {
  readonly port: number
  readonly pid: number
  /** Its working directory, with `server.conf` and `server.log`. */
  readonly dir: string
  /** The unix socket, where `unixSocket` was asked for. */
  readonly socketPath: string | undefined
  /** Sends the signal and resolves when the process is gone. @default 'SIGTERM' */
  stop(signal?: NodeJS.Signals): Promise<void>
  /** Sends any signal, such as `SIGSTOP` and `SIGCONT`, and waits for nothing. */
  signal(signal: NodeJS.Signals): void
  /** Ends the process if it runs, starts it again on the same port and the configuration file as it is now. */
  restart(): Promise<void>
  /** What the server's command line client prints, trimmed. An error reply is text like any other. */
  cli(...args: string[]): Promise<string>
  /** All that the server has logged so far, over every restart. */
  log(): string
}

/** What `startServer` can be told. */
export interface TestServerOptions {
  /** @default a free one */
  readonly port?: number
  /** The port of this server's master. */
  readonly replicaOf?: number
  /** `requirepass` and `masterauth`. */
  readonly password?: string
  /** Also listens on a unix socket, `socketPath`. */
  readonly unixSocket?: boolean
  readonly tls?: TestServerTls
  /** Options of the command line, such as `['--maxclients', '10']`; they survive a restart. */
  readonly args?: readonly string[]
  /** Lines for the configuration file, after the launcher's own. */
  readonly config?: string
}

/** What {@link launch} has to be told besides. */
export interface LaunchOptions extends TestServerOptions {
  readonly port: number
  readonly sentinel: boolean
}

/** Another process listens on the port, or did a moment ago. */
export class PortTakenError extends Error {}

const readyTimeoutMs = 10_000
const readyPollMs = 10
// Longer than a server's own `shutdown-timeout`, 10 s, which it spends waiting for replicas that lag.
const stopTimeoutMs = 12_000

const running = new Set<ChildProcess>()

/** The paths of the server and its command line client, if both are there; for a test that has to skip. */
export function findBinaries(): { readonly server: string; readonly cli: string } | undefined {
  const server = findBinary('RESPOOL_SERVER', ['redis-server', 'valkey-server'])
  const cli = findBinary('RESPOOL_CLI', ['redis-cli', 'valkey-cli'])
  return server === undefined || cli === undefined ? undefined : { server, cli }
}

/** Starts the process and resolves when it answers. @throws PortTakenError */
export async function launch(t: Cleanup, options: LaunchOptions): Promise<TestServer> {
  const binaries = findBinaries()
  if (binaries === undefined) {
    throw new Error(
      'no server to test with: install redis-server or valkey-server with its command line client, ' +
        'or set RESPOOL_SERVER and RESPOOL_CLI to their paths',
    )
  }
  const { port, password, tls } = options
  let child: ChildProcess | undefined
  // Before the directory's own clean-up: a server that runs must not find its directory gone.
  t.after(() => end('SIGKILL'))
  const dir = tempDir(t)
  const socketPath = options.unixSocket ? join(dir, 'server.sock') : undefined
  const logPath = join(dir, 'server.log')
  const configPath = join(dir, 'server.conf')
  writeFileSync(configPath, configuration(options, dir, socketPath))
  const address: Address = { port, password, tls }

  const end = async (signal: NodeJS.Signals) => {
    const ended = child
    if (ended === undefined || hasExited(ended)) return
    ended.ref()
    const gone = new Promise<void>((resolve) => ended.once('exit', () => resolve()))
    send(ended, signal)
    // A stopped process sees no signal but these two.
    if (signal !== 'SIGKILL') send(ended, 'SIGCONT')
    const killer = setTimeout(() => send(ended, 'SIGKILL'), stopTimeoutMs)
    await gone
    clearTimeout(killer)
  }

  const begin = async () => {
    const logStart = readLog(logPath).length
    const log = openSync(logPath, 'a')
    const begun = spawn(
      binaries.server,
      [configPath, ...(options.sentinel ? ['--sentinel'] : []), ...(options.args ?? [])],
      { cwd: dir, stdio: ['ignore', log, log] },
    )
    closeSync(log)
    let spawnError: Error | undefined
    begun.on('error', (error) => {
      spawnError = error
    })
    // The exit hook ends what a test forgot; a child must not keep its process from exiting.
    begun.unref()
    child = begun
    running.add(begun)
    begun.on('exit', () => running.delete(begun))
    const giveUpAt = performance.now() + readyTimeoutMs
    for (;;) {
      if (spawnError !== undefined)
        throw new Error(`could not start ${binaries.server}`, { cause: spawnError })
      if (hasExited(begun)) {
        const tail = readLog(logPath).slice(-1500)
        const text = `the server for port ${port} ended with ${begun.exitCode ?? begun.signalCode}:\n${tail}`
        throw /address already in use|could not create server tcp|failed listening on port/i.test(tail)
          ? new PortTakenError(text)
          : new Error(text)
      }
      if (await answers(address, begun.pid, () => readLog(logPath).slice(logStart))) return
      if (performance.now() > giveUpAt) {
        const tail = readLog(logPath).slice(-1500)
        throw new Error(`the server on port ${port} was not ready within ${readyTimeoutMs} ms:\n${tail}`)
      }
      await sleep(readyPollMs)
    }
  }

  await begin()
  return {
    ...address,
    dir,
    socketPath,
    get pid() {
      if (child?.pid === undefined) throw new Error(`BUG: the server on port ${port} has no pid`)
      return child.pid
    },
    stop: (signal = 'SIGTERM') => end(signal),
    signal: (signal) => {
      if (child !== undefined) send(child, signal)
    },
    restart: async () => {
      await end('SIGTERM')
      await begin()
    },
    cli: (...args) => runCli(binaries.cli, address, args),
    log: () => readLog(logPath),
  } satisfies TestServer & Address
}

function configuration(options: LaunchOptions, dir: string, socketPath: string | undefined): string {
  const { port, tls, password } = options
  const lines = [
    `port ${tls ? 0 : port}`,
    'bind 127.0.0.1',
    'protected-mode no',
    'daemonize no',
    'loglevel notice',
    'logfile ""',
    `dir ${dir}`,
  ]
  if (tls) {
    lines.push(
      `tls-port ${port}`,
      `tls-cert-file ${tls.cert}`,
      `tls-key-file ${tls.key}`,
      `tls-ca-cert-file ${tls.ca}`,
      `tls-auth-clients ${tls.authClients ? 'yes' : 'no'}`,
      'tls-replication yes',
    )
  }
  if (!options.sentinel) {
    lines.push('save ""', 'appendonly no', 'repl-diskless-sync yes', 'repl-diskless-sync-delay 0')
    // At ten rounds a second, the end of a synchronisation is noticed up to 100 ms late on either side.
    lines.push('hz 100')
    if (password !== undefined) lines.push(`requirepass ${password}`, `masterauth ${password}`)
    if (socketPath !== undefined) lines.push(`unixsocket ${socketPath}`)
    if (options.replicaOf !== undefined) lines.push(`replicaof 127.0.0.1 ${options.replicaOf}`)
  }
  return `${lines.join('\n')}\n${options.config ?? ''}\n`
}

// Any server may answer on a port that was taken a moment ago, so an answer counts only from our process: it
// tells its id, or, where the test's own ACL forbids to ask, has logged that it is ready.
async function answers(server: Address, pid: number | undefined, log: () => string): Promise<boolean> {
  try {
    const info = await request(server, 'INFO', 'server')
    if (info instanceof Error)
      return !/^LOADING/.test(info.message) && /Ready to accept connections/.test(log())
    return String(info).includes(`process_id:${pid}\r\n`)
  } catch {
    return false // not yet; the caller's bound decides when that becomes an error
  }
}

function runCli(cli: string, address: Address, args: readonly string[]): Promise<string> {
  const { port, password, tls } = address
  const all = [
    ...['-h', '127.0.0.1', '-p', String(port)],
    ...(password === undefined ? [] : ['-a', password, '--no-auth-warning']),
    ...(tls ? ['--tls', '--cacert', tls.ca, '--cert', tls.cert, '--key', tls.key] : []),
    ...args,
  ]
  return new Promise((resolve, reject) => {
    execFile(cli, all, { timeout: readyTimeoutMs, maxBuffer: 64 << 20 }, (error, stdout, stderr) => {
      if (error !== null && stdout === '') {
        reject(
          new Error(`the command line client failed on port ${port}: ${stderr.trim()}`, { cause: error }),
        )
      } else {
        resolve(stdout.trim())
      }
    })
  })
}

function findBinary(variable: string, names: readonly string[]): string | undefined {
  const named = process.env[variable]
  if (named !== undefined && named !== '') {
    const path = named.includes('/') ? [named].find(isExecutable) : onPath([named])
    if (path === undefined) throw new Error(`${variable} names ${named}, which is no program`)
    return path
  }
  return onPath(names)
}

function onPath(names: readonly string[]): string | undefined {
  for (const name of names) {
    for (const dir of (process.env.PATH ?? '').split(delimiter)) {
      const path = join(dir, name)
      if (dir !== '' && isExecutable(path)) return path
    }
  }
  return undefined
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false // absent or not ours to run: either way the search goes on
  }
}

/** By its pid: a child's `kill()` sends a second signal in Node only. */
function send(child: ChildProcess, signal: NodeJS.Signals): void {
  if (child.pid === undefined || hasExited(child)) return
  try {
    process.kill(child.pid, signal)
  } catch (error) {
    // It ended in this very moment.
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
  }
}

function hasExited(child: ChildProcess): boolean {
  return child.exitCode !== null || child.signalCode !== null
}

function readLog(path: string): string {
  return existsSync(path) ? readFileSync(path, 'utf8') : ''
}

function killAll(): void {
  for (const child of running) child.kill('SIGKILL')
}

process.on('exit', killAll)
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  // A signal ends a process without its exit event, so the children go first and the signal takes its course.
  process.once(signal, () => {
    killAll()
    process.kill(process.pid, signal)
  })
}
