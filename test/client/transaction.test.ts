// Transactions with watched keys: when the function is called again, what it ends with, and that its connection comes
// back clean.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { inspect } from 'node:util'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { type Client, createClient, type Transaction } from '../../lib/client/index.ts'
import { ConnectionError, ReplyError, RespoolError, TimeoutError } from '../../lib/errors.ts'
import { masterRole, ScriptedNode, scriptedDeployment, slaveRole } from '../sentinel/scripted-deployment.ts'
import { arrivedNames, clientOf, failure } from '../support/clients.ts'
import { eventually } from '../support/real-servers.ts'
import { array, error, integer } from '../support/resp-writer.ts'
import { takeTransactions } from './scripted-transactions.ts'

/** Every connection of its own is back. */
function areBack(client: Client): boolean {
  const { activeCount, idleCount } = client.stats().master?.pool ?? {}
  return activeCount === idleCount
}

const increment = async (tx: Transaction) => {
  const n = Number(await tx.get('n'))
  return tx.multi().set('n', n + 1)
}

test('it watches, reads, and executes what its function returns, on a connection of its own', async (t) => {
  const node = await new ScriptedNode().listen(t)
  const { ran } = takeTransactions(node)
  const client = clientOf(t, node)
  assert.deepEqual(await client.transaction(['n', 'm'], increment), [1])
  assert.equal(arrivedNames(node), 'WATCH GET MULTI SET EXEC')
  assert.deepEqual(node.server.commands.at(-5), ['WATCH', 'n', 'm'])
  assert.equal(ran.length, 1)
  assert.ok(areBack(client))
  assert.deepEqual(await client.transaction('n', increment), [1])
  assert.equal(node.server.peers.length, 1)
})

test('WATCH and the first reads leave together', async (t) => {
  const node = await new ScriptedNode().listen(t)
  takeTransactions(node, { answer: ([name]) => (name === 'WATCH' ? undefined : 'pass') })
  const running = clientOf(t, node).with({ timeout: 1_000 }).transaction('n', increment)
  await eventually('both are there', () => arrivedNames(node) === 'WATCH GET')
  node.server.peers.at(-1)?.close()
  await failure(running)
})

test('a function that returns nothing executes nothing, and the keys are not watched any more', async (t) => {
  const node = await new ScriptedNode().listen(t)
  takeTransactions(node)
  const client = clientOf(t, node)
  const result = await client.transaction('n', async (tx) => {
    if ((await tx.get('n')) !== null) return
    return tx.multi().incr('n')
  })
  assert.equal(result, undefined)
  assert.equal(arrivedNames(node), 'WATCH GET UNWATCH')
  assert.ok(areBack(client))
})

test('a chain of no commands is executed, to know that what was read is true', async (t) => {
  const node = await new ScriptedNode().listen(t)
  takeTransactions(node)
  const empty: [] = await clientOf(t, node).transaction('n', (tx) => tx.multi())
  assert.deepEqual(empty, [])
  assert.equal(arrivedNames(node), 'WATCH MULTI EXEC')
})

test('when a watched key was changed the function is called again, up to its attempts', async (t) => {
  const node = await new ScriptedNode().listen(t)
  let changes = 3
  const told = takeTransactions(node, {
    changed: () => {
      changes -= 1
      return changes >= 0
    },
  })
  const client = clientOf(t, node)
  let calls = 0
  const work = (tx: Transaction) => {
    calls += 1
    return increment(tx)
  }
  assert.deepEqual(await client.transaction('n', work, { attempts: 4 }), [1])
  assert.deepEqual([calls, told.conflicts, node.server.peers.length], [4, 3, 1])
  changes = Number.POSITIVE_INFINITY
  const failed = await failure(client.transaction('n', work, { attempts: 2 }))
  assert.deepEqual([failed.code, failed.mayHaveExecuted], ['TRANSACTION_CONFLICT', false])
  assert.match(failed.message, /^the watched keys were changed by others 2 times/)
  assert.equal(calls, 6)
  const tooLate = await failure(client.transaction('n', work, { attempts: 0, timeout: 100 }))
  assert.ok(tooLate instanceof TimeoutError)
  assert.equal(tooLate.timeout, 100)
  await eventually('it is back', () => areBack(client))
})

