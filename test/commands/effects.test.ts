import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  connectionEffect,
  isBlocking,
  isOrdinary,
  isOrdinaryRead,
  isReadOnly,
  isStateful,
  isUndoneByReset,
  StateBit,
  stateAfter,
} from '../../lib/commands/index.ts'
import { commandRows } from '../../lib/commands/table.gen.ts'
import type { Argument } from '../../lib/resp/index.ts'

const words = (line: string) => (line === '' ? [] : line.split(' '))
const run = (...lines: string[]) => lines.reduce((state, line) => stateAfter(state, words(line)), 0)

const S = StateBit
const resetSets = S.select | S.auth | S.protocol | S.name
const resetClears =
  S.watch |
  S.multi |
  S.subscribe |
  S.shard |
  S.monitor |
  S.tracking |
  S.reply |
  S.readonly |
  S.touch |
  S.asking

test('a command sets and clears what the servers say it does', () => {
  const rows: [line: string, sets: number, clears: number][] = [
    ['WATCH a b', S.watch, 0],
    ['UNWATCH', 0, S.watch],
    ['UNWATCH a', 0, 0],
    ['MULTI', S.multi, 0],
    ['EXEC', 0, S.watch | S.multi],
    ['DISCARD', 0, S.watch | S.multi],
    ['DISCARD a', 0, 0],
    ['SUBSCRIBE c', S.subscribe, 0],
    ['PSUBSCRIBE p', S.subscribe, 0],
    ['SSUBSCRIBE c', S.shard, 0],
    ['UNSUBSCRIBE', 0, 0],
    ['PUNSUBSCRIBE p', 0, 0],
    ['SUNSUBSCRIBE', 0, 0],
    ['MONITOR', S.monitor, 0],
    ['SELECT 1', S.select, 0],
    ['AUTH p', S.auth, 0],
    ['AUTH u p', S.auth, 0],
    ['HELLO 3', S.protocol, 0],
    ['HELLO 3 AUTH u p', S.protocol | S.auth, 0],
    ['HELLO 3 auth setname p SetName n', S.protocol | S.auth | S.name, 0],
    ['HELLO 2 SETNAME auth', S.protocol | S.name, 0],
    ['CLIENT SETNAME n', S.name, 0],
    ['CLIENT TRACKING ON BCAST', S.tracking, 0],
    ['CLIENT TRACKING off', 0, S.tracking],
    ['CLIENT TRACKING OFF BCAST', S.tracking, 0],
    ['CLIENT CACHING YES', S.tracking, 0],
    ['CLIENT REPLY OFF', S.reply, 0],
    ['CLIENT REPLY SKIP', S.reply, 0],
    ['CLIENT REPLY ON', 0, S.reply],
    ['CLIENT NO-EVICT ON', S.evict, 0],
    ['CLIENT NO-EVICT OFF', 0, S.evict],
    ['CLIENT NO-TOUCH ON', S.touch, 0],
    ['CLIENT NO-TOUCH OFF', 0, S.touch],
    ['CLIENT CAPA redirect', S.capability, 0],
    ['CLIENT IMPORT-SOURCE ON', S.importing, 0],
    ['READONLY', S.readonly, 0],
    ['READWRITE', 0, S.readonly],
    ['ASKING', S.asking, 0],
    ['RESET', resetSets, resetClears],
    ['QUIT', S.closing, 0],
    ['PSYNC ? -1', S.hijacked, 0],
    ['SYNC', S.hijacked, 0],
    ['REPLCONF listening-port 1', S.hijacked, 0],
    ['SCRIPT DEBUG YES', S.hijacked, 0],
  ]
  for (const [line, sets, clears] of rows) {
    for (const spelling of [
      line,
      line.toLowerCase(),
      line.replace(/^\S+/, (name) => name[0] + name.slice(1).toLowerCase()),
    ]) {
      assert.deepEqual(connectionEffect(words(spelling)), { sets, clears }, spelling)
      assert.equal(isStateful(words(spelling)), true)
    }
    const asBytes: Argument[] = words(line).map((word) => new TextEncoder().encode(word))
    assert.deepEqual(connectionEffect(asBytes), { sets, clears }, line)
  }
})

