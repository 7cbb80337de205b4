// What the servers say of their commands, in two steps:
//
//   node scripts/generate-commands.js collect PORT   asks a running server (COMMAND, INFO) and pins the answer
//                                                    as scripts/data/commands-<server>-<version>.json
//   node scripts/generate-commands.js generate       the pinned answers → lib/commands/table.gen.ts
//   node scripts/generate-commands.js check          fails where that file is not what `generate` would write
//
// The table is the union over all pinned servers. Where they differ, the careful answer wins: a command is
// read-only if every server that knows it says so, and writes or blocks if any does. Key positions come from
// the newest server that knows the command.

import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { fileURLToPath } from 'node:url'

/**
 * @typedef {{ index: number } | { keyword: string, startFrom: number } | 'unknown'} Begin
 * @typedef {{ last: number, step: number, limit: number }
 *   | { countAt: number, first: number, step: number } | 'unknown'} Find
 * @typedef {{ flags: string[], begin: Begin, find: Find }} KeySpec
 * @typedef {{ name: string, arity: number, flags: string[], keySpecs: KeySpec[] }} Command
 * @typedef {{ server: string, version: string, commands: Command[] }} Pinned
 * @typedef {string | number | null | Reply[]} Reply
 */

const root = new URL('../', import.meta.url)
const dataDir = new URL('scripts/data/', root)
const target = new URL('lib/commands/table.gen.ts', root)

// Bits of a row, the same as in the text that `render` writes.
const readOnlyBit = 1
const writeBit = 2
const blockingBit = 4

/** @type {KeySpec} */
const unknownSpec = { flags: [], begin: 'unknown', find: 'unknown' }

/**
 * The text of the table, from the pinned answers beside this script.
 * @returns {string}
 */
export function generate() {
  const pinned = readPinned()
  /** @type {Map<string, { bits: number, specs: KeySpec[] }>} */
  const union = new Map()
  for (const { commands } of pinned) {
    for (const command of commands) {
      // A server of before subcommands were listed describes the whole container by one set of flags, which
      // says nothing of its parts; the container's own row has none.
      const isContainer = !command.name.includes(' ') && hasSubcommands(pinned, command.name)
      const bits = isContainer ? 0 : bitsOf(command)
      const known = union.get(command.name)
      // Keys that move, and nothing said of where to: unknown, which is not the same as none.
      const isUnknown = command.keySpecs.length === 0 && command.flags.includes('movablekeys')
      const specs = isUnknown ? [unknownSpec] : command.keySpecs
      if (known === undefined) union.set(command.name, { bits, specs })
      else known.bits = mergeBits(known.bits, bits)
    }
  }
  const rows = [...union].sort(([a], [b]) => (a < b ? -1 : 1))
  return render(
    rows.map(([name, { bits, specs }]) => ({ name, bits, keys: specs.map(renderSpec) })),
    pinned.map(({ server, version }) => `${server} ${version}`),
  )
}

/** @returns {Pinned[]} the newest first, Redis before Valkey among equals */
function readPinned() {
  return readdirSync(dataDir)
    .filter((name) => /^commands-.*\.json$/.test(name))
    .map((name) => /** @type {Pinned} */ (JSON.parse(readFileSync(new URL(name, dataDir), 'utf8'))))
    .sort((a, b) => compareVersions(b.version, a.version) || (a.server < b.server ? -1 : 1))
}

/** @param {string} a @param {string} b */
function compareVersions(a, b) {
  const [left, right] = [a.split('.'), b.split('.')]
  for (let i = 0; i < 3; i++) {
    const difference = Number(left[i] ?? 0) - Number(right[i] ?? 0)
    if (difference !== 0) return difference
  }
  return 0
}

/** @param {Pinned[]} pinned @param {string} name */
function hasSubcommands(pinned, name) {
  return pinned.some(({ commands }) => commands.some((it) => it.name.startsWith(`${name} `)))
}

/** @param {Command} command */
function bitsOf({ flags }) {
  return (
    (flags.includes('readonly') ? readOnlyBit : 0) |
    (flags.includes('write') ? writeBit : 0) |
    (flags.includes('blocking') ? blockingBit : 0)
  )
}

/** @param {number} a @param {number} b */
function mergeBits(a, b) {
  return (a & b & readOnlyBit) | ((a | b) & (writeBit | blockingBit))
}

