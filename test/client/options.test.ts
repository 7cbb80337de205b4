import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type ClientOptions, createClient } from '../../lib/client/index.ts'
import { type ResolvedClientOptions, resolveClientOptions } from '../../lib/client/options.ts'

type Single = ResolvedClientOptions & { readonly kind: 'single' }
type OfSentinel = ResolvedClientOptions & { readonly kind: 'sentinel' }

function single(target?: string | URL | ClientOptions): Single {
  const resolved = resolveClientOptions(target)
  assert.ok(resolved.kind === 'single')
  return resolved
}

function sentinel(target: string | URL | ClientOptions): OfSentinel {
  const resolved = resolveClientOptions(target)
  assert.ok(resolved.kind === 'sentinel')
  return resolved
}

test('without options a client is for the usual port of this machine', () => {
  assert.deepEqual(single(), {
    kind: 'single',
    address: '127.0.0.1:6379',
    readFrom: 'master',
    commandTimeout: 5_000,
    endpoint: {
      connection: { commandTimeout: 5_000 },
      pool: { maxIdle: 10, maxActive: 100, wait: true, idleTimeout: 240_000 },
      pingInterval: 1_000,
      suspectAfter: 250,
      maxHeld: 1_048_576,
      maxHeldBytes: 268_435_456,
    },
  })
  assert.deepEqual(single({}), single())
})

test('the options of one server are taken from object and URL alike', () => {
  const rows: [string | URL | ClientOptions, address: string, connection: object, readFrom?: string][] = [
    [{ host: 'h', port: 1 }, 'h:1', { host: 'h', port: 1 }],
    [{ host: '::1' }, '[::1]:6379', { host: '::1' }],
    [{ path: '/run/s' }, '/run/s', { path: '/run/s' }],
    ['redis://h', 'h:6379', { host: 'h' }],
    [new URL('redis://u:p@h:1/2'), 'h:1', { host: 'h', port: 1, username: 'u', password: 'p', database: 2 }],
    ['redis://h/?readFrom=prefer-replica', 'h:6379', { host: 'h' }, 'prefer-replica'],
    [
      'redis://h/3?readFrom=prefer-master&protocol=2',
      'h:6379',
      { host: 'h', database: 3, protocol: 2 },
      'prefer-master',
    ],
    ['redis://h/?protocol=2&readFrom=master', 'h:6379', { host: 'h', protocol: 2 }, 'master'],
    [
      'redis://h?protocol=2&readFrom=master&database=1',
      'h:6379',
      { host: 'h', protocol: 2, database: 1 },
      'master',
    ],
    [new URL('redis://h?readFrom=prefer-replica'), 'h:6379', { host: 'h' }, 'prefer-replica'],
    ['redis+unix:///run/s?readFrom=master', '/run/s', { path: '/run/s' }, 'master'],
  ]
  for (const [target, address, connection, readFrom = 'master'] of rows) {
    const resolved = single(target)
    assert.equal(resolved.address, address)
    assert.deepEqual(resolved.endpoint.connection, { ...connection, commandTimeout: 5_000 })
    assert.equal(resolved.readFrom, readFrom)
  }
})

