// A pool over fake connections whose dials are counted, by a clock that stands still until it is moved.

import { Pool, type PoolOptions } from '../../lib/pool/index.ts'
import { ManualClock, settled } from './clock.ts'
import { CountingDialer } from './counting-dialer.ts'
import type { FakeConnection } from './fake-connection.ts'

export interface CountedPool {
  readonly dialer: CountingDialer
  readonly clock: ManualClock
  readonly pool: Pool<FakeConnection>
}

export function countedPool(options: Omit<PoolOptions<FakeConnection>, 'dial'> = {}): CountedPool {
  const dialer = new CountingDialer()
  const clock = new ManualClock()
  return { dialer, clock, pool: new Pool({ dial: dialer.dial, ...options }, clock.now) }
}

/** Borrows that many at once, and gives them back in that order. */
export async function fill(pool: Pool<FakeConnection>, count: number): Promise<void> {
  const leases = await Promise.all(Array.from({ length: count }, () => pool.get()))
  for (const lease of leases) await lease.close()
}

/** Whether a promise has settled by now, and how. */
export async function outcome(promise: Promise<unknown>): Promise<'pending' | 'resolved' | 'rejected'> {
  let state: 'pending' | 'resolved' | 'rejected' = 'pending'
  promise.then(
    () => {
      state = 'resolved'
    },
    () => {
      state = 'rejected'
    },
  )
  await settled()
  return state
}

/** Moves the pool's clock and the timers together. */
export function pass(ms: number, clock: ManualClock, timers: { tick(ms: number): void }): void {
  clock.advance(ms)
  timers.tick(ms)
}
