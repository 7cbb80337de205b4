// The error of the last attempt as that of the whole: with the deadline as it was set, and the true outcome. If an
// attempt before it was lost, what was asked for may have run, whatever the last one says.

import { AbortError, ConnectionError, ReplyError, RespoolError, TimeoutError } from '../errors.ts'

/** What was set for all attempts together. */
export interface Whole {
  /** Milliseconds, 0 = none: as the caller set it, */
  readonly timeout: number
  /** and with what a blocking command may take besides. @default the same */
  readonly totalMs?: number
  readonly signal?: AbortSignal | undefined
}

/**
 * @param lost an attempt whose outcome is not known
 * @returns what the caller gets; what the server said, and errors of others, as they are
 */
export function lastWord<E>(error: E, whole: Whole, lost: ConnectionError | undefined): E | RespoolError {
  if (!(error instanceof RespoolError) || error instanceof ReplyError) return error
  const mayHaveExecuted = error.mayHaveExecuted || lost !== undefined
  const { timeout, totalMs = timeout, signal } = whole
  if (error instanceof TimeoutError) {
    const isWhole = error.timeout === timeout || error.timeout === totalMs
    if (isWhole && mayHaveExecuted === error.mayHaveExecuted) return error
    const message = isWhole ? error.message : `not done within ${totalMs} ms: ${error.message}`
    return new TimeoutError(message, { timeout: totalMs, cause: error, mayHaveExecuted })
  }
  if (lost === undefined || error.mayHaveExecuted) return error
  if (error instanceof AbortError && signal !== undefined) return new AbortError(signal, { mayHaveExecuted })
  const { code, address, phase } = lost
  const message = `${lost.message}; tried again, but: ${error.message}`
  return new ConnectionError(code as 'CONNECTION_LOST', message, {
    address,
    phase,
    mayHaveExecuted,
    cause: error,
  })
}
