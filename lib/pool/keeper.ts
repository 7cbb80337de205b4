// Keeps `minIdle` connections idle, from warmUp() or the first get() on. It dials for the stock, in the background:
// only where there is a place and room to dial. After a failure, or when an idle connection was lost, there is a
// pause, and after a failure one dial at a time: a server that is down, or that ends each connection, is not hammered.

import { watchAbort } from '../connection/index.ts'
import { AbortError } from '../errors.ts'
import { Alarm } from './alarm.ts'
import type { PoolContext } from './context.ts'
import type { PooledConnection } from './pooled-connection.ts'

/** Long against a dial that fails at once, short against the time in which one misses an idle connection. */
const PAUSE_MS = 1000

export interface KeeperPool {
  activeCount(): number
  idleCount(): number
  /** Why a dial would be refused now. */
  refusal(): { readonly error: unknown } | undefined
  /** Dials for the stock, if that may be; the keeper is told how it ends. */
  dialForStock(): boolean
}

interface WarmUp {
  readonly done: () => void
  readonly fail: (error: unknown) => void
}

export class Keeper<T extends PooledConnection> {
  readonly #minIdle: number
  readonly #maxActive: number
  readonly #pool: KeeperPool
  readonly #warmUps = new Set<WarmUp>()
  readonly #alarm = new Alarm(() => this.check())
  #isStopped = false
  #dialing = 0
  #hasFailed = false

  constructor({ options }: PoolContext<T>, pool: KeeperPool) {
    this.#minIdle = options.minIdle
    this.#maxActive = options.maxActive
    this.#pool = pool
  }

  /** Dials what is missing, unless there is a pause. Whoever takes an idle connection calls it. */
  check(): void {
    if (this.#minIdle === 0 || this.#isStopped || this.#alarm.isSet) return
    this.#dialMissing()
  }

  /** Resolves when nothing is missing, rejects with what the first dial after this fails with. */
  warmUp(signal: AbortSignal | undefined): Promise<void> {
    return new Promise((resolve, reject) => {
      const end = (): void => {
        this.#warmUps.delete(warmUp)
        unwatch?.()
      }
      const warmUp: WarmUp = {
        done() {
          end()
          resolve()
        },
        fail(error) {
          end()
          reject(error)
        },
      }
      const unwatch = signal && watchAbort(signal, () => warmUp.fail(new AbortError(signal)))
      this.#warmUps.add(warmUp)
      this.#alarm.cancel()
      const refusal = this.#isWarm() ? undefined : this.#pool.refusal()
      if (refusal !== undefined) this.#failAll(refusal.error)
      else this.#dialMissing()
    })
  }

  /** A connection was lost while it was idle. */
  lost(): void {
    if (this.#minIdle > 0 && !this.#isStopped) this.#alarm.set(PAUSE_MS, false)
  }

  /** A dial for the stock has succeeded. */
  dialed(): void {
    this.#dialing--
    this.#hasFailed = false
    this.check()
  }

  /** A dial for the stock has failed, or was retired, which says nothing of the next. */
  dialFailed(error: unknown, isRetired: boolean): void {
    this.#dialing--
    if (isRetired) return
    this.#hasFailed = true
    if (!this.#isStopped && !this.#isWarm()) this.#alarm.set(PAUSE_MS, false)
    this.#failAll(error)
  }

  /** There will be no more: those who wait are told. */
  stop(error: Error): void {
    this.#isStopped = true
    this.#alarm.cancel()
    this.#failAll(error)
  }

  #dialMissing(): void {
    const limit = this.#hasFailed ? 1 : Number.POSITIVE_INFINITY
    let missing = this.#minIdle - this.#pool.idleCount() - this.#dialing
    while (missing > 0 && this.#dialing < limit) {
      this.#dialing++
      if (!this.#pool.dialForStock()) {
        this.#dialing--
        break
      }
      missing--
    }
    if (missing > 0 && this.#pool.refusal() !== undefined) this.#alarm.set(PAUSE_MS, false)
    // what there is no room for now is looked at again whenever a connection comes or goes
    if (this.#warmUps.size > 0 && this.#isWarm()) for (const { done } of [...this.#warmUps]) done()
  }

  #isWarm(): boolean {
    if (this.#pool.idleCount() >= this.#minIdle) return true
    return this.#dialing === 0 && this.#maxActive > 0 && this.#pool.activeCount() >= this.#maxActive
  }

  #failAll(error: unknown): void {
    for (const { fail } of [...this.#warmUps]) fail(error)
  }
}
