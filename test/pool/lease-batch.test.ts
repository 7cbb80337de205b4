// Commands that a lease is given together: what they did to the connection, and how it comes back.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ReplyError } from '../../lib/errors.ts'
import { type Lease, Pool, type PooledConnection } from '../../lib/pool/index.ts'
import { FakeConnection } from '../support/fake-connection.ts'

type Commands = Parameters<NonNullable<PooledConnection['executeAll']>>[0]

class BatchingConnection extends FakeConnection {
  batches = 0
  /** What the next batch is refused with. */
  refusal: Error | undefined

  executeAll(commands: Commands): ReturnType<NonNullable<PooledConnection['executeAll']>> {
    this.batches += 1
    if (this.refusal !== undefined) return Promise.reject(this.refusal)
    return Promise.all(commands.map((command) => this.execute(command).catch((error: Error) => error)))
  }
}

async function lent(): Promise<{ lease: Lease<BatchingConnection>; connection: BatchingConnection }> {
  const pool = new Pool({ dial: async () => new BatchingConnection(), maxIdle: 1 })
  const lease = await pool.get()
  return { lease, connection: lease.connection }
}

const transaction = [['MULTI'], ['SET', 'k', 'v'], ['EXEC']]

test('a transaction that is given as one batch leaves nothing to undo', async () => {
  const { lease, connection } = await lent()
  await lease.call('WATCH', 'k')
  assert.deepEqual(await lease.executeAll(transaction), ['OK', 'QUEUED', []])
  await lease.close()
  assert.deepEqual(connection.names, ['WATCH', 'MULTI', 'SET', 'EXEC'])
  assert.deepEqual([connection.batches, connection.isPristine, connection.ended], [1, true, undefined])
})

test('what a batch leaves open is undone', async () => {
  const { lease, connection } = await lent()
  await lease.executeAll([['WATCH', 'k'], ['GET', 'k'], ['MULTI'], ['SET', 'k', 'v']])
  await lease.close()
  assert.equal(connection.names.at(-1), 'DISCARD')
  assert.ok(connection.isPristine)
})

for (const [answer, isUndone] of [
  ['ERR unknown command', false],
  ['EXECABORT Transaction discarded', true],
] as const) {
  test(`with EXEC answered ${answer}, the transaction is ${isUndone ? 'over' : 'still to be undone'}`, async () => {
    const { lease, connection } = await lent()
    await lease.call('WATCH', 'k')
    connection.answers.set('EXEC', new ReplyError(answer))
    await lease.executeAll(transaction)
    const before = connection.names.length
    await lease.close()
    assert.deepEqual(connection.names.slice(before), isUndone ? [] : ['DISCARD'])
  })
}

test('a batch that is not taken undoes nothing', async () => {
  const { lease, connection } = await lent()
  await lease.call('WATCH', 'k')
  connection.refusal = new Error('full')
  await assert.rejects(lease.executeAll(transaction), connection.refusal)
  await lease.close()
  assert.equal(connection.names.at(-1), 'DISCARD')
})

test('without executeAll(), and with a command that blocks, they are sent one by one', async () => {
  const pool = new Pool({ dial: async () => new FakeConnection(), maxIdle: 1 })
  const plain = await pool.get()
  plain.connection.answers.set('GET', new ReplyError('WRONGTYPE no'))
  const outcomes = await plain.executeAll([['SET', 'k', 'v'], ['GET', 'k'], ['PING']])
  assert.deepEqual(outcomes, ['OK', new ReplyError('WRONGTYPE no'), 'PONG'])
  const { lease, connection } = await lent()
  connection.isHeld = true
  void lease.executeAll([['BLPOP', 'q', 0], ['PING']])
  assert.deepEqual([connection.batches, connection.names], [0, ['BLPOP', 'PING']])
  await lease.close()
  assert.equal(connection.ended, 'destroyed')
})

test('a lease that was given back runs nothing', async () => {
  const { lease, connection } = await lent()
  await lease.close()
  await assert.rejects(lease.executeAll([['PING']]), { code: 'LEASE_RETURNED' })
  assert.deepEqual(connection.names, [])
})
