// What undoes the state a borrower left on a connection. The commands are issued without waiting in between, so
// that they leave in one write, and the last reply says that all earlier ones are in. redigo's sequence, where that
// is enough, for it needs nothing but the commands themselves:
//
//     MULTI open             DISCARD, which unwatches as well
//     keys watched           UNWATCH
//     subscribed             UNSUBSCRIBE, PUNSUBSCRIBE, ECHO sentinel
//       to shard channels    SUNSUBSCRIBE, before the ECHO; older servers do not know it
//     replies owed only      ECHO sentinel
//
// and the connection's own reset() for all of it, where there is also
//
//     MONITOR, another database, user, name, version of the protocol, tracking, READONLY, NO-TOUCH, ASKING
//
// The sentinel cannot be mistaken for a message: it is random, made once per process, and never leaves otherwise.

import { isUndoneByReset, StateBit } from '../commands/index.ts'
import { ReplyError } from '../errors.ts'
import type { Reply } from '../resp/index.ts'
import type { PooledConnection } from './pooled-connection.ts'

let sentinel: string | undefined

const SUBSCRIBED = StateBit.subscribe | StateBit.shard
const SEQUENCE = StateBit.watch | StateBit.multi | SUBSCRIBED

/** Kinds of push that a connection has because of what was done to it, and the state that brings them. */
const LEFTOVERS = new Map<string, number>([
  ['message', StateBit.subscribe],
  ['pmessage', StateBit.subscribe],
  ['smessage', StateBit.shard],
  ['monitor', StateBit.monitor],
  ['invalidate', StateBit.tracking],
  ['tracking-redir-broken', StateBit.tracking],
])

/** Where a server leaves out a reply (redis/redis#15640), confirmations are nobody's any more. */
const CONFIRMATION = /^[ps]?(un)?subscribe$/

/** How a state is undone. */
export type Remedy = 'sequence' | 'reset' | 'none'

/**
 * How to undo the state.
 *
 * @param state bits of `StateBit`
 * @param isAltered whether there is more, that is not among the bits
 * @param canReset whether the connection has a reset() that leads back to where the lease began
 */
export function remedyFor(state: number, isAltered: boolean, canReset: boolean): Remedy {
  if ((state & ~SEQUENCE) === 0 && !isAltered) return 'sequence'
  return canReset && isUndoneByReset(state) ? 'reset' : 'none'
}

/** Whether a push that comes during the clean-up is due to the borrower, who is gone and once set that state. */
export function isLeftover(push: readonly Reply[], state: number): boolean {
  const kind = String(push[0])
  return ((LEFTOVERS.get(kind) ?? 0) & state) !== 0 || CONFIRMATION.test(kind)
}

/**
 * Undoes the state and waits for the replies that are owed.
 *
 * @param state bits of `StateBit`
 * @param remedy with `'none'` no more is undone than with `'sequence'`
 * @returns whether that worked; rejects when it did not, or the connection died
 */
export async function cleanUp(connection: PooledConnection, state: number, remedy: Remedy): Promise<boolean> {
  if (remedy === 'reset') {
    await connection.reset?.()
    return true
  }
  const steps: Promise<boolean>[] = []
  const send = (name: string): void => {
    steps.push(connection.call(name).then(() => true))
  }
  if (state & StateBit.multi) steps.push(discard(connection, state))
  else if (state & StateBit.watch) send('UNWATCH')
  if (state & StateBit.subscribe) {
    send('UNSUBSCRIBE')
    send('PUNSUBSCRIBE')
  }
  if (state & StateBit.shard) send('SUNSUBSCRIBE')
  if (state & SUBSCRIBED || steps.length === 0) steps.push(echo(connection))
  return (await Promise.all(steps)).every((worked) => worked)
}

/**
 * `ERR DISCARD without MULTI` says that no transaction was open: the borrower's MULTI had been refused. With keys
 * watched it also means that they still are, for only a DISCARD that works unwatches.
 */
async function discard(connection: PooledConnection, state: number): Promise<boolean> {
  try {
    await connection.call('DISCARD')
    return true
  } catch (error) {
    if (!(error instanceof ReplyError)) throw error
    return error.prefix === 'ERR' && (state & StateBit.watch) === 0
  }
}

async function echo(connection: PooledConnection): Promise<boolean> {
  // node:crypto is loaded by its first use: it is a sixth of what the import of the library would cost
  sentinel ??= process.getBuiltinModule('node:crypto').randomBytes(16).toString('hex')
  return (await connection.execute(['ECHO', sentinel], { replies: 'string' })) === sentinel
}
