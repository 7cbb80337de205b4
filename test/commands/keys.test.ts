import assert from 'node:assert/strict'
import { test } from 'node:test'
import { keysOf } from '../../lib/commands/index.ts'
import type { Argument } from '../../lib/resp/index.ts'

const rows: [line: string, keys: string][] = [
  ['GET k', 'k'],
  ['get', ''],
  ['PING', ''],
  ['MSET a 1 b 2', 'a b'],
  ['MGET a b c', 'a b c'],
  ['DEL a b', 'a b'],
  ['BLPOP a b 0', 'a b'],
  ['COPY a b', 'a b'],
  ['SMOVE a b m', 'a b'],
  ['OBJECT ENCODING k', 'k'],
  ['XINFO STREAM s', 's'],
  ['XGROUP CREATE s g 0', 's'],
  ['MEMORY USAGE k', 'k'],
  ['BITOP AND d a b', 'd a b'],
  ['EVAL s 2 a b x', 'a b'],
  ['EVAL s 0 x', ''],
  ['EVAL s 5 a b', ''],
  ['EVAL s x a b', ''],
  ['FCALL f 1 a x', 'a'],
  ['ZUNION 2 a b WEIGHTS 1 2', 'a b'],
  ['ZUNIONSTORE d 2 a b WEIGHTS 1 2', 'd a b'],
  ['ZMPOP 2 a b MIN', 'a b'],
  ['BLMPOP 0 2 a b LEFT', 'a b'],
  ['MSETEX 2 a 1 b 2 EX 5', 'a b'],
  ['XREAD COUNT 2 STREAMS a b 0 0', 'a b'],
  ['XREAD COUNT 2 streams a b 0', 'a'],
  ['XREADGROUP GROUP streams c STREAMS a >', 'a'],
  ['SORT k BY w_* GET p_* STORE d', 'k d'],
  ['SORT k GET STORE LIMIT 0 STORE', 'k'],
  ['SORT k STORE a store b', 'k b'],
  ['SORT_RO k GET p_*', 'k'],
  ['GEORADIUS k 1 2 3 m STORE d', 'k d'],
  ['GEORADIUS k 1 2 3 m STORE d STOREDIST e', 'k d e'],
  ['GEORADIUSBYMEMBER k m 3 km STOREDIST d', 'k d'],
  ['GEOSEARCHSTORE d s FROMMEMBER m', 'd s'],
  ['MIGRATE h 1 k 0 10 COPY', 'k'],
  ['SSUBSCRIBE a b', 'a b'],
  ['SPUBLISH a m', 'a'],
  ['SUBSCRIBE a', ''],
  ['CLIENT SETNAME x', ''],
]

test('the keys of a command are found among its arguments', () => {
  for (const [line, keys] of rows) assert.equal(keysOf(line.split(' '))?.join(' '), keys, line)
})

test('the keys that MIGRATE names in place of its empty one are found behind its options', () => {
  const command = ['MIGRATE', 'h', 1, '', 0, 10, 'AUTH2', 'KEYS', 'x', 'keys', 'a', 'b']
  assert.deepEqual(keysOf(command), ['a', 'b'])
  assert.deepEqual(keysOf(['MIGRATE', 'h', 1, '', 0, 10]), [])
})

test('keys are handed out as they were given', () => {
  const key = new Uint8Array([0xff, 0])
  const command: Argument[] = ['DEL', key, 7, 8n]
  const keys = keysOf(command)
  assert.equal(keys?.[0], key)
  assert.deepEqual(keys, [key, 7, 8n])
  assert.deepEqual(keysOf(['EVAL', 's', 1, key]), [key])
})

test('where nobody can tell the keys, there is no answer in place of an empty one', () => {
  for (const line of ['JSON.GET k', 'NO.SUCH', 'STRALGO LCS KEYS a b']) {
    assert.equal(keysOf(line.split(' ')), undefined, line)
  }
  assert.equal(keysOf([]), undefined)
})
