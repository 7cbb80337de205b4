// What a user holds: views with other settings, leases, the beginning and the end.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { inspect } from 'node:util'
import { type Client, type CommandOptions, createClient } from '../../lib/client/index.ts'
import type { LazyLease } from '../../lib/endpoint/index.ts'
import type { RespoolError } from '../../lib/errors.ts'
import { ScriptedNode, scriptedDeployment } from '../sentinel/scripted-deployment.ts'
import { clientOf } from '../support/clients.ts'
import { settled } from '../support/clock.ts'
import { freePorts } from '../support/free-ports.ts'
import { runProgram } from '../support/program.ts'
import { eventually } from '../support/real-servers.ts'
import { bulk } from '../support/resp-writer.ts'

test('a view differs by what it was told, and shares the rest with its client', async (t) => {
  const node = await new ScriptedNode().listen(t)
  const client = clientOf(t, node)
  assert.equal(await client.call('GET', 'k'), `k of ${node.address}`)
  const bytes = client.with({ replies: 'buffer' })
  assert.deepEqual(await bytes.call('GET', 'k'), Buffer.from(`k of ${node.address}`))
  assert.deepEqual(await bytes.with({ timeout: 100 }).call('GET', 'k'), Buffer.from(`k of ${node.address}`))
  assert.equal(await bytes.with({ replies: 'string' }).call('GET', 'k'), `k of ${node.address}`)
  assert.equal(await client.call('GET', 'k'), `k of ${node.address}`, 'the client is as it was')
  assert.equal(node.server.peers.length, 1)

  node.intercept = (command) => (command[0] === 'GET' ? undefined : 'pass')
  const abort = new AbortController()
  const view = client.with({ signal: abort.signal }).with({ replies: 'buffer', readFrom: 'prefer-replica' })
  const reply = view.call('GET', 'k')
  await eventually('it is sent', () => node.count('GET') === 6)
  abort.abort()
  await assert.rejects(reply, { code: 'ABORT_ERR' })
  await assert.rejects(client.with({ timeout: 20 }).with({ replies: 'buffer' }).call('GET', 'k'), {
    code: 'COMMAND_TIMEOUT',
    timeout: 20,
  })
})

test('a wrong setting of a view is told at once, by its name', async (t) => {
  const client = clientOf(t, await new ScriptedNode().listen(t))
  const rows: [unknown, kind: typeof TypeError, message: RegExp][] = [
    [null, TypeError, /command options must be an object/],
    ['buffer', TypeError, /command options must be an object/],
    [{ timeuot: 1 }, TypeError, /unknown command option 'timeuot'/],
    [{ isIdempotent: true }, TypeError, /unknown command option 'isIdempotent'/],
    [{ timeout: -1 }, RangeError, /option timeout must be from 0 to 2147483647 milliseconds, got -1/],
    [{ timeout: 2 ** 31 }, RangeError, /option timeout .*got 2147483648/],
    [{ timeout: Number.NaN }, RangeError, /option timeout .*got NaN/],
    [{ timeout: '5' }, RangeError, /option timeout/],
    [{ timeout: null }, RangeError, /option timeout .*got null/],
    [{ replies: 'bytes' }, RangeError, /option replies must be 'string' or 'buffer', got "bytes"/],
    [{ replies: 1n }, RangeError, /option replies must be 'string' or 'buffer', got 1n/],
    [{ replies: [] }, RangeError, /option replies must be 'string' or 'buffer', got an array/],
    [{ replies: Symbol('s') }, RangeError, /option replies must be 'string' or 'buffer', got Symbol\(s\)/],
    [{ readFrom: 'slave' }, RangeError, /option readFrom must be one of/],
    [{ signal: {} }, TypeError, /option signal must be an AbortSignal/],
    [{ signal: null }, TypeError, /option signal must be an AbortSignal/],
    [{ idempotent: 'no' }, TypeError, /option idempotent must be a boolean, got string/],
  ]
  for (const [options, kind, message] of rows) {
    assert.throws(
      () => client.with(options as CommandOptions),
      (error) => error instanceof kind && message.test(error.message),
      `${inspect(options)} ${message}`,
    )
  }
  const undefineds = { timeout: undefined, replies: undefined, signal: undefined, readFrom: undefined }
  assert.equal(await client.with({ ...undefineds, idempotent: undefined }).call('INCR', 'n'), 1)
})

