// Scripts and function libraries: what is sent where, and how often, whatever the servers know and whatever breaks.

import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { type TestContext, test } from 'node:test'
import { type Client, createClient } from '../../lib/client/index.ts'
import { AbortError, TimeoutError } from '../../lib/errors.ts'
import type { Reply, Script } from '../../lib/index.ts'
import { masterRole, ScriptedNode, scriptedDeployment } from '../sentinel/scripted-deployment.ts'
import { clientOf, failure } from '../support/clients.ts'
import { eventually } from '../support/real-servers.ts'
import { array, bulk, error, integer, simple } from '../support/resp-writer.ts'
import type { Peer } from '../support/scripted-server.ts'

const lua = 'return {KEYS[1], ARGV[1]}'
const sha1 = createHash('sha1').update(lua).digest('hex')
const code = '#!lua name=mylib\n…'

type Answer = Buffer | undefined | 'run'

/** What a server has of scripts and functions, and what was asked of it. */
class Engine {
  readonly node: ScriptedNode
  /** Hashes that it knows. */
  readonly scripts = new Set<string>()
  hasLibrary = false
  /** Whether it has EVALSHA_RO and EVAL_RO, as Redis has from 7 on. */
  hasReadOnly = true
  /** Takes a command that would be run. */
  running: (command: readonly string[], peer: Peer) => Answer = () => 'run'
  loading: () => Buffer = () => bulk('mylib')

  constructor(node: ScriptedNode) {
    this.node = node
    node.intercept = (command, peer) => this.#answer(command, peer)
  }

  /** All that concerns scripts and functions, without keys and arguments. */
  get asked(): string[] {
    return this.node.server.commands
      .map(([name = '']) => name)
      .filter((it) => /^(EVAL|FCALL|FUNCTION)/.test(it))
  }

  get port(): number {
    return this.node.port
  }

  #answer(command: string[], peer: Peer): Buffer | undefined | 'pass' {
    const [name = '', what = ''] = command
    if (name.endsWith('_RO') && name.startsWith('EVAL') && !this.hasReadOnly) {
      return error(`ERR unknown command \`${name.toLowerCase()}\`, with args beginning with: \`${what}\`, `)
    }
    if (name.startsWith('EVALSHA') && !this.scripts.has(what)) {
      return error('NOSCRIPT No matching script. Please use EVAL.')
    }
    if (name.startsWith('FCALL') && !this.hasLibrary) return error('ERR Function not found')
    if (name === 'FUNCTION') {
      const loaded = this.loading()
      this.hasLibrary = loaded[0] !== 0x2d
      return loaded
    }
    if (!/^(EVAL|FCALL)/.test(name)) return 'pass'
    if (/^EVAL(_RO)?$/.test(name)) this.scripts.add(createHash('sha1').update(what).digest('hex'))
    const answer = this.running(command, peer)
    return answer === 'run' ? array(...command.slice(3).map(bulk)) : answer
  }
}

async function engine(t: TestContext): Promise<Engine> {
  return new Engine(await new ScriptedNode().listen(t))
}

test('a script is called by its hash, and sent in full where it is not known', async (t) => {
  const server = await engine(t)
  const client = clientOf(t, server)
  const script = client.script({ lua, keys: 1 })
  assert.equal(script.sha1, sha1)
  assert.equal(server.node.server.peers.length, 0, 'nothing is sent before it is called')
  assert.deepEqual(await script(['k'], ['a']), ['k', 'a'])
  assert.deepEqual(await script(['k'], ['b']), ['k', 'b'])
  assert.deepEqual(server.asked, ['EVALSHA', 'EVAL', 'EVALSHA'])
  assert.deepEqual(server.node.server.commands.at(-1), ['EVALSHA', sha1, '1', 'k', 'b'])
  server.scripts.clear() // SCRIPT FLUSH, or a restart
  assert.deepEqual(await script(['k'], ['c']), ['k', 'c'])
  assert.deepEqual(server.asked.slice(3), ['EVALSHA', 'EVAL'])
})

test('of many calls that find it missing one brings it, and the others go right behind', async (t) => {
  const server = await engine(t)
  const client = clientOf(t, server)
  await client.ready()
  const script = client.script({ lua, keys: 1 })
  const replies = await Promise.all(Array.from({ length: 50 }, (_, i) => script(['k'], [i])))
  assert.deepEqual(
    replies,
    Array.from({ length: 50 }, (_, i) => ['k', String(i)]),
  )
  const expected = [...Array(50).fill('EVALSHA'), 'EVAL', ...Array(49).fill('EVALSHA')]
  assert.deepEqual(server.asked, expected)
})

