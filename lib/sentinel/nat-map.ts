// What sentinels and servers announce of themselves, translated to where they can be reached from here. Every
// address that comes in passes once through here, at the door (sentinel-link.ts; router.ts for what ROLE names),
// so that behind it all addresses are ours and can be compared.

import { type Address, normalizeAddress } from './address.ts'

/** What an announced address is said to be. */
export type Announced = 'master' | 'replica' | 'sentinel'

/**
 * Announced address → where it is reached from here. Addresses that it does not have (of a function: `undefined`)
 * stay as they are. A function is called for every address of every answer: it should only look something up.
 */
export type NatMap =
  | Readonly<Record<string, Address>>
  | ((address: string, what: Announced) => Address | undefined)

export type Translate = (address: string, what: Announced) => string

/** No port is filled in: a port that is missing was forgotten. */
const NO_DEFAULT = 0

/**
 * @returns a function that throws where the user's own throws, or gives what is no address
 * @throws {TypeError} what is wrong with the option
 */
export function translator(natMap: NatMap | undefined): Translate {
  if (natMap === undefined) return (address) => address
  if (typeof natMap === 'function') return (address, what) => ask(natMap, address, what)
  if (natMap === null || typeof natMap !== 'object' || Array.isArray(natMap)) {
    throw new TypeError(`option natMap must be an object or a function, got ${kindOf(natMap)}`)
  }
  const known = new Map<string, string>()
  for (const [from, to] of Object.entries(natMap)) known.set(checked(from, from), checked(to, from))
  return (address) => known.get(address) ?? address
}

function ask(natMap: (address: string, what: Announced) => unknown, address: string, what: Announced) {
  let to: unknown
  try {
    to = natMap(address, what)
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    throw new Error(`option natMap threw for ${what} ${address}: ${reason}`, { cause: error })
  }
  return to === undefined ? address : checked(to, address)
}

function checked(to: unknown, from: string): string {
  try {
    if (typeof to === 'string' || (typeof to === 'object' && to !== null)) {
      return normalizeAddress(to as Address, NO_DEFAULT)
    }
  } catch {
    // told below, with the address that it is about
  }
  const got = typeof to === 'string' ? JSON.stringify(to) : kindOf(to)
  throw new TypeError(`option natMap must give 'host:port' or { host, port } for ${from}, got ${got}`)
}

function kindOf(value: unknown): string {
  if (value === null) return 'null'
  if (value instanceof Promise) return 'a promise'
  return typeof value === 'object' ? 'an object without them' : typeof value
}
