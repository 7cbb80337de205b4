// @ts-check
/**
 * The demonstration: a web server that writes to the master and reads from a replica, whoever they are.
 *
 *   GET /        writes a value, reads it back, and says which server did which
 *   GET /read    only reads: this goes on while a failover makes the writes wait
 *   GET /stats   the topology, and what the pools did
 *
 * Environment: PORT (3333); REQUEST_TIMEOUT, milliseconds (5000); RESPOOL_MASTER_NAME (localmaster); and the
 * sentinels as RESPOOL_SENTINELS, 'host:port,host:port', or as the last of RESPOOL_PORTS, see install.sh.
 */
import { createServer } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { ConnectionError, ReplyError, RespoolError, Sentinel, TimeoutError } from 'respool'

const { PORT = '3333', RESPOOL_PORTS = '6379 6380 26379 26380 26381' } = process.env
const requestTimeout = Number(process.env.REQUEST_TIMEOUT ?? 5000)
const ports = RESPOOL_PORTS.trim().split(/\s+/).slice(2)
const { RESPOOL_SENTINELS = ports.map((port) => `127.0.0.1:${port}`).join() } = process.env

/** All successful answers are this long, for `ab` counts an answer of another length as failed. */
const answerLength = 384
/** Writes go round these: a bounded data set, and long before a key's turn comes again its last write is over. */
const keyCount = 1000
const retryPause = 50
const stopTimeout = 5000

const ha = new Sentinel({
  name: process.env.RESPOOL_MASTER_NAME ?? 'localmaster',
  sentinels: RESPOOL_SENTINELS.split(','),
  readFrom: 'prefer-replica',
  // A hung server costs one attempt, not the whole request.
  connection: { clientName: 'respool-demo', connectTimeout: 1000, commandTimeout: 1000 },
  // Ends just before the request does, and tells what it was that did not come.
  holdTimeout: requestTimeout * 0.9,
  pool: {
    // A request holds a connection for one round trip, so 50 of them serve thousands of requests a second,
    // and no load can take all the clients that a server admits. Whoever comes when all are lent waits.
    maxActive: 50,
    wait: true,
    // A calm demo needs no more than these; what a rush needed besides is closed as it comes back.
    maxIdle: 10,
    idleTimeout: 240_000,
  },
})

let count = 0

/** @typedef {import('respool').RolePool} RolePool */
/** @type {Map<string, (signal: AbortSignal) => Promise<string>>} */
const routes = new Map([
  ['/', writeAndRead],
  ['/read', readOnly],
  ['/stats', stats],
])

/** @param {AbortSignal} signal */
async function writeAndRead(signal) {
  const n = count++
  const key = keyOf(n)
  const value = `${new Date().toISOString()} #${String(n).padStart(9, '0')}`
  const { endpoint, tries, ms } = await run(ha.master, ['SET', key, value], signal)
  // Replication is asynchronous: a replica may still have the value before, or none.
  const { reply, ...read } = await run(ha.replica, ['GET', key], signal)
  return answer({ key, written: { value, endpoint, tries, ms }, read: { value: reply, ...read } })
}

/** @param {AbortSignal} signal */
async function readOnly(signal) {
  const key = keyOf(Math.max(count - 1, 0))
  const { reply, ...read } = await run(ha.replica, ['GET', key], signal)
  return answer({ key, read: { value: reply, ...read } })
}

async function stats() {
  return `${JSON.stringify({ topology: ha.topology, ...ha.stats() }, null, 2)}\n`
}

/** @param {number} n */
const keyOf = (n) => `respool:demo:${String(n % keyCount).padStart(3, '0')}`
/** @param {object} content */
const answer = (content) => `${JSON.stringify(content).padEnd(answerLength - 1)}\n`

/**
 * Runs one command on a borrowed connection, and again on another one if that fails in a way that passes. Only
 * for commands that may run twice: a write that was sent and not answered may have been executed. A SET of a
 * given value is such a command, as long as nobody else writes the key meanwhile; INCR is not.
 *
 * @param {RolePool} pool @param {string[]} command @param {AbortSignal} signal
 */