/** @param {KeySpec} spec */
function renderSpec({ begin, find }) {
  if (begin === 'unknown' || find === 'unknown') return '{ unknown: true }'
  const parts =
    'index' in begin ? [`at: ${begin.index}`] : [`after: '${begin.keyword}'`, `from: ${begin.startFrom}`]
  if ('last' in find) {
    parts.push(`last: ${find.last}`, `step: ${find.step}`)
    if (find.limit > 1) parts.push(`limit: ${find.limit}`)
  } else {
    parts.push(`countAt: ${find.countAt}`, `first: ${find.first}`, `step: ${find.step}`)
  }
  return `{ ${parts.join(', ')} }`
}

/**
 * @param {{ name: string, bits: number, keys: string[] }[]} rows
 * @param {string[]} servers
 */
function render(rows, servers) {
  // Some 400 commands place their keys in some 30 ways, so a row names its way by number; the commonest first.
  /** @type {Map<string, number>} */
  const uses = new Map()
  for (const { keys } of rows) uses.set(keys.join(', '), (uses.get(keys.join(', ')) ?? 0) + 1)
  uses.delete('')
  const layouts = ['', ...[...uses].sort(([a, n], [b, m]) => m - n || (a < b ? -1 : 1)).map(([text]) => text)]
  return `// Generated by scripts/generate-commands.js from scripts/data/commands-*.json: ${servers.join(', ')}.
// Do not edit.

import type { CommandRow, KeySpec } from './row.ts'

export const keyLayouts: readonly (readonly KeySpec[])[] = [
${layouts.map((text) => `  [${text}],`).join('\n')}
]

// Name, bits (1 read-only, 2 write, 4 blocking), and which of the layouts its keys have.
export const commandRows: readonly CommandRow[] = [
${rows.map(({ name, bits, keys }) => `  ['${name}', ${bits}, ${layouts.indexOf(keys.join(', '))}],`).join('\n')}
]
`
}

/** @param {number} port */
async function collect(port) {
  const [info, reply] = await ask(port, [['INFO', 'server'], ['COMMAND']])
  if (!Array.isArray(reply)) throw new Error('no such answer to COMMAND')
  const { server, version } = serverOf(info)
  const commands = reply.flatMap(normalise).sort((a, b) => (a.name < b.name ? -1 : 1))
  // One command a line: small, and a later version's differences show as lines.
  const text = `{\n"server": "${server}",\n"version": "${version}",\n"commands": [\n${commands
    .map((command) => JSON.stringify(command))
    .join(',\n')}\n]\n}\n`
  writeFileSync(new URL(`commands-${server}-${version}.json`, dataDir), text)
  console.log(`${server} ${version}: ${commands.length} commands and subcommands`)
}

/**
 * Which server it is that gave this answer to `INFO server`.
 * @param {Reply | undefined} info
 */
export function serverOf(info) {
  if (typeof info !== 'string') throw new Error('no such answer to INFO')
  const valkey = /^valkey_version:(\S+)/m.exec(info)?.[1]
  const version = valkey ?? /^redis_version:(\S+)/m.exec(info)?.[1]
  return { server: valkey === undefined ? 'redis' : 'valkey', version: String(version) }
}

// A command's description is an array: name, arity, flags, first key, last key, step, then from 7.0 on ACL
// categories, tips, key specifications, subcommands (each described the same way, named "client|kill").
/**
 * @param {Reply} reply
 * @returns {Command[]}
 */
function normalise(reply) {
  if (!Array.isArray(reply)) return []
  const [name, arity, flags, first, last, step, , , specs, subcommands] = reply
  return [
    {
      name: String(name).toUpperCase().replace('|', ' '),
      arity: Number(arity),
      flags: Array.isArray(flags) ? flags.map(String).sort() : [],
      keySpecs: Array.isArray(specs)
        ? specs.map(normaliseSpec)
        : oldSpec(Number(first), Number(last), Number(step)),
    },
    ...(Array.isArray(subcommands) ? subcommands.flatMap(normalise) : []),
  ]
}

/**
 * The specification that the three old numbers amount to. A last key below zero counts from the end there too.
 * @param {number} first
 * @param {number} last
 * @param {number} step
 * @returns {KeySpec[]}
 */
function oldSpec(first, last, step) {
  if (first === 0) return []
  return [
    { flags: [], begin: { index: first }, find: { last: last < 0 ? last : last - first, step, limit: 0 } },
  ]
}

/**
 * @param {Reply} reply
 * @returns {KeySpec}
 */
