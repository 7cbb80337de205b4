// A second decoder, to compare with: the grammar of RESP as recursive functions over a wire that is there whole.
// Slow and short, written from the specification and from the contract of lib/resp (what is a fault, what is only not
// there yet), not from its code: where both agree on any wire, a misreading would have to be made twice.
//
// What is decided when, since it shows in what comes of a wire that ends early: a type byte is judged when it is
// there, a line when its CRLF is or when it is broken, a length when its line is, a bulk string when its last byte and
// CRLF are.

import { ReplyError } from '../../lib/errors.ts'
import { type DecoderLimits, defaultLimits, type Reply } from '../../lib/resp/index.ts'
import type { Decoded } from './decode.ts'

/** What becomes of a wire: the values in it, and why there are no more. */
export interface Reading {
  readonly decoded: readonly Decoded[]
  /** All bytes are used up; the last reply is not all there; the peer is at fault. */
  readonly end: 'whole' | 'incomplete' | 'PROTOCOL_ERROR' | 'PROTOCOL_LIMIT'
}

export function readByReference(
  wire: Buffer,
  limits: DecoderLimits = defaultLimits,
  asBytes = false,
): Reading {
  const decoded: Decoded[] = []
  const reader = new Reader(wire.toString('latin1'), limits, asBytes)
  try {
    while (!reader.isAtEnd) decoded.push(reader.reply())
    return { decoded, end: 'whole' }
  } catch (error) {
    if (!(error instanceof Stop)) throw error
    return { decoded, end: error.why }
  }
}

class Stop {
  readonly why: Reading['end']

  constructor(why: Reading['end']) {
    this.why = why
  }
}

/** What an aggregate that is being read allows within it. */
interface Inside {
  readonly depth: number
  /** Whether `.` may end it here. */
  readonly mayEnd: boolean
}

const TOP: Inside = { depth: 0, mayEnd: false }
const END = Symbol('end of a streamed aggregate')

class Reader {
  /** One character for each byte. */
  readonly #wire: string
  readonly #limits: DecoderLimits
  readonly #asBytes: boolean
  #at = 0
  #isPush = false
  #attributes: Map<Reply, Reply>[] = []

  constructor(wire: string, limits: DecoderLimits, asBytes: boolean) {
    this.#wire = wire
    this.#limits = limits
    this.#asBytes = asBytes
  }

  get isAtEnd(): boolean {
    return this.#at === this.#wire.length
  }

