// Connections of a pool in the order of time, a doubly linked list through the members themselves:
//
//     front                          back
//     last to come  ⇄  …  ⇄  …  ⇄  first to come
//
// Idle ones are lent from and returned to the front, so that a pool under little load uses few of them, and are pruned
// at the back, where the oldest are. Every operation is O(1). A member is in one list, once, or in none.

import type { PooledConnection } from './pooled-connection.ts'

/** A connection of a pool, and what the pool remembers of it. */
export interface Member<T extends PooledConnection> {
  readonly connection: T
  /** From when on it is too old to be lent, by the pool's clock. */
  readonly expiresAt: number
  /** When it last came back to the pool, by the pool's clock. */
  lastUsedAt: number
  /** Who was told of its pushes when it was lent: the borrower's own listener goes when the lease does. */
  onPush: PooledConnection['onPush']
  /** Whether the connection's reset() leads back to where the lease began. */
  canReset: boolean
  /** When it was lent, and the stack of the get() that got it; only where leases are watched. */
  lentAt: number
  stack: string | undefined
  /** Whether this lease was found to be out for too long. */
  isLeak: boolean
  /** It is closed when it comes back, however clean. */
  isRetired: boolean
  /** The pool has given it up. */
  isGone: boolean
  /** The list it is in. */
  list: IdleList<T> | undefined
  /** The neighbour nearer to the front. */
  newer: Member<T> | undefined
  /** The neighbour nearer to the back. */
  older: Member<T> | undefined
}

/** A member that is in no list. */
export function createMember<T extends PooledConnection>(
  connection: T,
  now: number,
  expiresAt = Number.POSITIVE_INFINITY,
): Member<T> {
  return {
    connection,
    expiresAt,
    lastUsedAt: now,
    onPush: undefined,
    canReset: false,
    lentAt: 0,
    stack: undefined,
    isLeak: false,
    isRetired: false,
    isGone: false,
    list: undefined,
    newer: undefined,
    older: undefined,
  }
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
    member.list = this
    member.older = this.#front
    member.newer = undefined
    if (this.#front === undefined) this.#back = member
    else this.#front.newer = member
    this.#front = member
    this.#count++
  }

  popFront(): Member<T> | undefined {
    const member = this.#front
    if (member !== undefined) this.delete(member)
    return member
  }

  popBack(): Member<T> | undefined {
    const member = this.#back
    if (member !== undefined) this.delete(member)
    return member
  }

  /** @returns whether it was in this list */
  delete(member: Member<T>): boolean {
    if (member.list !== this) return false
    const { newer, older } = member
    if (newer === undefined) this.#front = older
    else newer.older = older
    if (older === undefined) this.#back = newer
    else older.newer = newer
    member.list = undefined
    member.older = undefined
    member.newer = undefined
    this.#count--
    return true
  }
}
