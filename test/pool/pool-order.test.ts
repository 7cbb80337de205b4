// The steps of get() and of the end come in redigo's order, which can be seen: what is closed, tested and dialed, when.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ReplyError } from '../../lib/errors.ts'
import { Pool, type PoolOptions } from '../../lib/pool/index.ts'
import { ManualClock, settled } from '../support/clock.ts'
import { FakeConnection } from '../support/fake-connection.ts'

/** A pool that writes down what happens to its connections, by their numbers. */
function diary(options: Omit<PoolOptions<FakeConnection>, 'dial' | 'testOnBorrow'>, passes?: () => boolean) {
  const entries: string[] = []
  const numbers = new Map<FakeConnection, number>()
  const clock = new ManualClock()
  const dial = async (): Promise<FakeConnection> => {
    const number = numbers.size
    entries.push(`dial ${number}`)
    const connection = new FakeConnection({ onEnd: ({ ended }) => entries.push(`${ended} ${number}`) })
    numbers.set(connection, number)
    return connection
  }
  const testOnBorrow = async (connection: FakeConnection): Promise<void> => {
    const number = numbers.get(connection)
    entries.push(`test ${number}`)
    await settled()
    entries.push(`tested ${number}`)
    if (passes?.() !== true) throw new Error('no')
  }
  const all = { dial, ...options, ...(passes && { testOnBorrow }) }
  return { entries, clock, pool: new Pool(all, clock.now) }
}

/** Borrows that many at once and gives them back in that order, a millisecond apart. */
async function fill({ pool, clock, entries }: ReturnType<typeof diary>, count: number): Promise<void> {
  const leases = await Promise.all(Array.from({ length: count }, () => pool.get()))
  for (const lease of leases) {
    await lease.close()
    clock.advance(1)
  }
  entries.length = 0
}

test('the oldest are closed first, then the youngest is tested, and with none left one is dialed', async () => {
  const it = diary({ maxIdle: 4, idleTimeout: 100 }, () => false)
  await fill(it, 4)
  it.clock.advance(98) // returned 102, 101, 100 and 99 ms ago
  await it.pool.get()
  assert.deepEqual(it.entries, [
    'closed 0',
    'closed 1',
    'test 3',
    'tested 3',
    'destroyed 3',
    'test 2',
    'tested 2',
    'destroyed 2',
    'dial 4',
  ])
  const { activeCount, idleCount } = it.pool.stats()
  assert.deepEqual([activeCount, idleCount], [1, 0])
})

test('a lease that is taken from the front does not spare those at the back', async () => {
  const it = diary({ maxIdle: 2, idleTimeout: 100 }, () => true)
  await fill(it, 2)
  it.clock.advance(99)
  await it.pool.get()
  assert.deepEqual(it.entries, ['closed 0', 'test 1', 'tested 1'])
})

for (const [how, options, passes, entries] of [
  ['was idle for too long', { idleTimeout: 100 }, undefined, ['closed 0', 'dial 1']],
  ['is too old', { maxConnLifetime: 100 }, undefined, ['closed 0', 'dial 1']],
  ['fails its test', {}, () => false, ['test 0', 'tested 0', 'destroyed 0', 'dial 1']],
] as const) {
  test(`without wait, the last connection that ${how} makes room for the dial of the same get()`, async () => {
    const it = diary({ maxIdle: 1, maxActive: 1, ...options }, passes)
    await fill(it, 1)
    it.clock.advance(1000)
    await it.pool.get()
    assert.deepEqual(it.entries, entries)
    await assert.rejects(it.pool.get(), { code: 'POOL_EXHAUSTED' })
    assert.equal(it.pool.stats().activeCount, 1)
  })
}

test('the end closes the idle ones from the front', async () => {
  const it = diary({ maxIdle: 3 })
  await fill(it, 3)
  await it.pool.close()
  assert.deepEqual(it.entries, ['closed 2', 'closed 1', 'closed 0'])
})

test('a connection whose server answers with an error is as good as any', async () => {
  const it = diary({ maxIdle: 1 })
  const lease = await it.pool.get()
  lease.connection.answers.set('SET', new ReplyError("READONLY You can't write against a read only replica."))
  await assert.rejects(lease.call('SET', 'k', 'v'), ReplyError)
  assert.equal(lease.error, undefined)
  await lease.close()
  await it.pool.get()
  assert.deepEqual(it.entries, ['dial 0'])
})
