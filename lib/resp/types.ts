// The vocabulary of the wire: the type bytes, what a command is made of, what a reply can be, and how
// large it may get. The only file of the library that knows the protocol's bytes.
//
// Specification: RESP2 and RESP3, https://redis.io/docs/latest/develop/reference/protocol-spec/
// and https://github.com/antirez/RESP3/blob/master/spec.md for streamed types and attributes.

import type { ReplyError } from '../errors.ts'

/** First byte of each element on the wire, and the bytes that frame it. */
export const Byte = {
  cr: 0x0d,
  lf: 0x0a,
  minus: 0x2d,
  plus: 0x2b,
  zero: 0x30,
  nine: 0x39,
  colon: 0x3a,
  question: 0x3f,

  simple: 0x2b, // +  RESP2
  error: 0x2d, // -
  integer: 0x3a, // :
  bulk: 0x24, // $
  array: 0x2a, // *
  null: 0x5f, // _  RESP3 from here
  double: 0x2c, // ,
  boolean: 0x23, // #
  bigNumber: 0x28, // (
  bulkError: 0x21, // !
  verbatim: 0x3d, // =
  map: 0x25, // %
  set: 0x7e, // ~
  push: 0x3e, // >
  attribute: 0x7c, // |
  chunk: 0x3b, // ;  a part of a streamed string
  end: 0x2e, // .  of a streamed aggregate
} as const

/** What a command is made of. Bytes are copied before the call returns and never changed. */
export type Argument = string | number | bigint | Uint8Array

/**
 * What a server can answer. Integers outside the safe range and big numbers are `bigint`; strings are
 * `Buffer` where bytes were asked for; an error inside an aggregate is a value.
 */
export type Reply =
  | string
  | number
  | bigint
  | boolean
  | null
  | Buffer
  | ReplyError
  | Reply[]
  | Map<Reply, Reply>
  | Set<Reply>

/** Bounds of what a decoder accepts. Beyond one of them it throws `PROTOCOL_LIMIT`. */
export interface DecoderLimits {
  /** Bytes of one string or error of any kind. @default 536870912, the servers' own `proto-max-bulk-len` */
  readonly maxBulkBytes: number
  /** Elements of one aggregate. @default 134217728: room for KEYS on a very large database */
  readonly maxItems: number
  /** Aggregates open at once. @default 128: replies of real servers nest less than 10 deep */
  readonly maxDepth: number
  /** Bytes of a number or a length. @default 65536, the servers' own inline limit */
  readonly maxLineBytes: number
}

export const defaultLimits: DecoderLimits = Object.freeze({
  maxBulkBytes: 512 * 1024 * 1024,
  maxItems: 2 ** 27,
  maxDepth: 128,
  maxLineBytes: 64 * 1024,
})
