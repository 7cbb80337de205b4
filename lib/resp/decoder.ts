// Bytes → replies, RESP2 and RESP3, incrementally. The decoder is pulled: `feed()` a chunk, then `next()`
// until it returns `undefined`. It calls nobody, does no I/O and knows no time.
//
//   chunk ──► #buffer  [ already decoded | #at ▼  rest of the chunk  #end ]
//                                          │ element by element
//             #frames  [ outermost open aggregate, …, innermost ] ──► a whole reply
//             #body    a bulk string that did not fit the chunk, being filled
//
// Invariants: an element is either consumed whole or not at all (`#at` stays on its first byte), except a
// bulk string, whose bytes move to `#body` as they come, and no byte is looked at twice in search of a line's
// end; so the work is linear in the bytes that arrive, however they are cut, but for the copying of a line that
// has not ended. Every length is checked against its limit before anything is allocated, and no memory is touched
// before bytes for it have arrived. After it threw, the decoder is spent and throws the same error again.

import { ProtocolError, ReplyError } from '../errors.ts'
import { ByteReader } from './bytes.ts'
import { parseBigNumber, parseDouble, parseInteger } from './numbers.ts'
import { TextReader, textOf } from './text.ts'
import { Byte, type DecoderLimits, defaultLimits, type Reply } from './types.ts'

/** What `#element()` and `#header()` return when the chunk ends too early. */
const INCOMPLETE = Symbol('incomplete')
/** What `#element()` returns when it opened an aggregate instead of completing a value. */
const OPENED = Symbol('opened')
/** Lengths that `#header()` returns besides counts. */
const NULL_LENGTH = -1
const STREAMED = -2
/**
 * A bulk string is given this much room at first, and so many times as much as has arrived when that is full: an
 * announcement alone costs nothing, and a large string is moved once, while it is small. Room that no byte has come
 * for is address space, not memory. Measured: a value of 64 MiB peaks at 1.1 times its size, against 2.5 times when
 * the room doubles.
 */
const FIRST_BODY_BYTES = 1024 * 1024
const BODY_GROWTH = 64
/** Integers of up to this many digits are exact in a `number`, so that digits can simply be added up. */
const EXACT_DIGITS = 15

type BulkKind = typeof Byte.bulk | typeof Byte.bulkError | typeof Byte.verbatim | typeof Byte.chunk
type FrameKind =
  | typeof Byte.array
  | typeof Byte.map
  | typeof Byte.set
  | typeof Byte.push
  | typeof Byte.attribute
  | typeof Byte.bulk

/** An open aggregate. A streamed one (`remaining` = STREAMED) ends by its end mark instead of a count. */
interface Frame {
  readonly kind: FrameKind
  /** Values still to come; a pair of a map counts as two. */
  remaining: number
  readonly items: Reply[] | Map<Reply, Reply> | Set<Reply> | Buffer[]
  /** The key whose value is awaited, in a map. */
  key: Reply | undefined
  /** Bytes of a streamed string so far. */
  bytes: number
}

export class Decoder {
  readonly #limits: DecoderLimits
  /** The chunk being decoded: lent by `feed()` until `next()` returned `undefined`, then our own copy of the rest. */
  #buffer: Buffer = Buffer.alloc(0)
  #at = 0
  #end = 0
  /** Whether `#buffer` is ours to keep. */
  #isOwn = true
  /** Bytes from `#at` that are known to hold no end of a line: not searched again when more have arrived. */
  #searched = 0
  readonly #frames: Frame[] = []
  readonly #text = new TextReader()
  readonly #bytes = new ByteReader()
  #body: Buffer | undefined
  #bodyKind: BulkKind = Byte.bulk
  /** Bytes of `#body` that are filled, and that are wanted: the string and its CRLF. */
  #bodyFilled = 0
  #bodyWanted = 0
  #asBytes = false
  #isPush = false
  #attributes: Map<Reply, Reply>[] = []
  /** Whether the attributes belong to a value that was returned, not to the one to come. */
  #hasReturned = false
  #error: Error | undefined

  constructor(limits: DecoderLimits = defaultLimits) {
    this.#limits = limits
  }

  /** Whether what `next()` returned last was a push, not a reply to a command. */
  get isPush(): boolean {
    return this.#isPush
  }

  /** The attributes that came with what `next()` returned last, outermost first; empty as a rule. */
  get attributes(): readonly Map<Reply, Reply>[] {
    return this.#attributes
  }

