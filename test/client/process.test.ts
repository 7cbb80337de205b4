// What the process around a client sees of it: no event that ends it, no rejection that nobody handles, no warning,
// an end by itself; and the asynchronous context of a caller, which stays the caller's.

import assert from 'node:assert/strict'
import { AsyncLocalStorage } from 'node:async_hooks'
import { type TestContext, test } from 'node:test'
import { createClient } from '../../lib/client/index.ts'
import { ScriptedNode, scriptedDeployment } from '../sentinel/scripted-deployment.ts'
import { freePorts } from '../support/free-ports.ts'
import { runProgram } from '../support/program.ts'
import { eventually } from '../support/real-servers.ts'
import { error } from '../support/resp-writer.ts'

/** Whatever is not handled ends the program with 1, and what Node warns of is printed. */
const flags = ['--unhandled-rejections=strict', '--trace-warnings']

/** The names of the library, at the head of a program. */
const importAll = `import { connect, createClient, Pool, Sentinel } from ${JSON.stringify(
  new URL(`../../lib/index.${import.meta.url.endsWith('.ts') ? 'ts' : 'js'}`, import.meta.url).href,
)}\n`

/** Runs a program that has to be quiet and to end by itself, and gives what it printed. */
async function runQuietly(t: TestContext, program: string): Promise<string> {
  const { stdout, stderr } = await runProgram(t, importAll + program, flags)
  assert.equal(stderr, '')
  return stdout
}

test('a process whose servers are not there, or go away, is told by rejections of its own calls alone', async (t) => {
  const [dead] = await freePorts(1)
  const node = await new ScriptedNode().listen(t)
  const program = `
    import { setTimeout as sleep } from 'node:timers/promises'
    const codes = new Set()
    const tell = (error) => codes.add(error.code)
    const dead = ${dead}
    for (const options of [{ port: dead }, { sentinel: { name: 'm', sentinels: ['127.0.0.1:' + dead] } }]) {
      const client = createClient({ ...options, commandTimeout: 200 })
      await Promise.all([client.ready(), client.get('k'), client.set('k', 'v'), client.lease()].map((it) => it.catch(tell)))
      await client.close()
    }
    await connect({ port: dead }).catch(tell)
    const pool = new Pool({ dial: () => connect({ port: dead }), minIdle: 1, maxIdle: 1 })
    await pool.warmUp().catch(tell)
    await pool.get().catch(tell)
    await pool.close()

    const client = createClient({ port: ${node.port}, commandTimeout: 200 })
    const lease = await client.lease()
    await client.incr('n')
    await client.call('VANISH').catch(tell)
    await lease.call('VANISH').catch(tell)
    await lease.close()
    await sleep(100)
    await client.incr('n')
    client.destroy()
    console.log([...codes].sort().join())`
  node.intercept = (command, peer) => {
    if (command[0] !== 'VANISH') return 'pass'
    peer.reset()
    return undefined
  }
  const stdout = await runQuietly(t, program)
  assert.equal(stdout, 'COMMAND_TIMEOUT,CONNECTION_LOST,CONNECT_FAILED\n')
})

test('promises that nobody kept, of clients and leases that were destroyed, end no process', async (t) => {
  const node = await new ScriptedNode().listen(t)
  const program = `
    const client = createClient({ port: ${node.port} })
    await client.ready()
    const kept = []
    const keep = (promise) => kept.push(promise.catch((error) => error.code))
    for (let i = 0; i < 20; i++) {
      keep(client.get('k'))
      keep(client.lease())
      keep(client.use(() => new Promise(() => undefined)))
    }
    client.destroy()
    client.destroy()
    await client.close()
    const codes = await Promise.all(kept.slice(0, 2))
    console.log(codes.join())`
  assert.equal(await runQuietly(t, program), 'CLIENT_CLOSED,CLIENT_CLOSED\n')
})

