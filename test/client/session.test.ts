// Reads that see the session's own writes: what is sent beside them, what is believed of the answers, and where the
// session goes when there is nothing to believe.

import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { type Line, plainExchange } from '../../lib/client/exchange.ts'
import { type Client, CommandView, createClient, type SessionOptions } from '../../lib/client/index.ts'
import type { Router } from '../../lib/client/router.ts'
import { Session, sessionWrite } from '../../lib/client/session.ts'
import { Work } from '../../lib/client/work.ts'
import { Endpoint, type ReadFrom, type Waiting } from '../../lib/endpoint/index.ts'
import { ReplyError, TimeoutError } from '../../lib/errors.ts'
import type { Argument, Reply } from '../../lib/resp/index.ts'
import { type ScriptedDeployment, ScriptedNode, scriptedDeployment } from '../sentinel/scripted-deployment.ts'
import { eventually } from '../support/real-servers.ts'
import { array, bulk, error, integer } from '../support/resp-writer.ts'

type Offset = number | bigint

function masterAt(offset: Offset): Buffer {
  return array(bulk('master'), integer(offset), array())
}

/** @param of address of its master */
function replicaAt(of: string, offset: Offset, link = 'connected'): Buffer {
  const at = of.lastIndexOf(':')
  const port = integer(Number(of.slice(at + 1)))
  return array(bulk('slave'), bulk(of.slice(0, at)), port, bulk(link), integer(offset))
}

interface Setting extends ScriptedDeployment {
  readonly client: CommandView
  readonly replica: ScriptedNode
}

/** Knows the servers and asks nobody: what arrives at them is the session's. A replica that fails is left out. */
class FixedRoute implements Router {
  readonly isClosed = false
  readonly topology = undefined
  readonly #master: Endpoint
  readonly #replicas: Endpoint[]
  #turn = 0

