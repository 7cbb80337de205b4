// Who is found silent, and who is not.

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type TestContext, test } from 'node:test'
import { Worker } from 'node:worker_threads'
import { watchSilence } from '../../lib/client/subscriber-watch.ts'
import { connect } from '../../lib/connection/index.ts'
import { connected } from '../support/connected.ts'
import { eventually } from '../support/real-servers.ts'
import { greet, type Script } from '../support/scripted-server.ts'

async function watched(t: TestContext, script: Script, intervalMs: number) {
  const { server, connection } = await connected(t, script)
  t.after(watchSilence(connection, intervalMs, 'string'))
  const pings = () => server.commands.filter(([name]) => name === 'PING').length
  return { server, connection, pings }
}

test('an idle connection is asked about once an interval, and kept while it answers anything', async (t) => {
  const script: Script = (command) => (command[0] === 'PING' ? '-NOPERM\r\n' : greet(command))
  const { connection, pings } = await watched(t, script, 200)
  const from = performance.now()
  await eventually('it is asked three times', () => pings() >= 3)
  assert.ok(performance.now() - from >= 450, 'not more often than needed')
  assert.equal(connection.error, undefined)
})

test('one that is heard needs no question', async (t) => {
  const { server, connection, pings } = await watched(t, greet, 300)
  const timer = setInterval(() => server.peers[0]?.send('>2\r\n+message\r\n+x\r\n'), 5)
  t.after(() => clearInterval(timer))
  await new Promise((resolve) => setTimeout(resolve, 700))
  assert.equal(pings(), 0)
  assert.equal(connection.error, undefined)
})

test('one that owes an answer for an interval is destroyed, a PING or another', async (t) => {
  for (const command of [undefined, 'HANG']) {
    const script: Script = (words) => (words[0] === 'PING' ? undefined : greet(words))
    const { connection } = await watched(t, script, 50)
    const reply =
      command === undefined ? undefined : connection.call(command).catch((error: unknown) => error)
    await connection.closed
    assert.match(connection.error?.message ?? '', /the peer has not answered for 50 ms/)
    await reply
  }
})

/** A server on a thread of its own, which answers while ours is held up: +PONG to whatever, in RESP2. */
const obliging = `
  const { parentPort } = require('node:worker_threads')
  const server = require('node:net').createServer((socket) => {
    socket.on('error', () => undefined)
    socket.on('data', (data) => {
      for (const _ of String(data).matchAll(/\\*/g)) socket.write('+PONG\\r\\n')
    })
  })
  server.listen(0, '127.0.0.1', () => parentPort.postMessage(server.address().port))`

test('a loop that was held up itself does not take its peer for silent', async (t) => {
  const worker = new Worker(obliging, { eval: true })
  t.after(async () => void (await worker.terminate()))
  const [port] = (await once(worker, 'message')) as [number]
  const connection = await connect({ port, protocol: 2 })
  t.after(() => connection.destroy())
  t.after(watchSilence(connection, 40, 'string'))
  for (let round = 0; round < 5; round += 1) {
    const pong = connection.call('PING')
    await new Promise(setImmediate) // it is on its way, and timers come next, before sockets are read
    const until = performance.now() + 100
    while (performance.now() < until); // the answer comes meanwhile, and the next look at the clock is overdue
    assert.equal(await pong, 'PONG')
  }
  assert.equal(connection.error, undefined)
})

test('an interval of 0 asks nothing, and a watch that was ended asks nothing more', async (t) => {
  const { connection, pings } = await watched(t, greet, 0)
  watchSilence(connection, 20, 'string')()
  await new Promise((resolve) => setTimeout(resolve, 80))
  assert.equal(pings(), 0)
})
