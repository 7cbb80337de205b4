import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ByteReader } from '../../lib/resp/bytes.ts'
import { Decoder } from '../../lib/resp/decoder.ts'
import { TextReader } from '../../lib/resp/text.ts'

const bulk = (text: string) => `$${Buffer.byteLength(text)}\r\n${text}\r\n`

test('short bytes that are kept keep at most 1 KiB alive, longer ones nothing but themselves', () => {
  const reader = new ByteReader()
  const chunk = Buffer.alloc(65_536, 'x')
  for (const length of [0, 1, 16, 255, 256]) {
    assert.ok(reader.read(chunk, 5, 5 + length).buffer.byteLength <= 1024, `${length} bytes`)
  }
  assert.equal(reader.read(chunk, 0, 257).buffer.byteLength, 257)
  assert.equal(reader.read(chunk, 0, 5000).buffer.byteLength, 5000)
})

test('bytes cut out of the same piece do not overlap, however many there are', () => {
  const reader = new ByteReader()
  const source = Buffer.from('abcdefghij')
  const cuts = Array.from({ length: 5000 }, (_, i) => reader.read(source, i % 10, 10))
  for (const [i, cut] of cuts.entries()) assert.equal(cut.toString(), 'abcdefghij'.slice(i % 10))
  cuts[0]?.fill('X')
  assert.equal(cuts[1]?.toString(), 'bcdefghij')
})

test('every string of an array is right, whatever its neighbours, its length and its place', () => {
  const texts: string[] = []
  for (let length = 0; length < 140; length += 1) texts.push('0123456789'.repeat(15).slice(0, length))
  texts.push('naïve', '東京', '\u{1f600}', 'plain again', '\x7f', '\x80', 'ÿ')
  for (let i = 0; i < 40; i += 1) texts.push(`element-${i}`)
  const wire = Buffer.from(`*${texts.length}\r\n${texts.map(bulk).join('')}`)
  for (let cut = 0; cut <= wire.length; cut += 7) {
    const decoder = new Decoder()
    decoder.feed(Buffer.from(wire.subarray(0, cut)))
    const early = decoder.next()
    decoder.feed(Buffer.from(wire.subarray(cut)))
    assert.deepEqual(early ?? decoder.next(), texts)
  }
})

test('short replies in one piece are right, ASCII and not', () => {
  const texts = Array.from({ length: 200 }, (_, i) => (i % 7 === 3 ? `ž${i}` : `v${i}`))
  const decoder = new Decoder()
  decoder.feed(Buffer.from(texts.map(bulk).join('')))
  for (const text of texts) assert.equal(decoder.next(), text)
})

test('a window is not used for bytes that have become others', () => {
  const reader = new TextReader()
  const buffer = Buffer.from('first'.padEnd(200, '.'))
  assert.equal(reader.read(buffer, 0, 5, 200, true), 'first')
  buffer.write('other')
  reader.reset()
  assert.equal(reader.read(buffer, 0, 5, 200, true), 'other')
})

test('a scalar that is kept does not keep its neighbours', () => {
  const reader = new TextReader()
  const chunk = Buffer.from('a'.repeat(1000))
  // what V8 would cut out as a reference is made by itself: the reader has no window afterwards
  assert.equal(reader.read(chunk, 0, 13, 1000, false), 'a'.repeat(13))
  chunk.fill('b')
  assert.equal(reader.read(chunk, 1, 5, 1000, true), 'bbbb')
})

test('long strings are right, ASCII and not, whole and arriving in pieces', () => {
  for (const text of [
    'x'.repeat(129),
    `${'x'.repeat(500)}é`,
    '東'.repeat(1000),
    'a'.repeat(200_000),
    'ÿ'.repeat(200_000),
  ]) {
    const wire = Buffer.from(bulk(text))
    for (const cut of [wire.length, 100, wire.length - 1]) {
      const decoder = new Decoder()
      decoder.feed(wire, cut)
      const early = decoder.next()
      decoder.feed(wire.subarray(cut))
      assert.ok((early ?? decoder.next()) === text, `${text.slice(0, 3)}… cut at ${cut}`)
    }
  }
})
