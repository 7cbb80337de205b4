// Which commands are past their deadline, and what that says of the peer. Fails the commands; ends no connection, and
// sets no timer.

import { TimeoutError } from '../errors.ts'
import type { Incoming } from './incoming.ts'
import type { ResolvedConnectionOptions } from './options.ts'
import type { PendingQueue } from './pending-queue.ts'

export interface Expiry {
  /** The earliest deadline among the others, an instant of `performance.now()`; infinity where there is none. */
  readonly next: number
  /** Why the peer is taken for dead. */
  readonly verdict: string | undefined
}

/**
 * Fails what is due. A peer that was silent all the while, and for as long as `commandTimeout`, is taken for dead; so is
 * one whose bytes have become no reply for twice as long: it trickles, or a wrong length swallows all that follows.
 */
export function expire(
  pending: PendingQueue,
  incoming: Incoming,
  { commandTimeout }: Pick<ResolvedConnectionOptions, 'commandTimeout'>,
  address: string,
  now: number,
): Expiry {
  const { written } = pending
  let next = Number.POSITIVE_INFINITY
  let silentMs = 0
  let hasExpired = false
  for (const [place, command] of pending.entries()) {
    const { timeout, startedAt } = command
    if (timeout === 0 || command.isSettled) continue
    if (startedAt + timeout > now) {
      next = Math.min(next, startedAt + timeout)
      continue
    }
    const isSent = place < written
    const message = `${isSent ? 'no reply' : 'not sent'} within ${timeout} ms at ${address}`
    command.fail(new TimeoutError(message, { timeout, mayHaveExecuted: isSent }))
    if (!isSent) continue
    hasExpired = true
    if (incoming.heard === command.heardBefore) silentMs = Math.max(silentMs, timeout)
  }
  let verdict: string | undefined
  if (commandTimeout !== 0) {
    if (silentMs >= commandTimeout) verdict = `the peer has been silent for ${silentMs} ms`
    else if (hasExpired && stuckFor(pending, incoming, now) >= commandTimeout * 2)
      verdict = `the peer has completed no reply for ${commandTimeout * 2} ms`
  }
  return { next, verdict }
}

/** Milliseconds for which a reply has been owed that nobody waits for any more, and none was completed. */
function stuckFor(pending: PendingQueue, { answeredAt }: Incoming, now: number): number {
  const first = pending.first()
  return first?.isSettled === true ? now - Math.max(first.startedAt, answeredAt) : 0
}
