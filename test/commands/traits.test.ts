import assert from 'node:assert/strict'
import { test } from 'node:test'
import { blockingTimeout, commandName, isBlocking, isReadOnly, isWrite } from '../../lib/commands/index.ts'
import type { Argument } from '../../lib/resp/index.ts'

const words = (line: string) => line.split(' ')
const list = (text: string) => text.trim().split(/\s*[,\n]\s*/)
const bytes = (text: string) => new TextEncoder().encode(text)

// Command lines by what the servers' flags say of them.
const reads = list(`
  GET k, MGET a b, HGETALL h, SCAN 0, KEYS *, DBSIZE, RANDOMKEY, TTL k, EXISTS k, TYPE k, EVAL_RO s 0
  EVALSHA_RO s 0, FCALL_RO f 0, SORT_RO k, BITFIELD_RO k, GEORADIUS_RO k 1 1 1 m, XINFO STREAM s
  XINFO GROUPS s, OBJECT ENCODING k, OBJECT FREQ k, MEMORY USAGE k, XREAD STREAMS s 0, PFCOUNT k
  TOUCH k, DUMP k, GEOSEARCH k, ZRANGE z 0 1, HTTL h FIELDS 1 f, VSIM k ELE e
`)
const writes = list(`
  SET k v, DEL k, GETEX k, GETDEL k, SORT k, GEORADIUS k 1 1 1 m, BITFIELD k, BITFIELD k GET u8 0
  XREADGROUP GROUP g c STREAMS s >, XGROUP CREATE s g 0, BLPOP k 0, FLUSHALL, MIGRATE h 1 k 0 1
  RESTORE k, FUNCTION LOAD code, EXPIRE k 1, HGETEX h FIELDS 1 f, HSETEX h FIELDS 1 f v, DELIFEQ k v
  SPOP s, COPY a b
`)
const neither = list(`
  PING, PUBLISH c m, SPUBLISH c m, EVAL s 0, EVALSHA s 0, FCALL f 0, MULTI, EXEC, SUBSCRIBE c, INFO
  TIME, ROLE, ECHO x, LASTSAVE, CLIENT ID, CONFIG GET *, SCRIPT LOAD s, OBJECT HELP, XINFO HELP, XINFO
  XINFO NONSENSE s, OBJECT, MEMORY, MEMORY DOCTOR, WAIT 1 0, NO.SUCH k, JSON.GET k, SENTINEL MASTERS
`)

test('reads, writes and the rest are told apart', () => {
  for (const line of reads)
    assert.deepEqual([isReadOnly(words(line)), isWrite(words(line))], [true, false], line)
  for (const line of writes)
    assert.deepEqual([isReadOnly(words(line)), isWrite(words(line))], [false, true], line)
  for (const line of neither)
    assert.deepEqual([isReadOnly(words(line)), isWrite(words(line))], [false, false], line)
})

test('names count in any spelling, and as bytes', () => {
  for (const name of ['GET', 'get', 'Get', 'gEt', bytes('GET'), bytes('get'), Buffer.from('gET')]) {
    assert.equal(isReadOnly([name, 'k']), true)
    assert.equal(commandName([name, 'k']), 'GET')
  }
  assert.equal(isReadOnly([bytes('xInfo'), bytes('stReam'), 's']), true)
  assert.equal(commandName(['client', 'SetName', 'x']), 'CLIENT SETNAME')
  // A view into a longer buffer is its own bytes only.
  assert.equal(commandName([Buffer.from('xxGETxx').subarray(2, 5)]), 'GET')
})

test('a name shows the command and no argument', () => {
  const rows: [Argument[], string][] = [
    [['SET', 'k', 'secret'], 'SET'],
    [['AUTH', 'secret'], 'AUTH'],
    [['CLIENT', 'secret'], 'CLIENT'],
    [['CLIENT'], 'CLIENT'],
    [['CLIENT', 7], 'CLIENT'],
    [['config', 'set', 'requirepass', 'secret'], 'CONFIG SET'],
    [['json.get', 'k'], 'JSON.GET'],
    [[], ''],
    [[42], '42'],
    [[10n, 'x'], '10'],
    [['x'.repeat(1000)], `${'X'.repeat(40)}…`],
  ]
  for (const [command, name] of rows) assert.equal(commandName(command), name)
})

