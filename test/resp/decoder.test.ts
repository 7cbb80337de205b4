import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ProtocolError, ReplyError } from '../../lib/errors.ts'
import { Decoder, defaultLimits, type Reply } from '../../lib/resp/index.ts'
import { cutInto, decode, decodeValues, everyCut } from '../support/decode.ts'
import { bulk, simple } from '../support/resp-writer.ts'

/** The text of a bulk string: a string, or a `Buffer` where bytes are asked for. */
type Text = (text: string) => string | Buffer
type Row = readonly [what: string, wire: string, value: Reply | ((text: Text) => Reply)]

const resp2: readonly Row[] = [
  ['a simple string', '+OK\r\n', 'OK'],
  ['another simple string', '+PONG\r\n', 'PONG'],
  ['a simple string that begins like OK', '+OKAY\r\n', 'OKAY'],
  ['a simple string of two letters', '+NO\r\n', 'NO'],
  ['an empty simple string', '+\r\n', ''],
  ['a simple string beyond ASCII', '+h\u00e9 \u{1f600}\r\n', 'h\u00e9 \u{1f600}'],
  ['an error', '-ERR unknown command\r\n', new ReplyError('ERR unknown command')],
  ['an error of one word', '-READONLY\r\n', new ReplyError('READONLY')],
  ['an empty error', '-\r\n', new ReplyError('')],
  ['an integer', ':1\r\n', 1],
  ['a negative integer', ':-2\r\n', -2],
  ['an integer with a plus', ':+1\r\n', 1],
  ['zero', ':0\r\n', 0],
  ['minus zero, which is no integer of its own', ':-0\r\n', 0],
  ['an integer of 15 digits', ':999999999999999\r\n', 999_999_999_999_999],
  ['an integer of 16 digits', ':-1234567890123456\r\n', -1_234_567_890_123_456],
  ['the largest safe integer', ':9007199254740991\r\n', 9_007_199_254_740_991],
  ['the first integer beyond', ':9007199254740992\r\n', 9_007_199_254_740_992n],
  ['the smallest safe integer', ':-9007199254740991\r\n', -9_007_199_254_740_991],
  ['the first integer below', ':-9007199254740992\r\n', -9_007_199_254_740_992n],
  ['the largest integer of 64 bits', ':9223372036854775807\r\n', 9_223_372_036_854_775_807n],
  ['the smallest integer of 64 bits', ':-9223372036854775808\r\n', -9_223_372_036_854_775_808n],
  ['a bulk string', '$6\r\nfoobar\r\n', (b) => b('foobar')],
  ['an empty bulk string', '$0\r\n\r\n', (b) => b('')],
  ['a bulk string of CRLFs', '$6\r\n\r\n\r\n\r\n\r\n', (b) => b('\r\n\r\n\r\n')],
  ['a bulk string that looks like a reply', '$7\r\n$1\r\na\r\n\r\n', (b) => b('$1\r\na\r\n')],
  ['a bulk string beyond ASCII', '$6\r\n\u00e9\u{1f600}\r\n', (b) => b('\u00e9\u{1f600}')],
  ['a bulk string with a mark of byte order', '$4\r\n\ufeffa\r\n', (b) => b('\ufeffa')],
  ['a null bulk string', '$-1\r\n', null],
  ['an empty array', '*0\r\n', []],
  ['a null array', '*-1\r\n', null],
  [
    'an array of bulk strings',
    '*4\r\n$3\r\nfoo\r\n$3\r\nbar\r\n$5\r\nHello\r\n$5\r\nWorld\r\n',
    (b) => [b('foo'), b('bar'), b('Hello'), b('World')],
  ],
  ['an array with a null', '*3\r\n$3\r\nfoo\r\n$-1\r\n$3\r\nbar\r\n', (b) => [b('foo'), null, b('bar')]],
  [
    'an array of all types',
    '*5\r\n+a\r\n-ERR b\r\n:3\r\n*-1\r\n$1\r\ne\r\n',
    (b) => ['a', new ReplyError('ERR b'), 3, null, b('e')],
  ],
  ['nested arrays', '*2\r\n*1\r\n*0\r\n*2\r\n:1\r\n*1\r\n+a\r\n', [[[]], [1, ['a']]]],
  ['an array that ends in an empty one', '*1\r\n*1\r\n*0\r\n', [[[]]]],
]

