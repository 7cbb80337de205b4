// What a Sentinel deployment is told by its user, checked and completed. Pure.

import { type Connection, type ConnectionOptions, resolveConnectionOptions } from '../connection/index.ts'
import {
  checkMaxStaleness,
  checkReadFrom,
  DEFAULT_MAX_HELD,
  DEFAULT_MAX_HELD_BYTES,
  DEFAULT_PING_INTERVAL,
  DEFAULT_SUSPECT_AFTER,
  numberOption,
  type ReadFrom,
} from '../endpoint/index.ts'
import { shown } from '../errors.ts'
import { type PoolOptions, resolvePoolOptions } from '../pool/index.ts'
import { type Address, normalizeAddress } from './address.ts'
import { type NatMap, translator } from './nat-map.ts'

/** A sentinel on the same network answers within a few; longer than this and the others decide. */
const DEFAULT_ANSWER_TIMEOUT = 300
/** Events tell of changes at once; the poll is for those that were lost. */
const DEFAULT_POLL_INTERVAL = 10_000
/** How long `get()` waits for a master or replica to be there: a failover with room to spare. */
const DEFAULT_HOLD_TIMEOUT = 10_000
/** Enough for any reader that waits for its replies, and no more than a master takes besides its own work. */
const DEFAULT_MASTER_FALLBACK = 1_000
const DEFAULT_SENTINEL_PORT = 26_379

/** Options of the connections to all servers of one kind; where they lead is known otherwise. */
export type NodeConnectionOptions = Omit<ConnectionOptions, 'host' | 'port' | 'path' | 'signal' | 'onPush'>

export interface SentinelOptions {
  /** The name under which the sentinels know the master. */
  readonly name: string
  /** Sentinels to begin with; the others are found through them. Kept for ever. Default port 26379. */
  readonly sentinels: readonly Address[]
  /** Options of each server's pool, without `dial`. */
  readonly pool?: Omit<PoolOptions<Connection>, 'dial'> | undefined
  /** Options of the connections to masters and replicas: credentials, TLS, database, timeouts. */
  readonly connection?: NodeConnectionOptions | undefined
  /** Options of the connections to sentinels, which have credentials and TLS of their own. */
  readonly sentinelConnection?: NodeConnectionOptions | undefined
  /** Where `replica.get()` and reads may go. @default 'prefer-replica' */
  readonly readFrom?: ReadFrom | undefined
  /**
   * Milliseconds by which what is read from a replica may be old: it has whatever the master had acknowledged that long
   * before the read was given. At least 10; 0 = no promise. While the master is away nothing can be promised, and no
   * replica is read from.
   * @default 0
   */
  readonly maxStaleness?: number | undefined
  /**
   * Commands that may be under way at the master while reads fall back to it because no replica serves; more reads wait.
   * 0 = no limit. @default 1000
   */
  readonly masterFallback?: number | undefined
  /** Milliseconds one sentinel is waited for. @default 300 */
  readonly answerTimeout?: number | undefined
  /** Milliseconds between two questions to the sentinels when nothing happens. @default 10000 */
  readonly pollInterval?: number | undefined
  /** Milliseconds that `get()` waits for a master (or replica) while there is none; 0 = no limit. @default 10000 */
  readonly holdTimeout?: number | undefined
  /**
   * Milliseconds of silence after which an idle shared connection, or one to a sentinel, is asked whether it is there;
   * 0 = never. @default 1000
   */
  readonly pingInterval?: number | undefined
  /**
   * Milliseconds for which a server may owe replies without a byte, before nothing more is written to it and a new
   * connection is tried, which takes the place of the silent one if it is answered; 0 = never. @default 250
   */
  readonly suspectAfter?: number | undefined
  /**
   * What happens to writes from a leader's `+try-failover` to the end of the failover: `'hold'` them, within their
   * deadlines, or let them `'flow'` to the old master, where what is written after the promotion is lost.
   * @default 'hold'
   */
  readonly onFailover?: 'hold' | 'flow' | undefined
  /**
   * Whether the replica that a failover's leader has selected is taken for the master as soon as it says that it
   * is one, about a second before the sentinels announce it. @default true
   */
  readonly adoptEarly?: boolean | undefined
  /**
   * Which sentinels are believed: those with the highest config-epoch, or these only once a majority of all sentinels
   * says the same. With `'majority'`, a master that was adopted early stays provisional until then.
   * @default 'highest-epoch'
   */
  readonly agreement?: 'highest-epoch' | 'majority' | undefined
  /**
   * Where announced addresses are reached from here: `{ '10.0.0.1:6379': '203.0.113.7:16379' }`, or a function of the
   * announced address and of what it is of, `'master'`, `'replica'` or `'sentinel'`. Those it does not have stay as
   * they are. If the function throws, or gives no address, nothing that needs it is believed and `topology.trouble`
   * says so.
   */
  readonly natMap?: NatMap | undefined
  /** Commands, and bytes of them, that may wait while there is no master. @default 1048576 and 268435456 */
  readonly maxHeld?: number | undefined
  readonly maxHeldBytes?: number | undefined
}