test('a lease is a connection of one’s own, and comes back', async (t) => {
  const node = await new ScriptedNode().listen(t)
  const client = clientOf(t, node)
  const lease = await client.lease()
  assert.equal(lease.connection.address, node.address)
  assert.equal(await lease.call('INCR', 'n'), 1)
  assert.equal(client.stats().master?.pool.activeCount, 1)
  await lease.close()
  assert.equal(client.stats().master?.pool.idleCount, 1)
  assert.equal(await client.use((again) => again.call('INCR', 'n')), 2)
  const thrown = new Error('the work')
  await assert.rejects(
    client.use(() => {
      throw thrown
    }),
    (error) => error === thrown,
  )
  assert.deepEqual([client.stats().master?.pool.activeCount, client.stats().master?.pool.idleCount], [1, 1])
  assert.equal(node.server.peers.length, 1)
  await assert.rejects(client.lease({ signal: AbortSignal.abort() }), { code: 'ABORT_ERR' })
  await assert.rejects(client.lease({ readFrom: 'slave' as 'replica' }), RangeError)
  await assert.rejects(client.lease({ timeout: 1 } as never), /^TypeError: unknown lease option 'timeout'/)
  await assert.rejects(
    client.lease({ signal: 1 as never }),
    /^TypeError: option signal must be an AbortSignal/,
  )
  await assert.rejects(client.lease(null as never), /^TypeError: lease options must be an object/)
  await assert.rejects(client.use(undefined as never), /^TypeError: use\(\) needs a function, got undefined/)
  await assert.rejects(
    client.ready({ signal: 1 as never }),
    /^TypeError: option signal must be an AbortSignal/,
  )
})

test('a lazy lease shares the connection of ordinary commands until it needs one of its own', async (t) => {
  const node = await new ScriptedNode().listen(t)
  node.intercept = (command) => (command[0] === 'WATCH' || command[0] === 'UNWATCH' ? '+OK\r\n' : 'pass')
  const client = clientOf(t, node)
  const lease: LazyLease = await client.lease({ lazy: true })
  assert.equal(lease.address, node.address)
  assert.deepEqual(await Promise.all([lease.call('INCR', 'n'), client.call('INCR', 'n')]), [1, 2])
  assert.equal(node.server.peers.length, 1)
  assert.deepEqual(client.stats().master?.lazy, { out: 1, waiting: 0 })
  await lease.call('WATCH', 'n')
  assert.equal(lease.isPinned, true)
  assert.equal(node.server.peers.length, 2)
  let isClosed = false
  const closed = client.close().then(() => {
    isClosed = true
  })
  await assert.rejects(client.lease({ lazy: true }), { code: 'CLIENT_CLOSED' })
  await settled()
  assert.equal(isClosed, false)
  await lease.close()
  await closed

  const other = clientOf(t, node)
  const kind: boolean = await other.use((it) => it.isPinned, { lazy: true })
  assert.equal(kind, false)
  const lazy: boolean | undefined = [undefined, false][1] // either kind, as far as the types know
  const either = await other.lease({ lazy })
  assert.equal(await either.call('INCR', 'n'), 3)
  await either.close()
  await assert.rejects(other.lease({ lazy: 1 as never }), /option lazy must be a boolean, got number/)
})

test('a lease is of the server that readFrom says', async (t) => {
  const { master, replicas, seeds } = await scriptedDeployment(t)
  const client = createClient({ sentinel: { name: 'm', sentinels: seeds }, readFrom: 'replica' })
  t.after(() => client.destroy())
  await client.use((lease) => assert.equal(lease.connection.address, master.address))
  await client.use((lease) => assert.equal(lease.connection.address, replicas[0]?.address), {
    readFrom: 'replica',
  })
  await client.use((lease) => assert.equal(lease.connection.address, master.address), { readFrom: 'master' })
})