const resp3: readonly Row[] = [
  ['null', '_\r\n', null],
  ['true', '#t\r\n', true],
  ['false', '#f\r\n', false],
  ['a double', ',1.25\r\n', 1.25],
  ['a double without a fraction', ',10\r\n', 10],
  ['a double with a bare point', ',10.\r\n', 10],
  ['a negative double', ',-0.5\r\n', -0.5],
  ['a double with a plus', ',+0.5\r\n', 0.5],
  ['minus zero', ',-0\r\n', -0],
  ['a double with an exponent', ',1e3\r\n', 1000],
  ['a double with a signed exponent', ',1.5E+300\r\n', 1.5e300],
  ['a tiny double', ',5e-324\r\n', 5e-324],
  ['a double of 17 digits', ',0.30000000000000004\r\n', 0.30000000000000004],
  ['infinity', ',inf\r\n', Number.POSITIVE_INFINITY],
  ['infinity with a plus', ',+inf\r\n', Number.POSITIVE_INFINITY],
  ['minus infinity', ',-inf\r\n', Number.NEGATIVE_INFINITY],
  ['not a number', ',nan\r\n', Number.NaN],
  ['not a number, as some C libraries print it', ',-nan\r\n', Number.NaN],
  [
    'a big number',
    '(3492890328409238509324850943850943825024385\r\n',
    3492890328409238509324850943850943825024385n,
  ],
  ['a negative big number', '(-1234567890123456789012\r\n', -1234567890123456789012n],
  ['a big number with a plus', '(+12\r\n', 12n],
  ['a bulk error', '!21\r\nSYNTAX invalid syntax\r\n', new ReplyError('SYNTAX invalid syntax')],
  ['a bulk error with CRLF in it', '!8\r\nERR a\r\nb\r\n', new ReplyError('ERR a\r\nb')],
  ['a verbatim string', '=15\r\ntxt:Some string\r\n', (b) => b('Some string')],
  ['an empty verbatim string', '=4\r\nmkd:\r\n', (b) => b('')],
  ['an empty map', '%0\r\n', new Map()],
  [
    'a map',
    '%2\r\n+first\r\n:1\r\n$6\r\nsecond\r\n*1\r\n:2\r\n',
    (b) =>
      new Map<Reply, Reply>([
        ['first', 1],
        [b('second'), [2]],
      ]),
  ],
  ['a map with null as key and value', '%1\r\n_\r\n_\r\n', new Map([[null, null]])],
  ['a map with an array as a key', '%1\r\n*1\r\n:1\r\n:2\r\n', new Map([[[1], 2]])],
  [
    'a map with the names of an object’s own machinery',
    '%3\r\n+__proto__\r\n:1\r\n+constructor\r\n:2\r\n+toString\r\n:3\r\n',
    new Map([
      ['__proto__', 1],
      ['constructor', 2],
      ['toString', 3],
    ]),
  ],
  ['a map in a map', '%1\r\n+a\r\n%1\r\n+b\r\n%0\r\n', new Map([['a', new Map([['b', new Map()]])]])],
  ['an empty set', '~0\r\n', new Set()],
  ['a set', '~3\r\n+a\r\n:1\r\n#t\r\n', new Set(['a', 1, true])],
  ['a set that repeats itself', '~3\r\n+a\r\n+a\r\n+b\r\n', new Set(['a', 'b'])],
  ['a streamed string', '$?\r\n;4\r\nHell\r\n;5\r\no wor\r\n;2\r\nld\r\n;0\r\n', (b) => b('Hello world')],
  ['an empty streamed string', '$?\r\n;0\r\n', (b) => b('')],
  [
    'a streamed string cut inside a character',
    '$?\r\n;1\r\n\u00c3\r\n;1\r\n\u00a9\r\n;0\r\n',
    (b) => b('\u00e9'),
  ],
  ['a streamed array', '*?\r\n:1\r\n$1\r\na\r\n.\r\n', (b) => [1, b('a')]],
  ['an empty streamed array', '*?\r\n.\r\n', []],
  ['a streamed set', '~?\r\n+a\r\n+b\r\n.\r\n', new Set(['a', 'b'])],
  [
    'a streamed map',
    '%?\r\n+a\r\n:1\r\n+b\r\n:2\r\n.\r\n',
    new Map<Reply, Reply>([
      ['a', 1],
      ['b', 2],
    ]),
  ],
  [
    'streams within streams',
    '*?\r\n*?\r\n:1\r\n.\r\n%?\r\n+a\r\n$?\r\n;1\r\nx\r\n;0\r\n.\r\n~?\r\n.\r\n.\r\n',
    (b) => [[1], new Map<Reply, Reply>([['a', b('x')]]), new Set()],
  ],
  ['a counted array in a streamed one', '*?\r\n*1\r\n:1\r\n.\r\n', [[1]]],
]

