// Makes the connections of one endpoint. Each passes `verify`, as the last step of its handshake and bounded like it,
// before anybody has it; from then on the informer listens to it. What a connection is for, and when to dial again
// after a failure, is not known here.

import { type Connection, connect, resolveConnectionOptions } from '../connection/index.ts'
import { ConnectionError } from '../errors.ts'
import type { Informer } from './informer.ts'
import type { EndpointOptions } from './options.ts'

export class Dialer {
  readonly #address: string
  readonly #options: Pick<EndpointOptions, 'connection' | 'verify' | 'onTrouble'>
  readonly #informer: Informer | undefined
  readonly #ending: AbortSignal
  readonly #connectTimeoutMs: number

  /** @param ending aborts at the end of the endpoint, with the reason: all that fails then fails for that */
  constructor(
    address: string,
    options: Pick<EndpointOptions, 'connection' | 'verify' | 'onTrouble'>,
    informer: Informer | undefined,
    ending: AbortSignal,
  ) {
    this.#address = address
    this.#options = options
    this.#informer = informer
    this.#ending = ending
    this.#connectTimeoutMs = resolveConnectionOptions(options.connection).connectTimeout
  }

  /** One attempt; a failure is trouble, unless the signal brought it about. */
  async dial(signal: AbortSignal): Promise<Connection> {
    try {
      const connection = await connect({ ...this.#options.connection, signal })
      await this.#verify(connection, signal)
      this.#informer?.watch(connection)
      return connection
    } catch (error) {
      if (!this.#ending.aborted && !signal.aborted) this.#options.onTrouble?.(error as Error)
      throw this.#ending.aborted ? this.#ending.reason : error
    }
  }

  async #verify(connection: Connection, signal: AbortSignal): Promise<void> {
    const { verify } = this.#options
    if (verify === undefined) return
    const giveUp = () => connection.destroy()
    const timer = this.#connectTimeoutMs === 0 ? undefined : setTimeout(giveUp, this.#connectTimeoutMs)
    signal.addEventListener('abort', giveUp)
    try {
      if (signal.aborted) giveUp() // between the end of the handshake and here
      await verify(connection)
    } catch (error) {
      connection.destroy()
      throw unverified(this.#address, error as Error)
    } finally {
      clearTimeout(timer)
      signal.removeEventListener('abort', giveUp)
    }
  }
}

/** What was asked of the server there is not the caller's command, which certainly did not run. */
function unverified(address: string, error: Error): ConnectionError {
  if (error instanceof ConnectionError && error.code === 'HANDSHAKE_FAILED') return error
  const message = `the look at a new connection failed: ${error.message}`
  return new ConnectionError('HANDSHAKE_FAILED', message, { address, phase: 'handshake', cause: error })
}
