import assert from 'node:assert/strict'
import { test } from 'node:test'
import { PendingBatch, PendingCommand } from '../../lib/connection/pending.ts'
import { PendingQueue } from '../../lib/connection/pending-queue.ts'

const nobody = () => undefined
const command = () => new PendingCommand(nobody, nobody, false, 0, 0)
const batch = (count: number) => new PendingBatch(nobody, count, false, 0, 0)

test('commands come out in the order they went in, while the ring grows and turns', () => {
  const queue = new PendingQueue()
  const model: PendingCommand[] = []
  for (let round = 0; round < 200; round += 1) {
    for (let i = 0; i < (round * 7) % 23; i += 1) {
      const one = command()
      queue.push(one)
      model.push(one)
    }
    for (let i = 0; i < (round * 5) % 19 && model.length > 0; i += 1) {
      assert.equal(queue.first(), model.shift())
      queue.shift()
    }
    assert.equal(queue.length, model.length)
    assert.deepEqual(
      [...queue.entries()].map(([place]) => place),
      model.map((_, place) => place),
    )
  }
  assert.ok(model.length > 64)
  assert.equal(
    queue.pushed,
    Array.from({ length: 200 }, (_, round) => (round * 7) % 23).reduce((a, b) => a + b),
  )
  queue.clear()
  assert.equal(queue.length, 0)
  assert.equal(queue.first(), undefined)
})

test('a batch has one place and is owed a reply for each of its commands', () => {
  const queue = new PendingQueue()
  const [before, three, behind] = [command(), batch(3), command()] as const
  for (const it of [before, three, behind]) queue.push(it)
  assert.equal(queue.length, 5)
  assert.deepEqual(
    [...queue.entries()],
    [
      [0, before],
      [1, three],
      [4, behind],
    ],
  )
  queue.shift()
  for (let left = 3; left > 0; left -= 1) {
    assert.equal(queue.first(), three)
    assert.deepEqual([three.owed, queue.length], [left, left + 1])
    queue.shift()
  }
  assert.equal(queue.first(), behind)
})

test('commands and batches that never left are passed over', () => {
  const queue = new PendingQueue()
  const [a, b, c, d] = [command(), command(), batch(7), command()] as const
  for (const it of [a, b, c, d]) queue.push(it)
  b.isDropped = true
  c.isDropped = true
  assert.equal(queue.first(), a)
  queue.shift()
  assert.equal(queue.first(), d)
  assert.equal(queue.length, 1)
  d.isDropped = true
  assert.equal(queue.first(), undefined)
  assert.equal(queue.length, 0)
})

test('the queue knows which commands were written, and whether any is awaited', () => {
  const queue = new PendingQueue()
  for (let i = 0; i < 37; i += 1) queue.push(command())
  assert.deepEqual([queue.written, queue.unwritten], [0, 37])
  queue.markWritten()
  queue.push(batch(3))
  queue.shift()
  assert.deepEqual([queue.written, queue.unwritten, queue.length], [36, 3, 39])
  assert.deepEqual(
    Array.from({ length: 40 }, (_, number) => queue.isWritten(number)),
    Array.from({ length: 40 }, (_, number) => number < 37),
  )
  queue.markWritten()
  assert.deepEqual([queue.written, queue.unwritten, queue.isWritten(39)], [39, 0, true])
  for (const [, it] of queue.entries()) {
    assert.equal(queue.isAwaited, true)
    it.fail(new Error('lost'))
  }
  assert.equal(queue.isAwaited, false)
})
