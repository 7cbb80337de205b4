// A fake connection with a reset(), as servers have it since Redis 6.2.

import type { PooledConnection } from '../../lib/pool/index.ts'
import { FakeConnection } from './fake-connection.ts'

export class ResettableConnection extends FakeConnection implements PooledConnection {
  isAltered = false
  resets = 0
  /** What a reset waits for, or fails with. */
  outcome: () => Promise<void> = () => Promise.resolve()

  async reset(): Promise<void> {
    this.resets++
    await this.outcome()
    this.isAltered = false
    this.server.isMulti = false
    this.server.isWatching = false
    this.server.database = 0
    this.server.channels.clear()
    this.server.others.clear()
  }
}
