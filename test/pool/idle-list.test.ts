import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createMember, IdleList, type Member } from '../../lib/pool/idle-list.ts'
import { FakeConnection } from '../support/fake-connection.ts'

type Ring = Member<FakeConnection>

/** A list of that many members, and the members from back to front. */
function filled(count: number): { list: IdleList<FakeConnection>; members: Ring[] } {
  const list = new IdleList<FakeConnection>()
  const members = Array.from({ length: count }, () => createMember(new FakeConnection(), 0))
  for (const member of members) list.pushFront(member)
  return { list, members }
}

function assertLinked(list: IdleList<FakeConnection>, fromBack: readonly Ring[]): void {
  assert.equal(list.count, fromBack.length)
  assert.equal(list.back, fromBack[0])
  assert.equal(list.front, fromBack.at(-1))
  for (const [i, member] of fromBack.entries()) {
    assert.equal(member.older, fromBack[i - 1])
    assert.equal(member.newer, fromBack[i + 1])
  }
}

for (const count of [0, 1, 2, 3]) {
  test(`a list of ${count} keeps its count, ends and links when one is pushed`, () => {
    const { list, members } = filled(count)
    assertLinked(list, members)
    const member = createMember(new FakeConnection(), 0)
    list.pushFront(member)
    assertLinked(list, [...members, member])
  })

  test(`a list of ${count} keeps its count, ends and links when it is popped at the front until it is empty`, () => {
    const { list, members } = filled(count)
    for (let left = count; left > 0; left--) {
      const popped = list.popFront()
      assert.equal(popped, members[left - 1])
      assert.deepEqual([popped?.older, popped?.newer], [undefined, undefined])
      assertLinked(list, members.slice(0, left - 1))
    }
    assert.equal(list.popFront(), undefined)
  })

  test(`a list of ${count} keeps its count, ends and links when it is popped at the back until it is empty`, () => {
    const { list, members } = filled(count)
    for (let gone = 1; gone <= count; gone++) {
      const popped = list.popBack()
      assert.equal(popped, members[gone - 1])
      assert.deepEqual([popped?.older, popped?.newer], [undefined, undefined])
      assertLinked(list, members.slice(gone))
    }
    assert.equal(list.popBack(), undefined)
  })
}
