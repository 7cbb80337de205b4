import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Reply } from '../../lib/resp/index.ts'
import {
  addressOf,
  addressOfPair,
  fieldsOf,
  fieldsOfEach,
  isAbout,
  isTilted,
  joinAddress,
  type Role,
  roleOf,
  selectedReplica,
  splitAddress,
  switchedTo,
  translateFields,
  translatePayload,
} from '../../lib/sentinel/replies.ts'

test('fields are read from maps and from flat arrays alike', () => {
  const expected = new Map([
    ['ip', '10.0.0.1'],
    ['port', '6379'],
    ['flags', 'slave,s_down'],
  ])
  const rows: Reply[] = [
    ['ip', '10.0.0.1', 'port', '6379', 'flags', 'slave,s_down'],
    ['ip', '10.0.0.1', 'port', 6379, 'flags', 'slave,s_down'],
    ['ip', '10.0.0.1', 'port', '6379', 'flags', 'slave,s_down', 'odd one out'],
    new Map<Reply, Reply>(expected),
    new Map<Reply, Reply>(
      [...expected.entries()].map(([k, v]): [Reply, Reply] => [k, k === 'port' ? 6379 : v]),
    ),
  ]
  for (const row of rows) {
    assert.deepEqual(fieldsOf(row), expected)
    assert.deepEqual(fieldsOfEach([row, row]), [expected, expected])
    assert.equal(addressOf(fieldsOf(row)), '10.0.0.1:6379')
  }
})

test('what has no fields has none, whatever it is', () => {
  for (const reply of [null, 'OK', 7, true, [], new Map()] as Reply[]) {
    assert.equal(fieldsOf(reply).size, 0)
    assert.equal(addressOf(fieldsOf(reply)), undefined)
  }
  for (const reply of [null, 'OK', 7, new Map()] as Reply[]) assert.deepEqual(fieldsOfEach(reply), [])
  assert.deepEqual(fieldsOfEach(['garbage', null]), [new Map(), new Map()])
})

test('a pair of host and port is an address, and nothing else is', () => {
  const rows: [Reply, string | undefined][] = [
    [['127.0.0.1', '6379'], '127.0.0.1:6379'],
    [['127.0.0.1', 6379], '127.0.0.1:6379'],
    [['redis.example', '6379', 'more'], 'redis.example:6379'],
    [['::1', '6379'], '[::1]:6379'],
    [['fe80::1%eth0', '1'], '[fe80::1%eth0]:1'],
    [null, undefined],
    [[], undefined],
    [['127.0.0.1'], undefined],
    [['', '6379'], undefined],
    [['127.0.0.1', ''], undefined],
    [['127.0.0.1', 'port'], undefined],
    [['127.0.0.1', '-1'], undefined],
    [['127.0.0.1', '0'], undefined],
    [['127.0.0.1', '65535'], '127.0.0.1:65535'],
    [['127.0.0.1', '65536'], undefined],
    [['127.0.0.1', '000006379'], undefined],
    [['a b', '6379'], undefined],
    [['a\0b', '6379'], undefined],
    [['[::1]', '6379'], undefined],
    [[null, null], undefined],
    ['127.0.0.1:6379', undefined],
  ]
  for (const [reply, expected] of rows) assert.equal(addressOfPair(reply), expected, JSON.stringify(reply))
})

test('an address is taken apart as it was put together', () => {
  const rows: [string, number, string][] = [
    ['127.0.0.1', 6379, '127.0.0.1:6379'],
    ['::1', 26_379, '[::1]:26379'],
    ['redis.example', 1, 'redis.example:1'],
  ]
  for (const [host, port, address] of rows) {
    assert.equal(joinAddress(host, String(port)), address)
    assert.deepEqual(splitAddress(address), { host, port })
  }
  assert.equal(joinAddress(undefined, '1'), undefined)
  assert.equal(joinAddress('h', undefined), undefined)
})

