// One sentinel: a connection that is brought up again whenever it is lost, the events that come over it, and
// its answers, each within a bound. Over RESP3 events and answers share the connection; a sentinel that speaks
// only RESP2 gets a second one for the events. Sentinel has neither ECHO nor RESET nor SELECT.

import { type Connection, connect } from '../connection/index.ts'
import { ReplyError } from '../errors.ts'
import type { Reply } from '../resp/index.ts'
import type { NodeConnectionOptions } from './options.ts'
import { addressOfPair, type Fields, fieldsOf, fieldsOfEach, splitAddress } from './replies.ts'

/** Between two attempts to reach a sentinel that is down. Events of the others do not depend on it. */
const RECONNECT_MS = 500
/** A dial within a data centre takes a millisecond; a lost SYN is sent again after 1 s. */
const DIAL_TIMEOUT_MS = 1_500

/** What one sentinel says about the master. */
export interface Answer {
  readonly sentinel: string
  /** `undefined`: the sentinel does not know a master of this name. */
  readonly master: string | undefined
  /** The config-epoch: the higher one is the newer truth. */
  readonly epoch: number
  readonly replicas: readonly Fields[]
  readonly sentinels: readonly Fields[]
}

export interface SentinelLinkEvents {
  /** An event, as published. */
  readonly onEvent: (link: SentinelLink, channel: string, payload: string) => void
  /** The sentinel can be asked, or can no longer be. */
  readonly onChange: (link: SentinelLink) => void
}

export class SentinelLink {
  readonly address: string
  readonly #options: NodeConnectionOptions
  readonly #answerTimeoutMs: number
  readonly #events: SentinelLinkEvents
  #connection: Connection | undefined
  #eventConnection: Connection | undefined
  #connecting: Promise<Connection> | undefined
  #timer: NodeJS.Timeout | undefined
  readonly #closing = new AbortController()
  /** Why it could not be reached or asked the last time. */
  error: Error | undefined

  constructor(
    address: string,
    options: NodeConnectionOptions,
    answerTimeoutMs: number,
    events: SentinelLinkEvents,
  ) {
    this.address = address
    this.#options = options
    this.#answerTimeoutMs = answerTimeoutMs
    this.#events = events
  }

  get isConnected(): boolean {
    return this.#connection !== undefined && this.#connection.error === undefined
  }

  /** Begins to connect, and goes on for as long as it takes. */
  start(): void {
    this.#connect().catch(() => this.#connectLater())
  }

  /**
   * Asks who is master of that name.
   *
   * @throws {ConnectionError} {TimeoutError} {ReplyError} why there is no answer; also kept in `error`
   */
  async ask(name: string): Promise<Answer> {
    try {
      const answer = await this.#ask(name)
      this.error = undefined
      return answer
    } catch (error) {
      this.error = error as Error
      throw error
    }
  }

  close(error: Error): void {
    this.#closing.abort(error)
    clearTimeout(this.#timer)
    this.#connection?.destroy(error)
    this.#eventConnection?.destroy(error)
  }

  async #ask(name: string): Promise<Answer> {
    const connection = await this.#connect()
    const questions = [
      ['SENTINEL', 'GET-MASTER-ADDR-BY-NAME', name],
      ['SENTINEL', 'MASTER', name],
      ['SENTINEL', 'REPLICAS', name],
      ['SENTINEL', 'SENTINELS', name],
    ]
    const options = { timeout: this.#answerTimeoutMs }
    const [pair, master, replicas, sentinels] = await Promise.all(
      questions.map((question) => orUnknownName(connection.execute(question, options))),
    )
    // The address is that of GET-MASTER-ADDR-BY-NAME: the leader of a failover gives the promoted replica there
    // seconds before its MASTER does. The epoch is only in MASTER.
    return {
      sentinel: this.address,
      master: addressOfPair(pair ?? null),
      epoch: epochOf(fieldsOf(master ?? null)),
      replicas: fieldsOfEach(replicas ?? null),
      sentinels: fieldsOfEach(sentinels ?? null),
    }
  }

  #connect(): Promise<Connection> {
    if (this.#closing.signal.aborted) return Promise.reject(this.#closing.signal.reason as Error)
    if (this.#connection !== undefined && this.isConnected) return Promise.resolve(this.#connection)
    this.#connecting ??= this.#open().finally(() => {
      this.#connecting = undefined
    })
    return this.#connecting
  }

  async #open(): Promise<Connection> {
    try {
      const connection = await this.#dial()
      const forEvents = connection.protocol === 3 ? connection : await this.#dialBeside(connection)
      if (this.#closing.signal.aborted) {
        connection.destroy()
        forEvents.destroy()
        throw this.#closing.signal.reason
      }
      forEvents.onPush = ([kind, , channel, payload]) => {
        if (kind === 'pmessage') this.#events.onEvent(this, String(channel), String(payload))
      }
      this.#connection = connection
      this.#eventConnection = forEvents
      void Promise.race([connection.closed, forEvents.closed]).then(() => this.#lose(connection, forEvents))
      // Without the right to subscribe, or when it is slow to confirm, the poll has to do.
      forEvents.execute(['PSUBSCRIBE', '*']).catch(() => undefined)
      this.error = undefined
      this.#events.onChange(this)
      return connection
    } catch (error) {
      this.error = error as Error
      throw error
    }
  }

  /** The second of two: without it, the first is not kept either. */
  async #dialBeside(first: Connection): Promise<Connection> {
    try {
      return await this.#dial()
    } catch (error) {
      first.destroy()
      throw error
    }
  }

  #dial(): Promise<Connection> {
    return connect({
      connectTimeout: DIAL_TIMEOUT_MS,
      ...this.#options,
      ...splitAddress(this.address),
      commandTimeout: this.#answerTimeoutMs, // a sentinel that is silent this long is dialed anew
      signal: this.#closing.signal,
    })
  }

  #lose(connection: Connection, forEvents: Connection): void {
    if (this.#closing.signal.aborted) return
    const reason = connection.error ?? forEvents.error
    this.error = reason
    connection.destroy(reason)
    forEvents.destroy(reason)
    this.#connection = this.#eventConnection = undefined
    this.#events.onChange(this)
    this.#connectLater()
  }

  #connectLater(): void {
    if (this.#closing.signal.aborted || this.#timer !== undefined) return
    this.#timer = setTimeout(() => {
      this.#timer = undefined
      this.start()
    }, RECONNECT_MS).unref() // callers that wait keep the process alive themselves
  }
}

/** Garbage is no epoch: it would make everything that comes later look old. */
function epochOf(master: Fields): number {
  const epoch = Number(master.get('config-epoch'))
  return Number.isSafeInteger(epoch) && epoch > 0 ? epoch : 0
}

/** `-ERR No such master with that name` is an answer: null. */
async function orUnknownName(reply: Promise<Reply>): Promise<Reply> {
  try {
    return await reply
  } catch (error) {
    if (error instanceof ReplyError && /^ERR No such master/i.test(error.message)) return null
    throw error
  }
}
