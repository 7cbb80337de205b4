// Bytes → strings. A call into C++ for each short string costs more than the string; so the text of the next 512
// bytes is made at once, where they are ASCII, and short strings are cut out of it:
//
//   buffer  … $4 CRLF abcd CRLF $4 CRLF efgh CRLF …
//               [ window, one string of up to 512 characters ]
//
// Measured (bench/, arrays of 100 strings of 17 bytes): a third of the time. V8 copies up to 12 characters out of
// a string and refers to it for more: what is cut out keeps at most one window alive, not the chunk. Scalars of
// 13 characters and more do not use it, so that one that is kept does not keep its neighbours.

import { isAscii } from 'node:buffer'

const WINDOW_BYTES = 512
/** V8 copies cuts shorter than this, and refers to the whole for longer ones. */
const LONGEST_COPY = 12
/** Longer ones are worth a call of their own. */
const LONGEST_CUT = 128
/** With less than this behind it, a string is the last or the only one: no window for it. */
const MIN_BEHIND = 64

/** What `Buffer` has and its type does not tell: the conversion without the checks of `toString()`. */
interface Slices {
  utf8Slice(from: number, to: number): string
  latin1Slice(from: number, to: number): string
}

export class TextReader {
  #window = ''
  /** Where in the buffer the window is; empty when `#to` is 0. */
  #from = 0
  #to = 0
  /** Whether all that is left of the chunk is ASCII; `undefined` before it was looked at. */
  #isPlain: boolean | undefined
  /** In a chunk that is not: bytes before this one are known not to be worth a window. */
  #notBefore = 0

  /** To be called whenever the bytes at the same places become others. */
  reset(): void {
    this.#to = this.#notBefore = 0
    this.#isPlain = undefined
  }

  /**
   * The text of `buffer[from]` to `buffer[to]`, which are bytes of UTF-8; invalid ones become U+FFFD.
   *
   * @param end where the buffer's valid bytes end
   * @param isItem whether it is one of many, in an aggregate
   */
  read(buffer: Buffer, from: number, to: number, end: number, isItem: boolean): string {
    if (from >= this.#from && to <= this.#to && (isItem || to - from <= LONGEST_COPY)) {
      return this.#window.slice(from - this.#from, to - this.#from)
    }
    if (to - from > LONGEST_CUT || end - to < MIN_BEHIND) return textOf(buffer, from, to)
    // measured: one look at the whole chunk costs less than one for each window, and what is known to be ASCII is
    // copied for 13 ns less than it is decoded
    this.#isPlain ??= isAscii(buffer.subarray(from, end))
    const slices = buffer as Buffer & Slices
    if (isItem || to - from <= LONGEST_COPY) {
      const windowEnd = Math.min(from + WINDOW_BYTES, end)
      if (this.#isPlain || this.#isWindowPlain(buffer, from, windowEnd)) {
        this.#window = slices.latin1Slice(from, windowEnd)
        this.#from = from
        this.#to = windowEnd
        return this.#window.slice(0, to - from)
      }
    }
    return this.#isPlain ? slices.latin1Slice(from, to) : slices.utf8Slice(from, to)
  }

  #isWindowPlain(buffer: Buffer, from: number, to: number): boolean {
    if (from < this.#notBefore) return false
    const isPlain = isAscii(buffer.subarray(from, to))
    if (!isPlain) this.#notBefore = to
    return isPlain
  }
}

/**
 * The same without a window. Long ASCII is copied, not decoded: measured on 1 MiB, V8 takes several times as long
 * to decode UTF-8 as to look whether there is any and copy.
 */
export function textOf(buffer: Buffer, from: number, to: number): string {
  const slices = buffer as Buffer & Slices
  const isPlain = to - from > LONGEST_CUT && isAscii(buffer.subarray(from, to))
  return isPlain ? slices.latin1Slice(from, to) : slices.utf8Slice(from, to)
}
