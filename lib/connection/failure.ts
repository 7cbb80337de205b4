// Why a connection ended, in the errors that its users see.

import { ConnectionError, type ConnectionPhase, ProtocolError, RespoolError } from '../errors.ts'
import type { PendingQueue } from './pending-queue.ts'

/** What a system error says in short: `ECONNRESET`, or its message. */
export function reason(error: Error): string {
  const { code } = error as NodeJS.ErrnoException
  return typeof code === 'string' ? code : error.message
}

/** An error of the connection itself; `cause` is told in the message, too. */
export function connectionFailure(
  code: 'CONNECTION_LOST' | 'CONNECTION_CLOSED',
  message: string,
  where: { readonly address: string; readonly phase: ConnectionPhase },
  cause?: Error,
): ConnectionError {
  const why = cause === undefined ? message : `${message}: ${reason(cause)}`
  const details = cause === undefined ? where : { ...where, cause }
  return new ConnectionError(code, `${why} (${where.address})`, details)
}

/** What the decoder said, with the peer's address. */
export function protocolFailure(error: unknown, address: string): Error {
  if (!(error instanceof ProtocolError)) return error as Error
  return new ProtocolError(error.code as 'PROTOCOL_ERROR', `${error.message} (${address})`, { cause: error })
}

/** The reason a connection ended, as the error of one command: with whether that command may have run. */
export function withOutcome(error: Error, mayHaveExecuted: boolean, address: string): Error {
  if (error instanceof RespoolError && error.mayHaveExecuted === mayHaveExecuted) return error
  const details = { cause: error, mayHaveExecuted }
  if (error instanceof ProtocolError)
    return new ProtocolError(error.code as 'PROTOCOL_ERROR', error.message, details)
  if (error instanceof ConnectionError) {
    const { phase } = error
    return new ConnectionError(error.code as 'CONNECTION_LOST', error.message, { ...details, address, phase })
  }
  return new ConnectionError('CONNECTION_LOST', `the connection ended: ${error.message}`, {
    ...details,
    address,
    phase: 'ready',
  })
}

/** Ends all that is owed, for the reason the connection ended. */
export function failAll(pending: PendingQueue, error: Error, address: string): void {
  const { written, unwritten } = pending
  const lost = written === 0 ? error : withOutcome(error, true, address)
  const unsent = unwritten === 0 ? error : withOutcome(error, false, address)
  const commands = [...pending.entries()]
  pending.clear()
  for (const [place, command] of commands) command.fail(place < written ? lost : unsent)
}
