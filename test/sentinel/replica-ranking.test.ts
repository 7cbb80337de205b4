// Who is near and who is slow.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { nearestOf, slowOf } from '../../lib/sentinel/replica-ranking.ts'

const all = (...latencies: (number | undefined)[]) =>
  latencies.map((latency, place) => ({ place, latency, measurements: 5 }))
const places = (members: readonly { readonly place: number }[]) => members.map(({ place }) => place)

test('near are the fastest and who is within a quarter and a millisecond of it', () => {
  const rows: [(number | undefined)[], number[]][] = [
    [[], []],
    [
      [undefined, undefined],
      [0, 1],
    ],
    [[undefined, 5], [1]],
    [
      [0.1, 1.1, 1.2],
      [0, 1],
    ],
    [
      [100, 126, 127],
      [0, 1],
    ],
    [
      [40, 0.3, 0.2],
      [1, 2],
    ],
  ]
  for (const [latencies, near] of rows) assert.deepEqual(places(nearestOf(all(...latencies))), near)
})

test('slow is who takes three times as long as the others and 20 ms more', () => {
  const rows: [number[], number[]][] = [
    [[], []],
    [[500], []],
    [[1, 500], [1]],
    [[1, 22], []],
    [[1, 24], [1]],
    [[30, 100, 30], []],
    [[30, 111, 30], [1]],
    [
      [1, 1, 90, 90, 1],
      [2, 3],
    ],
  ]
  for (const [latencies, slow] of rows) assert.deepEqual(places(slowOf(all(...latencies))), slow)
})

test('who was hardly measured is not slow, and nobody is slow beside it', () => {
  for (const [a, b] of [
    [4, 9],
    [9, 4],
  ] as const) {
    const fast = { latency: 1, measurements: a }
    const slow = { latency: 500, measurements: b }
    assert.deepEqual(slowOf([fast, slow]), [])
  }
})