test('a command without effect on its connection has none', () => {
  const lines = [
    '',
    'GET k',
    'SET k v',
    'BLPOP k 0',
    'PUBLISH c m',
    'HELLO',
    'CLIENT',
    'CLIENT ID',
    'CLIENT GETNAME',
    'CLIENT KILL 1:2',
    'CLIENT SETINFO LIB-NAME x',
    'CLIENT INFO',
    'CLIENT PAUSE 1',
    'SCRIPT LOAD s',
    'CLUSTER NODES',
    'NO.SUCH',
    'EVAL s 0',
    'WAIT 1 0',
  ]
  for (const line of lines) {
    assert.equal(connectionEffect(words(line)), undefined, line)
    assert.equal(isStateful(words(line)), false)
    assert.equal(stateAfter(S.watch, words(line)), S.watch)
  }
})

test('no two states share a bit, and the table of bits is frozen', () => {
  const bits = Object.values(StateBit)
  assert.equal(
    bits.reduce((sum, bit) => sum | bit, 0),
    bits.reduce((sum, bit) => sum + bit, 0),
  )
  assert.ok(bits.every((bit) => bit > 0 && (bit & (bit - 1)) === 0))
  assert.ok(Object.isFrozen(StateBit))
  assert.ok(Object.isFrozen(connectionEffect(['WATCH', 'k'])))
})

test('RESET and the handshake undo what RESET clears, and what the handshake sets', () => {
  const left = S.reply | S.evict | S.capability | S.importing | S.hijacked | S.closing
  for (const [name, bit] of Object.entries(S)) assert.equal(isUndoneByReset(bit), (bit & left) === 0, name)
  assert.equal(isUndoneByReset(0), true)
  assert.equal(isUndoneByReset((resetSets | resetClears) & ~S.reply), true)
  assert.equal(isUndoneByReset(S.select | S.evict), false)
})

test('a transaction that ends leaves no watch and no transaction', () => {
  assert.equal(run('WATCH a', 'MULTI', 'INCR a', 'EXEC'), 0)
  assert.equal(run('WATCH a', 'MULTI', 'DISCARD'), 0)
  assert.equal(run('WATCH a', 'UNWATCH'), 0)
})

test('EXEC and DISCARD outside of a transaction clear nothing', () => {
  assert.equal(run('WATCH a', 'EXEC'), S.watch)
  assert.equal(run('WATCH a', 'DISCARD'), S.watch)
})

test('what is queued in a transaction clears nothing, RESET excepted', () => {
  assert.equal(run('CLIENT TRACKING ON', 'MULTI', 'CLIENT TRACKING OFF', 'DISCARD'), S.tracking)
  assert.equal(run('WATCH a', 'MULTI', 'UNWATCH'), S.watch | S.multi)
  assert.equal(run('WATCH a', 'MULTI', 'RESET'), resetSets)
  assert.equal(run('MULTI', 'SELECT 1', 'EXEC'), S.select)
})

test('an ordinary command has no effect and never blocks, and reads by the same answer as any', () => {
  let count = 0
  for (const [name] of commandRows) {
    for (const command of [words(name), words(name.toLowerCase())]) {
      assert.equal(isOrdinaryRead(command), isOrdinary(command) ? isReadOnly(command) : undefined, name)
      if (!isOrdinary(command)) continue
      count += 1
      assert.ok(!isStateful(command) && !isBlocking(command), name)
    }
  }
  assert.ok(count > 300, `${count} spellings`)
  for (const name of ['Get', Buffer.from('GET'), 'NOSUCH', 'WATCH', 'BLPOP', 'XREAD', 'CLIENT']) {
    assert.equal(isOrdinaryRead([name, 'k']), undefined, String(name))
  }
})
