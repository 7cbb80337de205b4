import assert from 'node:assert/strict'
import { test } from 'node:test'
import { inspect } from 'node:util'
import {
  type Address,
  normalizeAddress,
  resolveSentinelOptions,
  type SentinelOptions,
} from '../../lib/sentinel/index.ts'

const good = { name: 'm', sentinels: ['127.0.0.1:26379'] }

test('what is not said has its default, and the result is frozen', () => {
  const resolved = resolveSentinelOptions(good)
  assert.deepEqual(resolved, {
    name: 'm',
    sentinels: ['127.0.0.1:26379'],
    pool: {},
    connection: { commandTimeout: 5_000 },
    sentinelConnection: {},
    readFrom: 'prefer-replica',
    maxStaleness: 0,
    masterFallback: 1_000,
    onFailover: 'hold',
    adoptEarly: true,
    agreement: 'highest-epoch',
    natMap: undefined,
    answerTimeout: 300,
    pollInterval: 10_000,
    holdTimeout: 10_000,
    pingInterval: 1_000,
    suspectAfter: 250,
    maxHeld: 1_048_576,
    maxHeldBytes: 268_435_456,
  })
  assert.ok([resolved, resolved.sentinels, resolved.pool, resolved.connection].every(Object.isFrozen))
})

test('what is said is taken over, and the caller keeps its objects', () => {
  const options = Object.freeze({
    ...good,
    name: 'a.b-c_9',
    sentinels: Object.freeze([{ host: 'one' }, 'two', 'three:1', '[::1]:2', { host: '::1', port: 3 }]),
    pool: Object.freeze({ maxIdle: 1 }),
    connection: Object.freeze({ password: 'p', commandTimeout: 0 }),
    sentinelConnection: Object.freeze({ password: 'q' }),
    readFrom: 'replica',
    maxStaleness: 10,
    masterFallback: 0,
    onFailover: 'flow',
    adoptEarly: false,
    agreement: 'majority',
    natMap: Object.freeze({ '10.0.0.1:6379': 'h:1' }),
    answerTimeout: 1,
    pollInterval: 10,
    holdTimeout: 0,
    pingInterval: 0,
    suspectAfter: 250,
    maxHeld: 1,
    maxHeldBytes: 1,
  } satisfies SentinelOptions)
  assert.deepEqual(resolveSentinelOptions(options), {
    ...options,
    sentinels: ['one:26379', 'two:26379', 'three:1', '[::1]:2', '[::1]:3'],
  })
})

test('an address is host and port, however it is written', () => {
  const rows: [Address, string][] = [
    ['h:1', 'h:1'],
    ['h', 'h:9'],
    [' h :1', 'h:1'],
    ['[::1]', '[::1]:9'],
    ['[::1]:2', '[::1]:2'],
    [{ host: 'h' }, 'h:9'],
    [{ host: 'h', port: 65_535 }, 'h:65535'],
    [{ host: '::1', port: 2 }, '[::1]:2'],
    [{ host: '[::1]', port: 2 }, '[::1]:2'],
  ]
  for (const [address, expected] of rows) assert.equal(normalizeAddress(address, 9), expected)
  const bad: unknown[] = [
    '',
    ':1',
    'h:',
    'h:0',
    'h:65536',
    'h:x',
    'h:-1',
    'h:1.5',
    '::1', // which part is the port?
    'a b:1',
    { host: '' },
    { host: 'h', port: 0 },
    { host: 'h', port: 1.5 },
    { port: 1 },
    {},
    null,
    undefined,
    7,
  ]
  for (const address of bad) {
    assert.throws(
      () => normalizeAddress(address as Address, 9),
      (error) =>
        error instanceof TypeError && /an address must be 'host:port' or .*, got/.test(error.message),
      JSON.stringify(address),
    )
  }
})