test('what the function throws is thrown, and its connection comes back clean', async (t) => {
  const node = await new ScriptedNode().listen(t)
  takeTransactions(node)
  const client = clientOf(t, node)
  const mine = new Error('mine')
  for (const work of [
    () => {
      throw mine
    },
    async (tx: Transaction) => {
      await tx.get('n')
      throw mine
    },
  ]) {
    await assert.rejects(client.transaction('n', work as never), mine)
    assert.equal(node.server.commands.at(-1)?.[0], 'UNWATCH')
    assert.ok(areBack(client))
  }
  assert.equal(node.server.peers.length, 1)
})

test('an error reply to a read is the function’s to take', async (t) => {
  const node = await new ScriptedNode().listen(t)
  takeTransactions(node, { answer: ([name]) => (name === 'HGET' ? error('WRONGTYPE no') : 'pass') })
  const client = clientOf(t, node)
  const failed = await failure(
    client.transaction('n', async (tx) => void (await tx.hget('n', 'f')) as undefined),
  )
  assert.ok(failed instanceof ReplyError)
  const caught = await client.transaction('n', async (tx) => {
    const value = await tx.hget('n', 'f').catch(() => 'none')
    return tx.multi().set('n', String(value))
  })
  assert.deepEqual(caught, [1])
})

test('misuse is told of clearly', async (t) => {
  const node = await new ScriptedNode().listen(t)
  takeTransactions(node)
  const client = clientOf(t, node)
  const nothing = () => undefined
  assert.throws(() => void client.transaction([], nothing), /needs a key to watch/)
  assert.throws(
    () => void client.transaction([{} as never], nothing),
    /^TypeError: argument 1 of the command/,
  )
  assert.throws(() => void client.transaction('n', 'work' as never), /must be a function, got string/)
  assert.throws(() => void client.with({ durable: 1 }).transaction('n', nothing), /durable is not for/)
  for (const [options, type] of [
    [null, TypeError],
    [{ attempt: 1 }, TypeError],
    [{ signal: {} }, TypeError],
    [{ attempts: -1 }, RangeError],
    [{ attempts: 1.5 }, RangeError],
    [{ timeout: -1 }, RangeError],
    [{ timeout: '1' }, RangeError],
  ] as const) {
    assert.throws(() => void client.transaction('n', nothing, options as never), type, inspect(options))
  }
  const rejects = (work: (tx: Transaction) => unknown, message: RegExp) =>
    assert.rejects(client.transaction('n', work as never), (it) => {
      assert.ok(it instanceof TypeError)
      assert.match(it.message, message)
      return true
    })
  await rejects(() => 1, /must return a chain of its tx\.multi\(\), or nothing; got a value of type number/)
  await rejects(() => null, /got null/)
  await rejects(() => client.multi().incr('n'), /got a chain of another one/)
  let kept: Transaction | undefined
  await client.transaction('n', (tx) => {
    kept = tx
    return undefined
  })
  await rejects(() => kept?.multi().incr('n'), /got a chain of another one/)
  await rejects((tx) => (tx.multi().incr('n') as never as { exec(): unknown }).exec(), /do not execute it/)
  await rejects((tx) => tx.set('n', 1), /^SET writes: .* behind multi\(\)/)
  await rejects((tx) => tx.call('MULTI'), /^MULTI changes the state/)
  await rejects((tx) => tx.blpop('q', 0), /^BLPOP (writes|blocks)/)
  await rejects((tx) => tx.xread('BLOCK', 0, 'STREAMS', 's', '$'), /^XREAD blocks/)
  await rejects((tx) => tx.get({} as never), /^argument 1 of the command/)
  assert.equal((await failure(kept?.get('n') as Promise<unknown>)).code, 'LEASE_RETURNED')
  assert.equal((await failure(kept?.watch('n') as Promise<unknown>)).code, 'LEASE_RETURNED')
  assert.equal(node.count('EXEC'), 0)
  assert.ok(areBack(client))
})

