import assert from 'node:assert/strict'
import { test } from 'node:test'
import { expire } from '../../lib/connection/expiry.ts'
import { Incoming } from '../../lib/connection/incoming.ts'
import { PendingCommand } from '../../lib/connection/pending.ts'
import { PendingQueue } from '../../lib/connection/pending-queue.ts'
import type { TimeoutError } from '../../lib/errors.ts'

const nobody = () => undefined

/** A queue at the instant 1000, and what its commands failed with. */
function startQueue(commandTimeout: number) {
  const pending = new PendingQueue()
  const incoming = new Incoming(pending, undefined)
  const errors: TimeoutError[] = []
  const give = (timeout: number, startedAt = 1000) => {
    const fail = (error: Error) => errors.push(error as TimeoutError)
    const command = new PendingCommand(nobody, fail, false, timeout, startedAt)
    command.heardBefore = incoming.heard
    pending.push(command)
    return command
  }
  const at = (now: number) => expire(pending, incoming, { commandTimeout }, 'host:1', now)
  return { pending, incoming, errors, give, at }
}

test('what is due fails, and the earliest of the other deadlines is told', () => {
  const { pending, errors, give, at } = startQueue(0)
  give(50)
  pending.markWritten()
  for (const timeout of [300, 0, 200, 50]) give(timeout)
  assert.deepEqual(at(1049), { next: 1050, verdict: undefined })
  assert.deepEqual(errors, [])
  assert.deepEqual(at(1050), { next: 1200, verdict: undefined })
  assert.deepEqual(
    errors.map(({ message, mayHaveExecuted }) => [message, mayHaveExecuted]),
    [
      ['no reply within 50 ms at host:1', true],
      ['not sent within 50 ms at host:1', false],
    ],
  )
  assert.deepEqual(at(2000), { next: Number.POSITIVE_INFINITY, verdict: undefined })
  assert.deepEqual([errors.length, pending.length], [4, 5])
})

test('a peer is dead that was silent since the command was given, for as long as the commandTimeout', () => {
  const { pending, give, at } = startQueue(100)
  give(60)
  give(100)
  pending.markWritten()
  assert.equal(at(1060).verdict, undefined)
  assert.equal(at(1100).verdict, 'the peer has been silent for 100 ms')
})

test('a peer of which bytes came since is not silent', () => {
  const { pending, incoming, give, at } = startQueue(100)
  give(100)
  pending.markWritten()
  incoming.receive(Buffer.from('$5\r\nab'), 6)
  assert.equal(at(1100).verdict, undefined)
})

test('silence says nothing of a command that was never sent', () => {
  const { errors, give, at } = startQueue(100)
  give(100)
  assert.equal(at(5000).verdict, undefined)
  assert.equal(errors.length, 1)
})

test('a peer is dead whose bytes have completed no reply for twice the commandTimeout', () => {
  const { pending, incoming, give, at } = startQueue(100)
  give(100)
  pending.markWritten()
  incoming.receive(Buffer.from('$5\r\nab'), 6)
  assert.equal(at(1100).verdict, undefined)
  for (const startedAt of [1050, 1100]) {
    give(100, startedAt)
    pending.markWritten()
    incoming.receive(Buffer.from('c'), 1)
  }
  assert.equal(at(1150).verdict, undefined)
  assert.equal(at(1200).verdict, 'the peer has completed no reply for 200 ms')
})