test('a wrong option is told by its name, with the value and what was expected', () => {
  const rows: [options: object | null, kind: typeof TypeError, message: RegExp][] = [
    [null, TypeError, /sentinel options must be an object/],
    [{ ...good, color: 'red' }, TypeError, /unknown sentinel option 'color'/],
    [{ sentinels: good.sentinels }, TypeError, /option name must be the master's name .*got undefined/],
    [{ ...good, name: '' }, TypeError, /option name .*got ""/],
    [{ ...good, name: 'a b' }, TypeError, /option name .*got "a b"/],
    [{ ...good, name: 7 }, TypeError, /option name .*got 7/],
    [{ name: 'm' }, TypeError, /option sentinels must be a list of at least one address/],
    [{ name: 'm', sentinels: [] }, TypeError, /option sentinels must be a list of at least one address/],
    [{ name: 'm', sentinels: 'h:1' }, TypeError, /option sentinels must be a list/],
    [{ name: 'm', sentinels: ['h:0'] }, TypeError, /an address must be .*got "h:0"/],
    [{ name: 'm', sentinels: [1n] }, TypeError, /an address must be .*got 1n/],
    [
      { name: 'm', sentinels: [{ host: '', port: 1n, password: 'hush' }] },
      TypeError,
      /an address must be .*got \{ host: "", port: 1n \}$/,
    ],
    [{ ...good, readFrom: 'slave' }, RangeError, /option readFrom must be one of .*got "slave"/],
    [{ ...good, onFailover: 'fail' }, RangeError, /option onFailover must be 'hold' or 'flow', got "fail"/],
    [{ ...good, adoptEarly: 'yes' }, TypeError, /option adoptEarly must be a boolean, got string/],
    [{ ...good, agreement: true }, RangeError, /option agreement must be 'highest-epoch' or .*, got true/],
    [{ ...good, natMap: 7 }, TypeError, /option natMap must be an object or a function, got number/],
    [{ ...good, natMap: null }, TypeError, /option natMap must be .* got null/],
    [{ ...good, natMap: { '10.0.0.1': 'h:1' } }, TypeError, /option natMap must give .*for 10.0.0.1, got/],
    [{ ...good, natMap: { 'a:1': 'h' } }, TypeError, /option natMap must give 'host:port'.*a:1, got "h"/],
    [{ ...good, natMap: { 'a:1': { host: 'h' } } }, TypeError, /option natMap .*got an object without/],
    [{ ...good, answerTimeout: 0 }, RangeError, /option answerTimeout must be from 1 to 2147483647, got 0/],
    [{ ...good, answerTimeout: '300' }, TypeError, /option answerTimeout must be a number, got string/],
    [{ ...good, pollInterval: 9 }, RangeError, /option pollInterval must be from 10 to .*, got 9/],
    [{ ...good, pollInterval: Number.NaN }, RangeError, /option pollInterval .*got NaN/],
    [{ ...good, holdTimeout: -1 }, RangeError, /option holdTimeout must be from 0 to .*got -1/],
    [{ ...good, maxStaleness: 9 }, RangeError, /option maxStaleness must be 0 or from 10 to .*got 9/],
    [{ ...good, maxStaleness: '1' }, TypeError, /option maxStaleness must be a number, got string/],
    [{ ...good, masterFallback: -1 }, RangeError, /option masterFallback must be from 0 to .*got -1/],
    [{ ...good, pingInterval: 2 ** 31 }, RangeError, /option pingInterval .*got 2147483648/],
    [{ ...good, maxHeld: 0 }, RangeError, /option maxHeld must be from 1 to .*got 0/],
    [{ ...good, maxHeldBytes: null }, TypeError, /option maxHeldBytes must be a number, got object/],
    [{ ...good, pool: { maxIdle: 'many' } }, TypeError, /maxIdle/],
    [{ ...good, pool: { size: 1 } }, TypeError, /size/],
    [{ ...good, connection: { database: -1 } }, RangeError, /option database .*got -1/],
    [{ ...good, connection: { hots: 'h' } }, TypeError, /unknown connection option 'hots'/],
    [{ ...good, sentinelConnection: { protocol: 4 } }, RangeError, /option protocol must be 2 or 3, got 4/],
    // where the connections lead is not for the user to say
    [{ ...good, connection: { path: '/run/socket' } }, TypeError, /option path .*connection/],
    [{ ...good, connection: { port: 6379 } }, TypeError, /option port .*connection/],
    [{ ...good, sentinelConnection: { host: 'h' } }, TypeError, /option host .*sentinelConnection/],
  ]
  for (const [options, kind, message] of rows) {
    assert.throws(
      () => resolveSentinelOptions(options as SentinelOptions),
      (error) => error instanceof kind && message.test(error.message),
      `${inspect(options)} ${message}`,
    )
  }
})
