// How many may have something at a time, and who is next.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type PermitLimits, Permits } from '../../lib/endpoint/permits.ts'
import { AbortError, PoolError } from '../../lib/errors.ts'
import { ManualClock, settled } from '../support/clock.ts'
import { freshSeed, pick, randomNumbers } from '../support/random-numbers.ts'

/** Permits that are numbered in the order in which they are given. */
function permitsOf(limits: Partial<PermitLimits> = {}): Permits<number> {
  let given = 0
  const grant = (): number => {
    given += 1
    return given
  }
  return new Permits({ maxActive: 1, wait: true, waitTimeoutMs: 0, maxWaiting: 0, ...limits }, grant)
}

function isPoolError(code: PoolError['code'], message: RegExp): (error: unknown) => boolean {
  return (error) => error instanceof PoolError && error.code === code && message.test(error.message)
}

test('as many as maxActive are out, the others are served in the order they came', async () => {
  const permits = permitsOf({ maxActive: 2 })
  const served: string[] = []
  for (const name of ['a', 'b', 'c', 'd', 'e']) void permits.take(undefined).then(() => served.push(name))
  await settled()
  assert.deepEqual(served, ['a', 'b'])
  assert.deepEqual([permits.outCount, permits.waitingCount], [2, 3])
  permits.giveBack()
  await settled()
  assert.deepEqual(served, ['a', 'b', 'c'])
  assert.deepEqual([permits.outCount, permits.waitingCount], [2, 2])
  for (let i = 0; i < 4; i += 1) permits.giveBack()
  await settled()
  assert.deepEqual(served, ['a', 'b', 'c', 'd', 'e'])
  assert.deepEqual([permits.outCount, permits.waitingCount], [0, 0])
})

test('without maxActive nobody waits', async () => {
  const permits = permitsOf({ maxActive: 0, wait: false, maxWaiting: 1 })
  await Promise.all(Array.from({ length: 1_000 }, () => permits.take(undefined)))
  assert.equal(permits.outCount, 1_000)
})

test('without wait one more is refused, with the number', async () => {
  const permits = permitsOf({ maxActive: 2, wait: false })
  await permits.take(undefined)
  await permits.take(undefined)
  await assert.rejects(permits.take(undefined), isPoolError('POOL_EXHAUSTED', /all 2 lazy leases/))
  permits.giveBack()
  assert.equal(await permits.take(undefined), 3)
})

test('no more than maxWaiting wait', async () => {
  const permits = permitsOf({ maxWaiting: 2 })
  await permits.take(undefined)
  const waiting = [permits.take(undefined), permits.take(undefined)]
  const message = /2 wait for one of 1 lazy leases already, and maxWaiting is 2/
  await assert.rejects(permits.take(undefined), isPoolError('QUEUE_FULL', message))
  permits.giveBack()
  assert.equal(await waiting[0], 2)
  const next = permits.take(undefined)
  permits.giveBack()
  permits.giveBack()
  assert.deepEqual([await waiting[1], await next], [3, 4])
})

test('who waits longer than waitTimeout is told how long and for what; who came later waits on', async (t) => {
  const clock = new ManualClock()
  t.mock.method(performance, 'now', clock.now)
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const pass = (ms: number): void => {
    clock.advance(ms)
    t.mock.timers.tick(ms)
  }
  const permits = permitsOf({ waitTimeoutMs: 60 })
  await permits.take(undefined)
  const first = permits.take(undefined)
  const told = assert.rejects(
    first,
    isPoolError('POOL_EXHAUSTED', /waited 60 ms for one of 1 lazy leases, 1 other waits/),
  )
  pass(30)
  const second = permits.take(undefined)
  pass(29)
  assert.equal(permits.waitingCount, 2)
  pass(2)
  await told
  assert.equal(permits.waitingCount, 1)
  permits.giveBack()
  assert.equal(await second, 2)
  pass(100)
})

