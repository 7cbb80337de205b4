// What a client is told: one server or a Sentinel deployment, by URL or by options. Pure.
//
//   redis+sentinel://[[user]:password@]host[:port][,host[:port]…]/name[/database][?readFrom=…]   also valkey+sentinel:
//
// and the URLs of one server, see connection/url.ts. User and password are those of the servers, not of the
// sentinels.

import {
  type ConnectionOptions,
  formatAddress,
  parseUrl,
  resolveConnectionOptions,
} from '../connection/index.ts'
import {
  checkReadFrom,
  DEFAULT_MAX_HELD,
  DEFAULT_MAX_HELD_BYTES,
  DEFAULT_PING_INTERVAL,
  DEFAULT_SUSPECT_AFTER,
  type EndpointOptions,
  numberOption,
  type ReadFrom,
} from '../endpoint/index.ts'
import { resolvePoolOptions } from '../pool/index.ts'
import {
  type Address,
  type ResolvedSentinelOptions,
  resolveSentinelOptions,
  type SentinelOptions,
} from '../sentinel/index.ts'

/** Leases and blocking commands of one process: a few are kept, many are possible, an endless number is not. */
const DEFAULT_POOL = Object.freeze({ maxIdle: 10, maxActive: 100, wait: true, idleTimeout: 240_000 })

/** What `Sentinel` is told with the rest, and a client for all kinds of deployments alike. */
const BESIDE_SENTINEL = [
  'connection',
  'pool',
  'readFrom',
  'pingInterval',
  'suspectAfter',
  'maxHeld',
  'maxHeldBytes',
] as const

/** The Sentinel part of {@link ClientOptions}. */
export interface ClientSentinelOptions
  extends Pick<
    SentinelOptions,
    | 'name'
    | 'sentinelConnection'
    | 'answerTimeout'
    | 'pollInterval'
    | 'onFailover'
    | 'adoptEarly'
    | 'agreement'
    | 'natMap'
  > {
  readonly sentinels: readonly Address[]
}

/** Options of `createClient()`: those of the connections, and where and how commands go. */
export interface ClientOptions extends Omit<ConnectionOptions, 'signal' | 'onPush'> {
  /** A Sentinel deployment instead of one server; excludes `host`, `port` and `path`. */
  readonly sentinel?: ClientSentinelOptions | undefined
  /** Where read-only commands go. @default 'master' */
  readonly readFrom?: ReadFrom | undefined
  /** The pool of each server, for leases and blocking commands. @default 10 idle, 100 in all, waiting, 4 minutes idle */
  readonly pool?: SentinelOptions['pool']
  /** See {@link SentinelOptions}. */
  readonly pingInterval?: number | undefined
  readonly suspectAfter?: number | undefined
  readonly maxHeld?: number | undefined
  readonly maxHeldBytes?: number | undefined
}

export type ResolvedClientOptions = { readonly readFrom: ReadFrom; readonly commandTimeout: number } & (
  | { readonly kind: 'single'; readonly address: string; readonly endpoint: EndpointOptions }
  | { readonly kind: 'sentinel'; readonly sentinel: ResolvedSentinelOptions }
)

/** As in other URLs the last `@` ends the user part; what of it stands elsewhere is no URL, and is not repeated. */
const SENTINEL_URL =
  /^(?:redis|valkey)\+sentinel:\/\/(?:([^/?#]*)@)?([^/?#@]*)\/([^/?#@]+)(?:\/(\d+))?\/?(?:\?([^#@]*))?$/

/**
 * Checks and completes.
 *
 * @throws {TypeError} {RangeError} naming what is wrong
 */
export function resolveClientOptions(target: string | URL | ClientOptions = {}): ResolvedClientOptions {
  const options = typeof target === 'object' && !(target instanceof URL) ? target : fromUrl(target)
  if (options === null) throw new TypeError('client options must be a URL or an object, got null')
  const {
    sentinel,
    readFrom = 'master',
    pool,
    pingInterval,
    suspectAfter,
    maxHeld,
    maxHeldBytes,
    ...connection
  } = options
  checkReadFrom(readFrom)
  const resolved = resolveConnectionOptions(connection)
  const { commandTimeout } = resolved
  const common = { readFrom, commandTimeout }
  const ownPool = { ...DEFAULT_POOL, ...pool }
  if (sentinel !== undefined) {
    for (const name of ['host', 'port', 'path'] as const) {
      if (connection[name] !== undefined) throw new TypeError(`option ${name} excludes option sentinel`)
    }
    for (const name of BESIDE_SENTINEL) {
      if (name in { ...sentinel }) throw new TypeError(`option ${name} has its place beside option sentinel`)
    }
    const settings = {
      connection,
      pool: ownPool,
      readFrom,
      pingInterval,
      suspectAfter,
      maxHeld,
      maxHeldBytes,
    }
    return { ...common, kind: 'sentinel', sentinel: resolveSentinelOptions({ ...sentinel, ...settings }) }
  }
  if (readFrom === 'replica') {
    throw new RangeError("option readFrom 'replica' needs a deployment with replicas: set option sentinel")
  }
  resolvePoolOptions({ ...ownPool, dial: () => Promise.reject(new Error('never dialed')) })
  const endpoint: EndpointOptions = {
    connection: { ...connection, commandTimeout },
    pool: ownPool,
    pingInterval: numberOption('pingInterval', pingInterval, DEFAULT_PING_INTERVAL, 0),
    suspectAfter: numberOption('suspectAfter', suspectAfter, DEFAULT_SUSPECT_AFTER, 0),
    maxHeld: numberOption('maxHeld', maxHeld, DEFAULT_MAX_HELD, 1),
    maxHeldBytes: numberOption('maxHeldBytes', maxHeldBytes, DEFAULT_MAX_HELD_BYTES, 1),
  }
  return { ...common, kind: 'single', address: formatAddress(resolved), endpoint }
}

function fromUrl(source: string | URL): ClientOptions {
  if (!/^(redis|valkey)\+sentinel:/.test(String(source))) return withReadFrom(source)
  const match = SENTINEL_URL.exec(String(source))
  if (match === null) {
    throw new TypeError("a Sentinel URL must be 'redis+sentinel://host[:port][,host[:port]]/name[/database]'")
  }
  const [, user, hosts = '', name = '', database, query] = match
  // the parts that it has in common with the URL of one server are read as such
  const common = `redis://${user === undefined ? '' : `${user}@`}localhost/${database ?? ''}?${query ?? ''}`
  const { host: _, ...options } = withReadFrom(common)
  return { ...options, sentinel: { name: decode(name), sentinels: hosts.split(',') } }
}

function decode(name: string): string {
  try {
    return decodeURIComponent(name)
  } catch {
    throw new TypeError('the name in a Sentinel URL has a malformed escape')
  }
}

function withReadFrom(source: string | URL): ClientOptions {
  if (typeof source !== 'string' && !(source instanceof URL)) {
    throw new TypeError(`client options must be a URL or an object, got ${typeof source}`)
  }
  let text = String(source)
  const readFrom = /[?&]readFrom=([^&#]*)/.exec(text)?.[1]
  if (readFrom === undefined) return parseUrl(source)
  text = text.replace(/([?&])readFrom=[^&#]*/, '$1').replace(/[?&]+$/, '')
  checkReadFrom(readFrom)
  return { ...parseUrl(text.replace('?&', '?')), readFrom }
}
