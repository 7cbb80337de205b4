// One sentinel: a connection that is brought up again whenever it is lost, the events that come over it, and
// its answers, each within a bound. Over RESP3 events and answers share the connection; a sentinel that speaks
// only RESP2 gets a second one for the events. Sentinel has neither ECHO nor RESET nor SELECT.
//
// A peer that is gone without a word is found by PING on each connection, so that no event is waited for in vain.

import { type Connection, connect } from '../connection/index.ts'
import { ReplyError } from '../errors.ts'
import type { Reply } from '../resp/index.ts'
import type { Translate } from './nat-map.ts'
import type { NodeConnectionOptions } from './options.ts'
import { type Answer, askSentinel } from './questions.ts'
import { splitAddress, translatePayload } from './replies.ts'

/**
 * Between two attempts to reach a sentinel that is down: the first, doubling to the last. Each question in between is
 * an attempt, too, and events of the others do not depend on it.
 */
const FIRST_RECONNECT_MS = 500
const LAST_RECONNECT_MS = 5_000
/** A dial within a data centre takes a millisecond; a lost SYN is sent again after 1 s. */
const DIAL_TIMEOUT_MS = 1_500

/** The events that matter most, for users who may SUBSCRIBE to channels but not PSUBSCRIBE to all. */
const CHANNELS = [
  '+switch-master',
  '+try-failover',
  '+selected-slave',
  '+promoted-slave',
  '+config-update-from',
  '+convert-to-slave',
  '+reset-master',
  '+reboot',
  '-role-change',
  '+slave',
  '+sentinel',
  '+sdown',
  '-sdown',
  '+odown',
  '-odown',
  '-failover-abort-not-elected',
  '-failover-abort-no-good-slave',
  '-failover-abort-slave-timeout',
  '-failover-abort-master-is-up',
  '+tilt',
  '-tilt',
]

export interface SentinelLinkOptions {
  readonly sentinelConnection: NodeConnectionOptions
  /** Milliseconds for one answer. */
  readonly answerTimeout: number
  /** Milliseconds of silence after which a connection is asked whether it is there; 0 = never. */
  readonly pingInterval: number
  readonly translate: Translate
}

export interface SentinelLinkEvents {
  /** An event, as published, its addresses translated. */
  readonly onEvent: (link: SentinelLink, channel: string, payload: string) => void
  /** The sentinel can be asked, or can no longer be, or has said something that cannot be understood. */
  readonly onChange: (link: SentinelLink) => void
}

export class SentinelLink {
  readonly address: string
  readonly #options: SentinelLinkOptions
  readonly #events: SentinelLinkEvents
  #connection: Connection | undefined
  #eventConnection: Connection | undefined
  #connecting: Promise<Connection> | undefined
  #reconnectTimer: NodeJS.Timeout | undefined
  #pingTimer: NodeJS.Timeout | undefined
  #failures = 0
  /** Whether it has answered since it was connected: what it does then, its events have told of. */
  #hasAnswered = false
  #isHeard = false
  #forbiddenEvents: readonly string[] = []
  #forbiddenQuestions: readonly string[] = []
  readonly #closing = new AbortController()
  /** Its own name for itself, once it or another one has told it. */
  runId: string | undefined
  /** Whether it was in TILT when it answered last. */
  isTilted = false
  /** Why it could not be reached or asked the last time. */
  error: Error | undefined
  /** Instant of `performance.now()` since when it cannot be connected to; `undefined` while it is. */
  downSince: number | undefined = performance.now()

  constructor(address: string, options: SentinelLinkOptions, events: SentinelLinkEvents) {
    this.address = address
    this.#options = options
    this.#events = events
  }

  get isConnected(): boolean {
    return this.#connection !== undefined && this.#connection.error === undefined
  }

  /** Whether its events come. */
  get isHeard(): boolean {
    return this.isConnected && this.#isHeard
  }

