import assert from 'node:assert/strict'
import { test } from 'node:test'
import { scanRequest } from '../../lib/client/scan-options.ts'

test('a request is its command, with the cursor at its place', () => {
  const bytes = Buffer.from('x*')
  const keys = scanRequest('SCAN', undefined, { match: bytes, count: 5, type: 'hash' })
  bytes.fill('y')
  assert.deepEqual(keys.command('7'), ['SCAN', '7', 'MATCH', Buffer.from('x*'), 'COUNT', 5, 'TYPE', 'hash'])
  assert.equal(keys.restarts, false)
  const fields = scanRequest('HSCAN', 'k', { onSwitch: 'restart' })
  assert.deepEqual(fields.command('0'), ['HSCAN', 'k', '0'])
  assert.equal(fields.restarts, true)
  assert.deepEqual(scanRequest('HSCAN', 'k', { values: false }).command('0'), ['HSCAN', 'k', '0', 'NOVALUES'])
  assert.deepEqual(scanRequest('HSCAN', 'k', { values: true }).command('0'), ['HSCAN', 'k', '0'])
  const undefineds = { match: undefined, count: undefined, onSwitch: undefined }
  assert.deepEqual(scanRequest('SSCAN', 5, undefineds).command('0'), ['SSCAN', 5, '0'])
})

test('a wrong option is told by its name, its value and its range', () => {
  const rows: [options: unknown, kind: typeof TypeError | typeof RangeError, message: RegExp][] = [
    [null, TypeError, /^scan options must be an object, got null$/],
    ['x*', TypeError, /^scan options must be an object, got string$/],
    [{ pattern: 'x*' }, TypeError, /^unknown scan option 'pattern'$/],
    [{ type: 'hash' }, TypeError, /^unknown scan option 'type'$/],
    [{ match: /x/ }, TypeError, /^option match must be a string or a Uint8Array, got object$/],
    [{ match: null }, TypeError, /^option match must be a string or a Uint8Array, got null$/],
    [{ values: 'no' }, TypeError, /^option values must be a boolean, got string$/],
    [{ count: '10' }, TypeError, /^option count must be a number, got string$/],
    [{ count: 0 }, RangeError, /^option count must be an integer of 1 or more, got 0$/],
    [{ count: 1.5 }, RangeError, /got 1.5$/],
    [{ count: Number.POSITIVE_INFINITY }, RangeError, /got Infinity$/],
    [{ onSwitch: 'resume' }, RangeError, /^option onSwitch must be 'error' or 'restart', got "resume"$/],
  ]
  for (const [options, kind, message] of rows) {
    assert.throws(
      () => scanRequest('HSCAN', 'k', options as object),
      (error) => error instanceof kind && message.test(error.message),
      String(message),
    )
  }
  assert.throws(() => scanRequest('SCAN', undefined, { type: 1 } as never), /option type must be a string/)
  assert.throws(() => scanRequest('ZSCAN', 'k', { values: false } as never), /unknown scan option 'values'/)
  for (const key of [undefined, null, {}, true]) {
    assert.throws(() => scanRequest('HSCAN', key as never, {}), TypeError, String(key))
  }
})
