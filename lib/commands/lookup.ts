// From a command's arguments to what the table says of it.
//
// Every command that passes through the library is looked up, so the usual spellings cost one access to a map:
// it holds each name in capitals and in small letters, and only other spellings are converted first.

import type { Argument } from '../resp/index.ts'
import type { CommandRow, KeySpec } from './row.ts'
import { commandRows, keyLayouts } from './table.gen.ts'

/** What the table says of one command or subcommand. */
export interface Description {
  /** In capitals; a subcommand's with its container's: `CLIENT SETNAME`. */
  readonly name: string
  readonly bits: number
  readonly keySpecs: readonly KeySpec[]
  /** Of a container such as `CLIENT`: its subcommands, by either spelling of their own names. */
  readonly subcommands: ReadonlyMap<string, Description> | undefined
}

/** Made by the first look-up: it is a tenth of what the import of the library would cost. */
let byName: ReadonlyMap<string, Description> | undefined
let longestName = 0

/** What the table says of a command; of a container, what it says of the subcommand that the arguments name. */
export function describe(command: readonly Argument[]): Description | undefined {
  const found = find(byName ?? prepare(), command[0])
  if (found?.subcommands === undefined) return found
  return find(found.subcommands, command[1]) ?? found
}

/** The text of an argument, as the server will read it where it expects a word or a number. */
export function textOf(argument: Argument | undefined): string {
  if (typeof argument === 'string') return argument
  if (!(argument instanceof Uint8Array)) return argument === undefined ? '' : String(argument)
  // One character a byte is enough: no word of the protocol goes beyond ASCII.
  return Buffer.from(argument.buffer, argument.byteOffset, argument.byteLength).toString('latin1')
}

/** Whether an argument is the given word, which is in capitals, in any spelling. */
export function isWord(argument: Argument | undefined, word: string): boolean {
  if (argument === word) return true
  if (typeof argument === 'string' || argument instanceof Uint8Array) {
    return argument.length === word.length && textOf(argument).toUpperCase() === word
  }
  return false
}

function find(names: ReadonlyMap<string, Description>, name: Argument | undefined): Description | undefined {
  if (typeof name === 'string') {
    const found = names.get(name)
    if (found !== undefined) return found
  } else if (!(name instanceof Uint8Array)) {
    return undefined
  }
  // What is longer than any name is not converted, however long it is.
  return name.length > longestName ? undefined : names.get(textOf(name).toUpperCase())
}

function prepare(): ReadonlyMap<string, Description> {
  byName = index(commandRows)
  longestName = commandRows.reduce((longest, [name]) => Math.max(longest, name.length), 0)
  return byName
}

function index(rows: readonly CommandRow[]): Map<string, Description> {
  const containers = new Map<string, Map<string, Description>>()
  for (const [name] of rows) {
    const space = name.indexOf(' ')
    if (space > 0) containers.set(name.slice(0, space), new Map())
  }
  const names = new Map<string, Description>()
  for (const [name, bits, layout] of rows) {
    const subcommands = containers.get(name)
    const description = { name, bits, keySpecs: keyLayouts[layout] ?? [], subcommands }
    const space = name.indexOf(' ')
    const siblings = space < 0 ? names : containers.get(name.slice(0, space))
    const own = name.slice(space + 1)
    siblings?.set(own, description)
    siblings?.set(own.toLowerCase(), description)
  }
  return names
}
