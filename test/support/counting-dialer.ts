// Dials fake connections and counts: how often it was asked, how many of its connections are open, what was sent.

import assert from 'node:assert/strict'
import type { Pool } from '../../lib/pool/index.ts'
import { FakeConnection, type FakeEvents } from './fake-connection.ts'

interface HeldDial {
  readonly signal: AbortSignal
  /** Gives the dial its connection. */
  readonly succeed: () => FakeConnection
  readonly fail: (error: Error) => void
}

export class CountingDialer {
  /** Dials, the failed ones included. */
  dialed = 0
  /** Connections that were neither closed nor destroyed. */
  open = 0
  /** What dials fail with while it is set. */
  error: Error | undefined
  /** Dials wait in {@link held} until the test decides. */
  isHeld = false
  readonly held: HeldDial[] = []
  readonly connections: FakeConnection[] = []
  /** Names of the commands on all connections, in order. */
  commands: string[] = []

  readonly #make: (events: FakeEvents) => FakeConnection

  /** @param make makes the connections, if they are of another kind */
  constructor(make = (events: FakeEvents): FakeConnection => new FakeConnection(events)) {
    this.#make = make
  }

  readonly dial = (signal: AbortSignal): Promise<FakeConnection> => {
    this.dialed++
    if (this.error !== undefined) return Promise.reject(this.error)
    if (!this.isHeld) return Promise.resolve(this.#connect())
    return new Promise((resolve, fail) => {
      const succeed = (): FakeConnection => {
        const connection = this.#connect()
        resolve(connection)
        return connection
      }
      this.held.push({ signal, succeed, fail })
    })
  }

  /** The nth connection that was dialed, from 0. */
  connection(index: number): FakeConnection {
    const connection = this.connections[index]
    assert.ok(connection, `no connection ${index} was dialed`)
    return connection
  }

  /** redigo's check: connections dialed so far, open now, in use now. */
  check(pool: Pool<FakeConnection>, expected: { dialed: number; open: number; inUse: number }): void {
    const { activeCount, idleCount } = pool.stats()
    const actual = { dialed: this.dialed, open: this.open, inUse: activeCount - idleCount, activeCount }
    assert.deepEqual(actual, { ...expected, activeCount: expected.open })
  }

  #connect(): FakeConnection {
    this.open++
    const connection = this.#make({
      onEnd: () => {
        this.open--
      },
      onCommand: (name) => {
        this.commands.push(name)
      },
    })
    this.connections.push(connection)
    return connection
  }
}
