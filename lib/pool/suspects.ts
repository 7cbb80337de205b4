// Idle connections after another was lost to the network: if its peer or the way to it is gone, they are too, and
// each borrower would find out by one test after another. So they are tested at once and together, or go, where
// nothing can test them.

import { type BorrowTest, isNetworkFailure } from './borrow-test.ts'
import type { PoolContext } from './context.ts'
import type { Member } from './idle-list.ts'
import type { Places } from './places.ts'
import type { PooledConnection } from './pooled-connection.ts'
import type { Stock } from './stock.ts'

export interface SuspectsOwner<T extends PooledConnection> {
  /** It has passed its test. */
  cleared(member: Member<T>): void
  /** Idle ones are gone, as many as there were. Their places are free. */
  gone(): void
}

export class Suspects<T extends PooledConnection> {
  readonly #isWanted: boolean
  readonly #stock: Stock<T>
  readonly #places: Places<T>
  readonly #test: BorrowTest<T>
  readonly #owner: SuspectsOwner<T>
  /** Aborts at the end of the pool. */
  readonly #ending = new AbortController()

  constructor(
    { options }: PoolContext<T>,
    stock: Stock<T>,
    places: Places<T>,
    test: BorrowTest<T>,
    owner: SuspectsOwner<T>,
  ) {
    this.#isWanted = options.distrust
    this.#stock = stock
    this.#places = places
    this.#test = test
    this.#owner = owner
  }

  /** A connection was found dead, and with what error: does that say something about the others? */
  consider(error: unknown): void {
    if (this.#isWanted && isNetworkFailure(error)) this.suspect()
  }

  /** A connection was lost. */
  suspect(): void {
    if (!this.#isWanted || this.#stock.idleCount === 0) return
    if (!this.#test.isPossible) {
      this.#stock.evictIdle('suspect')
      this.#owner.gone()
      return
    }
    const suspects: Member<T>[] = []
    // there is a vacant place for each idle connection, as places are counted
    while (this.#stock.idleCount > 0 && this.#places.take()) {
      const member = this.#stock.takeIdle()
      if (member === undefined) this.#places.vacate()
      else suspects.push(member)
    }
    for (const member of suspects) void this.#examine(member)
  }

  destroy(error: Error): void {
    this.#ending.abort(error)
  }

  /** Never rejects. */
  async #examine(member: Member<T>): Promise<void> {
    const result = await this.#test.run(member, this.#ending.signal, true)
    if (!this.#stock.isOut(member)) return
    if (result === 'passed') {
      this.#owner.cleared(member)
      return
    }
    this.#stock.evict(member, 'failedTest')
    this.#places.vacate()
    this.#owner.gone()
  }
}