test('if the one that brings it fails to, the others bring it themselves', async (t) => {
  const server = await engine(t)
  const client = clientOf(t, server)
  await client.ready()
  // it does not compile the first time
  let refusals = 1
  server.running = (command) => {
    if (command[0] !== 'EVAL' || refusals-- <= 0) return 'run'
    server.scripts.clear()
    return error('ERR Error compiling script')
  }
  const script = client.script({ lua, keys: 1 })
  const [first, second] = await Promise.allSettled([script(['k'], [1]), script(['k'], [2])])
  assert.equal(first.status, 'rejected')
  assert.deepEqual(second, { status: 'fulfilled', value: ['k', '2'] })
  assert.deepEqual(server.asked, ['EVALSHA', 'EVALSHA', 'EVAL', 'EVALSHA', 'EVAL'])
})

test('views of a script, and scripts of a view, follow their settings', async (t) => {
  const server = await engine(t)
  const client = clientOf(t, server)
  const script = client.script({ lua, keys: 1 })
  const bytes = script.with({ replies: 'buffer' })
  assert.deepEqual(await bytes(['k'], ['a']), [Buffer.from('k'), Buffer.from('a')])
  assert.equal(bytes.sha1, sha1)
  assert.deepEqual(await client.with({ replies: 'buffer' }).script({ lua, keys: 1 })(['k']), [
    Buffer.from('k'),
  ])
  assert.deepEqual(await bytes.with({ replies: 'string' })(['k']), ['k'])
  assert.throws(() => script.with({ timeuot: 1 } as never), /unknown command option 'timeuot'/)

  server.running = () => undefined
  const late = await failure(script.with({ timeout: 30 })(['k']))
  assert.ok(late instanceof TimeoutError)
  assert.deepEqual([late.timeout, late.mayHaveExecuted], [30, true])
  const abort = new AbortController()
  const aborted = failure(script.with({ signal: abort.signal })(['k']))
  await eventually('it is sent', () => server.asked.length === 6)
  abort.abort()
  assert.ok((await aborted) instanceof AbortError)
})

test('what parse makes of a reply is the reply, and what it throws the error', async (t) => {
  const server = await engine(t)
  const client = clientOf(t, server)
  const count = client.script({ lua, keys: 'any', parse: (reply) => (reply as Reply[]).length })
  assert.equal(await count(['a', 'b', 'c'], ['x']), 4)
  assert.equal(await count([]), 0)
  const picky = client.script({
    lua,
    keys: 0,
    parse: () => {
      throw new Error('not that')
    },
  })
  await assert.rejects(picky([]), /^Error: not that$/)
})

test('bytes of a call are the caller’s again at once', async (t) => {
  const server = await engine(t)
  const script = clientOf(t, server).script({ lua, keys: 1 })
  const bytes = Buffer.from('before')
  const reply = script([bytes], [bytes])
  bytes.fill('x')
  assert.deepEqual(await reply, ['before', 'before'])
  assert.deepEqual(server.asked, ['EVALSHA', 'EVAL'])
})

test('a wrong call throws at once, and nothing is sent', async (t) => {
  const server = await engine(t)
  const script = clientOf(t, server).script({ lua, keys: 1 })
  assert.throws(() => void script([] as never), RangeError)
  assert.throws(() => void script(['a'], [{}] as never), TypeError)
  assert.equal(server.node.server.peers.length, 0)
})

test('a script whose connection was cut after it was sent runs once, unless it is idempotent', async (t) => {
  for (const way of ['EVALSHA', 'EVAL']) {
    const server = await engine(t)
    if (way === 'EVALSHA') server.scripts.add(sha1)
    let cuts = 1
    server.running = ([name], peer) => {
      if (name !== way || cuts-- <= 0) return 'run'
      peer.reset()
      return undefined
    }
    const script = clientOf(t, server).script({ lua, keys: 1 })
    const lost = await failure(script(['k']))
    assert.deepEqual([lost.code, lost.mayHaveExecuted], ['CONNECTION_LOST', true])
    const sent = server.asked.length
    cuts = 1
    server.scripts.clear()
    if (way === 'EVALSHA') server.scripts.add(sha1)
    assert.deepEqual(await script.with({ idempotent: true })(['k']), ['k'])
    assert.ok(server.asked.length > sent + 1)
  }
})

