// Pipelines: where they go, what each command ends with, and what is tried again when a connection ends or a server
// refuses in the middle of one.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { inspect } from 'node:util'
import { type Client, createClient } from '../../lib/client/index.ts'
import { ConnectionError, ReplyError, type RespoolError, TimeoutError } from '../../lib/errors.ts'
import { masterRole, ScriptedNode, scriptedDeployment, slaveRole } from '../sentinel/scripted-deployment.ts'
import { arrived, clientOf, failure } from '../support/clients.ts'
import { settled } from '../support/clock.ts'
import { eventually } from '../support/real-servers.ts'
import { bulk, error, integer } from '../support/resp-writer.ts'
import { takeTransactions } from './scripted-transactions.ts'

/** Answers so many of the commands, with numbers, and cuts the connection at the next; answers all later ones. */
function cutAfter(node: ScriptedNode, count: number): void {
  let seen = 0
  node.intercept = (command, peer) => {
    if (!['INCR', 'GET', 'MGET'].includes(command[0] ?? '')) return 'pass'
    seen += 1
    if (seen <= count) return integer(seen)
    if (seen === count + 1) setImmediate(() => peer.reset())
    return peer.index === 0 ? undefined : integer(seen)
  }
}

test('a pipeline gives the value of each command, in order, for one promise', async (t) => {
  const node = await new ScriptedNode().listen(t)
  const client = clientOf(t, node)
  const values = await client.pipeline().set('k', 'v').incr('n').call('GET', 'k').incr('n').exec()
  assert.deepEqual(values, ['OK', 1, `k of ${node.address}`, 2])
})

test('nothing is sent before exec(), and then nothing comes between', async (t) => {
  const node = await new ScriptedNode().listen(t)
  const client = clientOf(t, node)
  await client.ready()
  const chain = client.pipeline()
  for (let i = 0; i < 100; i += 1) chain.incr(`p${i}`)
  assert.equal(chain.length, 100)
  const before = client.incr('before')
  const values = chain.exec()
  const behind = client.incr('behind')
  await Promise.all([before, values, behind])
  assert.deepEqual(arrived(node), [
    'INCR before',
    ...Array.from({ length: 100 }, (_, i) => `INCR p${i}`),
    'INCR behind',
  ])
})

test('an empty pipeline and an empty transaction give nothing, and send nothing', async (t) => {
  const node = await new ScriptedNode().listen(t)
  const client = clientOf(t, node)
  assert.deepEqual(await client.pipeline().exec(), [])
  assert.deepEqual(await client.pipeline().execSettled(), [])
  assert.deepEqual(await client.multi().exec(), [])
  assert.equal(node.server.peers.length, 0)
})

test('misuse throws at once, where it is', async (t) => {
  const node = await new ScriptedNode().listen(t)
  const client = clientOf(t, node)
  const throwsTypeError = (run: () => unknown, message: RegExp) =>
    assert.throws(run, (it) => it instanceof TypeError && message.test(it.message))
  for (const begin of [() => client.pipeline(), () => client.multi()]) {
    const chain = begin() as ReturnType<Client['pipeline']>
    throwsTypeError(() => chain.get({} as never), /^argument 1 of the command must be/)
    throwsTypeError(() => chain.call('get', undefined as never), /^argument 1/)
    throwsTypeError(() => chain.call('BLPOP', 'q', 0), /^BLPOP blocks/)
    throwsTypeError(() => (chain as unknown as Client).blpop('q', 0), /^BLPOP blocks/)
    throwsTypeError(() => chain.xread('BLOCK', 10, 'STREAMS', 's', '$'), /^XREAD blocks/)
    for (const name of ['MULTI', 'exec', 'WATCH', 'SUBSCRIBE', 'SELECT', 'RESET'])
      throwsTypeError(() => chain.call(name, 'x'), new RegExp(`^${name.toUpperCase()} changes the state`))
    assert.equal(chain.length, 0)
    chain.get('k')
    void chain.execSettled()
    for (const again of [() => chain.get('k'), () => chain.exec(), () => chain.execSettled()])
      throwsTypeError(again, /^the (pipeline|multi) was executed/)
  }
  const durable = client.with({ durable: 1 })
  throwsTypeError(() => durable.pipeline(), /^option durable is not for pipeline\(\)/)
  throwsTypeError(() => durable.multi(), /^option durable is not for multi\(\)/)
})

test('bytes are the caller’s again after each method', async (t) => {
  const node = await new ScriptedNode().listen(t)
  const client = clientOf(t, node)
  const bytes = Buffer.from('before')
  const chain = client.pipeline().set(bytes, bytes).incr('n')
  bytes.fill('x')
  await chain.exec()
  assert.deepEqual(arrived(node), ['SET before before', 'INCR n'])
})

