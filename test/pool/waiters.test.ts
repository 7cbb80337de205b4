import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Borrower } from '../../lib/pool/borrower.ts'
import { Waiters } from '../../lib/pool/waiters.ts'
import type { FakeConnection } from '../support/fake-connection.ts'

function queueOf(count: number): { queue: Waiters<FakeConnection>; borrowers: Borrower<FakeConnection>[] } {
  const queue = new Waiters<FakeConnection>()
  const borrowers = Array.from({ length: count }, (_, i) => new Borrower<FakeConnection>(undefined, i))
  for (const borrower of borrowers) queue.push(borrower)
  return { queue, borrowers }
}

/** Who is served, in order, until the queue is empty. */
function drain(queue: Waiters<FakeConnection>): number[] {
  const order: number[] = []
  for (let first = queue.first; first !== undefined; first = queue.first) {
    order.push(first.since)
    queue.delete(first)
  }
  assert.equal(queue.count, 0)
  return order
}

test('the first to wait is the first', () => {
  assert.deepEqual(drain(queueOf(4).queue), [0, 1, 2, 3])
})

for (const [gone, left] of [
  [0, [1, 2]],
  [1, [0, 2]],
  [2, [0, 1]],
] as const) {
  test(`of three waiters number ${gone} leaves, and the others keep their order`, () => {
    const { queue, borrowers } = queueOf(3)
    const borrower = borrowers[gone] as Borrower<FakeConnection>
    queue.delete(borrower)
    assert.equal(queue.count, 2)
    assert.deepEqual([borrower.ahead, borrower.behind], [undefined, undefined])
    assert.deepEqual(drain(queue), left)
  })
}

test('one that does not wait leaves nothing changed, whether the queue is empty or not', () => {
  const stranger = new Borrower<FakeConnection>(undefined, 9)
  const { queue, borrowers } = queueOf(2)
  queue.delete(stranger)
  assert.equal(queue.count, 2)
  const [first] = borrowers
  assert.ok(first)
  queue.delete(first)
  queue.delete(first)
  assert.equal(queue.count, 1)
  assert.deepEqual(drain(queue), [1])
  queue.delete(stranger)
  assert.equal(queue.count, 0)
})

test('a waiter that left can wait again, at the end', () => {
  const { queue, borrowers } = queueOf(2)
  const [first] = borrowers
  assert.ok(first)
  queue.delete(first)
  queue.push(first)
  assert.deepEqual(drain(queue), [1, 0])
})
