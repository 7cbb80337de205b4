// The connections of a pool, wherever they are:
//
//     dialing ──► out ⇄ idle ──► leaving (closed politely)
//        └─ failed  └──────┴───► gone    (destroyed)
//
//     active = idle + out + dialing
//
// `out` is lent, being cleaned or being tested. What leaves has nothing pending and is no longer active: there is
// nothing left of it to wait for.

import { Farewells } from './farewells.ts'
import { createMember, IdleList, type Member } from './idle-list.ts'
import type { ResolvedPoolOptions } from './options.ts'
import type { PooledConnection } from './pooled-connection.ts'
import type { EvictionReason, PoolCounters } from './stats.ts'

export class Stock<T extends PooledConnection> {
  readonly #options: ResolvedPoolOptions<T>
  readonly #now: () => number
  readonly #counters: PoolCounters
  readonly #idle = new IdleList<T>()
  readonly #out = new Set<Member<T>>()
  readonly #leaving: Farewells
  #dialing = 0
  /** Nothing goes back to the idle list any more. */
  #isClosed = false

  /** @param onLeft called when a connection that was closed politely has ended */
  constructor(
    options: ResolvedPoolOptions<T>,
    now: () => number,
    counters: PoolCounters,
    onLeft: () => void,
  ) {
    this.#options = options
    this.#now = now
    this.#counters = counters
    this.#leaving = new Farewells(options.resetTimeoutMs, onLeft)
  }

  get activeCount(): number {
    return this.#idle.count + this.#out.size + this.#dialing
  }

  get idleCount(): number {
    return this.#idle.count
  }

  get isEmpty(): boolean {
    return this.activeCount === 0 && this.#leaving.count === 0
  }

  dialStarted(): void {
    this.#dialing++
    this.#counters.dials++
  }

  dialFailed(): void {
    this.#dialing--
    this.#counters.dialFailures++
  }

  /** The dialed connection is out. */
  dialed(connection: T): Member<T> {
    this.#dialing--
    const member = createMember(connection, this.#now())
    this.#out.add(member)
    return member
  }

  /** The idle connection used last, of those that live; it is out then. */
  takeIdle(): Member<T> | undefined {
    for (let member = this.#idle.popFront(); member !== undefined; member = this.#idle.popFront()) {
      this.#out.add(member)
      if (member.connection.error === undefined) return member
      this.evict(member, 'broken')
    }
    return undefined
  }

  /** Closes what has been idle for longer than idleTimeout: as long is still good. */
  prune(): void {
    const { idleTimeoutMs } = this.#options
    if (idleTimeoutMs === 0) return
    const now = this.#now()
    for (let oldest = this.#idle.back; oldest !== undefined; oldest = this.#idle.back) {
      if (oldest.lastUsedAt + idleTimeoutMs >= now) return
      this.#evictOldest('idleTimeout')
    }
  }

  /** At exactly maxConnLifetime it is. */
  isOverAge(member: Member<T>): boolean {
    const { maxConnLifetimeMs } = this.#options
    return maxConnLifetimeMs > 0 && this.#now() - member.createdAt >= maxConnLifetimeMs
  }

  /** Takes a clean connection back: to the front of the idle list, which keeps maxIdle. */
  putIdle(member: Member<T>): void {
    this.#out.delete(member)
    if (this.#isClosed) {
      this.#leaving.close(member.connection)
      return
    }
    member.lastUsedAt = this.#now()
    this.#idle.pushFront(member)
    if (this.#idle.count > this.#options.maxIdle) this.#evictOldest('overflow')
  }

  /** Gives up a connection that is out: politely if it is only too old, otherwise it is destroyed. */
  evict(member: Member<T>, reason: EvictionReason, error?: Error): void {
    this.#out.delete(member)
    this.#counters.evictions[reason]++
    if (reason === 'lifetime') this.#leaving.close(member.connection)
    else member.connection.destroy(error)
  }

  /** Whether it is the pool's still; {@link destroyAll} takes all of them away. */
  isOut(member: Member<T>): boolean {
    return this.#out.has(member)
  }

  /** Closes the idle ones, and from now on the others when they come back. */
  close(): void {
    this.#isClosed = true
    for (let member = this.#idle.popFront(); member !== undefined; member = this.#idle.popFront()) {
      this.#leaving.close(member.connection)
    }
  }

  /** Destroys all that there is. */
  destroyAll(error: Error): void {
    this.#isClosed = true
    for (let member = this.#idle.popFront(); member !== undefined; member = this.#idle.popFront()) {
      member.connection.destroy(error)
    }
    const out = [...this.#out]
    this.#out.clear()
    for (const { connection } of out) connection.destroy(error)
    this.#leaving.destroyAll(error)
  }

  #evictOldest(reason: 'idleTimeout' | 'overflow'): void {
    const oldest = this.#idle.popBack()
    if (oldest === undefined) return
    this.#counters.evictions[reason]++
    this.#leaving.close(oldest.connection)
  }
}
