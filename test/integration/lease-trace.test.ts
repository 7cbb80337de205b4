// What a server is sent when a lease comes back, as its own MONITOR tells it: redigo's tests of the clean-up
// (pool_test.go: TestPoolPubSubCleanup, TestPoolTransactionCleanup), and the reset. A command that is queued and then
// discarded is never executed, so MONITOR does not tell it.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { connect } from '../../lib/connection/index.ts'
import { Pool } from '../../lib/pool/index.ts'
import { eventually, startServer } from '../support/real-servers.ts'

// CLIENT SETINFO is left out: MONITOR tells it only where the server knows it, from 7.2 on.
const HANDSHAKE = ['HELLO 3 SETNAME worker', 'SELECT 2']

const traces: readonly (readonly [does: readonly string[], seen: readonly string[]])[] = [
  [['PING'], ['PING']],
  [['SUBSCRIBE x'], ['SUBSCRIBE x', 'UNSUBSCRIBE', 'PUNSUBSCRIBE', 'ECHO']],
  [['PSUBSCRIBE x*'], ['PSUBSCRIBE x*', 'UNSUBSCRIBE', 'PUNSUBSCRIBE', 'ECHO']],
  [
    ['WATCH k', 'PING'],
    ['WATCH k', 'PING', 'UNWATCH'],
  ],
  [
    ['WATCH k', 'UNWATCH', 'PING'],
    ['WATCH k', 'UNWATCH', 'PING'],
  ],
  [
    ['WATCH k', 'MULTI', 'PING'],
    ['WATCH k', 'MULTI', 'DISCARD'],
  ],
  [
    ['WATCH k', 'MULTI', 'DISCARD', 'PING'],
    ['WATCH k', 'MULTI', 'DISCARD', 'PING'],
  ],
  [
    ['SELECT 5', 'PING'],
    ['SELECT 5', 'PING', 'RESET', ...HANDSHAKE],
  ],
  [
    ['WATCH k', 'MULTI', 'CLIENT SETNAME x'],
    ['WATCH k', 'MULTI', 'RESET', ...HANDSHAKE],
  ],
]

test('the server is sent what undoes the lease, in this order, and nothing else', async (t) => {
  const { port } = await startServer(t)
  const lines: string[] = []
  const monitor = await connect({ port, onPush: ([, line]) => lines.push(String(line)) })
  t.after(() => monitor.destroy())
  const marker = await connect({ port })
  t.after(() => marker.destroy())
  const hasReset = ((await marker.call('COMMAND', 'INFO', 'RESET')) as unknown[])[0] !== null
  const dial = (signal: AbortSignal) => connect({ port, clientName: 'worker', database: 2, signal })
  const pool = new Pool({ maxIdle: 1, dial })
  t.after(() => pool.destroy())
  const address = await pool.use(async (lease) => {
    const list = String(await lease.call('CLIENT', 'LIST'))
    return /\baddr=(\S+) .*name=worker/.exec(list)?.[1] ?? ''
  })
  await monitor.call('MONITOR')
  for (const [i, [does, seen]] of traces.entries()) {
    if (seen.includes('RESET') && !hasReset) continue
    lines.length = 0
    await pool.use(async (lease) => {
      for (const line of does) await lease.execute(line.split(' '))
    })
    await marker.call('ECHO', `end-${i}`)
    await eventually('the monitor has told all', () => lines.some((line) => line.includes(`end-${i}`)))
    const told = lines.filter((line) => line.includes(address) && !line.includes('"SETINFO"'))
    assert.deepEqual(told.map(spoken), seen)
  }
  assert.equal(pool.stats().dials, 1)
})

/** The command of a line of MONITOR's; of ECHO without what differs. */
function spoken(line: string): string {
  const words = [...line.matchAll(/"((?:[^"\\]|\\.)*)"/g)].map(([, word]) => word ?? '')
  return words[0] === 'ECHO' ? 'ECHO' : words.join(' ')
}
