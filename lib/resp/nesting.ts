// The aggregates that are open, and the attributes that were closed. Puts values together; reads no byte.
//
//   #frames  [ outermost, …, innermost ◄ depth | closed ones, to be used again ]

import { Frame, type FrameKind, STREAMED } from './frame.ts'
import { beyondLimit } from './protocol-error.ts'
import { Byte, type DecoderLimits, type Reply } from './types.ts'

/** An aggregate goes on: there is no whole value yet. */
export const OPENED = Symbol('opened')

const NONE: readonly Map<Reply, Reply>[] = Object.freeze([])

export class Nesting {
  readonly #limits: DecoderLimits
  #frames: Frame[] = []
  #depth = 0
  /** Kept beside, for each value asks for it. */
  #innermost: Frame | undefined
  #attributes: readonly Map<Reply, Reply>[] = NONE

  constructor(limits: DecoderLimits) {
    this.#limits = limits
  }

  /** The innermost one. The decoder puts into it itself what does not make it whole. */
  get innermost(): Frame | undefined {
    return this.#innermost
  }

  /** Attributes in the order in which they ended. */
  get attributes(): readonly Map<Reply, Reply>[] {
    return this.#attributes
  }

  forgetAttributes(): void {
    this.#attributes = NONE
  }

  /** Forgets what is open. */
  clear(): void {
    this.#frames = []
    this.#depth = 0
    this.#innermost = undefined
  }

  /**
   * Opens an aggregate of `count` elements, or of a number that its end will tell: {@link STREAMED}. An empty one is
   * whole at once.
   *
   * @param isFlat maps and sets as arrays, unless they are streamed
   * @throws {ProtocolError} `PROTOCOL_LIMIT`
   */
  begin(kind: FrameKind, count: number, isFlat: boolean): Reply | typeof OPENED {
    if (count === STREAMED) return this.#open(kind, STREAMED)
    this.#checkCount(count, 'elements')
    const values = kind === Byte.map || kind === Byte.attribute ? count * 2 : count
    const shape = isFlat && (kind === Byte.map || kind === Byte.set) ? Byte.array : kind
    if (count > 0) return this.#open(shape, values)
    if (kind === Byte.attribute) return OPENED // says nothing about the value that follows
    if (shape === Byte.map) return new Map()
    return shape === Byte.set ? new Set() : []
  }

  /**
   * Puts a value into the innermost one; returns the outermost one when that made it whole.
   *
   * @throws {ProtocolError} `PROTOCOL_LIMIT`
   */
  place(value: Reply): Reply | typeof OPENED {
    let whole = value
    for (let frame = this.#innermost; frame !== undefined; frame = this.#innermost) {
      if (!frame.add(whole)) {
        if (frame.remaining === STREAMED) this.#checkCount(frame.size, 'elements')
        return OPENED
      }
      const { kind } = frame
      whole = this.#close(frame)
      if (kind === Byte.attribute) {
        this.#addAttributes(whole as Map<Reply, Reply>)
        return OPENED
      }
    }
    return whole
  }

  /**
   * Adds to the streamed string, which is the innermost one.
   *
   * @throws {ProtocolError} `PROTOCOL_LIMIT`
   */
  addChunk(chunk: Buffer): typeof OPENED {
    const frame = this.#innermost as Frame
    const { maxBulkBytes } = this.#limits
    frame.bytes += chunk.length
    if (frame.bytes > maxBulkBytes) {
      throw beyondLimit(`a streamed string of ${frame.bytes} bytes`, 'maxBulkBytes', maxBulkBytes)
    }
    frame.add(chunk)
    return OPENED
  }

  /** Ends the streamed string. */
  endString(): Buffer {
    return Buffer.concat(this.#close(this.#innermost as Frame) as Buffer[])
  }

  /** Ends the streamed array, set or map; `undefined` where none may end. */
  endStream(): Reply | undefined {
    const frame = this.#innermost
    return frame?.isBetween === true ? this.#close(frame) : undefined
  }

  #open(kind: FrameKind, remaining: number): typeof OPENED {
    const { maxDepth } = this.#limits
    if (this.#depth >= maxDepth)
      throw beyondLimit(`a reply nested ${this.#depth + 1} deep`, 'maxDepth', maxDepth)
    let frame = this.#frames[this.#depth]
    if (frame === undefined) {
      frame = new Frame()
      this.#frames.push(frame)
    }
    frame.open(kind, remaining)
    this.#depth += 1
    this.#innermost = frame
    return OPENED
  }

  #close(frame: Frame): Reply {
    this.#depth -= 1
    this.#innermost = this.#depth > 0 ? this.#frames[this.#depth - 1] : undefined
    return frame.close()
  }

  #checkCount(count: number, what: 'elements' | 'attributes'): void {
    const { maxItems } = this.#limits
    if (count > maxItems) throw beyondLimit(`a reply of ${count} ${what}`, 'maxItems', maxItems)
  }

  #addAttributes(attributes: Map<Reply, Reply>): void {
    if (this.#attributes === NONE) this.#attributes = []
    const count = (this.#attributes as Map<Reply, Reply>[]).push(attributes)
    this.#checkCount(count, 'attributes')
  }
}
