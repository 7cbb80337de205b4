// Finds out that the peer of an idle connection is gone without a word, by asking. One that owes replies is left to
// silence-watch.ts: it has been asked already.

import { setImmediate as afterReading } from 'node:timers/promises'
import type { Connection } from '../connection/index.ts'
import { ConnectionError } from '../errors.ts'

/** An idle connection whose peer is gone without a word is found within twice this. */
export const DEFAULT_PING_INTERVAL = 1_000

export class PingWatch {
  /** As errors name the server. */
  readonly #address: string
  /** Milliseconds; 0 = never. */
  readonly #intervalMs: number
  #timer: NodeJS.Timeout | undefined

  constructor(address: string, intervalMs: number) {
    this.#address = address
    this.#intervalMs = intervalMs
  }

  /** Goes on with this connection; the one before is nobody's concern any more. */
  follow(connection: Connection): void {
    this.stop()
    const intervalMs = this.#intervalMs
    if (intervalMs === 0) return
    this.#timer = setInterval(() => {
      if (connection.pendingCount > 0 || performance.now() - connection.heardAt < intervalMs) return
      void ping(connection, this.#address, intervalMs)
    }, intervalMs).unref() // idle bookkeeping: a process that is done exits
  }

  stop(): void {
    clearInterval(this.#timer)
  }
}

/** Ends the connection if nothing is heard; an error reply is an answer, too. Never rejects. */
export async function ping(connection: Connection, address: string, withinMs: number): Promise<void> {
  const askedAt = performance.now()
  try {
    await connection.execute(['PING'], { timeout: withinMs })
  } catch (error) {
    await afterReading() // it may be our own loop that was busy: what has come meanwhile is read first
    if (connection.heardAt < askedAt)
      connection.destroy(silentError(address, 'no answer to PING', error as Error))
  }
}

/** What a connection ends with whose peer is there no more, as far as anybody can tell. */
export function silentError(address: string, how: string, cause?: Error): ConnectionError {
  const message = `the peer does not answer: ${how} (${address})`
  const details = { address, phase: 'ready' as const, ...(cause === undefined ? {} : { cause }) }
  return new ConnectionError('CONNECTION_LOST', message, details)
}
