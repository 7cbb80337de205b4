import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isRetriable, type Outcome, outcomeOf, refusalOf } from '../../lib/endpoint/index.ts'
import { isPermanent } from '../../lib/endpoint/outcome.ts'
import {
  AbortError,
  ConnectionError,
  PoolError,
  ProtocolError,
  ReplyError,
  SentinelError,
  TimeoutError,
} from '../../lib/errors.ts'

const where = { address: '127.0.0.1:1', phase: 'ready' } as const
const isSent = { mayHaveExecuted: true }

function connectionError(
  code: ConstructorParameters<typeof ConnectionError>[0],
  details = {},
): ConnectionError {
  return new ConnectionError(code, 'text', { ...where, ...details })
}

test('an error reply that refuses for now says why: the wrong role, or not ready', () => {
  const rows: [string, 'wrong-role' | 'not-ready' | undefined][] = [
    ["READONLY You can't write against a read only replica.", 'wrong-role'],
    ['MASTERDOWN Link with MASTER is down', 'not-ready'],
    ['LOADING Redis is loading the dataset in memory', 'not-ready'],
    ['NOREPLICAS Not enough good replicas to write.', 'not-ready'],
    ['TRYAGAIN Multiple keys request during rehashing of slot', 'not-ready'],
    ['CLUSTERDOWN The cluster is down', 'not-ready'],
    ['BUSY Redis is busy running a script.', 'not-ready'],
    // a script's, before and after Redis 7
    ["ERR Error running script (call to f_1): @user_script:1: -READONLY You can't write", 'wrong-role'],
    ["READONLY You can't write against a read only replica. script: 1, on @user_script:1.", 'wrong-role'],
    // a transaction's, and that of a blocked command whose master is demoted
    [
      "EXECABORT Transaction discarded because of: READONLY You can't write against a read only replica.",
      'wrong-role',
    ],
    ['EXECABORT Transaction discarded because of: LOADING Redis is loading', 'not-ready'],
    ['EXECABORT Transaction discarded because of: OOM command not allowed', undefined],
    ['EXECABORT Transaction discarded because of previous errors.', undefined],
    [
      'UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)',
      'wrong-role',
    ],
    ['UNBLOCKED client unblocked via CLIENT UNBLOCK', undefined],
    ['ERR value is not an integer or out of range', undefined],
    ['ERR READONLYFOO', undefined],
    ['WRONGTYPE Operation against a key holding the wrong kind of value', undefined],
    ['BUSYGROUP Consumer Group name already exists', undefined],
    ['BUSYKEY Target key name already exists.', undefined],
    ['NOAUTH Authentication required.', undefined],
    ['OOM command not allowed', undefined],
    ['MISCONF Redis is configured to save', undefined],
    ['readonly in small letters', undefined],
    ['', undefined],
  ]
  for (const [text, expected] of rows) {
    const error = new ReplyError(text)
    assert.equal(refusalOf(error), expected, text)
    assert.equal(outcomeOf(error), expected === undefined ? 'answered' : 'refused', text)
    assert.equal(isRetriable(error, false), expected !== undefined, text)
  }
  assert.equal(refusalOf(connectionError('CONNECTION_LOST')), undefined)
})

test('what a failure says of the command, and whether it is tried again', () => {
  const aborted = AbortSignal.abort()
  const rows: [unknown, Outcome, retriable: boolean, retriableIfIdempotent: boolean][] = [
    [connectionError('CONNECT_FAILED'), 'not-sent', true, true],
    [connectionError('CONNECT_TIMEOUT'), 'not-sent', true, true],
    [connectionError('CONNECTION_CLOSED'), 'not-sent', true, true],
    [connectionError('CONNECTION_LOST'), 'not-sent', true, true],
    [connectionError('FENCED'), 'not-sent', true, true],
    [connectionError('HANDSHAKE_FAILED'), 'not-sent', true, true],
    [connectionError('CONNECTION_LOST', isSent), 'unknown', false, true],
    [connectionError('FENCED', isSent), 'unknown', false, true],
    // bytes that are not RESP end the connection: what it had not sent can go elsewhere
    [new ProtocolError('PROTOCOL_ERROR', 'text'), 'not-sent', true, true],
    // what was sent might get the same bytes again
    [new ProtocolError('PROTOCOL_ERROR', 'text', isSent), 'unknown', false, false],
    [new ProtocolError('PROTOCOL_LIMIT', 'text', isSent), 'unknown', false, false],
    // deadline and signal are the caller's last word
    [new TimeoutError('text', { timeout: 1, ...isSent }), 'unknown', false, false],
    [new TimeoutError('text', { timeout: 1 }), 'answered', false, false],
    [new AbortError(aborted, isSent), 'unknown', false, false],
    [new AbortError(aborted), 'answered', false, false],
    [new PoolError('QUEUE_FULL', 'text'), 'answered', false, false],
    [new PoolError('CLIENT_CLOSED', 'text'), 'answered', false, false],
    [new SentinelError('MASTER_UNKNOWN', 'text'), 'answered', false, false],
    [new TypeError('text'), 'answered', false, false],
    ['thrown by a listener', 'answered', false, false],
    [undefined, 'answered', false, false],
  ]
  for (const [error, outcome, retriable, retriableIfIdempotent] of rows) {
    assert.equal(outcomeOf(error), outcome, String(error))
    assert.equal(isRetriable(error, false), retriable, String(error))
    assert.equal(isRetriable(error, true), retriableIfIdempotent, String(error))
  }
})

test('a handshake that was refused for good is not tried again', () => {
  const refused = (text: string) =>
    connectionError('HANDSHAKE_FAILED', { phase: 'handshake', cause: new ReplyError(text) })
  const rows: [string, boolean][] = [
    ['WRONGPASS invalid username-password pair or user is disabled.', true],
    ['NOAUTH HELLO must be called with the client already authenticated', true],
    ['ERR DB index is out of range', true],
    ['NOPERM this user has no permissions', true],
    ['ERR max number of clients reached', false],
    ['LOADING Redis is loading the dataset in memory', false],
    ['MASTERDOWN Link with MASTER is down', false],
  ]
  for (const [text, expected] of rows) {
    assert.equal(isPermanent(refused(text)), expected, text)
    assert.equal(isRetriable(refused(text), true), !expected, text)
  }
  assert.equal(isPermanent(connectionError('HANDSHAKE_FAILED')), false, 'the wrong role passes')
  assert.equal(isPermanent(connectionError('CONNECT_FAILED', { cause: new ReplyError('ERR') })), false)
  assert.equal(isPermanent(new ReplyError('WRONGPASS')), false)
})
