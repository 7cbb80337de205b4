// What a command does to the state of the connection it is sent on: state that outlives the command, that
// another user of the connection would find there, and that a lease therefore undoes or pays for with the
// connection. After redigo's commandinfo.go, with the states that servers have gained since.
//
// A state is a set of bits. An effect is judged from the command alone, before its reply: what it sets is set
// whatever the reply will be; what it clears counts on the reply being no error.

import type { Argument } from '../resp/index.ts'
import { type Description, describe, isWord } from './lookup.ts'
import { CommandBit } from './row.ts'
import { commandRows } from './table.gen.ts'

/** The bits of a connection's state: how it may differ from one that was just dialed. */
export const StateBit = Object.freeze({
  /** Keys are watched. */
  watch: 1,
  /** A transaction is open; commands are queued. */
  multi: 2,
  /** Subscribed to channels or patterns. */
  subscribe: 4,
  /** Subscribed to shard channels. */
  shard: 8,
  /** Told every command that the server executes. */
  monitor: 16,
  /** Another database may be selected. */
  select: 32,
  /** Another user may be authenticated. */
  auth: 64,
  /** Another version of the protocol may be spoken. */
  protocol: 128,
  /** The keys it reads are tracked. */
  tracking: 256,
  /** Replies are switched off, all or the next one. */
  reply: 512,
  /** It may have another name. */
  name: 1024,
  /** Exempt from the eviction of clients. */
  evict: 2048,
  /** Reads from a replica of a cluster are allowed. */
  readonly: 4096,
  /** Its commands do not count as uses of a key. */
  touch: 8192,
  /** The next command may use a slot that is being imported. */
  asking: 16_384,
  /** The server was told of abilities, such as to follow redirects. */
  capability: 32_768,
  /** It is the source of an import of data. */
  importing: 65_536,
  /** It does not serve commands any more: a replica's link, or the debugger of scripts. */
  hijacked: 131_072,
  /** The server was asked to close it. */
  closing: 262_144,
})

/** One of the names of {@link StateBit}. */
export type ConnectionState = keyof typeof StateBit

/** Bits of {@link StateBit} that a command sets and clears; never the same bit in both. */
export interface ConnectionEffect {
  readonly sets: number
  readonly clears: number
}

/**
 * What the command sets and clears in the state of its connection; undefined for the many that do neither. An
 * effect of no bits at all is one too: `UNSUBSCRIBE` changes the connection, but nothing becomes certain by it.
 *
 * The values returned are shared and frozen.
 */
export function connectionEffect(command: readonly Argument[]): ConnectionEffect | undefined {
  const known = describe(command)
  if (known === undefined) return undefined
  const effect = effects.get(known.name)
  return typeof effect === 'function' ? effect(command) : effect
}

/**
 * Whether the command is one of the great majority: known, without effect on its connection, and never blocking.
 * What every command is asked on its way, so it costs one access to a set; names in mixed case or as bytes, and
 * containers such as `CLIENT`, are never ordinary and are looked at in full.
 */
export function isOrdinary(command: readonly Argument[]): boolean {
  ordinaryBits ??= bitsOfOrdinary()
  return ordinaryBits.has(command[0])
}

/**
 * Of an {@link isOrdinary} command whether it is {@link isReadOnly} too, for the price of the one question; of all
 * others `undefined`.
 */
export function isOrdinaryRead(command: readonly Argument[]): boolean | undefined {
  ordinaryBits ??= bitsOfOrdinary()
  const bits = ordinaryBits.get(command[0])
  return bits === undefined ? undefined : (bits & CommandBit.readOnly) !== 0
}

/** Whether the command needs a connection of its own: whoever shared it would get its effect too. */
export function isStateful(command: readonly Argument[]): boolean {
  return connectionEffect(command) !== undefined
}

/**
 * The state after the command, given the state before it. Knows what a single effect cannot: `EXEC` and `DISCARD`
 * outside of a transaction are errors that leave watched keys watched, and within one, all else is only queued, so
 * that nothing is cleared yet.
 */
export function stateAfter(state: number, command: readonly Argument[]): number {
  const effect = connectionEffect(command)
  if (effect === undefined) return state
  const isOpen = (state & StateBit.multi) !== 0
  const clearsNow = effect === reset || isOpen === (effect === endOfTransaction)
  return clearsNow ? (state | effect.sets) & ~effect.clears : state | effect.sets
}

/** Whether RESET, and the handshake again, put back all of this state. */
export function isUndoneByReset(state: number): boolean {
  return (state & ~undoneByReset) === 0
}

type Effect = ConnectionEffect | ((command: readonly Argument[]) => ConnectionEffect | undefined)

