// The system of the guide, end to end: examples/server.js on a real Sentinel deployment, as its users run it.

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { Agent } from 'node:http'
import { performance } from 'node:perf_hooks'
import { describe, type TestContext, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import {
  type Answer,
  ask,
  type Content,
  content,
  type Demo,
  longestGap,
  longestWait,
  run,
  startDemo,
} from '../support/demo.ts'
import { freePorts } from '../support/free-ports.ts'
import {
  eventually,
  request,
  startTopology,
  type TestServer,
  type TestTopology,
  watchSentinel,
} from '../support/real-servers.ts'

/** The demo's own: the pool's `maxActive`, and the shared connection, to each server. */
const maxActive = 10
const shared = 1
const requestTimeout = 5_000
/**
 * Above the second after which a sentinel first pings a master that is new to it. With a second or less, it
 * may take that one for down before it has asked, and a second failover follows the first now and then.
 */
const downAfterMs = 1_500
/** What a machine that is busy with other tests adds to a deadline. */
const slackMs = 500
/** From a sentinel's announcement to the last write that may begin at the old master. */
const announcementSlackMs = 50

/** Half of the cores of a small machine: each of these has seven processes at work. */
describe('the demo', { concurrency: 2 }, () => {
  test('answers alike over a few long-lived connections, writing to the master, reading from the replica', async (t) => {
    const { topology, demo } = await setUp(t)
    const replica = first(topology.replicas)
    const answers = await run(demo, { path: '/', concurrency: 10, count: 20 })
    answers.push(...(await run(demo, { path: '/', concurrency: 50, count: 500 })))
    const before = await Promise.all([connections(topology.master), connections(replica)])
    const url = `http://127.0.0.1:${demo.port}/`
    for (const [concurrency, count] of [
      [10, 20],
      [50, 5000],
    ]) {
      const report = await ab('-q', '-c', String(concurrency), '-n', String(count), url)
      if (report === undefined) {
        t.diagnostic('there is no ab here')
        continue
      }
      assert.match(report, new RegExp(`^Complete requests: +${count}$`, 'm'))
      assert.match(report, /^Failed requests: +0$/m)
      assert.doesNotMatch(report, /Non-2xx|Write errors/)
      t.diagnostic(`ab -c ${concurrency} -n ${count}: ${/^Requests per second.*/m.exec(report)?.[0]}`)
    }
    answers.push(...(await run(demo, { path: '/', concurrency: 50, count: 3000 })))

    for (const { status, text } of answers) {
      assert.equal(status, 200, text)
      assert.equal(text.length, first(answers).text.length)
    }
    const contents = answers.map(content)
    assert.equal(new Set(contents.map(({ written }) => written.value)).size, answers.length)
    for (const { written, read } of contents) {
      assert.equal(written.endpoint, `127.0.0.1:${topology.master.port}`)
      assert.equal(read.endpoint, `127.0.0.1:${replica.port}`)
    }

    const stats = JSON.parse((await ask(demo, '/stats')).text)
    assert.equal(stats.master.address, `127.0.0.1:${topology.master.port}`)
    assert.equal(stats.replicas[0].address, `127.0.0.1:${replica.port}`)
    for (const { pool } of [stats.master, ...stats.replicas]) {
      assert.ok(pool.hits >= answers.length)
      assert.equal(pool.dials, pool.activeCount)
    }
    for (const [i, server] of [topology.master, replica].entries()) {
      const ids = await connections(server)
      assert.deepEqual(ids, before[i], `other connections to ${server.port} than before the load`)
      assert.ok(ids.length <= maxActive + shared, `${ids.length} connections to ${server.port}`)
    }
  })

  test('goes on when the master is shut down', async (t) => {
    await survives(t, { isCrash: false }, async ({ master }) => {
      await request(master, 'SHUTDOWN', 'NOSAVE').catch(() => undefined) // its answer is that it goes
    })
  })

  test('goes on when the master is killed, and takes it back as a replica', async (t) => {
    const { topology, demo } = await survives(t, { isCrash: true }, ({ master }) => master.stop('SIGKILL'))
    const { master: old } = topology
    const address = `127.0.0.1:${old.port}`
    await old.restart()
    // an old master comes up as a master; the sentinels correct that after some 10 s
    await eventually('the old master is a healthy replica', () => isHealthy(demo, address), {
      timeout: 30_000,
    })
    assert.ok(
      topology.sentinels.some((sentinel) => sentinel.log().includes(`+convert-to-slave slave ${address}`)),
    )
    const { written, read } = content(await ask(demo, '/'))
    assert.equal(read.endpoint, address)
    assert.equal(written.endpoint, `127.0.0.1:${first(topology.replicas).port}`)
  })

  test('goes on over a planned failover', async (t) => {
    await survives(t, { isCrash: false }, async ({ sentinels, name }) => {
      assert.equal(await request(first(sentinels), 'SENTINEL', 'FAILOVER', name), 'OK')
    })
  })

  test('goes on when the master hangs, and writes nothing to it when it wakes', async (t) => {
    const hang = ({ master }: TestTopology) => master.signal('SIGSTOP')
    const wake = ({ master }: TestTopology) => master.signal('SIGCONT')
    await survives(t, { isCrash: true }, hang, wake)
  })

  test('answers 503 with the reason while all servers are down, and 200 when they are back', async (t) => {
    const timeout = 1_500
    const { topology, demo } = await setUp(t, { REQUEST_TIMEOUT: String(timeout) })
    const all = [...topology.sentinels, topology.master, ...topology.replicas]
    assert.equal((await ask(demo, '/')).status, 200)
    await Promise.all(all.map((server) => server.stop('SIGKILL')))
    for (const answer of await run(demo, { path: '/', concurrency: 20, count: 40 })) {
      assertUnavailable(answer, timeout, /ECONNREFUSED|ECONNRESET|no sentinel can be reached/)
    }
    assertUnavailable(await ask(demo, '/read'), timeout, /ECONNREFUSED|no sentinel can be reached/)
    assert.equal((await ask(demo, '/stats')).status, 200)
    await Promise.all(all.map((server) => server.restart()))
    await eventually('the demo is back', async () => (await ask(demo, '/')).status === 200, {
      timeout: 20_000,
    })
  })

  test('serves before there is a server to ask, and no client that leaves stays', async (t) => {
    const demo = await startDemo(t, {
      RESPOOL_PORTS: (await freePorts(5)).join(' '),
      REQUEST_TIMEOUT: '1000',
    })
    assertUnavailable(await ask(demo, '/'), 1_000, /no sentinel can be reached/)
    const clients = new AbortController()
    const left = Array.from({ length: 10 }, () => ask(demo, '/', { signal: clients.signal }))
    await sleep(100) // they are under way
    clients.abort()
    const outcomes = await Promise.allSettled(left)
    assert.ok(outcomes.every(({ status }) => status === 'rejected'))
    await end(demo, 'SIGTERM', 500)
  })

  test('knows no other paths and methods', async (t) => {
    const { demo } = await setUp(t)
    for (const path of ['/no-such', '//', '/stats/', '/__proto__']) {
      const { status, text } = await ask(demo, path)
      assert.equal(status, 404, path)
      assert.equal(JSON.parse(text).error.code, 'NOT_FOUND')
    }
    for (const method of ['POST', 'PUT', 'DELETE']) {
      const { status, headers, text } = await ask(demo, '/', { method })
      assert.equal(status, 405, method)
      assert.equal(headers.allow, 'GET, HEAD')
      assert.equal(JSON.parse(text).error.code, 'METHOD_NOT_ALLOWED')
    }
    const head = await ask(demo, '/', { method: 'HEAD' })
    const get = await ask(demo, '/?any=query')
    assert.deepEqual([head.status, head.text], [200, ''])
    assert.equal(head.headers['content-length'], get.headers['content-length'])
    assert.match(String(get.headers['content-type']), /^application\/json/)

    const second = await startDemo(t, { PORT: String(demo.port) })
    assert.equal(await second.ended, 1)
    assert.match(second.log(), new RegExp(`^cannot serve on port ${demo.port}: .*EADDRINUSE`))
  })

  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    test(`finishes what is under way at ${signal}, and ends`, async (t) => {
      const { topology, demo } = await setUp(t)
      await run(demo, { path: '/', concurrency: 10, count: 100 })
      const agent = new Agent({ keepAlive: true })
      t.after(() => agent.destroy())
      topology.master.signal('SIGSTOP') // for less than would make it count as down
      const underWay = Promise.all(Array.from({ length: 20 }, () => ask(demo, '/', { agent })))
      await sleep(100)
      const ending = end(demo, signal, 2_000)
      await sleep(100)
      topology.master.signal('SIGCONT')
      for (const { status, headers, text } of await underWay) {
        assert.deepEqual([status, headers.connection], [200, 'close'], text)
      }
      await ending
    })
  }
})

