// Messages in order, gaps at their places, and a count and a size that are kept.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Gap } from '../../lib/client/subscription-options.ts'
import { MessageQueue } from '../../lib/client/subscription-queue.ts'
import { freshSeed, randomNumbers } from '../support/random-numbers.ts'

function message(payload: string) {
  return { channel: 'c', message: payload, pattern: undefined }
}

function gap(from: string, to: string, downtime = 1): Gap {
  return { reason: new Error(`${from} is gone`), from, to, channels: 1, downtime }
}

/** Takes everything: payloads, and gaps as `from>to`. */
function drain(queue: MessageQueue): string[] {
  const taken: string[] = []
  for (;;) {
    const found = queue.takeGap()
    if (found !== undefined) taken.push(`${found.from}>${found.to} ${found.downtime}`)
    const next = queue.shift()
    if (next !== undefined) taken.push(String(next.message))
    else if (found === undefined) return taken
  }
}

test('messages come out in the order in which they went in, gaps between those they came between', () => {
  const queue = new MessageQueue(10, 1_000)
  queue.pushGap(gap('a', 'b'))
  queue.push(message('1'))
  queue.push(message('2'))
  queue.pushGap(gap('b', 'c'))
  queue.push(message('3'))
  queue.pushGap(gap('c', 'd'))
  assert.deepEqual(drain(queue), ['a>b 1', '1', '2', 'b>c 1', '3', 'c>d 1'])
  assert.deepEqual([queue.length, queue.byteLength], [0, 0])
})

test('gaps without a message between them are one', () => {
  const queue = new MessageQueue(2, 1_000)
  for (const [from, to] of ['ab', 'bc', 'cd']) queue.pushGap(gap(from as string, to as string, 10))
  assert.deepEqual(drain(queue), ['a>d 30'])
  queue.pushGap(gap('a', 'b', 1))
  queue.push(message('1'))
  queue.pushGap(gap('b', 'c', 2))
  queue.push(message('2'))
  queue.pushGap(gap('c', 'd', 4))
  queue.drop()
  assert.equal(queue.length, 1)
  queue.drop()
  assert.deepEqual(drain(queue), ['a>d 7'])
})

test('a dropped message leaves the gap before it to the one behind', () => {
  const queue = new MessageQueue(3, 1_000)
  queue.pushGap(gap('a', 'b'))
  queue.push(message('1'))
  queue.push(message('2'))
  queue.drop()
  assert.deepEqual(drain(queue), ['a>b 1', '2'])
  queue.drop()
  assert.equal(queue.length, 0, 'there is nothing to drop')
})

test('there is room by count and by size, and always for one', () => {
  const queue = new MessageQueue(2, 5)
  assert.equal(queue.hasRoomFor('123456'), true)
  queue.push(message('123456'))
  assert.equal(queue.hasRoomFor(''), false)
  queue.shift()
  queue.push(message('123'))
  assert.equal(queue.hasRoomFor('12'), true)
  assert.equal(queue.hasRoomFor('123'), false)
  queue.push(message('1'))
  assert.deepEqual([queue.length, queue.byteLength, queue.hasRoomFor('')], [2, 4, false])
  queue.clear()
  assert.deepEqual([queue.length, queue.byteLength, queue.hasRoomFor('12345')], [0, 0, true])
})

test('any sequence of pushes, takes and drops gives what a plain list gives', (t) => {
  const seed = freshSeed()
  t.diagnostic(`seed ${seed}`)
  const random = randomNumbers(seed)
  const queue = new MessageQueue(Number.MAX_SAFE_INTEGER, Number.MAX_SAFE_INTEGER)
  let expected: string[] = []
  for (let i = 0; i < 20_000; i += 1) {
    const choice = random(100)
    if (choice < 55) {
      queue.push(message(String(i)))
      expected.push(String(i))
    } else if (choice < 90) {
      assert.equal(queue.shift()?.message, expected.shift())
    } else if (choice < 99) {
      queue.drop()
      expected.shift()
    } else if (i % 7 === 0) {
      queue.clear()
      expected = []
    }
    assert.equal(queue.length, expected.length)
    assert.equal(queue.byteLength, expected.join('').length)
  }
})
