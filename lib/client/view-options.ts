// What `with()` is told, checked and completed.

import { checkMaxStaleness, checkReadFrom, type ReadFrom } from '../endpoint/index.ts'
import { shown } from '../errors.ts'
import type { DispatchOptions } from './dispatch.ts'
import { checkDurable } from './durable.ts'

/** How the commands of a view differ from the client's settings. */
export interface CommandOptions {
  /** Strings in replies as strings or as `Buffer`. @default 'string' */
  readonly replies?: 'string' | 'buffer' | undefined
  /** Milliseconds for all attempts at a command together; 0 = no limit. @default the client's `commandTimeout` */
  readonly timeout?: number | undefined
  /** Gives up whatever is under way. */
  readonly signal?: AbortSignal | undefined
  /** Where read-only commands go. @default the client's `readFrom` */
  readonly readFrom?: ReadFrom | undefined
  /** How old what replicas give may be; see {@link SentinelOptions.maxStaleness}. @default the client's `maxStaleness` */
  readonly maxStaleness?: number | undefined
  /** Running the command twice does no harm, so it may be tried again when its outcome is unknown. @default false */
  readonly idempotent?: boolean | undefined
  /**
   * A write is done when so many replicas have acknowledged it: 1 or more, within `timeout`, which must not be 0. It
   * goes over a connection of its own, from the master's pool. Read-only commands are as ever; those that block throw
   * a `TypeError`. @default off
   */
  readonly durable?: number | undefined
}

const COMMAND_OPTIONS = new Set([
  'replies',
  'timeout',
  'signal',
  'readFrom',
  'maxStaleness',
  'idempotent',
  'durable',
])

/**
 * @returns the settings of a view with others
 * @throws {TypeError} {RangeError} an option that is wrong
 *
 * @internal
 */
export function merge(base: DispatchOptions, options: CommandOptions): DispatchOptions {
  if (options === null || typeof options !== 'object')
    throw new TypeError('command options must be an object')
  for (const name of Object.keys(options)) {
    if (!COMMAND_OPTIONS.has(name)) throw new TypeError(`unknown command option '${name}'`)
  }
  const {
    readFrom = base.readFrom,
    maxStaleness = base.maxStaleness,
    timeout = base.timeout,
    replies = base.replies,
    signal = base.signal,
    idempotent = base.isIdempotent,
    durable = base.durable,
  } = options
  checkReadFrom(readFrom)
  if (maxStaleness !== undefined) checkMaxStaleness(maxStaleness)
  if (typeof timeout !== 'number' || !(timeout >= 0 && timeout <= 2 ** 31 - 1)) {
    throw new RangeError(
      `option timeout must be from 0 to ${2 ** 31 - 1} milliseconds, got ${String(timeout)}`,
    )
  }
  if (replies !== undefined && replies !== 'string' && replies !== 'buffer') {
    throw new RangeError(`option replies must be 'string' or 'buffer', got ${shown(replies)}`)
  }
  checkSignal(signal)
  if (typeof idempotent !== 'boolean') {
    throw new TypeError(`option idempotent must be a boolean, got ${typeof idempotent}`)
  }
  checkDurable(durable, timeout)
  const { session } = base
  return { readFrom, maxStaleness, timeout, replies, signal, isIdempotent: idempotent, durable, session }
}

/**
 * @throws {TypeError}
 *
 * @internal
 */
export function checkSignal(signal: unknown): void {
  if (signal !== undefined && !(signal instanceof AbortSignal))
    throw new TypeError('option signal must be an AbortSignal')
}
