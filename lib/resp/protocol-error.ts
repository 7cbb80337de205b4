// What a decoder says of a peer that breaks the protocol or a limit. Never more of the peer's bytes than it takes
// to tell what went wrong: they may be secrets.

import { ProtocolError } from '../errors.ts'
import type { DecoderLimits } from './types.ts'

export function malformed(what: string): ProtocolError {
  return new ProtocolError('PROTOCOL_ERROR', what)
}

export function beyondLimit(what: string, name: keyof DecoderLimits, value: number): ProtocolError {
  return new ProtocolError('PROTOCOL_LIMIT', `${what}, the limit ${name} is ${value}`)
}

/** What the process itself cannot hold: a string of 512 MiB, a map of 2^24 entries, more memory than there is. */
export function tooLarge(error: Error): ProtocolError {
  return new ProtocolError('PROTOCOL_LIMIT', `a reply too large for this process: ${error.message}`, {
    cause: error,
  })
}

export function unexpected(type: number, where: string): ProtocolError {
  const shown = type > 0x20 && type < 0x7f ? `'${String.fromCharCode(type)}'` : `0x${type.toString(16)}`
  return malformed(`unexpected type byte ${shown} ${where}`)
}