  constructor(t: TestContext, protocol: 2 | 3, master: ScriptedNode, replicas: readonly ScriptedNode[]) {
    const open = ({ address, port }: ScriptedNode) =>
      new Endpoint(address, {
        connection: { port, protocol, commandTimeout: 2_000 },
        pool: { maxIdle: 2 },
        pingInterval: 0,
        suspectAfter: 0,
        maxHeld: 100,
        maxHeldBytes: 10_000,
      })
    this.#master = open(master)
    this.#replicas = replicas.map(open)
    t.after(() => {
      for (const endpoint of [this.#master, ...this.#replicas]) endpoint.fence(new Error('the test is over'))
    })
  }

  pick(target: 'write' | ReadFrom): Endpoint | undefined {
    const replicas = this.#replicas.filter(({ isFit }) => isFit)
    if (target === 'write' || target === 'master') return this.#master
    this.#turn += 1
    return replicas[this.#turn % replicas.length] ?? (target === 'replica' ? undefined : this.#master)
  }

  hold(): Promise<void> {
    return Promise.reject(new Error('there is nothing to wait for'))
  }

  enqueue(waiting: Waiting): void {
    waiting.fail(new Error('there is nothing to wait for'))
  }

  translate(announced: string): string {
    return announced
  }

  report(endpoint: Endpoint): void {
    if (endpoint !== this.#master) endpoint.isFit = false
  }

  stats(): ReturnType<Router['stats']> {
    return { master: this.#master.stats(), replicas: [], held: 0 }
  }

  async close(): Promise<void> {
    await this.#master.close()
  }

  destroy(error: Error): void {
    this.#master.fence(error)
  }
}

/** Reads go to the replicas where they may. */
async function setting(t: TestContext, protocol: 2 | 3 = 3, replicas = 1): Promise<Setting> {
  const deployment = await scriptedDeployment(t, { protocol, replicas })
  const [replica] = deployment.replicas
  assert.ok(replica)
  const route = new FixedRoute(t, protocol, deployment.master, deployment.replicas)
  const options = { readFrom: 'prefer-replica', timeout: 2_000, isIdempotent: false } as const
  const client = new CommandView(route, new Work(), options)
  for (const readFrom of ['master', ...deployment.replicas.map(() => 'replica' as const)] as const) {
    await client.with({ readFrom }).call('GET', 'k') // connected: from here on, what arrives is the test's
  }
  return { ...deployment, client, replica }
}

/** Whose value a read gives. */
async function servedBy({ master, replica }: Setting, view: CommandView | Client): Promise<string> {
  const value = await view.call('GET', 'k')
  if (value === `k of ${master.address}`) return 'master'
  return value === `k of ${replica.address}` ? 'replica' : String(value)
}

/** What has arrived at a server since, without the questions that the client asks by itself. */
function arrivals(node: ScriptedNode): () => string {
  const from = node.server.commands.length
  return () =>
    node.server.commands
      .slice(from)
      .map(([name]) => name)
      .join(' ')
}

for (const protocol of [3, 2] as const) {
  test(`a write brings a token, and a replica that has reached it serves the read, in RESP${protocol}`, async (t) => {
    const all = await setting(t, protocol)
    const { client, master, replica } = all
    const session = client.session()
    assert.equal(session.token, undefined)
    assert.equal(await servedBy(all, session), 'replica', 'nothing was written')

    master.role = masterAt(500)
    const [atMaster, atReplica] = [arrivals(master), arrivals(replica)]
    assert.equal(await session.call('SET', 'k', 'v'), 'OK')
    assert.equal(atMaster(), 'SET ROLE')

    replica.role = replicaAt(master.address, 500)
    assert.equal(await servedBy(all, session), 'replica')
    assert.equal(atReplica(), 'ROLE GET')
    assert.equal(atMaster(), 'SET ROLE', 'the master was not asked')

    replica.role = replicaAt(master.address, 499)
    assert.equal(await servedBy(all, session), 'master')
    assert.equal(atMaster(), 'SET ROLE GET', 'the token is good: no other is asked for')
    assert.equal(await servedBy(all, client), 'replica', 'without the session any replica will do')
  })
}

test('a write and its ROLE, and a ROLE and its read, leave in one piece', async (t) => {
  const all = await setting(t)
  const chunks: string[] = []
  for (const node of [all.master, all.replica]) {
    for (const { socket } of node.server.peers) {
      socket.on('data', (bytes: Buffer) =>
        chunks.push(bytes.toString('latin1').replace(/\r\n[*$]?\d*/g, ' ')),
      )
    }
  }
  const session = all.client.session()
  await session.call('SET', 'k', 'v')
  await session.call('GET', 'k')
  // the router asks for roles, too, on its own account
  const words = chunks.map((chunk) => chunk.match(/SET|GET|ROLE/g)?.join(' ') ?? '')
  const pieces = words.filter((it) => it !== 'ROLE').map((it) => /SET ROLE|ROLE GET/.exec(it)?.[0])
  assert.deepEqual(pieces, ['SET ROLE', 'ROLE GET'])
})

test('what a replica says is believed only if it follows the master of the token, and is in step', async (t) => {
  const all = await setting(t)
  const { client, master, replica } = all
  const rows: [string, Buffer][] = [
    ['it follows another', replicaAt('127.0.0.1:1', 1_000)],
    ['its link is down', replicaAt(master.address, -1, 'connect')],
    ['it is syncing', replicaAt(master.address, 1_000, 'sync')],
    ['it says it is a master', masterAt(1_000)],
    ['it says it is a sentinel', array(bulk('sentinel'), array())],
    ['it says nothing of use', array()],
    ['its offset is none', array(bulk('slave'), bulk('127.0.0.1'), integer(1), bulk('connected'), bulk('x'))],
    ['it may not say', error("NOPERM this user has no permissions to run the 'role' command")],
  ]
  for (const [what, role] of rows) {
    const session = client.session()
    master.role = masterAt(500)
    replica.role = replicaAt(master.address, 500)
    await session.call('SET', 'k', 'v')
    assert.equal(await servedBy(all, session), 'replica', 'to begin with')
    replica.role = role
    const at = arrivals(master)
    assert.equal(await servedBy(all, session), 'master', what)
    // only where the token's history may have ended there is reason to ask for another
    if (/^(its link|it is syncing|it may not)/.test(what)) assert.equal(at(), 'GET', what)
  }
})

test('offsets beyond the safe integers are compared to the last digit', async (t) => {
  const all = await setting(t)
  const { client, master, replica } = all
  const offset = 2n ** 62n + 1n
  const session = client.session()
  master.role = masterAt(offset)
  await session.call('SET', 'k', 'v')
  replica.role = replicaAt(master.address, offset - 1n)
  assert.equal(await servedBy(all, session), 'master')
  const heir = client.session({ after: session.token })
  replica.role = replicaAt(master.address, offset)
  assert.equal(await servedBy(all, session), 'replica')
  assert.equal(await servedBy(all, heir), 'replica')
  replica.role = replicaAt(master.address, offset - 1n)
  assert.equal(await servedBy(all, heir), 'master')
})

test('what is not flagged as a read counts as a write, also where it blocks', async (t) => {
  const all = await setting(t)
  const { client, master, replica } = all
  replica.role = replicaAt(master.address, 100)
  master.intercept = ([name]) => (name === 'EVAL' || name === 'BLPOP' ? integer(1) : 'pass')
  for (const command of [
    ['EVAL', 'return 1', '0'],
    ['BLPOP', 'q', '1'],
  ] as [string, ...string[]][]) {
    const session = client.session()
    master.role = masterAt(200)
    await session.call(...command)
    assert.equal(await servedBy(all, session), 'master', `behind ${command[0]}`)
    replica.role = replicaAt(master.address, 200)
    assert.equal(await servedBy(all, session), 'replica')
    replica.role = replicaAt(master.address, 100)
  }
  const { peers } = master.server
  const own = peers.find(({ commands }) => commands.some(([name]) => name === 'BLPOP'))
  assert.deepEqual(own?.commands.slice(-2), [['BLPOP', 'q', '1'], ['ROLE']])
})

test('a read that blocks is not thrown away after it has blocked: it goes to the master', async (t) => {
  const all = await setting(t)
  const { client, master, replica } = all
  for (const node of [master, replica]) {
    node.intercept = ([name]) => (name === 'XREAD' ? bulk(node === master ? 'master' : 'replica') : 'pass')
  }
  const session = client.session()
  const read = () => session.call('XREAD', 'BLOCK', 10, 'STREAMS', 's', '$')
  assert.equal(await read(), 'replica', 'nothing was written')
  await session.call('SET', 'k', 'v')
  assert.equal(await read(), 'master')
})

test('the token of writes that cross is the highest, and of writes in a row the last', async (t) => {
  const all = await setting(t)
  const { client, master } = all
  const offsets = [300, 200]
  master.intercept = ([name]) => (name === 'ROLE' ? masterAt(offsets.shift() ?? 50) : 'pass')
  const session = client.session()
  await Promise.all([session.call('SET', 'k', 1), session.call('SET', 'k', 2)])
  assert.match(String(session.token), /^1\.300\.[\w-]{11}$/)
  await session.call('SET', 'k', 3)
  assert.match(String(session.token), /^1\.50\./, 'the master has begun anew under its old address')
})

/** A connection whose replies come when the test says so, in any order. */
class SlowLine implements Line {
  readonly #owed = new Map<string, (reply: Reply | Error) => void>()

  execute(command: readonly Argument[]): Promise<Reply> {
    return new Promise((resolve, reject) => {
      const name = String(command[0])
      this.#owed.set(name, (reply) => (reply instanceof Error ? reject(reply) : resolve(reply)))
    })
  }

  answer(name: string, reply: Reply | Error): void {
    this.#owed.get(name)?.(reply)
  }
}

/** A write on a session that is answered when the test says so. */
function slowWrite(session: Session, address: string): { line: SlowLine; outcome: Promise<unknown> } {
  const line = new SlowLine()
  const write = sessionWrite(session, plainExchange(['SET', 'k', 'v'], 'master'))
  return { line, outcome: write.attempt(line, address, { timeout: 0 }).catch((error: unknown) => error) }
}

test('a doubt outlives the token of a write that was given before', async () => {
  const session = new Session()
  const [first, second, third] = [1, 2, 3].map(() => slowWrite(session, 'a:1'))
  assert.ok(first && second && third)
  const lost = new TimeoutError('no reply', { timeout: 1, mayHaveExecuted: true })
  second.line.answer('SET', lost)
  second.line.answer('ROLE', lost)
  assert.equal(await second.outcome, lost)
  for (const { line, outcome } of [first, third]) {
    line.answer('SET', 'OK')
    line.answer('ROLE', ['master', 100, []])
    assert.equal(await outcome, 'OK')
  }
  assert.equal(session.token, '1.x')
  const fourth = slowWrite(session, 'a:1')
  fourth.line.answer('SET', 'OK')
  fourth.line.answer('ROLE', ['master', 101, []])
  await fourth.outcome
  assert.match(String(session.token), /^1\.101\./)
})

test('writes that cross at different masters leave a doubt', async () => {
  const session = new Session()
  const writes = ['a:1', 'b:1'].map((address) => slowWrite(session, address))
  for (const { line, outcome } of writes) {
    line.answer('SET', 'OK')
    line.answer('ROLE', ['master', 100, []])
    await outcome
  }
  assert.equal(session.token, '1.x')
})

test('a write that was answered by an error and not by its ROLE leaves a doubt: a script may have written', async () => {
  const session = new Session()
  const { line, outcome } = slowWrite(session, 'a:1')
  const failed = new ReplyError('ERR in script')
  line.answer('SET', failed)
  line.answer('ROLE', new TimeoutError('no reply', { timeout: 1, mayHaveExecuted: true }))
  assert.equal(await outcome, failed)
  assert.equal(session.token, '1.x')
})

test('a read that is given before the write’s reply goes behind it, to the master', async (t) => {
  const all = await setting(t)
  const { client, master, replica } = all
  const session = client.session()
  const at = arrivals(master)
  const written = session.call('SET', 'k', 'v')
  const read = servedBy(all, session)
  assert.equal(session.token, '1.x')
  assert.equal(await read, 'master')
  await written
  assert.equal(at(), 'SET ROLE GET')
  replica.role = replicaAt(master.address, 10)
  assert.equal(await servedBy(all, session), 'replica')
})

test('a write whose outcome is unknown sends reads to the master, the first of which brings a token', async (t) => {
  const all = await setting(t)
  const { client, master, replica } = all
  const session = client.session()
  replica.role = replicaAt(master.address, 1_000)
  await session.call('SET', 'k', 'v')
  master.intercept = (command, peer) => {
    if (command[0] !== 'INCR') return 'pass'
    peer.reset()
    return undefined
  }
  await assert.rejects(session.call('INCR', 'n'), { code: 'CONNECTION_LOST', mayHaveExecuted: true })
  assert.equal(session.token, '1.x')
  master.role = masterAt(900)
  const at = arrivals(master)
  assert.equal(await servedBy(all, session), 'master')
  assert.match(at(), /GET ROLE$/)
  assert.match(String(session.token), /^1\.900\./)
  assert.equal(await servedBy(all, session), 'replica')
})

test('a write whose ROLE has no answer of use is a success, and sends reads to the master', async (t) => {
  const all = await setting(t)
  const { client, master, replica } = all
  const rows: [string, Buffer][] = [
    ['NOPERM', error("NOPERM this user has no permissions to run the 'role' command")],
    ['demoted', replicaAt('127.0.0.1:1', 2_000)],
    ['no offset', array(bulk('master'), bulk('many'))],
  ]
  for (const [what, role] of rows) {
    const session = client.session()
    replica.role = replicaAt(master.address, 1_000)
    master.role = role
    assert.equal(await session.call('SET', 'k', 'v'), 'OK', what)
    assert.equal(session.token, '1.x')
    assert.equal(await servedBy(all, session), 'master', what)
    assert.equal(await servedBy(all, session), 'master', `${what}, and stays so`)
    master.role = masterAt(10)
    await session.call('SET', 'k', 'v')
    assert.equal(await servedBy(all, session), 'replica', 'until a later write gives a token')
  }
})

test('a write that was refused or never sent leaves the token as it was', async (t) => {
  const all = await setting(t)
  const { client, master, replica } = all
  replica.role = replicaAt(master.address, 10)
  const session = client.session()
  await session.call('SET', 'k', 'v')
  const { token } = session
  const aborted = session.with({ signal: AbortSignal.abort() })
  await assert.rejects(aborted.call('SET', 'k', 'v'), { code: 'ABORT_ERR', mayHaveExecuted: false })
  assert.equal(session.token, token)
  master.intercept = ([name]) => (name === 'HSET' ? error('WRONGTYPE') : 'pass')
  await assert.rejects(session.call('HSET', 'k', 'f', 'v'), { prefix: 'WRONGTYPE' })
  assert.equal(session.token, token)
  assert.equal(await servedBy(all, session), 'replica')
})

test('an error that a replica behind the token answers is not the answer', async (t) => {
  const all = await setting(t)
  const { client, master, replica } = all
  master.role = masterAt(100)
  replica.intercept = ([name]) => (name === 'GET' ? error('WRONGTYPE of old') : 'pass')
  const session = client.session()
  await session.call('SET', 'k', 'v')
  replica.role = replicaAt(master.address, 99)
  assert.equal(await servedBy(all, session), 'master')
  replica.role = replicaAt(master.address, 100)
  await assert.rejects(session.call('GET', 'k'), { prefix: 'WRONGTYPE' })
})

test('a read that a replica refuses, or is lost with, goes to the next one', async (t) => {
  for (const what of ['refuses', 'is lost'] as const) {
    const all = await setting(t, 3, 2)
    const { client, master, replicas } = all
    const session = client.session()
    await session.call('SET', 'k', 'v')
    const [bad, good] = replicas
    assert.ok(bad && good)
    let failures = 0
    bad.intercept = (command, peer) => {
      if (command[0] === 'ROLE' && what === 'is lost') return undefined
      if (command[0] !== 'GET') return 'pass'
      failures += 1
      if (what === 'refuses') return error('LOADING Redis is loading the dataset in memory')
      peer.reset()
      return undefined
    }
    const at = arrivals(master)
    for (let reads = 0; failures === 0; reads += 1) {
      assert.ok(reads < 10, 'they take turns')
      assert.equal(await session.call('GET', 'k'), `k of ${good.address}`, what)
    }
    assert.doesNotMatch(at(), /GET/)
  }
})

test('a session takes the views that it is asked for with it', async (t) => {
  const all = await setting(t)
  const { client, master, replica } = all
  master.role = masterAt(100)
  const session = client.with({ readFrom: 'replica' }).session()
  await session.with({ timeout: 1_000 }).call('SET', 'k', 'v')
  const bytes = session.with({ replies: 'buffer' })
  assert.deepEqual(
    await bytes.call('GET', 'k'),
    Buffer.from(`k of ${master.address}`),
    'though it says replica',
  )
  replica.role = replicaAt(master.address, 100)
  assert.deepEqual(await bytes.call('GET', 'k'), Buffer.from(`k of ${replica.address}`))
  assert.equal(bytes.token, session.token)
  assert.equal(client.session().token, undefined, 'another session')
  assert.equal(session.session().token, undefined)
})

test('a token of another master sends the first read to the master, and is replaced there', async (t) => {
  const all = await setting(t)
  const { client, master, replica } = all
  const other = await setting(t)
  other.master.role = masterAt(5)
  const elsewhere = other.client.session()
  await elsewhere.call('SET', 'k', 'v')
  replica.role = replicaAt(master.address, 700)
  master.role = masterAt(600)
  const session = client.session({ after: elsewhere.token })
  assert.equal(session.token, elsewhere.token)
  assert.equal(await servedBy(all, session), 'master')
  assert.match(String(session.token), /^1\.600\./)
  assert.equal(await servedBy(all, session), 'replica')
})

test('a token goes to another process, and says nothing of where the servers are', async (t) => {
  const all = await setting(t)
  const { client, master, replica } = all
  master.role = masterAt(100)
  const session = client.session()
  await session.call('SET', 'k', 'v')
  const { token = '' } = session
  assert.match(token, /^1\.100\.[\w-]{11}$/)
  assert.ok(!token.includes('127.0.0.1') && !token.includes(String(master.port)))
  const heir = client.session({ after: token })
  assert.equal(heir.token, token)
  replica.role = replicaAt(master.address, 99)
  assert.equal(await servedBy(all, heir), 'master')
  assert.equal(heir.token, token)
  replica.role = replicaAt(master.address, 100)
  assert.equal(await servedBy(all, heir), 'replica')

  const doubtful = client.session({ after: '1.x' })
  assert.equal(await servedBy(all, doubtful), 'master')
  assert.equal(await servedBy(all, doubtful), 'replica', 'the first read brought a token')
})

test('a switch drops the token: the next read goes to the new master', async (t) => {
  const deployment = await scriptedDeployment(t, { replicas: 1 })
  const { master, seeds, say, sentinels } = deployment
  const [replica] = deployment.replicas
  assert.ok(replica)
  const client = createClient({ sentinel: { name: 'm', sentinels: seeds }, readFrom: 'prefer-replica' })
  t.after(() => client.destroy())
  master.role = masterAt(100)
  replica.role = replicaAt(master.address, 100)
  await client.ready()
  await eventually('it is well', () => client.topology?.replicas[0]?.healthy)
  const session = client.session()
  await session.call('SET', 'k', 'v')
  assert.match(String(session.token), /^1\.100\./)
  replica.role = masterAt(90)
  master.role = replicaAt(replica.address, 1_000)
  say({ master: replica.address, epoch: 2, replicas: [{ address: master.address }] })
  for (const sentinel of sentinels) {
    sentinel.publish('+switch-master', `m ${master.address} ${replica.address}`.replaceAll(':', ' '))
  }
  await eventually('the switch', () => client.topology?.master === replica.address)
  assert.equal(await session.call('GET', 'k'), `k of ${replica.address}`)
  assert.match(String(session.token), /^1\.90\./)
})

test('behind NAT a replica is known to follow the master by what its name is translated to', async (t) => {
  const deployment = await scriptedDeployment(t, { replicas: 1 })
  const { master, seeds } = deployment
  const [replica] = deployment.replicas
  assert.ok(replica)
  const sentinel = { name: 'm', sentinels: seeds, natMap: { '10.0.0.1:6379': master.address } }
  const client = createClient({ sentinel, readFrom: 'prefer-replica' })
  t.after(() => client.destroy())
  master.role = masterAt(100)
  replica.role = replicaAt('10.0.0.1:6379', 100)
  await client.ready()
  await eventually('it is well', () => client.topology?.replicas[0]?.healthy)
  const session = client.session()
  await session.call('SET', 'k', 'v')
  assert.equal(await session.call('GET', 'k'), `k of ${replica.address}`)
  replica.role = replicaAt('10.0.0.2:6379', 100)
  assert.equal(await session.call('GET', 'k'), `k of ${master.address}`)
})

test('a session of one server is served there', async (t) => {
  const node = await new ScriptedNode().listen(t)
  const client = createClient({ port: node.port, pingInterval: 0 })
  t.after(() => client.destroy())
  const session = client.session()
  assert.equal(await session.call('INCR', 'n'), 1)
  assert.equal(await session.call('GET', 'k'), `k of ${node.address}`)
  assert.equal(await session.with({ readFrom: 'prefer-replica' }).call('GET', 'k'), `k of ${node.address}`)
  assert.deepEqual(
    node.server.commands.map(([name]) => name).filter((name) => name !== 'HELLO' && name !== 'CLIENT'),
    ['INCR', 'ROLE', 'GET', 'ROLE', 'GET'],
  )
  await client.close()
  await assert.rejects(session.call('GET', 'k'), { code: 'CLIENT_CLOSED' })
})

test('what is no token, and no option of a session, is told at once', async (t) => {
  const node = await new ScriptedNode().listen(t)
  const client = createClient({ port: node.port })
  t.after(() => client.destroy())
  const rows: [unknown, RegExp][] = [
    [null, /session options must be an object/],
    ['1.5.abcdefghijk', /session options must be an object/],
    [{ token: '1.x' }, /unknown session option 'token'/],
    [{ after: 5 }, /option after must be a token that a session gave, got number/],
    [{ after: null }, /got object/],
    [{ after: '' }, /got ""/],
    [{ after: '1.5' }, /got "1\.5"/],
    [{ after: '2.5.abcdefghijk' }, /option after/],
    [{ after: '1.-5.abcdefghijk' }, /option after/],
    [{ after: '1.5.abcdefghijk\n' }, /option after/],
    [{ after: `1.${'9'.repeat(20)}.abcdefghijk` }, /option after/],
    [{ after: 'x'.repeat(10_000) }, /^option after .{1,100}$/],
  ]
  for (const [options, message] of rows) {
    assert.throws(
      () => client.session(options as SessionOptions),
      (thrown) => thrown instanceof TypeError && message.test(thrown.message),
      `${JSON.stringify(options)?.slice(0, 50)} ${message}`,
    )
  }
  assert.equal(client.session({ after: undefined }).token, undefined)
})
