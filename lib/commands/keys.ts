// Which arguments of a command are keys: by the servers' key specifications, and by hand for the few commands
// that specifications cannot describe. Agrees with `COMMAND GETKEYS`; shard channels, which it leaves out, are
// counted in, since they too belong to a slot.

import type { Argument } from '../resp/index.ts'
import { describe, isWord, textOf } from './lookup.ts'
import type { KeySpec } from './row.ts'

/**
 * The keys of the command, and the shard channels, in the order of its arguments, as they were given and not
 * copied. Empty where it has none, or where it lacks arguments, so that the server would refuse it. Undefined
 * where nobody can say: the table does not have the command, or its keys cannot be told from its arguments.
 */
export function keysOf(command: readonly Argument[]): readonly Argument[] | undefined {
  const known = describe(command)
  if (known === undefined) return undefined
  const byHand = handWritten.get(known.name)
  if (byHand !== undefined) return byHand(command)
  const keys: Argument[] = []
  for (const spec of known.keySpecs) {
    if ('unknown' in spec) return undefined
    collect(command, spec, keys)
  }
  return keys
}

function collect(
  command: readonly Argument[],
  spec: Exclude<KeySpec, { unknown: true }>,
  keys: Argument[],
): void {
  const begin = 'at' in spec ? spec.at : behindWord(command, spec.after, spec.from)
  if (begin === undefined || begin >= command.length) return
  if ('countAt' in spec) {
    const count = countIn(command[begin + spec.countAt])
    const first = begin + spec.first
    // A count beyond the arguments is refused by the server as a whole.
    if (first + (count - 1) * spec.step < command.length) take(command, first, count, spec.step, keys)
    return
  }
  const rest = command.length - begin
  const end =
    spec.last >= 0
      ? begin + spec.last
      : begin + (spec.limit === undefined ? rest : Math.floor(rest / spec.limit)) + spec.last
  take(command, begin, Math.floor((end - begin) / spec.step) + 1, spec.step, keys)
}

function take(
  command: readonly Argument[],
  first: number,
  count: number,
  step: number,
  keys: Argument[],
): void {
  for (let i = 0, at = first; i < count; i++, at += step) {
    const key = command[at]
    if (key !== undefined) keys.push(key)
  }
}

// A search from below zero begins that far from the end and goes backwards.
function behindWord(command: readonly Argument[], word: string, from: number): number | undefined {
  const step = from > 0 ? 1 : -1
  for (let at = from > 0 ? from : command.length + from; at > 0 && at < command.length; at += step) {
    if (isWord(command[at], word)) return at + 1
  }
  return undefined
}

function countIn(argument: Argument | undefined): number {
  const text = textOf(argument)
  return /^\d+$/.test(text) ? Number(text) : 0
}

type KeyFinder = (command: readonly Argument[]) => readonly Argument[]

// What BY and GET of SORT read besides is made from patterns; in a cluster the server allows it only where the
// pattern's slot is the key's own.
const handWritten: ReadonlyMap<string, KeyFinder> = new Map<string, KeyFinder>([
  ['SORT', sortKeys],
  ['SORT_RO', (command) => some(command[1])],
  ['MIGRATE', migrateKeys],
])

function some(...keys: (Argument | undefined)[]): Argument[] {
  return keys.filter((key) => key !== undefined)
}

// SORT key [BY pattern] [LIMIT offset count] [GET pattern]… [ASC|DESC] [ALPHA] [STORE key]; the last STORE counts.
function sortKeys(command: readonly Argument[]): readonly Argument[] {
  let destination: Argument | undefined
  for (let at = 2; at < command.length; ) {
    if (isWord(command[at], 'LIMIT')) at += 3
    else if (isWord(command[at], 'BY') || isWord(command[at], 'GET')) at += 2
    else if (isWord(command[at], 'STORE')) {
      destination = command[at + 1] ?? destination
      at += 2
    } else at += 1
  }
  return some(command[1], destination)
}

// MIGRATE host port key|"" db timeout [COPY] [REPLACE] [AUTH password | AUTH2 user password] [KEYS key…]
function migrateKeys(command: readonly Argument[]): readonly Argument[] {
  const single = command[3]
  if (textOf(single) !== '') return some(single)
  for (let at = 6; at < command.length; ) {
    if (isWord(command[at], 'KEYS')) return command.slice(at + 1)
    if (isWord(command[at], 'AUTH')) at += 2
    else if (isWord(command[at], 'AUTH2')) at += 3
    else at += 1
  }
  return []
}