test('with reads only it goes where readFrom says; with a write among them, all of it to the master', async (t) => {
  const { master, replicas, seeds } = await scriptedDeployment(t)
  const [replica] = replicas
  assert.ok(replica)
  takeTransactions(master)
  takeTransactions(replica)
  const client = createClient({ sentinel: { name: 'm', sentinels: seeds }, readFrom: 'replica' })
  t.after(() => client.destroy())
  await client.ready()
  await eventually('the replica is well', () => client.topology?.replicas[0]?.healthy)
  const served = async (values: Promise<unknown[]>) => (await values).join().replaceAll(/k of /g, '')
  const reads = () => client.pipeline().get('k').get('k')
  assert.equal(await served(reads().exec()), `${replica.address},${replica.address}`)
  assert.equal(await served(reads().incr('n').exec()), `${master.address},${master.address},1`)
  assert.equal(await served(client.with({ readFrom: 'master' }).pipeline().get('k').exec()), master.address)
  await client.multi().get('k').get('k').exec()
  assert.deepEqual([master.count('EXEC'), replica.count('EXEC')], [0, 1])
  await client.multi().get('k').incr('n').exec()
  assert.deepEqual([master.count('EXEC'), replica.count('EXEC')], [1, 1])
})

test('an error tells which command failed, and has all results, but shows none of them', async (t) => {
  const node = await new ScriptedNode().listen(t)
  node.intercept = ([name]) => (name === 'HGET' ? error('WRONGTYPE Operation against a key') : 'pass')
  const client = clientOf(t, node)
  const chain = () => client.pipeline().set('k', 'secret').hget('h', 'secret').incr('n').hget('h', 'f')
  const failed = await failure(chain().exec())
  assert.deepEqual([failed.code, failed.mayHaveExecuted], ['BATCH_FAILED', true])
  assert.equal(failed.message, 'HGET, at index 1 of 4 commands, failed, and so did 1 more: WRONGTYPE')
  const refusal = new ReplyError('WRONGTYPE Operation against a key')
  assert.deepEqual(failed.cause, refusal)
  assert.deepEqual(failed.batch, { index: 1, command: 'HGET', results: ['OK', refusal, 1, refusal] })
  assert.doesNotMatch(inspect(failed, { depth: 9 }), /secret|'OK'|results/)
  assert.deepEqual(await chain().execSettled(), [
    { status: 'fulfilled', value: 'OK' },
    { status: 'rejected', reason: refusal },
    { status: 'fulfilled', value: 2 },
    { status: 'rejected', reason: refusal },
  ])
  const alone = await failure(client.pipeline().hget('h', 'f').exec())
  assert.deepEqual([alone.code, alone.mayHaveExecuted], ['BATCH_FAILED', false])
})

for (let answered = 0; answered < 4; answered += 1) {
  test(`writes that are cut off after ${answered} of 4 replies run once, and each tells its outcome`, async (t) => {
    const node = await new ScriptedNode().listen(t)
    const client = clientOf(t, node)
    await client.ready()
    cutAfter(node, answered)
    const failed = await failure(client.pipeline().incr('a').incr('b').get('c').incr('d').exec())
    assert.equal(failed.code, 'BATCH_FAILED')
    assert.equal(failed.mayHaveExecuted, true)
    assert.ok(failed.cause instanceof ConnectionError)
    const { index, results = [] } = failed.batch ?? {}
    assert.equal(index, answered)
    for (const [at, result] of results.entries()) {
      if (at < answered) assert.equal(result, at + 1)
      else assert.ok(result instanceof ConnectionError && result.mayHaveExecuted)
    }
    assert.deepEqual(arrived(node), ['INCR a', 'INCR b', 'GET c', 'INCR d'])
  })

  test(`reads that are cut off after ${answered} of 4 replies are read again, those and no others`, async (t) => {
    const node = await new ScriptedNode().listen(t)
    const client = clientOf(t, node)
    await client.ready()
    cutAfter(node, answered)
    const values = await client.pipeline().get('a').get('b').mget('c').get('d').exec()
    assert.deepEqual(
      values,
      [1, 2, 3, 4].map((it) => (it <= answered ? it : it + 4 - answered)),
    )
    const all = ['GET a', 'GET b', 'MGET c', 'GET d']
    assert.deepEqual(arrived(node), [...all, ...all.slice(answered)])
  })
}

