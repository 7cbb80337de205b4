// The types of the commands: what compiles and what does not. `tsc` is the test of the lines marked as errors; what
// compiles is run on a recorder, too.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Client, Commands, CommandView } from '../../lib/client/index.ts'
import { defineMethods } from '../../lib/client/methods.ts'
import type { Hash, Place, Scored, StreamEntries, StreamEntry } from '../../lib/index.ts'
import type { Argument, Reply } from '../../lib/resp/index.ts'

type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false

/** Fails to compile where the promise is of anything but `T`. */
function gives<T>() {
  return <U>(reply: Promise<U>, same: Same<T, U>): void => {
    assert.ok(same)
    void reply
  }
}

class Recorder {}
const sent: string[] = []
defineMethods(Recorder.prototype, (_, command) => sent.push(command.map(String).join(' ')))
const redis = new Recorder() as Commands
const bytes = new Recorder() as Commands<Buffer>

/** What was sent since it was asked last. */
function commands(): string[] {
  return sent.splice(0)
}

test('the reply of a command is of its own type, in strings or in bytes', () => {
  gives<string | null>()(redis.get('k'), true)
  gives<Buffer | null>()(bytes.get('k'), true)
  gives<number | bigint>()(redis.incr('n'), true)
  gives<(string | null)[]>()(redis.mget('a', 'b'), true)
  gives<Record<string, string>>()(redis.hgetall('h'), true)
  gives<[name: Buffer, value: Buffer][]>()(bytes.hgetall('h'), true)
  gives<Hash<Buffer>>()(bytes.hgetall('h'), true)
  gives<number | null>()(redis.zscore('z', 'a'), true)
  gives<StreamEntries<string>[] | null>()(redis.xread('STREAMS', 's', 0), true)
  gives<StreamEntry<Buffer>[]>()(bytes.xrange('s', '-', '+'), true)
  gives<Reply>()(redis.eval('return 1', 0), true)
  gives<string>()(bytes.type('k'), true)
  gives<'OK' | Buffer>()(bytes.aclDryrun('user', 'GET', 'k'), true)
  assert.equal(commands().length, 13)
})

test('options that change the reply change its type', () => {
  gives<'OK'>()(redis.set('k', 'v'), true)
  gives<'OK'>()(redis.set('k', 'v', 'EX', 10), true)
  gives<'OK' | null>()(redis.set('k', 'v', 'NX'), true)
  gives<string | null>()(redis.set('k', 'v', 'XX', 'GET'), true)
  gives<string | null>()(redis.lpop('l'), true)
  gives<string[] | null>()(redis.lpop('l', 2), true)
  gives<string[]>()(redis.zrange('z', 0, -1), true)
  gives<Scored<string>[]>()(redis.zrange('z', 0, -1, 'WITHSCORES'), true)
  gives<Scored<Buffer>[]>()(bytes.zrange('z', 0, -1, 'REV', 'WITHSCORES'), true)
  gives<number | null>()(redis.zadd('z', 'XX', 'INCR', 1, 'a'), true)
  gives<number>()(redis.zadd('z', 1, 'a'), true)
  gives<string[]>()(redis.geosearch('g', 'FROMMEMBER', 'a', 'BYRADIUS', 1, 'km'), true)
  gives<Place<string>[]>()(redis.geosearch('g', 'FROMMEMBER', 'a', 'BYRADIUS', 1, 'km', 'WITHDIST'), true)
  gives<string[]>()(redis.geosearch('g', 'BYPOLYGON', 3, 0, 0, 1, 1, '2', 0, 'ASC', 'COUNT', 1), true)
  gives<Place<string>[]>()(redis.geosearch('g', 'BYPOLYGON', 3, 0, 0, 1, 1, 2, 0, 'ASC', 'WITHDIST'), true)
  gives<number>()(redis.geosearchstore('d', 'g', 'FROMMEMBER', 'a', 'BYBOX', 1, 2, 'm', 'STOREDIST'), true)
  gives<string[]>()(redis.vsim('v', 'VALUES', 2, ...[0.5, 1], 'COUNT', 3), true)
  gives<Scored<Buffer>[]>()(bytes.vsim('v', 'ELE', 'a', 'WITHSCORES', 'FILTER', '.x > 1'), true)
  gives<'PONG'>()(redis.ping(), true)
  gives<string>()(redis.ping('x'), true)
  assert.equal(commands().length, 20)
})

