// Runs a decoder over pieces of a wire the way a connection does: every piece is lent from one piece of memory,
// which is overwritten as soon as the decoder asks for more.

import { Decoder, type DecoderLimits, type Reply } from '../../lib/resp/index.ts'

/** What came out: each value, and what the decoder said of it. */
export interface Decoded {
  readonly value: Reply
  readonly isPush: boolean
  readonly attributes: readonly Map<Reply, Reply>[]
}

export interface DecodeOptions {
  readonly asBytes?: boolean
  readonly isFlat?: boolean
  readonly limits?: DecoderLimits
}

/** @throws what the decoder throws, and an error where bytes are left over */
export function decode(pieces: readonly Buffer[], options: DecodeOptions = {}): Decoded[] {
  const decoder = new Decoder(options.limits)
  const lent = Buffer.alloc(Math.max(0, ...pieces.map((piece) => piece.length)))
  const decoded: Decoded[] = []
  for (const piece of pieces) {
    piece.copy(lent)
    decoder.feed(lent, piece.length)
    for (;;) {
      const value = decoder.next(options.asBytes, options.isFlat)
      if (value === undefined) break
      decoded.push({ value, isPush: decoder.isPush, attributes: decoder.attributes })
    }
    lent.fill('#')
  }
  if (decoder.heldBytes > 0) throw new Error(`${decoder.heldBytes} bytes are no whole reply`)
  return decoded
}

/** The values alone. */
export function decodeValues(pieces: readonly Buffer[], options?: DecodeOptions): Reply[] {
  return decode(pieces, options).map(({ value }) => value)
}

/** The wire whole, cut in two at every byte, and byte by byte. */
export function* everyCut(wire: Buffer): Generator<Buffer[]> {
  yield [wire]
  for (let at = 1; at < wire.length; at += 1) yield [wire.subarray(0, at), wire.subarray(at)]
  yield cutInto(wire, 1)
}

/** The wire in pieces of that many bytes. */
export function cutInto(wire: Buffer, bytes: number): Buffer[] {
  const pieces: Buffer[] = []
  for (let at = 0; at < wire.length; at += bytes) pieces.push(wire.subarray(at, at + bytes))
  return pieces
}
