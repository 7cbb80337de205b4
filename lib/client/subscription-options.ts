// What a subscription is told, checked and completed. Pure.

import { checkReadFrom, numberOption, type ReadFrom } from '../endpoint/index.ts'
import { shown } from '../errors.ts'
import { checkSignal } from './view-options.ts'

/** A consumer that is this far behind will not catch up by a larger buffer. */
const DEFAULT_LIMIT = 10_000
const DEFAULT_LIMIT_BYTES = 64 * 1024 * 1024

const OVERFLOWS: readonly Overflow[] = Object.freeze(['drop-oldest', 'drop-newest', 'close'])

const COMMON = ['replies', 'readFrom', 'timeout', 'signal', 'onGap'] as const
const OPTIONS = {
  listener: new Set<string>([...COMMON, 'onError']),
  iterator: new Set<string>([...COMMON, 'limit', 'limitBytes', 'overflow']),
}

/** Payloads as strings or as `Buffer`. */
export type Replies = 'string' | 'buffer'

/** A message as `replies` asks for it. */
export type Payload<R extends Replies = 'string'> = R extends 'buffer' ? Buffer : string

/** What becomes of messages that the consumer has no room for. */
export type Overflow = 'drop-oldest' | 'drop-newest' | 'close'

/** A time in which messages may have been missed: the server's connection was lost, or another took its place. */
export interface Gap {
  /** Why the connection ended: its `code` is `FENCED` where a failover replaced the server. */
  readonly reason: Error
  /** Address of the server before and from now on; the same when only the connection was lost. */
  readonly from: string
  readonly to: string
  /** How many channels and patterns it concerns. */
  readonly channels: number
  /** Milliseconds since the old server was last heard: messages of that time may have been missed. */
  readonly downtime: number
}

interface CommonOptions<R extends Replies> {
  /** Payloads as strings, or as `Buffer`; names of channels are strings in any case. @default 'string' */
  readonly replies?: R | undefined
  /**
   * Which server to subscribe at. A replica passes on what its master published; it misses what is published while its
   * link is down, and only the master tells of every gap. @default 'master'
   */
  readonly readFrom?: ReadFrom | undefined
  /** Milliseconds within which the server has to confirm; 0 = no limit. @default the client's `commandTimeout` */
  readonly timeout?: number | undefined
  /** Called when the subscription is whole again after a loss, before the first message that comes then. */
  readonly onGap?: ((gap: Gap) => void) | undefined
}

/** Options of `subscribe()`, `psubscribe()` and `ssubscribe()`. */
export interface SubscribeOptions<R extends Replies = 'string'> extends CommonOptions<R> {
  /** Gives up waiting for the confirmation; afterwards it has no effect. */
  readonly signal?: AbortSignal | undefined
  /**
   * Told what the listener, or `onGap`, threw or rejected with. What it throws itself is an uncaught exception.
   * @default a warning of the process, once for each subscription
   */
  readonly onError?: ((error: unknown) => void) | undefined
}

/** Options of `subscription()`, `psubscription()` and `ssubscription()`. */
export interface SubscriptionOptions<R extends Replies = 'string'> extends CommonOptions<R> {
  /** Ends the iteration, with `ABORT_ERR`. */
  readonly signal?: AbortSignal | undefined
  /** Messages that may wait for the consumer. @default 10000 */
  readonly limit?: number | undefined
  /** Bytes of them, counted by the length of payloads; a single message may be larger. @default 64 MiB */
  readonly limitBytes?: number | undefined
  /** @default 'drop-oldest' */
  readonly overflow?: Overflow | undefined
}

/** What both forms come to. */
export interface ResolvedSubscriptionOptions {
  readonly replies: Replies
  readonly readFrom: ReadFrom
  readonly timeout: number
  readonly signal: AbortSignal | undefined
  readonly onGap: ((gap: Gap) => void) | undefined
  readonly onError: ((error: unknown) => void) | undefined
  readonly limit: number
  readonly limitBytes: number
  readonly overflow: Overflow
}

/**
 * Checks and completes.
 *
 * @throws {TypeError} {RangeError} naming what is wrong
 */
export function resolveSubscriptionOptions(
  form: 'listener' | 'iterator',
  options: SubscribeOptions<Replies> & SubscriptionOptions<Replies>,
  commandTimeout: number,
): ResolvedSubscriptionOptions {
  if (options === null || typeof options !== 'object') {
    throw new TypeError('subscription options must be an object')
  }
  for (const name of Object.keys(options)) {
    if (!OPTIONS[form].has(name)) throw new TypeError(`unknown subscription option '${name}'`)
  }
  const { replies = 'string', readFrom = 'master', overflow = 'drop-oldest', signal } = options
  if (replies !== 'string' && replies !== 'buffer') {
    throw new RangeError(`option replies must be 'string' or 'buffer', got ${shown(replies)}`)
  }
  checkReadFrom(readFrom)
  checkSignal(signal)
  if (!OVERFLOWS.includes(overflow)) {
    throw new RangeError(`option overflow must be one of ${OVERFLOWS.join(', ')}, got ${shown(overflow)}`)
  }
  return Object.freeze({
    replies,
    readFrom,
    signal,
    overflow,
    timeout: numberOption('timeout', options.timeout, commandTimeout, 0),
    onGap: callback('onGap', options.onGap),
    onError: callback('onError', options.onError),
    limit: numberOption('limit', options.limit, DEFAULT_LIMIT, 1),
    limitBytes: numberOption('limitBytes', options.limitBytes, DEFAULT_LIMIT_BYTES, 1),
  })
}

/**
 * The names, each once, in their order.
 *
 * @throws {TypeError} {RangeError}
 */
export function checkChannels(channels: unknown): readonly string[] {
  const names: readonly unknown[] = Array.isArray(channels) ? channels : [channels]
  if (names.length === 0) throw new RangeError('a subscription needs at least one channel')
  for (const name of names) {
    if (typeof name !== 'string') throw new TypeError(`a channel must be a string, got ${typeof name}`)
    // it would be sent as another character, and no message would ever be found to be of it
    if (/\p{Surrogate}/u.test(name)) throw new TypeError('a channel must not have half a surrogate pair')
  }
  return Object.freeze([...new Set(names as readonly string[])])
}

function callback<F>(name: string, value: F | undefined): F | undefined {
  if (value !== undefined && typeof value !== 'function') {
    throw new TypeError(`option ${name} must be a function, got ${value === null ? 'null' : typeof value}`)
  }
  return value
}
