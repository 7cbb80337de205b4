// The shape of the generated table. The servers describe where a command's keys are by specifications, each of
// which says where the search begins and how the keys are found from there:
// https://redis.io/docs/latest/develop/reference/key-specs/

/** A command or subcommand: its name in capitals, its bits, the number of its key layout. */
export type CommandRow = readonly [name: string, bits: number, layout: number]

/** The bits of a row: what the servers' flags `readonly`, `write` and `blocking` say. */
export const CommandBit = Object.freeze({ readOnly: 1, write: 2, blocking: 4 })

/** Where one group of keys begins: at a fixed argument, or behind a keyword sought from an argument on. */
export type KeyBegin = { readonly at: number } | { readonly after: string; readonly from: number }

/**
 * How many keys follow: up to `last`, counted from the first key or, below zero, from the command's end, where
 * `limit` 2 means the first half only; or as many as the argument at `countAt` says. Both offsets are from the
 * beginning.
 */
export type KeyFind =
  | { readonly last: number; readonly step: number; readonly limit?: number }
  | { readonly countAt: number; readonly first: number; readonly step: number }

/** One group of keys; `unknown` where the servers cannot describe it. */
export type KeySpec = (KeyBegin & KeyFind) | { readonly unknown: true }
