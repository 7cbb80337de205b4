// Bytes → replies, RESP2 and RESP3, incrementally. The decoder is pulled: `feed()` a chunk, then `next()`
// until it returns `undefined`. It calls nobody, does no I/O and knows no time.
//
//   chunk ──► #buffer  [ already decoded | #at ▼  rest of the chunk  #end ]
//                                          │ element by element
//             #nesting [ outermost open aggregate, …, innermost ] ──► a whole reply
//             #body    a bulk string that did not fit the chunk, being filled; #openLine likewise a simple
//                      string or an error
//
// Invariants: an element is either consumed whole or not at all (`#at` stays on its first byte), except a string, whose
// bytes move to `#body` or `#openLine` as they come; so the work is linear in the bytes that arrive, however they are cut,
// but for the line of a number or a length, which is short. Every length is checked against its limit before anything is
// allocated, and no memory is touched before bytes for it have arrived. After it threw, the decoder is spent and throws
// the same error again.
//
// Larger than other files: where it is in the chunk (`#buffer`, `#at`, `#end`) and what is read there stay together.
// Measured with that in an object of its own: 5 % more time for short strings one by one, 10 % in arrays, 30 % for
// arrays of numbers.

import { ProtocolError, ReplyError } from '../errors.ts'
import { Body } from './body.ts'
import { ByteReader } from './bytes.ts'
import { type FrameKind, STREAMED } from './frame.ts'
import { badLineEnd, Line } from './line.ts'
import { Nesting, OPENED } from './nesting.ts'
import { parseBigNumber, parseDouble, parseInteger } from './numbers.ts'
import { beyondLimit, malformed, tooLarge, unexpected } from './protocol-error.ts'
import { TextReader, textOf } from './text.ts'
import { Byte, type DecoderLimits, defaultLimits, type Reply } from './types.ts'

/** What `#element()` and `#header()` return when the chunk ends too early. */
const INCOMPLETE = Symbol('incomplete')
/** A length that `#header()` returns besides counts and STREAMED. */
const NULL_LENGTH = -2
/** Integers of up to this many digits are exact in a `number`, so that digits can simply be added up. */
const EXACT_DIGITS = 15

/** Type byte and digits of a bulk string that may fit a chunk. */
const MAX_SHORT_HEADER = 8

const EMPTY: Buffer = Buffer.alloc(0)

type BulkKind = typeof Byte.bulk | typeof Byte.bulkError | typeof Byte.verbatim | typeof Byte.chunk

export class Decoder {
  readonly #limits: DecoderLimits
  /** The chunk being decoded: lent by `feed()` until `next()` returned `undefined`, then our own copy of the rest. */
  #buffer = EMPTY
  #at = 0
  #end = 0
  /** Whether `#buffer` is ours to keep. */
  #isOwn = true
  /** Bytes from `#at` that are known to hold no end of a line: not searched again when more have arrived. */
  #searched = 0
  readonly #nesting: Nesting
  readonly #text = new TextReader()
  readonly #bytes = new ByteReader()
  #body: Body | undefined
  #bodyKind: BulkKind = Byte.bulk
  #openLine: Line | undefined
  #isError = false
  /** Whether what comes next is a part of a string: of `#body`, of `#openLine`, or of a streamed one. */
  #isInString = false
  /** Whether bulk strings of pushes are wanted as bytes. */
  pushesAsBytes = false
  /** Whether bulk strings are wanted as bytes, in what is being decoded. */
  #asBytes = false
  /** Whether maps and sets are wanted as arrays. */
  #isFlat = false
  #isPush = false
  /** Whether the attributes belong to a value that was returned, not to the one to come. */
  #hasReturned = false
  #error: Error | undefined

  constructor(limits: DecoderLimits = defaultLimits) {
    this.#limits = limits
    this.#nesting = new Nesting(limits)
  }

  /** Whether what `next()` returned last was a push, not a reply to a command. */
  get isPush(): boolean {
    return this.#isPush
  }

  /** The attributes that came with what `next()` returned last, outermost first; empty as a rule. */
  get attributes(): readonly Map<Reply, Reply>[] {
    return this.#nesting.attributes
  }

