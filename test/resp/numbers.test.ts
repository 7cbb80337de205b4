import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { parseBigNumber, parseDouble, parseInteger } from '../../lib/resp/numbers.ts'

test('every integer of 64 bits keeps every digit', () => {
  fc.assert(
    fc.property(fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }), (value) => {
      const read = parseInteger(String(value))
      assert.equal(BigInt(read), value)
      assert.equal(typeof read, Number.isSafeInteger(Number(value)) ? 'number' : 'bigint')
    }),
  )
})

test('zero is zero, whatever its sign and however it is written', () => {
  for (const text of ['0', '-0', '+0', '-0000000000000000']) assert.ok(Object.is(parseInteger(text), 0), text)
})

test('every double is read back', () => {
  fc.assert(
    fc.property(fc.double({ noNaN: true, noDefaultInfinity: true }), (value) => {
      const text = Object.is(value, -0) ? '-0' : String(value)
      assert.ok(Object.is(parseDouble(text), value))
    }),
  )
})

test('every big number keeps every digit', () => {
  fc.assert(
    fc.property(fc.bigInt(), (value) => {
      assert.equal(parseBigNumber(String(value)), value)
      if (value >= 0n) assert.equal(parseBigNumber(`+${value}`), value)
    }),
  )
})

test('what is no number is refused as the kind it is not', () => {
  assert.throws(() => parseInteger('1e3'), { code: 'PROTOCOL_ERROR', message: 'malformed integer: "1e3"' })
  assert.throws(() => parseDouble('1,5'), { code: 'PROTOCOL_ERROR', message: 'malformed double: "1,5"' })
  assert.throws(() => parseBigNumber('0x1'), {
    code: 'PROTOCOL_ERROR',
    message: 'malformed big number: "0x1"',
  })
})
