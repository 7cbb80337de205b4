// Whether two addresses lead to one server, though they are written differently: a name and its IP address,
// forms of one IPv6 address, capitals. Sentinels may announce names while a replica calls its master by IP.
//
// Names are looked up where the text does not decide; what was found is kept for a moment, and a lookup that
// takes long is not waited for: its result is there for the next question.

import { isIPv4, isIPv6, type LookupFunction } from 'node:net'
import { splitAddress } from './replies.ts'

/** A name that moves is noticed after this; one that cannot be found is tried again after the second. */
const KEEP_MS = 5_000
const KEEP_FAILURE_MS = 1_000
/** How long an answer waits for a lookup. */
const LOOKUP_MS = 250
/** Names that are kept: far more than a deployment has. */
const MAX_KEPT = 256

interface Found {
  readonly until: number
  readonly addresses: Promise<ReadonlySet<string>>
}

export interface SameServerOptions {
  /** @default `dns.lookup` */
  readonly lookup?: LookupFunction | undefined
  /** The clock, in milliseconds. */
  readonly now?: () => number
}

export class SameServer {
  readonly #lookup: LookupFunction
  readonly #now: () => number
  readonly #found = new Map<string, Found>()

  constructor({
    // loaded with the first of them: node:dns is a twentieth of what the import of the library would cost
    lookup = process.getBuiltinModule('node:dns').lookup as LookupFunction,
    now = () => performance.now(),
  }: SameServerOptions) {
    this.#lookup = lookup
    this.#now = now
  }

  /** Names whose addresses are kept. */
  get size(): number {
    return this.#found.size
  }

  /** Decides at once where the text is enough. Never rejects: a name that cannot be looked up is no other's. */
  isSame(a: string, b: string): boolean | Promise<boolean> {
    if (a === b) return true
    const [one, other] = [splitAddress(a), splitAddress(b)]
    if (one.port !== other.port) return false
    const [host, otherHost] = [canonical(one.host), canonical(other.host)]
    if (host === otherHost) return true
    if (isIp(host) && isIp(otherHost)) return false
    return this.#share(host, otherHost)
  }

  async #share(host: string, otherHost: string): Promise<boolean> {
    const both = Promise.all([this.#addressesOf(host), this.#addressesOf(otherHost)])
    const found = await soon(both)
    return found !== undefined && [...found[0]].some((address) => found[1].has(address))
  }

  #addressesOf(host: string): Promise<ReadonlySet<string>> {
    if (isIp(host)) return Promise.resolve(new Set([host]))
    const kept = this.#found.get(host)
    if (kept !== undefined && kept.until > this.#now()) return kept.addresses
    const addresses = this.#resolve(host)
    this.#found.delete(host) // so that the order is that of age
    this.#found.set(host, { until: this.#now() + KEEP_MS, addresses })
    for (const oldest of this.#found.keys()) {
      if (this.#found.size <= MAX_KEPT) break
      this.#found.delete(oldest)
    }
    void addresses.then(({ size }) => {
      if (size === 0 && this.#found.get(host)?.addresses === addresses) {
        this.#found.set(host, { until: this.#now() + KEEP_FAILURE_MS, addresses })
      }
    })
    return addresses
  }

  #resolve(host: string): Promise<ReadonlySet<string>> {
    return new Promise((resolve) => {
      try {
        this.#lookup(host, { all: true }, (error, found) => {
          // a lookup of the user's may give one address though all are asked for
          const all = Array.isArray(found) ? found.map(({ address }) => address) : [found]
          resolve(new Set(error ? [] : all.filter((it) => typeof it === 'string').map(canonical)))
        })
      } catch {
        resolve(new Set()) // a lookup of the user's that throws has found nothing
      }
    })
  }
}

/** One text for all forms of an address or a name. */
function canonical(host: string): string {
  const text = host.toLowerCase().replace(/\.$/, '')
  const [bare = '', zone] = text.split('%')
  if (!isIPv6(bare)) return text
  const short = new URL(`http://[${bare}]/`).hostname.slice(1, -1)
  const [, high, low] = /^::ffff:([0-9a-f]{1,4}):([0-9a-f]{1,4})$/.exec(short) ?? []
  if (high !== undefined && low !== undefined) {
    const bits = Number.parseInt(high, 16) * 65_536 + Number.parseInt(low, 16)
    return [24, 16, 8, 0].map((shift) => (bits >>> shift) & 255).join('.')
  }
  return zone === undefined ? short : `${short}%${zone}`
}

function isIp(host: string): boolean {
  return isIPv4(host) || isIPv6(host)
}

function soon<T>(promise: Promise<T>): Promise<T | undefined> {
  return new Promise((resolve) => {
    const timer = setTimeout(() => resolve(undefined), LOOKUP_MS)
    void promise.then(resolve).finally(() => clearTimeout(timer))
  })
}
