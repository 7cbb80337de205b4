import assert from 'node:assert/strict'
import { test } from 'node:test'
import { LIBRARY_NAME, LIBRARY_VERSION } from '../lib/connection/handshake.ts'
import {
  AbortError,
  ConnectionError,
  errorCodes,
  PoolError,
  ProtocolError,
  ReplyError,
  RespoolError,
  SentinelError,
  TimeoutError,
} from '../lib/errors.ts'
import { readProjectFile } from './support/project.ts'

/** The sections of docs/errors.md by their headings. */
function documented(): Map<string, string> {
  const [, ...sections] = readProjectFile('docs/errors.md').split(/^## /m)
  return new Map(
    sections.map((section) => {
      const end = section.indexOf('\n')
      return [section.slice(0, end), section.slice(end + 1).trim()]
    }),
  )
}

test('docs/errors.md has a heading for each code, in the order of the table, and no other', () => {
  assert.deepEqual([...documented().keys()], Object.keys(errorCodes))
})

test('the codes are in order', () => {
  const codes = Object.keys(errorCodes)
  assert.deepEqual(codes, codes.toSorted())
})

for (const [code, meaning] of Object.entries(errorCodes)) {
  test(`docs/errors.md says of ${code} what the table says, whether the command may have run, and what to do`, () => {
    const section = documented().get(code)?.replace(/\s+/g, ' ') ?? ''
    const sentence = (meaning[0] ?? '').toUpperCase() + meaning.slice(1)
    assert.ok(section.startsWith(sentence), `'${section.slice(0, 80)}…' does not begin with '${sentence}'`)
    assert.match(section, /- May it have run: (no|yes|when it had been sent)/)
    assert.match(section, /- What to do: ./)
  })
}

test('an error has its name, its code, its cause and what became of the command', () => {
  const cause = new Error('cause')
  const where = { address: 'db:6379', phase: 'ready' } as const
  const { signal } = { signal: AbortSignal.abort(cause) }
  const rows: [RespoolError, string, string][] = [
    [new ConnectionError('CONNECTION_LOST', 'm', { ...where, cause }), 'ConnectionError', 'CONNECTION_LOST'],
    [new ProtocolError('PROTOCOL_ERROR', 'm', { cause }), 'ProtocolError', 'PROTOCOL_ERROR'],
    [new TimeoutError('m', { timeout: 5, cause }), 'TimeoutError', 'COMMAND_TIMEOUT'],
    [new PoolError('POOL_CLOSED', 'm', { cause }), 'PoolError', 'POOL_CLOSED'],
    [new SentinelError('MASTER_UNKNOWN', 'm', { cause }), 'SentinelError', 'MASTER_UNKNOWN'],
    [new AbortError(signal), 'AbortError', 'ABORT_ERR'],
  ]
  for (const [error, name, code] of rows) {
    assert.ok(error instanceof RespoolError && error instanceof Error)
    assert.deepEqual([error.name, error.code, error.cause], [name, code, cause])
    assert.equal(error.mayHaveExecuted, false)
    assert.match(String(error.stack), new RegExp(`^Error|^${name}`))
  }
  assert.equal(new AbortError(signal, { mayHaveExecuted: true }).mayHaveExecuted, true)
  assert.equal(new PoolError('POOL_CLOSED', 'm', { mayHaveExecuted: true }).mayHaveExecuted, true)
})

test('an error without a cause has none', () => {
  assert.equal(Object.hasOwn(new ProtocolError('PROTOCOL_ERROR', 'm'), 'cause'), false)
  assert.equal(Object.hasOwn(new ReplyError('ERR'), 'cause'), false)
})

test('an error reply has its first word as its prefix', () => {
  for (const [message, prefix] of [
    ['WRONGTYPE Operation against a key', 'WRONGTYPE'],
    ['READONLY', 'READONLY'],
    ['MOVED 3999 127.0.0.1:6381', 'MOVED'],
    ['', ''],
  ] as const) {
    const error = new ReplyError(message)
    assert.deepEqual([error.prefix, error.message, error.code], [prefix, message, 'REPLY_ERROR'])
  }
})

test('the library tells servers its name and version as package.json has them', () => {
  const { name, version } = JSON.parse(readProjectFile('package.json')) as Record<string, unknown>
  assert.deepEqual([LIBRARY_NAME, LIBRARY_VERSION], [name, version])
})

test('an error reply has no stack but itself, and leaves those of others alone', () => {
  const limit = Error.stackTraceLimit
  const { stack } = new ReplyError('ERR no such key')
  assert.equal(stack, 'ReplyError: ERR no such key')
  assert.equal(Error.stackTraceLimit, limit)
  assert.match(new Error('other').stack ?? '', /errors\.test/)
})
