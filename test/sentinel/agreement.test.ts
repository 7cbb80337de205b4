import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Belief, believed } from '../../lib/sentinel/agreement.ts'
import type { Answer } from '../../lib/sentinel/questions.ts'

// what sentinels say, one word each: `a@1` = master a, epoch 1; `a@?` = it may not be asked for the epoch; `~a@1` = in
// TILT; `x:a@1` = the sentinel whose run id is x; `-` = it does not know the name
type Row = [why: string, says: string, belief: string, total: number, expected: string]

function answerOf(word: string, index: number): Answer {
  const [, tilt, runId, master, epoch] = /^(~?)(?:(\w+):)?(?:(\w+)@(\d+|\?)|-)$/.exec(word) ?? []
  return {
    sentinel: `s${index}:1`,
    runId,
    master,
    epoch: epoch === '?' ? undefined : Number(epoch ?? 0),
    isTilted: tilt === '~',
    isFailingOver: false,
    sentinelCount: 1,
    replicas: [],
    sentinels: [],
    forbidden: [],
  }
}

// `a@1`, `a@1!` when it was adopted early, '' = nothing is known yet
function beliefOf(text: string): Belief | undefined {
  const [, master, epoch, provisional] = /^(\w+)@(\d+)(!?)$/.exec(text) ?? []
  return master === undefined
    ? undefined
    : { master, epoch: Number(epoch), isProvisional: provisional === '!' }
}

function check(rows: readonly Row[], agreement: 'highest-epoch' | 'majority'): void {
  for (const [why, says, belief, total, expected] of rows) {
    const answers = says.split(' ').filter(Boolean).map(answerOf)
    const best = believed(answers, beliefOf(belief), { agreement, sentinelCount: total })
    const said = typeof best === 'object' ? `${best.master}@${best.epoch ?? '?'}` : String(best)
    assert.equal(said, expected, why)
  }
}

test('the highest epoch is believed; among equals the most votes; old news only from a majority', () => {
  check(
    [
      ['nobody answered', '', '', 3, 'undefined'],
      ['nobody knows the name', '-', '', 3, 'undefined'],
      ['one knows it', '- a@0', '', 3, 'a@0'],
      ['the higher epoch against two votes', 'a@1 a@1 b@2', '', 3, 'b@2'],
      ['equal epochs: votes decide', 'b@1 a@1 a@1', '', 3, 'a@1'],
      ['equal epochs and votes: what we believe', 'b@1 a@1', 'a@1', 2, 'a@1'],
      ['equal epochs and votes, the other way', 'b@1 a@1', 'b@1', 2, 'b@1'],
      ['the same as we believe', 'a@3', 'a@3', 3, 'a@3'],
      ['a newer epoch of one', 'a@3 b@4 a@3', 'a@3', 3, 'b@4'],
      ['an older epoch of one', 'b@2', 'a@3', 3, 'stale'],
      ['an older epoch of one half', 'b@2 b@2', 'a@3', 4, 'stale'],
      ['an older epoch of a majority: set up anew', 'b@0 b@0', 'a@3', 3, 'b@0'],
      ['a majority for older epochs, but not for one', 'b@0 c@0', 'a@3', 3, 'stale'],
      ['a majority for one address, not for one epoch', 'b@1 b@0', 'a@3', 3, 'stale'],
      ['the same epoch, another address, of one', 'b@3', 'a@3', 3, 'stale'],
      ['the same epoch, another address, of a majority: set up anew', 'b@3 b@3', 'a@3', 3, 'b@3'],
      ['adopted early: what all still say is old', 'b@0 b@0', 'a@1!', 2, 'stale'],
      ['adopted early, and announced', 'b@0 a@5', 'a@1!', 2, 'a@5'],
      ['adopted early, but another one is announced', 'c@5', 'a@1!', 2, 'c@5'],
      ['adopted early under an epoch that another one has', 'c@1', 'a@1!', 2, 'c@1'],
      ['nobody knows the name that we have a master for', '-', 'a@3', 1, 'undefined'],
    ],
    'highest-epoch',
  )
})

