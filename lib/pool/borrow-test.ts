// Whether an idle connection may be lent: a PING if it has been idle for long, then the user's own test. Most
// connections need neither, which is found out without a closure or a promise.

import { RespoolError } from '../errors.ts'
import type { PoolContext } from './context.ts'
import type { Member } from './idle-list.ts'
import type { PooledConnection } from './pooled-connection.ts'

/** How a test came out: `'lost'` is a failure that says something about the network, and so about other connections. */
export type TestResult = 'passed' | 'failed' | 'lost'

export class BorrowTest<T extends PooledConnection> {
  readonly #context: PoolContext<T>

  constructor(context: PoolContext<T>) {
    this.#context = context
  }

  /** Whether this one has to be tested now. */
  isDue(member: Member<T>): boolean {
    const { testOnBorrow, pingIfIdleLongerThanMs } = this.#context.options
    return testOnBorrow !== undefined || (pingIfIdleLongerThanMs > 0 && this.#isPingDue(member))
  }

  /** Whether there is anything to test a connection by. */
  get isPossible(): boolean {
    const { testOnBorrow, pingIfIdleLongerThanMs } = this.#context.options
    return testOnBorrow !== undefined || pingIfIdleLongerThanMs > 0
  }

  /**
   * Never rejects.
   *
   * @param isSuspect asked for a PING, if that is ever done, however short it has been idle
   */
  async run(member: Member<T>, signal: AbortSignal, isSuspect = false): Promise<TestResult> {
    const { testOnBorrow, pingIfIdleLongerThanMs, resetTimeoutMs } = this.#context.options
    const { connection, lastUsedAt } = member
    try {
      if (pingIfIdleLongerThanMs > 0 && (isSuspect || this.#isPingDue(member))) {
        await connection.execute(['PING'], { timeout: resetTimeoutMs, signal })
      }
      if (testOnBorrow !== undefined) await testOnBorrow(connection, lastUsedAt, signal)
      return 'passed'
    } catch (error) {
      return isNetworkFailure(error) || isNetworkFailure(connection.error) ? 'lost' : 'failed'
    }
  }

  #isPingDue(member: Member<T>): boolean {
    return this.#context.now() - member.lastUsedAt > this.#context.options.pingIfIdleLongerThanMs
  }
}

/** Whether the peer or the way to it is gone, or seems to be: other connections to it are likely to be affected. */
export function isNetworkFailure(error: unknown): boolean {
  return (
    error instanceof RespoolError && (error.code === 'CONNECTION_LOST' || error.code === 'COMMAND_TIMEOUT')
  )
}