  /** Bytes held that are not part of a complete reply yet. */
  get heldBytes(): number {
    return this.#end - this.#at + this.#bodyFilled
  }

  /**
   * Lends the next `length` bytes of `chunk` to the decoder. Call `next()` until it returns `undefined`
   * before the chunk's memory is used again.
   */
  feed(chunk: Buffer, length: number = chunk.length): void {
    this.#text.reset()
    if (this.#at === this.#end) {
      this.#buffer = chunk
      this.#isOwn = false
      this.#at = 0
      this.#end = length
      return
    }
    const rest = this.#buffer.subarray(this.#at, this.#end)
    this.#buffer = Buffer.concat([rest, chunk.subarray(0, length)])
    this.#isOwn = true
    this.#at = 0
    this.#end = this.#buffer.length
  }

  /**
   * The next complete reply or push, or `undefined` when more bytes are needed.
   *
   * @param asBytes bulk strings as `Buffer` (copies, the caller's own); simple strings, as `OK`, are text in any
   *   case, and so is all of a push
   * @throws {ProtocolError} `PROTOCOL_ERROR`, `PROTOCOL_LIMIT`
   */
  next(asBytes = false): Reply | undefined {
    if (this.#error !== undefined) throw this.#error
    try {
      return this.#next(asBytes)
    } catch (error) {
      this.#error = error instanceof ProtocolError ? error : tooLarge(error as Error)
      this.#frames.length = 0
      this.#body = undefined
      this.#buffer = EMPTY
      this.#at = this.#end = this.#searched = this.#bodyFilled = 0
      throw this.#error
    }
  }

  #next(asBytes: boolean): Reply | undefined {
    const frames = this.#frames
    if (frames.length === 0 && this.#body === undefined) {
      this.#asBytes = asBytes
      this.#isPush = false
      if (this.#hasReturned && this.#attributes.length > 0) this.#attributes = []
      this.#hasReturned = false
    }
    for (;;) {
      let value = this.#body === undefined ? this.#element() : this.#continueBody()
      if (value === OPENED) continue
      if (value === INCOMPLETE) return this.#keepRest()
      while (frames.length > 0) {
        const frame = frames[frames.length - 1] as Frame
        const whole = this.#add(frame, value)
        if (whole === undefined) break
        frames.pop()
        if (frame.kind === Byte.attribute) {
          this.#addAttributes(whole as Map<Reply, Reply>)
          value = OPENED
          break
        }
        value = whole
      }
      if (value !== OPENED && frames.length === 0) {
        this.#hasReturned = true
        return value
      }
    }
  }

  /** The chunk goes back to its owner, so what is left of it, a part of a line, is copied. */
  #keepRest(): undefined {
    if (this.#at === this.#end) {
      this.#buffer = EMPTY
      this.#at = this.#end = 0
    } else if (!this.#isOwn || this.#at > 0) {
      this.#buffer = Buffer.from(this.#buffer.subarray(this.#at, this.#end))
      this.#at = 0
      this.#end = this.#buffer.length
    }
    this.#isOwn = true
    this.#searched = this.#end
    return undefined
  }

