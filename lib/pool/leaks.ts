// Who holds what, since when. With `leakTimeout`, leases that are out for longer are reported, once each; with
// `leakStacks`, the stack of the get() that got them is kept.
//
// One timer, for the oldest that was not reported: no other can be due before it.

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

/** @internal */
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
    return this.#lent().map((member) => holderOf(member, now))
  }

  /** For how long the longest lease has been out, where that is known. */
  get longestHeldMs(): number | undefined {
    let since: number | undefined
    for (const { lentAt } of this.isWatching ? this.#stock.out() : []) {
      if (lentAt > 0 && lentAt < (since ?? Number.POSITIVE_INFINITY)) since = lentAt
    }
    return since && this.#context.now() - since
  }

  stop(): void {
    this.#alarm.cancel()
  }

  /** Those that are lent, not merely tested, the longest first. */
  #lent(): Member<T>[] {
    const lent = [...this.#stock.out()].filter(({ lentAt }) => lentAt > 0)
    return lent.sort((a, b) => a.lentAt - b.lentAt)
  }

  #report(): void {
    const { options, now, counters, pool } = this.#context
    const time = now()
    const leaks: LeaseHolder<T>[] = []
    for (const member of this.#lent()) {
      if (member.isLeak) continue
      const leftMs = member.lentAt + options.leakTimeoutMs - time
      if (leftMs > 0) {
        this.#alarm.set(leftMs, false)
        break
      }
      member.isLeak = true
      counters.leaks++
      leaks.push(holderOf(member, time))
    }
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
