// Real servers for tests: one server, or a whole Sentinel deployment, on free ports, ended with the test that
// started them. The one door to all that tests need of real servers.
//
//   startServer    one standalone server, or a replica of one
//   startTopology  a master, replicas, sentinels that know each other
//   startSentinel  one sentinel, with a configuration of the test's own
//   watchSentinel  all that a sentinel publishes, with the instant
//   request        one command, one reply, over a socket of its own
//   eventually     asks again until the answer is there

import { randomBytes } from 'node:crypto'
import { connect } from 'node:net'
import { performance } from 'node:perf_hooks'
import { setTimeout as sleep } from 'node:timers/promises'
import { freePorts } from './free-ports.ts'
import { encode, type RawReply, readReplies, request } from './raw-request.ts'
import { launch, PortTakenError, type TestServer, type TestServerOptions } from './server-process.ts'
import type { Cleanup } from './temp-dir.ts'

export { type RawReply, request, type TestServerTls } from './raw-request.ts'
export { findBinaries, type TestServer, type TestServerOptions } from './server-process.ts'

/** A Sentinel deployment. The roles are those of the start: a failover changes them, not these fields. */
export interface TestTopology {
  readonly name: string
  readonly master: TestServer
  readonly replicas: readonly TestServer[]
  readonly sentinels: readonly TestServer[]
}

/** With a second or less, a sentinel takes a server that is new to it for down before its first ping. */
const DEFAULT_DOWN_AFTER_MS = 1500

/** What {@link startTopology} can be told. Durations are milliseconds. */
export interface TestTopologyOptions {
  /** @default 1 */
  readonly replicas?: number
  /** @default 3 */
  readonly sentinels?: number
  /** @default 1500 */
  readonly downAfter?: number
  /** One that was lost to a split vote is begun anew after twice this. @default 2000 */
  readonly failoverTimeout?: number
  /** @default the majority of the sentinels */
  readonly quorum?: number
  /** The name under which the sentinels know the master. @default 'localmaster' */
  readonly name?: string
  /** Of the master and the replicas; the sentinels have none. */
  readonly password?: string
  /** As {@link TestServerOptions.args}, for the master and the replicas. */
  readonly args?: readonly string[]
  /** Lines for the configuration file of each sentinel. */
  readonly sentinelConfig?: string
  /** Puts something before each member, the sentinels too, by whose port all others know it. */
  readonly front?: (member: 'server' | 'sentinel') => Promise<TestFront>
}

/** What stands before one member of a deployment. */
export interface TestFront {
  readonly port: number
  /** What the member's own configuration has to say of it. */
  readonly config: string
  /** The member is there. */
  open(server: TestServer): void
}

/** One message of a sentinel's, at an instant of `performance.now()`. */
export interface SentinelEvent {
  readonly at: number
  readonly channel: string
  readonly payload: string
}

// How often a port may turn out to have been taken since it was chosen.
const portAttempts = 5

/** Starts one server and resolves when it answers; the end of `t` kills it. */
export async function startServer(t: Cleanup, options: TestServerOptions = {}): Promise<TestServer> {
  for (let attempt = 1; ; attempt++) {
    const [port = 0] = options.port === undefined ? await freePorts(1) : [options.port]
    try {
      return await launch(t, { ...options, port, sentinel: false })
    } catch (error) {
      if (!(error instanceof PortTakenError) || options.port !== undefined || attempt === portAttempts)
        throw error
    }
  }
}

/** Starts one sentinel, which watches what the lines of its `config` say, and resolves when it answers. */
export async function startSentinel(t: Cleanup, options: TestServerOptions): Promise<TestServer> {
  for (let attempt = 1; ; attempt++) {
    const [port = 0] = await freePorts(1)
    try {
      return await launch(t, { ...options, port, sentinel: true })
    } catch (error) {
      if (!(error instanceof PortTakenError) || attempt === portAttempts) throw error
    }
  }
}

/** Starts a Sentinel deployment and resolves when its replicas are online and its sentinels see all of it. */
export async function startTopology(t: Cleanup, options: TestTopologyOptions = {}): Promise<TestTopology> {
  const name = options.name ?? 'localmaster'
  const { password, args } = options
  const shared = { ...(password === undefined ? {} : { password }), ...(args === undefined ? {} : { args }) }
  const start = async (replicaOf?: number): Promise<Member> => {
    const front = await options.front?.('server')
    const of = { ...(replicaOf === undefined ? {} : { replicaOf }), ...(front && { config: front.config }) }
    const server = await startServer(t, { ...shared, ...of })
    front?.open(server)
    return { server, port: front?.port ?? server.port }
  }
  const first = await start()
  const others = await Promise.all(Array.from({ length: options.replicas ?? 1 }, () => start(first.port)))
  const master = first.server
  const replicas = others.map(({ server }) => server)
  await eventually(`${replicas.length} replicas of ${master.port} are online`, async () => {
    const info = await request(master, 'INFO', 'replication')
    return String(info).split('state=online').length - 1 === replicas.length
  })
  await areInStep(master, replicas.length)
  for (let attempt = 1; ; attempt++) {
    try {
      const sentinels = await startSentinels(t, name, first.port, others, options)
      return Object.freeze({ name, master, replicas, sentinels })
    } catch (error) {
      if (!(error instanceof PortTakenError) || attempt === portAttempts) throw error
    }
  }
}

/** A server, and the port by which the others know it. */
interface Member {
  readonly server: TestServer
  readonly port: number
}

/**
 * Waits until the replicas have acknowledged a write. Right after a full synchronisation a master may call a replica
 * online and stream nothing to it for up to a second, until its next acknowledgement (its log: "Waiting for REPLCONF
 * ACK from slave to enable streaming"); a failover within that second loses all that was written.
 */