test('a role is what the server says, and garbage is no role', () => {
  const slave = (master: string | undefined, link: string): Role => ({ kind: 'slave', master, link })
  const rows: [Reply, Role][] = [
    [['master', 3129659, [['127.0.0.1', '9001', '3129242']]], { kind: 'master' }],
    [['master', 0, []], { kind: 'master' }],
    [['master'], { kind: 'master' }],
    [['slave', '127.0.0.1', 9000, 'connected', 3167038], slave('127.0.0.1:9000', 'connected')],
    [['slave', '::1', 9000, 'sync', -1], slave('[::1]:9000', 'sync')],
    [['slave', '127.0.0.1', 9000, 'connect', -1], slave('127.0.0.1:9000', 'connect')],
    [['slave', '', 0, 'none'], slave(undefined, 'none')],
    [['slave'], slave(undefined, 'undefined')],
    [['sentinel', ['m']], { kind: 'other', name: 'sentinel' }],
    [['Master'], { kind: 'other', name: 'Master' }],
    [[null], { kind: 'other', name: 'null' }],
    [[], { kind: 'other', name: 'undefined' }],
    ['master', { kind: 'other', name: 'undefined' }],
    [null, { kind: 'other', name: 'undefined' }],
    [new Map([['master', 1]]), { kind: 'other', name: 'undefined' }],
  ]
  for (const [reply, expected] of rows) assert.deepEqual(roleOf(reply), expected, JSON.stringify(reply))
})

test('an event is about a name when it is about its master, replicas or sentinels', () => {
  const rows: [channel: string, payload: string, isAbout: boolean, switchedTo?: string][] = [
    ['+switch-master', 'm 10.0.0.1 6379 10.0.0.2 6380', true, '10.0.0.2:6380'],
    ['+switch-master', 'm ::1 6379 ::2 6380', true, '[::2]:6380'],
    ['+switch-master', 'm 10.0.0.1 6379', true],
    ['+switch-master', 'other 10.0.0.1 6379 10.0.0.2 6380', false],
    ['+switch-master', '', false],
    ['+sdown', 'master m 10.0.0.1 6379', true],
    ['+odown', 'master m 10.0.0.1 6379 #quorum 2/2', true],
    ['+sdown', 'master other 10.0.0.1 6379', false],
    ['+sdown', 'slave 10.0.0.2:6380 10.0.0.2 6380 @ m 10.0.0.1 6379', true],
    ['+slave', 'slave 10.0.0.2:6380 10.0.0.2 6380 @ other 10.0.0.1 6379', false],
    ['+sentinel', 'sentinel 0a1b 10.0.0.3 26379 @ m 10.0.0.1 6379', true],
    ['-sdown', 'sentinel m 10.0.0.3 26379 @ other 10.0.0.1 6379', false],
    ['+new-epoch', '5', false],
    // about all that its sentinel says
    ['+tilt', '#tilt mode entered', true],
    ['-tilt', '#tilt mode exited', true],
    ['+reset-master', 'master m 10.0.0.1 6379', true],
    ['+reboot', 'slave 10.0.0.2:6380 10.0.0.2 6380 @ m 10.0.0.1 6379', true],
    ['-role-change', 'slave 10.0.0.2:6380 10.0.0.2 6380 @ m 10.0.0.1 6379 new reported role is master', true],
    ['+config-update-from', 'sentinel 0a1b 10.0.0.3 26379 @ m 10.0.0.1 6379', true],
    ['+convert-to-slave', 'slave 10.0.0.2:6380 10.0.0.2 6380 @ m 10.0.0.1 6379', true],
    ['+vote-for-leader', '0a1b 1', false],
    // names that begin like ours, or that are ours but for the place
    ['+odown', 'master m2 10.0.0.1 6379', false],
    ['+sdown', 'master m.2 10.0.0.1 6379', false],
    ['+switch-master', 'm2 10.0.0.1 6379 10.0.0.2 6380', false],
    ['+slave', 'slave m 10.0.0.2 6380 @ m2 10.0.0.1 6379', false],
    ['+slave', 'slave 10.0.0.2:6380 10.0.0.2 6380 # m 10.0.0.1 6379', false],
    ['', '', false],
    // the name of the other event, in a payload that would fit
    ['switch-master', 'm 10.0.0.1 6379 10.0.0.2 6380', false],
  ]
  for (const [channel, payload, expected, address] of rows) {
    assert.equal(isAbout(channel, payload, 'm'), expected, `${channel} ${payload}`)
    assert.equal(switchedTo(channel, payload, 'm'), address, `${channel} ${payload}`)
  }
})

