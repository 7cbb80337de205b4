// The judge on ledgers made by hand: each figure is what it says, and none can be good by accident.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Findings, judge, type Phase } from './judge.ts'
import { type CommandLog, type Fate, kindOf, type Ledger, type SocketLife } from './protocol.ts'

const COMMAND_TIMEOUT = 5_000
const MASTER = 7000

/** A write, or a read, as a test tells it; sent and settled in ms from the beginning. */
type Entry = readonly [sentAt: number, settledAt: number, fate: Fate, reply?: number]

function logOf(entries: readonly Entry[]): CommandLog {
  return {
    sentAt: entries.map(([sentAt]) => sentAt),
    settledAt: entries.map(([, settledAt]) => settledAt),
    fate: entries.map(([, , fate]) => fate),
    reply: entries.map(([, , , reply]) => reply ?? 0),
  }
}

function ledgerOf(parts: {
  readonly writes?: readonly Entry[]
  readonly reads?: readonly Entry[]
  readonly switchAt?: number
  readonly sockets?: readonly SocketLife[]
  readonly subscription?: Ledger['subscription']
}): Ledger {
  const { switchAt } = parts
  return {
    writes: logOf(parts.writes ?? []),
    reads: logOf(parts.reads ?? []),
    errors: [],
    switches:
      switchAt === undefined ? [] : [{ at: switchAt, from: `127.0.0.1:${MASTER}`, to: '127.0.0.1:7001' }],
    sockets: parts.sockets ?? [],
    unhandled: [],
    longestStallMs: 0,
    subscription: parts.subscription,
  }
}

function phaseOf(phase: Partial<Phase>): Phase {
  return {
    faultAt: 1_000,
    masterPort: MASTER,
    announcedAt: 3_000,
    isHalfOpen: false,
    cutOffUntil: undefined,
    ...phase,
  }
}

/** All that was acknowledged is there, once; `changes` by the number of the write. */
function found(writes: readonly Entry[], changes: Readonly<Record<number, string | null>> = {}): Findings {
  const isUnique = (number: number) => kindOf(number) === 'set' || kindOf(number) === 'once'
  const values = writes.map(([, , fate], number) => {
    if (!isUnique(number)) return undefined
    if (number in changes) return changes[number]
    return fate !== 'ok' ? null : kindOf(number) === 'once' ? '1' : String(number)
  })
  const counted = writes.filter(([, , fate], number) => fate === 'ok' && kindOf(number) === 'counter')
  return { values, counter: counted.length }
}

/** A write every 5 ms that takes 1 ms. */
function steady(from: number, to: number): Entry[] {
  return Array.from({ length: (to - from) / 5 }, (_, i) => [from + 5 * i, from + 5 * i + 1, 'ok'])
}

const numbersOf = (writes: readonly Entry[], kind: string, from: number) =>
  writes.flatMap(([sentAt], number) => (kindOf(number) === kind && sentAt >= from ? [number] : []))

test('an outage is the longest pause between writes that last, and recovery is told from the announcement', () => {
  const writes: Entry[] = [...steady(0, 1_000), [1_000, 2_400, 'ok'], ...steady(2_400, 5_000)]
  const { phases } = judge(
    ledgerOf({ writes, switchAt: 2_390 }),
    [phaseOf({})],
    found(writes),
    COMMAND_TIMEOUT,
  )
  assert.equal(phases.length, 1)
  assert.equal(phases[0]?.outageMs, 2_400 - 996)
  assert.equal(phases[0]?.announcedAfterMs, 2_000)
  assert.equal(phases[0]?.recoveredAfterMs, -600)
  assert.equal(phases[0]?.switchedAfterMs, -610)
  assert.equal(phases[0]?.hasRecovered, true)
})

test('writes that are acknowledged and lost end no outage', () => {
  const writes = steady(0, 5_000)
  // the old master took everything until 4 s, and nothing of that is left
  const gone = Object.fromEntries(
    ['set', 'once'].flatMap((kind) =>
      numbersOf(writes, kind, 1_000)
        .filter((number) => (writes[number]?.[0] ?? 0) < 4_000)
        .map((number) => [number, null]),
    ),
  )
  const { phases, lostInWindow, lostStale } = judge(
    ledgerOf({ writes }),
    [phaseOf({})],
    found(writes, gone),
    COMMAND_TIMEOUT,
  )
  assert.ok((phases[0]?.outageMs ?? 0) > 2_980, `${phases[0]?.outageMs}`)
  // two thirds of the time were before the announcement
  assert.equal(lostInWindow + lostStale, Object.keys(gone).length)
  assert.ok(Math.abs(lostInWindow - 2 * lostStale) <= 2, `${lostInWindow} and ${lostStale}`)
})