async function run(pool, command, signal) {
  const startedAt = performance.now()
  for (let tries = 1; ; tries++) {
    // Waits while a failover goes on, and tries again what was not sent: what it throws in the end is final.
    const lease = await pool.get({ signal })
    const { address: endpoint } = lease.connection
    try {
      const reply = await lease.execute(command, { signal })
      return { reply, endpoint, tries, ms: Math.round(performance.now() - startedAt) }
    } catch (error) {
      if (error instanceof TimeoutError) lease.destroy(error) // not for the next one: its server may hang
      if (signal.aborted || !isPassing(error)) throw error
    } finally {
      void lease.close() // never rejects; nothing to wait for here
    }
    await sleep(retryPause, undefined, { signal })
  }
}

/** Lost, fenced because a failover replaced the server, not answered in time, or refused for now. @param {unknown} error */
function isPassing(error) {
  if (error instanceof ReplyError) return ['READONLY', 'LOADING', 'MASTERDOWN'].includes(error.prefix)
  return error instanceof ConnectionError || error instanceof TimeoutError
}

const server = createServer(async (request, response) => {
  const route = routes.get(request.url?.split('?')[0] ?? '')
  /** @type {(status: number, body: string, headers?: Record<string, string>) => void} */
  const send = (status, body, headers) => {
    const type = { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) }
    response.writeHead(status, { ...type, ...headers, ...(stopping && { connection: 'close' }) }).end(body)
  }
  /** @type {(code: string, message: string) => string} */
  const problem = (code, message) => `${JSON.stringify({ error: { code, message } })}\n`

  if (route === undefined) return send(404, problem('NOT_FOUND', 'there are /, /read and /stats'))
  if (request.method !== 'GET' && request.method !== 'HEAD')
    return send(405, problem('METHOD_NOT_ALLOWED', 'GET and HEAD only'), { allow: 'GET, HEAD' })

  const work = new AbortController()
  const timer = setTimeout(() => work.abort(), requestTimeout)
  response.once('close', () => {
    clearTimeout(timer)
    work.abort() // the client has its answer, or has gone away
  })
  try {
    send(200, await route(work.signal))
  } catch (error) {
    if (work.signal.aborted) {
      const trouble = ha.topology.trouble ?? 'the server does not answer'
      send(503, problem('DEADLINE', `not done within ${requestTimeout} ms: ${trouble}`))
    } else if (error instanceof RespoolError) send(503, problem(error.code, error.message))
    else {
      console.error(error)
      send(500, problem('BUG', 'see the log'))
    }
  }
})

let stopping = false
/** @type {NodeJS.Signals[]} */
const endings = ['SIGINT', 'SIGTERM']
for (const signal of endings) {
  process.on(signal, () => {
    if (stopping) process.exit(1)
    stopping = true
    log(`${signal}: finishing what is under way`)
    server.close(() => void ha.close())
    setTimeout(() => {
      server.closeAllConnections()
      ha.destroy()
    }, stopTimeout).unref()
  })
}

ha.on('switch', ({ from, to, epoch }) =>
  log(`switch: the master is ${to}, no longer ${from} (epoch ${epoch})`),
)
let told = ''
ha.on('topology', ({ master, replicas, sentinels, holding, trouble }) => {
  const reads = replicas.map(({ address, healthy }) => `${address}${healthy ? '' : ' (away)'}`)
  const watching = sentinels.filter(({ connected }) => connected).length
  const parts = [
    `master ${master}${holding ? ' (writes wait)' : ''}`,
    `replicas ${reads.join(', ') || 'none'}`,
  ]
  parts.push(`sentinels ${watching}/${sentinels.length}`, ...(trouble ? [trouble] : []))
  const line = parts.join('; ')
  if (line !== told) log(line)
  told = line
})

/** @param {string} line */
const log = (line) => console.log(`${new Date().toTimeString().slice(0, 8)} ${line}`)

server.on('error', (error) => {
  console.error(`cannot listen on port ${PORT}: ${error.message}`)
  process.exitCode = 1
})
server.listen(Number(PORT), '127.0.0.1', () => {
  console.log(`listening on http://127.0.0.1:${PORT}/`)
  ha.ready().catch((error) => log(`no master yet: ${error.message}`))
})
