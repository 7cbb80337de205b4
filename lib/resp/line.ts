// A simple string or an error that did not come whole in one chunk: gathered, so that a long one costs its own bytes
// once, however it is cut. Servers set no bound to them: MONITOR prints every argument of a command in one line.
//
//   line = text CRLF          the text has neither CR nor LF

import { beyondLimit, malformed } from './protocol-error.ts'
import { textOf } from './text.ts'
import { Byte } from './types.ts'

const FIRST_ROOM_BYTES = 256

export class Line {
  #room: Buffer = Buffer.allocUnsafeSlow(FIRST_ROOM_BYTES)
  #length = 0
  #hasCr = false
  #isWhole = false
  readonly #limit: number

  /** @param limit the decoder's `maxBulkBytes` */
  constructor(limit: number) {
    this.#limit = limit
  }

  /** Bytes of the text so far. */
  get length(): number {
    return this.#length
  }

  get isWhole(): boolean {
    return this.#isWhole
  }

  get text(): string {
    return textOf(this.#room, 0, this.#length)
  }

  /**
   * Takes what belongs to it of `buffer[from]` to `buffer[to]`; returns how many bytes that were.
   *
   * @throws {ProtocolError} `PROTOCOL_ERROR`, `PROTOCOL_LIMIT`
   */
  take(buffer: Buffer, from: number, to: number): number {
    if (from === to) return 0
    let at = from
    if (!this.#hasCr) {
      const piece = buffer.subarray(from, to)
      const cr = piece.indexOf(Byte.cr)
      const text = cr < 0 ? piece : piece.subarray(0, cr)
      const lf = text.indexOf(Byte.lf)
      this.#checkLength(lf < 0 ? text.length : lf)
      if (lf >= 0) throw badLineEnd()
      this.#add(text)
      if (cr < 0) return text.length
      this.#hasCr = true
      at += cr + 1
    }
    if (at === to) return at - from
    if (buffer[at] !== Byte.lf) throw badLineEnd()
    this.#isWhole = true
    return at + 1 - from
  }

  #checkLength(more: number): void {
    const limit = this.#limit
    if (this.#length + more > limit) {
      throw beyondLimit(`a line of more than ${limit} bytes`, 'maxBulkBytes', limit)
    }
  }

  #add(text: Buffer): void {
    const length = this.#length + text.length
    if (length > this.#room.length) {
      const larger = Buffer.allocUnsafeSlow(Math.max(length, this.#room.length * 2))
      this.#room.copy(larger, 0, 0, this.#length)
      this.#room = larger
    }
    text.copy(this.#room, this.#length)
    this.#length = length
  }
}

export function badLineEnd(): Error {
  return malformed('a line that does not end with CRLF')
}
