import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type NatMap, translator } from '../../lib/sentinel/nat-map.ts'

test('without a map, and without an entry, an address stays what it is', () => {
  assert.equal(translator(undefined)('10.0.0.1:6379', 'master'), '10.0.0.1:6379')
  const translate = translator({ '10.0.0.2:6379': 'h:1' })
  assert.equal(translate('10.0.0.1:6379', 'master'), '10.0.0.1:6379')
  assert.equal(translator(() => undefined)('10.0.0.1:6379', 'replica'), '10.0.0.1:6379')
  // names that every object has are no entries
  assert.equal(translate('toString:1', 'master'), 'toString:1')
})

test('a map gives addresses in either form, for addresses in either form', () => {
  const translate = translator({
    '10.0.0.1:6379': '203.0.113.7:16379',
    'db:6379': { host: '::1', port: 7 },
    ' [::1]:1': ' h:2',
  })
  assert.equal(translate('10.0.0.1:6379', 'master'), '203.0.113.7:16379')
  assert.equal(translate('db:6379', 'replica'), '[::1]:7')
  assert.equal(translate('[::1]:1', 'sentinel'), 'h:2')
})

test('a function is told the address and what it is of', () => {
  const asked: string[] = []
  const translate = translator((address, what) => {
    asked.push(`${what} ${address}`)
    return what === 'sentinel' ? { host: 's', port: 1 } : 'h:2'
  })
  assert.equal(translate('10.0.0.1:6379', 'master'), 'h:2')
  assert.equal(translate('[::1]:26379', 'sentinel'), 's:1')
  assert.deepEqual(asked, ['master 10.0.0.1:6379', 'sentinel [::1]:26379'])
})

test('a function that throws, or gives no address, is named with the address that it was asked for', () => {
  const rows: [() => unknown, RegExp][] = [
    [() => null, /option natMap must give 'host:port' or { host, port } for a:1, got null/],
    [() => 7, /for a:1, got number/],
    [() => '', /for a:1, got ""/],
    [() => 'h', /for a:1, got "h"/],
    [() => 'h:0', /for a:1, got "h:0"/],
    [() => ({ host: 'h' }), /got an object without them/],
    [() => ({ host: 7n, port: 1 }), /got an object without them/],
    [() => [], /got an object without them/],
    [async () => 'h:1', /got a promise/],
    [
      () => {
        throw new Error('no such host')
      },
      /option natMap threw for replica a:1: no such host/,
    ],
    [
      () => {
        throw 'a text'
      },
      /option natMap threw for replica a:1: a text/,
    ],
  ]
  for (const [natMap, message] of rows) {
    assert.throws(() => translator(natMap as NatMap)('a:1', 'replica'), { message })
  }
})
