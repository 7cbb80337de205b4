import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ConnectionError, ReplyError, SentinelError } from '../../lib/errors.ts'
import type { Belief } from '../../lib/sentinel/agreement.ts'
import { type DiscoveryOptions, discover, type Names, type Verdict } from '../../lib/sentinel/discovery.ts'
import type { Answer } from '../../lib/sentinel/questions.ts'
import type { SentinelLink } from '../../lib/sentinel/sentinel-link.ts'

type Says = readonly [master: string | undefined, epoch: number | undefined, others?: Partial<Answer>]

const believe = (master: string, epoch: number, isProvisional = false): Belief => ({
  master,
  epoch,
  isProvisional,
})

const asWritten: Names = { isSame: (a, b) => a === b }

function ask(
  links: readonly SentinelLink[],
  name: string,
  belief: Belief | undefined,
  answerTimeout: number,
  { agreement = 'highest-epoch' as DiscoveryOptions['agreement'], names = asWritten } = {},
): Promise<Verdict> {
  return discover(links, { name, answerTimeout, agreement }, belief, names)
}

/** A sentinel that answers after a while, or fails, or never does. */
function link(index: number, after: number, says: Says | Error | 'silent', downSinceMs = 0): SentinelLink {
  const fake = {
    address: `s${index}:1`,
    error: undefined as Error | undefined,
    downSince: undefined as number | undefined,
    runId: undefined as string | undefined,
    isConnected: Array.isArray(says),
    ask: async () => {
      if (says === 'silent') return await new Promise<never>(() => undefined)
      await new Promise((resolve) => setTimeout(resolve, after))
      if (says instanceof Error) {
        fake.error = says
        fake.downSince ??= performance.now() + downSinceMs
        throw says
      }
      const [master, epoch, others] = says
      const rest = {
        runId: undefined,
        isTilted: false,
        isFailingOver: false,
        sentinelCount: 1,
        forbidden: [],
      }
      return { sentinel: fake.address, master, epoch, ...rest, replicas: [], sentinels: [], ...others }
    },
  }
  return fake as unknown as SentinelLink
}

test('with nothing known, the first answer waits a moment for better ones, not for silent ones', async () => {
  const links = [link(0, 0, ['a', 1]), link(1, 30, ['b', 2]), link(2, 0, 'silent')]
  const start = performance.now()
  const verdict = await ask(links, 'm', undefined, 5_000)
  assert.ok(performance.now() - start < 2_000)
  assert.ok(verdict.kind === 'master')
  assert.equal(verdict.master, 'b')
  assert.deepEqual(verdict.answered, ['s0:1', 's1:1'])
})

test('when all have answered, there is no more waiting', async () => {
  const start = performance.now()
  await ask([link(0, 0, ['a', 1]), link(1, 0, ['a', 1])], 'm', undefined, 5_000)
  assert.ok(performance.now() - start < 90)
})

test('news is acted on at once', async () => {
  const links = [link(0, 0, 'silent'), link(1, 0, ['b', 2]), link(2, 0, 'silent')]
  const start = performance.now()
  const verdict = await ask(links, 'm', believe('a', 1), 5_000)
  assert.ok(performance.now() - start < 1_000)
  assert.ok(verdict.kind === 'master' && verdict.master === 'b')
})

test('without news the bound decides, and one answer is enough', async () => {
  const links = [link(0, 0, 'silent'), link(1, 0, ['a', 1])]
  const verdict = await ask(links, 'm', believe('a', 1), 40)
  assert.ok(verdict.kind === 'master' && verdict.master === 'a')
  const stale = await ask([link(0, 0, ['b', 0]), link(1, 0, 'silent')], 'm', believe('a', 1), 20)
  assert.equal(stale.kind, 'stale')
})

test('a name that nobody knows is one error, with what each said; conclusive if a majority said so', async () => {
  const refused = new Error('connect ECONNREFUSED')
  const verdict = await ask(
    [link(0, 0, [undefined, 0]), link(1, 0, refused), link(2, 0, [undefined, 0])],
    'nobody',
    undefined,
    500,
  )
  assert.ok(verdict.kind === 'unknown')
  assert.equal(verdict.isConclusive, true)
  assert.equal(verdict.error.code, 'MASTER_UNKNOWN')
  assert.match(verdict.error.message, /no sentinel knows a master named 'nobody'/)
  assert.match(
    verdict.error.message,
    /s0:1: does not know the name; s1:1: connect ECONNREFUSED; s2:1: does not/,
  )
  assert.ok(verdict.error.cause instanceof AggregateError)
  assert.deepEqual(verdict.error.cause.errors, [refused])

  const half = await ask([link(0, 0, [undefined, 0]), link(1, 0, refused)], 'nobody', undefined, 500)
  assert.ok(half.kind === 'unknown' && !half.isConclusive)
})

