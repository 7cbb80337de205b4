import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ProtocolError } from '../../lib/errors.ts'
import { Decoder } from '../../lib/resp/index.ts'
import { decode, decodeValues, everyCut } from '../support/decode.ts'

type Code = 'PROTOCOL_ERROR' | 'PROTOCOL_LIMIT'
type Row = readonly [what: string, wire: string, message: RegExp, code?: Code]

const rows: readonly Row[] = [
  ['a line that ends with LF only', '+OK\n', /CRLF/],
  ['a line that ends with LF twice', '+OK\n\n', /CRLF/],
  ['a line with CR inside', '+O\rK\r\n', /CRLF/],
  ['an error line with LF inside', '-ERR a\nb\r\n', /CRLF/],
  ['an unknown type', '@OK\r\n', /'@'/],
  ['a command', 'PING\r\n', /'P'/],
  ['an answer of a web server', 'HTTP/1.1 400 Bad Request\r\n\r\n', /'H'/],
  ['a byte that cannot be shown', '\u0000\r\n', /0x0 /],
  ['a TLS alert', '\u0015\u0003\u0001\u0000\u0002', /0x15 /],
  ['an empty line', '\r\n', /0xd /],
  ['a bulk string without a length', '$\r\nfoobar\r\n', /length: ""/],
  ['a bulk string with a word for a length', '$x\r\nfoobar\r\n', /length: "x"/],
  ['a length with something behind it', '$6x\r\nfoobar\r\n', /length: "6x"/],
  ['a length with a sign', '$+6\r\nfoobar\r\n', /length: "\+6"/],
  ['a length with a fraction', '$6.0\r\nfoobar\r\n', /length: "6\.0"/],
  ['a length that ends with LF', '$6\nfoobar\r\n', /CRLF/],
  ['a length of -2', '$-2\r\n', /length: "-2"/],
  ['a length of -5', '$-5\r\n', /length: "-5"/],
  ['a length of -0', '$-0\r\n', /length: "-0"/],
  ['a length of 16 digits', '$1000000000000000\r\n', /length: "1000000000000000"/],
  ['a length beyond the limit', '$99999999999\r\n', /99999999999 bytes.*536870912/, 'PROTOCOL_LIMIT'],
  ['a bulk string longer than it says', '$6\r\nfoobarx\r\n', /bulk string/],
  ['a bulk string with LF where CR belongs', '$6\r\nfoobar\n\n', /bulk string/],
  ['a bulk string with a wrong last byte', '$6\r\nfoobar\rx', /bulk string/],
  ['a count of -2', '*-2\r\n', /length: "-2"/],
  ['a count that is a word', '*x\r\n', /length: "x"/],
  ['a count beyond the limit', '*4294967295\r\n', /4294967295 elements.*134217728/, 'PROTOCOL_LIMIT'],
  ['a count of pairs beyond the limit', '%134217729\r\n', /134217729 elements/, 'PROTOCOL_LIMIT'],
  ['an integer without digits', ':\r\n', /integer: ""/],
  ['an integer of a sign alone', ':-\r\n', /integer: "-"/],
  ['an integer of a plus alone', ':+\r\n', /integer: "\+"/],
  ['an integer that is a word', ':x\r\n', /integer: "x"/],
  ['an integer with two signs', ':--1\r\n', /integer: "--1"/],
  ['an integer with a sign inside', ':1-\r\n', /integer: "1-"/],
  ['an integer with a fraction', ':1.5\r\n', /integer: "1\.5"/],
  ['an integer with a blank', ': 1\r\n', /integer: " 1"/],
  ['an integer of 21 digits', ':100000000000000000000\r\n', /integer: "100000000000000000000"/],
  ['null with something in it', '_x\r\n', /null/],
  ['a boolean that is neither', '#x\r\n', /boolean/],
  ['a boolean that is both', '#tf\r\n', /boolean/],
  ['a double without digits', ',\r\n', /double: ""/],
  ['a double that is a word', ',x\r\n', /double: "x"/],
  ['a double that begins with its point', ',.5\r\n', /double: ".5"/],
  ['a double with an exponent of nothing', ',1e\r\n', /double: "1e"/],
  ['a double in the way of JavaScript', ',Infinity\r\n', /double: "Infinity"/],
  ['a double in hexadecimal', ',0x10\r\n', /double: "0x10"/],
  ['a big number with a fraction', '(1.5\r\n', /big number: "1.5"/],
  ['a big number of a sign alone', '(-\r\n', /big number: "-"/],
  ['a big number without digits', '(\r\n', /big number: ""/],
  ['a null bulk error', '!-1\r\n', /length: "-1"/],
  ['a null verbatim string', '=-1\r\n', /length: "-1"/],
  ['a verbatim string without a format', '=3\r\ntxt\r\n', /verbatim/],
  ['a verbatim string with a format of two', '=5\r\ntx:ab\r\n', /verbatim/],
  ['a null map', '%-1\r\n', /length: "-1"/],
  ['a null set', '~-1\r\n', /length: "-1"/],
  ['a null push', '>-1\r\n', /length: "-1"/],
  ['a push in an array', '*1\r\n>1\r\n+a\r\n', /'>' inside another reply/],
  ['a push in a push', '>1\r\n>1\r\n+a\r\n', /'>' inside another reply/],
  ['a push in an attribute', '|1\r\n+a\r\n>1\r\n+a\r\n', /'>' inside another reply/],
  ['a streamed push', '>?\r\n', /length: "\?"/],
  ['a streamed attribute', '|?\r\n', /length: "\?"/],
  ['a streamed verbatim string', '=?\r\n', /length: "\?"/],
  ['a streamed chunk', '$?\r\n;?\r\n', /length: "\?"/],
  ['a null chunk', '$?\r\n;-1\r\n', /length: "-1"/],
  ['a chunk outside a streamed string', ';1\r\na\r\n', /';' outside/],
  ['a chunk in a streamed array', '*?\r\n;1\r\na\r\n', /';' outside/],
  ['another type in a streamed string', '$?\r\n+a\r\n', /'\+' inside a streamed string/],
  ['an end mark in a streamed string', '$?\r\n.\r\n', /'\.' inside a streamed string/],
  ['an attribute in a streamed string', '$?\r\n|1\r\n+a\r\n+b\r\n', /'\|' inside a streamed string/],
  ['an end mark alone', '.\r\n', /'\.' where/],
  ['an end mark in a counted array', '*2\r\n:1\r\n.\r\n', /'\.' where/],
  ['an end mark in a counted array in a streamed one', '*?\r\n*2\r\n:1\r\n.\r\n', /'\.' where/],
  ['an end mark between key and value', '%?\r\n+a\r\n.\r\n', /'\.' where/],
  ['an end mark with something in it', '*?\r\n.x\r\n', /'\.' where/],
]