test('options come in the documented order, and where there are up to three, in any', () => {
  void redis.set('k', 'v', 'NX', 'EX', 10)
  void redis.set('k', 'v', 'EX', 10, 'NX')
  void redis.set('k', 'v', 'PX', '10', 'GET', 'XX')
  void redis.xread('BLOCK', 0, 'COUNT', 1, 'STREAMS', 's', '$')
  void redis.scan(0, 'COUNT', 10, 'TYPE', 'hash', 'MATCH', '*')
  assert.deepEqual(commands(), [
    'SET k v NX EX 10',
    'SET k v EX 10 NX',
    'SET k v PX 10 GET XX',
    'XREAD BLOCK 0 COUNT 1 STREAMS s $',
    'SCAN 0 COUNT 10 TYPE hash MATCH *',
  ])
})

test('what repeats takes an array spread, and what follows it', () => {
  const keys: string[] = ['a', 'b']
  const members: Argument[] = [1, 'a', 2, Buffer.from('b')]
  void redis.del(...keys)
  void redis.sadd('s', ...keys)
  void redis.zadd('z', ...members)
  void redis.blpop(...keys, 5)
  void redis.lmpop(keys.length, ...keys, 'LEFT', 'COUNT', 2)
  void redis.zunion(keys.length, ...keys, 'WITHSCORES')
  void redis.hexpire('h', 10, 'NX', 'FIELDS', keys.length, ...keys)
  assert.deepEqual(commands(), [
    'DEL a b',
    'SADD s a b',
    'ZADD z 1 a 2 b',
    'BLPOP a b 5',
    'LMPOP 2 a b LEFT COUNT 2',
    'ZUNION 2 a b WITHSCORES',
    'HEXPIRE h 10 NX FIELDS 2 a b',
  ])
})

test('wrong arguments do not compile', () => {
  // @ts-expect-error no key
  void redis.get()
  // @ts-expect-error one key too many
  void redis.get('a', 'b')
  // @ts-expect-error not an argument
  void redis.get(null)
  // @ts-expect-error not a boolean either
  void redis.set('k', true)
  // @ts-expect-error no such option
  void redis.set('k', 'v', 'EXX', 10)
  // @ts-expect-error tokens are capitals
  void redis.set('k', 'v', 'ex', 10)
  // @ts-expect-error an expiry without its time
  void redis.set('k', 'v', 'EX')
  // @ts-expect-error two that exclude each other
  void redis.set('k', 'v', 'NX', 'XX')
  // @ts-expect-error two expiries
  void redis.set('k', 'v', 'EX', 10, 'PX', 10)
  // @ts-expect-error a number
  void redis.expire('k', 'soon')
  // @ts-expect-error an option that is not there is not undefined
  void redis.lpop('l', undefined)
  // @ts-expect-error one of two words
  void redis.lmove('a', 'b', 'LEFT', 'UP')
  // @ts-expect-error no STREAMS
  void redis.xread('COUNT', 1, 's', '$')
  // @ts-expect-error no timeout
  void redis.blpop('l')
  // @ts-expect-error a unit that is none
  void redis.geodist('g', 'a', 'b', 'yards')
  // @ts-expect-error a unit that is none, before options
  void redis.geosearch('g', 'FROMMEMBER', 'a', 'BYRADIUS', 1, 'yards', 'WITHDIST')
  // @ts-expect-error a circle around nothing
  void redis.geosearch('g', 'BYRADIUS', 1, 'km')
  // @ts-expect-error a corner that is no number
  void redis.geosearch('g', 'BYPOLYGON', 3, 0, 0, 1, 1, 2, 'north')
  // @ts-expect-error no such option
  void redis.geosearchstore('d', 'g', 'FROMMEMBER', 'a', 'BYBOX', 1, 2, 'm', 'WITHDIST')
  // @ts-expect-error a coordinate that is no number
  void redis.vadd('v', 'VALUES', 2, 'north', 0, 'a')
  // @ts-expect-error no element
  void redis.vadd('v', 'FP32', new Uint8Array(8))
  // @ts-expect-error changes the state of its connection: no method
  assert.equal(redis.watch, undefined)
  // @ts-expect-error a field of bytes is not text
  gives<Record<string, string>>()(bytes.hgetall('h'), true)
  commands()
})

test('the client and its views have the methods, and views of bytes those of bytes', () => {
  const same = (client: Client): void => {
    gives<string | null>()(client.get('k'), true)
    gives<string | null>()(client.with({ timeout: 10 }).get('k'), true)
    gives<Buffer | null>()(client.with({ replies: 'buffer' }).get('k'), true)
    gives<Buffer | null>()(client.with({ replies: 'buffer' }).with({ timeout: 10 }).get('k'), true)
    gives<string | null>()(client.with({ replies: 'buffer' }).with({ replies: 'string' }).get('k'), true)
  }
  const view = Object.assign(new Recorder() as CommandView, { with: () => view })
  same(view as unknown as Client)
  assert.deepEqual(commands(), Array(5).fill('GET k'))
})
