import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Outbox } from '../../lib/connection/outbox.ts'
import { PendingCommand } from '../../lib/connection/pending.ts'

const nobody = () => undefined
const pendingCommand = () => new PendingCommand(nobody, nobody, false, 0, 0)
const wire = (name: string) => `*1\r\n$${name.length}\r\n${name}\r\n`
const taken = (outbox: Outbox) => Buffer.concat(outbox.take()).toString()

test('commands leave in their order, those that may be taken back among the others', () => {
  const outbox = new Outbox()
  outbox.add(['A'])
  outbox.addRevocable([['B']], pendingCommand())
  outbox.addRevocable([['C']], pendingCommand())
  outbox.add(['D'])
  outbox.add(['E'])
  const expected = ['A', 'B', 'C', 'D', 'E'].map(wire).join('')
  assert.equal(outbox.byteLength, expected.length)
  assert.equal(taken(outbox), expected)
  assert.equal(outbox.byteLength, 0)
  assert.equal(taken(outbox), '')
})

test('commands that none may take back leave in one piece', () => {
  const outbox = new Outbox()
  for (const name of ['A', 'B', 'C']) outbox.add([name])
  assert.equal(outbox.take().length, 1)
})

test('a command that was settled does not leave, and knows it', () => {
  const outbox = new Outbox()
  const [kept, settled] = [pendingCommand(), pendingCommand()]
  outbox.addRevocable([['KEPT']], kept)
  outbox.addRevocable([['SETTLED']], settled)
  outbox.add(['LAST'])
  settled.fail(new Error('aborted'))
  assert.equal(taken(outbox), wire('KEPT') + wire('LAST'))
  assert.deepEqual([kept.isDropped, settled.isDropped], [false, true])
})

test('a command settled after it left is not dropped', () => {
  const outbox = new Outbox()
  const left = pendingCommand()
  outbox.addRevocable([['A']], left)
  outbox.take()
  left.fail(new Error('aborted'))
  outbox.take()
  assert.equal(left.isDropped, false)
})

test('what is no argument is refused by both ways in, and nothing is added', () => {
  const outbox = new Outbox()
  outbox.add(['A'])
  assert.throws(() => outbox.add(['B', null as never]), TypeError)
  assert.throws(() => outbox.addRevocable([['C', null as never]], pendingCommand()), TypeError)
  assert.equal(taken(outbox), wire('A'))
})
