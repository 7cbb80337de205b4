// Between bytes and values nothing of the user's runs: no setter that something put on Object.prototype, no method of
// an argument, no field that the wire names. What runs there could see other callers' data, or find a parser that is
// halfway through a reply.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Argument, checkCommand, Decoder, Encoder, type Reply } from '../../lib/resp/index.ts'
import { corpus } from '../fuzz/corpus.ts'
import { showValue } from '../support/differential.ts'

/** Names that the codec, or an error, might assign or look up; and what attackers name. */
const NAMES = [
  ...['value', 'key', 'kind', 'items', 'bytes', 'remaining', 'filled', 'room', 'size', 'list', 'map'],
  ...[
    'at',
    'end',
    'buffer',
    'cause',
    'code',
    'message',
    'prefix',
    'mayHaveExecuted',
    'error',
    'type',
    'limits',
  ],
  ...[
    'done',
    'next',
    'return',
    'resolve',
    'index',
    'input',
    'groups',
    'name',
    'stack',
    'a',
    'k',
    'first',
    'x',
  ],
]

/** Runs it while every one of the names is an accessor on Object.prototype; tells which were used. */
function withTraps(run: () => void): string[] {
  const touched: string[] = []
  const added = NAMES.filter((name) => !Object.hasOwn(Object.prototype, name))
  for (const name of added) {
    // a descriptor of its own, which inherits none of them
    const trap = {
      __proto__: null,
      configurable: true,
      get: () => undefined,
      set: () => void touched.push(name),
    }
    Object.defineProperty(Object.prototype, name, trap as PropertyDescriptor)
  }
  try {
    run()
  } finally {
    for (const name of added) Reflect.deleteProperty(Object.prototype, name)
  }
  return touched
}

function decodeAll(wire: Buffer, cut: number): (Reply | Error)[] {
  const values: (Reply | Error)[] = []
  const decoder = new Decoder()
  try {
    for (const piece of [wire.subarray(0, cut), wire.subarray(cut)]) {
      decoder.feed(piece)
      for (let value = decoder.next(); value !== undefined; value = decoder.next()) values.push(value)
    }
  } catch (error) {
    values.push(error as Error)
  }
  return values
}

test('decoding runs no setter of Object.prototype, whatever arrives and however it ends', () => {
  for (const wire of corpus) {
    for (const cut of [0, 1, wire.length >> 1, wire.length - 1]) {
      const plain = decodeAll(wire, cut)
      let trapped: (Reply | Error)[] = []
      const touched = withTraps(() => {
        trapped = decodeAll(wire, cut)
      })
      assert.deepEqual(touched, [], wire.toString('latin1'))
      assert.deepEqual(trapped.map(shown), plain.map(shown))
    }
  }
})

const shown = (it: Reply | Error) => (it instanceof Error ? it.message : showValue(it))

test('a field named __proto__ is a field, in maps, in attributes and in their keys', () => {
  const proto = '$9\r\n__proto__\r\n'
  const wire = Buffer.from(
    `|1\r\n${proto}%1\r\n${proto}:1\r\n%2\r\n${proto}%1\r\n${proto}:2\r\n+constructor\r\n+x\r\n`,
  )
  const decoder = new Decoder()
  decoder.feed(wire)
  const value = decoder.next()
  const [about] = decoder.attributes
  assert.ok(value instanceof Map && about instanceof Map)
  assert.deepEqual([...value.keys()], ['__proto__', 'constructor'])
  assert.deepEqual([...about.keys()], ['__proto__'])
  assert.equal(Object.getPrototypeOf(value), Map.prototype)
  assert.equal(Object.getPrototypeOf({}), Object.prototype)
  assert.deepEqual(Object.keys(Object.prototype), [])
})

test('encoding calls nothing of an argument', () => {
  const calls: string[] = []
  const traps = (name: string) => () => {
    calls.push(name)
    return 'hacked'
  }
  const methods = [
    'toString',
    'valueOf',
    'toJSON',
    'subarray',
    'slice',
    'copy',
    'set',
    'at',
    'forEach',
    'toLocaleString',
  ]
  const bytes = Object.assign(
    new Uint8Array([104, 105]),
    Object.fromEntries(methods.map((it) => [it, traps(it)])),
    {
      [Symbol.toPrimitive]: traps('toPrimitive'),
      [Symbol.iterator]: traps('iterator'),
    },
  )
  const encoder = new Encoder()
  encoder.append(['SET', bytes, 1, 2n, 'x'])
  assert.equal(
    Buffer.concat(encoder.take()).toString(),
    '*5\r\n$3\r\nSET\r\n$2\r\nhi\r\n$1\r\n1\r\n$1\r\n2\r\n$1\r\nx\r\n',
  )
  const liars: unknown[] = [
    { toString: traps('toString'), length: 2 },
    { [Symbol.toPrimitive]: traps('toPrimitive'), valueOf: traps('valueOf') },
    new Proxy(new Uint8Array([1]), {}),
    Object.create(Uint8Array.prototype),
    new String('text'),
    new Number(1),
  ]
  for (const liar of liars) {
    for (const refuse of [
      () => checkCommand(['SET', liar as Argument]),
      () => encoder.append(['SET', liar as Argument]),
    ]) {
      assert.throws(refuse, { name: 'TypeError', message: /argument 1/ })
    }
  }
  assert.deepEqual(calls, [])
})