test('a Sentinel URL has sentinels, a name, and the options of the servers', () => {
  const rows: [string | URL, sentinels: string[], connection: object, readFrom?: string][] = [
    ['redis+sentinel://h/m', ['h:26379'], {}],
    ['valkey+sentinel://h:1/m', ['h:1'], {}],
    ['redis+sentinel://a,b:2,[::1]:3/m', ['a:26379', 'b:2', '[::1]:3'], {}],
    ['redis+sentinel://h/m/2', ['h:26379'], { database: 2 }],
    ['redis+sentinel://h/m/', ['h:26379'], {}],
    ['redis+sentinel://p@h/m', ['h:26379'], { password: 'p' }],
    ['redis+sentinel://u:p@a,b/m', ['a:26379', 'b:26379'], { username: 'u', password: 'p' }],
    ['redis+sentinel://u:p%40%2F%3A%25@h/m', ['h:26379'], { username: 'u', password: 'p@/:%' }],
    // as in the URL of one server: the last @ is the one that counts
    ['redis+sentinel://u:p@ss@h/m', ['h:26379'], { username: 'u', password: 'p@ss' }],
    ['redis+sentinel://h/m?readFrom=prefer-replica', ['h:26379'], {}, 'prefer-replica'],
    [
      'redis+sentinel://h/m/1?readFrom=replica&protocol=2',
      ['h:26379'],
      { database: 1, protocol: 2 },
      'replica',
    ],
    [new URL('redis+sentinel://h:1/m'), ['h:1'], {}],
  ]
  for (const [target, sentinels, connection, readFrom = 'master'] of rows) {
    const resolved = sentinel(target)
    assert.equal(resolved.sentinel.name, 'm')
    assert.deepEqual(resolved.sentinel.sentinels, sentinels, String(target))
    assert.deepEqual(resolved.sentinel.connection, { ...connection, commandTimeout: 5_000 }, String(target))
    assert.equal(resolved.readFrom, readFrom)
    assert.equal(resolved.sentinel.readFrom, readFrom)
  }
  assert.equal(sentinel('redis+sentinel://h/my%2Dname').sentinel.name, 'my-name')
})

test('a Sentinel deployment is described by an object, too, and the object is left alone', () => {
  const options = Object.freeze({
    sentinel: Object.freeze({
      name: 'm',
      sentinels: Object.freeze(['h']),
      sentinelConnection: Object.freeze({ password: 'q' }),
      answerTimeout: 10,
      pollInterval: 100,
      onFailover: 'flow',
      adoptEarly: false,
      agreement: 'majority',
      natMap: Object.freeze({ 'a:1': 'b:2' }),
    }),
    password: 'p',
    commandTimeout: 7,
    readFrom: 'replica',
    pool: Object.freeze({ maxActive: 3 }),
    pingInterval: 0,
    suspectAfter: 250,
    maxHeld: 5,
    maxHeldBytes: 6,
  } satisfies ClientOptions)
  assert.deepEqual(sentinel(options), {
    kind: 'sentinel',
    readFrom: 'replica',
    commandTimeout: 7,
    sentinel: {
      name: 'm',
      sentinels: ['h:26379'],
      pool: { maxIdle: 10, maxActive: 3, wait: true, idleTimeout: 240_000 },
      connection: { password: 'p', commandTimeout: 7 },
      sentinelConnection: { password: 'q' },
      readFrom: 'replica',
      onFailover: 'flow',
      adoptEarly: false,
      agreement: 'majority',
      natMap: { 'a:1': 'b:2' },
      answerTimeout: 10,
      pollInterval: 100,
      holdTimeout: 10_000,
      pingInterval: 0,
      suspectAfter: 250,
      maxHeld: 5,
      maxHeldBytes: 6,
    },
  })
})

