import assert from 'node:assert/strict'
import { test } from 'node:test'
import { STREAMED } from '../../lib/resp/frame.ts'
import { Nesting, OPENED } from '../../lib/resp/nesting.ts'
import { Byte, defaultLimits } from '../../lib/resp/types.ts'

test('the last value of the innermost aggregate makes all those whole that it was the last of', () => {
  const nesting = new Nesting(defaultLimits)
  assert.equal(nesting.begin(Byte.array, 2, false), OPENED)
  assert.equal(nesting.place('a'), OPENED)
  assert.equal(nesting.begin(Byte.map, 1, false), OPENED)
  assert.equal(nesting.place('key'), OPENED)
  assert.equal(nesting.begin(Byte.set, 1, false), OPENED)
  assert.deepEqual(nesting.place('b'), ['a', new Map([['key', new Set(['b'])]])])
  assert.equal(nesting.innermost, undefined)
})

test('an empty aggregate is whole at once, in the form that is asked for', () => {
  const nesting = new Nesting(defaultLimits)
  assert.deepEqual(nesting.begin(Byte.map, 0, false), new Map())
  assert.deepEqual(nesting.begin(Byte.set, 0, false), new Set())
  for (const kind of [Byte.map, Byte.set, Byte.array]) assert.deepEqual(nesting.begin(kind, 0, true), [])
  assert.equal(nesting.begin(Byte.attribute, 0, true), OPENED)
  assert.equal(nesting.innermost, undefined)
})

test('attributes are kept beside the values, until they are forgotten', () => {
  const nesting = new Nesting(defaultLimits)
  nesting.begin(Byte.array, 1, false)
  nesting.begin(Byte.attribute, 1, false)
  nesting.place('ttl')
  assert.equal(nesting.place(1), OPENED)
  assert.deepEqual(nesting.place('value'), ['value'])
  assert.deepEqual(nesting.attributes, [new Map([['ttl', 1]])])
  nesting.forgetAttributes()
  assert.deepEqual(nesting.attributes, [])
})

test('only a streamed aggregate ends by its end, and not between a key and its value', () => {
  const nesting = new Nesting(defaultLimits)
  assert.equal(nesting.endStream(), undefined)
  nesting.begin(Byte.array, 1, false)
  assert.equal(nesting.endStream(), undefined)
  nesting.begin(Byte.map, STREAMED, true)
  nesting.place('key')
  assert.equal(nesting.endStream(), undefined)
  nesting.place('value')
  assert.deepEqual(nesting.endStream(), new Map([['key', 'value']]))
})

test('more aggregates, elements or bytes of a streamed string than the limits allow are refused', () => {
  const limits = { ...defaultLimits, maxDepth: 1, maxItems: 2, maxBulkBytes: 3 }
  const isLimit = { code: 'PROTOCOL_LIMIT' }
  assert.throws(() => new Nesting(limits).begin(Byte.array, 3, false), isLimit)
  const streamed = new Nesting(limits)
  streamed.begin(Byte.array, STREAMED, false)
  assert.throws(() => streamed.begin(Byte.array, 1, false), isLimit)
  for (const value of ['a', 'b']) assert.equal(streamed.place(value), OPENED)
  assert.throws(() => streamed.place('c'), isLimit)
  const string = new Nesting(limits)
  string.begin(Byte.bulk, STREAMED, false)
  assert.equal(string.addChunk(Buffer.from('abc')), OPENED)
  assert.throws(() => string.addChunk(Buffer.from('d')), isLimit)
})
