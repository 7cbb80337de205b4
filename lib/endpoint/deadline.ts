// The deadline of a command that has to wait before it is given to its connection: the wait counts.

import type { ExecuteOptions } from '../connection/index.ts'
import { TimeoutError } from '../errors.ts'
import type { Argument, Reply } from '../resp/index.ts'

export interface Deadline {
  /** On the clock of `performance.now()`. */
  readonly expiresAt: number
  /** Milliseconds that it came from; 0 = none. */
  readonly timeout: number
}

interface Executor {
  execute(command: readonly Argument[], options?: ExecuteOptions): Promise<Reply>
}

/** @throws {RangeError} */
export function deadlineOf(options: ExecuteOptions | undefined, commandTimeout: number): Deadline {
  const timeout = options?.timeout ?? commandTimeout
  if (!(timeout >= 0)) throw new RangeError(`option timeout must be 0 or more milliseconds, got ${timeout}`)
  return { timeout, expiresAt: timeout === 0 ? Number.POSITIVE_INFINITY : performance.now() + timeout }
}

/** Gives the command to its connection before this returns. A deadline that passes is told as it was set. */
export async function executeBefore(
  { expiresAt, timeout }: Deadline,
  executor: Executor,
  command: readonly Argument[],
  options: ExecuteOptions | undefined,
): Promise<Reply> {
  const left = timeout === 0 ? 0 : Math.max(expiresAt - performance.now(), 1)
  try {
    return await executor.execute(command, { ...options, timeout: left })
  } catch (error) {
    if (!(error instanceof TimeoutError) || error.timeout !== left) throw error
    const { mayHaveExecuted } = error
    const message = `${mayHaveExecuted ? 'no reply' : 'not sent'} within ${timeout} ms`
    throw new TimeoutError(message, { timeout, mayHaveExecuted, cause: error })
  }
}