test('a failure that nobody handles is told of once, one that is handled never', async (t) => {
  const node = await new ScriptedNode().listen(t)
  node.intercept = ([name = ''], peer) => {
    if (name === 'GET') return error('LOADING reading')
    if (name !== 'INCR') return 'pass'
    peer.reset()
    return undefined
  }
  // lost, tried again in vain, held in vain
  const program = `
    import { setTimeout as sleep } from 'node:timers/promises'
    let unhandled = 0
    process.on('unhandledRejection', () => { unhandled += 1 })
    const client = createClient({ port: ${node.port}, pingInterval: 0 })
    await client.ready()
    const commands = () => [
      client.call('INCR', 'n'),
      client.with({ timeout: 60 }).call('GET', 'k'),
      client.with({ timeout: 1 }).call('INCR', 'n'),
    ]
    const outcomes = await Promise.allSettled(commands())
    await sleep(20)
    console.log(outcomes.map(({ status }) => status).join(), unhandled)
    void commands()
    while (unhandled < 3) await sleep(10)
    await sleep(100)
    console.log(unhandled)
    client.destroy()`
  const { stdout, stderr } = await runProgram(t, importAll + program)
  assert.equal(stderr, '')
  assert.equal(stdout, 'rejected,rejected,rejected 0\n3\n')
})

test('one signal for a thousand calls of every kind, and many clients, bring no warning of listeners', async (t) => {
  const node = await new ScriptedNode().listen(t)
  const program = `
    const { signal } = new AbortController()
    const clients = Array.from({ length: 20 }, () => createClient({ port: ${node.port} }))
    const connections = await Promise.all(Array.from({ length: 20 }, () => connect({ port: ${node.port}, signal })))
    await Promise.all(clients.map((client) => client.ready({ signal })))
    await Promise.all(clients.flatMap((client) =>
      Array.from({ length: 50 }, () => client.with({ signal }).incr('n'))))
    await Promise.all(clients.flatMap((client) => Array.from({ length: 20 }, () =>
      client.use((lease) => lease.execute(['INCR', 'n'], { signal }), { signal }))))
    await Promise.all(connections.flatMap((connection) =>
      Array.from({ length: 50 }, () => connection.execute(['INCR', 'n'], { signal }))))
    await Promise.all([...clients, ...connections].map((it) => it.close()))
    console.log('done')`
  assert.equal(await runQuietly(t, program), 'done\n')
})

test('a command continues in the context in which it was awaited, however it ends', async (t) => {
  const node = await new ScriptedNode().listen(t)
  const client = createClient({ port: node.port, pingInterval: 0, pool: { maxActive: 1, wait: true } })
  t.after(() => client.destroy())
  const where = new AsyncLocalStorage<number>()
  const works: (() => Promise<unknown>)[] = [
    () => client.get('k'),
    () => client.with({ timeout: 1 }).call('NEVER'),
    () => client.with({ signal: AbortSignal.timeout(1) }).call('NEVER'),
    () => client.with({ replies: 'buffer' }).hgetall('h'),
    () => client.use((lease) => lease.call('GET', where.getStore() ?? 'lost')),
    () => client.use(() => where.getStore()),
    () => client.ready(),
  ]
  node.intercept = (command) => (command[0] === 'NEVER' ? undefined : 'pass')
  const stores = await Promise.all(
    Array.from({ length: 50 }, (_, i) =>
      where.run(i, async () => {
        await works[i % works.length]?.().catch(() => undefined)
        return where.getStore()
      }),
    ),
  )
  assert.deepEqual(
    stores,
    stores.map((_, i) => i),
  )
})

test('a listener runs in the context in which it was registered, whoever brought its event about', async (t) => {
  const { seeds } = await scriptedDeployment(t)
  const client = createClient({ sentinel: { name: 'm', sentinels: seeds } })
  t.after(() => client.destroy())
  const where = new AsyncLocalStorage<string>()
  const heard: (string | undefined)[] = []
  where.run('registered', () => client.on('topology', () => heard.push(where.getStore())))
  await where.run('called', () => client.call('GET', 'k'))
  await eventually('the topology is told', () => heard.length > 0)
  assert.deepEqual(new Set(heard), new Set(['registered']))
})