test('nonsense is unknown and never throws', () => {
  const commands: Argument[][] = [
    [],
    [''],
    [' '],
    [0],
    [1n],
    [Number.NaN],
    [new Uint8Array(0)],
    [bytes('\xff\xfe')],
  ]
  commands.push(
    ['__proto__'],
    ['constructor', 'prototype'],
    ['CLIENT', '__proto__'],
    ['CLIENT SETNAME', 'x'],
    ['GET\0'],
  )
  for (const command of commands) {
    assert.equal(isReadOnly(command), false)
    assert.equal(isWrite(command), false)
    assert.equal(isBlocking(command), false)
    assert.equal(blockingTimeout(command), undefined)
    assert.equal(typeof commandName(command), 'string')
  }
})

test('a blocking command is known with its timeout in milliseconds', () => {
  const rows: [Argument[], number | undefined][] = [
    [['BLPOP', 'a', 'b', '1.5'], 1500],
    [['BRPOP', 'a', 0], 0],
    [['blpop', 'a', 2.3], 2300],
    [['BLPOP', 'a', '0.0001'], 1],
    [['BLPOP', 'a', bytes('.25')], 250],
    [['BLPOP', 'a', '1e1'], 10_000],
    [['BLPOP', 'a', 3n], 3000],
    [['BLPOP', 'a', ''], undefined],
    [['BLPOP', 'a', '-1'], undefined],
    [['BLPOP', 'a', 'inf'], undefined],
    [['BLPOP', 'a', '1e999'], undefined],
    [['BLPOP', 'a', '0x10'], undefined],
    [['BLPOP', '5'], undefined],
    [['BLPOP'], undefined],
    [['BZPOPMIN', 'z', '2'], 2000],
    [['BZPOPMAX', 'z', '2'], 2000],
    [['BRPOPLPUSH', 'a', 'b', '4'], 4000],
    [['BLMOVE', 'a', 'b', 'LEFT', 'RIGHT', '0.1'], 100],
    [['BLMPOP', '0.5', '1', 'a', 'LEFT'], 500],
    [['BZMPOP', 0, 1, 'a', 'MIN'], 0],
    [['WAIT', '1', '250'], 250],
    [['WAIT', 1, 0], 0],
    [['WAIT', '1'], undefined],
    [['WAITAOF', '1', '0', '300'], 300],
    [['XREAD', 'BLOCK', '5000', 'STREAMS', 's', '$'], 5000],
    [['XREAD', 'COUNT', '1', 'block', 0, 'streams', 's', '$'], 0],
    [['XREADGROUP', 'GROUP', 'g', 'c', 'COUNT', 1, 'BLOCK', 20, 'NOACK', 'STREAMS', 's', '>'], 20],
    [['XREADGROUP', 'GROUP', 'streams', 'block', 'CLAIM', 5, 'Block', 7, 'STREAMS', 's', '>'], 7],
  ]
  for (const [command, timeout] of rows) {
    assert.equal(isBlocking(command), true, command.join(' '))
    assert.equal(blockingTimeout(command), timeout, command.join(' '))
  }
})

test('without BLOCK among its options a stream is read without blocking', () => {
  const commands: Argument[][] = [
    ['XREAD', 'STREAMS', 's', '$'],
    ['XREAD', 'COUNT', '1', 'STREAMS', 'BLOCK', '5'],
    ['XREAD', 'COUNT', 'BLOCK', 'STREAMS', 's', '0'],
    ['XREADGROUP', 'GROUP', 'g', 'BLOCK', 'STREAMS', 's', '>'],
    ['XREADGROUP', 'GROUP', 'BLOCK', '5', 'STREAMS', 's', '>'],
    ['XREAD', 'BLOCK'],
    ['XREAD'],
    ['LPOP', 'k', '1'],
    ['GET', '5'],
  ]
  for (const command of commands) {
    assert.equal(isBlocking(command), false, command.join(' '))
    assert.equal(blockingTimeout(command), undefined, command.join(' '))
  }
})
