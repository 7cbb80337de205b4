// What each typed command makes of its reply, so that the value is the same whichever protocol is spoken. The names are
// those of scripts/data/replies.js, which says which command has which. A command that is not named there, or is
// `asIs`, has no shape: both protocols give the same, and it costs nothing.
//
// A shape is chosen when the command is called, by its arguments: the caller may change them afterwards.

import { isWord } from '../commands/index.ts'
import type { Argument, Reply } from '../resp/index.ts'
import {
  bit,
  double,
  fields,
  list,
  listOf,
  pairs,
  record,
  recordOf,
  type Shape,
  scored,
  text,
  tuple,
} from './replies-basic.ts'
import type { Place, Position } from './replies-types.ts'

/** Chooses the shape of a command's reply. @param asBytes whether strings in it are `Buffer` */
export type Shaper = (command: readonly Argument[], asBytes: boolean) => Shape | undefined

/** entry = id, (field, value, …) or null if it was deleted; the id alone with JUSTID */
function entry(reply: Reply): unknown {
  if (!Array.isArray(reply)) return reply
  const [id, content] = reply
  return { id, fields: Array.isArray(content) ? hashOf(content) : content }
}

const entries = listOf(entry)

// An entry has a field at least, whose name tells bytes from text.
function hashOf(content: Reply[]): unknown {
  return typeof content[0] === 'string' ? record(content) : pairs(content)
}

/** XREAD = (key, entries)… as a map in RESP3, as pairs in RESP2 */
function streams(reply: Reply): unknown {
  const found = pairs(reply)
  return Array.isArray(found) ? found.map(([key, content]) => ({ key, entries: entries(content) })) : found
}

/** XAUTOCLAIM = next id, entries, ids of deleted ones */
function autoClaimed(reply: Reply): unknown {
  if (!Array.isArray(reply)) return reply
  const [next, claimed = [], deleted = []] = reply
  return [next, entries(claimed), deleted]
}

/** XPENDING key group = count, least id, greatest id, (consumer, count as a string)… or null */
function pendingSummary(reply: Reply): unknown {
  if (!Array.isArray(reply)) return reply
  const [count, min, max, consumers] = reply
  return { count, min, max, consumers: consumers === null ? [] : scored(consumers ?? []) }
}

const xinfoGroup = fields({ consumers: listOf(record) })
const xinfoStream = fields({
  'first-entry': entry,
  'last-entry': entry,
  // with FULL, instead of these
  entries,
  // without FULL, their number
  groups: listOf(xinfoGroup),
})

/** position = longitude, latitude */
const position = tuple(double, double)

/** place = member, or (member, distance as a string?, hash?, position?) */
function place(reply: Reply): unknown {
  if (!Array.isArray(reply)) return reply
  const [member, ...more] = reply
  const result: Partial<Place<unknown>> = { member }
  for (const value of more) {
    if (Array.isArray(value)) result.position = position(value) as Position
    else if (typeof value === 'number') result.hash = value
    else result.distance = double(value) as number
  }
  return result
}

/** The cursor is text, whatever else is bytes. */
function scanned(reply: Reply): unknown {
  if (Array.isArray(reply)) reply[0] = text(reply[0] as Reply)
  return reply
}

const scannedPairs = tuple(text, pairs)
const scannedScored = tuple(text, scored)

/** ZPOPMIN key = member, score; or nothing */
function memberScore(reply: Reply): unknown {
  if (!Array.isArray(reply)) return reply
  return reply.length === 0 ? null : [reply[0], double(reply[1] as Reply)]
}

const slotNode = tuple(undefined, undefined, undefined, record)

/** CLUSTER SLOTS = (first slot, last slot, (host, port, id, more)…)… */
function slotRange(reply: Reply): unknown {
  return Array.isArray(reply) ? reply.map((item, at) => (at < 2 ? item : slotNode(item))) : reply
}

const names = listOf(text)

const keySpecification = fields({
  flags: names,
  begin_search: fields({ spec: record }),
  find_keys: fields({ spec: record }),
})

/** COMMAND = (name, arity, flags, first, last, step, categories, tips, key specifications, subcommands)… */
const commandInfo: Shape = tuple(
  undefined,
  undefined,
  names,
  undefined,
  undefined,
  undefined,
  names,
  list,
  listOf(keySpecification),
  listOf((reply) => commandInfo(reply)),
)

