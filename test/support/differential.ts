// One wire, two decoders: that of lib/resp, which gets it in pieces, and the reference, which has it whole.

import assert from 'node:assert/strict'
import { ProtocolError, ReplyError } from '../../lib/errors.ts'
import { Decoder, type DecoderLimits, type Reply } from '../../lib/resp/index.ts'
import type { Decoded } from './decode.ts'
import { type Reading, readByReference } from './reference-decoder.ts'

/** Small enough for a random wire to meet each of them. */
export const tightLimits: DecoderLimits = { maxBulkBytes: 40, maxItems: 12, maxDepth: 5, maxLineBytes: 24 }

export interface Comparison {
  readonly asBytes: boolean
  readonly limits: DecoderLimits
  /** Where the wire is cut, ascending; the same place twice gives an empty piece. */
  readonly cuts: readonly number[]
}

/**
 * Compares both, value by value and in how they end.
 *
 * @returns what the reference made of it
 * @throws {AssertionError} they differ, or the decoder breaks a promise of its own
 */
export function compareDecoders(wire: Buffer, { asBytes, limits, cuts }: Comparison): Reading {
  const expected = readByReference(wire, limits, asBytes)
  const pieces = [0, ...cuts].map((from, i) => wire.subarray(from, cuts[i] ?? wire.length))
  const actual = readInPieces(pieces, limits, asBytes)
  const told = () =>
    `${JSON.stringify(wire.toString('latin1'))}, cut at [${cuts}], ${asBytes ? 'bytes' : 'text'}`
  assert.equal(shown(actual), shown(expected), told())
  return expected
}

/** Lends each piece from memory that is overwritten afterwards, as a socket's is. */
function readInPieces(pieces: readonly Buffer[], limits: DecoderLimits, asBytes: boolean): Reading {
  const decoder = new Decoder(limits)
  const lent = Buffer.alloc(Math.max(0, ...pieces.map((piece) => piece.length)))
  const decoded: Decoded[] = []
  let arrived = 0
  try {
    for (const piece of pieces) {
      piece.copy(lent)
      arrived += piece.length
      decoder.feed(lent, piece.length)
      for (let value = decoder.next(asBytes); value !== undefined; value = decoder.next(asBytes)) {
        decoded.push({ value, isPush: decoder.isPush, attributes: [...decoder.attributes] })
        assert.ok(decoded.length * 3 <= arrived, 'a reply has three bytes at least')
      }
      assert.ok(decoder.heldBytes >= 0 && decoder.heldBytes <= arrived, `${decoder.heldBytes} bytes are held`)
      lent.fill('#')
    }
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error
    assert.throws(
      () => decoder.next(),
      (again) => again === error,
      'the decoder is spent',
    )
    return { decoded, end: error.code as 'PROTOCOL_ERROR' }
  }
  return { decoded, end: decoder.heldBytes === 0 && isBetweenReplies(decoder) ? 'whole' : 'incomplete' }
}

/** A reply that is fed now comes out as it is. */
function isBetweenReplies(decoder: Decoder): boolean {
  decoder.feed(Buffer.from('>1\r\n#t\r\n'))
  try {
    const value = decoder.next()
    return Array.isArray(value) && value[0] === true && decoder.isPush && decoder.attributes.length === 0
  } catch (error) {
    if (error instanceof ProtocolError) return false // a push within another reply
    throw error
  }
}

function shown({ decoded, end }: Reading): string {
  const lines = decoded.map(({ value, isPush, attributes }) => {
    const about = attributes.map((it) => `|${showValue(it)}`).join(' ')
    return `${about}${isPush ? '>' : ' '}${showValue(value)}`
  })
  return [...lines, end].join('\n')
}

/** A value as text in which any two that differ differ: by type, order, sign of zero. */
export function showValue(value: Reply): string {
  if (typeof value === 'string') return JSON.stringify(value)
  if (typeof value === 'number') return Object.is(value, -0) ? '-0' : String(value)
  if (typeof value === 'bigint') return `${value}n`
  if (value === null || typeof value === 'boolean') return String(value)
  if (Buffer.isBuffer(value)) return `<${value.toString('hex')}>`
  if (value instanceof ReplyError) return `error(${JSON.stringify([value.message, value.prefix])})`
  if (Array.isArray(value)) return `[${value.map(showValue).join()}]`
  if (value instanceof Set) return `set(${[...value].map(showValue).join()})`
  return `map(${[...value].map(([key, item]) => `${showValue(key)}=>${showValue(item)}`).join()})`
}
