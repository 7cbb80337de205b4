// Which server a read may be told to go to, and what a function of the user's may answer.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { checkMaxStaleness, checkReadFrom, choose, type ReadCandidate } from '../../lib/endpoint/index.ts'

test('readFrom is one of five words, or a function', () => {
  for (const word of ['master', 'prefer-master', 'replica', 'prefer-replica', 'nearest']) checkReadFrom(word)
  checkReadFrom(() => undefined)
  for (const other of ['Master', '', undefined, null, 1, 'nearest ', {}, Object.create(null), Symbol('s')]) {
    assert.throws(
      () => checkReadFrom(other),
      (error) => {
        assert.ok(error instanceof RangeError)
        assert.match(error.message, /option readFrom must be one of master, .*, or a function, got /)
        return true
      },
    )
  }
})

test('maxStaleness is a number of milliseconds that can be kept, or 0', () => {
  for (const ms of [0, 10, 10.5, 2 ** 31 - 1]) assert.equal(checkMaxStaleness(ms), ms)
  for (const ms of [1, 9.9, -1, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 31]) {
    assert.throws(() => checkMaxStaleness(ms), RangeError)
  }
  for (const other of ['100', null, undefined, 100n]) assert.throws(() => checkMaxStaleness(other), TypeError)
})

test('a function chooses one of its candidates or none; all else is an error that says what it was', () => {
  const candidate = (address: string): ReadCandidate =>
    Object.freeze({ address, role: 'replica', latency: 1, lag: 0, load: 0 })
  const [one, two] = [candidate('one'), candidate('two')]
  assert.equal(
    choose(([, second]) => second, [one, two]),
    two,
  )
  assert.equal(
    choose(() => undefined, [one, two]),
    undefined,
  )
  assert.equal(
    choose(([first]) => first, []),
    undefined,
  )
  const garbage: [unknown, RegExp][] = [
    [null, /got null/],
    [candidate('one'), /got object/],
    ['one', /got string/],
    [0, /got number/],
    [Promise.resolve(one), /got a promise/],
  ]
  for (const [choice, message] of garbage) {
    assert.throws(
      () => choose(() => choice as ReadCandidate, [one, two]),
      (error) => {
        assert.ok(error instanceof TypeError)
        assert.match(error.message, /must return one of its candidates or undefined/)
        assert.match(error.message, message)
        return true
      },
    )
  }
  const cause = new Error('mine')
  assert.throws(
    () =>
      choose(() => {
        throw cause
      }, [one]),
    (error) => error instanceof TypeError && error.cause === cause,
  )
})
