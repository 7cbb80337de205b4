// Who is the master, by what the sentinels say and what servers say of themselves.

import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { Endpoint } from '../../lib/endpoint/index.ts'
import { ConnectionError, ReplyError, SentinelError } from '../../lib/errors.ts'
import type { Verdict } from '../../lib/sentinel/discovery.ts'
import { Mastership, type SwitchEvent } from '../../lib/sentinel/mastership.ts'
import { splitAddress } from '../../lib/sentinel/replies.ts'
import { verifyRole } from '../../lib/sentinel/role-check.ts'
import { eventually } from '../support/real-servers.ts'
import { masterRole, ScriptedNode, slaveRole } from './scripted-deployment.ts'

const over = new Error('the test is over')
const SENTINEL = '127.0.0.1:26379'

interface Adoption {
  readonly address: string
  readonly event: SwitchEvent | undefined
}

/** A mastership over servers that are there; every address is a replica's. */
function mastershipOf(t: TestContext) {
  const opened: Endpoint[] = []
  const adopted: Adoption[] = []
  const open = (address: string): Endpoint => {
    const endpoint = new Endpoint(address, {
      connection: { ...splitAddress(address), commandTimeout: 2_000 },
      pool: { maxIdle: 1, maxActive: 0 },
      pingInterval: 0,
      suspectAfter: 250,
      maxHeld: 100,
      maxHeldBytes: 10_000,
      verify: (connection) => verifyRole(connection, ['master']),
    })
    opened.push(endpoint)
    return endpoint
  }
  const state = { asked: 0 }
  const mastership = new Mastership(
    { name: 'm', answerTimeout: 150, onFailover: 'hold', adoptEarly: true },
    {
      open,
      isReplica: () => true,
      isSame: (named, address) => named === address,
      askAgain: () => {
        state.asked += 1
      },
      onAdopted: (address, event) => adopted.push({ address, event }),
    },
  )
  t.after(() => {
    mastership.stop(over)
    for (const endpoint of opened) endpoint.fence(over)
  })
  /** All three sentinels name it. */
  const agree = (master: string, epoch: number, leader?: string) =>
    mastership.consider(named(master, epoch, leader), performance.now(), 3)
  return { mastership, opened, adopted, state, agree }
}

function named(master: string, epoch: number, leader?: string): Verdict {
  const answer = { sentinel: SENTINEL, epoch, voices: 3, replicas: [], leader }
  return { kind: 'master', master, answer, answered: [SENTINEL], sentinels: [] }
}

function select(mastership: Mastership, { address }: ScriptedNode): void {
  mastership.heed(SENTINEL, '+try-failover', 'master m 127.0.0.1 1')
  const at = address.replace(':', ' ')
  mastership.heed(SENTINEL, '+selected-slave', `slave ${address} ${at} @ m 127.0.0.1 1`)
}

test('the first master is adopted when it says so itself, and that is no switch', async (t) => {
  const node = await new ScriptedNode().listen(t)
  const { mastership, adopted, agree } = mastershipOf(t)
  assert.equal(mastership.view(), undefined)
  await agree(node.address, 4)
  assert.deepEqual(adopted, [{ address: node.address, event: undefined }])
  assert.equal(mastership.writable?.address, node.address)
  assert.deepEqual(mastership.belief(), { master: node.address, epoch: 4, isProvisional: false })
  assert.equal(mastership.generation, 1)
  assert.equal(mastership.isSteady, true)
})

test('with the switch the old one is fenced, and the event says from where to where', async (t) => {
  const [first, second] = [await new ScriptedNode().listen(t), await new ScriptedNode().listen(t)]
  const { mastership, opened, adopted, agree } = mastershipOf(t)
  await agree(first.address, 1)
  await agree(second.address, 2)
  const [old] = opened
  assert.ok(old?.error instanceof ConnectionError)
  assert.equal(old.error.code, 'FENCED')
  assert.equal(mastership.writable, mastership.endpoint)
  const { duration, ...event } = adopted[1]?.event ?? assert.fail('no event')
  assert.ok(duration >= 0)
  const { address: from } = first
  assert.deepEqual(event, { from, to: second.address, epoch: 2, generation: 2, early: false })
})

test('while the one that is named does not say that it is a master, neither it nor the old one is used', async (t) => {
  const first = await new ScriptedNode().listen(t)
  const second = await new ScriptedNode(slaveRole(first.address)).listen(t)
  const { mastership, opened, agree } = mastershipOf(t)
  await agree(first.address, 1)
  await agree(second.address, 2)
  assert.equal(mastership.endpoint?.address, first.address)
  assert.deepEqual([mastership.readable, mastership.writable], [undefined, undefined])
  assert.equal(mastership.view()?.isUp, false)
  assert.match(mastership.trouble?.message ?? '', /name .* as the master, but: .* says its role is slave/)
  assert.notEqual(opened[1]?.error, undefined)
  second.role = masterRole()
  await agree(second.address, 2)
  assert.equal(mastership.writable?.address, second.address)
  assert.equal(mastership.trouble, undefined)
})