/** A demo that serves, on a deployment of its own. */
async function setUp(
  t: TestContext,
  env: NodeJS.ProcessEnv = {},
): Promise<{ topology: TestTopology; demo: Demo }> {
  const topology = await startTopology(t, { downAfter: downAfterMs })
  const sentinels = topology.sentinels.map(({ port }) => `127.0.0.1:${port}`).join(',')
  const demo = await startDemo(t, { RESPOOL_SENTINELS: sentinels, ...env })
  await eventually('the replica serves', () => isHealthy(demo, `127.0.0.1:${first(topology.replicas).port}`))
  return { topology, demo }
}

/**
 * A failover under steady load. No request fails, for it fits into their deadline; reads hardly notice; from the
 * announcement on nothing is written to the old master; what was acknowledged is there.
 *
 * @param fault what makes the sentinels replace the master
 * @param afterwards what happens when they have
 */
async function survives(
  t: TestContext,
  { isCrash }: { readonly isCrash: boolean },
  fault: (topology: TestTopology) => Promise<void> | void,
  afterwards?: (topology: TestTopology) => void,
): Promise<{ topology: TestTopology; demo: Demo }> {
  const { topology, demo } = await setUp(t)
  const from = `127.0.0.1:${topology.master.port}`
  const to = `127.0.0.1:${first(topology.replicas).port}`
  const watched = await Promise.all(topology.sentinels.map((sentinel) => watchSentinel(t, sentinel)))
  const ending = new AbortController()
  const until = ending.signal
  const loads = Promise.all([
    run(demo, { path: '/', concurrency: 10, until, pause: 5 }),
    run(demo, { path: '/read', concurrency: 5, until, pause: 5 }),
  ])
  let faultAt = 0
  let switchAt = 0
  try {
    await sleep(500) // of calm
    faultAt = performance.now()
    await fault(topology)
    switchAt = await eventually('a sentinel announces the switch', () =>
      watched
        .map((events) => events.find(({ channel }) => channel === '+switch-master')?.at ?? 0)
        .filter((at) => at > 0)
        .reduce((earliest, at) => (earliest === 0 ? at : Math.min(earliest, at)), 0),
    )
    afterwards?.(topology)
    await eventually('the demo has followed', () => demo.log().includes(`switch from ${from} to ${to}`))
    await sleep(1_000) // of work with the new master
  } finally {
    ending.abort()
  }
  const [answers, reads] = await loads

  for (const { status, text } of [...answers, ...reads]) assert.equal(status, 200, text)
  assert.ok(longestWait(answers) < requestTimeout + slackMs, `a request took ${longestWait(answers)} ms`)
  assert.ok(longestWait(reads) < 1_000 + slackMs, `a read took ${longestWait(reads)} ms`)
  const begun = answers.map((answer) => ({ ...answer, ...content(answer) }))
  const late = begun.filter(
    ({ written, askedAt }) => written.endpoint === from && askedAt > switchAt + announcementSlackMs,
  )
  assert.deepEqual(late, [], 'written to a master that had been replaced')
  const after = begun.filter(({ written }) => written.endpoint === to)
  assert.ok(after.length > 0 && begun.some(({ written }) => written.endpoint === from))

  // Replication is asynchronous: a crash may take the acknowledgements of its last instant with it.
  const lostAfter = isCrash ? faultAt - announcementSlackMs : Number.POSITIVE_INFINITY
  const expected = new Map<string, Answer & Content>()
  for (const answer of begun) {
    if ((answer.written.value ?? '') > (expected.get(answer.key)?.written.value ?? ''))
      expected.set(answer.key, answer)
  }
  const keys = [...expected.keys()]
  const values = await request(first(topology.replicas), 'MGET', ...keys)
  assert.ok(Array.isArray(values))
  const lost = keys.flatMap((key, i) => {
    const { at = 0, written } = expected.get(key) ?? {}
    if (values[i] === written?.value || at >= lostAfter) return []
    const when = `${Math.round(at - faultAt)} ms after the fault by ${written?.endpoint}`
    return [`${key}: ${written?.value} acknowledged ${when}, found ${values[i]}`]
  })
  const details = [...lost.slice(0, 3), ...lost.slice(-3), demo.log()].join('\n')
  assert.equal(lost.length, 0, `${lost.length} of ${keys.length} acknowledged and not there:\n${details}`)

  t.diagnostic(
    `${answers.length} writes, longest pause ${longestGap(answers)} ms, longest wait ${longestWait(answers)} ms, ` +
      `most tries ${Math.max(...begun.map(({ written }) => written.tries))}; ` +
      `${reads.length} reads, longest pause ${longestGap(reads)} ms, longest wait ${longestWait(reads)} ms; ` +
      `fault to announcement ${Math.round(switchAt - faultAt)} ms, ` +
      `to the first write at the new master ${Math.round(Math.min(...after.map(({ at }) => at)) - faultAt)} ms; ` +
      `${keys.length} keys, none lost`,
  )
  return { topology, demo }
}