  reply(): Decoded {
    this.#isPush = false
    this.#attributes = []
    const value = this.#value(TOP) as Reply
    return { value, isPush: this.#isPush, attributes: this.#attributes }
  }

  /** value = *attribute type-byte … */
  #value(inside: Inside): Reply | typeof END {
    const type = this.#take(1)
    switch (type) {
      case '+':
        return utf8(this.#line('maxBulkBytes'))
      case '-':
        return new ReplyError(utf8(this.#line('maxBulkBytes')))
      case ':':
        return this.#integer(this.#line())
      case ',':
        return this.#double(this.#line())
      case '(':
        return BigInt(this.#matching(/^[+-]?(\d+)$/, this.#line()).replace('+', ''))
      case '_':
        this.#matching(/^$/, this.#line())
        return null
      case '#':
        return this.#matching(/^[tf]$/, this.#line()) === 't'
      case '$': {
        const length = this.#length('-1', '?')
        if (length === '-1') return null
        return this.#text(length === '?' ? this.#chunks(inside) : this.#bulk(length))
      }
      case '!':
        return new ReplyError(utf8(this.#bulk(this.#length())))
      case '=': {
        const text = this.#bulk(this.#length())
        return this.#text(this.#matching(/^[\s\S]{3}:/, text).slice(4))
      }
      case '*': {
        const count = this.#length('-1', '?')
        return count === '-1' ? null : this.#items(count, inside)
      }
      case '~':
        return new Set(this.#items(this.#length('?'), inside, distinct))
      case '%':
        return new Map(inPairs(this.#items(this.#length('?'), inside, pairs)))
      case '|': {
        const items = this.#items(this.#length(), inside, pairs)
        if (items.length > 0) this.#attributes.push(new Map(inPairs(items)))
        this.#bounded(this.#attributes.length, 'maxItems')
        // empty ones say nothing: a wire may end there
        if (this.isAtEnd && inside.depth === 0 && this.#attributes.length === 0) throw new Stop('whole')
        return this.#value(inside)
      }
      case '>':
        if (inside.depth > 0) throw new Stop('PROTOCOL_ERROR')
        this.#isPush = true
        return this.#items(this.#length(), inside)
      case '.':
        this.#matching(/^$/, this.#line())
        if (!inside.mayEnd) throw new Stop('PROTOCOL_ERROR')
        return END
      default:
        throw new Stop('PROTOCOL_ERROR')
    }
  }

  /** The elements of an aggregate; of pairs, key and value in turn. */
  #items(count: number | '?', { depth }: Inside, size: Size = one): Reply[] {
    if (count === 0) return []
    if (count !== '?') this.#bounded(count, 'maxItems')
    this.#bounded(depth + 1, 'maxDepth')
    const wanted = count === '?' ? Number.POSITIVE_INFINITY : size === pairs ? count * 2 : count
    const items: Reply[] = []
    while (items.length < wanted) {
      const isBetween = size !== pairs || items.length % 2 === 0
      const item = this.#value({ depth: depth + 1, mayEnd: count === '?' && isBetween })
      if (item === END) break
      items.push(item)
      if (count === '?') this.#bounded(size(items), 'maxItems')
    }
    return items
  }

  /** chunks = *(`;` length CRLF bytes CRLF) `;0` CRLF */
  #chunks({ depth }: Inside): string {
    this.#bounded(depth + 1, 'maxDepth')
    let text = ''
    for (;;) {
      this.#matching(/^;$/, this.#take(1))
      const length = this.#length()
      if (length === 0) return text
      text += this.#bulk(length)
      this.#bounded(text.length, 'maxBulkBytes')
    }
  }

  #bulk(length: number): string {
    this.#bounded(length, 'maxBulkBytes')
    const bytes = this.#take(length + 2)
    if (!bytes.endsWith('\r\n')) throw new Stop('PROTOCOL_ERROR')
    return bytes.slice(0, -2)
  }

  #length(): number
  #length<Word extends string>(...words: Word[]): number | Word
  #length(...words: string[]): number | string {
    const text = this.#line()
    return words.includes(text) ? text : Number(this.#matching(/^\d{1,15}$/, text))
  }

  /** line = text CRLF */
  #line(limit: 'maxLineBytes' | 'maxBulkBytes' = 'maxLineBytes'): string {
    const rest = this.#wire.slice(this.#at)
    const [text = ''] = /^[^\r\n]*/.exec(rest) ?? []
    this.#bounded(text.length, limit)
    const end = rest.slice(text.length, text.length + 2)
    if (end === '' || end === '\r') throw new Stop('incomplete')
    if (end !== '\r\n') throw new Stop('PROTOCOL_ERROR')
    this.#at += text.length + 2
    return text
  }

  #take(bytes: number): string {
    const taken = this.#wire.slice(this.#at, this.#at + bytes)
    if (taken.length < bytes) throw new Stop('incomplete')
    this.#at += bytes
    return taken
  }

  /** Up to 20 characters, the sign included; exact, and a `number` where that is exact. */
  #integer(text: string): number | bigint {
    this.#matching(/^(?=.{1,20}$)[+-]?\d+$/, text)
    const exact = BigInt(text.replace('+', ''))
    const value = Number(exact)
    return Number.isSafeInteger(value) ? value : exact
  }

  #double(text: string): number {
    const [, sign, word] = /^([+-]?)(inf|nan)$/.exec(text) ?? []
    if (word === 'inf') return sign === '-' ? Number.NEGATIVE_INFINITY : Number.POSITIVE_INFINITY
    if (word === 'nan' && sign !== '+') return Number.NaN
    return Number.parseFloat(this.#matching(/^[+-]?\d+(\.\d*)?([eE][+-]?\d+)?$/, text))
  }

  #text(bytes: string): string | Buffer {
    return this.#asBytes && !this.#isPush ? Buffer.from(bytes, 'latin1') : utf8(bytes)
  }

  #matching(form: RegExp, text: string): string {
    if (!form.test(text)) throw new Stop('PROTOCOL_ERROR')
    return text
  }

  #bounded(value: number, name: keyof DecoderLimits): void {
    if (value > this.#limits[name]) throw new Stop('PROTOCOL_LIMIT')
  }
}

/** How large a streamed aggregate is by now. */
type Size = (items: readonly Reply[]) => number
const one: Size = (items) => items.length
const distinct: Size = (items) => new Set(items).size
const pairs: Size = (items) => new Map(inPairs(items.slice(0, items.length - (items.length % 2)))).size

function inPairs(items: readonly Reply[]): [Reply, Reply][] {
  return items.flatMap((key, i): [Reply, Reply][] => (i % 2 === 0 ? [[key, items[i + 1] as Reply]] : []))
}

function utf8(bytes: string): string {
  return Buffer.from(bytes, 'latin1').toString('utf8')
}
