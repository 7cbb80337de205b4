// Who of several takes the next read.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Balance } from '../../lib/sentinel/replica-balance.ts'

interface TestMember {
  name: string
  endpoint: { load: number; isConnected: boolean }
  freshAt: number
  weight: number
  credit: number
  turn: number
}

function member(name: string, others: Partial<TestMember> = {}): TestMember {
  return {
    name,
    endpoint: { load: 0, isConnected: true },
    freshAt: 0,
    weight: 1,
    credit: 0,
    turn: 0,
    ...others,
  }
}

const ANY = Number.NEGATIVE_INFINITY

function shares(balance: Balance<TestMember>, picks: number, notBefore = ANY): Record<string, number> {
  const counts: Record<string, number> = {}
  for (let i = 0; i < picks; i += 1) {
    const name = balance.pick(notBefore)?.name ?? 'nobody'
    counts[name] = (counts[name] ?? 0) + 1
  }
  return counts
}

function of(...members: TestMember[]): Balance<TestMember> {
  const balance = new Balance<TestMember>()
  balance.set(members)
  return balance
}

test('the one with the least under way takes it; those with the same take turns, whoever is busy between them', () => {
  const busy = member('busy', { endpoint: { load: 5, isConnected: true } })
  assert.deepEqual(shares(of(member('a'), busy, member('b')), 10), { a: 5, b: 5 })
  assert.deepEqual(shares(of(busy), 2), { busy: 2 })
  assert.deepEqual(shares(of(), 1), { nobody: 1 })
})

test('who is not connected or not fresh enough is left out', () => {
  const off = member('off', { endpoint: { load: 0, isConnected: false }, freshAt: 100 })
  const balance = of(off, member('old', { freshAt: 10 }), member('new', { freshAt: 20 }))
  assert.deepEqual(shares(balance, 4), { old: 2, new: 2 })
  assert.deepEqual(shares(balance, 4, 15), { new: 4 })
  assert.deepEqual(shares(balance, 1, 21), { nobody: 1 })
})

test('a newcomer takes the part of its turns that its weight is, and all when there is nobody else', () => {
  const newcomer = member('newcomer', { weight: 0.1 })
  const counts = shares(of(member('a'), newcomer), 1_000)
  assert.ok((counts.newcomer ?? 0) >= 90 && (counts.newcomer ?? 0) <= 110, JSON.stringify(counts))
  assert.deepEqual(shares(of(member('newcomer', { weight: 0.1 })), 5), { newcomer: 5 })
  // under load, too: though it has nothing under way, it is not flooded
  const loaded = member('loaded', { endpoint: { load: 50, isConnected: true } })
  const underLoad = shares(of(loaded, member('newcomer', { weight: 0.2 })), 1_000)
  assert.ok((underLoad.newcomer ?? 0) >= 190 && (underLoad.newcomer ?? 0) <= 210, JSON.stringify(underLoad))
})

test('a newcomer that is passed over for its load does not catch up on it later', () => {
  const newcomer = member('newcomer', { weight: 0.5, endpoint: { load: 9, isConnected: true } })
  const balance = of(member('a'), newcomer)
  shares(balance, 1_000)
  newcomer.endpoint.load = 0
  assert.ok((shares(balance, 10).newcomer ?? 0) <= 6)
})
