// How one command differs from the connection's settings, and how long it may take then.

import { blockingTimeout, isBlocking } from '../commands/index.ts'
import type { Argument, Reply } from '../resp/index.ts'

/** How one command differs from the connection's settings. */
export interface ExecuteOptions {
  /** Strings in the reply as strings or as `Buffer`. @default 'string' */
  readonly replies?: 'string' | 'buffer' | undefined
  /** Milliseconds until the command is given up; 0 = never. @default the connection's `commandTimeout` */
  readonly timeout?: number | undefined
  /** Gives the command up. Not sent yet: it never is. Sent: it may run, and its reply is swallowed. */
  readonly signal?: AbortSignal | undefined
  /**
   * Called before the command's promise settles when attributes (RESP3) came with its reply: the one of the reply
   * first, then those of elements within it. What it throws is an uncaught exception.
   */
  readonly onAttributes?: ((attributes: readonly Map<Reply, Reply>[]) => void) | undefined
}

/** @throws {RangeError} */
export function checkTimeout(timeout: number): number {
  if (!(timeout >= 0)) throw new RangeError(`option timeout must be 0 or more milliseconds, got ${timeout}`)
  return timeout
}

/** A command that blocks has its own timeout, and then some. */
export function ownTimeout(command: readonly Argument[], commandTimeout: number): number {
  if (commandTimeout === 0 || !isBlocking(command)) return commandTimeout
  const own = blockingTimeout(command)
  return own === undefined || own === 0 ? 0 : own + commandTimeout
}