const nothing = effect(0, 0)
const endOfTransaction = effect(0, StateBit.watch | StateBit.multi)
// Read off the servers: what RESET puts back. Redis 7.0 leaves NO-EVICT on, and all leave CAPA. What the dialer
// itself had set up, as the database, is gone with the rest: so those bits are set.
const reset = effect(
  StateBit.select | StateBit.auth | StateBit.protocol | StateBit.name,
  StateBit.watch |
    StateBit.multi |
    StateBit.subscribe |
    StateBit.shard |
    StateBit.monitor |
    StateBit.tracking |
    StateBit.reply |
    StateBit.readonly |
    StateBit.touch |
    StateBit.asking,
)

// With replies off, those that are owed never come, and RESET behind them is in vain.
const undoneByReset = (reset.sets | reset.clears) & ~StateBit.reply

const effects: ReadonlyMap<Description['name'], Effect> = new Map<string, Effect>([
  ['WATCH', effect(StateBit.watch, 0)],
  ['UNWATCH', exactly(1, effect(0, StateBit.watch))],
  ['MULTI', effect(StateBit.multi, 0)],
  ['EXEC', exactly(1, endOfTransaction)],
  ['DISCARD', exactly(1, endOfTransaction)],
  ['SUBSCRIBE', effect(StateBit.subscribe, 0)],
  ['PSUBSCRIBE', effect(StateBit.subscribe, 0)],
  ['SSUBSCRIBE', effect(StateBit.shard, 0)],
  // Whether anything is left of the subscriptions, only the replies tell.
  ['UNSUBSCRIBE', nothing],
  ['PUNSUBSCRIBE', nothing],
  ['SUNSUBSCRIBE', nothing],
  ['MONITOR', effect(StateBit.monitor, 0)],
  ['SELECT', effect(StateBit.select, 0)],
  ['AUTH', effect(StateBit.auth, 0)],
  ['HELLO', hello],
  ['RESET', exactly(1, reset)],
  ['QUIT', effect(StateBit.closing, 0)],
  ['CLIENT SETNAME', effect(StateBit.name, 0)],
  ['CLIENT TRACKING', toggle(StateBit.tracking, 'OFF')],
  ['CLIENT CACHING', effect(StateBit.tracking, 0)],
  ['CLIENT REPLY', toggle(StateBit.reply, 'ON')],
  ['CLIENT NO-EVICT', toggle(StateBit.evict, 'OFF')],
  ['CLIENT NO-TOUCH', toggle(StateBit.touch, 'OFF')],
  ['CLIENT CAPA', effect(StateBit.capability, 0)],
  ['CLIENT IMPORT-SOURCE', toggle(StateBit.importing, 'OFF')],
  ['READONLY', effect(StateBit.readonly, 0)],
  ['READWRITE', exactly(1, effect(0, StateBit.readonly))],
  ['ASKING', effect(StateBit.asking, 0)],
  ['SYNC', effect(StateBit.hijacked, 0)],
  ['PSYNC', effect(StateBit.hijacked, 0)],
  ['REPLCONF', effect(StateBit.hijacked, 0)],
  ['CLUSTER SYNCSLOTS', effect(StateBit.hijacked, 0)],
  ['SCRIPT DEBUG', effect(StateBit.hijacked, 0)],
])

function effect(sets: number, clears: number): ConnectionEffect {
  return Object.freeze({ sets, clears })
}

// A command that clears, with arguments it does not take, is an error that clears nothing.
function exactly(length: number, cleared: ConnectionEffect): Effect {
  return (command) => (command.length === length ? cleared : nothing)
}

// CLIENT TRACKING|REPLY|NO-EVICT|… ON|OFF: one of the words puts the connection back, all else may change it.
function toggle(bit: number, offWord: string): Effect {
  const on = effect(bit, 0)
  const off = effect(0, bit)
  return (command) => (command.length === 3 && isWord(command[2], offWord) ? off : on)
}

// HELLO [version [AUTH user password] [SETNAME name]]. Without a version it only tells about the server.
function hello(command: readonly Argument[]): ConnectionEffect | undefined {
  if (command.length === 1) return undefined
  let sets: number = StateBit.protocol
  for (let at = 2; at < command.length; ) {
    if (isWord(command[at], 'AUTH')) {
      sets |= StateBit.auth
      at += 3
    } else if (isWord(command[at], 'SETNAME')) {
      sets |= StateBit.name
      at += 2
    } else at += 1
  }
  return effect(sets, 0)
}

/** Made by the first question, as the table of `describe()` is. */
let ordinaryBits: ReadonlyMap<unknown, number> | undefined

/** Of the ordinary commands, in capitals and in small letters, their bits. */
function bitsOfOrdinary(): ReadonlyMap<unknown, number> {
  const containers = new Set(
    commandRows.filter(([name]) => name.includes(' ')).map(([name]) => name.slice(0, name.indexOf(' '))),
  )
  return new Map(
    commandRows
      .filter(
        ([name, bits]) => !name.includes(' ') && !effects.has(name) && (bits & CommandBit.blocking) === 0,
      )
      .filter(([name]) => !containers.has(name))
      .flatMap(([name, bits]) => [[name, bits] as const, [name.toLowerCase(), bits] as const]),
  )
}
