// What scripts and functions of libraries are in the hands of users: functions, with a `with()` of their own.

import type { Route } from '../endpoint/index.ts'
import type { Argument, Reply } from '../resp/index.ts'
import type { DispatchOptions } from './dispatch.ts'
import { callArguments, type FunctionOptions, type KeyCount, type Keys } from './script-options.ts'
import type { CommandOptions } from './view-options.ts'
import type { Work } from './work.ts'

/**
 * A view as those see it that bring commands to servers on its behalf.
 *
 * @internal
 */
export interface Caller {
  readonly route: Route
  readonly work: Work
  readonly options: DispatchOptions
  with(options: CommandOptions): Caller
}

/** A function of a library that runs on the server. */
export interface FunctionCall<K extends KeyCount = KeyCount, R = Reply> {
  /**
   * Runs it.
   *
   * @param keys the names of all keys that it touches: `KEYS` in Lua
   * @param args `ARGV`
   * @returns what it returns, or what `parse` makes of that
   * @throws {ReplyError} its own error, or the server's
   * @throws for the rest see {@link CommandView.call}
   * @throws {TypeError} {RangeError} at once: keys or arguments that are none, the wrong number of keys
   */
  (keys: Keys<K>, args?: readonly Argument[]): Promise<R>
  /** The same with other settings; cheap. */
  with(options: CommandOptions): FunctionCall<K, R>
}

/**
 * Brings one call to its server. `args` are `numkeys key… arg…`, and ours.
 *
 * @internal
 */
export type Run = (caller: Caller, args: readonly Argument[]) => Promise<Reply>

/** @internal */
export function functionCall<K extends KeyCount, R>(
  caller: Caller,
  run: Run,
  options: FunctionOptions<K, R>,
): FunctionCall<K, R> {
  const { keys: count, parse } = options
  const call = (keys: Keys<K>, args: readonly Argument[] = []): Promise<R> => {
    const reply = run(caller, callArguments(count, keys, args))
    // without parse, R is what the server replies
    return parse === undefined ? (reply as Promise<unknown> as Promise<R>) : reply.then((it) => parse(it))
  }
  const others = (settings: CommandOptions) => functionCall(caller.with(settings), run, options)
  return Object.freeze(Object.assign(call, { with: others }))
}
