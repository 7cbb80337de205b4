// What goes out of scope goes back.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { countedPool } from '../support/counted-pool.ts'

test('a lease that goes out of scope is given back, waited for or not', async () => {
  const { pool, dialer } = countedPool({ maxIdle: 2 })
  {
    await using lease = await pool.get()
    await lease.call('WATCH', 'k')
  }
  assert.equal(dialer.connection(0).isPristine, true)
  {
    using lease = await pool.get()
    assert.equal(lease.connection, dialer.connection(0))
  }
  dialer.check(pool, { dialed: 1, open: 1, inUse: 0 })
})

test('a pool that goes out of scope is closed, and waited for', async () => {
  let dialer: ReturnType<typeof countedPool>['dialer']
  {
    const counted = countedPool({ maxIdle: 2 })
    dialer = counted.dialer
    await using pool = counted.pool
    await pool.use(() => undefined)
    assert.equal(dialer.open, 1)
  }
  assert.equal(dialer.open, 0)
})
