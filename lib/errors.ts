// Every error the library throws: one base class, a few subclasses that each carry data a catcher uses,
// and one table of codes. `docs/errors.md` has a heading for each code; a test keeps the two equal.
//
// Invariant: an error never holds a password, a token, a key or a value; it names commands, addresses,
// limits and counts.

/** Code → what it means. The codes are stable; messages are for people and may change. */
export const errorCodes = {
  ABORT_ERR: 'the caller aborted through its signal; the reason is the cause',
  BATCH_FAILED: 'a command of a pipeline or transaction failed; what became of each is in batch',
  CLIENT_CLOSED: 'the client, or what it stands on, was closed',
  COMMAND_TIMEOUT: 'no reply within the deadline of the command',
  CONNECTION_CLOSED: 'the connection was closed on our side before the command was sent',
  CONNECTION_LOST: 'the peer closed or reset the connection, or fell silent',
  CONNECT_FAILED: 'no connection could be made to the address',
  CONNECT_TIMEOUT: 'dialing, TLS and handshake together took longer than connectTimeout',
  FENCED: 'the server is no longer the one it was: a failover replaced it',
  HANDSHAKE_FAILED: 'the server refused HELLO, AUTH, SELECT or another step of the handshake',
  LEASE_RETURNED: 'a lease was used after it had been given back',
  MASTER_UNKNOWN: 'sentinels answered, but none knows a master of this name',
  MASTER_UNVERIFIED:
    'sentinels name a master, but it could not be reached, does not say it is one, or too few agree',
  NOT_DURABLE: 'too few replicas acknowledged the write in time',
  NO_REPLICA: 'no healthy replica, and the read policy allows no other node',
  POOL_CLOSED: 'the pool was closed',
  POOL_EXHAUSTED: 'all connections of the pool are in use, and it does not wait, or not any longer',
  PROTOCOL_ERROR: 'bytes arrived that are not RESP, or not what was asked for',
  PROTOCOL_LIMIT: 'a reply exceeded a limit of the decoder',
  QUEUE_FULL: 'too many commands, too many bytes of them, or too many callers are waiting',
  REPLY_ERROR: 'the server answered with an error reply',
  SCAN_INTERRUPTED: 'the server that was being iterated over is gone or was replaced, and the cursor with it',
  SENTINELS_UNREACHABLE: 'no sentinel could be asked',
  TRANSACTION_CONFLICT: 'the watched keys were changed during each attempt at the transaction',
} as const

/** One of the keys of {@link errorCodes}. */
export type ErrorCode = keyof typeof errorCodes

/** What became of commands that were run together. */
export interface BatchOutcome {
  /** Place of the first command that failed, from 0; -1: MULTI itself was refused. */
  readonly index: number
  /** Its name, as `CONFIG SET`, without its arguments. */
  readonly command: string
  /** For each command its value, or the error it ended with. */
  readonly results: readonly unknown[]
}

/** What every error of the library can be given besides its code and message. */
export interface ErrorDetails {
  /** The error, or the errors as an `AggregateError`, that led to this one. */
  readonly cause?: unknown
  /** See {@link RespoolError.mayHaveExecuted}. */
  readonly mayHaveExecuted?: boolean
  /** See {@link RespoolError.batch}. */
  readonly batch?: BatchOutcome
}

/** The base of every error that the library throws or rejects with, misuse (`TypeError`, `RangeError`) excepted. */
export class RespoolError extends Error {
  readonly code: ErrorCode
  /**
   * `true` when the command had left for the server and its reply was not seen: it may have run, once. Also when it
   * certainly did run, and something else was not done (`NOT_DURABLE`).
   * `false` when it certainly did not run: it was never sent, or the server refused it.
   */
  readonly mayHaveExecuted: boolean
  readonly #batch: BatchOutcome | undefined

  constructor(code: ErrorCode, message: string, details: ErrorDetails = {}) {
    super(message, 'cause' in details ? { cause: details.cause } : undefined)
    this.name = new.target.name
    this.code = code
    this.mayHaveExecuted = details.mayHaveExecuted ?? false
    this.#batch = details.batch
  }

  /** With `BATCH_FAILED`: which command failed, and all results. Not a property, so that no log shows them. */
  get batch(): BatchOutcome | undefined {
    return this.#batch
  }
}

/** Not so where the intrinsics are frozen. */
const canLimitStack = Object.getOwnPropertyDescriptor(Error, 'stackTraceLimit')?.writable === true

/** The server answered with an error reply. In the codec it is a value, at the client a rejection. */
export class ReplyError extends RespoolError {
  /** The first word of the reply, by convention its kind: `WRONGTYPE`, `READONLY`, `ERR`… */
  readonly prefix: string