test('an error that the script made up is its answer: it is not run again', async (t) => {
  const server = await engine(t)
  const script = clientOf(t, server).script({ lua, keys: 1 })
  for (const text of [
    'NOSCRIPT of mine',
    'BUSY try later',
    'READONLY account',
    'LOADING docks',
    'TRYAGAIN',
  ]) {
    server.scripts.add(sha1)
    server.running = () => error(text)
    const before = server.asked.length
    await assert.rejects(script(['k']), { message: text })
    assert.equal(server.asked.length, before + 1, text)
  }
})

test('a script that the server refuses for now is tried again, by its hash', async (t) => {
  const server = await engine(t)
  const script = clientOf(t, server).script({ lua, keys: 1 })
  let refusals = 2
  server.running = () =>
    refusals-- > 0 ? error("READONLY You can't write against a read only replica. script: 1") : 'run'
  assert.deepEqual(await script(['k']), ['k'])
  assert.deepEqual(server.asked, ['EVALSHA', 'EVAL', 'EVALSHA', 'EVALSHA'])
})

test('all that a call sends shares one deadline', async (t) => {
  const server = await engine(t)
  const client = clientOf(t, server)
  await client.ready()
  server.node.intercept = (command, peer) => {
    if (command[0] === 'EVALSHA') {
      setTimeout(() => peer.send(error('NOSCRIPT No matching script.')), 60)
      return undefined
    }
    return command[0] === 'EVAL' ? undefined : 'pass'
  }
  const start = performance.now()
  const late = await failure(client.script({ lua, keys: 1 }).with({ timeout: 100 })(['k']))
  const ms = performance.now() - start
  assert.ok(late instanceof TimeoutError)
  assert.deepEqual([late.timeout, late.mayHaveExecuted], [100, true])
  assert.ok(ms >= 95 && ms < 159, `${ms} ms`)
})

test('a script that only reads goes where reads go, and one server is asked and told all of it', async (t) => {
  const { seeds, master, replicas } = await scriptedDeployment(t, { replicas: 2 })
  const [first, ...rest] = [master, ...replicas].map((node) => new Engine(node))
  const client = createClient({ sentinel: { name: 'm', sentinels: seeds }, readFrom: 'replica' })
  t.after(() => client.destroy())
  await client.ready()
  await eventually('both replicas are well', () => client.topology?.replicas.every(({ healthy }) => healthy))
  const script = client.script({ lua, keys: 1, readOnly: true })
  for (let i = 0; i < 4; i += 1) assert.deepEqual(await script(['k']), ['k'])
  for (const server of rest) assert.deepEqual(server.asked, ['EVALSHA_RO', 'EVAL_RO', 'EVALSHA_RO'])
  await script.with({ readFrom: 'master' })(['k'])
  assert.deepEqual(first?.asked, ['EVALSHA_RO', 'EVAL_RO'])
})

test('a script that only reads is tried again when its reply is lost', async (t) => {
  const server = await engine(t)
  server.scripts.add(sha1)
  let cuts = 1
  server.running = (_, peer) => {
    if (cuts-- <= 0) return 'run'
    peer.reset()
    return undefined
  }
  const script = clientOf(t, server).script({ lua, keys: 1, readOnly: true })
  assert.deepEqual(await script(['k']), ['k'])
  assert.deepEqual(server.asked, ['EVALSHA_RO', 'EVALSHA_RO'])
})

test('without EVALSHA_RO it is an EVALSHA on the master, and counts as a write', async (t) => {
  const { seeds, master, replicas } = await scriptedDeployment(t, { replicas: 1 })
  const [old, replica] = [master, ...replicas].map((node) => new Engine(node)) as [Engine, Engine]
  old.hasReadOnly = false
  replica.hasReadOnly = false
  const client = createClient({ sentinel: { name: 'm', sentinels: seeds }, readFrom: 'replica' })
  t.after(() => client.destroy())
  await client.ready()
  await eventually('the replica is well', () => client.topology?.replicas[0]?.healthy)
  const script = client.script({ lua, keys: 1, readOnly: true })
  for (let i = 0; i < 3; i += 1) assert.deepEqual(await script(['k']), ['k'])
  assert.deepEqual(replica.asked, ['EVALSHA_RO'], 'it is not asked again for a while')
  assert.deepEqual(old.asked, ['EVALSHA', 'EVAL', 'EVALSHA', 'EVALSHA'])
  old.running = (_, peer) => {
    peer.reset()
    return undefined
  }
  const lost = await failure(script(['k']))
  assert.deepEqual([lost.code, lost.mayHaveExecuted], ['CONNECTION_LOST', true])
  assert.equal(old.asked.length, 5)
})