test('that no sentinel can be asked is another error, with the reason of each', async () => {
  const refused = new Error('connect ECONNREFUSED')
  const verdict = await ask([link(0, 0, refused), link(1, 0, 'silent')], 'm', undefined, 40)
  assert.ok(verdict.kind === 'unreachable')
  assert.ok(verdict.error instanceof SentinelError)
  assert.equal(verdict.error.code, 'SENTINELS_UNREACHABLE')
  assert.match(
    verdict.error.message,
    /no sentinel can be reached \(s0:1: connect ECONNREFUSED; s1:1: no answer\)/,
  )
  assert.ok(verdict.error.cause instanceof AggregateError)
  assert.deepEqual(verdict.error.cause.errors, [refused])
  assert.equal((await ask([], 'm', undefined, 5_000)).kind, 'unreachable')
})

test('sentinels that cannot be reached for a second do not keep a name from being unknown', async () => {
  const refused = new Error('connect ECONNREFUSED')
  const [away, longAway] = [-900, -1_100]
  const one = await ask([link(0, 0, [undefined, 0]), link(1, 0, refused, away)], 'm', undefined, 500)
  assert.ok(one.kind === 'unknown' && !one.isConclusive)
  const links = [link(0, 0, [undefined, 0]), link(1, 0, refused, longAway), link(2, 0, refused, longAway)]
  const other = await ask(links, 'm', undefined, 500)
  assert.ok(other.kind === 'unknown' && other.isConclusive)
})

test('that a majority does not know the name is told without waiting for the others', async () => {
  const start = performance.now()
  const links = [link(0, 0, [undefined, 0]), link(1, 0, 'silent'), link(2, 0, [undefined, 0])]
  const verdict = await ask(links, 'm', undefined, 5_000)
  assert.ok(verdict.kind === 'unknown' && verdict.isConclusive)
  assert.ok(performance.now() - start < 1_000)
})

test('a password that all sentinels refuse is the last word; one that only some refuse is not', async () => {
  const cause = new ReplyError('WRONGPASS invalid username-password pair or user is disabled.')
  const details = { address: 'it', phase: 'handshake', cause } as const
  const refused = new ConnectionError('HANDSHAKE_FAILED', 'the server refused HELLO', details)
  const all = await ask([link(0, 0, refused), link(1, 0, refused)], 'm', undefined, 500)
  assert.ok(all.kind === 'unreachable' && all.isConclusive)
  const some = await ask([link(0, 0, refused), link(1, 0, new Error('refused'))], 'm', undefined, 500)
  assert.ok(some.kind === 'unreachable' && !some.isConclusive)
  const none = await ask([], 'm', undefined, 500)
  assert.ok(none.kind === 'unreachable' && !none.isConclusive)
})

test('news of one in TILT is not acted on while others may answer', async () => {
  const tilted: Says = ['b', 2, { isTilted: true }]
  const both = await ask([link(0, 0, tilted), link(1, 30, ['a', 1])], 'm', believe('a', 1), 5_000)
  assert.ok(both.kind === 'master' && both.master === 'a')
  const alone = await ask([link(0, 0, tilted), link(1, 0, 'silent')], 'm', believe('a', 1), 40)
  assert.ok(alone.kind === 'master' && alone.master === 'b')
})

test('without a majority where one is demanded the error tells what each said', async () => {
  const links = [link(0, 0, ['a:1', 1]), link(1, 0, ['b:1', 2, { isTilted: true }]), link(2, 0, 'silent')]
  const verdict = await ask(links, 'm', undefined, 40, { agreement: 'majority' })
  assert.ok(verdict.kind === 'undecided' && !verdict.isConclusive)
  assert.equal(verdict.error.code, 'MASTER_UNVERIFIED')
  assert.match(
    verdict.error.message,
    /no majority of the sentinels names one master \(s0:1: names a:1, epoch 1; s1:1: names b:1, epoch 2, in TILT; s2:1: no answer\)/,
  )
})

test('a majority is one of all sentinels that most of them know, not of those that can be seen from here', async () => {
  const majority = { agreement: 'majority' } as const
  const three = { sentinelCount: 3 }
  const alone = await ask([link(0, 0, ['a', 1, three])], 'm', undefined, 500, majority)
  assert.equal(alone.kind, 'undecided')
  const two = [link(0, 0, ['a', 1, three]), link(1, 0, ['a', 1, three])]
  assert.equal((await ask(two, 'm', undefined, 500, majority)).kind, 'master')
  const liar = [link(0, 0, ['a', 1, three]), link(1, 0, ['a', 1, { sentinelCount: 1_000_000 }])]
  assert.equal((await ask(liar, 'm', undefined, 500, majority)).kind, 'master')
})

