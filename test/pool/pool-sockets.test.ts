// The pool over real sockets, where that is the point: peers that go away, and a process that has to exit.

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { test } from 'node:test'
import { connect } from '../../lib/connection/index.ts'
import { Pool } from '../../lib/pool/index.ts'
import { runProgram } from '../support/program.ts'
import { greet, scriptedServer } from '../support/scripted-server.ts'

test('an idle connection whose server closes the socket leaves the pool by itself, and no command is sent', async (t) => {
  const server = await scriptedServer(t, (command) => greet(command) ?? '+OK\r\n')
  const pool = new Pool({ dial: (signal) => connect({ ...server.options, signal }), maxIdle: 2 })
  t.after(() => pool.destroy())
  const [first, second] = await Promise.all([pool.get(), pool.get()])
  const { closed } = first.connection
  await Promise.all([first.close(), second.close()])
  assert.equal(pool.stats().idleCount, 2)
  const sent = server.commands.length
  for (const peer of server.peers) peer.close()
  await closed
  while (pool.stats().idleCount > 0) await new Promise((resolve) => setImmediate(resolve))
  assert.deepEqual(
    [pool.stats().activeCount, pool.stats().evictions.broken, server.commands.length],
    [0, 2, sent],
  )
})

test('a peer that accepts and says nothing costs one dial at a time, each within its bound, and all are told', async (t) => {
  const sockets: Socket[] = []
  const server = createServer((socket) => sockets.push(socket)).listen(0, '127.0.0.1')
  t.after(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const pool = new Pool({
    dial: (signal) => connect({ host: '127.0.0.1', port, connectTimeout: 50, signal }),
    maxConcurrentDials: 1,
    dialBackoff: 60_000,
  })
  const results = await Promise.allSettled(Array.from({ length: 20 }, () => pool.get()))
  assert.ok(
    results.every((result) => result.status === 'rejected' && result.reason.code === 'CONNECT_TIMEOUT'),
  )
  assert.deepEqual([sockets.length, pool.stats().dials], [1, 1])
})

test('a process whose pool has idle connections to keep, sweep and watch, and a pause to wait for, exits', async (t) => {
  const script = `
    const { Pool } = await import(${JSON.stringify(new URL('../../lib/pool/index.js', import.meta.url).href)})
    const connection = () => {
      const it = { error: undefined, pendingCount: 0, execute: async () => 'OK', call: async () => 'OK' }
      return { ...it, close: async () => undefined, destroy: () => undefined }
    }
    let isDown = false
    const pool = new Pool({
      dial: async () => { if (isDown) throw new Error('down'); return connection() },
      maxIdle: 3, minIdle: 3, maxActive: 4, wait: true, idleTimeout: 3600e3, sweepInterval: 3600e3,
      leakTimeout: 3600e3, waitTimeout: 3600e3, dialBackoff: 3600e3, maxDialBackoff: 3600e3,
    })
    await pool.warmUp()
    const leases = await Promise.all([pool.get(), pool.get(), pool.get(), pool.get()])
    const waiting = pool.get()
    leases[0].close()
    await waiting // the timer of the wait is no longer needed
    isDown = true
    leases[1].destroy()
    await pool.get().catch(() => undefined)
    console.log('exits')
  `
  const { stdout } = await runProgram(t, script)
  assert.equal(stdout, 'exits\n')
})