export async function areInStep(master: TestServer, replicas: number): Promise<void> {
  await request(master, 'PUBLISH', 'respool:start', 'replicated like a write, and leaves no data')
  const wanted = Number(
    /master_repl_offset:(\d+)/.exec(String(await request(master, 'INFO', 'replication')))?.[1],
  )
  await eventually(`${replicas} replicas of ${master.port} have acknowledged offset ${wanted}`, async () => {
    // for more replicas than there are, WAIT asks all of them for their offset
    await request(master, 'WAIT', String(replicas + 1), '10')
    const info = String(await request(master, 'INFO', 'replication'))
    const offsets = [...info.matchAll(/state=online,offset=(\d+)/g)].map(([, offset]) => Number(offset))
    return offsets.length === replicas && offsets.every((offset) => offset >= wanted)
  })
}

/** Subscribes to everything the sentinel publishes and returns the list that grows with each message. */
export async function watchSentinel(
  t: Cleanup,
  sentinel: { readonly port: number },
): Promise<readonly SentinelEvent[]> {
  const events: SentinelEvent[] = []
  const socket = connect({ port: sentinel.port, host: '127.0.0.1' })
  t.after(() => {
    socket.destroy()
  })
  await new Promise<void>((resolve, reject) => {
    readReplies(socket, (reply) => {
      const at = performance.now()
      if (!Array.isArray(reply)) return reject(new Error(`PSUBSCRIBE of a sentinel gave ${reply}`))
      if (reply[0] !== 'pmessage') return resolve()
      events.push({ at, channel: String(reply[2]), payload: String(reply[3]) })
    })
    // After the subscription has begun, the sentinel may die as often as the test likes.
    socket.on('error', reject)
    socket.write(encode(['PSUBSCRIBE', '*']))
  })
  return events
}

/** Asks `check` every few milliseconds until it gives something truthy; a rejection of it counts as "not yet". */
export async function eventually<T>(
  what: string,
  check: () => T | Promise<T>,
  { timeout = 10_000, interval = 10 } = {},
): Promise<T> {
  const giveUpAt = performance.now() + timeout
  for (;;) {
    let last: unknown
    try {
      const value = await check()
      if (value) return value
      last = value
    } catch (error) {
      last = error
    }
    if (performance.now() > giveUpAt) throw new Error(`not within ${timeout} ms: ${what}`, { cause: last })
    await sleep(interval)
  }
}

async function startSentinels(
  t: Cleanup,
  name: string,
  masterPort: number,
  replicas: readonly Member[],
  options: TestTopologyOptions,
): Promise<TestServer[]> {
  const count = options.sentinels ?? 3
  const quorum = options.quorum ?? Math.floor(count / 2) + 1
  const members = await Promise.all(
    (await freePorts(count)).map(async (own) => {
      const front = await options.front?.('sentinel')
      return { own, front, port: front?.port ?? own, id: randomBytes(20).toString('hex') }
    }),
  )
  // Sentinels find each other by messages that each sends every two seconds. Here each is told who it is and
  // who the others are, as its own rewritten configuration would tell it after a restart.
  const started = await Promise.allSettled(
    members.map(async (self) => {
      const sentinel = await launch(t, {
        port: self.own,
        sentinel: true,
        config: [
          `sentinel myid ${self.id}`,
          `sentinel monitor ${name} 127.0.0.1 ${masterPort} ${quorum}`,
          `sentinel down-after-milliseconds ${name} ${options.downAfter ?? DEFAULT_DOWN_AFTER_MS}`,
          `sentinel failover-timeout ${name} ${options.failoverTimeout ?? 2000}`,
          ...(options.password === undefined ? [] : [`sentinel auth-pass ${name} ${options.password}`]),
          ...replicas.map((replica) => `sentinel known-replica ${name} 127.0.0.1 ${replica.port}`),
          ...members
            .filter((other) => other !== self)
            .map((other) => `sentinel known-sentinel ${name} 127.0.0.1 ${other.port} ${other.id}`),
          ...(self.front === undefined ? [] : [self.front.config]),
          options.sentinelConfig ?? '',
        ].join('\n'),
      })
      self.front?.open(sentinel)
      return sentinel
    }),
  )
  const sentinels = started.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []))
  const failed = started.find((result) => result.status === 'rejected')
  if (failed !== undefined) {
    await Promise.all(sentinels.map((sentinel) => sentinel.stop('SIGKILL')))
    throw failed.reason
  }
  await Promise.all(
    sentinels.map((sentinel) =>
      eventually(`sentinel ${sentinel.port} sees the whole of ${name}`, () =>
        seesAll(sentinel, name, replicas.length, count),
      ),
    ),
  )
  return sentinels
}

async function seesAll(sentinel: TestServer, name: string, replicas: number, sentinels: number) {
  const [itself, itsReplicas, others, usable] = await Promise.all([
    request(sentinel, 'SENTINEL', 'MASTER', name),
    request(sentinel, 'SENTINEL', 'REPLICAS', name),
    request(sentinel, 'SENTINEL', 'SENTINELS', name),
    request(sentinel, 'SENTINEL', 'CKQUORUM', name),
  ])
  return (
    field(itself, 'flags') === 'master' &&
    Array.isArray(itsReplicas) &&
    itsReplicas.length === replicas &&
    itsReplicas.every((it) => field(it, 'flags') === 'slave' && field(it, 'master-link-status') === 'ok') &&
    Array.isArray(others) &&
    others.length === sentinels - 1 &&
    others.every((it) => field(it, 'flags') === 'sentinel') &&
    String(usable).startsWith('OK')
  )
}

function field(pairs: RawReply | undefined, name: string): RawReply | undefined {
  return Array.isArray(pairs) ? pairs[pairs.indexOf(name) + 1] : undefined
}
