import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ReplyError } from '../../lib/errors.ts'
import { Decoder, type DecoderLimits, defaultLimits } from '../../lib/resp/index.ts'
import { cutInto, decodeValues, everyCut } from '../support/decode.ts'
import {
  array,
  attribute,
  bulk,
  integer,
  map,
  set,
  simple,
  streamedArray,
  streamedMap,
  streamedSet,
  streamedString,
} from '../support/resp-writer.ts'

const small: DecoderLimits = { maxBulkBytes: 10, maxItems: 3, maxDepth: 4, maxLineBytes: 20 }
const one = integer(1)
const pair = (n: number): [Buffer, Buffer] => [integer(n), one]

test('what is just within a limit is read', () => {
  for (const wire of [
    bulk('0123456789'),
    streamedString('01234', '56789'),
    array(one, one, one),
    set(one, one, one),
    map(pair(1), pair(2), pair(3)),
    streamedArray(one, one, one),
    streamedSet(integer(1), integer(2), integer(3)),
    streamedMap(pair(1), pair(2), pair(3)),
    array(array(array(array()))),
    array(array(array(array(one)))),
    simple('0123456789'),
    Buffer.from('-ERR 456789\r\n'),
    integer(10 ** 15),
  ]) {
    for (const pieces of everyCut(wire)) {
      assert.equal(decodeValues(pieces, { limits: small }).length, 1, wire.toString())
    }
  }
})

const beyond: readonly [what: string, wire: Buffer, message: RegExp][] = [
  ['a bulk string', bulk('0123456789a'), /11 bytes, the limit maxBulkBytes is 10$/],
  ['a bulk error', Buffer.from('!11\r\n'), /11 bytes, the limit maxBulkBytes is 10$/],
  ['a verbatim string', Buffer.from('=11\r\n'), /11 bytes, the limit maxBulkBytes is 10$/],
  ['a chunk', Buffer.from('$?\r\n;11\r\n'), /11 bytes, the limit maxBulkBytes is 10$/],
  ['a streamed string', streamedString('012345', '67890'), /11 bytes, the limit maxBulkBytes is 10$/],
  ['an array', Buffer.from('*4\r\n'), /4 elements, the limit maxItems is 3$/],
  ['a map', Buffer.from('%4\r\n'), /4 elements, the limit maxItems is 3$/],
  ['a set', Buffer.from('~4\r\n'), /4 elements, the limit maxItems is 3$/],
  ['a push', Buffer.from('>4\r\n'), /4 elements, the limit maxItems is 3$/],
  ['an attribute', Buffer.from('|4\r\n'), /4 elements, the limit maxItems is 3$/],
  ['a streamed array', streamedArray(one, one, one, one), /4 elements, the limit maxItems is 3$/],
  ['a streamed set', streamedSet(...[1, 2, 3, 4].map(integer)), /4 elements, the limit maxItems is 3$/],
  ['a streamed map', streamedMap(...[1, 2, 3, 4].map(pair)), /4 elements, the limit maxItems is 3$/],
  [
    'the attributes of one reply',
    Buffer.concat([1, 2, 3, 4].map((n) => attribute(pair(n)))),
    /4 attributes, the limit maxItems is 3$/,
  ],
  ['nesting', array(array(array(array(array(one))))), /nested 5 deep, the limit maxDepth is 4$/],
  ['nesting of maps', map([one, map([one, map([one, map([one, map(pair(1))])])])]), /nested 5 deep/],
  ['a streamed string as one more level', array(array(array(array(streamedString('a'))))), /nested 5 deep/],
  ['a simple string', simple('x'.repeat(11)), /more than 10 bytes, the limit maxBulkBytes is 10$/],
  ['a simple string that does not end', Buffer.from(`+${'x'.repeat(11)}`), /more than 10 bytes/],
  ['an error', Buffer.from(`-${'x'.repeat(11)}\r\n`), /more than 10 bytes/],
  [
    'an endless number',
    Buffer.from(`:${'1'.repeat(21)}`),
    /more than 20 bytes, the limit maxLineBytes is 20$/,
  ],
  ['an endless length', Buffer.from(`$${'1'.repeat(21)}`), /more than 20 bytes/],
]

for (const [what, wire, message] of beyond) {
  test(`${what} beyond its limit is refused with the numbers, wherever the wire is cut`, () => {
    for (const pieces of everyCut(wire)) {
      assert.throws(() => decodeValues(pieces, { limits: small }), {
        name: 'ProtocolError',
        code: 'PROTOCOL_LIMIT',
        message,
      })
    }
  })
}

