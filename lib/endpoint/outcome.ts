// What a failure says about the command, and what to do about it. A command that failed is one of
//
//   not sent   no byte of it left us
//   refused    the server said that it did not run it, for a reason that passes
//   unknown    sent, no reply: it may have run
//   answered   the server ran it, or will never run it: the error is the answer
//
// The first two are tried again until the caller's deadline; the third only when running twice does no harm.

import { ConnectionError, ProtocolError, ReplyError, RespoolError } from '../errors.ts'

export type Outcome = 'not-sent' | 'refused' | 'unknown' | 'answered'

/** Error replies that mean "not run, not now": what the prefix tells about the server that sent it. */
const REFUSALS: ReadonlyMap<string, 'wrong-role' | 'not-ready'> = new Map([
  ['READONLY', 'wrong-role'], // a write on a replica: it was demoted
  ['MASTERDOWN', 'not-ready'], // a replica without its master, replica-serve-stale-data no
  ['LOADING', 'not-ready'], // reading its data set
  ['NOREPLICAS', 'not-ready'], // min-replicas-to-write is not reached: perhaps the minority side of a partition
  ['TRYAGAIN', 'not-ready'], // keys of one command on both sides of a migration
  ['CLUSTERDOWN', 'not-ready'],
  ['BUSY', 'not-ready'], // a script runs too long
] as const)

export function outcomeOf(error: unknown): Outcome {
  if (error instanceof ReplyError) return refusalOf(error) === undefined ? 'answered' : 'refused'
  if (!(error instanceof RespoolError)) return 'answered' // misuse, or the caller's own
  if (error.mayHaveExecuted) return 'unknown'
  return error instanceof ConnectionError || error instanceof ProtocolError ? 'not-sent' : 'answered'
}

/** What an error reply says about the server, if it is one of the passing refusals. */
export function refusalOf(error: unknown): 'wrong-role' | 'not-ready' | undefined {
  if (!(error instanceof ReplyError)) return undefined
  const { prefix, message } = error
  switch (prefix) {
    // a script that writes on a replica fails with its own text around the reason
    case 'ERR':
      return /\bREADONLY\b/.test(message) ? 'wrong-role' : undefined
    // EXEC: `EXECABORT Transaction discarded because of: READONLY You can't write against a read only replica.`
    case 'EXECABORT':
      return REFUSALS.get(/ because of: (\w+)/.exec(message)?.[1] ?? '')
    // what is blocked on a master that is demoted:
    // `UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)`
    case 'UNBLOCKED':
      return message.includes('instance state changed') ? 'wrong-role' : undefined
    default:
      return REFUSALS.get(prefix)
  }
}

/** Whether the server refused the handshake for a reason that does not pass: a wrong password, say. */
export function isPermanent(error: unknown): boolean {
  if (!(error instanceof ConnectionError) || error.code !== 'HANDSHAKE_FAILED') return false
  const { cause } = error
  return (
    cause instanceof ReplyError && refusalOf(cause) === undefined && !TOO_MANY_CLIENTS.test(cause.message)
  )
}

const TOO_MANY_CLIENTS = /max number of clients/i

/** Whether a command that failed like this may be run again. */
export function isRetriable(error: unknown, isIdempotent: boolean): boolean {
  if (isPermanent(error)) return false
  const outcome = outcomeOf(error)
  return (
    outcome === 'not-sent' ||
    outcome === 'refused' ||
    (outcome === 'unknown' && isLoss(error) && isIdempotent)
  )
}

/** A connection that ended, rather than a deadline or a signal: those are the caller's last word. */
function isLoss(error: unknown): boolean {
  return error instanceof ConnectionError
}