test('a connection that is lost before EXEC is replaced, and the function called again', async (t) => {
  const node = await new ScriptedNode().listen(t)
  const { ran } = takeTransactions(node, {
    answer: ([name], peer) => {
      if (name !== 'GET' || peer.index > 1) return 'pass'
      setImmediate(() => peer.reset())
      return undefined
    },
  })
  let calls = 0
  const work = (tx: Transaction) => {
    calls += 1
    return increment(tx)
  }
  assert.deepEqual(await clientOf(t, node).transaction('n', work, { attempts: 1 }), [1])
  assert.deepEqual([calls, ran.length, node.count('WATCH')], [3, 1, 3])
})

test('one that is lost while the function does something else is found out by EXEC', async (t) => {
  const node = await new ScriptedNode().listen(t)
  const { ran } = takeTransactions(node)
  const client = clientOf(t, node)
  let calls = 0
  const values = await client.transaction('n', async (tx) => {
    calls += 1
    await tx.get('n')
    if (calls === 1) {
      node.server.peers[0]?.reset()
      await eventually(
        'it is noticed',
        () => client.stats().master?.pool.activeCount === 1 && node.server.openCount === 0,
      )
      await sleep(10)
    }
    return tx.multi().incr('n')
  })
  assert.deepEqual([values, calls, ran.length], [[1], 2, 1])
})

for (const isRead of [false, true]) {
  test(`an EXEC that was sent and lost is ${isRead ? 'repeated where it only reads' : 'not repeated'}`, async (t) => {
    const node = await new ScriptedNode().listen(t)
    takeTransactions(node, {
      answer: ([name], peer) => {
        if (name !== 'EXEC' || peer.index > 0) return 'pass'
        setImmediate(() => peer.reset())
        return undefined
      },
    })
    const running = clientOf(t, node).transaction('n', (tx) =>
      isRead ? tx.multi().get('n') : tx.multi().call('INCR', 'n'),
    )
    if (isRead) {
      assert.deepEqual(await running, [1])
      assert.equal(node.count('EXEC'), 2)
      return
    }
    const lost = await failure(running)
    assert.ok(lost instanceof ConnectionError)
    assert.deepEqual([lost.mayHaveExecuted, node.count('EXEC')], [true, 1])
  })
}

test('what the caller calls idempotent is repeated, and stays in doubt when that fails', async (t) => {
  const node = await new ScriptedNode().listen(t)
  let [executions, isChanged] = [0, false]
  takeTransactions(node, {
    answer: ([name], peer) => {
      if (name !== 'EXEC') return 'pass'
      executions += 1
      if (executions % 2 === 0) return 'pass'
      setImmediate(() => peer.reset())
      return undefined
    },
    changed: () => isChanged,
  })
  const view = clientOf(t, node).with({ idempotent: true })
  const set = (tx: Transaction) => tx.multi().set('k', 'v')
  assert.deepEqual(await view.transaction('k', set), [1])
  assert.equal(executions, 2)
  isChanged = true
  const doubt = await failure(view.transaction('k', set, { attempts: 1 }))
  assert.equal(executions, 4)
  assert.deepEqual([doubt.code, doubt.mayHaveExecuted], ['CONNECTION_LOST', true])
  assert.ok(doubt.cause instanceof RespoolError && doubt.cause.code === 'TRANSACTION_CONFLICT')
})

