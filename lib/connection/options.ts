// What a connection can be told, checked and completed. Pure: the caller's object is only read.

import type { LookupFunction } from 'node:net'
import type { ConnectionOptions as TlsOptions } from 'node:tls'
import type { Reply } from '../resp/index.ts'
import { parseUrl } from './url.ts'

/** Over the whole of dial, TLS and handshake: long enough for a lost SYN to be sent again twice (1 s, 3 s). */
export const DEFAULT_CONNECT_TIMEOUT = 5_000
/** Far above any healthy reply, short enough for a request that waits for it. */
export const DEFAULT_COMMAND_TIMEOUT = 5_000
/** A loop of a million commands without waiting fits; an endless one is found out. */
export const DEFAULT_MAX_PENDING = 2 ** 20
export const DEFAULT_MAX_PENDING_BYTES = 256 * 1024 * 1024
const DEFAULT_PORT = 6379

/** User and password of an ACL user; without `username` the default user. */
export interface Credentials {
  readonly username?: string | undefined
  readonly password: string
  /**
   * Milliseconds for which they are good. Before that is over the function is asked again and the connection
   * authenticates anew; if either fails, the connection is destroyed. @default for ever
   */
  readonly expiresIn?: number | undefined
}

export interface ConnectionOptions {
  /** Name or address of the server; of a name with several addresses, one that answers. @default '127.0.0.1' */
  readonly host?: string | undefined
  /** @default 6379 */
  readonly port?: number | undefined
  /** Path of a unix socket; host and port are not looked at then. */
  readonly path?: string | undefined
  /** Gives the addresses of a name that is no address itself, as that of `net.connect`. @default `dns.lookup` */
  readonly lookup?: LookupFunction | undefined
  /**
   * `true` for TLS with Node's defaults, options of `tls.connect`, or a function asked anew for each connection, so
   * that certificates can change. Where it leads is for `host`, `port` and `path` to say.
   */
  readonly tls?: boolean | TlsOptions | (() => TlsOptions | Promise<TlsOptions>) | undefined
  /** Name of the ACL user; only with `password`. */
  readonly username?: string | undefined
  readonly password?: string | undefined
  /** Asked anew for each connection, instead of `username` and `password`. */
  readonly credentials?: (() => Credentials | Promise<Credentials>) | undefined
  /** Number of the database that is selected. @default 0 */
  readonly database?: number | undefined
  /** Name of the connection in CLIENT LIST. Neither spaces nor control characters. */
  readonly clientName?: string | undefined
  /** Version of RESP that is asked for; servers that do not have 3 are spoken to in 2. @default 3 */
  readonly protocol?: 2 | 3 | undefined
  /** Milliseconds for dial, TLS and handshake together; 0 = no limit. @default 5000 */
  readonly connectTimeout?: number | undefined
  /**
   * Milliseconds a command may take when it does not say otherwise; a blocking command has its own timeout
   * plus this much. 0 = no limit. @default 5000
   */
  readonly commandTimeout?: number | undefined
  /** Commands that may be waiting for their reply. @default 1048576 */
  readonly maxPending?: number | undefined
  /** Bytes of commands that may be waiting to be sent. @default 268435456 */
  readonly maxPendingBytes?: number | undefined
  /** Ends the attempt to connect; of no effect on the connection once it is there. */
  readonly signal?: AbortSignal | undefined
  /**
   * Called with each push that is not the confirmation of a (un)subscription: `['message', channel, payload]`,
   * `['invalidate', keys]`… Lines of MONITOR come as `['monitor', line]`. What it throws is an uncaught exception.
   */
  readonly onPush?: ((push: readonly Reply[]) => void) | undefined
}

export interface ResolvedConnectionOptions extends ConnectionOptions {
  readonly host: string
  readonly port: number
  readonly database: number
  readonly protocol: 2 | 3
  readonly connectTimeout: number
  readonly commandTimeout: number
  readonly maxPending: number
  readonly maxPendingBytes: number
}

const KNOWN = new Set<string>([
  'host',
  'port',
  'path',
  'lookup',
  'tls',
  'username',
  'password',
  'credentials',
  'database',
  'clientName',
  'protocol',
  'connectTimeout',
  'commandTimeout',
  'maxPending',
  'maxPendingBytes',
  'signal',
  'onPush',
] satisfies (keyof ConnectionOptions)[])

/**
 * Checks and completes; the result is frozen. Of target and overrides, the overrides win.
 *
 * @throws {TypeError} an option that is unknown or of the wrong type, a URL of the wrong form
 * @throws {RangeError} an option out of its range
 */
