// Scripts: defined once, called by their hash, sent in full where a server does not have them.
//
//   EVALSHA     sha1 numkeys key… arg…     NOSCRIPT: not run, EVAL with the text instead
//   EVALSHA_RO  the same, of a script that only reads: goes where reads go. Servers before Redis 7 do not have it; then it
//               is an EVALSHA on the master. Nobody holds the script to its word there, so it counts as a write.
//
// https://redis.io/docs/latest/commands/evalsha/

import type { ReplyError } from '../errors.ts'
import type { Argument, Reply } from '../resp/index.ts'
import { dispatchExchange, exchangeOf } from './dispatch.ts'
import type { Line } from './exchange.ts'
import { type Caller, type FunctionCall, functionCall } from './script-call.ts'
import { type Detour, type Loadable, ScriptExchange } from './script-exchange.ts'
import {
  checkScriptOptions,
  type FunctionOptions,
  type KeyCount,
  type Keys,
  type ScriptOptions,
} from './script-options.ts'
import type { CommandOptions } from './view-options.ts'

/** A server that lacks a command is asked for it again after this: somebody may have replaced it by a later one. */
const LACKING_MS = 60_000

/** A script that was defined: {@link CommandView.script}. */
export interface Script<K extends KeyCount = KeyCount, R = Reply> extends FunctionCall<K, R> {
  /** What servers know it by, in 40 hexadecimal digits. */
  readonly sha1: string
  with(options: CommandOptions): Script<K, R>
}

/**
 * @throws {TypeError} {RangeError}
 *
 * @internal
 */
export function defineScript<K extends KeyCount, R>(
  caller: Caller,
  options: ScriptOptions<K, R>,
): Script<K, R> {
  checkScriptOptions(options)
  const { lua, keys, readOnly, parse } = options
  return scriptOf(caller, new ScriptText(lua), { keys, readOnly, parse })
}

/** One script, whoever calls it. */
class ScriptText {
  readonly #lua: string
  #sha1: string | undefined
  readonly #underWay = new WeakMap<Line, number>()
  readonly #lacking = new WeakMap<Line, { readonly error: ReplyError; readonly until: number }>()

  constructor(lua: string) {
    this.#lua = lua
  }

  /** Made when it is first needed, and node:crypto is not loaded before: that takes 3 ms. */
  get sha1(): string {
    this.#sha1 ??= process.getBuiltinModule('node:crypto').createHash('sha1').update(this.#lua).digest('hex')
    return this.#sha1
  }

  write(args: readonly Argument[]): Loadable {
    return this.#loadable('EVALSHA', 'EVAL', args)
  }

  read(args: readonly Argument[]): Loadable {
    const loadable = this.#loadable('EVALSHA_RO', 'EVAL_RO', args)
    return {
      ...loadable,
      call: (line, options) => {
        const known = this.#lacking.get(line)
        if (known !== undefined && performance.now() < known.until) return Promise.reject(known.error)
        return loadable.call(line, options)
      },
    }
  }

  /** Of a read, where there is no EVALSHA_RO. */
  detour(args: readonly Argument[]): Detour {
    const isNeeded = (error: ReplyError, line: Line) => {
      if (!/^ERR unknown command\W+evalsha_ro\b/i.test(error.message)) return false
      const known = this.#lacking.get(line)
      if (known?.error !== error) this.#lacking.set(line, { error, until: performance.now() + LACKING_MS })
      return true
    }
    return { isNeeded, instead: this.write(args), isWrite: true }
  }

  #loadable(byHash: string, byText: string, args: readonly Argument[]): Loadable {
    return {
      call: (line, options) => line.execute([byHash, this.sha1, ...args], options),
      bring: (line, options) => line.execute([byText, this.#lua, ...args], options),
      isMissing: isNoScript,
      underWay: this.#underWay,
    }
  }
}

function scriptOf<K extends KeyCount, R>(
  caller: Caller,
  text: ScriptText,
  options: FunctionOptions<K, R>,
): Script<K, R> {
  const { readOnly = false } = options
  const run = ({ route, work, options: settings }: Caller, args: readonly Argument[]) => {
    const startedAt = performance.now()
    const command = [readOnly ? 'EVALSHA_RO' : 'EVALSHA', text.sha1, ...args]
    const exchange = new ScriptExchange(
      readOnly ? text.read(args) : text.write(args),
      readOnly ? settings.readFrom : 'write',
      (base) => exchangeOf(command, settings, base),
      readOnly ? text.detour(args) : undefined,
    )
    return dispatchExchange(route, work, command, settings, exchange, startedAt)
  }
  const call = functionCall(caller, run, options)
  const script = (keys: Keys<K>, args?: readonly Argument[]): Promise<R> => call(keys, args)
  return Object.freeze(
    Object.defineProperty(
      Object.assign(script, {
        sha1: '',
        with: (others: CommandOptions) => scriptOf(caller.with(others), text, options),
      }),
      'sha1',
      { get: () => text.sha1, enumerable: true },
    ),
  )
}

/**
 * The server's own words, for a script can make up an error that begins like it:
 * `NOSCRIPT No matching script. Please use EVAL.`, without the advice from Valkey.
 */
function isNoScript(error: ReplyError): boolean {
  return error.prefix === 'NOSCRIPT' && error.message.startsWith('NOSCRIPT No matching script.')
}
