// What we hold of the commands, against what a running server says of itself. RESPOOL_SERVER chooses the server.

import assert from 'node:assert/strict'
import { existsSync, readdirSync } from 'node:fs'
import { connect } from 'node:net'
import { dirname, join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { isReadOnly, isWrite, keysOf, StateBit, stateAfter } from '../../lib/commands/index.ts'
import { CommandBit } from '../../lib/commands/row.ts'
import { commandRows, keyLayouts } from '../../lib/commands/table.gen.ts'
import { type RawReply, request, startServer, type TestServer } from '../support/real-servers.ts'
import type { Cleanup } from '../support/temp-dir.ts'

interface Described {
  /** In capitals, as the table has it. */
  readonly name: string
  readonly arity: number
  readonly flags: readonly string[]
}

function described(reply: RawReply): Described[] {
  if (!Array.isArray(reply)) return []
  const [name, arity, flags] = reply
  const parts = Array.isArray(reply[9]) ? reply[9].flatMap(described) : []
  const isContainer = parts.length > 0
  const itself = {
    name: String(name).toUpperCase().replace('|', ' '),
    arity: Number(arity),
    flags: Array.isArray(flags) && !isContainer ? flags.map(String) : [],
  }
  return [itself, ...parts]
}

async function commandsOf(server: TestServer): Promise<Described[]> {
  const reply = await request(server, 'COMMAND')
  assert.ok(Array.isArray(reply))
  return reply.flatMap(described)
}

// A connection for what `request` cannot ask: several commands, one after the other, each answered in one chunk.
function lineConnection(t: Cleanup, server: TestServer): (line: string) => Promise<string> {
  const socket = connect({ port: server.port, host: '127.0.0.1' })
  t.after(() => {
    socket.destroy()
  })
  return (line) =>
    new Promise((resolve, reject) => {
      socket.once('data', (chunk) => resolve(String(chunk)))
      socket.once('error', reject)
      socket.write(`${line}\r\n`)
    })
}

async function isPinned(server: TestServer): Promise<boolean> {
  let root = dirname(fileURLToPath(import.meta.url))
  while (!existsSync(join(root, 'package.json'))) root = dirname(root)
  const info = String(await request(server, 'INFO', 'server'))
  const valkey = /^valkey_version:(\S+)/m.exec(info)?.[1]
  const file =
    valkey === undefined
      ? `commands-redis-${/^redis_version:(\S+)/m.exec(info)?.[1]}.json`
      : `commands-valkey-${valkey}.json`
  return readdirSync(join(root, 'scripts', 'data')).includes(file)
}

test('a command is read-only, writes or blocks as the server says', async (t) => {
  const server = await startServer(t)
  const bits = new Map(commandRows.map(([name, itsBits]) => [name, itsBits]))
  const unknown: string[] = []
  // Read-only in Redis 6.0, and by later servers' flags neither a read nor a write; the table follows those.
  const noLongerReads = ['ECHO', 'LASTSAVE', 'ROLE', 'TIME']
  for (const { name, flags } of await commandsOf(server)) {
    const ours = bits.get(name)
    if (ours === undefined) {
      unknown.push(name)
      continue
    }
    const isContainer = commandRows.some(([other]) => other.startsWith(`${name} `))
    if (isContainer) continue
    const command = name.split(' ')
    assert.equal(isWrite(command), flags.includes('write'), name)
    if (!noLongerReads.includes(name)) assert.equal(isReadOnly(command), flags.includes('readonly'), name)
    // Before 7.0 the servers did not say which commands block, and before 7.2 not of WAIT.
    if (flags.includes('blocking')) assert.ok((ours & CommandBit.blocking) !== 0, name)
  }
  if (unknown.length === 0) return
  if (await isPinned(server)) assert.fail(`the table lacks ${unknown.join(', ')}`)
  t.diagnostic(`the server is newer than the table, which lacks ${unknown.join(', ')}`)
})

test('the keys of a command are those that the server finds', async (t) => {
  const server = await startServer(t)
  // Not with both STORE and STOREDIST: Valkey 9 gives the last key then, Redis 8 and our table both.
  const lines = [
    'XREAD COUNT 2 STREAMS a b 0 0',
    'XREAD BLOCK 5 STREAMS a 0',
    'XREADGROUP GROUP streams c STREAMS a >',
    'SORT k',
    'SORT k BY w_* GET p_* STORE d',
    'SORT k LIMIT 0 STORE STORE d',
    'SORT k STORE a STORE b',
    'SORT_RO k GET x',
    'GEORADIUS k 1 2 3 m',
    'GEORADIUS k 1 2 3 m STORE d',
    'GEORADIUSBYMEMBER k m 3 km STOREDIST d',
    'MIGRATE h 1 k 0 10 COPY',
    'MIGRATE h 1  0 10 COPY AUTH x KEYS a b',
    'EVAL s 2 a b c',
    'EVALSHA s 1 a b',
    'FCALL f 1 a b',
    'MSET a 1 b 2',
    'ZUNIONSTORE d 2 a b WEIGHTS 1 2',
    'BLMPOP 0 2 a b LEFT',
    'MSETEX 2 a 1 b 2 EX 5',
    'BITOP AND d a b',
    'OBJECT ENCODING k',
    'XGROUP CREATE s g 0',
  ]
  const known = new Map((await commandsOf(server)).map((it) => [it.name, it]))
  // And one line for every command that has keys: as many numbered arguments as it needs, twos where it counts.
  for (const [name, , layout] of commandRows) {
    const specs = keyLayouts[layout] ?? []
    const arity = known.get(name)?.arity
    if (arity === undefined || specs.length === 0 || specs.some((spec) => 'unknown' in spec)) continue
    const size = arity > 0 ? arity : Math.max(-arity, 9)
    const command = [...name.split(' ')]
    while (command.length < size) command.push(`arg${command.length}`)
    for (const spec of specs) {
      if ('countAt' in spec && 'at' in spec) command[spec.at + spec.countAt] = '2'
    }
    if (!specs.some((spec) => 'after' in spec)) lines.push(command.join(' '))
  }
  let compared = 0
  for (const line of lines) {
    const command = line.split(' ')
    const reply = await request(server, 'COMMAND', 'GETKEYS', ...command)
    if (reply instanceof Error) {
      // Shard channels are no keys to GETKEYS; older servers know fewer commands; nothing else may be refused.
      assert.match(reply.message, /no key arguments|invalid command specified/i, line)
      continue
    }
    compared++
    // In any order: 6.0 names the destination last.
    assert.ok(Array.isArray(reply))
    assert.deepEqual(keysOf(command)?.map(String).sort(), reply.map(String).sort(), line)
  }
  assert.ok(compared > 100, `only ${compared} commands were compared`)
})

test('RESET puts back what the table says it does', async (t) => {
  const server = await startServer(t)
  const known = await commandsOf(server)
  if (known.every(({ name }) => name !== 'RESET')) return t.skip('the server has no RESET')
  const ask = lineConnection(t, server)
  let state = 0
  const send = (line: string) => {
    state = stateAfter(state, line.split(' '))
    return ask(line)
  }
  const flags = async () => {
    const info = await send('CLIENT INFO')
    return {
      text: /flags=(\S+)/.exec(info)?.[1] ?? '',
      name: /name=(\S*)/.exec(info)?.[1],
      db: /db=(\d+)/.exec(info)?.[1],
    }
  }
  for (const line of [
    'CLIENT SETNAME x',
    'SELECT 3',
    'CLIENT TRACKING ON',
    'CLIENT NO-EVICT ON',
    'WATCH k',
    'MULTI',
  ]) {
    await send(line)
  }
  await send('RESET')
  const after = await flags()
  assert.equal(after.name, '')
  assert.equal(after.db, '0')
  assert.doesNotMatch(after.text, /[txOPT]/)
  // Whether NO-EVICT survives depends on the version, so the state keeps it.
  assert.equal(state, StateBit.evict | StateBit.select | StateBit.auth | StateBit.protocol | StateBit.name)
})

test('EXEC outside of a transaction leaves watched keys watched', async (t) => {
  const server = await startServer(t)
  const send = lineConnection(t, server)
  await send('WATCH k')
  assert.match(await send('EXEC'), /^-ERR EXEC without MULTI/)
  await request(server, 'SET', 'k', 'by another')
  await send('MULTI')
  await send('PING')
  assert.equal(await send('EXEC'), '*-1\r\n')
})
