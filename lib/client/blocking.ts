// The end of a command that blocks, when its caller has had enough. To cut the connection would lose what the server popped
// in that moment. So the server is asked to unblock it, over the shared connection, and says itself what became of it:
//
//   abort ──not written yet──────────────────────────────────────► never sent
//     └──CLIENT UNBLOCK──► UNBLOCKED ────────────────────────────► aborted: nothing was popped
//              │      └──► the reply, which was on its way ──────► given, though aborted
//              └── refused, or neither within UNBLOCK_MS ────────► the connection is cut: it may have run
//
// It is asked by the connection's number. RESP3 tells that in the handshake; where it did not, CLIENT ID is written in front
// of the command, once for each connection.
//
// https://redis.io/docs/latest/commands/client-unblock/

import { setTimeout as sleep } from 'node:timers/promises'
import { type Connection, watchAbort } from '../connection/index.ts'
import type { Endpoint } from '../endpoint/index.ts'
import { AbortError, ReplyError } from '../errors.ts'
import type { Lease } from '../pool/index.ts'
import type { Reply } from '../resp/index.ts'

/** Several round trips; how long an abort takes at a server that does not answer. */
const UNBLOCK_MS = 250
/** Between two questions: the command may have been overtaken by the first. Replies of the two connections are closer. */
const ASK_AGAIN_MS = 10

/** Numbers that the handshake did not tell and the server was asked for. */
const numbers = new WeakMap<Connection, Promise<number | undefined>>()

/**
 * @param lease of the command's own connection
 * @param attempt sends the command; its signal cuts the connection, or takes back what has not been written
 */
export async function executeUnblockably(
  endpoint: Endpoint,
  lease: Lease<Connection>,
  signal: AbortSignal,
  attempt: (signal: AbortSignal) => Promise<Reply | undefined>,
): Promise<Reply | undefined> {
  const cutting = new AbortController()
  const cut = () => cutting.abort(signal.reason)
  if (signal.aborted) cut()
  const id = lease.connection.id ?? numberOf(lease, cutting.signal)
  const reply = attempt(cutting.signal)
  const ended = reply.then(
    () => true,
    () => true,
  )
  let isWritten = false
  process.nextTick(() => {
    isWritten = true // the connection's own tick came before
  })
  let unblocking: Promise<boolean> | undefined
  const unwatch = watchAbort(signal, () => {
    if (isWritten) unblocking = unblock(endpoint, id, ended).finally(cut)
    else cut()
  })
  try {
    return await reply
  } catch (error) {
    if (signal.aborted && error instanceof ReplyError && error.prefix === 'UNBLOCKED')
      throw new AbortError(signal)
    throw error
  } finally {
    unwatch()
    // a question that is still on its way must not meet the command of the next borrower
    if (unblocking !== undefined && !(await Promise.race([unblocking, moment()]))) lease.connection.destroy()
  }
}

/** Asks in the write of the command behind it. Never rejects. */
function numberOf(lease: Lease<Connection>, signal: AbortSignal): Promise<number | undefined> {
  const { connection } = lease
  const known = numbers.get(connection)
  if (known !== undefined) return known
  const asked = lease.execute(['CLIENT', 'ID'], { signal }).then(
    (reply) => (typeof reply === 'number' ? reply : undefined),
    () => {
      numbers.delete(connection) // forbidden, or taken back with the command: asked again for the next one
      return undefined
    },
  )
  numbers.set(connection, asked)
  return asked
}

function moment(): Promise<boolean> {
  return sleep(ASK_AGAIN_MS, false, { ref: false })
}

/**
 * Resolves when the command has ended, or is not going to by this. Never rejects.
 *
 * @returns whether the server has answered all that it was asked
 */
async function unblock(
  endpoint: Endpoint,
  number: number | undefined | Promise<number | undefined>,
  ended: Promise<boolean>,
): Promise<boolean> {
  const until = performance.now() + UNBLOCK_MS
  const id =
    typeof number === 'object'
      ? await Promise.race([number, sleep(UNBLOCK_MS, undefined, { ref: false })])
      : number
  for (let left = UNBLOCK_MS; left > 0; left = until - performance.now()) {
    if (id === undefined || endpoint.error !== undefined || endpoint.isSuspect) return true
    try {
      const answer = await endpoint.execute(['CLIENT', 'UNBLOCK', id, 'ERROR'], { timeout: left })
      if (answer !== 0 && answer !== 1) return true
    } catch (error) {
      return error instanceof ReplyError // forbidden
    }
    if (await Promise.race([ended, moment()])) return true
  }
  return true
}