test('a switch before EXEC begins it anew at the new master: no watch outlives its own', async (t) => {
  const { master, replicas, seeds, sentinels, say } = await scriptedDeployment(t)
  const [heir] = replicas
  assert.ok(heir)
  const [old, next] = [takeTransactions(master), takeTransactions(heir)]
  const client = createClient({ sentinel: { name: 'm', sentinels: seeds }, pingInterval: 0 })
  t.after(() => client.destroy())
  await client.ready()
  await eventually('listened to', () => sentinels.every(({ subscriberCount }) => subscriberCount === 1))
  let calls = 0
  const values = await client.transaction('n', async (tx) => {
    calls += 1
    await tx.get('n')
    if (calls === 1) {
      heir.role = masterRole()
      master.role = slaveRole(heir.address)
      say({ master: heir.address, epoch: 2, replicas: [] })
      sentinels[0]?.publish(
        '+switch-master',
        `m ${master.address.replace(':', ' ')} ${heir.address.replace(':', ' ')}`,
      )
      await eventually('the switch', () => client.topology?.master === heir.address)
    }
    return tx.multi().incr('n')
  })
  assert.deepEqual([values, calls, old.ran.length, next.ran.length], [[1], 2, 0, 1])
  assert.equal(heir.count('WATCH'), 1)
})

test('what the old master refuses to queue begins anew at the new one', async (t) => {
  const { master, replicas, seeds, say } = await scriptedDeployment(t)
  const [heir] = replicas
  assert.ok(heir)
  const old = takeTransactions(master, { refuse: () => "READONLY You can't write" })
  const next = takeTransactions(heir)
  const client = createClient({ sentinel: { name: 'm', sentinels: seeds }, pingInterval: 0 })
  t.after(() => client.destroy())
  await client.ready()
  heir.role = masterRole()
  master.role = slaveRole(heir.address)
  say({ master: heir.address, epoch: 2, replicas: [] })
  assert.deepEqual(await client.transaction('n', increment), [1])
  assert.deepEqual([old.ran.length, next.ran.length], [0, 1])
})

test('one deadline covers all of it, a function that never ends included', async (t) => {
  const node = await new ScriptedNode().listen(t)
  takeTransactions(node)
  const client = clientOf(t, node)
  let kept: Transaction | undefined
  const late = await failure(
    client.transaction(
      'n',
      (tx) => {
        kept = tx
        return new Promise<undefined>(() => undefined)
      },
      { timeout: 400 },
    ),
  )
  assert.ok(late instanceof TimeoutError)
  assert.deepEqual([late.timeout, late.mayHaveExecuted], [400, false])
  assert.equal((await failure(kept?.get('n') as Promise<unknown>)).code, 'LEASE_RETURNED')
  await eventually('it is back', () => areBack(client))
  takeTransactions(node, { answer: ([name]) => (name === 'EXEC' ? undefined : 'pass') })
  const doubt = await failure(client.with({ timeout: 400 }).transaction('n', (tx) => tx.multi().incr('n')))
  assert.ok(doubt instanceof TimeoutError)
  assert.deepEqual([doubt.timeout, doubt.mayHaveExecuted], [400, true])
})

test('a signal ends it wherever it is', async (t) => {
  const node = await new ScriptedNode().listen(t)
  takeTransactions(node, { answer: ([name]) => (name === 'EXEC' ? undefined : 'pass') })
  const client = clientOf(t, node)
  const early = await failure(client.transaction('n', increment, { signal: AbortSignal.abort() }))
  assert.deepEqual([early.code, node.server.peers.length], ['ABORT_ERR', 0])
  const [inside, behind] = [new AbortController(), new AbortController()]
  const endless = client.transaction(
    'n',
    async (tx) => {
      await tx.get('n')
      inside.abort(new Error('enough'))
      return new Promise<undefined>(() => undefined)
    },
    { signal: inside.signal },
  )
  const ended = await failure(endless)
  assert.deepEqual(
    [ended.code, ended.mayHaveExecuted, ended.cause],
    ['ABORT_ERR', false, new Error('enough')],
  )
  const executed = client.transaction('n', (tx) => tx.multi().incr('n'), { signal: behind.signal })
  await eventually('it is sent', () => node.count('EXEC') === 1)
  behind.abort(new Error('late'))
  const doubt = await failure(executed)
  assert.deepEqual([doubt.code, doubt.mayHaveExecuted, doubt.cause], ['ABORT_ERR', true, new Error('late')])
  await eventually('all are back', () => areBack(client))
})

