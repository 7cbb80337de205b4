// Opens the endpoints of masters and replicas, each of whose connections says its role before it is used.

import type { Connection } from '../connection/index.ts'
import { Endpoint } from '../endpoint/index.ts'
import { ConnectionError } from '../errors.ts'
import type { ResolvedSentinelOptions } from './options.ts'
import { splitAddress } from './replies.ts'
import { verifyRole } from './role-check.ts'

/** Told of a failed dial or a lost connection of that server. */
type OnTrouble = (endpoint: Endpoint, error: Error) => void

/** Told of each shared connection that comes up, and of its end. Called in the midst of things: must not throw. */
export interface ServerEvents {
  readonly onConnect: (address: string, role: 'master' | 'replica') => void
  readonly onDisconnect: (address: string, role: 'master' | 'replica', error: Error) => void
}

export class Servers {
  readonly #options: ResolvedSentinelOptions
  readonly #onTrouble: OnTrouble
  readonly #events: ServerEvents

  constructor(options: ResolvedSentinelOptions, onTrouble: OnTrouble, events: ServerEvents) {
    this.#options = options
    this.#onTrouble = onTrouble
    this.#events = events
  }

  /** Connects only while the server says that it is a master. */
  openMaster(address: string): Endpoint {
    return this.#open(address, 'master', (connection) => verifyRole(connection, ['master']))
  }

  /** A master may be meant, too: the one that has just been promoted. Whether it is read from, replicas.ts decides. */
  openReplica(address: string): Endpoint {
    return this.#open(address, 'replica', (connection) => verifyRole(connection, ['slave', 'master']))
  }

  #open(
    address: string,
    role: 'master' | 'replica',
    verify: (connection: Connection) => Promise<void>,
  ): Endpoint {
    const { connection, pool, pingInterval, suspectAfter, maxHeld, maxHeldBytes } = this.#options
    const endpoint: Endpoint = new Endpoint(address, {
      connection: { ...connection, ...splitAddress(address) },
      pool,
      pingInterval,
      suspectAfter,
      maxHeld,
      maxHeldBytes,
      verify,
      onTrouble: (error) => this.#onTrouble(endpoint, error),
      onConnect: () => this.#events.onConnect(address, role),
      onDisconnect: (error) => this.#events.onDisconnect(address, role, error),
    })
    return endpoint
  }
}

/** What an endpoint is fenced with whose server is not what it was opened for any more. */
export function fencedError(address: string, message: string): ConnectionError {
  return new ConnectionError('FENCED', `${address} ${message}`, { address, phase: 'ready' })
}
