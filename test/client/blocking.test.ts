// What becomes of a command that blocks when it is aborted, whatever the server makes of being asked to unblock it.

import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { type Client, createClient } from '../../lib/client/index.ts'
import { AbortError } from '../../lib/errors.ts'
import { ScriptedNode } from '../sentinel/scripted-deployment.ts'
import { eventually } from '../support/real-servers.ts'
import { array, bulk, error, integer, map } from '../support/resp-writer.ts'
import type { Peer } from '../support/scripted-server.ts'

interface Setting {
  readonly node: ScriptedNode
  readonly client: Client
  /** Who is blocked. */
  blocked: Peer[]
}

/** A server whose connections have numbers, and that answers CLIENT UNBLOCK like that. */
async function setting(
  t: TestContext,
  unblock: (setting: Setting, arrivals: number, id: string | undefined) => Buffer | undefined,
  {
    protocol = 3,
    number = (index) => integer(100 + index),
  }: { readonly protocol?: 2 | 3; readonly number?: (index: number) => Buffer | undefined } = {},
): Promise<Setting> {
  const node = await new ScriptedNode().listen(t)
  const client = createClient({
    port: node.port,
    protocol,
    pingInterval: 0,
    pool: { maxActive: 1, wait: true },
  })
  t.after(() => client.destroy())
  const given: Setting = { node, client, blocked: [] }
  let arrivals = 0
  node.intercept = ([name, sub, id], peer) => {
    if (name === 'HELLO') {
      return map(
        [bulk('server'), bulk('redis')],
        [bulk('proto'), integer(3)],
        [bulk('id'), integer(100 + peer.index)],
      )
    }
    if (name === 'CLIENT' && sub === 'ID') return number(peer.index)
    if (name === 'BLPOP') given.blocked.push(peer)
    if (name === 'BLPOP') return undefined
    if (name !== 'CLIENT' || sub !== 'UNBLOCK') return 'pass'
    arrivals += 1
    return unblock(given, arrivals, id)
  }
  return given
}

const unblocked = error('UNBLOCKED client unblocked via CLIENT UNBLOCK')

async function aborted(given: Setting, reason?: Error): Promise<{ outcome: unknown; ms: number }> {
  const abort = new AbortController()
  const settled = given.client
    .with({ signal: abort.signal })
    .blpop('q', 0)
    .catch((thrown: unknown) => thrown)
  await eventually('it blocks', () => given.blocked.length > 0)
  const start = performance.now()
  abort.abort(reason)
  const outcome = await settled
  return { outcome, ms: performance.now() - start }
}

/** Whether the abort was told, what it says of the command, and how many connections are open. */
function told({ outcome }: { readonly outcome: unknown }): boolean {
  assert.ok(outcome instanceof AbortError, String(outcome))
  return outcome.mayHaveExecuted
}

test('the server is asked by the number of the connection, and what it unblocks did not run', async (t) => {
  const given = await setting(t, ({ blocked }, _, id) => {
    assert.equal(id, `${100 + (blocked[0]?.index ?? 0)}`)
    blocked[0]?.send(unblocked)
    return integer(1)
  })
  const result = await aborted(given, new Error('enough'))
  assert.equal(told(result), false)
  assert.equal(((result.outcome as AbortError).cause as Error).message, 'enough')
  assert.deepEqual(given.client.stats().master?.pool.evictions.dirty, 0)
  assert.equal(given.node.server.openCount, 2)
})

test('where the handshake did not tell the number, it is asked for in front of the command, once', async (t) => {
  const given = await setting(
    t,
    ({ blocked }) => {
      blocked.at(-1)?.send(unblocked)
      return integer(1)
    },
    { protocol: 2 },
  )
  const { node } = given
  for (const round of [1, 2]) {
    given.blocked = []
    assert.equal(told(await aborted(given)), false)
    const asked = node.server.commands.filter(([name, sub]) => name === 'CLIENT' && sub === 'UNBLOCK')
    assert.equal(asked.length, round)
    assert.equal(asked.at(-1)?.[2], `${100 + (given.blocked[0]?.index ?? 0)}`)
  }
  const own = given.blocked[0]?.commands.map((command) => command.slice(0, 2).join(' '))
  assert.deepEqual(own, ['CLIENT ID', 'BLPOP q', 'BLPOP q'])
})

test('where nobody tells the number, the connection is cut', async (t) => {
  for (const answer of [error('NOPERM no'), bulk('no number'), undefined]) {
    const given = await setting(t, () => assert.fail('nobody can be asked'), {
      protocol: 2,
      number: () => answer,
    })
    const result = await aborted(given)
    assert.equal(told(result), true)
    assert.ok(result.ms < 1_000, `${result.ms} ms`)
    await given.node.server.until(() => given.blocked[0]?.isClosed === true)
  }
})

test('an element that was on its way is given', async (t) => {
  const given = await setting(t, ({ blocked }) => {
    blocked[0]?.send(array(bulk('q'), bulk('x')))
    return integer(0)
  })
  assert.deepEqual((await aborted(given)).outcome, ['q', 'x'])
  assert.equal(given.node.server.openCount, 2)
})

test('a server that is asked before the command has arrived is asked again', async (t) => {
  const given = await setting(t, ({ blocked }, arrivals) => {
    if (arrivals < 3) return integer(0)
    blocked[0]?.send(unblocked)
    return integer(1)
  })
  assert.equal(told(await aborted(given)), false)
})

test('a server that refuses, says nothing, or does not do it, costs the connection', async (t) => {
  const answers: [Buffer | undefined, atLeast: number][] = [
    [error('NOPERM this user has no permissions'), 0],
    [bulk('OK'), 0],
    [integer(0), 200],
    [integer(1), 200],
    [undefined, 200],
  ]
  for (const [answer, atLeast] of answers) {
    const given = await setting(t, () => answer)
    const result = await aborted(given)
    assert.equal(told(result), true)
    assert.ok(result.ms >= atLeast && result.ms < 1_000, `${result.ms} ms`)
    await given.node.server.until(() => given.blocked[0]?.isClosed === true)
  }
})

test('a question without an answer does not meet the next borrower’s command', async (t) => {
  const given = await setting(t, ({ blocked }) => {
    blocked[0]?.send(array(bulk('q'), bulk('x')))
    return undefined
  })
  const { outcome, ms } = await aborted(given)
  assert.deepEqual(outcome, ['q', 'x'])
  assert.ok(ms < 200, `${ms} ms: it is not waited for`)
  await given.node.server.until(() => given.blocked[0]?.isClosed === true)
})