test('waiting is in vain where no sentinel knows the name, unless there was a master', async (t) => {
  const node = await new ScriptedNode().listen(t)
  const { mastership, agree } = mastershipOf(t)
  const error = new SentinelError('MASTER_UNKNOWN', 'no sentinel knows the name')
  const unknown: Verdict = { kind: 'unknown', error, isConclusive: true, sentinels: [] }
  await mastership.consider(unknown, performance.now(), 3)
  assert.equal(mastership.hopeless, error)
  await agree(node.address, 1)
  assert.equal(mastership.hopeless, undefined)
  await mastership.consider(unknown, performance.now(), 3)
  assert.equal(mastership.hopeless, undefined)
  assert.equal(mastership.trouble, error)
  assert.equal(mastership.writable?.address, node.address)
})

test('a refusal for the wrong role holds writes, any other failure does not', async (t) => {
  const node = await new ScriptedNode().listen(t)
  const { mastership, agree } = mastershipOf(t)
  await agree(node.address, 1)
  assert.equal(mastership.doubt(new Error('lost')), false)
  assert.equal(mastership.isHolding, false)
  assert.equal(
    mastership.doubt(new ReplyError('READONLY You can’t write against a read only replica.')),
    true,
  )
  assert.equal(mastership.readable, undefined)
  await agree(node.address, 1) // it is asked, and still says master
  assert.equal(mastership.isHolding, false)
})

test('a master that was adopted on its own word gives its epoch back when its leader gives up', async (t) => {
  const [first, heir] = [await new ScriptedNode().listen(t), await new ScriptedNode().listen(t)]
  const { mastership, adopted, state, agree } = mastershipOf(t)
  await agree(first.address, 3)
  select(mastership, heir)
  assert.equal(mastership.writable, undefined)
  assert.equal(mastership.readable?.address, first.address)
  await eventually('it is adopted', () => adopted.length === 2)
  assert.equal(adopted[1]?.event?.early, true)
  assert.deepEqual(mastership.belief(), { master: heir.address, epoch: 4, isProvisional: true })
  const { asked } = state
  mastership.heed('127.0.0.1:1', '-failover-abort-slave-timeout', '') // another one's word
  assert.equal(mastership.belief()?.isProvisional, true)
  mastership.heed(SENTINEL, '-failover-abort-slave-timeout', '')
  assert.deepEqual(mastership.belief(), { master: heir.address, epoch: 3, isProvisional: false })
  assert.equal(state.asked, asked + 1)
})

test('a master that was adopted on its own word is believed for ten seconds without the sentinels', async (t) => {
  const [first, heir] = [await new ScriptedNode().listen(t), await new ScriptedNode().listen(t)]
  const { mastership, adopted, agree } = mastershipOf(t)
  await agree(first.address, 3)
  select(mastership, heir)
  await eventually('it is adopted', () => adopted.length === 2)
  const now = performance.now()
  const clock = t.mock.method(performance, 'now', () => now + 9_000)
  assert.equal(mastership.belief()?.epoch, 4)
  clock.mock.mockImplementation(() => now + 10_000)
  assert.equal(mastership.belief()?.epoch, 3)
})

test('who is verified after another was adopted is not wanted any more, and its end says that', async (t) => {
  const [first, heir] = [await new ScriptedNode().listen(t), await new ScriptedNode().listen(t)]
  const late = await new ScriptedNode().listen(t)
  const { mastership, opened, adopted, agree } = mastershipOf(t)
  await agree(first.address, 1)
  late.intercept = ([word], peer) => {
    if (word !== 'ROLE') return 'pass'
    select(mastership, heir)
    void eventually('the heir is adopted', () => adopted.length === 2).then(() => peer.send(masterRole()))
    return undefined
  }
  await agree(late.address, 2)
  assert.equal(mastership.endpoint?.address, heir.address)
  const { error } = opened.find(({ address }) => address === late.address) ?? assert.fail()
  assert.ok(error instanceof ConnectionError, String(error))
  assert.equal(error.code, 'FENCED')
  assert.match(error.message, /another master was adopted meanwhile/)
})

test('after the end nobody is adopted, and who was being verified ends with its error', async (t) => {
  const node = await new ScriptedNode().listen(t)
  const { mastership, opened, adopted, agree } = mastershipOf(t)
  const asked = agree(node.address, 1)
  mastership.stop(over)
  await asked
  assert.deepEqual(adopted, [])
  assert.equal(opened[0]?.error, over)
})
