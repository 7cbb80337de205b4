import assert from 'node:assert/strict'
import { getEventListeners } from 'node:events'
import { test } from 'node:test'
import {
  type Pending,
  PendingBatch,
  PendingCommand,
  type Rescuer,
  Special,
} from '../../lib/connection/pending.ts'
import { ReplyError } from '../../lib/errors.ts'

const command = (settled: unknown[], rescuer?: Rescuer): PendingCommand =>
  new PendingCommand(
    (value) => settled.push(value),
    (error) => settled.push({ rejected: error }),
    false,
    0,
    0,
    rescuer,
    ['GET', 'k'],
  )
const batch = (settled: unknown[], count: number): PendingBatch =>
  new PendingBatch((outcomes) => settled.push(outcomes), count, false, 0, 0)

test('a command is settled once, whatever comes later', () => {
  const settled: unknown[] = []
  const one = command(settled)
  one.take('first')
  one.take('second')
  one.fail(new Error('third'))
  assert.deepEqual(settled, ['first'])
  const lost = new Error('lost')
  const other = command(settled)
  other.fail(lost)
  other.take('late')
  assert.deepEqual(settled, ['first', { rejected: lost }])
})

test('the error that a server answers rejects the command', () => {
  const settled: unknown[] = []
  const error = new ReplyError('ERR no')
  command(settled).take(error)
  assert.deepEqual(settled, [{ rejected: error }])
})

test('a command with a rescuer ends as that says, and without its word by its error', () => {
  const settled: unknown[] = []
  const asked: unknown[] = []
  const error = new ReplyError('LOADING')
  const end = Promise.resolve('better')
  for (const word of [end, undefined]) {
    const rescue = (...question: unknown[]) => {
      asked.push(question)
      return word
    }
    const one = command(settled, { rescue })
    one.take(error)
    one.fail(new Error('second'))
  }
  assert.deepEqual(settled, [end, { rejected: error }])
  assert.deepEqual(asked, new Array(2).fill([error, ['GET', 'k'], 0]))
  command(settled, { rescue: () => assert.fail('nothing to rescue') }).take('value')
  assert.equal(settled[2], 'value')
})

test('a batch is settled when the last of its replies has come, errors among them in their places', () => {
  const settled: unknown[] = []
  const error = new ReplyError('ERR no')
  const three = batch(settled, 3)
  three.take('a')
  three.take(error)
  assert.deepEqual([settled, three.isSettled], [[], false])
  three.take(null)
  assert.deepEqual([settled, three.isSettled], [[['a', error, null]], true])
  three.take('late')
  three.fail(new Error('late'))
  assert.deepEqual(settled, [['a', error, null]])
})

test('a batch that fails keeps the replies it has', () => {
  const settled: unknown[] = []
  const lost = new Error('lost')
  const three = batch(settled, 3)
  three.take('a')
  three.fail(lost)
  three.take('late')
  assert.deepEqual(settled, [['a', lost, lost]])
})

for (const [what, make] of [
  ['a command', command],
  ['a batch', (settled: unknown[]) => batch(settled, 1)],
] as const) {
  for (const [how, end] of [
    ['its reply', (it: Pending) => it.take('reply')],
    ['its failure', (it: Pending) => it.fail(new Error('lost'))],
  ] as const) {
    test(`${what} leaves its signal with ${how}`, () => {
      const it = make([])
      const controller = new AbortController()
      let aborts = 0
      it.special = new Special()
      it.special.watch(controller.signal, () => {
        aborts += 1
      })
      assert.equal(getEventListeners(controller.signal, 'abort').length, 1)
      end(it)
      controller.abort()
      assert.equal(aborts, 0)
      assert.deepEqual(getEventListeners(controller.signal, 'abort'), [])
    })
  }
}