test('a wrong option is told at once, by its name', () => {
  const ofSentinel = { name: 'm', sentinels: ['h'] }
  const rows: [unknown, kind: typeof TypeError, message: RegExp][] = [
    [null, TypeError, /client options must be a URL or an object, got null/],
    [7, TypeError, /client options must be a URL or an object, got number/],
    [{ hots: 'h' }, TypeError, /unknown connection option 'hots'/],
    [{ port: 0 }, RangeError, /option port .*got 0/],
    [{ readFrom: 'slave' }, RangeError, /option readFrom must be one of .*got "slave"/],
    [{ readFrom: 'replica' }, RangeError, /option readFrom 'replica' needs a deployment with replicas/],
    [{ pingInterval: -1 }, RangeError, /option pingInterval must be from 0 to .*got -1/],
    [{ pingInterval: '1' }, TypeError, /option pingInterval must be a number, got string/],
    [{ maxHeld: 0 }, RangeError, /option maxHeld must be from 1 to .*got 0/],
    [{ maxHeldBytes: Number.NaN }, RangeError, /option maxHeldBytes .*got NaN/],
    [{ pool: { maxIdle: -1.5 } }, RangeError, /maxIdle/],
    [{ pool: { dail: 1 } }, TypeError, /dail/],
    [{ sentinel: ofSentinel, host: 'h' }, TypeError, /option host excludes option sentinel/],
    [{ sentinel: ofSentinel, port: 1 }, TypeError, /option port excludes option sentinel/],
    [{ sentinel: ofSentinel, path: '/s' }, TypeError, /option path excludes option sentinel/],
    [{ sentinel: null }, TypeError, /option name/],
    [{ sentinel: { ...ofSentinel, names: 'm' } }, TypeError, /unknown sentinel option 'names'/],
    // these belong beside option sentinel, where they count
    [
      { sentinel: { ...ofSentinel, readFrom: 'replica' } },
      TypeError,
      /option readFrom .*beside option sentinel/,
    ],
    [{ sentinel: { ...ofSentinel, pool: {} } }, TypeError, /option pool .*beside option sentinel/],
    [
      { sentinel: { ...ofSentinel, connection: {} } },
      TypeError,
      /option connection .*beside option sentinel/,
    ],
    [
      { sentinel: { ...ofSentinel, pingInterval: 1 } },
      TypeError,
      /option pingInterval .*beside option sentinel/,
    ],
    ['http://h', TypeError, /unknown URL scheme 'http:'/],
    ['redis://h/?readFrom=slave', RangeError, /option readFrom .*got "slave"/],
    ['redis://h/?readFrom=master&readFrom=master', TypeError, /unknown option 'readFrom' in the URL/],
    ['redis+sentinel://h', TypeError, /a Sentinel URL must be/],
    ['redis+sentinel:///m', TypeError, /an address must be/],
    ['redis+sentinel://h,/m', TypeError, /an address must be/],
    ['redis+sentinel://h:0/m', TypeError, /an address must be .*"h:0"/],
    ['redis+sentinel://h/m/x', TypeError, /a Sentinel URL must be/],
    ['redis+sentinel://h/m#x', TypeError, /a Sentinel URL must be/],
    ['redis+sentinel://h/m?color=red', TypeError, /unknown option 'color' in the URL/],
    ['redis+sentinel://h/%zz', TypeError, /malformed escape/],
    ['redis+sentinel://h/m?readFrom=slave', RangeError, /option readFrom/],
  ]
  for (const [options, kind, message] of rows) {
    assert.throws(
      () => createClient(options as ClientOptions),
      (error) => error instanceof kind && message.test(error.message),
      `${JSON.stringify(options)} ${message}`,
    )
  }
})

test('no error about a URL has a password in it', () => {
  const urls = [
    'http://u:secret@h',
    'redis://u:secret@h:port',
    'redis://u:secret@h/x',
    'redis://u:secret@h/?readFrom=slave',
    'redis://u:secret%zz@h/',
    'redis+sentinel://u:secret@h',
    'redis+sentinel://u:secret@h:0/m',
    'redis+sentinel://u:secret@/m',
    'redis+sentinel://u:secret@h/m/x',
    'redis+sentinel://u:secret@h/a b',
    'redis+sentinel://u:secret%zz@h/m',
    'redis+sentinel://u:secret@h/m?readFrom=slave',
    'redis+sentinel://secret@h/m?color=red',
    // not escaped as it should be
    'redis+sentinel://u:se/cret@h/m',
    'redis+sentinel://:secret/x@h',
    'redis+sentinel://u:secret?x@h/m',
    'redis+sentinel://u:secret#x@h/m',
    'redis+sentinel://h/m?secret@x',
  ]
  for (const url of urls) {
    assert.throws(
      () => resolveClientOptions(url),
      (error) => {
        assert.ok(error instanceof TypeError || error instanceof RangeError, String(error))
        assert.doesNotMatch(`${error.stack} ${JSON.stringify(error.cause)}`, /secret|cret@/, url)
        return true
      },
      url,
    )
  }
})
