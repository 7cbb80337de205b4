import assert from 'node:assert/strict'
import { getEventListeners } from 'node:events'
import { test } from 'node:test'
import { watchAbort } from '../../lib/connection/abort-watch.ts'

test('one listener serves all who wait for a signal, and goes with the last of them', () => {
  const { signal } = new AbortController()
  const ends = Array.from({ length: 100 }, () => watchAbort(signal, () => assert.fail('not aborted')))
  assert.equal(getEventListeners(signal, 'abort').length, 1)
  for (const end of ends.slice(1)) end()
  assert.equal(getEventListeners(signal, 'abort').length, 1)
  ends[0]?.()
  assert.equal(getEventListeners(signal, 'abort').length, 0)
})

test('who still waits is told of the abort, in order, and may leave while being told', () => {
  const controller = new AbortController()
  const told: number[] = []
  const ends: (() => void)[] = [0, 1, 2, 3].map((n) =>
    watchAbort(controller.signal, () => {
      told.push(n)
      ends[n]?.()
      if (n === 2) ends[3]?.()
    }),
  )
  ends[1]?.()
  controller.abort()
  assert.deepEqual(told, [0, 2])
  assert.equal(getEventListeners(controller.signal, 'abort').length, 0)
})

test('an end that is called twice ends nobody else’s watch', () => {
  const controller = new AbortController()
  let told = 0
  const first = watchAbort(controller.signal, () => assert.fail('it left'))
  first()
  watchAbort(controller.signal, () => {
    told += 1
  })
  first()
  controller.abort()
  assert.equal(told, 1)
})
