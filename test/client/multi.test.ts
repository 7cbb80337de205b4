// Transactions without watched keys: all of it or nothing, on the connection that everybody shares.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createClient } from '../../lib/client/index.ts'
import { ConnectionError, ReplyError, TimeoutError } from '../../lib/errors.ts'
import { masterRole, ScriptedNode, scriptedDeployment, slaveRole } from '../sentinel/scripted-deployment.ts'
import { arrivedNames, clientOf, failure } from '../support/clients.ts'
import { eventually } from '../support/real-servers.ts'
import { array, error, integer, nullArray, simple } from '../support/resp-writer.ts'
import { takeTransactions } from './scripted-transactions.ts'

test('a transaction leaves in one piece over the shared connection, whatever else is sent', async (t) => {
  const node = await new ScriptedNode().listen(t)
  const { ran } = takeTransactions(node)
  const client = clientOf(t, node)
  await client.ready()
  const chain = client.multi()
  for (let i = 0; i < 200; i += 1) chain.incr(`n${i}`)
  const [, values] = await Promise.all([client.get('a'), chain.exec(), client.get('b')])
  assert.deepEqual(
    values,
    Array.from({ length: 200 }, (_, i) => i + 1),
  )
  assert.equal(ran.length, 200)
  assert.equal(arrivedNames(node), ['GET', 'MULTI', ...new Array(200).fill('INCR'), 'EXEC', 'GET'].join(' '))
  assert.equal(node.server.peers.length, 1)
})

test('a command that is not queued undoes it all, and is named', async (t) => {
  const node = await new ScriptedNode().listen(t)
  const { ran } = takeTransactions(node, {
    refuse: ([name]) => (name === 'SET' ? 'OOM command not allowed' : undefined),
  })
  const client = clientOf(t, node)
  const failed = await failure(client.multi().incr('n').set('k', 'v').incr('n').exec())
  assert.deepEqual([failed.code, failed.mayHaveExecuted], ['BATCH_FAILED', false])
  assert.equal(failed.message, 'SET, at index 1 of 3 commands, failed, and so did 2 more: OOM')
  const abort = new ReplyError('EXECABORT Transaction discarded because of previous errors.')
  const refusal = new ReplyError('OOM command not allowed')
  assert.deepEqual(failed.cause, refusal)
  assert.deepEqual(failed.batch, { index: 1, command: 'SET', results: [abort, refusal, abort] })
  assert.deepEqual(await client.multi().incr('n').set('k', 'v').execSettled(), [
    { status: 'rejected', reason: abort },
    { status: 'rejected', reason: refusal },
  ])
  assert.deepEqual(ran, [])
  assert.equal(node.count('MULTI'), 2)
})

test('a command that fails when it is run is told of as in a pipeline: the others did run', async (t) => {
  const node = await new ScriptedNode().listen(t)
  takeTransactions(node, {
    answer: ([name]) => (name === 'EXEC' ? array(integer(1), error('WRONGTYPE no'), integer(2)) : 'pass'),
  })
  const failed = await failure(clientOf(t, node).multi().incr('a').lpush('b', 'x').incr('c').exec())
  assert.deepEqual([failed.code, failed.mayHaveExecuted], ['BATCH_FAILED', true])
  assert.deepEqual(failed.batch, {
    index: 1,
    command: 'LPUSH',
    results: [1, new ReplyError('WRONGTYPE no'), 2],
  })
})

test('what a replica refuses goes to the new master as a whole', async (t) => {
  const { master, replicas, seeds, say } = await scriptedDeployment(t)
  const [heir] = replicas
  assert.ok(heir)
  const old = takeTransactions(master, {
    refuse: ([name]) =>
      name === 'INCR' ? "READONLY You can't write against a read only replica." : undefined,
  })
  const next = takeTransactions(heir)
  const client = createClient({ sentinel: { name: 'm', sentinels: seeds }, pingInterval: 0 })
  t.after(() => client.destroy())
  await client.ready()
  heir.role = masterRole()
  master.role = slaveRole(heir.address)
  say({ master: heir.address, epoch: 2, replicas: [{ address: master.address }] })
  assert.deepEqual(await client.multi().get('a').incr('n').get('b').exec(), [1, 2, 3])
  assert.deepEqual(old.ran, [])
  assert.deepEqual(
    next.ran.map(([name]) => name),
    ['GET', 'INCR', 'GET'],
  )
})

test('an EXEC that is refused for a reason that passes is tried again, with all of it', async (t) => {
  const node = await new ScriptedNode().listen(t)
  let refusals = 2
  const { ran } = takeTransactions(node, {
    answer: ([name]) => {
      if (name !== 'EXEC') return 'pass'
      refusals -= 1
      return refusals >= 0
        ? error("EXECABORT Transaction discarded because of: READONLY You can't write")
        : 'pass'
    },
  })
  assert.deepEqual(await clientOf(t, node).multi().incr('n').exec(), [1])
  assert.deepEqual(ran, [['INCR', 'n']])
  assert.equal(node.count('MULTI'), 3)
})

