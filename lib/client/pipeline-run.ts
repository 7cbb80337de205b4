// Runs commands that were collected, each for itself. They go as one batch, and by their outcomes again: the rule is that
// of attempts.ts, and the order of the commands is kept beside it:
//
//   outcomes   v v v ✗ v ✗ …      what failed first, and may be tried again, is tried again with all behind it,
//                    └──tail──     or not at all: if each command of the tail either certainly did not run or may
//                                  run twice
//
// So no command overtakes another, and none runs twice that must not. All attempts share one deadline, and all of a
// batch waits for a server as one.

import { isReadOnly } from '../commands/index.ts'
import { isMadeUp, isRetriable } from '../endpoint/index.ts'
import { ConnectionError, ReplyError, RespoolError } from '../errors.ts'
import type { Argument, Reply } from '../resp/index.ts'
import { type Batch, type Ground, runBatch } from './batch.ts'
import type { DispatchOptions } from './dispatch.ts'
import { lastWord } from './last-word.ts'

/**
 * Runs the commands in order, each for itself.
 *
 * @internal
 * @param isRead whether a replica can serve all of them
 * @returns the outcome of each
 * @throws what nothing of it was sent for
 */
export async function runPipeline(
  ground: Ground,
  commands: readonly (readonly Argument[])[],
  isRead: boolean,
  options: DispatchOptions,
): Promise<(Reply | Error)[]> {
  const batch = new PipelineBatch(commands, options)
  try {
    await runBatch(ground, batch, isRead, options)
  } catch (error) {
    batch.fail(error)
  }
  return batch.results
}

/** Outcomes of commands that are each for themselves. */
class PipelineBatch implements Batch {
  /** Of all commands; those behind {@link from} are not final. */
  results: (Reply | Error)[] = []
  /** Each command of the tail was judged for itself. */
  isRepeatable = false
  readonly #all: readonly (readonly Argument[])[]
  readonly #options: DispatchOptions
  /** Where the tail begins. */
  #from = 0
  /** The attempt whose outcome is not known; if it was tried again, that stays true. */
  #lost: ConnectionError | undefined

  constructor(commands: readonly (readonly Argument[])[], options: DispatchOptions) {
    this.#all = commands
    this.#options = options
  }

  get commands(): readonly (readonly Argument[])[] {
    return this.#from === 0 ? this.#all : this.#all.slice(this.#from)
  }

  take(outcomes: (Reply | Error)[]): Error | undefined {
    if (this.#from === 0) this.results = outcomes
    else {
      this.results.length = this.#from
      for (const outcome of outcomes) this.results.push(outcome)
    }
    return outcomes.some((outcome) => outcome instanceof Error) ? this.#judge(outcomes) : undefined
  }

  /** @throws the error, if nothing ever was sent */
  fail(error: unknown): void {
    if (!(error instanceof RespoolError) || (this.#from === 0 && !error.mayHaveExecuted)) throw error
    this.results.length = this.#from
    while (this.results.length < this.#all.length) this.results.push(error)
  }

  /** What to recover from, if the tail may be tried again, or what all of it failed with; else it is over. */
  #judge(outcomes: readonly (Reply | Error)[]): Error | undefined {
    const first = outcomes.findIndex((it, at) => this.#isRetriable(it, this.#from + at, true))
    if (first >= 0 && outcomes.every((it, at) => at < first || this.#mayRun(it, this.#from + at))) {
      this.#from += first
      this.isRepeatable = true
      // what was lost is at the end, and says more than a refusal before it
      const last = outcomes.at(-1)
      if (!(last instanceof ConnectionError)) return outcomes[first] as Error
      if (last.mayHaveExecuted) this.#lost = last
      return last
    }
    this.#finish()
    const [only] = this.results
    return isUnsent(only) && this.results.every((it) => it === only) ? only : undefined
  }

  #isRetriable(outcome: Reply | Error, place: number, isRepeatable: boolean): boolean {
    if (!(outcome instanceof Error) || isMadeUp(outcome, this.#commandAt(place))) return false
    return isRetriable(outcome, isRepeatable)
  }

  /** Whether the command at that place may be run, after that outcome. */
  #mayRun(outcome: Reply | Error, place: number): boolean {
    const isRepeatable = this.#options.isIdempotent || isReadOnly(this.#commandAt(place))
    if (this.#isRetriable(outcome, place, isRepeatable)) return true
    // a deadline or a signal is the caller's last word
    const isAnswer = !(outcome instanceof Error) || outcome instanceof ReplyError
    return isAnswer && isRepeatable
  }

  #commandAt(place: number): readonly Argument[] {
    return this.#all[place] as readonly Argument[]
  }

  /** Most of the errors are one and the same, and stay that. */
  #finish(): void {
    let last: Error | undefined
    let word: Error | undefined
    for (let at = this.#from; at < this.results.length; at += 1) {
      const result = this.results[at]
      if (!(result instanceof Error)) continue
      if (result !== last) {
        last = result
        word = lastWord(result, this.#options, this.#lost)
      }
      this.results[at] = word as Error
    }
  }
}

/** What a command ended with that certainly was not sent. */
function isUnsent(outcome: unknown): outcome is Error {
  return outcome instanceof RespoolError && !(outcome instanceof ReplyError) && !outcome.mayHaveExecuted
}
