// A write that is done when enough replicas have it: WAIT behind it, on the same connection and in the same write.
// WAIT blocks its connection, so both go over a lease.
//
//   command            reply
//   WAIT count ms      integer: how many replicas have acknowledged all that this connection wrote
//
// https://redis.io/docs/latest/commands/wait/

import { DurabilityError, RespoolError, TimeoutError } from '../errors.ts'
import type { Exchange } from './exchange.ts'

/** Far more than any master has. */
const MAX_REPLICAS = 2 ** 31 - 1
/** A server with nothing else to do looks at the clock ten times a second: WAIT may end that late; and the way back. */
const WAIT_MARGIN_MS = 200

/** @throws {TypeError} {RangeError} */
export function checkDurable(durable: number | undefined, timeout: number): void {
  if (durable === undefined) return
  if (typeof durable !== 'number') {
    throw new TypeError(`option durable must be a number of replicas, got ${typeof durable}`)
  }
  if (!(Number.isInteger(durable) && durable >= 1 && durable <= MAX_REPLICAS)) {
    throw new RangeError(`option durable must be an integer from 1 to ${MAX_REPLICAS}, got ${durable}`)
  }
  if (timeout === 0) {
    throw new RangeError('option durable needs a timeout above 0, got 0: it would wait for replicas for ever')
  }
}

/** @param wanted so many replicas have to acknowledge the write */
export function durableExchange(write: Exchange, wanted: number): Exchange {
  return {
    needsLease: true,
    target: () => write.target(),
    attempt: async (line, address, options) => {
      const { timeout, signal } = options
      const written = write.attempt(line, address, options)
      const waited = line.execute(['WAIT', wanted, waitMs(timeout)], { timeout, signal })
      waited.catch(() => undefined) // of no interest where the write itself failed
      const reply = await written
      let acknowledged: number | undefined
      let cause: unknown
      try {
        acknowledged = Number(await waited)
      } catch (error) {
        // the server is gone, or the caller: what became of the write is for attempts.ts to judge
        if (error instanceof RespoolError && error.mayHaveExecuted && !(error instanceof TimeoutError))
          throw error
        cause = error // nothing that would let the write be tried again: it did run
      }
      if (acknowledged !== undefined && acknowledged >= wanted) return reply
      throw new DurabilityError(whyNot(acknowledged, wanted, cause), { acknowledged, wanted, reply, cause })
    },
  }
}

/** Never 0, which is for ever. */
function waitMs(leftMs: number): number {
  return Math.max(Math.floor(leftMs - Math.min(leftMs / 2, WAIT_MARGIN_MS)), 1)
}

function whyNot(acknowledged: number | undefined, wanted: number, cause: unknown): string {
  const goal = `${wanted} ${wanted === 1 ? 'replica was' : 'replicas were'} to acknowledge the write`
  const fact = acknowledged === undefined ? `the answer is missing: ${String(cause)}` : `${acknowledged} did`
  return `${goal} in time, ${fact}; it was executed`
}
