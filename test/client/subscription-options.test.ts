// What a subscription may be told.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { checkChannels, resolveSubscriptionOptions } from '../../lib/client/subscription-options.ts'

const listener = () => undefined

test('what is not said has its default', () => {
  const defaults = {
    replies: 'string',
    readFrom: 'master',
    timeout: 5_000,
    signal: undefined,
    onGap: undefined,
    onError: undefined,
    limit: 10_000,
    limitBytes: 64 * 1024 * 1024,
    overflow: 'drop-oldest',
  }
  assert.deepEqual(resolveSubscriptionOptions('listener', {}, 5_000), defaults)
  const undefineds = { limit: undefined, overflow: undefined, timeout: undefined, replies: undefined }
  assert.deepEqual(resolveSubscriptionOptions('iterator', undefineds, 5_000), defaults)
})

test('a wrong option is told by its name, its value and its range', () => {
  const rows: [form: 'listener' | 'iterator', unknown, kind: typeof TypeError, message: RegExp][] = [
    ['listener', null, TypeError, /subscription options must be an object/],
    ['listener', 'buffer', TypeError, /subscription options must be an object/],
    ['listener', { limit: 1 }, TypeError, /unknown subscription option 'limit'/],
    ['listener', { overflow: 'close' }, TypeError, /unknown subscription option 'overflow'/],
    ['iterator', { onError: listener }, TypeError, /unknown subscription option 'onError'/],
    ['iterator', { ongap: listener }, TypeError, /unknown subscription option 'ongap'/],
    [
      'listener',
      { replies: 'bytes' },
      RangeError,
      /option replies must be 'string' or 'buffer', got "bytes"/,
    ],
    ['listener', { readFrom: 'slave' }, RangeError, /option readFrom must be one of/],
    ['listener', { signal: {} }, TypeError, /option signal must be an AbortSignal/],
    ['listener', { timeout: -1 }, RangeError, /option timeout must be from 0 to 2147483647, got -1/],
    ['listener', { timeout: '1' }, TypeError, /option timeout must be a number, got string/],
    ['listener', { onGap: null }, TypeError, /option onGap must be a function, got null/],
    ['listener', { onError: 'warn' }, TypeError, /option onError must be a function, got string/],
    ['iterator', { limit: 0 }, RangeError, /option limit must be from 1 to 2147483647, got 0/],
    ['iterator', { limit: Number.NaN }, RangeError, /option limit must be .*got NaN/],
    ['iterator', { limitBytes: 0 }, RangeError, /option limitBytes must be from 1/],
    [
      'iterator',
      { overflow: 'drop' },
      RangeError,
      /option overflow must be one of drop-oldest, .*got "drop"/,
    ],
    ['iterator', { overflow: null }, RangeError, /option overflow must be one of .*got null/],
  ]
  for (const [form, options, kind, message] of rows) {
    assert.throws(
      () => resolveSubscriptionOptions(form, options as object, 5_000),
      (error) => error instanceof kind && message.test(error.message),
      `${JSON.stringify(options)} ${message}`,
    )
  }
})

test('channels are strings, each counts once, and there is at least one', () => {
  assert.deepEqual(checkChannels('a'), ['a'])
  assert.deepEqual(checkChannels(['b', 'a', 'b', '', '😀']), ['b', 'a', '', '😀'])
  const rows: [unknown, kind: typeof TypeError, message: RegExp][] = [
    [[], RangeError, /at least one channel/],
    [undefined, TypeError, /a channel must be a string, got undefined/],
    [['a', 1], TypeError, /a channel must be a string, got number/],
    [Buffer.from('a'), TypeError, /a channel must be a string, got object/],
    ['\ud83d', TypeError, /half a surrogate pair/],
  ]
  for (const [channels, kind, message] of rows) {
    assert.throws(
      () => checkChannels(channels),
      (error) => error instanceof kind && message.test(error.message),
    )
  }
})
