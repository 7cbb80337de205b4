// The core commands as methods of whatever runs commands: a client, a view, a pipeline. One loop over the generated
// table puts them on a prototype; their types are the interface `Commands`.

import type { Argument } from '../resp/index.ts'
import { commandsByShape } from './methods.gen.ts'
import { type ShapeName, type Shaper, shapers } from './replies.ts'

/** A command that is a method. */
export interface Method {
  /** Of `CLIENT NO-EVICT`: `clientNoEvict`. */
  readonly name: string
  /** What the command begins with: one word, or two. */
  readonly words: readonly string[]
  /** Chooses what is done to the reply; undefined where that is nothing, whatever the arguments. */
  readonly shaper: Shaper | undefined
}

/** All of them. */
export const methods: readonly Method[] = Object.entries(commandsByShape).flatMap(([shape, commands]) =>
  commands.split('|').map((command) => ({
    name: methodName(command),
    words: command.split(' '),
    shaper: shapers[shape as ShapeName],
  })),
)

/**
 * Gives the prototype a method for each command.
 *
 * @param run what the methods do: `self` is what they were called on, the command is complete and `run`'s own
 */
export function defineMethods<S extends object>(prototype: S, run: Run<S>): void {
  // Plain assignments: a name for each function and a descriptor for each property take four times as long, which
  // is a millisecond of the import. Stack traces have the names all the same.
  const target = prototype as Record<string, unknown>
  // An object that has lost a property is kept as a table. Otherwise the engine would make a new layout for each of
  // the methods, which takes ten times as long and is most of what the evaluation of the library costs.
  const passing = 'passing'
  target[passing] = undefined
  delete target[passing]
  for (const { name, words, shaper } of methods) {
    const [first = '', second] = words
    target[name] =
      second === undefined
        ? methodOf(first, shaper, run)
        : function (this: S, ...args: Argument[]): unknown {
            return run(this, [first, second, ...args], shaper)
          }
  }
}

type Run<S> = (self: S, command: Argument[], shaper: Shaper | undefined) => unknown

/** Of a command of one word. The usual numbers of arguments make one array, not two: measured, a tenth of a command. */
function methodOf<S>(word: string, shaper: Shaper | undefined, run: Run<S>): (this: S) => unknown {
  return function (this: S, a?: Argument, b?: Argument, c?: Argument): unknown {
    // biome-ignore-start lint/complexity/noArguments: rest parameters are the second array
    switch (arguments.length) {
      case 1:
        return run(this, [word, a as Argument], shaper)
      case 2:
        return run(this, [word, a as Argument, b as Argument], shaper)
      case 3:
        return run(this, [word, a as Argument, b as Argument, c as Argument], shaper)
      default: {
        const command: Argument[] = [word]
        // one by one: to spread them takes ten times as long
        for (let i = 0; i < arguments.length; i += 1) command.push(arguments[i] as Argument)
        return run(this, command, shaper)
      }
    }
    // biome-ignore-end lint/complexity/noArguments: only there
  }
}

/** The command in lower case; where a space, a dash or an underscore was, the next letter is a capital. */
function methodName(command: string): string {
  return command.toLowerCase().replace(/[ _-]+([a-z])/g, (_, letter: string) => letter.toUpperCase())
}
