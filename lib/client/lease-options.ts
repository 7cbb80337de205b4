// What `lease()` and `use()` are told, checked.

import { checkReadFrom, type LeaseOptions, type ReadFrom } from '../endpoint/index.ts'
import { checkSignal } from './view-options.ts'

/** Whose connection a lease is of, and how it is lent. */
export interface ClientLeaseOptions extends LeaseOptions {
  readonly readFrom?: ReadFrom | undefined
}

const KNOWN = new Set(['readFrom', 'signal', 'lazy'])

/**
 * @throws {TypeError} {RangeError}
 *
 * @internal
 */
export function checkLeaseOptions(options: unknown): void {
  if (options === null || typeof options !== 'object') throw new TypeError('lease options must be an object')
  for (const name of Object.keys(options)) {
    if (!KNOWN.has(name)) throw new TypeError(`unknown lease option '${name}'`)
  }
  const { readFrom = 'master', signal }: ClientLeaseOptions = options
  checkReadFrom(readFrom)
  checkSignal(signal)
}
