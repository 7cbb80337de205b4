// The connections of a pool, wherever they are:
//
//     dialing ──► out ⇄ idle ──► leaving (closed politely)
//        └─ failed  └──────┴───► gone    (destroyed, or its peer has ended it)
//
//     active = idle + out + dialing
//
// `out` is lent, being cleaned or being tested. What leaves has nothing pending and is no longer active: there is
// nothing left of it to wait for.

import type { BorrowTest } from './borrow-test.ts'
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
  /** All of them, in the order in which they were dialed. */
  readonly #members = new Set<Member<T>>()
  readonly #idle = new IdleList<T>()
  readonly #leaving: Farewells
  #dialing = 0
  readonly #isTimed: boolean
  /** Whether anybody asks when a connection was used. */
  readonly #isUseTimed: boolean
  /** Nothing goes back to the idle list any more. */
  #isClosed = false

  /** @param onLess called when the peer has ended an idle connection, and when one that left has ended */
  constructor(context: PoolContext<T>, onLess: (isIdleLost: boolean) => void) {
    this.#context = context
    this.#onLess = onLess
    const { idleTimeoutMs, maxConnLifetimeMs, pingIfIdleLongerThanMs, testOnBorrow } = context.options
    this.#isTimed = idleTimeoutMs + maxConnLifetimeMs > 0
    this.#isUseTimed = idleTimeoutMs + pingIfIdleLongerThanMs > 0 || testOnBorrow !== undefined
    this.#leaving = new Farewells(context.options.resetTimeoutMs, () => onLess(false))
  }

  get activeCount(): number {
    return this.#members.size + this.#dialing
  }

  get idleCount(): number {
    return this.#idle.count
  }

  get isEmpty(): boolean {
    return this.activeCount === 0 && this.#leaving.count === 0
  }

  /** Those that are out, in no order. */
  *out(): Generator<Member<T>> {
    for (const member of this.#members) if (this.isOut(member)) yield member
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
    this.#members.add(member)
    const { closed } = connection
    if (closed instanceof Promise) {
      const drop = (): void => this.#dropDead(member)
      closed.then(drop, drop)
    }
    return member
  }

  /** Closes what has been idle for too long, then takes the first. */
  firstIdle(test: BorrowTest<T>): Member<T> | undefined {
    const { time } = this
    this.prune(time)
    return this.nextIdle(test, time)
  }

  /** The next idle one that is not too old; of those to be tested that is looked at afterwards, as in redigo. */
  nextIdle(test: BorrowTest<T>, time = this.time): Member<T> | undefined {
    for (let member = this.takeIdle(); member !== undefined; member = this.takeIdle()) {
      if (test.isDue(member) || !this.isOverAge(member, time)) return member
      this.evict(member, 'lifetime')
    }
    return undefined
  }

  /** The idle connection used last, of those that live; it is out then. */
  takeIdle(): Member<T> | undefined {
    for (let member = this.#idle.popFront(); member !== undefined; member = this.#idle.popFront()) {
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

  /** Whether a clean connection would be the first idle one now, and good enough to be lent at once. */
  wouldKeep(member: Member<T>): boolean {
    if (member.isRetired || this.#context.options.maxIdle === 0) return false
    return !this.#isTimed || !this.isOverAge(member, this.time)
  }

  /** Takes a clean connection back: to the front of the idle list, which keeps maxIdle. */
  putIdle(member: Member<T>): void {
    if (member.isRetired && !this.#isClosed) {
      this.evict(member, 'retired')
      return
    }
    if (this.#isClosed) {
      this.#drop(member)
      this.#leaving.close(member.connection)
      return
    }
    if (this.#isUseTimed) member.lastUsedAt = this.#context.now()
    this.#idle.pushFront(member)
    const { back } = this.#idle
    if (this.#idle.count > this.#context.options.maxIdle && back !== undefined) this.evict(back, 'overflow')
  }

  /** Gives up a connection, idle or out: politely if it has done nothing wrong, otherwise it is destroyed. */
  evict(member: Member<T>, reason: EvictionReason, error?: Error): void {
    const { counters, pool } = this.#context
    const { connection } = member
    this.#drop(member)
    counters.evictions[reason]++
    if (politeReasons.has(reason)) this.#leaving.close(connection)
    else connection.destroy(error)
    if (trace.evict.hasSubscribers) trace.evict.publish({ pool, connection, reason })
  }

  /** Whether it is the pool's still; {@link destroyAll} takes all of them away. */
  isOut(member: Member<T>): boolean {
    return member.list === undefined && !member.isGone
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
    for (const member of this.#members) member.isRetired = true
  }

  /** Closes the idle ones, and from now on the others when they come back. */
  close(): void {
    this.#isClosed = true
    for (let member = this.#idle.front; member !== undefined; member = this.#idle.front) {
      this.#drop(member)
      this.#leaving.close(member.connection)
    }
  }

  /** Destroys all that there is. */
  destroyAll(error: Error): void {
    this.#isClosed = true
    for (const member of this.#members) {
      this.#drop(member)
      member.connection.destroy(error)
    }
    this.#leaving.destroyAll(error)
  }

  /** It is the pool's no longer. */
  #drop(member: Member<T>): void {
    this.#idle.delete(member)
    this.#members.delete(member)
    member.isGone = true
  }

  /** An idle connection whose peer has ended it goes at once. One that is out is seen to when it comes back. */
  #dropDead(member: Member<T>): void {
    if (member.list !== this.#idle) return
    this.evict(member, 'broken')
    this.#onLess(true)
  }
}
