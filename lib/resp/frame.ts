// An open aggregate, and what has arrived of it.

import { Byte, type Reply } from './types.ts'

/** `bulk` is a streamed string: an aggregate of chunks. */
export type FrameKind =
  | typeof Byte.array
  | typeof Byte.map
  | typeof Byte.set
  | typeof Byte.push
  | typeof Byte.attribute
  | typeof Byte.bulk

/** Elements of an array that are given room by its announcement alone; measured: a sixth less time for arrays. */
const MAX_ROOM = 1024

/** What a streamed aggregate has instead of a number of values to come: it ends by its end mark. */
export const STREAMED = -1

/** A decoder uses its frames again and again, so that a small aggregate costs its values and no more. */
export class Frame {
  kind: FrameKind = Byte.array
  /** Values still to come; a pair of a map counts as two. */
  remaining = 0
  #list: Reply[] | undefined
  #filled = 0
  #map: Map<Reply, Reply> | undefined
  #set: Set<Reply> | undefined
  /** The key whose value is awaited, in a map. */
  #key: Reply | undefined
  /** Bytes of a streamed string so far. */
  bytes = 0

  open(kind: FrameKind, remaining: number): void {
    this.kind = kind
    this.remaining = remaining
    this.bytes = 0
    if (kind === Byte.map || kind === Byte.attribute) this.#map = new Map()
    else if (kind === Byte.set) this.#set = new Set()
    else this.#list = new Array(Math.min(Math.max(remaining, 0), MAX_ROOM))
    this.#filled = 0
  }

  /** Puts the next value in; whether the aggregate is whole then. */
  add(value: Reply): boolean {
    if (this.#list !== undefined) {
      this.#list[this.#filled] = value
      this.#filled += 1
    } else if (this.#map !== undefined) {
      if (this.#key === undefined) {
        this.#key = value
      } else {
        this.#map.set(this.#key, value)
        this.#key = undefined
      }
    } else {
      this.#set?.add(value)
    }
    if (this.remaining === STREAMED) return false
    this.remaining -= 1
    return this.remaining === 0
  }

  /** Whether a streamed aggregate may end here: not between a key and its value. */
  get isBetween(): boolean {
    return this.remaining === STREAMED && this.#key === undefined
  }

  /** Distinct values or pairs so far. */
  get size(): number {
    return this.#list !== undefined ? this.#filled : (this.#map?.size ?? this.#set?.size ?? 0)
  }

  /** The aggregate; the frame forgets it. */
  close(): Reply {
    const whole = this.#list ?? this.#map ?? this.#set ?? []
    this.#list = this.#map = this.#set = this.#key = undefined
    return whole
  }
}