  /** Bytes held that are not part of a complete reply yet. */
  get heldBytes(): number {
    return this.#end - this.#at + (this.#body?.filled ?? this.#openLine?.length ?? 0)
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
   *   case; of a push it is {@link pushesAsBytes} that counts
   * @param isFlat maps and sets as arrays, in the form of RESP2, except in pushes; attributes stay maps. For who makes something
   *   else of them: HGETALL to an object takes a quarter less
   * @throws {ProtocolError} `PROTOCOL_ERROR`, `PROTOCOL_LIMIT`
   */
  next(asBytes = false, isFlat = false): Reply | undefined {
    if (this.#error !== undefined) throw this.#error
    try {
      return this.#next(asBytes, isFlat)
    } catch (error) {
      this.#error = error instanceof ProtocolError ? error : tooLarge(error as Error)
      this.#nesting.clear()
      this.#body = this.#openLine = undefined
      this.#buffer = EMPTY
      this.#at = this.#end = this.#searched = 0
      throw this.#error
    }
  }

  #next(asBytes: boolean, isFlat: boolean): Reply | undefined {
    const nesting = this.#nesting
    if (nesting.innermost === undefined && !this.#isInString) {
      this.#asBytes = asBytes
      this.#isFlat = isFlat
      this.#isPush = false
      if (this.#hasReturned) nesting.forgetAttributes()
      this.#hasReturned = false
    }
    for (;;) {
      const value = this.#isInString ? this.#stringPart() : this.#element()
      if (value === INCOMPLETE) return this.#keepRest()
      if (value === OPENED) continue
      const frame = nesting.innermost
      if (frame !== undefined && frame.remaining > 1) {
        frame.add(value) // the short way of most values: others are to come
        continue
      }
      const whole = frame === undefined ? value : nesting.place(value)
      if (whole !== OPENED) {
        this.#hasReturned = true
        return whole
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

  /**
   * What most replies are, or are made of: a bulk string that lies whole in the chunk. The short way, which leaves
   * everything else, and all that is wrong, to `#bulk()`. Measured: a third less time for arrays of
   * strings.
   */
  #shortBulk(): Reply | undefined {
    const buffer = this.#buffer
    const end = this.#end
    let at = this.#at
    // `$` digit CRLF is the shortest beginning, and one of more digits is not worth the short way
    if (at + 4 > end) return undefined
    const limit = Math.min(end, at + MAX_SHORT_HEADER)
    let length = (buffer[at + 1] as number) - Byte.zero
    if (length < 0 || length > 9) return undefined
    at += 2
    while (buffer[at] !== Byte.cr) {
      const digit = (buffer[at] as number) - Byte.zero
      at += 1
      if (digit < 0 || digit > 9 || at === limit) return undefined
      length = length * 10 + digit
    }
    const from = at + 2
    const to = from + length
    if (to + 2 > end || buffer[at + 1] !== Byte.lf || length > this.#limits.maxBulkBytes) return undefined
    if (buffer[to] !== Byte.cr || buffer[to + 1] !== Byte.lf) throw badBulkEnd()
    this.#at = to + 2
    if (this.#asBytes) return this.#bytes.read(buffer, from, to)
    return this.#text.read(buffer, from, to, end, this.#nesting.innermost !== undefined)
  }

  /** element = type-byte … ; one value, or the header of an aggregate. */
  #element(): Reply | typeof INCOMPLETE | typeof OPENED {
    if (this.#at === this.#end || (this.#searched > 0 && this.#lacksLine())) return INCOMPLETE
    const type = this.#buffer[this.#at] as number
    switch (type) {
      case Byte.bulk:
        return this.#shortBulk() ?? this.#bulk(Byte.bulk)
      case Byte.integer:
        return this.#integer()
      case Byte.simple:
        return this.#simple()
      case Byte.array:
      case Byte.set:
      case Byte.map:
      case Byte.attribute:
        return this.#aggregate(type)
      case Byte.push:
        if (this.#nesting.innermost !== undefined) throw unexpected(type, 'inside another reply')
        this.#isPush = true
        this.#asBytes = this.pushesAsBytes
        this.#isFlat = false
        return this.#aggregate(type)
      case Byte.error:
        return this.#anyLine(true)
      case Byte.null:
      case Byte.boolean:
      case Byte.double:
      case Byte.bigNumber: {
        const text = this.#line()
        return text === INCOMPLETE ? INCOMPLETE : scalar(type, text)
      }
      case Byte.bulkError:
      case Byte.verbatim:
        return this.#bulk(type)
      case Byte.chunk:
        throw unexpected(type, 'outside a streamed string')
      case Byte.end:
        return this.#endOfStream()
      default:
        throw unexpected(type, 'where a reply starts')
    }
  }

  /** Whether the line that the rest of the former chunks began has still no end, right or wrong, and may go on. */
  #lacksLine(): boolean {
    const from = this.#at + this.#searched
    this.#searched = 0
    const cr = this.#buffer.indexOf(Byte.cr, from - 1)
    const isOver = this.#buffer.indexOf(Byte.lf, from) >= 0 || (cr >= 0 && cr + 1 < this.#end)
    return !isOver && this.#end - this.#at <= this.#limits.maxLineBytes
  }

  #simple(): Reply | typeof INCOMPLETE {
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
    return this.#anyLine(false)
  }

  /** Simple strings and errors are one line of text each, as long as any string may be. */
  #anyLine(isError: boolean): Reply | typeof INCOMPLETE {
    const text = this.#line('maxBulkBytes')
    if (text !== INCOMPLETE) return isError ? new ReplyError(text) : text
    this.#at += 1
    this.#isError = isError
    this.#openLine = new Line(this.#limits.maxBulkBytes)
    this.#isInString = true
    return this.#continueLine(this.#openLine)
  }

  #continueLine(line: Line): Reply | typeof INCOMPLETE {
    this.#at += line.take(this.#buffer, this.#at, this.#end)
    if (!line.isWhole) return INCOMPLETE
    this.#openLine = undefined
    this.#isInString = false
    return this.#isError ? new ReplyError(line.text) : line.text
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
    if (length === STREAMED) {
      this.#isInString = true
      return this.#nesting.begin(Byte.bulk, STREAMED, false)
    }
    const { maxBulkBytes } = this.#limits
    if (length > maxBulkBytes) {
      throw beyondLimit(`a bulk string of ${length} bytes`, 'maxBulkBytes', maxBulkBytes)
    }
    if (kind === Byte.chunk && length === 0) return this.#endOfString() // has no bytes and no CRLF of its own
    const from = this.#at
    const to = from + length
    if (to + 2 <= this.#end) {
      if (this.#buffer[to] !== Byte.cr || this.#buffer[to + 1] !== Byte.lf) throw badBulkEnd()
      this.#at = to + 2
      return this.#bulkValue(kind, this.#buffer, from, to)
    }
    this.#bodyKind = kind
    this.#body = new Body(length, this.#asBytes || kind === Byte.chunk)
    this.#isInString = true
    return this.#continueBody(this.#body)
  }

  #bulkValue(kind: BulkKind, buffer: Buffer, from: number, to: number): Reply | typeof OPENED {
    if (kind === Byte.bulkError) return new ReplyError(buffer.toString('utf8', from, to))
    if (kind === Byte.chunk) return this.#nesting.addChunk(this.#bytes.read(buffer, from, to))
    const start = kind === Byte.verbatim ? from + verbatimPrefix(buffer, from, to) : from
    if (this.#asBytes) return this.#bytes.read(buffer, start, to)
    return this.#text.read(buffer, start, to, this.#end, this.#nesting.innermost !== undefined)
  }

  /** Moves what has arrived into the body. */
  #continueBody(body: Body): Reply | typeof INCOMPLETE | typeof OPENED {
    this.#at += body.take(this.#buffer, this.#at, this.#end)
    if (!body.isWhole) return INCOMPLETE
    const kind = this.#bodyKind
    const { bytes } = body
    const length = body.wanted - 2
    this.#body = undefined
    this.#isInString = kind === Byte.chunk
    if (bytes[length] !== Byte.cr || bytes[length + 1] !== Byte.lf) throw badBulkEnd()
    if (kind === Byte.chunk) return this.#nesting.addChunk(bytes.subarray(0, length))
    const start = kind === Byte.verbatim ? verbatimPrefix(bytes, 0, length) : 0
    if (this.#asBytes && kind !== Byte.bulkError) return bytes.subarray(start, length)
    const text = textOf(bytes, start, length)
    body.release()
    return kind === Byte.bulkError ? new ReplyError(text) : text
  }

  /** streamed string = `$?` CRLF, then chunks `;` length CRLF bytes CRLF, then `;0` CRLF; nothing comes between */
  #stringPart(): Reply | typeof INCOMPLETE | typeof OPENED {
    if (this.#body !== undefined) return this.#continueBody(this.#body)
    if (this.#openLine !== undefined) return this.#continueLine(this.#openLine)
    if (this.#at === this.#end || (this.#searched > 0 && this.#lacksLine())) return INCOMPLETE
    const type = this.#buffer[this.#at] as number
    if (type !== Byte.chunk) throw unexpected(type, 'inside a streamed string')
    return this.#bulk(Byte.chunk)
  }

  #endOfString(): Reply {
    this.#isInString = false
    const whole = this.#nesting.endString()
    return this.#asBytes ? whole : whole.toString()
  }

  /** aggregate = (`*`|`%`|`~`|`>`|`|`) count CRLF elements; a pair of a map is two elements */
  #aggregate(kind: Exclude<FrameKind, typeof Byte.bulk>): Reply | typeof INCOMPLETE | typeof OPENED {
    const count = this.#header(kind === Byte.array, kind !== Byte.push && kind !== Byte.attribute)
    if (count === INCOMPLETE) return INCOMPLETE
    if (count === NULL_LENGTH) return null
    return this.#nesting.begin(kind, count, this.#isFlat)
  }

  /** `.` CRLF ends a streamed array, set or map */
  #endOfStream(): Reply | typeof INCOMPLETE {
    const text = this.#line()
    if (text === INCOMPLETE) return INCOMPLETE
    const whole = text === '' ? this.#nesting.endStream() : undefined
    if (whole === undefined) throw unexpected(Byte.end, 'where no streamed aggregate ends')
    return whole
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
    throw malformed(`malformed length: ${JSON.stringify(text.slice(0, 40))}`)
  }

  /** line = type-byte text CRLF; neither CR nor LF can be part of the text */
  #line(limitName: 'maxLineBytes' | 'maxBulkBytes' = 'maxLineBytes'): string | typeof INCOMPLETE {
    const buffer = this.#buffer
    const end = this.#end
    const from = this.#at + 1
    const limit = this.#limits[limitName]
    const bound = Math.min(end, from + limit + 1)
    let at = from
    while (at < bound) {
      const byte = buffer[at] as number
      if (byte === Byte.cr || byte === Byte.lf) break
      at += 1
    }
    if (at - from > limit) throw beyondLimit(`a line of more than ${limit} bytes`, limitName, limit)
    if (at < end && (buffer[at] === Byte.lf || (at + 1 < end && buffer[at + 1] !== Byte.lf)))
      throw badLineEnd()
    if (at + 1 >= end) return INCOMPLETE
    this.#at = at + 2
    return buffer.toString('utf8', from, at)
  }
}

function badBulkEnd(): ProtocolError {
  return malformed('a bulk string that does not end with CRLF')
}

/** Length of what stands before the text: verbatim = `=` length CRLF format(3) `:` text CRLF */
function verbatimPrefix(buffer: Buffer, from: number, to: number): number {
  if (to - from < 4 || buffer[from + 3] !== Byte.colon) throw malformed('malformed verbatim string')
  return 4
}

/** Of the values that are one line: null = `_` CRLF; boolean = `#` (`t`|`f`) CRLF; numbers as in numbers.ts. */
function scalar(type: number, text: string): Reply {
  switch (type) {
    case Byte.null:
      if (text !== '') throw malformed('malformed null')
      return null
    case Byte.boolean:
      if (text !== 't' && text !== 'f') throw malformed('malformed boolean')
      return text === 't'
    case Byte.double:
      return parseDouble(text)
    default:
      return parseBigNumber(text)
  }
}
