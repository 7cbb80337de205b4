// From options to a connection that is ready: dial, TLS, handshake, all within one deadline.

import type { Socket } from 'node:net'
import type { ConnectionOptions as TlsOptions } from 'node:tls'
import { AbortError, ConnectionError, type ConnectionPhase } from '../errors.ts'
import { watchAbort } from './abort-watch.ts'
import { Connection } from './connection.ts'
import { askCredentials, askTls, OptionFailure, rotateCredentials } from './credentials.ts'
import { openSocket, type Receiver } from './dial.ts'
import { reason } from './failure.ts'
import { handshake, RefusedStep, type Send } from './handshake.ts'
import {
  type ConnectionOptions,
  type Credentials,
  formatAddress,
  type ResolvedConnectionOptions,
  resolveConnectionOptions,
} from './options.ts'
import { shakeAgain } from './reset.ts'

/**
 * Connects to one server and goes through the handshake.
 *
 * @param target a URL (`redis://`, `rediss://`, `valkey://`, `valkeys://`, `redis+unix://`) or options
 * @param overrides options that win over those of the target
 * @returns a connection that is ready; the caller closes it
 * @throws {ConnectionError} `CONNECT_FAILED`, `CONNECT_TIMEOUT`, `HANDSHAKE_FAILED`, with address, phase and cause
 * @throws {AbortError} `ABORT_ERR`
 * @throws {TypeError} {RangeError} an option that is wrong
 */
export async function connect(
  target: string | URL | ConnectionOptions,
  overrides?: ConnectionOptions,
): Promise<Connection> {
  const options = resolveConnectionOptions(target, overrides)
  const { signal, connectTimeout } = options
  if (signal?.aborted) throw new AbortError(signal)
  const attempt = new Attempt(options)
  return await new Promise((resolve, reject) => {
    // ref: someone waits for the answer, which may be that there is none
    const timer =
      connectTimeout === 0 ? undefined : setTimeout(() => giveUp(attempt.timeout()), connectTimeout)
    const onAbort = () => giveUp(new AbortError(signal as AbortSignal))
    const unwatch = signal && watchAbort(signal, onAbort)
    const leave = () => {
      clearTimeout(timer)
      unwatch?.()
    }
    const giveUp = (error: Error) => {
      leave()
      attempt.cancel(error)
      reject(error)
    }
    attempt.run().then((connection) => {
      leave()
      resolve(connection)
    }, giveUp)
  })
}

class Attempt {
  readonly #options: ResolvedConnectionOptions
  readonly #address: string
  #phase: ConnectionPhase = 'connect'
  /** Addresses to which a connection was begun. */
  readonly #tried: string[] = []
  #connection: Connection | undefined
  #cancelled: Error | undefined

  constructor(options: ResolvedConnectionOptions) {
    this.#options = options
    this.#address = formatAddress(options)
  }

  async run(): Promise<Connection> {
    try {
      const credentials = await askCredentials(this.#options)
      const tls = await askTls(this.#options)
      if (this.#cancelled !== undefined) throw this.#cancelled
      const connection = await this.#open(tls)
      this.#phase = 'handshake'
      const { protocol, clientName, database } = this.#options
      const ask = () => askCredentials(this.#options)
      const shake = (send: Send) => handshake(send, { protocol, credentials, clientName, database })
      let use: ((credentials: Credentials) => void) | undefined
      await connection.ready(shake, async (send, spoken) => {
        const renewed = await ask()
        await shakeAgain(send, { protocol: spoken, credentials: renewed, clientName, database })
        if (renewed !== undefined) use?.(renewed)
      })
      if (credentials !== undefined) use = rotateCredentials(connection, credentials, ask)
      return connection
    } catch (error) {
      this.cancel(error as Error)
      throw this.#explain(error)
    }
  }

  cancel(error: Error): void {
    this.#cancelled = error
    this.#connection?.destroy(error)
  }

  timeout(): ConnectionError {
    const { connectTimeout } = this.#options
    const isName = this.#tried.some((it) => it !== this.#address)
    const tried = this.#phase === 'connect' && isName ? `, tried ${this.#tried.join(', ')}` : ''
    const message = `no connection within ${connectTimeout} ms, stopped at ${this.#phase}${tried}`
    return this.#failure('CONNECT_TIMEOUT', message)
  }

  #open(tls: TlsOptions | undefined): Promise<Connection> {
    return new Promise((resolve, reject) => {
      const sink: { receiver: Receiver | undefined } = { receiver: undefined }
      const socket: Socket = openSocket(
        this.#options,
        tls,
        { receive: (bytes, length) => sink.receiver?.receive(bytes, length) },
        {
          onAttempt: (host, port) => this.#tried.push(formatAddress({ host, port })),
          onPhase: (phase) => {
            this.#phase = phase
          },
          onOpen: () => {
            socket.removeListener('error', reject)
            resolve(connection)
          },
        },
      )
      socket.once('error', reject)
      const connection = new Connection(socket, this.#address, this.#options)
      this.#connection = connection
      sink.receiver = connection
      // destroyed before it was open, without an error event of its own
      void connection.closed.then(() => reject(connection.error ?? new Error('closed')))
    })
  }

  #explain(error: unknown): Error {
    if (error instanceof RefusedStep) {
      const { step, reply } = error
      return this.#failure('HANDSHAKE_FAILED', `the server refused ${step}: ${reply.message}`, reply)
    }
    if (error instanceof OptionFailure) {
      const { option, reason: cause } = error
      const [code] = /^[A-Z]\w+$/.exec(String((cause as { code?: unknown } | undefined)?.code)) ?? []
      const why = code === undefined ? '' : `: ${code}`
      return this.#failure('CONNECT_FAILED', `could not connect: option ${option} failed${why}`, cause)
    }
    if (this.#phase === 'handshake' && error instanceof Error) {
      return this.#failure('HANDSHAKE_FAILED', `the handshake failed: ${error.message}`, error)
    }
    if (error instanceof TypeError && !('code' in error)) return error // misuse, from an option that is a function
    return this.#failure('CONNECT_FAILED', `could not connect: ${reasons(error, this.#address)}`, error)
  }

  #failure(
    code: 'CONNECT_FAILED' | 'CONNECT_TIMEOUT' | 'HANDSHAKE_FAILED',
    message: string,
    cause?: unknown,
  ) {
    const details = { address: this.#address, phase: this.#phase, ...(cause === undefined ? {} : { cause }) }
    const where = `(${this.#address})`
    return new ConnectionError(code, message.endsWith(where) ? message : `${message} ${where}`, details)
  }
}

/** A name with several addresses fails with an error for each; that of an address is told with it, where it has one. */
function reasons(error: unknown, address: string): string {
  if (!(error instanceof Error)) return String(error)
  if (error instanceof AggregateError && error.errors.length > 0) {
    return error.errors.map((one: unknown) => reasons(one, address)).join(', ')
  }
  const { address: host, port } = error as { address?: string; port?: number }
  const where = host === undefined || port === undefined ? address : formatAddress({ host, port })
  return where === address ? reason(error) : `${reason(error)} ${where}`
}