test('a client connects on first use, or when it is asked to be ready', async (t) => {
  const node = await new ScriptedNode().listen(t)
  const client = clientOf(t, node)
  assert.equal(client.topology, undefined)
  assert.deepEqual(client.stats().replicas, [])
  await settled()
  assert.equal(node.server.peers.length, 0)
  await client.ready()
  assert.equal(client.stats().master?.connected, true)
  await client.ready()
  assert.equal(node.server.peers.length, 1)
})

test('ready() tells within the deadline that nobody is there, or that it is not wanted any more', async (t) => {
  const [port = 0] = await freePorts(1)
  const client = createClient({ port, commandTimeout: 100 })
  t.after(() => client.destroy())
  await assert.rejects(client.ready(), (error: RespoolError) => {
    assert.equal(error.code, 'COMMAND_TIMEOUT')
    assert.match(error.message, /ECONNREFUSED/)
    return true
  })
  await assert.rejects(client.ready({ signal: AbortSignal.abort() }), { code: 'ABORT_ERR' })
})

test('close() waits for what is in flight and for leases; later calls say that it is closed', async (t) => {
  const single = await new ScriptedNode().listen(t)
  const { master, seeds } = await scriptedDeployment(t)
  const clients: [Client, ScriptedNode][] = [
    [clientOf(t, single), single],
    [createClient({ sentinel: { name: 'm', sentinels: seeds } }), master],
  ]
  for (const [client, node] of clients) {
    let answer = (): void => assert.fail('there is nothing to answer')
    node.intercept = (command, peer) => {
      if (command[0] !== 'GET') return 'pass'
      answer = () => peer.send(bulk('late'))
      return undefined
    }
    await client.ready()
    const inFlight = client.call('GET', 'k')
    await eventually('it is sent', () => node.count('GET') === 1)
    const lease = await client.lease()
    let isClosed = false
    const closed = client.close().then(() => {
      isClosed = true
    })
    for (const call of [
      () => client.call('INCR', 'n'),
      () => client.with({ timeout: 100 }).call('GET', 'k'),
      () => client.call('BLPOP', 'q', 0),
      () => client.lease(),
      () => client.use(() => undefined),
      () => client.ready(),
    ]) {
      await assert.rejects(call(), { code: 'CLIENT_CLOSED', mayHaveExecuted: false }, String(call))
    }
    answer()
    assert.equal(await inFlight, 'late')
    assert.equal(isClosed, false)
    await lease.close()
    await closed
    await client.close()
    await node.server.until(() => node.server.openCount === 0)
    assert.equal(node.count('INCR'), 0)
  }
})

test('while close() waits for a command that blocks, nothing new is taken, whatever it is', async (t) => {
  const node = await new ScriptedNode().listen(t)
  const client = clientOf(t, node)
  let answer = (): void => assert.fail('there is nothing to answer')
  node.intercept = (command, peer) => {
    if (command[0] !== 'BLPOP') return 'pass'
    answer = () => peer.send(bulk('popped'))
    return undefined
  }
  const blocked = client.call('BLPOP', 'q', 0)
  await eventually('it blocks', () => node.count('BLPOP') === 1)
  const closed = client.close()
  for (const call of [
    () => client.call('GET', 'k'),
    () => client.call('BLPOP', 'q', 0),
    () => client.session().call('GET', 'k'),
    () => client.with({ durable: 1, timeout: 100 }).call('SET', 'k', 'v'),
  ]) {
    await assert.rejects(call(), { code: 'CLIENT_CLOSED', mayHaveExecuted: false }, String(call))
  }
  answer()
  assert.equal(await blocked, 'popped')
  await closed
  assert.equal(node.count('BLPOP'), 1)
})