test('a majority is acted on without waiting for the rest', async () => {
  const start = performance.now()
  const links = [link(0, 0, ['b', 2]), link(1, 0, 'silent'), link(2, 20, ['b', 2])]
  const verdict = await ask(links, 'm', believe('a', 1), 5_000, { agreement: 'majority' })
  assert.ok(verdict.kind === 'master' && verdict.master === 'b')
  assert.ok(performance.now() - start < 1_000)
})

test('what one sentinel has forgotten, another one of the same opinion still lists', async () => {
  const fields = (port: number, flags: string) =>
    new Map([
      ['ip', '10.0.0.1'],
      ['port', String(port)],
      ['flags', flags],
    ])
  const one = { replicas: [fields(1, 'slave')], sentinels: [fields(7, 'sentinel')] }
  const other = { replicas: [fields(1, 'slave,s_down'), fields(2, 'slave')], sentinels: [] }
  const odd = { replicas: [fields(3, 'slave')], sentinels: [fields(8, 'sentinel')] }
  const links = [link(0, 0, ['a', 1, one]), link(1, 0, ['a', 1, other]), link(2, 0, ['b', 0, odd])]
  const verdict = await ask(links, 'm', believe('a', 1), 500)
  assert.ok(verdict.kind === 'master')
  const { sentinels } = verdict
  const { replicas } = verdict.answer
  assert.deepEqual(replicas, [fields(1, 'slave'), fields(2, 'slave')])
  assert.deepEqual(sentinels, [fields(7, 'sentinel'), fields(8, 'sentinel')])
})

test('a master that some call by name and others by address is one', async () => {
  const asked: string[] = []
  const names: Names = {
    isSame: async (a, b) => {
      asked.push(`${a} ${b}`)
      return [a, b].includes('db:1') && [a, b].includes('10.0.0.1:1')
    },
  }
  const links = [link(0, 0, ['10.0.0.1:1', 3]), link(1, 0, ['db:1', 3])]
  const known = await ask(links, 'm', believe('db:1', 3), 500, { names })
  assert.ok(known.kind === 'master' && known.master === 'db:1')
  const anew = await ask(links, 'm', undefined, 500, { names, agreement: 'majority' })
  assert.equal(anew.kind, 'master')
  // two names, or two addresses, are two servers: nothing is looked up
  asked.length = 0
  const switched = await ask([link(0, 0, ['other:1', 4])], 'm', believe('db:1', 3), 500, { names })
  assert.ok(switched.kind === 'master' && switched.master === 'other:1')
  assert.deepEqual(asked, [])
})

test('a sentinel that does not tell its run id is the one that the others list and it does not', async () => {
  const lists = (...ids: string[]) => ({ sentinels: ids.map((id) => new Map([['runid', id]])) })
  const rows: [Partial<Answer>[], (string | undefined)[]][] = [
    [
      [lists('b', 'c'), lists('a', 'c'), lists('a', 'b')],
      ['a', 'b', 'c'],
    ],
    [
      [lists('b', 'c'), { ...lists('a', 'c'), runId: 'b' }],
      ['a', undefined],
    ],
    [[lists('b', 'c')], [undefined]],
    // they do not know each other well enough
    [
      [lists('b'), lists('a', 'c')],
      [undefined, 'b'],
    ],
    [
      [lists(), lists()],
      [undefined, undefined],
    ],
  ]
  for (const [answers, expected] of rows) {
    const links = answers.map((others, i) => link(i, 0, ['a', 1, others]))
    await ask(links, 'm', undefined, 500)
    assert.deepEqual(
      links.map(({ runId }) => runId),
      expected,
    )
  }
})

test('one that could not be reached for a second is asked, and not waited for', async () => {
  const away = link(1, 0, 'silent')
  away.downSince = performance.now() - 1_100
  const start = performance.now()
  const verdict = await ask([link(0, 0, ['a', 1]), away], 'm', believe('a', 1), 5_000)
  assert.equal(verdict.kind, 'master')
  assert.ok(performance.now() - start < 1_000)
  // where there are no others, all are waited for
  const back = link(2, 20, ['a', 1])
  back.downSince = performance.now() - 1_100
  const alone = await ask([back, away], 'm', believe('a', 1), 200)
  assert.equal(alone.kind, 'master')
})
