// With which right a connection is there: password or certificate, asked for each connection and, when credentials
// expire, again in time; the connection then authenticates anew, between transactions. One that cannot is destroyed
// before the server would refuse its commands one by one.

import type { ConnectionOptions as TlsOptions } from 'node:tls'
import { ConnectionError, ReplyError } from '../errors.ts'
import type { Connection } from './connection.ts'
import type { Credentials, ResolvedConnectionOptions } from './options.ts'

/** Asked again when this part of their time is over: the rest is for asking. */
const PART = 0.8
/** AUTH within MULTI would become a part of the transaction: it waits for the end. */
const RETRY_MS = 50
/** AUTH has the rest of the time, and this at least: a command that blocks may be before it. */
const MIN_AUTH_MS = 5_000
/** Timers of Node's do not go further. */
const MAX_TIMER_MS = 2 ** 31 - 1

/** That a function among the options failed. Its reason is the user's own, of any class, and may hold a secret. */
export class OptionFailure {
  readonly option: 'credentials' | 'tls'
  readonly reason: unknown

  constructor(option: OptionFailure['option'], reason: unknown) {
    this.option = option
    this.reason = reason
  }
}

/**
 * What the options give, or the function in them.
 *
 * @throws {TypeError} the function gives something else
 * @throws {OptionFailure} it fails
 */
export async function askCredentials(options: ResolvedConnectionOptions): Promise<Credentials | undefined> {
  const { credentials, username, password } = options
  if (credentials === undefined) return password === undefined ? undefined : { username, password }
  const given = await ask('credentials', credentials)
  if (!isCredentials(given)) {
    throw new TypeError(
      'option credentials must give an object with a password, and expiresIn above 0 if at all',
    )
  }
  return given
}

/**
 * The options of TLS, or those that the function in its place gives; `undefined` without TLS.
 *
 * @throws {TypeError} the function gives something else
 * @throws {OptionFailure} it fails
 */
export async function askTls({ tls }: ResolvedConnectionOptions): Promise<TlsOptions | undefined> {
  if (tls === undefined || tls === false) return undefined
  if (tls === true) return {}
  if (typeof tls !== 'function') return tls
  const given = await ask('tls', tls)
  if (given === null || typeof given !== 'object') {
    throw new TypeError('option tls must give an object with options of tls.connect')
  }
  return given
}

async function ask(option: OptionFailure['option'], give: () => unknown): Promise<unknown> {
  try {
    return await give()
  } catch (error) {
    throw new OptionFailure(option, error)
  }
}

function isCredentials(value: unknown): value is Credentials {
  if (value === null || typeof value !== 'object') return false
  const { username, password, expiresIn }: Partial<Record<keyof Credentials, unknown>> = value
  const isNamed = username === undefined || typeof username === 'string'
  const isTimed = expiresIn === undefined || (typeof expiresIn === 'number' && expiresIn > 0)
  return isNamed && isTimed && typeof password === 'string'
}

/**
 * Keeps the connection authenticated for as long as it lives.
 *
 * @param current what it authenticated with
 * @param ask gives what is to follow
 * @returns to be told when it authenticated by other means: those credentials are the current ones then
 */
export function rotateCredentials(
  connection: Connection,
  current: Credentials,
  ask: () => Promise<Credentials | undefined>,
): (current: Credentials) => void {
  let timer: NodeJS.Timeout | undefined
  /** Counts the credentials that were current: a renewal of earlier ones has nothing more to say. */
  let turn = 0
  const wait = (ms: number, next: () => void) => {
    timer = setTimeout(next, Math.min(ms, MAX_TIMER_MS)).unref() // the socket keeps the process, not this
  }
  let restMs = 0
  const begin = ({ expiresIn }: Credentials) => {
    turn += 1
    clearTimeout(timer)
    if (expiresIn === undefined || connection.error !== undefined) return
    restMs = expiresIn * (1 - PART)
    wait(expiresIn * PART, () => void renew())
  }
  const renew = async () => {
    const own = turn
    wait(restMs, () => {
      const cause = new Error('the credentials expired before there were new ones')
      connection.destroy(failure(connection.address, cause))
    })
    try {
      const next = await ask()
      if (own !== turn) return
      clearTimeout(timer)
      if (next !== undefined) authenticate(next)
    } catch (error) {
      if (own !== turn) return
      connection.destroy(failure(connection.address, error instanceof OptionFailure ? error.reason : error))
    }
  }
  const authenticate = (next: Credentials) => {
    if (connection.error !== undefined) return
    if (connection.isInTransaction) {
      wait(RETRY_MS, () => authenticate(next))
      return
    }
    const { username, password } = next
    const command = username === undefined ? ['AUTH', password] : ['AUTH', username, password]
    const timeout = Math.max(restMs, MIN_AUTH_MS)
    const own = turn
    connection.authenticate(command, timeout).then(
      () => {
        if (own === turn) begin(next)
      },
      (error: Error) => connection.destroy(failure(connection.address, error)),
    )
  }
  void connection.closed.then(() => clearTimeout(timer))
  begin(current)
  return begin
}

function failure(address: string, cause: unknown): ConnectionError {
  // the reason of a refusal is the server's; another one may be the user's and hold anything
  const why = cause instanceof ReplyError ? `: ${cause.prefix}` : ''
  const message = `the connection could not authenticate anew${why} (${address})`
  return new ConnectionError('CONNECTION_LOST', message, { address, phase: 'ready', cause })
}