  /** Commands that it forbids. */
  get forbidden(): readonly string[] {
    return [...this.#forbiddenEvents, ...this.#forbiddenQuestions]
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
      const { answerTimeout, translate } = this.#options
      const answer = await askSentinel(await this.#connect(), name, answerTimeout, translate)
      this.runId = answer.runId ?? this.runId
      this.isTilted = answer.isTilted
      this.#forbiddenQuestions = answer.forbidden
      this.error = undefined
      const isFailingOver = answer.isFailingOver && !this.#hasAnswered
      this.#hasAnswered = true
      return { ...answer, isFailingOver }
    } catch (error) {
      this.error = error as Error
      throw error
    }
  }

  close(error: Error): void {
    this.#closing.abort(error)
    clearTimeout(this.#reconnectTimer)
    clearInterval(this.#pingTimer)
    this.#connection?.destroy(error)
    this.#eventConnection?.destroy(error)
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
      forEvents.onPush = (push) => this.#take(push)
      const subscribed = this.#subscribe(forEvents)
      // On one connection the questions are behind the subscription by themselves, and its handshake has shown that
      // somebody is there. That of RESP2 is without a reply: a peer that hangs accepts connections, too.
      if (forEvents !== connection) await subscribed
      const { aborted, reason } = this.#closing.signal
      const failure = aborted ? (reason as Error) : (connection.error ?? forEvents.error)
      if (failure !== undefined) {
        connection.destroy(failure)
        forEvents.destroy(failure)
        throw failure
      }
      this.#connection = connection
      this.#eventConnection = forEvents
      void Promise.race([connection.closed, forEvents.closed]).then(() => this.#lose(connection, forEvents))
      this.#watch(connection, forEvents)
      this.#failures = 0
      this.#hasAnswered = false
      this.runId = undefined // the address may lead to another one than before
      this.downSince = undefined
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

  /** A name is looked up anew each time, and each of its addresses is tried. */
  #dial(): Promise<Connection> {
    return connect({
      connectTimeout: DIAL_TIMEOUT_MS,
      ...this.#options.sentinelConnection,
      ...splitAddress(this.address),
      commandTimeout: this.#options.answerTimeout, // a sentinel that is silent this long is dialed anew
      signal: this.#closing.signal,
    })
  }

  /** To all events, or else to those that are allowed; without any, the poll has to do. Never rejects. */
  async #subscribe(connection: Connection): Promise<void> {
    this.#isHeard = false
    this.#forbiddenEvents = []
    try {
      await connection.execute(['PSUBSCRIBE', '*'])
      this.#isHeard = true
    } catch (error) {
      if (!(error instanceof ReplyError)) return // it was slow to confirm, or is lost
      const replies = await Promise.allSettled(
        CHANNELS.map((channel) => connection.execute(['SUBSCRIBE', channel])),
      )
      const isAllowed = replies.map(({ status }) => status === 'fulfilled')
      this.#isHeard = isAllowed[0] === true
      this.#forbiddenEvents = this.#isHeard ? ['PSUBSCRIBE'] : ['PSUBSCRIBE', 'SUBSCRIBE']
    }
  }

  #take([kind, ...rest]: readonly Reply[]): void {
    if (kind !== 'pmessage' && kind !== 'message') return
    const [channel, payload] = rest.slice(-2).map(String) as [string, string]
    let translated: string
    try {
      translated = translatePayload(channel, payload, this.#options.translate)
    } catch (error) {
      // of no use as it is, but a reason to ask, and the answer will tell what is wrong
      this.error = error as Error
      this.#events.onChange(this)
      return
    }
    this.#events.onEvent(this, channel, translated)
  }

  #watch(connection: Connection, forEvents: Connection): void {
    const { pingInterval, answerTimeout } = this.#options
    clearInterval(this.#pingTimer)
    if (pingInterval === 0) return
    // twice in that time, so that one which was heard a moment before is not left alone for nearly twice as long
    this.#pingTimer = setInterval(() => {
      for (const one of new Set([connection, forEvents])) {
        if (one.pendingCount > 0 || performance.now() - one.heardAt < pingInterval) continue
        // silence ends the connection by itself; a refusal is a sign of life, too
        one.execute(['PING'], { timeout: answerTimeout }).catch(() => undefined)
      }
    }, pingInterval / 2).unref() // idle bookkeeping: a process that is done exits
  }

  #lose(connection: Connection, forEvents: Connection): void {
    if (this.#closing.signal.aborted) return
    const reason = connection.error ?? forEvents.error
    this.error = reason
    connection.destroy(reason)
    forEvents.destroy(reason)
    clearInterval(this.#pingTimer)
    this.#connection = this.#eventConnection = undefined
    this.isTilted = false
    this.downSince ??= performance.now()
    this.#events.onChange(this)
    this.#connectLater()
  }

  #connectLater(): void {
    if (this.#closing.signal.aborted || this.#reconnectTimer !== undefined) return
    const pause = Math.min(FIRST_RECONNECT_MS * 2 ** this.#failures, LAST_RECONNECT_MS)
    this.#failures += 1
    this.#reconnectTimer = setTimeout(
      () => {
        this.#reconnectTimer = undefined
        this.start()
      },
      pause * (0.9 + Math.random() * 0.2),
    ).unref() // callers that wait keep the process alive themselves
  }
}