test('a tail of reads behind answered writes is read again, and what is idempotent runs again', async (t) => {
  const node = await new ScriptedNode().listen(t)
  const client = clientOf(t, node)
  await client.ready()
  cutAfter(node, 2)
  assert.deepEqual(await client.pipeline().incr('a').incr('b').get('c').get('d').exec(), [1, 2, 5, 6])
  assert.deepEqual(arrived(node).slice(4), ['GET c', 'GET d'])
  const other = await new ScriptedNode().listen(t)
  const again = clientOf(t, other)
  await again.ready()
  cutAfter(other, 1)
  const idempotent = again.with({ idempotent: true })
  assert.deepEqual(await idempotent.pipeline().incr('a').incr('b').get('c').exec(), [1, 4, 5])
  assert.deepEqual(arrived(other).slice(3), ['INCR b', 'GET c'])
})

test('a write that was refused is tried again with the reads behind it that were lost', async (t) => {
  const node = await new ScriptedNode().listen(t)
  const client = clientOf(t, node)
  await client.ready()
  node.intercept = ([name], peer) => {
    if (peer.index > 0) return 'pass'
    if (name === 'INCR') return error('NOREPLICAS none')
    setImmediate(() => peer.reset())
    return undefined
  }
  assert.deepEqual(await client.pipeline().incr('n').get('k').exec(), [1, `k of ${node.address}`])
})

test('once an outcome was unknown, it stays so, whatever becomes of the next attempts', async (t) => {
  const node = await new ScriptedNode().listen(t)
  const client = clientOf(t, node).with({ idempotent: true, timeout: 600 })
  await client.incr('ready')
  cutAfter(node, 1)
  const lose = node.intercept
  node.intercept = (command, peer) =>
    peer.index > 0 && command[0] === 'INCR' ? error('LOADING reading') : lose(command, peer)
  const failed = await failure(client.pipeline().incr('a').incr('b').incr('c').exec())
  const [first, ...others] = failed.batch?.results ?? []
  assert.equal(first, 1)
  for (const other of others) {
    assert.ok(other instanceof TimeoutError)
    assert.deepEqual([other.mayHaveExecuted, other.timeout], [true, 600])
  }
  const nothing = new AbortController()
  const aborted = client.with({ signal: nothing.signal, timeout: 30_000 }).pipeline().incr('a').execSettled()
  await eventually('it is refused', () => node.count('INCR') > 6)
  nothing.abort()
  const [outcome] = await aborted
  assert.ok(outcome.status === 'rejected')
  assert.deepEqual([outcome.reason.code, outcome.reason.mayHaveExecuted], ['ABORT_ERR', false])
})

test('a deadline is the last word, also for what could be tried again', async (t) => {
  const node = await new ScriptedNode().listen(t)
  node.intercept = ([, key]) =>
    key === 'mute' ? undefined : key === 'refused' ? error('LOADING reading') : 'pass'
  const client = clientOf(t, node, { commandTimeout: 500, suspectAfter: 0 })
  await client.ready()
  const failed = await failure(client.pipeline().get('refused').get('mute').exec())
  const [refused, mute] = failed.batch?.results ?? []
  assert.deepEqual(refused, new ReplyError('LOADING reading'))
  assert.ok(mute instanceof TimeoutError && mute.mayHaveExecuted)
})

test('what the old master refuses is taken by the new one, all behind it with it, in order', async (t) => {
  const { master, replicas, seeds, say } = await scriptedDeployment(t)
  const [heir] = replicas
  assert.ok(heir)
  const client = createClient({ sentinel: { name: 'm', sentinels: seeds }, pingInterval: 0 })
  t.after(() => client.destroy())
  await client.ready()
  heir.role = masterRole()
  master.role = slaveRole(heir.address)
  say({ master: heir.address, epoch: 2, replicas: [{ address: master.address }] })
  master.intercept = ([name]) => (name === 'INCR' ? error("READONLY You can't write") : 'pass')
  const values = await client.pipeline().get('a').incr('n').get('b').incr('n').exec()
  assert.deepEqual(values, [`a of ${master.address}`, 1, `b of ${heir.address}`, 2])
  assert.deepEqual(arrived(heir), ['INCR n', 'GET b', 'INCR n'])
})

test('what was refused is not tried again when a write behind it ran', async (t) => {
  const node = await new ScriptedNode().listen(t)
  node.intercept = ([, key]) => (key === 'a' ? error('TRYAGAIN slots move') : 'pass')
  const client = clientOf(t, node)
  const failed = await failure(client.pipeline().incr('a').incr('b').exec())
  assert.deepEqual(failed.batch?.results, [new ReplyError('TRYAGAIN slots move'), 1])
  assert.deepEqual(arrived(node), ['INCR a', 'INCR b'])
})

