// @ts-check
/**
 * The demonstration: a web server that writes to the master and reads from a replica, whoever they are.
 *
 *   GET /        writes a value, reads it back, and tells which server did which
 *   GET /read    only reads: goes on while a failover makes the writes wait
 *   GET /stats   the topology, and what the pools did
 *
 * Environment: PORT (3333); REQUEST_TIMEOUT in milliseconds (5000); RESPOOL_MASTER_NAME (localmaster); the
 * sentinels as RESPOOL_SENTINELS, 'host:port,host:port', or as the last three of RESPOOL_PORTS, see install.sh.
 */
import { createServer } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { ConnectionError, ReplyError, RespoolError, Sentinel, TimeoutError } from 'respool'

const { PORT = '3333', RESPOOL_PORTS = '6379 6380 26379 26380 26381' } = process.env
const ports = RESPOOL_PORTS.trim().split(/\s+/).slice(2)
const { RESPOOL_SENTINELS = ports.map((port) => `127.0.0.1:${port}`).join() } = process.env
const requestTimeout = Number(process.env.REQUEST_TIMEOUT ?? 5000)
const retryPause = 50
const stopTimeout = 5000
/** All good answers are this long, because `ab` counts one of another length as failed. */
const answerLength = 384
/** Writes go round so many keys: the data stay few, and nobody writes a key that another request still writes. */
const keyCount = 10_000

const ha = new Sentinel({
  name: process.env.RESPOOL_MASTER_NAME ?? 'localmaster',
  sentinels: RESPOOL_SENTINELS.split(','),
  readFrom: 'prefer-replica',
  // Ten connections to each server. A request holds one for a round trip, so ten serve thousands of requests a
  // second; who comes when all are lent waits a moment. And as many may be idle as there are: with fewer,
  // each rush would open connections and close them again.
  pool: { maxActive: 10, wait: true, maxIdle: 10, idleTimeout: 240_000 },
  // A hung server costs a request one attempt, not all its time.
  connection: { clientName: 'respool-demo', connectTimeout: 1000, commandTimeout: 1000 },
  // Ends before the request does, and then tells what it was that did not come.
  holdTimeout: requestTimeout * 0.9,
})

let count = 0

/** @param {AbortSignal} signal */
async function writeAndRead(signal) {
  const n = count++
  const key = keyOf(n)
  const value = `${new Date().toISOString()} #${String(n).padStart(9, '0')}`
  const { reply: _, ...written } = await run(ha.master, ['SET', key, value], signal)
  // Replication is asynchronous: the replica may still have the value before this one, or none.
  const { reply, ...read } = await run(ha.replica, ['GET', key], signal)
  return answer({ key, written: { value, ...written }, read: { value: reply, ...read } })
}

/** @param {AbortSignal} signal */
async function readOnly(signal) {
  const key = keyOf(Math.max(count - 1, 0))
  const { reply, ...read } = await run(ha.replica, ['GET', key], signal)
  return answer({ key, read: { value: reply, ...read } })
}

const stats = async () => `${JSON.stringify({ topology: ha.topology, switches, ...ha.stats() }, null, 2)}\n`

/** @param {number} n */
const keyOf = (n) => `respool:demo:${String(n % keyCount).padStart(4, '0')}`
/** @param {object} content */
const answer = (content) => `${JSON.stringify(content).padEnd(answerLength - 1)}\n`

/**
 * Runs a command on a borrowed connection, and again on another one after a failure that passes, until the
 * signal aborts. Only for commands that may run twice, because one that was sent and not answered may have been
 * executed: reads, and a SET of a given value to a key that nobody else writes meanwhile; not INCR.
 *
 * @param {import('respool').RolePool} pool @param {string[]} command @param {AbortSignal} signal
 */
async function run(pool, command, signal) {
  const startedAt = performance.now()
  let failure
  for (let tries = 1; ; tries++) {
    let lease
    try {
      lease = await pool.get({ signal }) // during a failover it waits here
      const { address } = lease.connection
      const reply = await lease.execute(command, { signal })
      return { reply, endpoint: address, tries, ms: Math.round(performance.now() - startedAt) }
    } catch (error) {
      if (error instanceof TimeoutError) lease?.destroy(error) // its server hangs: nothing for the next one
      if (signal.aborted) throw failure ?? error
      if (!isPassing(error)) throw error
      failure = error
    } finally {
      void lease?.close() // back to the pool, unless it was destroyed; never rejects
    }
    await sleep(retryPause)
  }
}