export interface ResolvedSentinelOptions {
  readonly name: string
  readonly sentinels: readonly string[]
  readonly pool: Omit<PoolOptions<Connection>, 'dial'>
  readonly connection: NodeConnectionOptions & { readonly commandTimeout: number }
  readonly sentinelConnection: NodeConnectionOptions
  readonly readFrom: ReadFrom
  readonly maxStaleness: number
  readonly masterFallback: number
  readonly answerTimeout: number
  readonly pollInterval: number
  readonly holdTimeout: number
  readonly pingInterval: number
  readonly suspectAfter: number
  readonly onFailover: 'hold' | 'flow'
  readonly adoptEarly: boolean
  readonly agreement: 'highest-epoch' | 'majority'
  readonly natMap: NatMap | undefined
  readonly maxHeld: number
  readonly maxHeldBytes: number
}

const KNOWN = new Set<string>([
  'name',
  'sentinels',
  'pool',
  'connection',
  'sentinelConnection',
  'readFrom',
  'maxStaleness',
  'masterFallback',
  'answerTimeout',
  'pollInterval',
  'holdTimeout',
  'pingInterval',
  'suspectAfter',
  'onFailover',
  'adoptEarly',
  'agreement',
  'natMap',
  'maxHeld',
  'maxHeldBytes',
] satisfies (keyof SentinelOptions)[])

/**
 * Checks and completes; the result is frozen.
 *
 * @throws {TypeError} {RangeError} naming the option, its value and what was expected
 */
export function resolveSentinelOptions(options: SentinelOptions): ResolvedSentinelOptions {
  if (options === null || typeof options !== 'object')
    throw new TypeError('sentinel options must be an object')
  for (const name of Object.keys(options)) {
    if (!KNOWN.has(name)) throw new TypeError(`unknown sentinel option '${name}'`)
  }
  const { name, sentinels, natMap } = options
  const { readFrom = 'prefer-replica', onFailover = 'hold', adoptEarly = true } = options
  const { agreement = 'highest-epoch' } = options
  if (typeof name !== 'string' || !/^[A-Za-z0-9._-]+$/.test(name)) {
    throw new TypeError(`option name must be the master's name (letters, digits, . _ -), got ${shown(name)}`)
  }
  if (!Array.isArray(sentinels) || sentinels.length === 0) {
    throw new TypeError('option sentinels must be a list of at least one address')
  }
  checkReadFrom(readFrom)
  if (onFailover !== 'hold' && onFailover !== 'flow') {
    throw new RangeError(`option onFailover must be 'hold' or 'flow', got ${shown(onFailover)}`)
  }
  if (typeof adoptEarly !== 'boolean') {
    throw new TypeError(`option adoptEarly must be a boolean, got ${typeof adoptEarly}`)
  }
  if (agreement !== 'highest-epoch' && agreement !== 'majority') {
    throw new RangeError(`option agreement must be 'highest-epoch' or 'majority', got ${shown(agreement)}`)
  }
  translator(natMap)
  const connection = { ...options.connection }
  const pool = { ...options.pool }
  // both are checked whole, as if for a server, so that a wrong option is told here and not at the first dial
  const resolved = resolveNodeOptions('connection', connection)
  resolveNodeOptions('sentinelConnection', { ...options.sentinelConnection })
  resolvePoolOptions({ ...pool, dial: () => Promise.reject(new Error('never dialed')) })
  return Object.freeze({
    name,
    sentinels: Object.freeze(sentinels.map((address) => normalizeAddress(address, DEFAULT_SENTINEL_PORT))),
    pool: Object.freeze(pool),
    connection: Object.freeze({ ...connection, commandTimeout: resolved.commandTimeout }),
    sentinelConnection: Object.freeze({ ...options.sentinelConnection }),
    readFrom,
    maxStaleness: checkMaxStaleness(options.maxStaleness ?? 0),
    masterFallback: numberOption('masterFallback', options.masterFallback, DEFAULT_MASTER_FALLBACK, 0),
    onFailover,
    adoptEarly,
    agreement,
    natMap: typeof natMap === 'object' ? Object.freeze({ ...natMap }) : natMap,
    answerTimeout: numberOption('answerTimeout', options.answerTimeout, DEFAULT_ANSWER_TIMEOUT, 1),
    pollInterval: numberOption('pollInterval', options.pollInterval, DEFAULT_POLL_INTERVAL, 10),
    holdTimeout: numberOption('holdTimeout', options.holdTimeout, DEFAULT_HOLD_TIMEOUT, 0),
    pingInterval: numberOption('pingInterval', options.pingInterval, DEFAULT_PING_INTERVAL, 0),
    suspectAfter: numberOption('suspectAfter', options.suspectAfter, DEFAULT_SUSPECT_AFTER, 0),
    maxHeld: numberOption('maxHeld', options.maxHeld, DEFAULT_MAX_HELD, 1),
    maxHeldBytes: numberOption('maxHeldBytes', options.maxHeldBytes, DEFAULT_MAX_HELD_BYTES, 1),
  })
}

function resolveNodeOptions(
  option: string,
  connection: ConnectionOptions,
): ReturnType<typeof resolveConnectionOptions> {
  for (const name of ['host', 'port', 'path'] as const) {
    if (connection[name] !== undefined) {
      throw new TypeError(
        `option ${name} has no place in option ${option}: the sentinels tell where servers are`,
      )
    }
  }
  return resolveConnectionOptions(connection)
}
