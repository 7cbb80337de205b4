// Opens the endpoints of masters and replicas, each of whose connections says its role before it is used.

import type { Connection } from '../connection/index.ts'
import { Endpoint } from '../endpoint/index.ts'
import type { ResolvedSentinelOptions } from './options.ts'
import { splitAddress } from './replies.ts'
import { verifyRole } from './role-check.ts'

/** Told of a failed dial or a lost connection of that server. */
type OnTrouble = (endpoint: Endpoint, error: Error) => void

export class Servers {
  readonly #options: ResolvedSentinelOptions
  readonly #onTrouble: OnTrouble

  constructor(options: ResolvedSentinelOptions, onTrouble: OnTrouble) {
    this.#options = options
    this.#onTrouble = onTrouble
  }

  /** Connects only while the server says that it is a master. */
  openMaster(address: string): Endpoint {
    return this.#open(address, (connection) => verifyRole(connection, ['master']))
  }

  /** A master may be meant, too: the one that has just been promoted. Whether it is read from, replicas.ts decides. */
  openReplica(address: string): Endpoint {
    return this.#open(address, (connection) => verifyRole(connection, ['slave', 'master']))
  }

  #open(address: string, verify: (connection: Connection) => Promise<void>): Endpoint {
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
    })
    return endpoint
  }
}