for (let answered = 0; answered < 4; answered += 1) {
  test(`cut off after ${answered} of 4 replies, it is not run again, unless it only reads`, async (t) => {
    const node = await new ScriptedNode().listen(t)
    let seen = 0
    let cutting = 0
    const { ran } = takeTransactions(node, {
      answer: (_, peer) => {
        if (peer.index !== cutting) return 'pass'
        seen += 1
        if (seen === answered + 1) setImmediate(() => peer.reset())
        return seen > answered ? undefined : 'pass'
      },
    })
    cutting = -1
    const client = clientOf(t, node)
    await client.ready()
    cutting = 0
    const lost = await failure(client.multi().incr('a').incr('b').exec())
    assert.ok(lost instanceof ConnectionError)
    assert.equal(lost.mayHaveExecuted, true)
    assert.equal(node.count('MULTI'), 1)
    await client.ready()
    seen = 0
    cutting = 1
    assert.deepEqual(await client.multi().get('a').get('b').exec(), [1, 2])
    assert.equal(node.count('MULTI'), 3)
    assert.deepEqual(ran.slice(-2), [
      ['GET', 'a'],
      ['GET', 'b'],
    ])
  })
}

test('one that was refused before its EXEC was lost certainly did not run', async (t) => {
  const node = await new ScriptedNode().listen(t)
  takeTransactions(node, {
    refuse: ([name]) => (name === 'SET' ? 'OOM no' : undefined),
    answer: ([name], peer) => {
      if (name !== 'EXEC') return 'pass'
      setImmediate(() => peer.reset())
      return undefined
    },
  })
  const failed = await failure(clientOf(t, node).multi().incr('n').set('k', 'v').exec())
  assert.deepEqual([failed.code, failed.mayHaveExecuted, failed.batch?.index], ['BATCH_FAILED', false, 1])
  assert.deepEqual(failed.batch?.results, [new ReplyError('OOM no'), new ReplyError('OOM no')])
})

test('with MULTI refused it says that the commands were run one by one', async (t) => {
  const node = await new ScriptedNode().listen(t)
  takeTransactions(node, { answer: ([name]) => (name === 'MULTI' ? error('NOPERM no multi') : 'pass') })
  const failed = await failure(clientOf(t, node).multi().incr('a').incr('b').exec())
  assert.deepEqual([failed.code, failed.mayHaveExecuted], ['BATCH_FAILED', true])
  assert.match(failed.message, /^MULTI was refused, .* not run as a transaction: NOPERM$/)
  assert.deepEqual(failed.batch, { index: -1, command: 'MULTI', results: [1, 1] })
  const settled = await clientOf(t, node).multi().incr('a').execSettled()
  assert.equal(settled[0].status, 'fulfilled')
})

test('with MULTI and all behind it refused for a reason that passes, it is tried again', async (t) => {
  const node = await new ScriptedNode().listen(t)
  let refusals = 3
  takeTransactions(node, {
    answer: ([name]) => {
      if (!['MULTI', 'INCR', 'EXEC'].includes(name ?? '')) return 'pass'
      refusals -= 1
      return refusals >= 0 ? error('BUSY a script') : 'pass'
    },
  })
  assert.deepEqual(await clientOf(t, node).multi().incr('a').exec(), [1])
})

test('a deadline leaves it in doubt as a whole, and is told as it was set', async (t) => {
  const node = await new ScriptedNode().listen(t)
  takeTransactions(node, { answer: ([name]) => (name === 'EXEC' ? undefined : 'pass') })
  const client = clientOf(t, node, { suspectAfter: 0 })
  await client.ready()
  const late = await failure(client.with({ timeout: 50 }).multi().incr('n').exec())
  assert.ok(late instanceof TimeoutError)
  assert.deepEqual([late.timeout, late.mayHaveExecuted, late.batch], [50, true, undefined])
  await eventually('it is there', () => node.count('EXEC') === 1)
})

test('a peer that answers EXEC with something else is not understood', async (t) => {
  for (const [answer, what] of [
    [simple('OK'), /a value of type string$/],
    [nullArray(), /null$/],
    [array(), /0 replies$/],
    [array(integer(1), integer(2)), /2 replies$/],
  ] as const) {
    const node = await new ScriptedNode().listen(t)
    takeTransactions(node, { answer: ([name]) => (name === 'EXEC' ? answer : 'pass') })
    const failed = await failure(clientOf(t, node).multi().incr('n').exec())
    assert.deepEqual([failed.code, failed.mayHaveExecuted], ['PROTOCOL_ERROR', true])
    assert.match(failed.message, what)
  }
})

test('one that is taken back before it is written leaves no part of it', async (t) => {
  const node = await new ScriptedNode().listen(t)
  takeTransactions(node)
  const client = clientOf(t, node)
  await client.ready()
  const aborting = new AbortController()
  const values = client.with({ signal: aborting.signal }).multi().incr('a').incr('b').exec()
  aborting.abort()
  const unsent = await failure(values)
  assert.deepEqual([unsent.code, unsent.mayHaveExecuted], ['ABORT_ERR', false])
  await client.get('k')
  await eventually('the other came', () => node.count('GET') === 1)
  assert.equal(arrivedNames(node), 'GET')
})
