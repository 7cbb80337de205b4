// Function libraries: loaded where a function of theirs is found to be missing, and called by name.
//
//   FCALL     function numkeys key… arg…    "ERR Function not found": not run, FUNCTION LOAD REPLACE first
//   FCALL_RO  the same, of a function that only reads: goes where reads go. Replicas get libraries from their master, so
//             one that has not got it yet is left alone: the master is asked.
//
// https://redis.io/docs/latest/commands/fcall/

import type { ReadFrom } from '../endpoint/index.ts'
import type { ReplyError } from '../errors.ts'
import type { Argument, Reply } from '../resp/index.ts'
import { dispatchExchange, exchangeOf } from './dispatch.ts'
import type { Line } from './exchange.ts'
import { type Caller, type FunctionCall, functionCall } from './script-call.ts'
import { type Loadable, ScriptExchange } from './script-exchange.ts'
import {
  checkLibraryOptions,
  type FunctionOptions,
  type FunctionTable,
  type KeyCount,
  type LibraryOptions,
} from './script-options.ts'

/** The functions of a library that was defined, by their names: {@link CommandView.functions}. */
export type FunctionCalls<F extends FunctionTable> = {
  readonly [N in keyof F]: F[N] extends FunctionOptions<infer K extends KeyCount>
    ? FunctionCall<K, F[N] extends { readonly parse: (reply: Reply) => infer R } ? R : Reply>
    : never
}

/**
 * @throws {TypeError} {RangeError}
 *
 * @internal
 */
export function defineLibrary<F extends FunctionTable>(
  caller: Caller,
  options: LibraryOptions<F>,
): FunctionCalls<F> {
  checkLibraryOptions(options)
  const { code, functions } = options
  /** A library is loaded as a whole, whichever function was missing. */
  const underWay = new WeakMap<Line, number>()
  const calls = Object.entries(functions).map(([name, { keys, readOnly, parse }]) => {
    const one = new LibraryFunction(name, code, readOnly ?? false, underWay)
    const run = (by: Caller, args: readonly Argument[]) => one.run(by, args)
    return [name, functionCall(caller, run, { keys, readOnly, parse })]
  })
  // without a prototype: a function may be called `constructor`
  return Object.freeze(Object.assign(Object.create(null), Object.fromEntries(calls)))
}

class LibraryFunction {
  readonly #name: string
  readonly #code: string
  readonly #readOnly: boolean
  readonly #underWay: WeakMap<Line, number>

  constructor(name: string, code: string, readOnly: boolean, underWay: WeakMap<Line, number>) {
    this.#name = name
    this.#code = code
    this.#readOnly = readOnly
    this.#underWay = underWay
  }

  run({ route, work, options }: Caller, args: readonly Argument[]): Promise<Reply> {
    const startedAt = performance.now()
    const command = [this.#readOnly ? 'FCALL_RO' : 'FCALL', this.#name, ...args]
    const full = this.#loadable(command)
    const target: 'write' | ReadFrom = this.#readOnly ? options.readFrom : 'write'
    const wrap = (base: Parameters<typeof exchangeOf>[2]) => exchangeOf(command, options, base)
    // somewhere else than on the master it is not loaded
    const isSure = target === 'write' || target === 'master'
    const exchange = isSure
      ? new ScriptExchange(full, target, wrap)
      : new ScriptExchange({ ...full, isMissing: () => false }, target, wrap, {
          isNeeded: isNotFound,
          instead: full,
          isWrite: false,
        })
    return dispatchExchange(route, work, command, options, exchange, startedAt)
  }

  #loadable(command: readonly Argument[]): Loadable {
    return {
      call: (line, options) => line.execute(command, options),
      bring: async (line, options) => {
        const { signal, timeout } = options
        const [loaded, reply] = await Promise.allSettled([
          line.execute(['FUNCTION', 'LOAD', 'REPLACE', this.#code], { signal, timeout }),
          line.execute(command, options),
        ])
        if (reply.status === 'fulfilled') return reply.value
        // it was not found again: the reason is why it could not be loaded
        throw isNotFound(reply.reason) && loaded.status === 'rejected' ? loaded.reason : reply.reason
      },
      isMissing: isNotFound,
      underWay: this.#underWay,
    }
  }
}

function isNotFound(error: Pick<ReplyError, 'message'>): boolean {
  return error.message === 'ERR Function not found'
}
