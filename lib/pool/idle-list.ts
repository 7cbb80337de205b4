// The idle connections of a pool, a doubly linked list through the members themselves:
//
//     front                                  back
//     used last  ⇄  …  ⇄  …  ⇄  unused for longest
//
// Connections are lent from and returned to the front, so that a pool under little load uses few of them, and
// are pruned at the back, where the oldest are. Every operation is O(1). A member is in one list, once, or in none.

import type { PooledConnection } from './pooled-connection.ts'

/** A connection of a pool, and what the pool remembers of it. */
export interface Member<T extends PooledConnection> {
  readonly connection: T
  /** When it had been dialed, by the pool's clock. */
  readonly createdAt: number
  /** When it last came back to the pool, by the pool's clock. */
  lastUsedAt: number
  /** The neighbour nearer to the front. */
  newer: Member<T> | undefined
  /** The neighbour nearer to the back. */
  older: Member<T> | undefined
}

/** A member that is in no list. */
export function createMember<T extends PooledConnection>(connection: T, now: number): Member<T> {
  return { connection, createdAt: now, lastUsedAt: now, newer: undefined, older: undefined }
}

/** See the drawing above. */
export class IdleList<T extends PooledConnection> {
  #count = 0
  #front: Member<T> | undefined
  #back: Member<T> | undefined

  get count(): number {
    return this.#count
  }

  get front(): Member<T> | undefined {
    return this.#front
  }

  get back(): Member<T> | undefined {
    return this.#back
  }

  pushFront(member: Member<T>): void {
    member.older = this.#front
    member.newer = undefined
    if (this.#front === undefined) this.#back = member
    else this.#front.newer = member
    this.#front = member
    this.#count++
  }

  popFront(): Member<T> | undefined {
    const member = this.#front
    if (member === undefined) return undefined
    this.#front = member.older
    if (this.#front === undefined) this.#back = undefined
    else this.#front.newer = undefined
    return this.#unlinked(member)
  }

  popBack(): Member<T> | undefined {
    const member = this.#back
    if (member === undefined) return undefined
    this.#back = member.newer
    if (this.#back === undefined) this.#front = undefined
    else this.#back.older = undefined
    return this.#unlinked(member)
  }

  #unlinked(member: Member<T>): Member<T> {
    member.older = undefined
    member.newer = undefined
    this.#count--
    return member
  }
}
