// What undoes the state a borrower left on a connection. The commands are issued without waiting in between, so
// that they leave in one write, and the last reply says that all earlier ones are in:
//
//     MULTI open             DISCARD, which unwatches as well
//     keys watched           UNWATCH
//     subscribed             UNSUBSCRIBE, PUNSUBSCRIBE, ECHO sentinel
//       to shard channels    SUNSUBSCRIBE, before the ECHO; older servers do not know it
//     replies owed only      ECHO sentinel
//
// The sentinel cannot be mistaken for a message: it is random, made once per process, and never leaves otherwise.

import { randomBytes } from 'node:crypto'
import { StateBit } from '../commands/index.ts'
import { ReplyError } from '../errors.ts'
import type { PooledConnection } from './pooled-connection.ts'

const SENTINEL = randomBytes(16).toString('hex')

const SUBSCRIBED = StateBit.subscribe | StateBit.shard
const UNDOABLE = StateBit.watch | StateBit.multi | SUBSCRIBED

/** Whether there is state among these bits that {@link cleanUp} does not undo. */
export function isPermanent(state: number): boolean {
  return (state & ~UNDOABLE) !== 0
}

/**
 * Undoes the state and waits for the replies that are owed.
 *
 * @param state bits of `StateBit`; of what is permanent nothing is undone
 * @returns whether that worked; rejects when it did not, or the connection died
 */
export async function cleanUp(connection: PooledConnection, state: number): Promise<boolean> {
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
  return (await connection.execute(['ECHO', SENTINEL], { replies: 'string' })) === SENTINEL
}
