// The server of a run: on a free port of the loopback, on a unix socket, and with TLS where it can, all at once.

import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { mainThreadCpu, SERVER_CORE, scratch, start } from './processes.js'
import { dial, exchange } from './raw.js'

const HOST = '127.0.0.1'
const START_MS = 5_000

/**
 * Starts one; `RESPOOL_SERVER` names another than `redis-server`.
 *
 * @returns `where` how it is reached by each transport that it has, `version`, `admin(...command)`, `cpu()` its
 *   main thread's so far, `sentinel()` how it is reached by a sentinel, which is started then, and `stop()`
 */
export async function startServer() {
  const certificate = makeCertificate()
  for (const offered of certificate === undefined ? [undefined] : [certificate, undefined]) {
    const server = await tryToStart(offered)
    if (server !== undefined) return server
  }
  throw new Error('the server did not start')
}

async function tryToStart(certificate) {
  const port = await freePort()
  const path = join(scratch, 'socket')
  const where = { tcp: { host: HOST, port }, unix: { path } }
  const options = {
    port,
    bind: HOST,
    unixsocket: path,
    save: '',
    appendonly: 'no',
    dir: scratch,
    'client-output-buffer-limit': 'pubsub 0 0 0',
  }
  if (certificate !== undefined) {
    const tlsPort = await freePort()
    where.tls = { host: HOST, port: tlsPort, ca: readFileSync(certificate.cert, 'utf8') }
    Object.assign(options, {
      'tls-port': tlsPort,
      'tls-cert-file': certificate.cert,
      'tls-key-file': certificate.key,
      'tls-auth-clients': 'no',
    })
  }
  const flags = Object.entries(options).flatMap(([key, value]) => [
    `--${key}`,
    ...(value === '' ? [''] : String(value).split(' ')),
  ])
  const child = start([program(), ...flags], SERVER_CORE)
  child.stdout.resume()
  const socket = await dialUntil(where.tcp, child)
  if (socket === undefined) return undefined
  const admin = async (...command) => {
    const reply = await exchange(socket, command)
    if (reply.startsWith('-')) throw new Error(`${command[0]}: ${reply.trim()}`)
    return reply
  }
  const info = await admin('INFO', 'server')
  let sentinel
  // Valkey tells both
  const [, name, number] = /(valkey)_version:(\S+)/.exec(info) ?? /(redis)_version:(\S+)/.exec(info)
  return {
    where,
    version: `${name} ${number}`,
    admin,
    cpu: () => mainThreadCpu(child.pid),
    sentinel: () => {
      sentinel ??= startSentinel(where.tcp)
      return sentinel
    },
    stop: () => child.kill('SIGKILL'),
  }
}

/** One that watches the server, and is alone: what a client that finds its master by sentinels is told. */
async function startSentinel({ host, port: masterPort }) {
  const port = await freePort()
  const dir = mkdtempSync(join(scratch, 'sentinel-'))
  const file = join(dir, 'sentinel.conf')
  const settings = [
    `bind ${HOST}`,
    `port ${port}`,
    `dir ${dir}`,
    `sentinel monitor bench ${host} ${masterPort} 1`,
  ]
  writeFileSync(file, settings.join('\n'))
  const child = start([program(), file, '--sentinel'], SERVER_CORE)
  child.stdout.resume()
  const socket = await dialUntil({ host: HOST, port }, child)
  if (socket === undefined) throw new Error('the sentinel did not start')
  socket.destroy()
  return { name: 'bench', sentinels: [`${HOST}:${port}`] }
}

function program() {
  return process.env.RESPOOL_SERVER ?? 'redis-server'
}

/** `undefined` when the process ended or the time is over. */
async function dialUntil(where, child) {
  const until = performance.now() + START_MS
  while (child.exitCode === null && performance.now() < until) {
    const socket = await dial(where).catch(() => undefined)
    if (socket !== undefined) return socket
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
  return undefined
}

/** Signed by itself, by `openssl`; `undefined` where that is missing. */
function makeCertificate() {
  const [key, cert] = [join(scratch, 'key.pem'), join(scratch, 'cert.pem')]
  const request = ['req', '-x509', '-nodes', '-days', '2', '-subj', '/CN=localhost']
  const curve = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-keyout', key]
  const names = ['-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1']
  try {
    execFileSync('openssl', [...request, ...curve, ...names, '-out', cert], { stdio: 'ignore' })
    return { key, cert }
  } catch {
    return undefined
  }
}

function freePort() {
  return new Promise((resolve) => {
    const probe = createServer().listen(0, HOST, () => {
      const { port } = probe.address()
      probe.close(() => resolve(port))
    })
  })
}