test('more keys can be watched on the way, and a refused WATCH lets nothing be executed', async (t) => {
  const node = await new ScriptedNode().listen(t)
  let refused = 'none'
  takeTransactions(node, {
    answer: ([name, key]) => (name === 'WATCH' && key === refused ? error('NOPERM no') : 'pass'),
  })
  const client = clientOf(t, node)
  const follow = (tx: Transaction) => {
    void tx.watch('b')
    return tx.multi().incr('n')
  }
  assert.deepEqual(await client.transaction('a', follow), [1])
  assert.equal(arrivedNames(node), 'WATCH WATCH MULTI INCR EXEC')
  for (refused of ['a', 'b']) {
    const failed = await failure(client.transaction('a', follow))
    assert.equal(failed.message, 'NOPERM no')
  }
  assert.equal(node.count('EXEC'), 1)
})

test('a command that fails in EXEC is told of as in a pipeline, and the function is not called again', async (t) => {
  const node = await new ScriptedNode().listen(t)
  takeTransactions(node, {
    answer: ([name]) => (name === 'EXEC' ? array(error('WRONGTYPE no'), integer(2)) : 'pass'),
  })
  let calls = 0
  const failed = await failure(
    clientOf(t, node).transaction('n', (tx) => {
      calls += 1
      return tx.multi().incr('a').incr('b')
    }),
  )
  assert.deepEqual([failed.code, failed.mayHaveExecuted, calls], ['BATCH_FAILED', true, 1])
  assert.deepEqual(failed.batch, { index: 0, command: 'INCR', results: [new ReplyError('WRONGTYPE no'), 2] })
})

test('a session’s transaction counts as its write', async (t) => {
  const node = await new ScriptedNode().listen(t)
  takeTransactions(node)
  const session = clientOf(t, node).session()
  assert.equal(session.token, undefined)
  assert.deepEqual(await session.transaction('n', (tx) => tx.multi().incr('n')), [1])
  assert.match(session.token ?? '', /^1\.10\./)
})

test('close() waits for a transaction that has begun, and none begins after it', async (t) => {
  const node = await new ScriptedNode().listen(t)
  takeTransactions(node)
  const client = clientOf(t, node)
  let closed: Promise<void> | undefined
  const running = client.transaction('n', async (tx) => {
    closed = client.close()
    await tx.get('n')
    return tx.multi().incr('n')
  })
  assert.deepEqual(await running, [1])
  await closed
  assert.equal((await failure(client.transaction('n', increment))).code, 'CLIENT_CLOSED')
})

test('destroy() does not wait for its function', async (t) => {
  const node = await new ScriptedNode().listen(t)
  takeTransactions(node)
  const client = clientOf(t, node, { commandTimeout: 0 })
  const reason = new Error('the end')
  const over = failure(
    client.transaction('n', async (tx) => {
      await tx.get('n')
      client.destroy(reason)
      await new Promise(() => undefined)
    }),
  )
  const { code, mayHaveExecuted, cause } = await over
  assert.deepEqual([code, mayHaveExecuted, cause], ['CLIENT_CLOSED', false, reason])
})

test('transactions that are over keep nothing alive, though their connection lives on', async (t) => {
  const node = await new ScriptedNode().listen(t)
  takeTransactions(node)
  const client = clientOf(t, node)
  const { signal } = new AbortController()
  const kept: WeakRef<object>[] = []
  for (let i = 0; i < 50; i += 1) {
    const work = (tx: Transaction) => increment(tx)
    kept.push(new WeakRef(work))
    await client.transaction('n', work, { signal })
  }
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  await eventually('they are collected, but for the last', () => {
    collect()
    return kept.slice(0, -5).every((it) => it.deref() === undefined)
  })
  assert.equal(node.server.openCount, 1)
})