test('a load that never comes back has not recovered', () => {
  const writes: Entry[] = [
    ...steady(0, 1_000),
    ...Array.from({ length: 600 }, (_, i): Entry => [1_000 + 5 * i, 6_000 + 5 * i, 'not-sent']),
  ]
  const { phases, notSent } = judge(ledgerOf({ writes }), [phaseOf({})], found(writes), COMMAND_TIMEOUT)
  assert.equal(phases[0]?.hasRecovered, false)
  assert.equal(phases[0]?.recoveredAfterMs, undefined)
  assert.equal(phases[0]?.outageMs, 3_995 - 996)
  assert.equal(notSent, 600)
})

test('what is lost without an announcement, or of a client that could know, is stale', () => {
  const writes = steady(0, 2_000)
  const [number = 0] = numbersOf(writes, 'set', 1_500)
  const lost = (phase: Partial<Phase>) => {
    const figures = judge(
      ledgerOf({ writes }),
      [phaseOf(phase)],
      found(writes, { [number]: null }),
      COMMAND_TIMEOUT,
    )
    return [figures.lostInWindow, figures.lostStale]
  }
  assert.deepEqual(lost({ announcedAt: undefined }), [0, 1])
  assert.deepEqual(lost({ announcedAt: 1_400 }), [0, 1])
  assert.deepEqual(lost({ announcedAt: 1_600 }), [1, 0])
  assert.deepEqual(lost({ announcedAt: 1_200, cutOffUntil: 1_450 }), [1, 0])
  assert.deepEqual(lost({ announcedAt: 1_200, cutOffUntil: 1_300 }), [0, 1])
})

test('a key that was counted twice, and a counter beyond all that may have run, are duplicates', () => {
  const writes: Entry[] = [...steady(0, 400)]
  const [once = 0] = numbersOf(writes, 'once', 100)
  const [counter = 0] = numbersOf(writes, 'counter', 100)
  const of = (findings: Findings) => judge(ledgerOf({ writes }), [], findings, COMMAND_TIMEOUT).duplicates
  assert.equal(of(found(writes)), 0)
  assert.equal(of(found(writes, { [once]: '3' })), 2)
  assert.equal(of({ ...found(writes), counter: found(writes).counter + 1 }), 1)
  // one whose outcome is unknown may have run
  writes[counter] = [100, 101, 'unknown']
  assert.equal(of({ ...found(writes), counter: found(writes).counter + 1 }), 0)
  // but not twice
  assert.equal(of({ ...found(writes), counter: found(writes).counter + 2 }), 1)
})

test('a write that is said not to have run, and did, is denied', () => {
  const writes: Entry[] = steady(0, 400)
  const [number = 0] = numbersOf(writes, 'set', 100)
  for (const fate of ['not-sent', 'refused'] as const) {
    writes[number] = [100, 101, fate]
    assert.equal(judge(ledgerOf({ writes }), [], found(writes), COMMAND_TIMEOUT).denied, 0)
    const ran = found(writes, { [number]: String(number) })
    assert.equal(judge(ledgerOf({ writes }), [], ran, COMMAND_TIMEOUT).denied, 1)
  }
})

test('a read is as old as the first acknowledgement of a newer value that it missed', () => {
  const writes = steady(0, 4_000)
  const [first = 0, second = 0] = numbersOf(writes, 'register', 0)
  const newerAt = writes[second]?.[1] ?? 0
  const ages = (reads: readonly Entry[]) => {
    const figures = judge(ledgerOf({ writes, reads }), [], found(writes), COMMAND_TIMEOUT)
    return [figures.readsOld, figures.oldestReadMs]
  }
  assert.deepEqual(ages([[newerAt - 1, newerAt, 'ok', first]]), [0, 0])
  assert.deepEqual(ages([[newerAt + 1_000, newerAt + 1_001, 'ok', first]]), [0, 1_000])
  assert.deepEqual(ages([[newerAt + 1_001, newerAt + 1_002, 'ok', first]]), [1, 1_001])
  // sent before the value was there, however late the answer is
  assert.deepEqual(ages([[newerAt, newerAt + 3_000, 'ok', first]]), [0, 0])
  assert.deepEqual(ages([[newerAt + 2_000, newerAt + 2_001, 'unknown', first]]), [0, 0])
  // nothing there at all: older than the first value
  assert.deepEqual(ages([[3_000, 3_001, 'ok', -1]]), [1, 3_000 - (writes[first]?.[1] ?? 0)])
})

