// Numbers of the wire, from their text to a value. Integers keep every digit: what a `number` cannot hold
// becomes a `bigint`. The decoder has a path of its own for short integers; this is the rest.

import { ProtocolError } from '../errors.ts'

const INTEGER = /^[+-]?\d+$/
const DOUBLE = /^[+-]?\d+(\.\d*)?([eE][+-]?\d+)?$/
/** 2^63 has 19 digits; a longer integer is no integer of the protocol. */
const MAX_INTEGER_DIGITS = 20

/** `:` [`+`|`-`] digits: 64 bits, signed. */
export function parseInteger(text: string): number | bigint {
  if (!INTEGER.test(text) || text.length > MAX_INTEGER_DIGITS) throw malformed('integer', text)
  const value = Number(text)
  // plus 0: an integer has no minus zero
  return Number.isSafeInteger(value) ? value + 0 : parseBigNumber(text)
}

/** `,` [`+`|`-`] digits [`.` digits] [`e` [sign] digits], or `inf`, `-inf`, `nan`. */
export function parseDouble(text: string): number {
  if (DOUBLE.test(text)) return Number(text)
  switch (text) {
    case 'inf':
    case '+inf':
      return Number.POSITIVE_INFINITY
    case '-inf':
      return Number.NEGATIVE_INFINITY
    case 'nan':
    case '-nan': // what some C libraries print
      return Number.NaN
    default:
      throw malformed('double', text)
  }
}

/** `(` [`+`|`-`] digits, as many as there are. */
export function parseBigNumber(text: string): bigint {
  if (!INTEGER.test(text)) throw malformed('big number', text)
  return BigInt(text.startsWith('+') ? text.slice(1) : text)
}

function malformed(kind: string, text: string): ProtocolError {
  return new ProtocolError('PROTOCOL_ERROR', `malformed ${kind}: ${JSON.stringify(text.slice(0, 40))}`)
}