test('a new master that does not know the script gets it', async (t) => {
  const { seeds, master, replicas, say, sentinels } = await scriptedDeployment(t)
  const [first, second] = [master, ...replicas].map((node) => new Engine(node)) as [Engine, Engine]
  const client = createClient({ sentinel: { name: 'm', sentinels: seeds } })
  t.after(() => client.destroy())
  const script = client.script({ lua, keys: 1 })
  assert.deepEqual(await script(['k'], [1]), ['k', '1'])
  const [node] = replicas as [ScriptedNode]
  node.role = masterRole()
  say({ master: node.address, epoch: 2, replicas: [] })
  const switched = new Promise((resolve) => client.once('switch', resolve))
  const [host, port] = [master, node].map(({ address }) => address.replace(':', ' '))
  sentinels[0]?.publish('+switch-master', `m ${host} ${port}`)
  await switched
  assert.deepEqual(await script(['k'], [2]), ['k', '2'])
  assert.deepEqual(first.asked, ['EVALSHA', 'EVAL'])
  assert.deepEqual(second.asked, ['EVALSHA', 'EVAL'])
})

test('the token of a session is from behind the script, however it was sent', async (t) => {
  const server = await engine(t)
  const session = clientOf(t, server).session()
  const script = session.script({ lua, keys: 1 })
  assert.equal(session.token, undefined)
  let offset = 10
  const { intercept } = server.node
  server.node.intercept = (command, peer) => {
    if (command[0] === 'EVAL') offset = 20
    return command[0] === 'ROLE' ? array(bulk('master'), integer(offset), array()) : intercept(command, peer)
  }
  await script(['k'])
  assert.match(String(session.token), /^1\.20\./)
})

test('a durable script is waited for behind itself, however it was sent', async (t) => {
  const server = await engine(t)
  const { intercept } = server.node
  server.node.intercept = (command, peer) => (command[0] === 'WAIT' ? integer(1) : intercept(command, peer))
  const script = clientOf(t, server).with({ durable: 1 }).script({ lua, keys: 1 })
  assert.deepEqual(await script(['k'], [1]), ['k', '1'])
  assert.deepEqual(await script(['k'], [2]), ['k', '2'])
  const names = server.node.server.commands.map(([name]) => name)
  assert.deepEqual(
    names.filter((name) => /^(EVAL|WAIT)/.test(String(name))),
    ['EVALSHA', 'WAIT', 'EVAL', 'WAIT', 'EVALSHA', 'WAIT'],
  )
})

test('a durable script that has to be sent in full does not wait behind a WAIT that blocks', async (t) => {
  const server = await engine(t)
  const { intercept } = server.node
  let waits = 0
  server.node.intercept = (command, peer) => {
    if (command[0] !== 'WAIT') return intercept(command, peer)
    waits += 1
    return waits === 1 ? undefined : integer(1)
  }
  const script = clientOf(t, server).with({ durable: 1, timeout: 2_000 }).script({ lua, keys: 1 })
  const start = performance.now()
  assert.deepEqual(await script(['k']), ['k'])
  assert.ok(performance.now() - start < 1_000)
})

test('close() waits for a script, with all that it sends; later calls say that it is closed', async (t) => {
  const server = await engine(t)
  const client = clientOf(t, server)
  const script = client.script({ lua, keys: 1 })
  const reply = script(['k'])
  const closed = client.close()
  assert.deepEqual(await reply, ['k'])
  await closed
  await assert.rejects(script(['k']), { code: 'CLIENT_CLOSED' })
})

test('a library is loaded where a function is missing, once for all calls, and not again', async (t) => {
  const server = await engine(t)
  const client = clientOf(t, server)
  await client.ready()
  const { one, two } = client.functions({
    code,
    functions: { one: { keys: 1 }, two: { keys: 'any', parse: (reply) => (reply as Reply[]).length } },
  })
  assert.deepEqual(await Promise.all([one(['k'], [1]), two(['a', 'b']), one(['k'], [2])]), [
    ['k', '1'],
    2,
    ['k', '2'],
  ])
  assert.deepEqual(server.asked, ['FCALL', 'FCALL', 'FCALL', 'FUNCTION', 'FCALL', 'FCALL', 'FCALL'])
  assert.deepEqual(server.node.server.commands.find(([name]) => name === 'FUNCTION')?.slice(1), [
    'LOAD',
    'REPLACE',
    code,
  ])
  await one.with({ timeout: 100 })(['k'])
  assert.equal(server.asked.length, 8)
})