/** Wires are written with one character a byte where they hold bytes that are no UTF-8 on their own. */
function bytesOf(wire: string): Buffer {
  return /^\$\?\r\n;1\r\n\u00c3/.test(wire) ? Buffer.from(wire, 'latin1') : Buffer.from(wire)
}

for (const [protocol, rows] of [
  ['RESP2', resp2],
  ['RESP3', resp3],
] as const) {
  for (const [what, text, value] of rows) {
    test(`${protocol}: ${what} is read wherever the wire is cut`, () => {
      const wire = bytesOf(text)
      for (const asBytes of [false, true]) {
        const bulkText: Text = asBytes ? (it) => Buffer.from(it) : (it) => it
        const expected = typeof value === 'function' ? value(bulkText) : value
        for (const pieces of everyCut(wire)) {
          assert.deepEqual(decodeValues(pieces, { asBytes }), [expected])
        }
        // twice in one piece, and with a reply behind it
        const twice = Buffer.concat([wire, wire, simple('end')])
        assert.deepEqual(decodeValues([twice], { asBytes }), [expected, expected, 'end'])
      }
    })
  }
}

test('all rows of the table are read from one stream, whatever the size of its pieces', () => {
  const rows = [...resp2, ...resp3]
  const wire = Buffer.concat(rows.map(([, text]) => bytesOf(text)))
  const expected = rows.map(([, , value]) => (typeof value === 'function' ? value((it) => it) : value))
  for (const size of [1, 2, 3, 5, 7, 16, 61, 256, wire.length]) {
    assert.deepEqual(decodeValues(cutInto(wire, size)), expected, `pieces of ${size}`)
  }
})

test('a map keeps a field named __proto__ as a field', () => {
  const [value] = decodeValues([Buffer.from('%1\r\n$9\r\n__proto__\r\n$1\r\nx\r\n')])
  assert.ok(value instanceof Map)
  assert.equal(value.get('__proto__'), 'x')
  assert.equal(({} as Record<string, unknown>).x, undefined)
})

test('an error is a value that knows its prefix, inside an aggregate as well', () => {
  const [value] = decodeValues([Buffer.from('*2\r\n-WRONGTYPE Operation\r\n!8\r\nERR\tlong\r\n')])
  assert.ok(Array.isArray(value))
  const [wrongType, long] = value
  assert.ok(wrongType instanceof ReplyError && long instanceof ReplyError)
  assert.deepEqual([wrongType.prefix, wrongType.message], ['WRONGTYPE', 'WRONGTYPE Operation'])
  assert.deepEqual([long.prefix, long.code], ['ERR', 'REPLY_ERROR'])
})

