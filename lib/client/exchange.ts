// One attempt at a command: where it goes, and what is sent. For most commands that is the command alone; a session
// and `durable` send something behind or before it, on the same connection, and judge by what comes back.

import { commandName, isBlocking, isReadOnly } from '../commands/index.ts'
import type { ExecuteOptions } from '../connection/index.ts'
import type { ReadFrom } from '../endpoint/index.ts'
import type { Argument, Reply } from '../resp/index.ts'

/** What an attempt is made through: the shared connection of a server, or a lease of the command's own. */
export interface Line {
  execute(command: readonly Argument[], options?: ExecuteOptions): Promise<Reply>
}

/** How much waits as one. */
export interface Held {
  /** Commands. */
  readonly count: number
  readonly bytes: number
}

export interface Exchange {
  /** Whether its connection must be its own. */
  readonly needsLease: boolean
  /** Whether running it twice does no harm, where that is not what the table says of the command. */
  readonly isRepeatable?: boolean | undefined
  /** What waits for a server, where that is not the one command. */
  readonly held?: Held | undefined
  /** Where the next attempt goes; asked before each. */
  target(): 'write' | ReadFrom
  /**
   * Sends all that there is to send before it returns, so that nothing comes between and all of it takes the same
   * connection.
   *
   * @param address the server's
   * @returns the reply; `undefined`: this server cannot say, the one that `target()` names now can
   */
  attempt(line: Line, address: string, options: AttemptOptions): Promise<Reply | undefined>
}

/** What is left of the command's settings for one attempt. */
export type AttemptOptions = Pick<ExecuteOptions, 'replies' | 'signal'> & {
  /** Milliseconds until the command's deadline; 0 = none. */
  readonly timeout: number
}

/** Commands that ask how far replicas, or disks, are with what the same connection has written. */
const ABOUT_OWN_WRITES = new Set(['WAIT', 'WAITAOF'])

/**
 * The command alone. Its bytes are ours.
 *
 * @throws {TypeError} it asks about the writes of its own connection: that of a lease has made none, and the answer would
 *   be that all is well
 */
export function plainExchange(command: readonly Argument[], readFrom: ReadFrom): Exchange {
  const name = commandName(command)
  if (ABOUT_OWN_WRITES.has(name)) {
    throw new TypeError(
      `${name} speaks of the writes of its own connection: make them durable with with({ durable }), or on a lease`,
    )
  }
  const target = isReadOnly(command) ? readFrom : 'write'
  return {
    needsLease: isBlocking(command),
    target: () => target,
    attempt: (line, _, options) => line.execute(command, options),
  }
}