test('a wire that opens aggregates without end is refused, at any length', () => {
  for (const depth of [129, 10_000, 1_000_000]) {
    for (const opening of ['*1\r\n', '*?\r\n', '%1\r\n+k\r\n', '~1\r\n', '|1\r\n+k\r\n']) {
      const wire = Buffer.from(opening.repeat(depth))
      assert.throws(() => decodeValues(cutInto(wire, 65_536)), {
        code: 'PROTOCOL_LIMIT',
        message: /nested 129 deep, the limit maxDepth is 128/,
      })
    }
  }
})

test('a larger maxDepth is a matter of memory, not of the stack', () => {
  const depth = 1_000_000
  const limits = { ...defaultLimits, maxDepth: depth }
  const wire = Buffer.from(`${'*1\r\n'.repeat(depth)}:7\r\n`)
  let [value] = decodeValues(cutInto(wire, 65_536), { limits })
  for (let i = 0; i < depth; i += 1) {
    assert.ok(Array.isArray(value))
    value = value[0]
  }
  assert.equal(value, 7)
})

test('an announcement costs no memory until the bytes come', () => {
  const before = process.memoryUsage().arrayBuffers
  const decoders = Array.from({ length: 8 }, () => {
    const decoder = new Decoder()
    decoder.feed(Buffer.from('*134217728\r\n$536870912\r\nabc'))
    assert.equal(decoder.next(), undefined)
    return decoder
  })
  const grown = process.memoryUsage().arrayBuffers - before
  assert.ok(grown < 8 * 2 * 1024 * 1024, `${grown} bytes for eight announcements of 512 MiB`)
  assert.deepEqual(
    decoders.map((decoder) => decoder.heldBytes),
    Array.from({ length: 8 }, () => 3),
  )
})

test('the memory of a string that is arriving follows what has arrived', () => {
  const decoder = new Decoder()
  const before = process.memoryUsage()
  decoder.feed(Buffer.from('$536870912\r\n'))
  const piece = Buffer.alloc(65_536)
  for (let arrived = 0; arrived < 8 * 1024 * 1024; arrived += piece.length) {
    assert.equal(decoder.next(), undefined)
    assert.equal(decoder.heldBytes, arrived)
    decoder.feed(piece)
  }
  const after = process.memoryUsage()
  const reserved = after.arrayBuffers - before.arrayBuffers
  assert.ok(reserved < 66 * 1024 * 1024, `${reserved} bytes of address space for 8 MiB`)
  const resident = after.rss - before.rss
  assert.ok(resident < 40 * 1024 * 1024, `${resident} bytes of memory for 8 MiB`)
})

test('a reply that the process cannot hold is a protocol error like others', (t) => {
  // What a string of 512 MiB and a set of 2^24 elements do, without the memory for them.
  t.mock.method(Buffer.prototype as Buffer & { utf8Slice(): string }, 'utf8Slice', () => {
    throw new RangeError('Cannot create a string longer than 0x1fffffe8 characters')
  })
  const decoder = new Decoder()
  decoder.feed(Buffer.from('$6\r\nfoobar\r\n'))
  assert.throws(
    () => decoder.next(),
    (error: Error & { code?: string }) =>
      error.code === 'PROTOCOL_LIMIT' &&
      error.cause instanceof RangeError &&
      /0x1fffffe8/.test(error.message),
  )
})

test('the limits by default are those of the documentation', () => {
  assert.deepEqual(defaultLimits, {
    maxBulkBytes: 536_870_912,
    maxItems: 134_217_728,
    maxDepth: 128,
    maxLineBytes: 65_536,
  })
  assert.ok(Object.isFrozen(defaultLimits))
})

test('lines of strings are as long as any string, and cost their bytes once however they are cut', () => {
  const text = 'é'.repeat(2 * 1024 * 1024)
  for (const [type, piece] of [
    ['+', 65_536],
    ['-', 65_536],
    ['+', 1000],
  ] as const) {
    const wire = Buffer.from(`${type}${text}\r\n:1\r\n`)
    const before = process.cpuUsage().user
    const [value, behind] = decodeValues(cutInto(wire, piece))
    assert.equal(value instanceof ReplyError ? value.message : value, text)
    assert.equal(behind, 1)
    // 4 MiB; copied again for each piece it would be gigabytes
    assert.ok(process.cpuUsage().user - before < 2_000_000)
  }
})