async function end(demo: Demo, signal: NodeJS.Signals, withinMs: number): Promise<void> {
  const startedAt = performance.now()
  demo.kill(signal)
  assert.equal(await demo.ended, 0, demo.log())
  const took = performance.now() - startedAt
  assert.ok(took < withinMs, `it took ${took} ms to end`)
}

function assertUnavailable(answer: Answer, timeout: number, reason: RegExp): void {
  assert.equal(answer.status, 503, answer.text)
  const { error } = JSON.parse(answer.text)
  assert.match(error.code, /^[A-Z_]+$/)
  assert.match(error.message, reason)
  assert.ok(answer.at - answer.askedAt < timeout + slackMs, `it took ${answer.at - answer.askedAt} ms`)
}

async function isHealthy(demo: Demo, address: string): Promise<boolean> {
  const { topology } = JSON.parse((await ask(demo, '/stats')).text)
  return topology.replicas.some(
    (replica: { address: string; healthy: boolean }) => replica.address === address && replica.healthy,
  )
}

/** The ids that the server gave to the demo's connections: never twice the same. */
async function connections(server: TestServer): Promise<string[]> {
  const list = String(await request(server, 'CLIENT', 'LIST'))
  const ours = list.split('\n').filter((line) => line.includes('name=respool-demo '))
  return ours.map((line) => /^id=(\d+)/.exec(line)?.[1] ?? line).sort()
}

/** What ApacheBench reports; `undefined` where there is none. */
async function ab(...args: string[]): Promise<string | undefined> {
  try {
    return (await promisify(execFile)('ab', args, { timeout: 60_000 })).stdout
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
}

function first<T>(list: readonly T[]): T {
  const [value] = list
  assert.ok(value !== undefined)
  return value
}
