// What typed commands reply where it is more than a number, a string or an array of them. `T` is what bulk strings are:
// `string`, or `Buffer` in a view with `replies: 'buffer'`. Names that the servers gave to fields are kept as they are.
// Types only; objects have no prototype, so that a field named `__proto__` is a field.

/** A table by names that users chose: an object of its fields; of bytes, an array of pairs, since keys are strings. */
export type Table<T, V> = T extends string ? Record<string, V> : [name: T, value: V][]

/** Fields and values: `{ field: value }`, or `[field, value][]` of bytes. */
export type Hash<T> = Table<T, T>

/** A member of a sorted set, and its score. */
export type Scored<T> = [member: T, score: number]

/** Degrees: longitude, latitude. */
export type Position = [longitude: number, latitude: number]

/** A member of a geographical set, with what was asked for by WITHDIST, WITHHASH, WITHCOORD. */
export interface Place<T> {
  member: T
  /** In the unit of the command. */
  distance?: number
  hash?: number
  position?: Position
}

/** An entry of a stream. Of a field that it has twice, the last; as bytes, all in their order. */
export interface StreamEntry<T> {
  id: T
  fields: Hash<T>
}

/** What XREAD found in one stream. */
export interface StreamEntries<T> {
  key: T
  entries: StreamEntry<T>[]
}

/** What XREADGROUP delivers of one stream; `fields` is null if the entry was deleted since its first delivery. */
export interface StreamDeliveries<T> {
  key: T
  entries: { id: T; fields: Hash<T> | null }[]
}

/** Deliveries that were not acknowledged, all together; `min` and `max` are null if there are none. */
export interface PendingSummary<T> {
  count: number
  min: T | null
  max: T | null
  consumers: [consumer: T, count: number][]
}

/** A delivery that was not acknowledged. */
export type PendingEntry<T> = [id: T, consumer: T, idleMilliseconds: number, deliveries: number]

/** XINFO STREAM. */
export interface XinfoStream<T> {
  length: number
  'radix-tree-keys': number
  'radix-tree-nodes': number
  'last-generated-id': T
  'max-deleted-entry-id': T
  'entries-added': number
  'recorded-first-entry-id': T
  groups: number
  'first-entry': StreamEntry<T> | null
  'last-entry': StreamEntry<T> | null
}

/** XINFO STREAM key FULL. */
export interface XinfoStreamFull<T> extends Omit<XinfoStream<T>, 'groups' | 'first-entry' | 'last-entry'> {
  entries: StreamEntry<T>[]
  groups: {
    name: T
    'last-delivered-id': T
    'entries-read': number | null
    lag: number | null
    'pel-count': number
    pending: [id: T, consumer: T, deliveredAt: number, deliveries: number][]
    consumers: {
      name: T
      'seen-time': number
      /** Since Redis 7.2. */
      'active-time'?: number
      'pel-count': number
      pending: [id: T, deliveredAt: number, deliveries: number][]
    }[]
  }[]
}

/** XINFO GROUPS. */
export interface XinfoGroup<T> {
  name: T
  consumers: number
  pending: number
  'last-delivered-id': T
  'entries-read': number | null
  lag: number | null
}

/** XINFO CONSUMERS. Times are milliseconds; `inactive` since Redis 7.2. */
export interface XinfoConsumer<T> {
  name: T
  pending: number
  idle: number
  inactive?: number
}

/** LCS … IDX. With WITHMATCHLEN, each match has its length, too. */
export interface LcsMatches {
  matches: [inFirst: [from: number, to: number], inSecond: [from: number, to: number], length?: number][]
  len: number
}

/** ACL GETUSER, as servers give it since Redis 7.0. `databases` since Valkey 9.1. */
export interface AclUser<T> {
  flags: T[]
  passwords: T[]
  commands: T
  keys: T
  channels: T
  databases?: T
  selectors: { commands: T; keys: T; channels: T; databases?: T }[]
}

/** FUNCTION LIST. `library_code` with WITHCODE. */
export interface FunctionLibrary<T> {
  library_name: T
  engine: T
  functions: { name: T; description: T | null; flags: string[] }[]
  library_code?: T
}

/** FUNCTION STATS. */
export interface FunctionStats<T> {
  running_script: { name: T; command: T[]; duration_ms: number } | null
  engines: Record<string, { libraries_count: number; functions_count: number }>
}

/** CLIENT TRACKINGINFO. `redirect` is -1 if tracking is off. */
export interface TrackingInfo<T> {
  flags: T[]
  redirect: number
  prefixes: T[]
}

/** SLOWLOG GET, COMMANDLOG GET. */
export type SlowCommand<T> = [
  id: number,
  unixTime: number,
  microsecondsOrBytes: number,
  args: T[],
  clientAddress: T,
  clientName: T,
]

/** LATENCY LATEST; later servers add to it. */
export type LatencyEvent<T> = [event: T, unixTime: number, latest: number, max: number, ...more: number[]]

/** LATENCY HISTOGRAM: how many calls took at most so many microseconds. */
export interface LatencyHistogram {
  calls: number
  histogram_usec: Record<string, number>
}

/** A node that serves slots: address, port, identity, and what else is known. */
export type ClusterNode<T> = [host: T | null, port: number, id: T, more: Record<string, T>]

/** CLUSTER SHARDS. `slots` are first and last of each range, one behind the other. */
export interface ClusterShard<T> {
  slots: number[]
  nodes: Record<string, T | number>[]
  /** Of the shard; Valkey 9 tells it. */
  id?: T
}

/** COMMAND, COMMAND INFO. */
export type CommandInfo<T> = [
  name: T,
  arity: number,
  flags: string[],
  firstKey: number,
  lastKey: number,
  step: number,
  categories: string[],
  tips: T[],
  keySpecifications: Record<string, unknown>[],
  subcommands: CommandInfo<T>[],
]

/** COMMAND DOCS, of one command. */
export interface CommandDocs<T> {
  summary: T
  since: T
  group: T
  complexity?: T
  doc_flags?: string[]
  deprecated_since?: T
  replaced_by?: T
  history?: [version: T, change: T][]
  arguments?: CommandArgument<T>[]
  subcommands?: Record<string, CommandDocs<T>>
  [more: string]: unknown
}

/** COMMAND DOCS, an argument. */
export interface CommandArgument<T> {
  name: T
  type: T
  token?: T
  flags?: string[]
  arguments?: CommandArgument<T>[]
  [more: string]: unknown
}
