// What typed commands make of replies, where no real server says it when asked; the rest is in
// test/integration/typed-commands.test.ts.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parseClientList, parseInfo } from '../../lib/client/index.ts'
import { methods } from '../../lib/client/methods.ts'
import { ReplyError } from '../../lib/errors.ts'
import type { Argument, Reply } from '../../lib/resp/index.ts'

/** The value of a command, given its reply. */
function shaped(command: readonly Argument[], reply: Reply, asBytes = false): unknown {
  const method = methods.find(({ words }) => words.every((word, at) => command[at] === word))
  assert.ok(method)
  const shape = method.shaper?.(command, asBytes)
  return shape === undefined ? reply : shape(reply)
}

test('doubles that no JSON has are numbers, too', () => {
  for (const [text, value] of [
    ['inf', Number.POSITIVE_INFINITY],
    ['-inf', Number.NEGATIVE_INFINITY],
    ['nan', Number.NaN],
    ['1e-300', 1e-300],
    ['-0', -0],
  ] as const) {
    assert.equal(shaped(['ZSCORE', 'z', 'a'], text), value)
    assert.equal(shaped(['ZSCORE', 'z', 'a'], Buffer.from(text)), value)
    assert.equal(shaped(['ZSCORE', 'z', 'a'], value), value)
  }
})

test('null and errors inside of a reply are passed on', () => {
  const error = new ReplyError('ERR no')
  for (const command of [
    ['HGETALL', 'h'],
    ['SMEMBERS', 's'],
    ['ZRANGE', 'z', 0, -1, 'WITHSCORES'],
    ['XREAD', 'STREAMS', 's', 0],
    ['XINFO STREAM', 's'].flatMap((word) => word.split(' ')),
    ['GEOPOS', 'g', 'a'],
    ['ZPOPMIN', 'z'],
    ['XPENDING', 's', 'g'],
    ['XAUTOCLAIM', 's', 'g', 'c', 0, 0],
    ['MEMORY', 'STATS'],
    ['COMMAND', 'DOCS'],
  ]) {
    assert.equal(shaped(command, null), null, command.join(' '))
    assert.equal(shaped(command, error), error, command.join(' '))
  }
  assert.deepEqual(shaped(['COMMAND', 'INFO', 'x'], [null, error]), [null, error])
  assert.deepEqual(shaped(['XRANGE', 's', '-', '+'], [error, null]), [error, null])
})

test('a hash of bytes is pairs, however few; text is an object, whatever its fields are called', () => {
  const bytes = [Buffer.from([0xff]), Buffer.from([0xfe])] as const
  assert.deepEqual(shaped(['HGETALL', 'h'], new Map([bytes]), true), [bytes])
  assert.deepEqual(shaped(['HGETALL', 'h'], [...bytes], true), [bytes])
  assert.deepEqual(shaped(['HGETALL', 'h'], new Map(), true), [])
  assert.deepEqual(shaped(['HGETALL', 'h'], []), Object.create(null))
  const value = shaped(['HGETALL', 'h'], ['__proto__', '1', 'hasOwnProperty', '2'])
  assert.equal(Object.getPrototypeOf(value), null)
  assert.deepEqual(Object.entries(value as object), [
    ['__proto__', '1'],
    ['hasOwnProperty', '2'],
  ])
})

test('a server’s field that is called like a member of objects has no shape of ours', () => {
  const value = shaped(['XINFO', 'STREAM', 's'], new Map([['constructor', 1]])) as Record<string, unknown>
  assert.deepEqual(Object.entries(value), [['constructor', 1]])
})

test('words that change the reply are found in small letters and as bytes, and keys are no such words', () => {
  const [flat, pairs] = [['a', '1'], [['a', 1]]] as const
  assert.deepEqual(shaped(['ZRANGE', 'z', 0, -1, 'withscores'], [...flat]), pairs)
  assert.deepEqual(shaped(['ZRANGE', 'z', 0, -1, Buffer.from('WITHSCORES')], [...flat]), pairs)
  assert.deepEqual(shaped(['ZRANGE', 'WITHSCORES', 0, -1], [...flat]), flat)
  assert.deepEqual(shaped(['ZUNION', 1, 'WITHSCORES'], [...flat]), flat)
  assert.deepEqual(shaped(['ZUNION', '1', 'WITHSCORES', 'WITHSCORES'], [...flat]), pairs)
  assert.deepEqual(shaped(['VSIM', 'v', 'ELE', 'WITHSCORES'], [...flat]), flat)
  assert.deepEqual(shaped(['VSIM', 'v', 'values', 1, 5, 'WITHSCORES'], [...flat]), pairs)
  assert.deepEqual(shaped(['HSCAN', 'h', 0, 'MATCH', 'NOVALUES'], ['0', [...flat]]), ['0', [flat]])
})

test('a cursor is text among bytes', () => {
  const page = [Buffer.from('17'), [Buffer.from('k')]]
  assert.deepEqual(shaped(['SCAN', 0], page, true), ['17', [Buffer.from('k')]])
})

test('parseInfo() gives the fields of all sections', () => {
  const info = parseInfo(
    '# Server\r\nredis_version:8.0.2\r\nexecutable:/a:b\r\n\r\n# Keyspace\r\ndb0:keys=1,expires=0\r\n',
  )
  assert.equal(Object.getPrototypeOf(info), null)
  assert.deepEqual({ ...info }, { redis_version: '8.0.2', executable: '/a:b', db0: 'keys=1,expires=0' })
  assert.deepEqual({ ...parseInfo('') }, {})
  assert.deepEqual(Object.keys(parseInfo('__proto__:x')), ['__proto__'])
})

test('parseClientList() gives each client its fields', () => {
  const list = parseClientList(
    'id=3 addr=/run/a b:0 name= lib-name=a=b\nid=4 addr=127.0.0.1:5 name=x lib-name=\n',
  )
  assert.deepEqual(
    list.map((it) => ({ ...it })),
    [
      { id: '3', addr: '/run/a b:0', name: '', 'lib-name': 'a=b' },
      { id: '4', addr: '127.0.0.1:5', name: 'x', 'lib-name': '' },
    ],
  )
  assert.deepEqual(parseClientList(''), [])
})

test('what is no text is told at once: a reply of bytes, a promise that was not awaited', () => {
  for (const [value, what] of [
    [Buffer.from('a:1'), 'an object (Buffer)'],
    [Promise.resolve('a:1'), 'an object (Promise)'],
    [null, 'null'],
    [undefined, 'undefined'],
  ] as const) {
    for (const parse of [parseInfo, parseClientList]) {
      assert.throws(() => parse(value as never), {
        name: 'TypeError',
        message: `${parse.name}() takes the text of a reply, got ${what}`,
      })
    }
  }
})