test('one in TILT has no voice while others have', () => {
  check(
    [
      ['newer, and in TILT', 'a@1 ~b@2', 'a@1', 3, 'a@1'],
      ['nothing known yet', '~b@2 a@1', '', 3, 'a@1'],
      ['one that does not know the name is no other', '~b@2 -', 'a@1', 3, 'b@2'],
      ['all of them', '~b@2 ~b@2', 'a@1', 3, 'b@2'],
      ['no majority with it', '~b@0 b@0', 'a@1', 3, 'stale'],
    ],
    'highest-epoch',
  )
})

test('a sentinel that is reached by two addresses has one voice', () => {
  check(
    [
      ['two addresses, one majority', 'x:b@0 x:b@0', 'a@1', 3, 'stale'],
      ['two sentinels', 'x:b@0 y:b@0', 'a@1', 3, 'b@0'],
      ['votes among equals', 'x:b@1 x:b@1 y:a@1 z:a@1', '', 3, 'a@1'],
    ],
    'highest-epoch',
  )
})

test('without epochs a change needs a majority; a voice without one counts for those that have one', () => {
  check(
    [
      ['nothing known yet', 'a@?', '', 3, 'a@?'],
      ['nothing known yet, votes', 'a@? b@? b@?', '', 3, 'b@?'],
      ['as we believe', 'a@?', 'a@3', 3, 'a@?'],
      ['one says otherwise', 'b@?', 'a@3', 3, 'stale'],
      ['one says otherwise, one does not', 'b@? a@?', 'a@3', 2, 'a@?'],
      ['a majority says otherwise', 'b@? a@? b@?', 'a@3', 3, 'b@?'],
      ['adopted early: what a majority still says is old', 'b@? b@? a@?', 'a@4!', 3, 'stale'],
      ['adopted early, and announced', 'b@? a@? a@?', 'a@4!', 3, 'a@?'],
      ['an epoch against two without', 'b@? b@? a@4', 'b@3', 3, 'a@4'],
      ['two without make one of an older epoch a majority', 'b@? b@1', 'a@3', 3, 'b@1'],
    ],
    'highest-epoch',
  )
})

test('where a majority is demanded, nothing less changes the master', () => {
  check(
    [
      ['nobody knows the name', '- -', '', 3, 'undefined'],
      ['one of three', 'a@1', '', 3, 'undecided'],
      ['two of three', 'a@1 a@1', '', 3, 'a@1'],
      ['two of four', 'a@1 a@1', '', 4, 'undecided'],
      ['two of three, not of one epoch', 'a@1 a@2', '', 3, 'undecided'],
      ['a newer epoch of one', 'b@2 a@1 a@1', 'a@1', 3, 'a@1'],
      ['a newer epoch of two', 'b@2 b@2 a@1', 'a@1', 3, 'b@2'],
      ['a newer epoch of one, and nobody else there', 'b@2', 'a@1', 3, 'undecided'],
      ['what we have needs no majority to stay', 'a@1', 'a@1', 3, 'a@1'],
      ['adopted early, and announced by one', 'a@2 b@1', 'a@2!', 3, 'undecided'],
      ['adopted early, and announced by two', 'a@2 a@2 b@1', 'a@2!', 3, 'a@2'],
      ['adopted early: what two still say is old', 'a@2 b@1 b@1', 'a@2!', 3, 'stale'],
      ['an older epoch of a majority: set up anew', 'b@0 b@0', 'a@3', 3, 'b@0'],
      ['in TILT, no voice is left for a majority', '~a@1 a@1', '', 3, 'undecided'],
      ['without epochs, two of three', 'b@? b@? a@?', 'a@1', 3, 'b@?'],
      ['without epochs, one of three', 'b@?', 'a@1', 3, 'undecided'],
    ],
    'majority',
  )
})
