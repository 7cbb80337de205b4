// All that is owed replies, in the order in which it was given to the connection; replies come in the same order.
//
//   #ring (a power of two)   [ free | head ► owed … owed, not yet written ◄ tail | free ]

import type { Pending } from './pending.ts'

const FIRST_CAPACITY = 16

export class PendingQueue {
  #ring: (Pending | undefined)[] = new Array(FIRST_CAPACITY)
  #head = 0
  #places = 0
  #owed = 0
  #unwritten = 0
  #pushed = 0

  /** Commands whose reply is owed. */
  get length(): number {
    return this.#owed
  }

  /** How many of them, at the end, no byte was written of; and how many, at the beginning, were written. */
  get unwritten(): number {
    return this.#unwritten
  }

  get written(): number {
    return this.#owed - this.#unwritten
  }

  /** All of them are written. */
  markWritten(): void {
    this.#unwritten = 0
  }

  /** Commands that were ever given. */
  get pushed(): number {
    return this.#pushed
  }

  /** Whether somebody waits for one of the replies. */
  get isAwaited(): boolean {
    for (const [, pending] of this.entries()) {
      if (!pending.isSettled) return true
    }
    return false
  }

  /** Whether the command of that number was written: it may have run. */
  isWritten(number: number): boolean {
    return number < this.#pushed - this.#unwritten
  }

  push(pending: Pending): void {
    if (this.#places === this.#ring.length) this.#grow()
    this.#ring[(this.#head + this.#places) & (this.#ring.length - 1)] = pending
    this.#places += 1
    this.#owed += pending.owed
    this.#unwritten += pending.owed
    this.#pushed += pending.owed
  }

  /** To whom the next reply belongs; what was taken back in time is passed over. */
  first(): Pending | undefined {
    while (this.#places > 0) {
      const pending = this.#ring[this.#head] as Pending
      if (!pending.isDropped) return pending
      this.#owed -= pending.owed
      this.#remove()
    }
    return undefined
  }

  /** The first got a reply, the one it was owed or one of them. */
  shift(): void {
    const pending = this.#ring[this.#head] as Pending
    this.#owed -= 1
    if (pending.owed > 1) pending.owed -= 1
    else this.#remove()
  }

  /** In order, each with the number of commands before it. */
  *entries(): Generator<[number, Pending]> {
    let place = 0
    for (let i = 0; i < this.#places; i += 1) {
      const pending = this.#ring[(this.#head + i) & (this.#ring.length - 1)] as Pending
      yield [place, pending]
      place += pending.owed
    }
  }

  clear(): void {
    this.#ring = new Array(FIRST_CAPACITY)
    this.#head = this.#places = this.#owed = this.#unwritten = 0
  }

  #remove(): void {
    this.#ring[this.#head] = undefined
    this.#head = (this.#head + 1) & (this.#ring.length - 1)
    this.#places -= 1
  }

  #grow(): void {
    const { length } = this.#ring
    const ring: (Pending | undefined)[] = new Array(length * 2)
    for (let i = 0; i < length; i += 1) ring[i] = this.#ring[(this.#head + i) & (length - 1)]
    this.#ring = ring
    this.#head = 0
  }
}