test('a read that no longer shows a value which was lost is not old', () => {
  const writes = [...steady(0, 100), ...steady(2_000, 2_100)]
  const [before = 0] = numbersOf(writes, 'register', 0)
  const lost = Object.fromEntries(
    ['set', 'once'].flatMap((kind) =>
      numbersOf(writes, kind, before * 5 + 3)
        .filter((number) => (writes[number]?.[0] ?? 0) < 2_000)
        .map((number) => [number, null]),
    ),
  )
  const reads: Entry[] = [[1_900, 1_901, 'ok', before]]
  const ledger = ledgerOf({ writes, reads })
  assert.equal(judge(ledger, [], found(writes), COMMAND_TIMEOUT).readsOld, 1)
  assert.equal(judge(ledger, [], found(writes, lost), COMMAND_TIMEOUT).readsOld, 0)
})

test('what is open in the end, or took a second more than it may, never settled', () => {
  const writes: Entry[] = [
    [0, COMMAND_TIMEOUT + 1_000, 'unknown'],
    [1, COMMAND_TIMEOUT + 1_002, 'unknown'],
    [2, 0, 'open'],
  ]
  const reads: Entry[] = [[3, 0, 'open']]
  assert.equal(judge(ledgerOf({ writes, reads }), [], found(writes), COMMAND_TIMEOUT).neverSettled, 3)
})

test('a connection older than the switch, and open a second after it, is left', () => {
  const writes: Entry[] = [...steady(0, 1_000), ...steady(2_400, 5_000)]
  const socket = (port: number, openedAt: number, closedAt: number | undefined) => ({
    port,
    openedAt,
    closedAt,
  })
  const left = (
    sockets: readonly SocketLife[],
    phase: Partial<Phase> = {},
    switchAt: number | undefined = 2_400,
  ) =>
    judge(
      ledgerOf({ writes, sockets, ...(switchAt === undefined ? {} : { switchAt }) }),
      [phaseOf(phase)],
      found(writes),
      COMMAND_TIMEOUT,
    ).phases[0]?.socketsLeft
  assert.equal(left([socket(MASTER, 0, 3_400)]), 0)
  assert.equal(left([socket(MASTER, 0, 3_401)]), 1)
  assert.equal(left([socket(MASTER, 0, undefined), socket(MASTER, 2_000, undefined)]), 2)
  // it is a replica by then, or is asked whether it is
  assert.equal(left([socket(MASTER, 2_401, undefined), socket(7001, 0, undefined)]), 0)
  const unswitched = ledgerOf({ writes, sockets: [socket(MASTER, 0, undefined)] })
  const of = (phase: Partial<Phase>) =>
    judge(unswitched, [phaseOf(phase)], found(writes), COMMAND_TIMEOUT).phases[0]?.socketsLeft
  assert.equal(of({}), 0)
  assert.equal(of({ isHalfOpen: true }), 1)
})

test('of two faults, each has its own outage', () => {
  const writes: Entry[] = [...steady(0, 1_000), ...steady(1_500, 3_000), ...steady(3_200, 5_000)]
  const phases = [
    phaseOf({ announcedAt: 1_600 }),
    phaseOf({ faultAt: 3_000, masterPort: 7001, announcedAt: 3_900 }),
  ]
  const figures = judge(ledgerOf({ writes }), phases, found(writes), COMMAND_TIMEOUT)
  assert.deepEqual(
    figures.phases.map(({ outageMs, recoveredAfterMs }) => [outageMs, recoveredAfterMs]),
    [
      [505, -99],
      [205, -699],
    ],
  )
})

test('a message that was published when all was well, and never came, is missing', () => {
  const writes: Entry[] = [...steady(0, 1_000), ...steady(2_400, 5_000)]
  const subscription = {
    publishedAt: [500, 2_450, 4_000, 4_100, 4_200],
    received: [
      { at: 501, number: 0 },
      { at: 4_101, number: 3 },
      { at: 4_201, number: 4 },
    ],
  }
  const figures = judge(ledgerOf({ writes, subscription }), [phaseOf({})], found(writes), COMMAND_TIMEOUT)
  // the second was published when the subscription had not had the time to move
  assert.deepEqual(figures.subscription, { gapMs: 4_101 - 900, missing: 1, outOfOrder: 0 })
})
