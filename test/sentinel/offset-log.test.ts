// Up to which instant somebody has everything, by the offset he has read to.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { OffsetLog } from '../../lib/sentinel/offset-log.ts'

test('who has read to an offset has everything up to the newest instant at which there was not more', () => {
  const log = new OffsetLog()
  assert.equal(log.reached(5), Number.NEGATIVE_INFINITY)
  log.note(10, 500)
  log.note(20, 740)
  log.note(30, 900)
  const rows: [offset: number, at: number][] = [
    [-1, Number.NEGATIVE_INFINITY],
    [499, Number.NEGATIVE_INFINITY],
    [500, 10],
    [739, 10],
    [740, 20],
    [900, 30],
    [1_000, 30],
  ]
  for (const [offset, at] of rows) assert.equal(log.reached(offset), at, String(offset))
})

test('a stream that does not grow keeps everybody fresh', () => {
  const log = new OffsetLog()
  log.note(10, 500)
  log.note(40, 500)
  log.note(30, 500)
  assert.equal(log.reached(500), 40)
  assert.equal(log.reached(499), Number.NEGATIVE_INFINITY)
})

test('an answer that says less than is known says nothing, nor does one without an offset', () => {
  const log = new OffsetLog()
  log.note(10, 500)
  log.note(20, 400)
  log.note(20, -1)
  assert.equal(log.reached(450), Number.NEGATIVE_INFINITY)
  assert.equal(log.reached(500), 10)
  assert.equal(log.isBefore(400), true)
  assert.equal(log.isBefore(500), false)
  assert.equal(log.isBefore(-1), false)
})

test('an answer that comes late does not put the instants out of order', () => {
  const log = new OffsetLog()
  log.note(20, 500)
  log.note(10, 600)
  assert.equal(log.reached(600), 20)
})

test('what was lost is forgotten, and so is everything when another history begins', () => {
  const log = new OffsetLog()
  log.note(10, 500)
  log.note(20, 600)
  log.trim(550)
  log.note(30, 500)
  assert.equal(log.reached(500), 30)
  log.clear()
  assert.equal(log.reached(500), Number.NEGATIVE_INFINITY)
  assert.equal(log.isBefore(0), false)
})

test('it keeps no more than the last thousand', () => {
  const log = new OffsetLog()
  for (let i = 0; i < 3_000; i += 1) log.note(i, i)
  assert.equal(log.reached(2_999), 2_999)
  assert.equal(log.reached(2_999 - 1_000), 1_999)
  assert.equal(log.reached(1_900), Number.NEGATIVE_INFINITY)
})