const commandArgument: Shape = fields({ flags: names, arguments: listOf((reply) => commandArgument(reply)) })
const commandDoc: Shape = fields({
  history: list,
  doc_flags: names,
  arguments: listOf(commandArgument),
  subcommands: recordOf((reply) => commandDoc(reply)),
})

/** MEMORY STATS: numbers, some of them doubles, and such maps of numbers. */
function figures(reply: Reply): unknown {
  return Array.isArray(reply) || reply instanceof Map ? recordOf(figures)(reply) : double(reply)
}

function always(shape: Shape): Shaper {
  return () => shape
}

/** By whether the command has the word as an option, from the given place on. */
function ifWord(word: string, from: number, shape: Shape, otherwise?: Shape): Shaper {
  return (command) => (hasWord(command, word, from) ? shape : otherwise)
}

function hasWord(command: readonly Argument[], word: string, from: number): boolean {
  for (let at = from; at < command.length; at += 1) {
    if (isWord(command[at], word)) return true
    if (isWord(command[at], 'MATCH')) at += 1 // a pattern may be any word
  }
  return false
}

/** The shapes by their names; the functions are shared and have no state. */
export const shapers = Object.freeze({
  asIs: undefined,
  list: always(list),
  double: always(double),
  doubles: always(listOf(double)),
  record: always(record),
  records: always(listOf(record)),
  hash: (_, asBytes) => (asBytes ? pairs : record),
  // ZUNION numkeys key… [WEIGHTS …] [AGGREGATE …] [WITHSCORES]
  scoredOfMany: (command) => (hasWord(command, 'WITHSCORES', 2 + Number(command[1])) ? scored : undefined),
  scored: ifWord('WITHSCORES', 4, scored),
  poppedScores: (command) => (command.length > 2 ? scored : memberScore),
  poppedFromKey: always(tuple(undefined, scored)),
  keyMemberScore: always(tuple(undefined, undefined, double)),
  rank: always(tuple(undefined, double)),
  randomMembers: (command) => (command.length > 3 ? scored : undefined),
  randomFields: (command) => (command.length > 3 ? pairs : undefined),
  scanned: (_, asBytes) => (asBytes ? scanned : undefined),
  scannedHash: ifWord('NOVALUES', 3, scanned, scannedPairs),
  scannedScores: ifWord('NOSCORES', 3, scanned, scannedScored),
  positions: always(listOf(position)),
  places: always(listOf(place)),
  entries: always(entries),
  streams: always(streams),
  autoClaimed: always(autoClaimed),
  pending: (command) => (command.length > 3 ? undefined : pendingSummary),
  xinfoStream: always(xinfoStream),
  lcs: ifWord('IDX', 3, record),
  bit: always(bit),
  // VEMB key element [RAW]: with it, the kind, the bytes, and one or two numbers
  vector: (command) => (command.length > 3 ? tuple(undefined, undefined, double, double) : listOf(double)),
  vectorLinks: (command) => (command.length > 3 ? listOf(scored) : undefined),
  // VSIM key ELE element | FP32 vector | VALUES num number… [WITHSCORES] …
  similar: (command) => {
    const from = isWord(command[2], 'VALUES') ? 4 + Number(command[3]) : 4
    return hasWord(command, 'WITHSCORES', from) ? scored : undefined
  },
  aclUser: always(fields({ flags: list, selectors: listOf(record) })),
  aclLog: always(listOf(fields({ 'age-seconds': double }))),
  trackingInfo: always(fields({ flags: list, prefixes: list })),
  functionList: always(listOf(fields({ functions: listOf(fields({ flags: names })) }))),
  functionStats: always(fields({ running_script: record, engines: recordOf(record) })),
  memoryStats: always(figures),
  latencyHistogram: always(recordOf(fields({ histogram_usec: record }))),
  commandInfos: always(listOf(commandInfo)),
  commandDocs: always(recordOf(commandDoc)),
  keysAndFlags: always(listOf(tuple(undefined, names))),
  clusterShards: always(listOf(fields({ nodes: listOf(record) }))),
  clusterSlots: always(listOf(slotRange)),
  slotStats: always(listOf(tuple(undefined, record))),
} satisfies Record<string, Shaper | undefined>)

/** What is done to a reply, by name. */
export type ShapeName = keyof typeof shapers