test('a selected replica is the one that the payload describes', () => {
  const rows: [string, string | undefined][] = [
    ['slave 10.0.0.2:6380 10.0.0.2 6380 @ m 10.0.0.1 6379', '10.0.0.2:6380'],
    ['slave [::2]:6380 ::2 6380 @ m ::1 6379', '[::2]:6380'],
    ['master m 10.0.0.1 6379', undefined],
    ['slave 10.0.0.2:6380', undefined],
    ['', undefined],
  ]
  for (const [payload, expected] of rows) assert.equal(selectedReplica(payload), expected, payload)
})

test('a name with dots is a name like any other', () => {
  assert.equal(isAbout('+sdown', 'master a.b 10.0.0.1 6379', 'a.b'), true)
  assert.equal(isAbout('+sdown', 'master aXb 10.0.0.1 6379', 'a.b'), false)
  assert.equal(switchedTo('+switch-master', 'a.b 10.0.0.1 1 10.0.0.2 2', 'a.b'), '10.0.0.2:2')
})

test('the addresses of a payload are translated, and nothing else of it', () => {
  const translate = (address: string, what: string) => `[${what}::${address.replace(/\W/g, '')}]:7`
  const rows: [channel: string, payload: string, expected: string][] = [
    ['+switch-master', 'm a 1 b 2', 'm master::a1 7 master::b2 7'],
    ['+odown', 'master m a 1 #quorum 2/2', 'master m master::a1 7 #quorum 2/2'],
    ['+slave', 'slave b:2 b 2 @ m a 1', 'slave b:2 replica::b2 7 @ m master::a1 7'],
    ['+sentinel', 'sentinel 0a c 3 @ m a 1 x y', 'sentinel 0a sentinel::c3 7 @ m master::a1 7 x y'],
    ['+slave', 'slave b:2 b 2 # m a 1', 'slave b:2 replica::b2 7 # m a 1'],
    ['+tilt', '#tilt mode entered', '#tilt mode entered'],
    ['+new-epoch', '5', '5'],
    ['+switch-master', 'm a', 'm a'],
    ['+switch-master', 'm a x b 2', 'm a x master::b2 7'],
    ['', '', ''],
  ]
  for (const [channel, payload, expected] of rows) {
    assert.equal(translatePayload(channel, payload, translate), expected, `${channel} ${payload}`)
  }
})

test('fields are translated into a copy, with what they say of the master', () => {
  const fields = new Map([
    ['ip', 'b'],
    ['port', '2'],
    ['master-host', 'a'],
    ['master-port', '1'],
    ['flags', 'slave'],
  ])
  const kept = new Map(fields)
  const translated = translateFields(fields, 'replica', (address, what) => `${what}.${address}9`)
  assert.deepEqual([...translated.values()], ['replica.b', '29', 'master.a', '19', 'slave'])
  assert.deepEqual(fields, kept)
  const unknown = new Map([
    ['ip', ''],
    ['port', '0'],
    ['master-host', '?'],
    ['master-port', '0'],
  ])
  assert.deepEqual(
    translateFields(unknown, 'replica', () => assert.fail('nothing to translate')),
    unknown,
  )
})

test('TILT is what INFO says, and nothing else', () => {
  const rows: [Reply, boolean][] = [
    ['# Sentinel\r\nsentinel_masters:1\r\nsentinel_tilt:1\r\nsentinel_tilt_since_seconds:3\r\n', true],
    ['# Sentinel\r\nsentinel_tilt:0\r\nsentinel_total_tilt:1\r\n', false],
    ['sentinel_tilt:10\r\n', false],
    ['x_sentinel_tilt:1\r\n', false],
    ['sentinel_tilt:1', true],
    ['', false],
    [null, false],
    [1, false],
    [['sentinel_tilt:1'], false],
  ]
  for (const [info, expected] of rows) assert.equal(isTilted(info), expected, JSON.stringify(info))
})