export function resolveConnectionOptions(
  target: string | URL | ConnectionOptions = {},
  overrides: ConnectionOptions = {},
): ResolvedConnectionOptions {
  const isUrl = typeof target === 'string' || target instanceof URL
  if (!isUrl && (target === null || typeof target !== 'object')) {
    throw new TypeError(`connection options must be a URL or an object, got ${String(target)}`)
  }
  const given: ConnectionOptions = { ...(isUrl ? parseUrl(target) : target), ...defined(overrides) }
  for (const name of Object.keys(given)) {
    if (!KNOWN.has(name)) throw new TypeError(`unknown connection option '${name}'`)
  }
  checkString('host', given.host, /^[^\s\0]+$/)
  checkString('path', given.path, /^[^\0]+$/)
  checkString('username', given.username)
  checkString('password', given.password)
  checkString('clientName', given.clientName, /^[\x21-\x7e]*$/)
  checkFunction('lookup', given.lookup)
  checkFunction('credentials', given.credentials)
  checkFunction('onPush', given.onPush)
  if (given.signal !== undefined && !(given.signal instanceof AbortSignal)) {
    throw new TypeError('option signal must be an AbortSignal')
  }
  if (given.tls === null || !['undefined', 'boolean', 'object', 'function'].includes(typeof given.tls)) {
    throw new TypeError(
      `option tls must be a boolean, an object or a function, got ${given.tls === null ? 'null' : typeof given.tls}`,
    )
  }
  if (given.protocol !== undefined && given.protocol !== 2 && given.protocol !== 3) {
    throw new RangeError(`option protocol must be 2 or 3, got ${String(given.protocol)}`)
  }
  if (given.credentials !== undefined && given.password !== undefined) {
    throw new TypeError('option credentials excludes username and password')
  }
  if (given.username !== undefined && given.password === undefined && given.credentials === undefined) {
    throw new TypeError('option username needs a password')
  }
  return Object.freeze({
    ...given,
    host: given.host ?? '127.0.0.1',
    port: integer('port', given.port, DEFAULT_PORT, 1, 65_535),
    database: integer('database', given.database, 0, 0, 2 ** 31 - 1),
    protocol: given.protocol ?? 3,
    connectTimeout: milliseconds('connectTimeout', given.connectTimeout, DEFAULT_CONNECT_TIMEOUT),
    commandTimeout: milliseconds('commandTimeout', given.commandTimeout, DEFAULT_COMMAND_TIMEOUT),
    maxPending: integer('maxPending', given.maxPending, DEFAULT_MAX_PENDING, 1, 2 ** 31 - 1),
    maxPendingBytes: integer(
      'maxPendingBytes',
      given.maxPendingBytes,
      DEFAULT_MAX_PENDING_BYTES,
      1,
      Number.MAX_SAFE_INTEGER,
    ),
  })
}

/** Where the options lead, as errors and statistics name it: `host:port`, `[v6]:port`, or the socket's path. */
export function formatAddress(options: {
  readonly host: string
  readonly port: number
  readonly path?: string | undefined
}) {
  if (options.path !== undefined) return options.path
  return options.host.includes(':') ? `[${options.host}]:${options.port}` : `${options.host}:${options.port}`
}

function defined(options: ConnectionOptions): ConnectionOptions {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined))
}

function checkString(name: string, value: unknown, form?: RegExp): void {
  if (value === undefined) return
  if (typeof value !== 'string') throw new TypeError(`option ${name} must be a string, got ${typeof value}`)
  if (form !== undefined && !form.test(value)) throw new TypeError(`option ${name} must match ${form}`)
}

function checkFunction(name: string, value: unknown): void {
  if (value !== undefined && typeof value !== 'function') {
    throw new TypeError(`option ${name} must be a function, got ${typeof value}`)
  }
}

function integer(name: string, value: unknown, byDefault: number, min: number, max: number): number {
  if (value === undefined) return byDefault
  if (typeof value !== 'number') throw new TypeError(`option ${name} must be a number, got ${typeof value}`)
  if (!Number.isInteger(value) || value < min || value > max) {
    throw new RangeError(`option ${name} must be an integer from ${min} to ${max}, got ${value}`)
  }
  return value
}

/** A timer of Node's takes at most 2^31-1 ms. */
function milliseconds(name: string, value: unknown, byDefault: number): number {
  if (value === undefined) return byDefault
  if (typeof value !== 'number') throw new TypeError(`option ${name} must be a number, got ${typeof value}`)
  if (!(value >= 0 && value <= 2 ** 31 - 1)) {
    throw new RangeError(`option ${name} must be from 0 to ${2 ** 31 - 1} milliseconds, got ${value}`)
  }
  return value
}
