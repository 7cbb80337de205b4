import assert from 'node:assert/strict'
import { getEventListeners } from 'node:events'
import { test } from 'node:test'
import { PendingCommand, PendingQueue } from '../../lib/connection/pending.ts'

const command = (settled: unknown[] = []): PendingCommand =>
  new PendingCommand(
    (value) => settled.push(value),
    (error) => settled.push(error),
    false,
    0,
    0,
  )

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
      [...queue.entries()].map(([place, it]) => [place, it.number]),
      model.map((it, place) => [place, it.number]),
    )
  }
  assert.ok(model.length > 64)
  queue.clear()
  assert.equal(queue.length, 0)
  assert.equal(queue.first(), undefined)
})

test('commands that never left are passed over', () => {
  const queue = new PendingQueue()
  const [a, b, c] = [command(), command(), command()] as const
  for (const it of [a, b, c]) queue.push(it)
  b.isDropped = true
  assert.equal(queue.first(), a)
  queue.shift()
  assert.equal(queue.first(), c)
  assert.equal(queue.length, 1)
  c.isDropped = true
  assert.equal(queue.first(), undefined)
  assert.equal(queue.length, 0)
})

test('the queue knows which commands are at its end, and whether any is awaited', () => {
  const queue = new PendingQueue()
  const commands = Array.from({ length: 40 }, () => command())
  for (const it of commands) queue.push(it)
  queue.shift()
  assert.deepEqual(
    commands.map((it) => queue.isAmongLast(it, 3)),
    commands.map((_, i) => i >= 37),
  )
  assert.ok(commands.every((it) => !queue.isAmongLast(it, 0)))
  for (const it of commands.slice(1, 39)) it.settle(null)
  assert.equal(queue.isAwaited, true)
  commands[39]?.settle(null)
  assert.equal(queue.isAwaited, false)
})

test('a command is settled once, and leaves its signal then', () => {
  const settled: unknown[] = []
  const one = command(settled)
  const controller = new AbortController()
  let aborts = 0
  one.watch(controller.signal, () => {
    aborts += 1
  })
  one.settle('first')
  one.settle('second')
  one.fail(new Error('third'))
  controller.abort()
  assert.deepEqual(settled, ['first'])
  assert.equal(aborts, 0)
  assert.deepEqual(getEventListeners(controller.signal, 'abort'), [])
  const other = command(settled)
  const error = new Error('lost')
  other.fail(error)
  other.settle('late')
  assert.deepEqual(settled, ['first', error])
})

test('a command without a timeout never expires', () => {
  assert.equal(command().expiresAt, Number.POSITIVE_INFINITY)
  const nobody = () => undefined
  const bounded = new PendingCommand(nobody, nobody, false, 50, 1000)
  assert.equal(bounded.expiresAt, 1051, 'never early, though the start is in whole milliseconds')
})
