import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Breaker } from '../../lib/pool/breaker.ts'

const down = new Error('no route')

test('a breaker without a pause never says no', () => {
  const breaker = new Breaker(0, 0)
  assert.equal(breaker.failed(down, 0, 0), false)
  assert.equal(breaker.refusal(0), undefined)
  assert.equal(breaker.isProbing, false)
})

test('after a failure it says no, with that failure, until the pause is over; then one at a time', (t) => {
  t.mock.method(Math, 'random', () => 1)
  const breaker = new Breaker(100, 1000)
  assert.equal(breaker.failed(down, 0, 10), true)
  assert.equal(breaker.refusal(109)?.error, down)
  assert.equal(breaker.refusal(110), undefined)
  assert.equal(breaker.isProbing, true)
  breaker.reset()
  assert.equal(breaker.isProbing, false)
})

test('a dial that failed with undefined is a failure too', () => {
  const breaker = new Breaker(100, 1000)
  breaker.failed(undefined, 0, 0)
  assert.deepEqual(breaker.refusal(0), { error: undefined })
})

test('the pause doubles with each failure in a row, up to the longest; a success starts over', (t) => {
  t.mock.method(Math, 'random', () => 1)
  const breaker = new Breaker(100, 500)
  const pauses: number[] = []
  let now = 0
  const fail = (): void => {
    breaker.failed(down, now, now)
    const from = now
    while (breaker.refusal(now) !== undefined) now++
    pauses.push(now - from)
  }
  for (let i = 0; i < 5; i++) fail()
  breaker.reset()
  fail()
  assert.deepEqual(pauses, [100, 200, 400, 500, 500, 100])
})

test('a hundred dials that were under way together are one failure', (t) => {
  t.mock.method(Math, 'random', () => 1)
  const breaker = new Breaker(100, 100_000)
  for (let i = 0; i < 100; i++) breaker.failed(down, 0, 10)
  assert.equal(breaker.refusal(110), undefined)
})

test('a straggler of an earlier round does not begin a new pause', () => {
  const breaker = new Breaker(100, 100_000)
  breaker.failed(down, 0, 10)
  assert.equal(breaker.failed(down, 5, 500), false)
  assert.equal(breaker.refusal(500), undefined)
})

test('the pause is random between half of it and all of it', (t) => {
  const random = t.mock.method(Math, 'random', () => 0)
  const breaker = new Breaker(100, 1000)
  breaker.failed(down, 0, 0)
  assert.ok(breaker.refusal(49))
  assert.equal(breaker.refusal(50), undefined)
  random.mock.restore()
})