  /** @param message the reply as the server sent it, without the type byte */
  constructor(message: string) {
    // its stack would be the decoder's, which tells nobody anything; measured: 0.4 µs instead of 5
    const { stackTraceLimit } = Error
    if (canLimitStack) Error.stackTraceLimit = 0
    super('REPLY_ERROR', message)
    if (canLimitStack) Error.stackTraceLimit = stackTraceLimit
    this.prefix = /^[^\s]*/.exec(message)?.[0] ?? ''
  }
}

/** The peer does not speak RESP, or exceeded a limit of the decoder. The connection does not survive it. */
export class ProtocolError extends RespoolError {
  constructor(code: 'PROTOCOL_ERROR' | 'PROTOCOL_LIMIT', message: string, details?: ErrorDetails) {
    super(code, message, details)
  }
}

/** How far a connection had come when it failed. */
export type ConnectionPhase = 'connect' | 'tls' | 'handshake' | 'ready'

/** A connection could not be made, or ended. */
export class ConnectionError extends RespoolError {
  /** `host:port`, or the path of a unix socket. */
  readonly address: string
  readonly phase: ConnectionPhase

  constructor(
    code:
      | 'CONNECT_FAILED'
      | 'CONNECT_TIMEOUT'
      | 'CONNECTION_CLOSED'
      | 'CONNECTION_LOST'
      | 'FENCED'
      | 'HANDSHAKE_FAILED'
      | 'SCAN_INTERRUPTED',
    message: string,
    details: ErrorDetails & { readonly address: string; readonly phase: ConnectionPhase },
  ) {
    super(code, message, details)
    this.address = details.address
    this.phase = details.phase
  }
}

/** The caller's signal was aborted. Its reason is the `cause`, the name is `'AbortError'` as in Node's own APIs. */
export class AbortError extends RespoolError {
  constructor(signal: AbortSignal, details: { readonly mayHaveExecuted?: boolean } = {}) {
    super('ABORT_ERR', 'the operation was aborted', { ...details, cause: signal.reason })
  }
}

/** A command's deadline passed. */
export class TimeoutError extends RespoolError {
  /** The deadline that passed, in milliseconds from the start of the command. */
  readonly timeout: number

  constructor(message: string, details: ErrorDetails & { readonly timeout: number }) {
    super('COMMAND_TIMEOUT', message, details)
    this.timeout = details.timeout
  }
}

/** A lease, a pool or a bounded queue could not serve the caller. */
export class PoolError extends RespoolError {
  constructor(
    code: 'LEASE_RETURNED' | 'POOL_CLOSED' | 'POOL_EXHAUSTED' | 'QUEUE_FULL' | 'CLIENT_CLOSED',
    message: string,
    details?: ErrorDetails,
  ) {
    super(code, message, details)
  }
}

/** The question who is master, or who is a replica, has no answer now. */
export class SentinelError extends RespoolError {
  constructor(
    code: 'MASTER_UNKNOWN' | 'MASTER_UNVERIFIED' | 'NO_REPLICA' | 'SENTINELS_UNREACHABLE',
    message: string,
    details?: ErrorDetails,
  ) {
    super(code, message, details)
  }
}

/** A write ran on the master, and too few replicas acknowledged it in time. It may reach them later, or be lost. */
export class DurabilityError extends RespoolError {
  /** How many replicas acknowledged it, and how many were to. `undefined`: the master did not say. */
  readonly acknowledged: number | undefined
  readonly wanted: number
  readonly #reply: unknown

  constructor(
    message: string,
    details: {
      readonly acknowledged: number | undefined
      readonly wanted: number
      readonly reply: unknown
      readonly cause?: unknown
    },
  ) {
    const { acknowledged, wanted, reply, cause } = details
    super('NOT_DURABLE', message, { mayHaveExecuted: true, ...(cause === undefined ? {} : { cause }) })
    this.acknowledged = acknowledged
    this.wanted = wanted
    this.#reply = reply
  }

  /** What the write answered. Not a property, so that no log shows it: it may be data. */
  get reply(): unknown {
    return this.#reply
  }
}

/**
 * A wrong value, as messages show it: short, whatever it is.
 *
 * @internal
 */
export function shown(value: unknown): string {
  switch (typeof value) {
    case 'string':
      return JSON.stringify(value.length > 40 ? `${value.slice(0, 40)}…` : value)
    case 'bigint':
      return `${value}n`
    case 'function':
      return 'a function'
    case 'object':
      return value === null ? 'null' : Array.isArray(value) ? 'an array' : 'an object'
    default:
      return String(value)
  }
}