function normaliseSpec(reply) {
  const flags = member(reply, 'flags')
  const begin = member(reply, 'begin_search')
  const find = member(reply, 'find_keys')
  return {
    flags: Array.isArray(flags) ? flags.map(String).sort() : [],
    begin: normaliseBegin(String(member(begin, 'type')), member(begin, 'spec')),
    find: normaliseFind(String(member(find, 'type')), member(find, 'spec')),
  }
}

/**
 * @param {string} type
 * @param {Reply} spec
 * @returns {Begin}
 */
function normaliseBegin(type, spec) {
  if (type === 'index') return { index: Number(member(spec, 'index')) }
  if (type !== 'keyword') return 'unknown'
  return { keyword: String(member(spec, 'keyword')), startFrom: Number(member(spec, 'startfrom')) }
}

/**
 * @param {string} type
 * @param {Reply} spec
 * @returns {Find}
 */
function normaliseFind(type, spec) {
  /** @param {string} name */
  const number = (name) => Number(member(spec, name))
  if (type === 'range') return { last: number('lastkey'), step: number('keystep'), limit: number('limit') }
  if (type !== 'keynum') return 'unknown'
  return { countAt: number('keynumidx'), first: number('firstkey'), step: number('keystep') }
}

/**
 * A member of a map, which RESP2 gives as a flat array.
 * @param {Reply} pairs
 * @param {string} name
 * @returns {Reply}
 */
export function member(pairs, name) {
  if (!Array.isArray(pairs)) return null
  for (let at = 0; at < pairs.length; at += 2) if (pairs[at] === name) return pairs[at + 1] ?? null
  return null
}

/**
 * The answers of the server on that port of this machine.
 * @param {number} port
 * @param {string[][]} commands
 * @returns {Promise<Reply[]>}
 */
export function ask(port, commands) {
  return new Promise((resolve, reject) => {
    const socket = connect({ port, host: '127.0.0.1' })
    let bytes = Buffer.alloc(0)
    socket.on('error', reject)
    socket.on('data', (chunk) => {
      bytes = Buffer.concat([bytes, chunk])
      try {
        /** @type {Reply[]} */
        const replies = []
        for (let at = 0; replies.length < commands.length; ) {
          const parsed = parse(bytes, at)
          if (parsed === undefined) return
          replies.push(parsed.reply)
          at = parsed.end
        }
        socket.destroy()
        resolve(replies)
      } catch (error) {
        socket.destroy()
        reject(error)
      }
    })
    for (const command of commands) {
      socket.write(`*${command.length}\r\n${command.map((it) => `$${it.length}\r\n${it}\r\n`).join('')}`)
    }
  })
}

// RESP2, as of https://redis.io/docs/latest/develop/reference/protocol-spec/. Undefined: more bytes are needed.
/**
 * @param {Buffer} bytes
 * @param {number} start
 * @returns {{ reply: Reply, end: number } | undefined}
 */
function parse(bytes, start) {
  const lineEnd = bytes.indexOf('\r\n', start)
  if (lineEnd < 0) return undefined
  const kind = bytes.toString('latin1', start, start + 1)
  const line = bytes.toString('utf8', start + 1, lineEnd)
  let end = lineEnd + 2
  if (kind === '-') throw new Error(line)
  if (kind === '+') return { reply: line, end }
  const number = Number(line)
  if (kind === ':') return { reply: number, end }
  if (number < 0) return { reply: null, end }
  if (kind === '$') {
    if (bytes.length < end + number + 2) return undefined
    return { reply: bytes.toString('utf8', end, end + number), end: end + number + 2 }
  }
  /** @type {Reply[]} */
  const items = []
  for (let i = 0; i < number; i++) {
    const item = parse(bytes, end)
    if (item === undefined) return undefined
    items.push(item.reply)
    end = item.end
  }
  return { reply: items, end }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [mode, port] = process.argv.slice(2)
  if (mode === 'collect' && port !== undefined) await collect(Number(port))
  else if (mode === 'generate') writeFileSync(target, generate())
  else if (mode === 'check') {
    if (readFileSync(target, 'utf8') !== generate()) {
      console.error('lib/commands/table.gen.ts is stale: run `node scripts/generate-commands.js generate`')
      process.exitCode = 1
    }
  } else {
    console.error('usage: generate-commands.js collect PORT | generate | check')
    process.exitCode = 2
  }
}