  #addAttributes(attributes: Map<Reply, Reply>): void {
    const { maxItems } = this.#limits
    const count = this.#attributes.push(attributes)
    if (count > maxItems) throw limit(`a reply with ${count} attributes`, 'maxItems', maxItems)
  }

  /** Puts a value into an open aggregate; returns the aggregate when that made it whole. */
  #add(frame: Frame, value: Reply): Reply | undefined {
    const { items } = frame
    if (Array.isArray(items)) {
      if (frame.kind === Byte.bulk) return this.#addChunk(frame, value as Buffer)
      ;(items as Reply[]).push(value)
    } else if (items instanceof Set) {
      items.add(value)
    } else if (frame.key === undefined) {
      frame.key = value
    } else {
      items.set(frame.key, value)
      frame.key = undefined
    }
    if (frame.remaining === STREAMED) {
      const { maxItems } = this.#limits
      const count = Array.isArray(items) ? items.length : items.size
      if (count > maxItems) throw limit(`an aggregate of ${count} elements`, 'maxItems', maxItems)
      return undefined
    }
    frame.remaining -= 1
    return frame.remaining === 0 ? (items as Reply) : undefined
  }

  /** A streamed string is `$?` CRLF, then chunks `;` length CRLF bytes CRLF, then `;0` CRLF. */
  #addChunk(frame: Frame, chunk: Buffer): Reply | undefined {
    if (chunk.length > 0) {
      frame.bytes += chunk.length
      if (frame.bytes > this.#limits.maxBulkBytes) {
        throw limit(`a streamed string of ${frame.bytes} bytes`, 'maxBulkBytes', this.#limits.maxBulkBytes)
      }
      ;(frame.items as Buffer[]).push(chunk)
      return undefined
    }
    const whole = Buffer.concat(frame.items as Buffer[])
    return this.#asBytes && !this.#isPush ? whole : whole.toString()
  }

  /** element = type-byte … ; one value, or the header of an aggregate. */
  #element(): Reply | typeof INCOMPLETE | typeof OPENED {
    if (this.#at === this.#end || (this.#searched > 0 && this.#lacksLine())) return INCOMPLETE
    const type = this.#buffer[this.#at] as number
    const frames = this.#frames
    const top = frames.length === 0 ? undefined : frames[frames.length - 1]
    if (top !== undefined && top.kind === Byte.bulk && type !== Byte.chunk) {
      throw unexpected(type, 'inside a streamed string')
    }
    switch (type) {
      case Byte.bulk:
        return this.#bulk(Byte.bulk)
      case Byte.integer:
        return this.#integer()
      case Byte.simple:
        return this.#simple()
      case Byte.array:
      case Byte.set:
      case Byte.map:
      case Byte.attribute:
        return this.#open(type)
      case Byte.push:
        if (this.#frames.length > 0) throw unexpected(type, 'inside another reply')
        this.#isPush = true
        return this.#open(type)
      case Byte.error: {
        const text = this.#line()
        return text === INCOMPLETE ? INCOMPLETE : new ReplyError(text)
      }
      case Byte.null: {
        const text = this.#line()
        if (text === INCOMPLETE) return INCOMPLETE
        if (text !== '') throw new ProtocolError('PROTOCOL_ERROR', 'malformed null')
        return null
      }
      case Byte.boolean: {
        const text = this.#line()
        if (text === INCOMPLETE) return INCOMPLETE
        if (text !== 't' && text !== 'f') throw new ProtocolError('PROTOCOL_ERROR', 'malformed boolean')
        return text === 't'
      }
      case Byte.double: {
        const text = this.#line()
        return text === INCOMPLETE ? INCOMPLETE : parseDouble(text)
      }
      case Byte.bigNumber: {
        const text = this.#line()
        return text === INCOMPLETE ? INCOMPLETE : parseBigNumber(text)
      }
      case Byte.bulkError:
      case Byte.verbatim:
        return this.#bulk(type)
      case Byte.chunk:
        if (top?.kind !== Byte.bulk) throw unexpected(type, 'outside a streamed string')
        return this.#bulk(type)
      case Byte.end:
        return this.#endOfStream(top)
      default:
        throw unexpected(type, 'where a reply starts')
    }
  }

  /** Whether the line that the rest of the former chunks began is still without its end, and may go on. */
  #lacksLine(): boolean {
    const from = this.#at + this.#searched
    this.#searched = 0
    return this.#end - this.#at <= this.#limits.maxLineBytes && this.#buffer.indexOf(Byte.lf, from) < 0
  }

  /** simple = `+` text CRLF */
  #simple(): string | typeof INCOMPLETE {
    const buffer = this.#buffer
    const at = this.#at
    // `+OK` answers most writes: no string is made for it
    if (
      at + 5 <= this.#end &&
      buffer[at + 3] === Byte.cr &&
      buffer[at + 4] === Byte.lf &&
      buffer[at + 1] === 0x4f &&
      buffer[at + 2] === 0x4b
    ) {
      this.#at = at + 5
      return 'OK'
    }
    return this.#line()
  }

  /** integer = `:` [`+`|`-`] digits CRLF */
  #integer(): number | bigint | typeof INCOMPLETE {
    const buffer = this.#buffer
    const end = this.#end
    let at = this.#at + 1
    const isNegative = buffer[at] === Byte.minus
    if (isNegative) at += 1
    const first = at
    let value = 0
    while (at < end) {
      const byte = buffer[at] as number
      if (byte < Byte.zero || byte > Byte.nine) break
      value = value * 10 + (byte - Byte.zero)
      at += 1
    }
    const digits = at - first
    if (at + 1 < end && digits > 0 && digits <= EXACT_DIGITS) {
      if (buffer[at] === Byte.cr && buffer[at + 1] === Byte.lf) {
        this.#at = at + 2
        return isNegative && value !== 0 ? -value : value
      }
    }
    const text = this.#line() // long, signed with plus, malformed or not all there
    return text === INCOMPLETE ? INCOMPLETE : parseInteger(text)
  }

  /** bulk = (`$`|`!`|`=`|`;`) length CRLF bytes CRLF; `$-1` CRLF is null */
  #bulk(kind: BulkKind): Reply | typeof INCOMPLETE | typeof OPENED {
    const length = this.#header(kind === Byte.bulk, kind === Byte.bulk)
    if (length === INCOMPLETE) return INCOMPLETE
    if (length === NULL_LENGTH) return null
    if (length === STREAMED) return this.#push(Byte.bulk, STREAMED)
    if (length > this.#limits.maxBulkBytes) {
      throw limit(`a bulk string of ${length} bytes`, 'maxBulkBytes', this.#limits.maxBulkBytes)
    }
    if (kind === Byte.chunk && length === 0) return EMPTY // the end mark has no bytes and no CRLF of its own
    const from = this.#at
    const to = from + length
    if (to + 2 <= this.#end) {
      if (this.#buffer[to] !== Byte.cr || this.#buffer[to + 1] !== Byte.lf) throw badBulkEnd()
      this.#at = to + 2
      return this.#bulkValue(kind, this.#buffer, from, to, false)
    }
    this.#bodyKind = kind
    this.#bodyWanted = length + 2
    this.#bodyFilled = 0
    this.#body = Buffer.allocUnsafeSlow(roomFor(this.#bodyWanted, FIRST_BODY_BYTES))
    return this.#continueBody()
  }

  /** Moves what has arrived into the body, and the body to a larger room when it is full. */
  #continueBody(): Reply | typeof INCOMPLETE {
    let body = this.#body as Buffer
    const available = Math.min(this.#end - this.#at, this.#bodyWanted - this.#bodyFilled)
    if (this.#bodyFilled + available > body.length) {
      const larger = Buffer.allocUnsafeSlow(roomFor(this.#bodyWanted, body.length * BODY_GROWTH))
      body.copy(larger, 0, 0, this.#bodyFilled)
      this.#body = body = larger
    }
    this.#buffer.copy(body, this.#bodyFilled, this.#at, this.#at + available)
    this.#at += available
    this.#bodyFilled += available
    if (this.#bodyFilled < this.#bodyWanted) return INCOMPLETE
    const length = this.#bodyWanted - 2
    this.#body = undefined
    this.#bodyFilled = 0
    if (body[length] !== Byte.cr || body[length + 1] !== Byte.lf) throw badBulkEnd()
    return this.#bulkValue(this.#bodyKind, body, 0, length, true)
  }

  #bulkValue(kind: BulkKind, buffer: Buffer, from: number, to: number, isOurs: boolean): Reply {
    let start = from
    if (kind === Byte.verbatim) {
      // verbatim = `=` length CRLF format(3) `:` text CRLF
      if (to - from < 4 || buffer[from + 3] !== Byte.colon) {
        throw new ProtocolError('PROTOCOL_ERROR', 'malformed verbatim string')
      }
      start += 4
    } else if (kind === Byte.bulkError) {
      return new ReplyError(buffer.toString('utf8', from, to))
    }
    if (kind === Byte.chunk || (this.#asBytes && !this.#isPush)) {
      return isOurs ? buffer.subarray(start, to) : this.#bytes.read(buffer, start, to)
    }
    if (isOurs) return textOf(buffer, start, to)
    return this.#text.read(buffer, start, to, this.#end, this.#frames.length > 0)
  }

  /** aggregate = (`*`|`%`|`~`|`>`|`|`) count CRLF elements; a pair of a map is two elements */
  #open(kind: Exclude<FrameKind, typeof Byte.bulk>): Reply | typeof INCOMPLETE | typeof OPENED {
    const count = this.#header(kind === Byte.array, kind !== Byte.push && kind !== Byte.attribute)
    if (count === INCOMPLETE) return INCOMPLETE
    if (count === NULL_LENGTH) return null
    if (count > this.#limits.maxItems) {
      throw limit(`an aggregate of ${count} elements`, 'maxItems', this.#limits.maxItems)
    }
    if (count === 0) {
      if (kind === Byte.attribute) return OPENED // says nothing about the value that follows
      if (kind === Byte.map) return new Map()
      return kind === Byte.set ? new Set() : []
    }
    const isPairs = kind === Byte.map || kind === Byte.attribute
    return this.#push(kind, count !== STREAMED && isPairs ? count * 2 : count)
  }

  #push(kind: FrameKind, remaining: number): typeof OPENED {
    if (this.#frames.length >= this.#limits.maxDepth) {
      throw limit(`a reply nested ${this.#frames.length + 1} deep`, 'maxDepth', this.#limits.maxDepth)
    }
    const isPairs = kind === Byte.map || kind === Byte.attribute
    const items = isPairs ? new Map<Reply, Reply>() : kind === Byte.set ? new Set<Reply>() : []
    this.#frames.push({ kind, remaining, items, key: undefined, bytes: 0 })
    return OPENED
  }

  /** `.` CRLF ends a streamed array, set or map */
  #endOfStream(top: Frame | undefined): Reply | typeof INCOMPLETE {
    const text = this.#line()
    if (text === INCOMPLETE) return INCOMPLETE
    if (text !== '' || top?.remaining !== STREAMED || top.key !== undefined) {
      throw unexpected(Byte.end, 'where no streamed aggregate ends')
    }
    this.#frames.pop()
    return top.items as Reply
  }

  /**
   * header = type-byte digits CRLF, or `-1` where null is allowed, or `?` where streaming is. Adds up digits as
   * `#integer()` does: both are run for nearly every element, and a call they shared would have two results.
   */
  #header(canBeNull: boolean, canStream: boolean): number | typeof INCOMPLETE {
    const buffer = this.#buffer
    const end = this.#end
    let at = this.#at + 1
    let value = 0
    while (at < end) {
      const byte = buffer[at] as number
      if (byte < Byte.zero || byte > Byte.nine) break
      value = value * 10 + (byte - Byte.zero)
      at += 1
    }
    const digits = at - this.#at - 1
    if (at + 1 < end && digits > 0 && digits <= EXACT_DIGITS) {
      if (buffer[at] === Byte.cr && buffer[at + 1] === Byte.lf) {
        this.#at = at + 2
        return value
      }
    }
    const text = this.#line() // null, streamed, malformed or not all there
    if (text === INCOMPLETE) return INCOMPLETE
    if (text === '-1' && canBeNull) return NULL_LENGTH
    if (text === '?' && canStream) return STREAMED
    throw new ProtocolError('PROTOCOL_ERROR', `malformed length: ${JSON.stringify(text.slice(0, 40))}`)
  }

  /** line = type-byte text CRLF; neither CR nor LF can be part of the text */
  #line(): string | typeof INCOMPLETE {
    const buffer = this.#buffer
    const end = this.#end
    const from = this.#at + 1
    const bound = Math.min(end, from + this.#limits.maxLineBytes + 1)
    let at = from
    while (at < bound) {
      const byte = buffer[at] as number
      if (byte === Byte.cr || byte === Byte.lf) break
      at += 1
    }
    if (at - from > this.#limits.maxLineBytes) {
      throw limit(
        `a line of more than ${this.#limits.maxLineBytes} bytes`,
        'maxLineBytes',
        this.#limits.maxLineBytes,
      )
    }
    if (at < end && (buffer[at] === Byte.lf || (at + 1 < end && buffer[at + 1] !== Byte.lf))) {
      throw new ProtocolError('PROTOCOL_ERROR', 'a line that does not end with CRLF')
    }
    if (at + 1 >= end) return INCOMPLETE
    this.#at = at + 2
    return buffer.toString('utf8', from, at)
  }
}

const EMPTY: Buffer = Buffer.alloc(0)

/** The next room of a body: a step, or all of it where a step would leave only a little over. */
function roomFor(wanted: number, step: number): number {
  return wanted < step * 2 ? wanted : step
}

function limit(what: string, name: keyof DecoderLimits, value: number): ProtocolError {
  return new ProtocolError('PROTOCOL_LIMIT', `${what}, the limit ${name} is ${value}`)
}

/** What the process itself cannot hold: a string of 512 MiB, a map of 2^24 entries, more memory than there is. */
function tooLarge(error: Error): ProtocolError {
  return new ProtocolError('PROTOCOL_LIMIT', `a reply too large for this process: ${error.message}`, {
    cause: error,
  })
}

function unexpected(type: number, where: string): ProtocolError {
  const shown = type > 0x20 && type < 0x7f ? `'${String.fromCharCode(type)}'` : `0x${type.toString(16)}`
  return new ProtocolError('PROTOCOL_ERROR', `unexpected type byte ${shown} ${where}`)
}

function badBulkEnd(): ProtocolError {
  return new ProtocolError('PROTOCOL_ERROR', 'a bulk string that does not end with CRLF')
}
