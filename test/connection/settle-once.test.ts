// Whatever happens, and in whatever order: every command settles once, with its own reply or with an error that tells
// the truth about whether it may have run. A random walk over all that can happen to a connection; what happens at the
// server is written down there and compared at the end.

import assert from 'node:assert/strict'
import { AsyncLocalStorage } from 'node:async_hooks'
import { getEventListeners } from 'node:events'
import { type TestContext, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { connect } from '../../lib/connection/index.ts'
import { ReplyError, RespoolError } from '../../lib/errors.ts'
import { freshSeed, pick, type RandomNumbers, randomNumbers } from '../support/random-numbers.ts'
import { bulk, error, push } from '../support/resp-writer.ts'
import { greet, type Peer, scriptedServer } from '../support/scripted-server.ts'

const WALKS = 80
const STEPS = 60

/** What became of one command. */
interface Outcome {
  readonly id: string
  readonly controller: AbortController
  settled: number
  value?: unknown
  error?: unknown
  /** The context in which its caller went on. */
  context?: string | undefined
}

type Step =
  | 'execute'
  | 'burst'
  | 'large'
  | 'abort'
  | 'answer'
  | 'tick'
  | 'wait'
  | 'pause'
  | 'push'
  | 'close'
  | 'destroy'
  | 'peer closes'
  | 'peer resets'
  | 'peer lies'

/** Often what goes on, seldom what ends it all. */
const steps: readonly Step[] = [
  ...(['execute', 'execute', 'execute', 'execute', 'answer', 'answer', 'answer', 'tick', 'tick'] as const),
  ...(['execute', 'execute', 'execute', 'execute', 'answer', 'answer', 'answer', 'tick', 'tick'] as const),
  ...(['abort', 'abort', 'wait', 'push', 'burst', 'pause', 'large'] as const),
]
const ends: readonly Step[] = ['close', 'destroy', 'peer closes', 'peer resets', 'peer lies']

test(`in ${WALKS} random walks every command settles once, with its own reply or a true word about it`, async (t) => {
  const seed = freshSeed()
  const random = randomNumbers(seed)
  const kinds = new Map<string, number>()
  for (let walk = 0; walk < WALKS; walk += 1) {
    const taken: string[] = []
    try {
      for (const outcome of await wander(t, random, taken)) {
        const kind = outcome.error === undefined ? 'replied' : (outcome.error as RespoolError).code
        kinds.set(kind, (kinds.get(kind) ?? 0) + 1)
      }
    } catch (cause) {
      const told = `RESPOOL_SEED=${seed}, walk ${walk}: ${taken.join(', ')}: ${(cause as Error).message}`
      throw new Error(told, { cause })
    }
  }
  // a walk that never gets anywhere proves nothing
  const told = `RESPOOL_SEED=${seed}: ${JSON.stringify([...kinds])}`
  for (const kind of [
    'replied',
    'REPLY_ERROR',
    'COMMAND_TIMEOUT',
    'ABORT_ERR',
    'CONNECTION_LOST',
    'QUEUE_FULL',
  ]) {
    assert.ok((kinds.get(kind) ?? 0) > 0, `no ${kind}; ${told}`)
  }
})

async function wander(t: TestContext, random: RandomNumbers, taken: string[]): Promise<Outcome[]> {
  const executed: string[] = []
  /** Replies in order, as the server has to give them. */
  const owed: Buffer[] = []
  const server = await scriptedServer(t, (command) => {
    if (command[0] !== 'DO') return greet(command)
    const [, id = ''] = command
    executed.push(id)
    owed.push(id.endsWith('0') ? error(`ERR ${id}`) : bulk(id))
    return undefined
  })
  const connection = await connect({
    ...server.options,
    commandTimeout: pick(random, [0, 1000]),
    maxPending: 60,
    onPush: () => undefined,
  })
  const peer = server.peers[0] as Peer
  const answer = (count: number) => {
    const replies = Buffer.concat(owed.splice(0, count))
    // in two pieces, as often as not within a reply
    const cut = random(replies.length + 1)
    peer.send(replies.subarray(0, cut))
    peer.send(replies.subarray(cut))
  }
  const outcomes: Outcome[] = []
  const context = new AsyncLocalStorage<string>()
  const execute = (argument: string | Buffer = '') => {
    const outcome: Outcome = { id: `c${outcomes.length}`, controller: new AbortController(), settled: 0 }
    outcomes.push(outcome)
    const signal = random(2) === 0 ? outcome.controller.signal : undefined
    const timeout = random(4) === 0 ? 1 + random(8) : undefined
    context.run(outcome.id, () => {
      void connection
        .execute(['DO', outcome.id, argument], { signal, timeout })
        .then(
          (value) => Object.assign(outcome, { value }),
          (reason: unknown) => Object.assign(outcome, { error: reason }),
        )
        .then(() => {
          outcome.settled += 1
          outcome.context = context.getStore()
        })
    })
  }
  const take: Record<Step, () => unknown> = {
    execute: () => execute(),
    burst: () => {
      for (let i = random(50); i >= 0; i -= 1) execute()
    },
    large: () => execute(Buffer.alloc(2 * 1024 * 1024)),
    abort: () => outcomes[random(outcomes.length)]?.controller.abort(),
    answer: () => answer(1 + random(10)),
    tick: () => new Promise(setImmediate),
    wait: () => sleep(random(4)),
    pause: () => (peer.socket.isPaused() ? peer.socket.resume() : peer.socket.pause()),
    push: () => peer.send(push(bulk('news'))),
    close: () => void connection.close(),
    destroy: () => connection.destroy(),
    'peer closes': () => peer.close(),
    'peer resets': () => peer.reset(),
    'peer lies': () => peer.send('@'),
  }
  const last = random(STEPS * 2) // in half of the walks nothing ends before the end
  for (let i = 0; i < STEPS; i += 1) {
    const step = i === last ? pick(random, ends) : pick(random, steps)
    taken.push(step)
    await take[step]()
  }
  // what can still be answered is; then all that is left has to be told
  peer.socket.resume()
  for (let i = 0; i < 5; i += 1) {
    await new Promise(setImmediate)
    answer(owed.length)
  }
  connection.destroy()
  await connection.closed
  await server.until(() => server.openCount === 0)
  await new Promise(setImmediate)
  assert.equal(connection.pendingCount, 0)
  check(outcomes, executed)
  await server.close()
  return outcomes
}

function check(outcomes: readonly Outcome[], executed: readonly string[]): void {
  const order = new Map(outcomes.map(({ id }, i) => [id, i]))
  for (const [i, id] of executed.entries()) {
    const before = executed[i - 1]
    const isLater = before === undefined || (order.get(before) as number) < (order.get(id) as number)
    assert.ok(isLater, `${id} arrived behind ${before}: twice, or out of order`)
  }
  for (const { id, settled, value, error: reason, context, controller } of outcomes) {
    assert.equal(settled, 1, `${id} settled ${settled} times`)
    assert.equal(context, id, `${id} went on in the context of ${context}`)
    assert.equal(getEventListeners(controller.signal, 'abort').length, 0, `${id} left a listener`)
    if (reason === undefined) {
      assert.equal(value, id)
    } else if (reason instanceof ReplyError) {
      assert.equal(reason.message, `ERR ${id}`)
    } else {
      assert.ok(reason instanceof RespoolError, String(reason))
      if (!reason.mayHaveExecuted) assert.ok(!executed.includes(id), `${id} ran, and ${reason.message}`)
    }
  }
}