for (const [what, wire, message, code = 'PROTOCOL_ERROR'] of rows) {
  test(`${what} is refused, wherever the wire is cut`, () => {
    for (const pieces of everyCut(Buffer.from(wire, 'latin1'))) {
      assert.throws(() => decode(pieces), { name: 'ProtocolError', code, message })
    }
  })
}

test('a reply that is cut off is no reply, and no error either', () => {
  for (const wire of [
    '$6\r\nfoobar',
    '$6\r\nxx',
    '*2\r\n:1\r\n',
    '+OK\r',
    ':1',
    '$',
    '%1\r\n+a\r\n',
    '*?\r\n:1\r\n',
  ]) {
    const decoder = new Decoder()
    decoder.feed(Buffer.from(wire))
    assert.equal(decoder.next(), undefined, JSON.stringify(wire))
    assert.equal(decoder.next(), undefined, JSON.stringify(wire))
  }
})

test('replies before the fault are given out, and the fault stays', () => {
  const decoder = new Decoder()
  decoder.feed(Buffer.from(':1\r\n:2\r\n@\r\n:3\r\n'))
  assert.equal(decoder.next(), 1)
  assert.equal(decoder.next(), 2)
  const faults: unknown[] = []
  for (let i = 0; i < 3; i += 1) {
    try {
      decoder.next()
    } catch (error) {
      faults.push(error)
    }
    decoder.feed(Buffer.from(':4\r\n'))
  }
  assert.equal(faults.length, 3)
  assert.ok(faults[0] instanceof ProtocolError)
  assert.ok(faults.every((fault) => fault === faults[0]))
})

test('a message shows little of what arrived', () => {
  const decoder = new Decoder()
  decoder.feed(Buffer.from(`:${'secret'.repeat(100)}\r\n`))
  assert.throws(
    () => decoder.next(),
    (error: unknown) => error instanceof ProtocolError && error.message.length < 100,
  )
})

test('a line broken by CR alone is a fault at once, wherever it is cut', () => {
  const wire = Buffer.from('*2\r$3')
  for (const pieces of everyCut(wire)) assert.throws(() => decodeValues(pieces), { code: 'PROTOCOL_ERROR' })
})
