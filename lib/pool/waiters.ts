// Borrowers in a queue, first come first served:
//
//     first                       last
//     ahead ◁ … behind ▷ ⇄ … ⇄ … ⇄
//
// Linked through the borrowers, so that one that gives up leaves from anywhere in O(1) and leaves nothing. One
// borrower is in one queue at a time.

import type { Borrower } from './borrower.ts'
import type { PooledConnection } from './pooled-connection.ts'

export class Waiters<T extends PooledConnection> {
  #count = 0
  #first: Borrower<T> | undefined
  #last: Borrower<T> | undefined

  get count(): number {
    return this.#count
  }

  get first(): Borrower<T> | undefined {
    return this.#first
  }

  push(borrower: Borrower<T>): void {
    borrower.queue = this
    borrower.ahead = this.#last
    if (this.#last === undefined) this.#first = borrower
    else this.#last.behind = borrower
    this.#last = borrower
    this.#count++
  }

  /** @returns whether it did wait here */
  delete(borrower: Borrower<T>): boolean {
    if (borrower.queue !== this) return false
    const { ahead, behind } = borrower
    if (ahead === undefined) this.#first = behind
    else ahead.behind = behind
    if (behind === undefined) this.#last = ahead
    else behind.ahead = ahead
    borrower.queue = undefined
    borrower.ahead = undefined
    borrower.behind = undefined
    this.#count--
    return true
  }
}