test('destroy() fails what is in flight, and cuts a close() short', async (t) => {
  const node = await new ScriptedNode().listen(t)
  node.intercept = (command) => (command[0] === 'INCR' ? undefined : 'pass')
  const client = clientOf(t, node)
  await client.ready()
  const inFlight = client.call('INCR', 'n')
  const lease = await client.lease()
  await eventually('it is sent', () => node.count('INCR') === 1)
  const closed = client.close()
  client.destroy()
  await assert.rejects(inFlight, { code: 'CONNECTION_LOST', mayHaveExecuted: true })
  await closed
  assert.notEqual(lease.error, undefined)
  await node.server.until(() => node.server.openCount === 0)
  client.destroy()
  await assert.rejects(client.call('INCR', 'n'), { code: 'CLIENT_CLOSED' })
})

test('a client that is never used can be closed', async (t) => {
  const node = await new ScriptedNode().listen(t)
  await clientOf(t, node).close()
  assert.equal(node.server.commands.length, 0)
})

test('a command that was given before close() is finished, though there was no connection yet', async (t) => {
  const node = await new ScriptedNode().listen(t)
  const single = clientOf(t, node)
  const { seeds } = await scriptedDeployment(t)
  const ha = createClient({ sentinel: { name: 'm', sentinels: seeds } })
  t.after(() => ha.destroy())
  for (const client of [single, ha]) {
    const reply = client.call('INCR', 'n')
    const closed = client.close()
    await assert.rejects(client.call('INCR', 'n'), { code: 'CLIENT_CLOSED' })
    await assert.rejects(client.lease(), { code: 'CLIENT_CLOSED' })
    assert.equal(await reply, 1)
    await closed
  }
  await node.server.until(() => node.server.openCount === 0)
})

test('close() waits for a command that nobody answers no longer than the command does', async (t) => {
  const node = await new ScriptedNode().listen(t)
  node.intercept = () => undefined
  const client = clientOf(t, node)
  const reply = assert.rejects(client.with({ timeout: 50 }).call('INCR', 'n'), {
    code: 'COMMAND_TIMEOUT',
    mayHaveExecuted: false,
  })
  await node.server.until(() => node.server.commands.length > 0)
  await client.close()
  await reply
  await node.server.until(() => node.server.openCount === 0)
})

test('await using closes a client', async (t) => {
  const node = await new ScriptedNode().listen(t)
  {
    await using client = createClient({ port: node.port })
    await client.ready()
  }
  await node.server.until(() => node.server.openCount === 0)
})

test('a process exits by itself when its clients are closed or destroyed, and none was left waiting', async (t) => {
  const { master, seeds } = await scriptedDeployment(t, { protocol: 2 })
  const suffix = import.meta.url.endsWith('.ts') ? 'ts' : 'js'
  const program = `
    import { createClient, Sentinel } from ${JSON.stringify(new URL(`../../lib/index.${suffix}`, import.meta.url).href)}
    const sentinel = { name: 'm', sentinels: ${JSON.stringify(seeds)} }
    const used = [createClient({ port: ${master.port} }), createClient({ sentinel, readFrom: 'prefer-replica' })]
    for (const client of used) {
      await client.call('INCR', 'n')
      await client.call('GET', 'k')
      await client.use((lease) => lease.call('INCR', 'n'))
    }
    await used[0].close()
    await used[1].close()
    const ha = new Sentinel(sentinel)
    await ha.ready()
    ha.destroy()
    createClient({ sentinel }) // never used
    const hasty = createClient({ sentinel })
    const reply = hasty.call('INCR', 'n').catch((error) => error.code)
    await hasty.close()
    const other = createClient({ port: ${master.port} })
    const lost = other.call('INCR', 'n').catch((error) => error.code)
    other.destroy()
    console.log(await reply, await lost)
  `
  const start = performance.now()
  const { stdout, stderr } = await runProgram(t, program)
  assert.equal(stderr, '')
  assert.match(stdout, /^\d+ CLIENT_CLOSED\n$/, 'what was given before close() is done')
  const ms = performance.now() - start
  assert.ok(ms < 10_000, `${ms} ms`)
  await eventually('it has left nothing open', () => master.server.openCount === 0)
})
