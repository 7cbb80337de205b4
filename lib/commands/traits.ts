// What a command is: its name, and whether it reads, writes or blocks. By the servers' own flags alone; where the
// versions differ, the table holds the careful answer.

import type { Argument } from '../resp/index.ts'
import { describe, isWord, textOf } from './lookup.ts'
import { CommandBit } from './row.ts'

// Longer than any command's name, short enough for an error message.
const shownNameLength = 40

/**
 * The command's name in capitals, with its subcommand where the table has one: `GET`, `CLIENT SETNAME`. Of a
 * command that the table does not have, the first argument in capitals, cut after 40 characters; of an empty
 * command, the empty string. Never contains another argument.
 */
export function commandName(command: readonly Argument[]): string {
  const known = describe(command)
  if (known !== undefined) return known.name
  const name = textOf(command[0])
  return name.length > shownNameLength
    ? `${name.slice(0, shownNameLength).toUpperCase()}…`
    : name.toUpperCase()
}

/**
 * Whether the command may go to a replica: every server that knows it flags it `readonly`. False for unknown
 * commands, and for those that touch no key and carry no such flag, as `PING` and `PUBLISH`.
 */
export function isReadOnly(command: readonly Argument[]): boolean {
  return ((describe(command)?.bits ?? 0) & CommandBit.readOnly) !== 0
}

/**
 * Whether a server flags the command `write`. False for unknown commands, and for those that write without the
 * flag, as `EVAL` and `PUBLISH`: what is not {@link isReadOnly} has to be taken for a write where that matters.
 */
export function isWrite(command: readonly Argument[]): boolean {
  return ((describe(command)?.bits ?? 0) & CommandBit.write) !== 0
}

/** Whether the server may hold back the reply for as long as the command's own timeout says. */
export function isBlocking(command: readonly Argument[]): boolean {
  const known = describe(command)
  if (known === undefined || (known.bits & CommandBit.blocking) === 0) return false
  return known.name.startsWith('XREAD') ? blockOption(command) !== undefined : true
}

/**
 * The milliseconds after which a blocking command gives up by itself; 0 means never. Undefined for commands that
 * do not block, and where the timeout is missing or no number that is zero or more: the server will refuse those.
 */
export function blockingTimeout(command: readonly Argument[]): number | undefined {
  const known = describe(command)
  if (known === undefined || (known.bits & CommandBit.blocking) === 0) return undefined
  switch (known.name) {
    case 'XREAD': // XREAD [COUNT n] [BLOCK ms] STREAMS key… id…
    case 'XREADGROUP': // XREADGROUP GROUP group consumer [COUNT n] [BLOCK ms] [CLAIM ms] [NOACK] STREAMS key… id…
      return milliseconds(blockOption(command), 1)
    case 'WAIT': // WAIT numreplicas ms
      return milliseconds(command[2], 1)
    case 'WAITAOF': // WAITAOF numlocal numreplicas ms
      return milliseconds(command[3], 1)
    case 'BLMPOP': // BLMPOP seconds numkeys key… LEFT|RIGHT [COUNT n]
    case 'BZMPOP': // BZMPOP seconds numkeys key… MIN|MAX [COUNT n]
      return milliseconds(command[1], 1000)
    default: // BLPOP key… seconds; BLMOVE source destination LEFT|RIGHT LEFT|RIGHT seconds
      return command.length > 2 ? milliseconds(command.at(-1), 1000) : undefined
  }
}

// The argument behind BLOCK. Options are skipped one by one, so that a group, a consumer or a key named "block"
// or "streams" is not taken for the word.
function blockOption(command: readonly Argument[]): Argument | undefined {
  for (let at = 1; at < command.length; ) {
    const option = command[at]
    if (isWord(option, 'BLOCK')) return command[at + 1]
    if (isWord(option, 'STREAMS')) return undefined
    if (isWord(option, 'GROUP')) at += 3
    else if (isWord(option, 'COUNT') || isWord(option, 'CLAIM')) at += 2
    else at += 1
  }
  return undefined
}

function milliseconds(argument: Argument | undefined, unitMs: number): number | undefined {
  const text = textOf(argument)
  // Not by Number() alone, to which '' and ' ' are zero.
  if (!/^\+?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(text)) return undefined
  const value = Number(text) * unitMs
  if (!Number.isFinite(value)) return undefined
  // The servers round a fraction of a millisecond up: the shortest wait is not an endless one.
  return value === 0 ? 0 : Math.max(1, Math.round(value))
}