test('an error that a script made up is its answer: it is not run again', async (t) => {
  const node = await new ScriptedNode().listen(t)
  let runs = 0
  node.intercept = ([name]) => {
    if (name !== 'EVAL') return 'pass'
    runs += 1
    return error('TRYAGAIN later')
  }
  const client = clientOf(t, node)
  const chain = client.pipeline().eval('return 1', 0).get('k')
  assert.deepEqual((await failure(chain.exec())).batch?.results[0], new ReplyError('TRYAGAIN later'))
  assert.equal(runs, 1)
})

test('what all of it is refused for is waited for, until the deadline', async (t) => {
  const node = await new ScriptedNode().listen(t)
  let refusals = 4
  node.intercept = ([name]) => {
    if (name !== 'INCR' && name !== 'GET') return 'pass'
    refusals -= 1
    return refusals >= 0 ? error('LOADING reading') : 'pass'
  }
  const client = clientOf(t, node)
  assert.deepEqual(await client.pipeline().incr('a').get('b').exec(), [1, `b of ${node.address}`])
  assert.equal(arrived(node).length, 6)
  refusals = Number.POSITIVE_INFINITY
  const late = await failure(client.with({ timeout: 500 }).pipeline().incr('a').get('b').exec())
  assert.ok(late instanceof TimeoutError)
  assert.deepEqual([late.timeout, late.mayHaveExecuted], [500, false])
  assert.match(late.message, /^not done within 500 ms: LOADING/)
  assert.equal(node.value('a'), 1)
})

test('a deadline ends what has no reply yet, and is told as it was set', async (t) => {
  const node = await new ScriptedNode().listen(t)
  node.intercept = ([, key]) => (key === 'mute' ? undefined : 'pass')
  const client = clientOf(t, node, { suspectAfter: 0 })
  await client.ready()
  const failed = await failure(client.with({ timeout: 500 }).pipeline().incr('a').incr('mute').exec())
  const { results = [] } = failed.batch ?? {}
  assert.equal(results[0], 1)
  assert.ok(results[1] instanceof TimeoutError && results[1].mayHaveExecuted)
  assert.equal((results[1] as TimeoutError).timeout, 500)
  assert.deepEqual(arrived(node), ['INCR a', 'INCR mute'])
})

test('a signal ends it: nothing is sent that was not, and what was may have run', async (t) => {
  const node = await new ScriptedNode().listen(t)
  const client = clientOf(t, node)
  await client.ready()
  const aborting = new AbortController()
  const early = client.with({ signal: aborting.signal }).pipeline().incr('a').incr('b').exec()
  aborting.abort()
  const unsent = await failure(early)
  assert.deepEqual([unsent.code, unsent.mayHaveExecuted], ['ABORT_ERR', false])
  const before = await failure(client.with({ signal: aborting.signal }).pipeline().incr('a').exec())
  assert.equal(before.code, 'ABORT_ERR')
  await settled()
  assert.deepEqual(arrived(node), [])
  node.intercept = ([name]) => (name === 'INCR' ? undefined : 'pass')
  const later = new AbortController()
  const sent = client.with({ signal: later.signal }).pipeline().incr('a').incr('b').execSettled()
  await eventually('it arrived', () => node.count('INCR') === 2)
  later.abort()
  for (const outcome of await sent) {
    assert.ok(outcome.status === 'rejected')
    assert.deepEqual([outcome.reason.code, outcome.reason.mayHaveExecuted], ['ABORT_ERR', true])
  }
})

test('while there is no master it waits as one, bounded in commands and in bytes, within its deadline', async (t) => {
  const { master, sentinels, seeds } = await scriptedDeployment(t, { sentinels: 1 })
  const [sentinel] = sentinels
  assert.ok(sentinel)
  sentinel.isSilent = true
  const client = createClient({ sentinel: { name: 'm', sentinels: seeds }, maxHeld: 4, maxHeldBytes: 100 })
  t.after(() => client.destroy())
  const held = client.pipeline().incr('a').incr('b').incr('c').exec()
  const full = await failure(client.pipeline().incr('d').incr('e').exec())
  assert.deepEqual([full.code, full.mayHaveExecuted], ['QUEUE_FULL', false])
  assert.match(full.message, /^3 commands of 15 bytes wait .* the limits are 4 and 100 bytes/)
  const large = await failure(client.multi().set('k', 'v'.repeat(90)).exec())
  assert.equal(large.code, 'QUEUE_FULL')
  const late = await failure(client.with({ timeout: 50 }).pipeline().incr('d').exec())
  assert.deepEqual([late.code, late.mayHaveExecuted], ['COMMAND_TIMEOUT', false])
  const settledLate = await client.with({ timeout: 30 }).pipeline().incr('d').execSettled()
  assert.equal(settledLate[0].status, 'rejected')
  sentinel.isSilent = false
  assert.deepEqual(await held, [1, 1, 1])
  assert.deepEqual(arrived(master), ['INCR a', 'INCR b', 'INCR c'])
})