test('a signal ends the wait, of that one only', async () => {
  const permits = permitsOf()
  await assert.rejects(permits.take(AbortSignal.abort()), AbortError)
  await permits.take(undefined)
  const abort = new AbortController()
  const waiting = [permits.take(undefined), permits.take(abort.signal), permits.take(undefined)]
  abort.abort()
  await assert.rejects(waiting[1] as Promise<number>, AbortError)
  assert.equal(permits.waitingCount, 2)
  permits.giveBack()
  permits.giveBack()
  assert.deepEqual([await waiting[0], await waiting[2]], [2, 3])
})

test('a permit that is given back by a listener of an aborted signal goes to the next one', async () => {
  const permits = permitsOf()
  const abort = new AbortController()
  await permits.take(undefined)
  abort.signal.addEventListener('abort', () => permits.giveBack()) // before the one of the queue
  const aborted = permits.take(abort.signal)
  const next = permits.take(undefined)
  abort.abort()
  await assert.rejects(aborted, AbortError)
  assert.equal(await next, 2)
  assert.equal(permits.outCount, 1)
})

test('close() sends away those who wait, and waits for those that are out', async () => {
  const permits = permitsOf()
  await permits.take(undefined)
  const waiting = permits.take(undefined)
  let isClosed = false
  const closed = permits.close().then(() => {
    isClosed = true
  })
  await assert.rejects(waiting, isPoolError('POOL_CLOSED', /the pool was closed/))
  await assert.rejects(permits.take(undefined), { code: 'POOL_CLOSED' })
  assert.equal(isClosed, false)
  permits.giveBack()
  await closed
  await permits.close()
})

test('destroy() tells those who wait why, and waits for nobody', async () => {
  const permits = permitsOf()
  await permits.take(undefined)
  const waiting = permits.take(undefined)
  const closed = permits.close()
  await assert.rejects(waiting, { code: 'POOL_CLOSED' })
  const reason = new Error('fenced')
  permits.destroy(reason)
  await closed
  await permits.close()
  await assert.rejects(permits.take(undefined), { code: 'POOL_CLOSED', cause: reason })

  const other = permitsOf()
  await other.take(undefined)
  const told = other.take(undefined)
  other.destroy(reason)
  await assert.rejects(told, (error) => error === reason)
  other.giveBack()
  assert.equal(other.outCount, 0)
})

test('whatever comes, nobody waits while a permit is free, and everybody is served or told, in order', async (t) => {
  const seed = freshSeed()
  t.diagnostic(`seed ${seed}`)
  const random = randomNumbers(seed)
  const permits = permitsOf({ maxActive: 3, maxWaiting: 40 })
  let [out, calls, settledCount] = [0, 0, 0]
  /** Those who wait by the model, in order. */
  const queue: { readonly id: number; readonly abort: AbortController }[] = []
  const served: number[] = []
  const expected: number[] = []
  const steps = {
    take: () => {
      const id = calls
      calls += 1
      const abort = new AbortController()
      if (out < 3) {
        out += 1
        expected.push(id)
      } else if (queue.length < 40) queue.push({ id, abort })
      const settle = (): void => {
        settledCount += 1
      }
      permits
        .take(abort.signal)
        .then(() => served.push(id))
        .then(settle, settle)
    },
    giveBack: () => {
      if (out === 0) return
      const next = queue.shift()
      if (next === undefined) out -= 1
      else expected.push(next.id)
      permits.giveBack()
    },
    abort: () => {
      if (queue.length === 0) return
      const [gone] = queue.splice(random(queue.length), 1)
      gone?.abort.abort()
    },
  }
  for (let step = 0; step < 20_000; step += 1) {
    steps[pick(random, ['take', 'take', 'giveBack', 'abort'] as const)]()
    assert.deepEqual([permits.outCount, permits.waitingCount], [out, queue.length], `step ${step}`)
    if (step % 500 === 0) await settled()
  }
  permits.destroy(new Error('the end'))
  await settled()
  assert.deepEqual(served, expected)
  assert.equal(settledCount, calls)
})
