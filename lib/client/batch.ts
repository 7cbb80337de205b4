// What is sent in one piece: a pipeline, a transaction. To attempts.ts it is an exchange like any other, whose reply are
// the outcomes of its commands; what they say of the next attempt, the batch itself knows.

import { heldBytes, type ReadFrom } from '../endpoint/index.ts'
import type { Argument, Reply } from '../resp/index.ts'
import type { DispatchOptions } from './attempts.ts'
import { dispatchExchange } from './dispatch.ts'
import type { AttemptOptions, Exchange, Held, Line } from './exchange.ts'
import type { Router } from './router.ts'
import { SessionRead, sessionWrite } from './session.ts'
import type { Work } from './work.ts'

/**
 * What commands of a client stand on.
 *
 * @internal
 */
export interface Ground {
  readonly router: Router
  readonly work: Work
}

/**
 * Commands that go to one server, perhaps more than once.
 *
 * @internal
 */
export interface Batch {
  /** What the next attempt sends. */
  readonly commands: readonly (readonly Argument[])[]
  /** Whether that may be sent again though the last attempt was lost. */
  readonly isRepeatable: boolean
  /**
   * Takes the outcomes of an attempt.
   *
   * @returns what all of it, or of what is left, failed with: it is tried again after that, if it may be;
   *   `undefined`: it is over
   */
  take(outcomes: (Reply | Error)[]): Error | undefined
}

/** A connection, or a server's shared one. */
interface BatchLine extends Line {
  executeAll(commands: readonly (readonly Argument[])[], options?: AttemptOptions): Promise<(Reply | Error)[]>
}

/**
 * Sends a batch until it is over.
 *
 * @internal
 * @param isRead whether a replica can serve all of it
 */
export async function runBatch(
  { router, work }: Ground,
  batch: Batch,
  isRead: boolean,
  options: DispatchOptions,
): Promise<void> {
  const exchange = new BatchExchange(batch, isRead, options)
  await dispatchExchange(router, work, [], options, exchange, performance.now())
}

/**
 * Attempts at a batch, with what a session sends beside it. The reply is none of anybody's: the batch has taken it.
 *
 * @internal
 */
export class BatchExchange implements Exchange {
  readonly needsLease = false
  readonly #batch: Batch
  readonly #sent: Exchange

  constructor(batch: Batch, isRead: boolean, { readFrom, session }: DispatchOptions) {
    const target: 'write' | ReadFrom = isRead ? readFrom : 'write'
    const plain: Exchange = {
      needsLease: false,
      target: () => target,
      // a session passes on what it is given
      attempt: (line, _, options) =>
        (line as BatchLine).executeAll(batch.commands, options) as Promise<Reply>,
    }
    this.#batch = batch
    if (session === undefined) this.#sent = plain
    else this.#sent = isRead ? new SessionRead(session, plain) : sessionWrite(session, plain)
  }

  get isRepeatable(): boolean {
    return this.#batch.isRepeatable
  }

  get held(): Held {
    const { commands } = this.#batch
    return { count: commands.length, bytes: commands.reduce((sum, command) => sum + heldBytes(command), 0) }
  }

  target(): 'write' | ReadFrom {
    return this.#sent.target()
  }

  async attempt(line: Line, address: string, options: AttemptOptions): Promise<Reply | undefined> {
    const outcomes: unknown = await this.#sent.attempt(line, address, options)
    if (outcomes === undefined) return undefined
    const failure = this.#batch.take(outcomes as (Reply | Error)[])
    if (failure !== undefined) throw failure
    return null
  }
}