test('while its server is dialed it waits as one, and goes in one piece, in its turn', async (t) => {
  const node = await new ScriptedNode().listen(t)
  const client = clientOf(t, node, { maxHeld: 4 })
  const first = client.incr('before')
  const values = client.pipeline().incr('a').incr('b').exec()
  const behind = client.incr('behind')
  assert.equal((await failure(client.incr('full'))).code, 'QUEUE_FULL')
  assert.deepEqual(await Promise.all([first, values, behind]), [1, [1, 1], 1])
  assert.deepEqual(arrived(node), ['INCR before', 'INCR a', 'INCR b', 'INCR behind'])
})

test('more commands than may be pending are refused as one, and none is sent', async (t) => {
  const node = await new ScriptedNode().listen(t)
  const client = clientOf(t, node, { maxPending: 3 })
  await client.ready()
  const full = await failure(client.pipeline().incr('a').incr('b').incr('c').incr('d').exec())
  assert.deepEqual([full.code, full.mayHaveExecuted], ['QUEUE_FULL', false])
  assert.match(full.message, /^0 commands are waiting .*, and 4 more were given at once; .* maxPending 3 /)
  assert.deepEqual(await client.pipeline().incr('a').incr('b').exec(), [1, 1])
})

test('a client that was closed refuses it, and one that is closing waits for it', async (t) => {
  const node = await new ScriptedNode().listen(t)
  const client = clientOf(t, node)
  const values = client.pipeline().incr('a').exec()
  const chain = client.pipeline().incr('b')
  await client.close()
  assert.deepEqual(await values, [1])
  assert.equal((await failure(chain.exec())).code, 'CLIENT_CLOSED')
  const [outcome] = await client.pipeline().incr('c').execSettled()
  assert.ok(outcome.status === 'rejected' && outcome.reason.code === 'CLIENT_CLOSED')
})

test('a session’s pipeline counts as a write, and its reads see what the session wrote', async (t) => {
  const { master, replicas, seeds } = await scriptedDeployment(t)
  const [replica] = replicas
  assert.ok(replica)
  const client = createClient({ sentinel: { name: 'm', sentinels: seeds }, readFrom: 'prefer-replica' })
  t.after(() => client.destroy())
  await client.ready()
  await eventually('the replica is well', () => client.topology?.replicas[0]?.healthy)
  const session = client.session()
  assert.deepEqual(await session.pipeline().incr('n').incr('n').exec(), [1, 2])
  assert.match(session.token ?? '', /^1\.10\./)
  // the replica says that it has all of it
  assert.deepEqual(await session.pipeline().get('a').get('b').exec(), [
    `a of ${replica.address}`,
    `b of ${replica.address}`,
  ])
  replica.role = slaveRole(master.address, 'connect')
  assert.deepEqual(await session.pipeline().get('a').exec(), [`a of ${master.address}`])
})

test('a view’s replies come in the view’s form', async (t) => {
  const node = await new ScriptedNode().listen(t)
  node.intercept = ([name]) => (name === 'ZSCORE' ? bulk('1.5') : 'pass')
  const [value, score] = await clientOf(t, node)
    .with({ replies: 'buffer' })
    .pipeline()
    .get('k')
    .zscore('z', 'm')
    .exec()
  assert.ok(Buffer.isBuffer(value))
  assert.equal(score, 1.5)
})

test('a deadline is told as it was set, and what an attempt had of it in whole milliseconds', async (t) => {
  const node = await new ScriptedNode().listen(t)
  node.intercept = ([name = '']) => (['MULTI', 'GET', 'EXEC', 'EVALSHA'].includes(name) ? undefined : 'pass')
  const client = clientOf(t, node)
  await client.ready()
  const view = client.with({ timeout: 60 })
  const errors = await Promise.all([
    failure(view.multi().get('k').exec()),
    failure(view.script({ lua: 'return 1', keys: 0 })([])),
    failure(view.pipeline().get('k').exec()).then(({ cause }) => cause as RespoolError),
  ])
  for (const { message } of errors)
    assert.match(message, /^(no reply within 60 ms|not done within 60 ms: no reply within \d+ ms) at /)
})
