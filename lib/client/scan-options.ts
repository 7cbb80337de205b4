// What iterators over keys, fields and members are told, checked; and the commands that they become. Pure.

import { shown } from '../errors.ts'
import { type Argument, checkCommand } from '../resp/index.ts'

/** Options of `sscanIterator()` and `zscanIterator()`. */
export interface ScanOptions {
  /** Only what matches the pattern: `user:*`. The server looks at everything all the same. @default all */
  readonly match?: string | Uint8Array | undefined
  /** About how many the server looks at for each page: a hint. @default the server's, 10 */
  readonly count?: number | undefined
  /**
   * What becomes of the iteration when its server is gone or replaced, with which the cursor is lost: it fails with
   * `SCAN_INTERRUPTED`, or begins anew on the server that there is then, so that items come again. @default 'error'
   */
  readonly onSwitch?: 'error' | 'restart' | undefined
}

/** Options of `hscanIterator()`. */
export interface HashScanOptions extends ScanOptions {
  /** Fields with their values; false: fields alone, which Redis knows since 7.4, Valkey since 8.0. @default true */
  readonly values?: boolean | undefined
}

/** Options of `scanIterator()`. */
export interface KeyScanOptions extends ScanOptions {
  /** Only keys of that type: `'hash'`, `'list'`… @default all */
  readonly type?: string | undefined
}

/** One iteration, checked: its command for each cursor. The bytes are ours. */
export interface ScanRequest {
  readonly restarts: boolean
  command(cursor: string): readonly Argument[]
}

const NAMES = ['match', 'count', 'onSwitch']
/** What one command knows beside. */
const OWN_NAMES = { SCAN: ['type'], HSCAN: ['values'], SSCAN: [], ZSCAN: [] }

/**
 * @param key of what is scanned; `undefined`: the keys of the database
 * @throws {TypeError} {RangeError} naming what is wrong
 */
export function scanRequest(
  name: 'SCAN' | 'HSCAN' | 'SSCAN' | 'ZSCAN',
  key: Argument | undefined,
  options: KeyScanOptions & HashScanOptions,
): ScanRequest {
  checkNames(options, [...NAMES, ...OWN_NAMES[name]])
  const { match, count, type, values = true, onSwitch = 'error' } = options
  if (match !== undefined && typeof match !== 'string' && !(match instanceof Uint8Array)) {
    throw new TypeError(`option match must be a string or a Uint8Array, got ${kindOf(match)}`)
  }
  if (count !== undefined && typeof count !== 'number') {
    throw new TypeError(`option count must be a number, got ${kindOf(count)}`)
  }
  if (count !== undefined && !(Number.isSafeInteger(count) && count >= 1)) {
    throw new RangeError(`option count must be an integer of 1 or more, got ${count}`)
  }
  if (type !== undefined && typeof type !== 'string') {
    throw new TypeError(`option type must be a string, got ${kindOf(type)}`)
  }
  if (typeof values !== 'boolean') {
    throw new TypeError(`option values must be a boolean, got ${kindOf(values)}`)
  }
  if (onSwitch !== 'error' && onSwitch !== 'restart') {
    throw new RangeError(`option onSwitch must be 'error' or 'restart', got ${shown(onSwitch)}`)
  }
  const of = name === 'SCAN' ? [name] : [name, owned(key as Argument)]
  checkCommand(of)
  const rest: Argument[] = []
  if (match !== undefined) rest.push('MATCH', owned(match))
  if (count !== undefined) rest.push('COUNT', count)
  if (type !== undefined) rest.push('TYPE', type)
  if (!values) rest.push('NOVALUES')
  return { restarts: onSwitch === 'restart', command: (cursor) => [...of, cursor, ...rest] }
}

function checkNames(options: unknown, known: readonly string[]): void {
  if (options === null || typeof options !== 'object') {
    throw new TypeError(`scan options must be an object, got ${kindOf(options)}`)
  }
  for (const name of Object.keys(options)) {
    if (!known.includes(name)) throw new TypeError(`unknown scan option '${name}'`)
  }
}

function owned(argument: Argument): Argument {
  return argument instanceof Uint8Array ? Buffer.from(argument) : argument
}

function kindOf(value: unknown): string {
  return value === null ? 'null' : typeof value
}