/** @param {unknown} error what may be otherwise in a moment: no connection, no answer, refused for now */
function isPassing(error) {
  if (error instanceof ReplyError) return ['READONLY', 'LOADING', 'MASTERDOWN'].includes(error.prefix)
  if (error instanceof ConnectionError) return error.code !== 'HANDSHAKE_FAILED' // FENCED: a failover came
  return error instanceof TimeoutError
}

const routes = new Map([
  ['/', writeAndRead],
  ['/read', readOnly],
  ['/stats', stats],
])

const server = createServer(async (request, response) => {
  /** @type {(status: number, body: string, headers?: Record<string, string>) => void} */
  const send = (status, body, headers) => {
    if (stopping) response.setHeader('connection', 'close')
    response.setHeader('content-type', 'application/json')
    response.writeHead(status, { 'content-length': Buffer.byteLength(body), ...headers }).end(body)
  }
  /** @type {(status: number, code: string, message: string, headers?: Record<string, string>) => void} */
  const refuse = (status, code, message, headers) =>
    send(status, `${JSON.stringify({ error: { code, message } })}\n`, headers)

  const route = routes.get(request.url?.split('?')[0] ?? '')
  if (route === undefined) return refuse(404, 'NOT_FOUND', 'there are /, /read and /stats')
  if (request.method !== 'GET' && request.method !== 'HEAD')
    return refuse(405, 'METHOD_NOT_ALLOWED', 'GET or HEAD', { allow: 'GET, HEAD' })

  const work = new AbortController()
  const timer = setTimeout(() => work.abort(), requestTimeout)
  response.once('close', () => {
    clearTimeout(timer)
    work.abort() // the client has its answer, or has gone
  })
  try {
    send(200, await route(work.signal))
  } catch (error) {
    if (response.destroyed) return
    if (!(error instanceof RespoolError)) {
      console.error(error)
      return refuse(500, 'BUG', 'see the log')
    }
    const reason = error.code === 'ABORT_ERR' ? (ha.topology.trouble ?? 'no answer') : error.message
    refuse(503, error.code, work.signal.aborted ? `not within ${requestTimeout} ms: ${reason}` : reason)
  }
})

/** @param {string} line */
const log = (line) => console.log(`${new Date().toTimeString().slice(0, 8)} ${line}`)
let told = ''
ha.on('topology', ({ master, holding, replicas, sentinels, trouble }) => {
  const names = replicas.map(({ address, healthy }) => (healthy ? address : `${address} (away)`))
  const up = sentinels.filter(({ connected }) => connected).length
  const line = `master ${master ?? 'unknown'}${holding ? ' (writes wait)' : ''}, replicas ${names.join(' ') || 'none'}, sentinels ${up}/${sentinels.length}`
  if (line !== told) log(trouble === undefined ? line : `${line}: ${trouble.split(' (')[0]}`)
  told = line
})
/** The last ones, oldest first. @type {object[]} */
const switches = []
ha.on('switch', ({ from, to, epoch, early, duration }) => {
  const how = early ? 'before the sentinels announced it' : 'as the sentinels announced it'
  log(`switch from ${from} to ${to}, epoch ${epoch}, ${Math.round(duration)} ms after the first sign, ${how}`)
  switches.push({ at: new Date().toISOString(), from, to, epoch, early, ms: Math.round(duration) })
  if (switches.length > 10) switches.shift()
})

let stopping = false
for (const signal of /** @type {const} */ (['SIGINT', 'SIGTERM'])) {
  process.on(signal, () => {
    if (stopping) process.exit(1)
    stopping = true
    log(`${signal}: finishing what is under way`)
    server.close(() => void ha.close()) // and when all is closed, nothing keeps the process
    setTimeout(() => {
      server.closeAllConnections()
      ha.destroy()
    }, stopTimeout).unref()
  })
}

server.on('error', (error) => {
  console.error(`cannot serve on port ${PORT}: ${error.message}`)
  process.exitCode = 1
})
server.listen(Number(PORT), '127.0.0.1', () => {
  console.log(`listening on http://127.0.0.1:${PORT}/`)
  ha.ready().catch((error) => log(`no master yet: ${error.message}`))
})
