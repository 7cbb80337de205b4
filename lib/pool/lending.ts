// Lends connections and takes them back.
//
//     get() ─► idle one, no test ────────────────────────► lease ─► close() ─┬─► who has waited longest
//       └─ or else: it queues, is tested or dialed for ──►  ▲                ├─► idle
//          (service.ts)                                     └────────────────┘   └─ dead, dirty, one too many: gone
//
// Every connection that is out, every dial and every borrower who is queued for one holds a place; who makes one free
// calls vacate().

import type { PoolError } from '../errors.ts'
import type { PoolContext } from './context.ts'
import type { Member } from './idle-list.ts'
import { Keeper } from './keeper.ts'
import { Leaks } from './leaks.ts'
import { Lease, type LeaseOwner, type ReturnedAs } from './lease.ts'
import type { PooledConnection } from './pooled-connection.ts'
import { Service, type ServiceOwner } from './service.ts'
import { Stock } from './stock.ts'
import { Suspects } from './suspects.ts'
import { Sweeper } from './sweeper.ts'
import { trace } from './tracing.ts'

export class Lending<T extends PooledConnection> implements LeaseOwner<T>, ServiceOwner<T> {
  readonly stock: Stock<T>
  readonly leaks: Leaks<T>
  readonly keeper: Keeper<T>
  readonly resetTimeoutMs: number
  readonly #context: PoolContext<T>
  readonly #service: Service<T>
  readonly #suspects: Suspects<T>
  readonly #sweeper: Sweeper<T>
  readonly #onQuiet: () => void

  /** @param onQuiet called when a connection has gone or a borrower was answered */
  constructor(context: PoolContext<T>, onQuiet: () => void) {
    this.#context = context
    this.#onQuiet = onQuiet
    this.resetTimeoutMs = context.options.resetTimeoutMs
    this.stock = new Stock(context, (isIdleLost) => {
      if (isIdleLost) this.keeper.lost()
      onQuiet()
    })
    this.leaks = new Leaks(context, this.stock)
    const service = new Service(context, this)
    this.#service = service
    this.keeper = new Keeper(context, {
      activeCount: () => service.activeCount,
      idleCount: () => this.stock.idleCount,
      refusal: () => service.refusal(),
      dialForStock: () => service.dialForStock(),
    })
    this.#suspects = new Suspects(context, this.stock, service.places, service.test, {
      cleared: (member) => this.putBack(member),
      gone: () => {
        this.keeper.lost()
        onQuiet()
      },
    })
    this.#sweeper = new Sweeper(context, this.stock, () => {
      this.keeper.check()
      onQuiet()
    })
  }

  get activeCount(): number {
    return this.#service.activeCount
  }

  get waitingCount(): number {
    return this.#service.waitingCount
  }

  get isQuiet(): boolean {
    return this.#service.isQuiet
  }

  /** The way of every day: an idle connection that needs no test is lent without a borrower, a closure or a wait. */
  get(signal: AbortSignal | undefined): Promise<Lease<T>> {
    const service = this.#service
    const stack = this.leaks.isWatching ? this.leaks.stackOfCaller() : undefined
    if (!service.places.take()) {
      const { refusals } = service
      return refusals.isFull ? Promise.reject(refusals.queueFull()) : service.queue(signal, stack)
    }
    const member = this.stock.firstIdle(service.test)
    if (member === undefined || service.test.isDue(member)) return service.serve(signal, stack, member)
    this.#context.counters.hits++
    return Promise.resolve(this.lend(member, stack))
  }

  /** Idle ones go, lent ones go when they come back, and dials begin again. */
  retire(reason: Error): void {
    this.stock.retire()
    this.#service.retire(reason)
    this.keeper.check()
    this.#onQuiet()
  }

  /** Nobody waits any more; who is tested or dialed for is still served. */
  dismiss(error: () => PoolError): void {
    this.#sweeper.stop()
    this.keeper.stop(error())
    this.stock.close()
    this.#service.dismiss(error)
  }

  destroy(error: Error): void {
    this.#sweeper.stop()
    this.leaks.stop()
    this.keeper.stop(error)
    this.stock.destroyAll(error)
    this.#service.destroy(error)
    this.#suspects.destroy(error)
  }

  lend(member: Member<T>, stack: string | undefined): Lease<T> {
    if (this.leaks.isWatching) this.leaks.lent(member, stack)
    const lease = new Lease(member, this)
    if (trace.lend.hasSubscribers) {
      trace.lend.publish({ pool: this.#context.pool, connection: member.connection })
    }
    this.keeper.check()
    return lease
  }

  takeBack(member: Member<T>, as: ReturnedAs, reason?: Error): void {
    if (!this.stock.isOut(member)) return // the pool was destroyed meanwhile, and the connection with it
    const { connection } = member
    const { error } = connection // before it is destroyed
    if (this.leaks.isWatching) this.leaks.returned(member)
    if (as !== 'clean') this.stock.evict(member, as, reason)
    else if (this.#service.passOn(member)) return
    else {
      this.stock.putIdle(member)
      this.#sweeper.watch()
    }
    if (as === 'broken' && reason === undefined) this.#suspects.consider(error)
    if (trace.return.hasSubscribers) trace.return.publish({ pool: this.#context.pool, connection, as })
    this.vacate()
  }

  putBack(member: Member<T>): void {
    this.takeBack(member, member.connection.error === undefined ? 'clean' : 'broken')
  }

  /** A place is free; in a pool that was closed, maybe the last one. */
  vacate(): void {
    if (!this.#service.offer()) this.#service.places.vacate()
    this.keeper.check()
    this.#onQuiet()
  }

  answered(): void {
    this.#onQuiet()
  }

  lost(): void {
    this.#suspects.suspect()
  }
}
