// Who holds what, since when. With `leakTimeout`, leases that are out for longer are reported, once each; with
// `leakStacks`, the stack of the get() that got them is kept.
//
// Leases are lent in the order of time, so one timer for the oldest that was not reported is enough.

import { Alarm } from './alarm.ts'
import type { PoolContext } from './context.ts'
import type { Member } from './idle-list.ts'
import type { PooledConnection } from './pooled-connection.ts'
import type { Stock } from './stock.ts'
import { trace } from './tracing.ts'

/** A lease that is out, and for how long. */
export interface LeaseHolder<T extends PooledConnection> {
  readonly connection: T
  /** Milliseconds since it was lent. */
  readonly heldFor: number
  /** The stack of the `get()` or `use()` that got it, with `leakStacks`. */
  readonly stack: string | undefined
}

export class Leaks<T extends PooledConnection> {
  readonly #context: PoolContext<T>
  readonly #stock: Stock<T>
  readonly #alarm = new Alarm(() => this.#report())
  /** Whether leases are timed at all. */
  readonly isWatching: boolean

  constructor(context: PoolContext<T>, stock: Stock<T>) {
    const { leakTimeoutMs, leakStacks } = context.options
    this.#context = context
    this.#stock = stock
    this.isWatching = leakTimeoutMs > 0 || leakStacks
  }

  /** The caller's stack, if it is to be known. Called in get() itself, for later it is gone. */
  stackOfCaller(): string | undefined {
    if (!this.#context.options.leakStacks) return undefined
    return new Error('lent to').stack
  }

  /** A connection is lent. */
  lent(member: Member<T>, stack: string | undefined): void {
    const { leakTimeoutMs } = this.#context.options
    member.lentAt = this.#context.now()
    member.stack = stack
    member.isLeak = false
    if (leakTimeoutMs > 0 && !this.#alarm.isSet) this.#alarm.set(leakTimeoutMs, false)
  }

  /** It has come back. */
  returned(member: Member<T>): void {
    member.lentAt = 0
    member.stack = undefined
  }

  /** All that are lent now, the longest first. */
  holders(): LeaseHolder<T>[] {
    const now = this.#context.now()
    const holders: LeaseHolder<T>[] = []
    for (let member = this.#stock.longestOut; member !== undefined; member = member.newer) {
      if (member.lentAt > 0) holders.push(holderOf(member, now))
    }
    return holders
  }

  /** For how long the longest lease has been out, where that is known. */
  get longestHeldMs(): number | undefined {
    let member = this.isWatching ? this.#stock.longestOut : undefined
    while (member?.lentAt === 0) member = member.newer
    return member && this.#context.now() - member.lentAt
  }

  stop(): void {
    this.#alarm.cancel()
  }

  #report(): void {
    const { options, now, counters, pool } = this.#context
    const time = now()
    const leaks: LeaseHolder<T>[] = []
    let member = this.#stock.longestOut
    for (; member !== undefined; member = member.newer) {
      if (member.lentAt === 0 || member.isLeak) continue
      if (time - member.lentAt < options.leakTimeoutMs) break
      member.isLeak = true
      counters.leaks++
      leaks.push(holderOf(member, time))
    }
    if (member !== undefined) this.#alarm.set(member.lentAt + options.leakTimeoutMs - time, false)
    for (const holder of leaks) {
      if (trace.leak.hasSubscribers) trace.leak.publish({ pool, ...holder })
    }
  }
}

function holderOf<T extends PooledConnection>(member: Member<T>, now: number): LeaseHolder<T> {
  return Object.freeze({
    connection: member.connection,
    heldFor: now - member.lentAt,
    stack: member.stack,
  })
}
