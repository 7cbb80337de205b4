import assert from 'node:assert/strict'
import { test } from 'node:test'
import { SentinelError } from '../../lib/errors.ts'
import { type Belief, believed, discover } from '../../lib/sentinel/discovery.ts'
import type { Answer, SentinelLink } from '../../lib/sentinel/sentinel-link.ts'

type Says = readonly [master: string | undefined, epoch: number]

const believe = (master: string, epoch: number, isProvisional = false): Belief => ({
  master,
  epoch,
  isProvisional,
})

function answersOf(says: readonly Says[]): Answer[] {
  return says.map(([master, epoch], i) => ({
    sentinel: `s${i}:1`,
    master,
    epoch,
    replicas: [],
    sentinels: [],
  }))
}

test('the highest epoch is believed; among equals the most votes; old news only from a majority', () => {
  const rows: [
    why: string,
    says: Says[],
    belief: Belief | undefined,
    total: number,
    expected: string | undefined,
  ][] = [
    ['nobody answered', [], undefined, 3, undefined],
    ['nobody knows the name', [[undefined, 0]], undefined, 3, undefined],
    [
      'one knows it',
      [
        [undefined, 0],
        ['a', 0],
      ],
      undefined,
      3,
      'a',
    ],
    [
      'the higher epoch against two votes',
      [
        ['a', 1],
        ['a', 1],
        ['b', 2],
      ],
      undefined,
      3,
      'b',
    ],
    [
      'equal epochs: votes decide',
      [
        ['b', 1],
        ['a', 1],
        ['a', 1],
      ],
      undefined,
      3,
      'a',
    ],
    [
      'equal epochs and votes: what we believe',
      [
        ['b', 1],
        ['a', 1],
      ],
      believe('a', 1),
      2,
      'a',
    ],
    [
      'equal epochs and votes, the other way',
      [
        ['b', 1],
        ['a', 1],
      ],
      believe('b', 1),
      2,
      'b',
    ],
    ['the same as we believe', [['a', 3]], believe('a', 3), 3, 'a'],
    [
      'a newer epoch of one',
      [
        ['a', 3],
        ['b', 4],
        ['a', 3],
      ],
      believe('a', 3),
      3,
      'b',
    ],
    ['an older epoch of one', [['b', 2]], believe('a', 3), 3, 'stale'],
    [
      'an older epoch of one half',
      [
        ['b', 2],
        ['b', 2],
      ],
      believe('a', 3),
      4,
      'stale',
    ],
    [
      'an older epoch of a majority: set up anew',
      [
        ['b', 0],
        ['b', 0],
      ],
      believe('a', 3),
      3,
      'b',
    ],
    [
      'a majority for older epochs, but not for one',
      [
        ['b', 0],
        ['c', 0],
      ],
      believe('a', 3),
      3,
      'stale',
    ],
    [
      'a majority for one address, not for one epoch',
      [
        ['b', 1],
        ['b', 0],
      ],
      believe('a', 3),
      3,
      'stale',
    ],
    [
      'adopted early: what all still say is old',
      [
        ['b', 0],
        ['b', 0],
      ],
      believe('a', 1, true),
      2,
      'stale',
    ],
    [
      'adopted early, and announced',
      [
        ['b', 0],
        ['a', 5],
      ],
      believe('a', 1, true),
      2,
      'a',
    ],
    ['adopted early, but another one is announced', [['c', 5]], believe('a', 1, true), 2, 'c'],
    ['nobody knows the name that we have a master for', [[undefined, 0]], believe('a', 3), 1, undefined],
  ]
  for (const [why, says, belief, total, expected] of rows) {
    const best = believed(answersOf(says), belief, total)
    assert.equal(best === 'stale' ? best : best?.master, expected, why)
  }
})

/** A sentinel that answers after a while, or fails, or never does. */
function link(index: number, after: number, says: Says | Error | 'silent'): SentinelLink {
  const fake = {
    address: `s${index}:1`,
    error: undefined as Error | undefined,
    ask: async () => {
      if (says === 'silent') return await new Promise<never>(() => undefined)
      await new Promise((resolve) => setTimeout(resolve, after))
      if (says instanceof Error) {
        fake.error = says
        throw says
      }
      return { sentinel: fake.address, master: says[0], epoch: says[1], replicas: [], sentinels: [] }
    },
  }
  return fake as unknown as SentinelLink
}

test('with nothing known, the first answer waits a moment for better ones, not for silent ones', async () => {
  const links = [link(0, 0, ['a', 1]), link(1, 30, ['b', 2]), link(2, 0, 'silent')]
  const start = performance.now()
  const verdict = await discover(links, 'm', undefined, 5_000)
  assert.ok(performance.now() - start < 2_000)
  assert.ok(verdict.kind === 'master')
  assert.equal(verdict.master, 'b')
  assert.deepEqual(verdict.answered, ['s0:1', 's1:1'])
})

test('when all have answered, there is no more waiting', async () => {
  const start = performance.now()
  await discover([link(0, 0, ['a', 1]), link(1, 0, ['a', 1])], 'm', undefined, 5_000)
  assert.ok(performance.now() - start < 90)
})

test('news is acted on at once', async () => {
  const links = [link(0, 0, 'silent'), link(1, 0, ['b', 2]), link(2, 0, 'silent')]
  const start = performance.now()
  const verdict = await discover(links, 'm', believe('a', 1), 5_000)
  assert.ok(performance.now() - start < 1_000)
  assert.ok(verdict.kind === 'master' && verdict.master === 'b')
})

test('without news the bound decides, and one answer is enough', async () => {
  const links = [link(0, 0, 'silent'), link(1, 0, ['a', 1])]
  const verdict = await discover(links, 'm', believe('a', 1), 40)
  assert.ok(verdict.kind === 'master' && verdict.master === 'a')
  const stale = await discover([link(0, 0, ['b', 0]), link(1, 0, 'silent')], 'm', believe('a', 1), 20)
  assert.equal(stale.kind, 'stale')
})

test('a name that nobody knows is one error, with what each said; conclusive if a majority said so', async () => {
  const refused = new Error('connect ECONNREFUSED')
  const verdict = await discover(
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

  const half = await discover([link(0, 0, [undefined, 0]), link(1, 0, refused)], 'nobody', undefined, 500)
  assert.ok(half.kind === 'unknown' && !half.isConclusive)
})

test('that no sentinel can be asked is another error, with the reason of each', async () => {
  const refused = new Error('connect ECONNREFUSED')
  const verdict = await discover([link(0, 0, refused), link(1, 0, 'silent')], 'm', undefined, 40)
  assert.ok(verdict.kind === 'unreachable')
  assert.ok(verdict.error instanceof SentinelError)
  assert.equal(verdict.error.code, 'SENTINELS_UNREACHABLE')
  assert.match(
    verdict.error.message,
    /no sentinel can be reached \(s0:1: connect ECONNREFUSED; s1:1: no answer\)/,
  )
  assert.ok(verdict.error.cause instanceof AggregateError)
  assert.deepEqual(verdict.error.cause.errors, [refused])
  assert.equal((await discover([], 'm', undefined, 5_000)).kind, 'unreachable')
})
