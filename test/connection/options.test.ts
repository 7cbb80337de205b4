import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  type ConnectionOptions,
  formatAddress,
  resolveConnectionOptions,
} from '../../lib/connection/index.ts'

test('without options it is the local server, with the documented bounds', () => {
  assert.deepEqual(resolveConnectionOptions(), {
    host: '127.0.0.1',
    port: 6379,
    database: 0,
    protocol: 3,
    connectTimeout: 5000,
    commandTimeout: 5000,
    maxPending: 1_048_576,
    maxPendingBytes: 268_435_456,
  })
})

test('what is given is kept, what is undefined is not given, and the result is frozen', () => {
  const onPush = () => undefined
  const given: ConnectionOptions = {
    host: 'db',
    port: undefined,
    tls: { servername: 'db' },
    clientName: 'web',
    protocol: 2,
    commandTimeout: 0,
    onPush,
  }
  const before = structuredClone({ ...given, onPush: undefined })
  const resolved = resolveConnectionOptions(given)
  assert.equal(resolved.host, 'db')
  assert.equal(resolved.port, 6379)
  assert.deepEqual(resolved.tls, { servername: 'db' })
  assert.equal(resolved.commandTimeout, 0)
  assert.equal(resolved.onPush, onPush)
  assert.ok(Object.isFrozen(resolved))
  assert.deepEqual({ ...given, onPush: undefined }, before)
})

test('overrides win over a URL and over an object, where they are given', () => {
  const overrides = { port: 7000, password: 'other', database: undefined }
  const expected = { host: 'db', port: 7000, password: 'other', database: 2 }
  for (const target of [
    'redis://:secret@db:6379/2',
    new URL('redis://:secret@db:6379/2'),
    { host: 'db', port: 6379, password: 'secret', database: 2 },
  ]) {
    const { host, port, password, database } = resolveConnectionOptions(target, overrides)
    assert.deepEqual({ host, port, password, database }, expected)
  }
})

const wrong: readonly (readonly [options: unknown, name: 'TypeError' | 'RangeError', message: RegExp])[] = [
  [null, 'TypeError', /a URL or an object, got null/],
  [6379, 'TypeError', /a URL or an object, got 6379/],
  [{ prot: 3 }, 'TypeError', /unknown connection option 'prot'/],
  [{ host: 5 }, 'TypeError', /option host must be a string, got number/],
  [{ host: '' }, 'TypeError', /option host must match/],
  [{ host: 'a b' }, 'TypeError', /option host must match/],
  [{ path: 'a\0b' }, 'TypeError', /option path must match/],
  [{ path: '' }, 'TypeError', /option path must match/],
  [{ port: '6379' }, 'TypeError', /option port must be a number, got string/],
  [{ port: 0 }, 'RangeError', /option port must be an integer from 1 to 65535, got 0/],
  [{ port: 65_536 }, 'RangeError', /from 1 to 65535, got 65536/],
  [{ port: 1.5 }, 'RangeError', /from 1 to 65535, got 1.5/],
  [{ database: -1 }, 'RangeError', /option database must be an integer from 0 to 2147483647, got -1/],
  [{ protocol: 4 }, 'RangeError', /option protocol must be 2 or 3, got 4/],
  [{ protocol: '3' }, 'RangeError', /option protocol must be 2 or 3/],
  [
    { connectTimeout: -1 },
    'RangeError',
    /option connectTimeout must be from 0 to 2147483647 milliseconds, got -1/,
  ],
  [{ connectTimeout: Number.POSITIVE_INFINITY }, 'RangeError', /option connectTimeout/],
  [{ commandTimeout: Number.NaN }, 'RangeError', /option commandTimeout/],
  [{ commandTimeout: '5s' }, 'TypeError', /option commandTimeout must be a number, got string/],
  [{ maxPending: 0 }, 'RangeError', /option maxPending must be an integer from 1/],
  [{ maxPendingBytes: 0 }, 'RangeError', /option maxPendingBytes must be an integer from 1/],
  [{ clientName: 'a b' }, 'TypeError', /option clientName must match/],
  [{ clientName: 'a\n' }, 'TypeError', /option clientName must match/],
  [{ username: 'me' }, 'TypeError', /option username needs a password/],
  [{ username: 5, password: 'x' }, 'TypeError', /option username must be a string, got number/],
  [{ password: 5 }, 'TypeError', /option password must be a string, got number/],
  [{ password: 'hunter2', credentials: () => undefined }, 'TypeError', /option credentials excludes/],
  [
    { credentials: { password: 'hunter2' } },
    'TypeError',
    /option credentials must be a function, got object/,
  ],
  [{ onPush: 'hunter2' }, 'TypeError', /option onPush must be a function, got string/],
  [{ lookup: 'hunter2' }, 'TypeError', /option lookup must be a function, got string/],
  [{ signal: {} }, 'TypeError', /option signal must be an AbortSignal/],
  [{ tls: 'hunter2' }, 'TypeError', /option tls must be a boolean, an object or a function/],
  [{ tls: null }, 'TypeError', /option tls must be a boolean, an object or a function/],
]

for (const [options, name, message] of wrong) {
  test(`options ${JSON.stringify(options)} are refused by name, without a value that may be secret`, () => {
    assert.throws(
      () => resolveConnectionOptions(options as ConnectionOptions),
      (error: Error) => {
        assert.equal(error.name, name)
        assert.match(error.message, message)
        assert.doesNotMatch(error.message, /hunter2/)
        return true
      },
    )
  })
}

test('an address is host and port, a path, or an address of version 6 in brackets', () => {
  assert.equal(formatAddress({ host: 'db', port: 1 }), 'db:1')
  assert.equal(formatAddress({ host: '::1', port: 1 }), '[::1]:1')
  assert.equal(formatAddress({ host: 'db', port: 1, path: '/run/redis.sock' }), '/run/redis.sock')
})