test('a push is told from a reply, and its strings are text whatever was asked for', () => {
  const wire = Buffer.from('>2\r\n$7\r\nmessage\r\n$1\r\nx\r\n$1\r\ny\r\n>0\r\n+OK\r\n')
  for (const pieces of everyCut(wire)) {
    const decoded = decode(pieces, { asBytes: true })
    assert.deepEqual(
      decoded.map(({ value, isPush }) => [value, isPush]),
      [
        [['message', 'x'], true],
        [Buffer.from('y'), false],
        [[], true],
        ['OK', false],
      ],
    )
  }
})

test('a streamed string in a push is text', () => {
  const [decoded] = decode([Buffer.from('>1\r\n$?\r\n;1\r\na\r\n;0\r\n')], { asBytes: true })
  assert.deepEqual(decoded?.value, ['a'])
})

test('attributes come with their value, at the top and inside, and are no part of it', () => {
  const wire = Buffer.from(
    '|1\r\n+ttl\r\n:3\r\n*2\r\n:1\r\n|1\r\n+key\r\n%1\r\n+a\r\n:1\r\n:2\r\n|0\r\n+plain\r\n+next\r\n',
  )
  const expected = [
    {
      value: [1, 2],
      isPush: false,
      attributes: [new Map([['ttl', 3]]), new Map([['key', new Map([['a', 1]])]])],
    },
    { value: 'plain', isPush: false, attributes: [] },
    { value: 'next', isPush: false, attributes: [] },
  ]
  for (const pieces of everyCut(wire)) assert.deepEqual(decode(pieces), expected)
})

test('attributes stand between a key and its value, before a push and inside a stream', () => {
  const wire = Buffer.from(
    '%1\r\n+k\r\n|1\r\n+a\r\n+b\r\n+v\r\n|1\r\n+a\r\n+b\r\n>1\r\n+p\r\n*?\r\n|1\r\n+a\r\n+b\r\n:1\r\n.\r\n',
  )
  const attributes = [new Map([['a', 'b']])]
  for (const pieces of everyCut(wire)) {
    assert.deepEqual(decode(pieces), [
      { value: new Map([['k', 'v']]), isPush: false, attributes },
      { value: ['p'], isPush: true, attributes },
      { value: [1], isPush: false, attributes },
    ])
  }
})

test('bytes that are no UTF-8 become replacement characters as text and stay what they are as bytes', () => {
  const bytes = Buffer.from([0x61, 0xff, 0xc3, 0x62, 0xed, 0xa0, 0x80, 0xf0, 0x9f])
  const wire = bulk(bytes)
  for (const pieces of everyCut(wire)) {
    assert.deepEqual(decodeValues(pieces), [bytes.toString('utf8')])
    assert.deepEqual(decodeValues(pieces, { asBytes: true }), [bytes])
  }
  assert.deepEqual(
    decodeValues([Buffer.concat([Buffer.from('+a'), Buffer.from([0xff]), Buffer.from('\r\n')])]),
    ['a\ufffd'],
  )
})

test('simple strings survive the edges of every usual buffer', () => {
  const lengths = [
    ...Array.from({ length: 64 }, (_, i) => i),
    ...Array.from({ length: 128 }, (_, i) => 4032 + i),
    ...Array.from({ length: 128 }, (_, i) => 8128 + i),
  ]
  const texts = lengths.map((length) => 'abcdefghij'.repeat(Math.ceil(length / 10)).slice(0, length))
  const wire = Buffer.concat(texts.map(simple))
  for (const size of [wire.length, 4096, 4095, 64, 8191]) {
    assert.deepEqual(decodeValues(cutInto(wire, size)), texts)
  }
  const bulks = Buffer.concat(texts.map(bulk))
  for (const size of [bulks.length, 4096, 4095, 64, 8191]) {
    assert.deepEqual(decodeValues(cutInto(bulks, size)), texts)
  }
})

