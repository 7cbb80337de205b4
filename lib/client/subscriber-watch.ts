// A connection on which only the server speaks is silent by nature; whether anybody is there is found by asking. An
// idle one is sent PING, which RESP2 allows a subscriber, too. One that has owed any answer for a whole interval,
// without a byte, is destroyed: about two intervals after its peer was last heard.
//
//   heard ──¾ interval──► PING ──interval without a byte──► destroyed

import { performance } from 'node:perf_hooks'
import type { Connection } from '../connection/index.ts'
import { ConnectionError } from '../errors.ts'

/** Below one interval, so that PINGs are an interval apart although it is looked at twice in one. */
const IDLE_PART = 0.75

/**
 * Watches until the function it returns is called.
 *
 * @param intervalMs 0 = not at all
 */
export function watchSilence(
  connection: Connection,
  intervalMs: number,
  replies: 'string' | 'buffer',
): () => void {
  if (intervalMs === 0) return () => undefined
  const timer = setInterval(() => {
    if (connection.silence >= intervalMs) {
      // a loop that was held up has not read yet what has arrived: it does so before this
      setImmediate(() => {
        if (connection.silence >= intervalMs) connection.destroy(silent(connection, intervalMs))
      })
    } else if (
      connection.pendingCount === 0 &&
      performance.now() - connection.heardAt >= intervalMs * IDLE_PART
    ) {
      connection.execute(['PING'], { timeout: intervalMs, replies }).catch(() => undefined) // any answer will do
    }
  }, intervalMs / 2).unref() // the socket keeps the process, as long as there is one
  return () => clearInterval(timer)
}

function silent({ address }: Connection, intervalMs: number): ConnectionError {
  const message = `the peer has not answered for ${intervalMs} ms (${address})`
  return new ConnectionError('CONNECTION_LOST', message, { address, phase: 'ready' })
}
