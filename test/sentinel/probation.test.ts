// For how long a replica that failed is left out, and how it comes back.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Probation } from '../../lib/sentinel/probation.ts'

/** Serves for a moment and fails again, so many times; the pauses between. */
function pauses(probation: Probation, times: number, isPatient: boolean, servesForMs = 100): number[] {
  let now = 1_000_000
  return Array.from({ length: times }, () => {
    probation.start(now, false)
    now += servesForMs
    probation.setBack(now, 'it failed', isPatient)
    const from = now
    while (probation.reason(now) !== undefined) now += 10
    return now - from
  })
}

test('the first failure is forgiven, the next ones cost twice as much each time, to a bound', () => {
  assert.deepEqual(pauses(new Probation(), 5, true), [0, 100, 200, 400, 800])
  assert.equal(pauses(new Probation(), 20, true).at(-1), 30_000)
})

test('who is too slow is left out from the first time on', () => {
  assert.deepEqual(pauses(new Probation(), 3, false), [100, 200, 400])
})

test('failures that are far apart have nothing to do with each other', () => {
  assert.deepEqual(pauses(new Probation(), 4, true, 11_000), [0, 0, 0, 0])
})

test('the reason says what happened and how often', () => {
  const probation = new Probation()
  assert.equal(probation.reason(0), undefined)
  probation.start(0, false)
  probation.setBack(1, 'it broke', true)
  probation.setBack(2, 'it broke', true)
  assert.equal(probation.reason(3), 'it broke (2 times in a row)')
})

test('a slow start begins with a tenth and ends after ten seconds; any other is none', () => {
  const probation = new Probation()
  assert.equal(probation.weight(0), 1)
  probation.start(1_000, true)
  assert.equal(probation.weight(1_000), 0.1)
  assert.equal(probation.weight(6_000), 0.55)
  assert.equal(probation.weight(11_000), 1)
  probation.start(20_000, false)
  assert.equal(probation.weight(20_000), 1)
})
