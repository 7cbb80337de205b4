// The connections of a pool, wherever they are:
//
//     dialing ──► out ⇄ idle ──► leaving (closed politely)
//        └─ failed  └──────┴───► gone    (destroyed, or its peer has ended it)
//
//     active = idle + out + dialing
//
// `out` is lent, being cleaned or being tested. What leaves has nothing pending and is no longer active: there is
// nothing left of it to wait for.

import type { PoolContext } from './context.ts'
import { Farewells } from './farewells.ts'
import { createMember, IdleList, type Member } from './idle-list.ts'
import type { PooledConnection } from './pooled-connection.ts'
import type { EvictionReason } from './stats.ts'
import { trace } from './tracing.ts'

/** Those whose connections have done nothing wrong. */
const politeReasons: ReadonlySet<EvictionReason> = new Set(['overflow', 'idleTimeout', 'lifetime', 'retired'])

export class Stock<T extends PooledConnection> {
  readonly #context: PoolContext<T>
  readonly #onLess: (isIdleLost: boolean) => void
  readonly #idle = new IdleList<T>()
  readonly #out = new IdleList<T>()
  readonly #leaving: Farewells
  #dialing = 0
  readonly #isTimed: boolean
  /** Nothing goes back to the idle list any more. */
  #isClosed = false

  /** @param onLess called when the peer has ended an idle connection, and when one that left has ended */
  constructor(context: PoolContext<T>, onLess: (isIdleLost: boolean) => void) {
    this.#context = context
    this.#onLess = onLess
    this.#isTimed = context.options.idleTimeoutMs > 0 || context.options.maxConnLifetimeMs > 0
    this.#leaving = new Farewells(context.options.resetTimeoutMs, () => onLess(false))
  }

  get activeCount(): number {
    return this.#idle.count + this.#out.count + this.#dialing
  }

  get idleCount(): number {
    return this.#idle.count
  }

  get isEmpty(): boolean {
    return this.activeCount === 0 && this.#leaving.count === 0
  }

  /** Of those that are out, the one that has been for longest. From there, {@link Member.newer} leads on. */
  get longestOut(): Member<T> | undefined {
    return this.#out.back
  }

  dialStarted(): void {
    this.#dialing++
    this.#context.counters.dials++
  }

  dialFailed(): void {
    this.#dialing--
    this.#context.counters.dialFailures++
  }

  /** The dialed connection is out. */
  dialed(connection: T): Member<T> {
    const { now, options } = this.#context
    this.#dialing--
    const dialedAt = now()
    const { maxConnLifetimeMs, lifetimeJitterMs } = options
    const lifetimeMs = maxConnLifetimeMs - (lifetimeJitterMs > 0 ? Math.random() * lifetimeJitterMs : 0)
    const expiresAt = maxConnLifetimeMs > 0 ? dialedAt + lifetimeMs : Number.POSITIVE_INFINITY
    const member = createMember(connection, dialedAt, expiresAt)
    this.#out.pushFront(member)
    const { closed } = connection
    if (closed instanceof Promise) {
      const drop = (): void => this.#dropDead(member)
      closed.then(drop, drop)
    }
    return member
  }

  /** The idle connection used last, of those that live; it is out then. */
  takeIdle(): Member<T> | undefined {
    for (let member = this.#idle.popFront(); member !== undefined; member = this.#idle.popFront()) {
      this.#out.pushFront(member)
      if (member.connection.error === undefined) return member
      this.evict(member, 'broken')
    }
    return undefined
  }

  /** The time, where {@link prune} and {@link isOverAge} need it: asking for it costs as much as all the rest. */
  get time(): number {
    return this.#isTimed ? this.#context.now() : 0
  }

  /** Closes what has been idle for longer than idleTimeout: as long is still good. */
  prune(time: number): void {
    const { idleTimeoutMs } = this.#context.options
    if (idleTimeoutMs === 0) return
    for (let oldest = this.#idle.back; oldest !== undefined; oldest = this.#idle.back) {
      if (oldest.lastUsedAt + idleTimeoutMs >= time) return
      this.evict(oldest, 'idleTimeout')
    }
  }

  /** Closes idle ones that are too old, wherever they are in the list. */
  pruneOverAge(time: number): void {
    for (let member = this.#idle.back; member !== undefined; ) {
      const { newer } = member
      if (this.isOverAge(member, time)) this.evict(member, 'lifetime')
      member = newer
    }
  }

  /** At exactly maxConnLifetime it is. */
  isOverAge(member: Member<T>, time: number): boolean {
    return time >= member.expiresAt
  }

  /** Takes a clean connection back: to the front of the idle list, which keeps maxIdle. */
  putIdle(member: Member<T>): void {
    if (member.isRetired && !this.#isClosed) {
      this.evict(member, 'retired')
      return
    }
    this.#out.delete(member)
    if (this.#isClosed) {
      this.#leaving.close(member.connection)
      return
    }
    member.lastUsedAt = this.#context.now()
    this.#idle.pushFront(member)
    const { back } = this.#idle
    if (this.#idle.count > this.#context.options.maxIdle && back !== undefined) this.evict(back, 'overflow')
  }

  /** Gives up a connection, idle or out: politely if it has done nothing wrong, otherwise it is destroyed. */
  evict(member: Member<T>, reason: EvictionReason, error?: Error): void {
    const { counters, pool } = this.#context
    const { connection } = member
    member.list?.delete(member)
    counters.evictions[reason]++
    if (politeReasons.has(reason)) this.#leaving.close(connection)
    else connection.destroy(error)
    if (trace.evict.hasSubscribers) trace.evict.publish({ pool, connection, reason })
  }

  /** Whether it is the pool's still; {@link destroyAll} takes all of them away. */
  isOut(member: Member<T>): boolean {
    return member.list === this.#out
  }

  /** Gives up all idle ones. */
  evictIdle(reason: EvictionReason, error?: Error): void {
    for (let member = this.#idle.back; member !== undefined; member = this.#idle.back) {
      this.evict(member, reason, error)
    }
  }

  /** Idle ones go, those that are out go when they come back. */
  retire(): void {
    this.evictIdle('retired')
    for (let member = this.#out.back; member !== undefined; member = member.newer) member.isRetired = true
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
    for (const list of [this.#idle, this.#out]) {
      for (let member = list.popFront(); member !== undefined; member = list.popFront()) {
        member.connection.destroy(error)
      }
    }
    this.#leaving.destroyAll(error)
  }

  /** An idle connection whose peer has ended it goes at once. One that is out is seen to when it comes back. */
  #dropDead(member: Member<T>): void {
    if (member.list !== this.#idle) return
    this.evict(member, 'broken')
    this.#onLess(true)
  }
}
