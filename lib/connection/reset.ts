// What makes a connection what it was after its handshake. In one write, so that it costs one round trip:
//
//   RESET   HELLO 3 [AUTH user password] [SETNAME name]   CLIENT SETINFO …   [SELECT database]
//
// RESET ends transactions, watches, subscriptions, MONITOR and tracking, and leaves the connection with the default
// user, without a name, in database 0 and RESP2; the handshake does the rest. Servers have it since Redis 6.2.
//
// From 7.2 on, Redis 8 included, a HELLO that is refused gets no reply where it stands behind RESET
// (https://github.com/redis/redis/issues/15640). Then the last reply never comes: the reset fails at its deadline.
//
// Source: https://redis.io/docs/latest/commands/reset/.

import { ConnectionError, ReplyError } from '../errors.ts'
import { OptionFailure } from './credentials.ts'
import { type HandshakeRequest, handshake, RefusedStep, type Send } from './handshake.ts'

/**
 * RESET, and the handshake again.
 *
 * @param request with the version of the protocol that the first handshake had led to
 * @throws {RefusedStep} or whatever ended the connection
 */
export async function shakeAgain(send: Send, request: HandshakeRequest): Promise<void> {
  const [, { protocol }] = await Promise.all([reset(send), handshake(send, request)])
  if (protocol !== request.protocol) {
    throw new Error(`the server speaks RESP${protocol}, and spoke RESP${request.protocol} before`)
  }
}

// RESET, answered by the simple string of the same name
async function reset(send: Send): Promise<void> {
  let reply: unknown
  try {
    reply = await send(['RESET'])
  } catch (error) {
    if (error instanceof ReplyError) throw new RefusedStep('RESET', error)
    throw error
  }
  // a proxy that does not know it may have queued it in a transaction
  if (reply !== 'RESET') throw new Error('the server answered RESET with something else')
}

/** Why a connection was given up that could not be reset. The reason of an option is the user's, and no text for us. */
export function resetFailure(error: unknown, address: string): ConnectionError {
  const [why, cause] = explain(error)
  const message = `the connection could not be reset: ${why}`
  const where = `(${address})`
  return new ConnectionError('CONNECTION_LOST', message.endsWith(where) ? message : `${message} ${where}`, {
    address,
    phase: 'handshake',
    cause,
  })
}

function explain(error: unknown): [why: string, cause: unknown] {
  if (error instanceof RefusedStep) {
    return [`the server refused ${error.step}: ${error.reply.message}`, error.reply]
  }
  if (error instanceof OptionFailure) return [`option ${error.option} failed`, error.reason]
  return [(error as Error).message, error]
}
