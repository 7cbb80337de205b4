import assert from 'node:assert/strict'
import { EventEmitter } from 'node:events'
import type { Socket } from 'node:net'
import { test } from 'node:test'
import { Outbox } from '../../lib/connection/outbox.ts'
import { PendingCommand } from '../../lib/connection/pending.ts'
import { PendingQueue } from '../../lib/connection/pending-queue.ts'
import { Writer } from '../../lib/connection/writer.ts'

const nobody = () => undefined
const tick = () => new Promise<void>((resolve) => setImmediate(resolve))

class FakeSocket extends EventEmitter {
  readonly written: string[] = []
  writableNeedDrain = false
  writableLength = 0

  write(bytes: Buffer): void {
    this.written.push(bytes.toString())
  }

  readonly cork = nobody
  readonly uncork = nobody
}

function startWriter() {
  const socket = new FakeSocket()
  const pending = new PendingQueue()
  const outbox = new Outbox()
  const writer = new Writer(socket as unknown as Socket, pending, outbox)
  const give = (count = 1) => {
    for (let i = 0; i < count; i += 1) {
      outbox.add(['A'])
      pending.push(new PendingCommand(nobody, nobody, false, 0, writer.now()))
      writer.due()
    }
  }
  /** Every reply has come. */
  const answer = () => {
    while (pending.first() !== undefined) pending.shift()
  }
  const commands = () => socket.written.map((bytes) => bytes.split('A').length - 1)
  return { socket, pending, writer, give, answer, commands }
}

test('what is given in one tick leaves in one write at its end', async () => {
  const { give, commands, pending } = startWriter()
  give(3)
  assert.deepEqual(commands(), [])
  await tick()
  assert.deepEqual([commands(), pending.unwritten], [[3], 0])
})

test('32 commands leave at once, if they are a quarter of all that are under way', async () => {
  const { give, commands } = startWriter()
  give(31)
  assert.deepEqual(commands(), [])
  give(1)
  assert.deepEqual(commands(), [32])
  give(168)
  await tick()
  const before = commands().length
  give(66)
  assert.equal(commands().length, before)
  give(1)
  assert.deepEqual(commands().slice(before), [67])
})

test('after 8 lone commands the next leaves when the code that gave it has returned, until one is not alone', async () => {
  const { give, answer, commands } = startWriter()
  const isWrittenSoon = async () => {
    await tick()
    const before = commands().length
    give()
    assert.equal(commands().length, before)
    await Promise.resolve()
    const isWritten = commands().length > before
    await tick()
    answer()
    return isWritten
  }
  for (let i = 0; i < 8; i += 1) assert.equal(await isWrittenSoon(), false)
  assert.equal(await isWrittenSoon(), true)
  give(2)
  await tick()
  answer()
  assert.equal(await isWrittenSoon(), false)
})

test('nothing is written while the socket is full, and all of it when it has drained', async () => {
  const { socket, writer, give, commands } = startWriter()
  Object.assign(socket, { writableNeedDrain: true, writableLength: 1 })
  give()
  await tick()
  assert.equal(writer.isBlocked, true)
  give(50)
  writer.flush()
  await tick()
  assert.deepEqual(commands(), [1])
  Object.assign(socket, { writableNeedDrain: false, writableLength: 0 })
  socket.emit('drain')
  assert.deepEqual([commands(), writer.isBlocked], [[1, 50], false])
})

test('nothing is written after the stop, not even what waited', async () => {
  const { socket, writer, give, commands } = startWriter()
  give()
  writer.stop()
  await tick()
  give(40)
  socket.emit('drain')
  await tick()
  assert.deepEqual(commands(), [])
})

test('commands of one batch began at the same instant, in whole milliseconds', async () => {
  const { writer, pending, give } = startWriter()
  give()
  const startedAt = pending.first()?.startedAt ?? Number.NaN
  assert.equal(Number.isInteger(startedAt), true)
  const until = performance.now() + 3
  while (performance.now() < until);
  assert.equal(writer.now(), startedAt)
  await tick()
  assert.equal(writer.now() - startedAt >= 2, true)
})