test('a function that the library does not have, or that cannot be loaded, says so', async (t) => {
  const server = await engine(t)
  const client = clientOf(t, server)
  const { one } = client.functions({ code, functions: { one: { keys: 1 } } })
  server.loading = () => error('ERR Error compiling function')
  await assert.rejects(one(['k']), { message: 'ERR Error compiling function' })
  server.loading = () => bulk('mylib')
  server.running = () => error('ERR Function not found')
  await assert.rejects(one(['k']), { message: 'ERR Function not found' })
  assert.deepEqual(server.asked.slice(-3), ['FCALL', 'FUNCTION', 'FCALL'])
})

test('a function of a replica that lacks its library is called on the master, which is given it', async (t) => {
  const { seeds, master, replicas } = await scriptedDeployment(t)
  const [first, second] = [master, ...replicas].map((node) => new Engine(node)) as [Engine, Engine]
  const client = createClient({ sentinel: { name: 'm', sentinels: seeds }, readFrom: 'replica' })
  t.after(() => client.destroy())
  await client.ready()
  await eventually('the replica is well', () => client.topology?.replicas[0]?.healthy)
  const { read, write } = client.functions({
    code,
    functions: { read: { keys: 1, readOnly: true }, write: { keys: 1 } },
  })
  assert.deepEqual(await read(['k']), ['k'])
  assert.deepEqual(second.asked, ['FCALL_RO'])
  assert.deepEqual(first.asked, ['FCALL_RO', 'FUNCTION', 'FCALL_RO'])
  second.hasLibrary = true // by replication
  assert.deepEqual(await read(['k']), ['k'])
  assert.deepEqual(await write(['k']), ['k'])
  assert.deepEqual([second.asked.length, first.asked.length], [2, 4])
})

test('a function may have the name of anything that objects have', async (t) => {
  const server = await engine(t)
  const functions = { constructor: { keys: 0 as const }, toString: { keys: 0 as const } }
  const calls = clientOf(t, server).functions({ code, functions })
  assert.deepEqual(await calls.toString([], ['x']), ['x'])
  assert.deepEqual(Object.keys(calls), ['constructor', 'toString'])
})

test('a function whose connection was cut runs once; a load that was cut loses nothing', async (t) => {
  const server = await engine(t)
  const client = clientOf(t, server)
  const { one } = client.functions({ code, functions: { one: { keys: 1 } } })
  let cuts = 1
  server.running = (_, peer) => {
    if (cuts-- <= 0) return 'run'
    peer.reset()
    return undefined
  }
  const lost = await failure(one(['k']))
  assert.equal(lost.mayHaveExecuted, true)
  assert.deepEqual(server.asked, ['FCALL', 'FUNCTION', 'FCALL'])
  assert.deepEqual(await one(['k']), ['k'])
})

test('the types of a call are those of its definition', () => {
  const check = (client: Client): void => {
    const one = client.script({ lua, keys: 1, parse: Number })
    const exact: Script<1, number> = one
    const reply: Promise<number> = one(['k'], ['a', 1, 2n, Buffer.of(1)])
    // @ts-expect-error a key is missing
    void one([])
    // @ts-expect-error one too many
    void one(['a', 'b'])
    // @ts-expect-error keys are not optional
    void one()
    // @ts-expect-error no argument
    void one(['a'], [true])
    const other: Promise<Reply> = client.script({ lua, keys: 'any' })(['a', 'b'])
    const keys: string[] = []
    void client.script({ lua, keys: 'any' })(keys)
    // @ts-expect-error their number is not known
    void client.script({ lua, keys: 2 })(keys)
    // @ts-expect-error an option that there is not
    client.script({ lua, keys: 1, readonly: true })
    const library = client.functions({
      code,
      functions: { a: { keys: 2, parse: String }, b: { keys: 'any', readOnly: true }, c: { keys: 0 } },
    })
    const text: Promise<string> = library.a(['k', 'l'])
    const raw: Promise<Reply> = library.b(['k', 'l', 'm'])
    void library.c([])
    // @ts-expect-error a key is missing
    void library.a(['k'])
    // @ts-expect-error no such function
    library.d
    void [exact, reply, other, text, raw]
  }
  assert.equal(typeof check, 'function')
})

test('simple replies of scripts are as call() gives them', async (t) => {
  const server = await engine(t)
  server.running = () => simple('OK')
  assert.equal(await clientOf(t, server).script({ lua, keys: 0 })([]), 'OK')
})
