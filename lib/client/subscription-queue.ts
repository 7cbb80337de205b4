// Messages that wait for their consumer, first in, first out, and between them the gaps that it is to be told of
// before the next message. Whether another message fits is asked first; a gap always does: those with no message
// between them become one.
//
//   takes  ◄── [ message  message  message  message ] ◄── push
//                    ▲ gap before it            ▲ gap behind the last

import type { Gap, Payload, Replies } from './subscription-options.ts'

/** One message. */
export interface Message<R extends Replies = 'string'> {
  readonly channel: string
  readonly message: Payload<R>
  /** The pattern by which it came; `undefined` where a channel was subscribed to. */
  readonly pattern: string | undefined
}

/** Room for so many taken messages may stay at the front of the array before the others are moved up. */
const SLACK = 1024

export class MessageQueue {
  readonly #limit: number
  readonly #limitBytes: number
  #messages: (Message<Replies> | undefined)[] = []
  /** Where the oldest is. */
  #head = 0
  #byteLength = 0
  readonly #gaps = new Map<Message<Replies>, Gap>()
  /** Behind the last message. */
  #lastGap: Gap | undefined

  constructor(limit: number, limitBytes: number) {
    this.#limit = limit
    this.#limitBytes = limitBytes
  }

  get length(): number {
    return this.#messages.length - this.#head
  }

  /** Lengths of the payloads that wait. */
  get byteLength(): number {
    return this.#byteLength
  }

  /** Whether that payload finds room; with nothing else waiting it always does. */
  hasRoomFor(message: string | Buffer): boolean {
    const { length } = this
    if (length === 0) return true
    return length < this.#limit && this.#byteLength + message.length <= this.#limitBytes
  }

  push(message: Message<Replies>): void {
    this.#messages.push(message)
    this.#byteLength += message.message.length
    if (this.#lastGap === undefined) return
    this.#gaps.set(message, this.#lastGap)
    this.#lastGap = undefined
  }

  /** To be told behind all that waits. */
  pushGap(gap: Gap): void {
    this.#lastGap = merged(this.#lastGap, gap)
  }

  /** Takes the gap that is to be told before anything else. */
  takeGap(): Gap | undefined {
    const first = this.#messages[this.#head]
    if (first === undefined) {
      const gap = this.#lastGap
      this.#lastGap = undefined
      return gap
    }
    const gap = this.#gaps.get(first)
    if (gap !== undefined) this.#gaps.delete(first)
    return gap
  }

  /** Takes the oldest; its gap has been taken, or is dropped. */
  shift(): Message<Replies> | undefined {
    const first = this.#messages[this.#head]
    if (first === undefined) return undefined
    this.#messages[this.#head] = undefined
    this.#head += 1
    this.#byteLength -= first.message.length
    if (this.#gaps.size > 0) this.#gaps.delete(first)
    if (this.#head === this.#messages.length) {
      this.#messages = []
      this.#head = 0
    } else if (this.#head >= SLACK && this.#head * 2 >= this.#messages.length) {
      this.#messages = this.#messages.slice(this.#head)
      this.#head = 0
    }
    return first
  }

  /** Drops the oldest; the gap before it is told before the one behind. */
  drop(): void {
    const gap = this.takeGap()
    this.shift()
    if (gap === undefined) return
    const next = this.#messages[this.#head]
    if (next === undefined) this.#lastGap = merged(gap, this.#lastGap)
    else this.#gaps.set(next, merged(gap, this.#gaps.get(next)))
  }

  clear(): void {
    this.#messages = []
    this.#head = this.#byteLength = 0
    this.#gaps.clear()
    this.#lastGap = undefined
  }
}

/** One gap in place of two that follow each other. */
function merged(first: Gap, second: Gap | undefined): Gap
function merged(first: Gap | undefined, second: Gap): Gap
function merged(first: Gap | undefined, second: Gap | undefined): Gap | undefined {
  if (first === undefined || second === undefined) return first ?? second
  const downtime = first.downtime + second.downtime
  return Object.freeze({ ...second, from: first.from, downtime })
}
