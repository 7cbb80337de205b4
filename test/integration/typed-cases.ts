// What the tables of typed commands are made of, and how a row of one is run.

import assert from 'node:assert/strict'
import type { Commands } from '../../lib/client/commands.gen.ts'
import type { Client, CommandView } from '../../lib/client/index.ts'
import type { Argument } from '../../lib/resp/index.ts'

/** The client or a view; rows are written for strings, and run for bytes, too. */
export type Typed = CommandView & Pick<Client, 'call'>

/** The oldest version of each server that a row holds for, 7.0 if nothing is said; a server not named never has it. */
export interface From {
  readonly redis?: string
  readonly valkey?: string
}

export interface Case {
  readonly name: keyof Commands
  readonly setup: readonly (readonly Argument[])[]
  readonly call: (redis: Typed) => Promise<unknown>
  /** The value, or a function that finds fault with it. */
  readonly expected: unknown
  readonly from?: From | undefined
  /** Only the kinds of values are the same from run to run: times, identities. */
  readonly varies?: boolean | undefined
}

/** A row: the method, commands before it, the call and what it gives. */
export function row(
  name: keyof Commands,
  setup: string,
  call: (redis: Typed) => Promise<unknown>,
  expected: unknown,
  more: { readonly from?: From; readonly varies?: boolean } = {},
): Case {
  const commands = setup.split(';').map((command) => command.trim())
  return {
    name,
    setup: commands.filter(Boolean).map((command) => command.split(/ +/)),
    call,
    expected,
    ...more,
  }
}

/** For a value that varies: `check` says whether it is right. */
export function suchThat(check: (value: never) => unknown): (value: unknown) => void {
  return (value) => assert.ok(check(value as never), `not so: ${check} of ${JSON.stringify(value)}`)
}

/** Objects without prototype as usual ones, so that they can be compared with literals. */
export function usual(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(usual)
  if (value === null || typeof value !== 'object' || Buffer.isBuffer(value) || value instanceof Error)
    return value
  assert.ok(!(value instanceof Map) && !(value instanceof Set), 'no value has a Map or a Set in it')
  return Object.fromEntries(Object.entries(value).map(([name, it]) => [name, usual(it)]))
}

/** The value with kinds in the place of what varies. */
export function kinds(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(kinds)
  if (value === null || Buffer.isBuffer(value)) return value === null ? null : 'bytes'
  if (typeof value !== 'object') return typeof value
  return Object.fromEntries(
    Object.entries(value).map(([name, it]) => [/^\d+$/.test(name) ? 'digits' : name, kinds(it)]),
  )
}

/** Whether `version` is that or a later one. */
export function isFrom(version: string, oldest: string): boolean {
  const [left, right] = [version.split('.').map(Number), oldest.split('.').map(Number)]
  for (let i = 0; i < 3; i += 1) {
    const difference = (left[i] ?? 0) - (right[i] ?? 0)
    if (difference !== 0) return difference > 0
  }
  return true
}
