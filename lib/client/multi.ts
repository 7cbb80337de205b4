// A transaction: MULTI, its commands and EXEC, given to a connection as one batch. That is why it needs no connection of
// its own: a batch is written whole or not at all and nothing comes between, so that the transaction that MULTI opens on
// the shared connection is closed by the EXEC of the same write, or by the end of the connection.
//
//   MULTI           OK, or refused: nothing is queued then, and what is behind it runs command by command
//   each command    QUEUED, or refused: EXEC runs nothing then, and says EXECABORT
//   EXEC            the replies, errors among them; null: a watched key was changed; an error: nothing was run
//
// A transaction has one outcome: done, refused (and tried again where the reason passes), or unknown.
// https://redis.io/docs/latest/develop/using-commands/transactions/

import { refusalOf } from '../endpoint/index.ts'
import { ProtocolError, ReplyError, RespoolError } from '../errors.ts'
import type { Argument, Reply } from '../resp/index.ts'
import { type Batch, type Ground, runBatch } from './batch.ts'
import type { DispatchOptions } from './dispatch.ts'
import { batchError } from './pipeline.ts'

type Outcome = Reply | Error

/**
 * Runs the commands as a transaction.
 *
 * @param isRead whether a replica can serve all of them
 * @returns the outcome of each
 * @throws why none was run, or that it is not known
 */
export async function runMulti(
  ground: Ground,
  commands: readonly (readonly Argument[])[],
  isRead: boolean,
  options: DispatchOptions,
): Promise<Outcome[]> {
  const batch = new MultiBatch(commands, isRead || options.isIdempotent)
  await runBatch(ground, batch, isRead, options)
  if (batch.results === undefined) throw notExec(null) // nothing was watched
  return batch.results
}

/** A transaction as a batch. */
export class MultiBatch implements Batch {
  readonly commands: readonly (readonly Argument[])[]
  readonly isRepeatable: boolean
  /** What EXEC gave; `undefined`: a watched key was changed. */
  results: Outcome[] | undefined
  readonly #queued: readonly (readonly Argument[])[]

  constructor(commands: readonly (readonly Argument[])[], isRepeatable: boolean) {
    this.commands = [['MULTI'], ...commands, ['EXEC']]
    this.isRepeatable = isRepeatable
    this.#queued = commands
  }

  take(outcomes: Outcome[]): Error | undefined {
    const opened = outcomes[0]
    const replies = outcomes.slice(1, -1)
    const executed = outcomes.at(-1)
    if (opened instanceof ReplyError) return this.#neverOpened(opened, replies)
    if (Array.isArray(executed) && executed.length === this.#queued.length) {
      this.results = executed
      return undefined
    }
    if (executed === null) return undefined
    const failure = executed instanceof Error ? executed : notExec(executed)
    const index = replies.findIndex((it) => it instanceof ReplyError)
    if (index < 0) return failure
    // refused when it was to be queued: nothing was run, even if EXEC was not answered
    const refusals = replies.filter((it) => it instanceof ReplyError)
    if (refusals.every((it) => refusalOf(it) !== undefined)) return refusals[0]
    const abort = failure instanceof ReplyError ? failure : replies[index]
    const results = replies.map((it) => (it instanceof ReplyError ? it : abort))
    return batchError(this.#queued, results, index)
  }

  /** MULTI was refused: each of the commands was run for itself, unless it was refused as well. */
  #neverOpened(refusal: ReplyError, results: readonly Outcome[]): Error {
    if (results.every((it) => refusalOf(it) !== undefined)) return refusal
    const message = `MULTI was refused, and the commands behind it were not run as a transaction: ${refusal.prefix}`
    return new RespoolError('BATCH_FAILED', message, {
      cause: refusal,
      mayHaveExecuted: results.some((it) => !(it instanceof ReplyError)),
      batch: Object.freeze({ index: -1, command: 'MULTI', results }),
    })
  }
}

function notExec(reply: Reply | undefined): ProtocolError {
  const what = Array.isArray(reply)
    ? `${reply.length} replies`
    : reply === null
      ? 'null'
      : `a value of type ${typeof reply}`
  const message = `EXEC was answered with ${what}`
  return new ProtocolError('PROTOCOL_ERROR', message, { mayHaveExecuted: true })
}