test('a large string that comes in pieces is put together, as text and as bytes', () => {
  const bytes = Buffer.alloc(3 * 1024 * 1024 + 17)
  for (let i = 0; i < bytes.length; i += 1) bytes[i] = 0x20 + ((i * 7) % 90)
  const wire = Buffer.concat([bulk(bytes), simple('end')])
  for (const size of [64 * 1024, 1024 * 1024, 1024 * 1024 + 8]) {
    const pieces = cutInto(wire, size)
    const [asBytes, end] = decodeValues(pieces, { asBytes: true })
    assert.ok(Buffer.isBuffer(asBytes) && asBytes.equals(bytes))
    assert.equal(end, 'end')
    assert.equal(decodeValues(pieces)[0], bytes.toString('latin1'))
  }
})

test('what was asked for when a reply began holds for all of it', () => {
  const decoder = new Decoder()
  decoder.feed(Buffer.from('*2\r\n$1\r\na\r\n$1\r\n'))
  assert.equal(decoder.next(true), undefined)
  decoder.feed(Buffer.from('b\r\n$1\r\nc\r\n'))
  assert.deepEqual(decoder.next(false), [Buffer.from('a'), Buffer.from('b')])
  assert.equal(decoder.next(false), 'c')
})

test('maps and sets are arrays where that is asked for, in their order and at any depth; pushes are as ever', () => {
  const wire = Buffer.from(
    '%2\r\n$1\r\na\r\n:1\r\n$1\r\nb\r\n~2\r\n:2\r\n%1\r\n+c\r\n%0\r\n~0\r\n%0\r\n' +
      '>2\r\n+p\r\n%1\r\n+a\r\n:1\r\n*1\r\n~1\r\n:3\r\n|1\r\n+ttl\r\n:3\r\n+x\r\n',
  )
  const values = ['a', 1, 'b', [2, ['c', []]]]
  for (const pieces of everyCut(wire)) {
    const decoded = decode(pieces, { isFlat: true })
    assert.deepEqual(
      decoded.map(({ value }) => value),
      [values, [], [], ['p', new Map([['a', 1]])], [[3]], 'x'],
    )
    assert.deepEqual(decoded[5]?.attributes, [new Map([['ttl', 3]])])
  }
  assert.throws(
    () => decode([Buffer.from('%3\r\n')], { isFlat: true, limits: { ...defaultLimits, maxItems: 2 } }),
    ProtocolError,
  )
})

test('bytes handed out are the caller’s own', () => {
  const wire = Buffer.from('*3\r\n$3\r\nabc\r\n$0\r\n\r\n=7\r\ntxt:abc\r\n')
  const decoder = new Decoder()
  decoder.feed(wire)
  const value = decoder.next(true)
  wire.fill(0)
  assert.deepEqual(value, [Buffer.from('abc'), Buffer.alloc(0), Buffer.from('abc')])
})

test('pieces may be fed one after the other before the first question', () => {
  const decoder = new Decoder()
  decoder.feed(Buffer.from('$3\r\na'))
  decoder.feed(Buffer.from('bc\r\n'))
  decoder.feed(Buffer.alloc(0))
  assert.equal(decoder.heldBytes, 9)
  assert.equal(decoder.next(), 'abc')
  assert.equal(decoder.heldBytes, 0)
  assert.equal(decoder.next(), undefined)
})

test('only the given length of a piece is read', () => {
  const decoder = new Decoder()
  decoder.feed(Buffer.from(':-+OK\r\n'), 2)
  assert.equal(decoder.next(), undefined)
  assert.equal(decoder.heldBytes, 2)
  decoder.feed(Buffer.from('12\r\n+OK\r\n'), 4)
  assert.equal(decoder.next(), -12)
  assert.equal(decoder.next(), undefined)
})
