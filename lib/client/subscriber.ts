// A connection that belongs to subscriptions: those with the same `readFrom` and `replies`. It is opened for the first,
// replaced for as long as there is one, and closed with the last.
//
//   idle ──add()──► dialing ──► one batch, in the first order ──confirmed──► active
//    ▲                 ▲                      │ refused: that subscription ends │
//    │                 └── lost, silent, fenced, served elsewhere: 50 to 100 ms ◄┘
//    └──── the last one has left: UNSUBSCRIBE, close
//
// A server runs the commands of one connection in order, so (un)subscriptions are sent as they come, without waiting
// for each other: the last word of ours is the state of the server. Each channel is told of once, by the first who
// wants it and by the last. What is done when a connection is lost is what is done with the first one.

import { setTimeout as sleep } from 'node:timers/promises'
import type { Connection } from '../connection/index.ts'
import { type Endpoint, isPermanent, RETRY_MS, type ReadFrom, refusalOf } from '../endpoint/index.ts'
import { ConnectionError, ReplyError, SentinelError, TimeoutError } from '../errors.ts'
import type { Reply } from '../resp/index.ts'
import type { Topology } from '../sentinel/index.ts'
import type { Router } from './router.ts'
import { type Channel, ChannelTable, inCommands } from './subscriber-channels.ts'
import { watchSilence } from './subscriber-watch.ts'
import type { Kind, Loss, Subscribed } from './subscription.ts'
import type { Gap, Replies } from './subscription-options.ts'

/** Between two attempts where no attempt can succeed until somebody has changed something: a password, say. */
const HOPELESS_RETRY_MS = 1_000
/** The route is asked again after this; also what keeps the process while nobody is there. */
const HOLD_MS = 100

export interface SubscriberOptions {
  readonly readFrom: ReadFrom
  readonly replies: Replies
  /** Milliseconds for a confirmation; 0 = no limit. */
  readonly commandTimeout: number
  readonly pingInterval: number
  /** Told when all channels are subscribed again after a loss. Must not throw. */
  readonly onGap: (gap: Gap) => void
}

export class Subscriber {
  readonly #router: Router
  readonly #options: SubscriberOptions
  readonly #channels = new ChannelTable()
  /** Ends the dial that is going on. */
  #attempt: AbortController | undefined
  /** The last one that was tried: another is tried at once, the same after a pause. */
  #tried: Endpoint | undefined
  #endpoint: Endpoint | undefined
  #connection: Connection | undefined
  #unwatch: (() => void) | undefined
  /** The first since all was well. */
  #loss: Loss | undefined
  #failure: Error | undefined

  constructor(router: Router, options: SubscriberOptions) {
    this.#router = router
    this.#options = options
  }

  get readFrom(): ReadFrom {
    return this.#options.readFrom
  }

  get replies(): Replies {
    return this.#options.replies
  }

  /** Why the last attempt failed; `undefined` while there is a connection. */
  get failure(): Error | undefined {
    return this.#failure
  }

  /** Begins a subscription, which is told how that goes on. */
  add(subscription: Subscribed): void {
    const fresh = this.#channels.join(subscription)
    if (this.#connection === undefined) this.#connect()
    else void this.#subscribe(this.#connection, fresh)
  }

  /** Ends one. Resolves when the server has confirmed that, or is gone. */
  async remove(subscription: Subscribed): Promise<void> {
    const gone = this.#channels.leave(subscription)
    const connection = this.#connection
    const isLast = this.#channels.size === 0
    if (isLast) this.#detach()
    if (connection === undefined) return
    const told = this.#unsubscribe(connection, gone)
    await (isLast ? connection.close() : told)
  }

  /** The servers have changed: goes on at another, if this one is not to be subscribed at any more. */
  reconsider(): void {
    const endpoint = this.#endpoint
    if (endpoint === undefined || serves(this.#router.topology, this.readFrom, endpoint.address)) return
    const other = this.#router.pick(this.#target)
    if (other === undefined || other === endpoint) return // nobody has more to tell
    this.#connection?.destroy(dismissed(endpoint.address, this.readFrom))
  }

  /** Ends all: politely, or for that reason. Takes no more. */
  async end(error: Error | undefined): Promise<void> {
    const connection = this.#detach()
    for (const subscription of this.#channels.subscriptions) subscription.end(error)
    if (error !== undefined) connection?.destroy(error)
    await connection?.close()
  }

  get #target(): 'write' | ReadFrom {
    // as a lease: where a failover is under way it waits for the new master
    return this.readFrom === 'master' ? 'write' : this.readFrom
  }

  /** From now on nothing is dialed, and what the connection says is not heard. */
  #detach(): Connection | undefined {
    const connection = this.#connection
    this.#attempt?.abort()
    this.#unwatch?.()
    this.#attempt = this.#connection = this.#endpoint = this.#tried = undefined
    this.#unwatch = this.#loss = this.#failure = undefined
    return connection
  }

  #connect(): void {
    if (this.#attempt !== undefined) return
    this.#attempt = new AbortController()
    void this.#dial(this.#attempt.signal)
  }

  /** Tries until there is a connection, or nobody wants one. */
  async #dial(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      try {
        const endpoint = await this.#nextEndpoint(signal)
        const connection = await endpoint.dial(signal)
        if (signal.aborted) connection.destroy()
        else this.#use(connection, endpoint)
        return
      } catch (error) {
        if (signal.aborted) return
        await this.#recover(error as Error, signal)
      }
    }
  }

  async #nextEndpoint(signal: AbortSignal): Promise<Endpoint> {
    for (;;) {
      const endpoint = this.#router.pick(this.#target)
      if (endpoint === undefined) {
        await this.#router.hold({
          bytes: 0,
          expiresAt: performance.now() + HOLD_MS,
          timeout: HOLD_MS,
          signal,
        })
      } else if (endpoint === this.#tried) {
        this.#tried = undefined
        await pause(signal)
      } else {
        this.#tried = endpoint
        return endpoint
      }
    }
  }

  /** Waits until another attempt makes sense; those who wait for their first confirmation may not want to. */
  async #recover(error: Error, signal: AbortSignal): Promise<void> {
    // of a wait for a server it is the cause that tells something
    this.#failure = error instanceof TimeoutError && error.cause instanceof Error ? error.cause : error
    this.#tried = undefined
    if (error instanceof TimeoutError) return
    const isHopeless = isPermanent(error) || error instanceof SentinelError
    for (const subscription of isHopeless ? this.#channels.subscriptions : []) {
      if (subscription.state === 'opening') subscription.end(error)
    }
    await pause(signal, isHopeless ? HOPELESS_RETRY_MS : undefined)
  }

  #use(connection: Connection, endpoint: Endpoint): void {
    this.#attempt = this.#failure = undefined
    this.#connection = connection
    this.#endpoint = endpoint
    connection.pushesAsBytes = this.replies === 'buffer'
    connection.onPush = (push) => {
      if (connection === this.#connection) this.#take(push, connection)
    }
    void connection.closed.then(() => this.#lose(connection, endpoint))
    this.#unwatch = watchSilence(connection, this.#options.pingInterval, this.replies)
    void this.#subscribe(connection, this.#channels.inOrder).then(() => this.#tellGap(connection))
  }

  #lose(connection: Connection, endpoint: Endpoint): void {
    if (connection !== this.#connection) return
    const reason = connection.error as Error
    const loss: Loss = { reason, from: endpoint.address, heardAt: connection.heardAt }
    this.#unwatch?.()
    this.#connection = this.#endpoint = this.#unwatch = undefined
    for (const channel of this.#channels.inOrder) {
      if (!channel.isConfirmed) continue
      channel.isConfirmed = false
      this.#loss ??= loss
      for (const subscription of channel.subscriptions) subscription.lose(loss)
    }
    this.#failure = reason
    if (endpoint.error === undefined && !isDismissed(reason)) this.#router.report(endpoint, reason)
    this.#connect()
  }

  #tellGap(connection: Connection): void {
    if (connection !== this.#connection || connection.error !== undefined || this.#loss === undefined) return
    const { reason, from, heardAt } = this.#loss
    const { size: channels } = this.#channels
    const downtime = Math.round(performance.now() - heardAt)
    this.#loss = undefined
    this.#options.onGap(Object.freeze({ reason, from, to: connection.address, channels, downtime }))
  }

  /** Resolves when each channel is confirmed or refused, or the connection has ended. */
  async #subscribe(connection: Connection, channels: readonly Channel[]): Promise<void> {
    await Promise.all(inCommands(channels).map((part) => this.#subscribePart(connection, part)))
  }

  async #subscribePart(connection: Connection, channels: readonly Channel[]): Promise<void> {
    const wanted = channels.filter((channel) => this.#channels.has(channel))
    const [first] = wanted
    if (first === undefined) return
    try {
      await connection.execute([first.kind.toUpperCase(), ...wanted.map(({ name }) => name)], this.#execution)
    } catch (error) {
      if (connection !== this.#connection) return // what it was asked for is asked of the next one
      if (!(error instanceof ReplyError) || refusalOf(error) !== undefined) {
        connection.destroy(unconfirmed(connection.address, error as Error))
      } else if (wanted.length === 1) {
        for (const subscription of first.subscriptions) subscription.end(error)
      } else {
        // a server that allows one of the channels refuses the command for another: who is concerned, halving tells
        const middle = wanted.length >> 1
        await this.#subscribePart(connection, wanted.slice(0, middle))
        await this.#subscribePart(connection, wanted.slice(middle))
      }
      return
    }
    if (connection !== this.#connection) return
    for (const channel of wanted) {
      channel.isConfirmed = true
      for (const subscription of channel.subscriptions) subscription.confirm(connection.address)
    }
  }

  async #unsubscribe(connection: Connection, channels: readonly Channel[]): Promise<void> {
    const parts = inCommands(channels).map(async (part) => {
      const verb = (part[0] as Channel).kind.replace('sub', 'unsub').toUpperCase()
      try {
        await connection.execute([verb, ...part.map(({ name }) => name)], this.#execution)
      } catch (error) {
        // not allowed to unsubscribe: what comes is not passed on
        if (!(error instanceof ReplyError))
          connection.destroy(unconfirmed(connection.address, error as Error))
      }
    })
    await Promise.all(parts)
  }

  get #execution(): { readonly timeout: number; readonly replies: Replies } {
    const { commandTimeout, replies } = this.#options
    return { timeout: commandTimeout, replies }
  }

  // push = "message", channel, payload | "pmessage", pattern, channel, payload | "smessage", channel, payload
  //      | verb, channel, count: the server ended a subscription by itself
  #take(push: readonly Reply[], connection: Connection): void {
    const [verb, name, third, fourth] = push
    switch (text(verb)) {
      case 'message':
        this.#tell('subscribe', text(name), text(name), third)
        break
      case 'smessage':
        this.#tell('ssubscribe', text(name), text(name), third)
        break
      case 'pmessage':
        this.#tell('psubscribe', text(name), text(third), fourth)
        break
      case 'unsubscribe':
      case 'punsubscribe':
      case 'sunsubscribe':
        // it is wanted all the same: begun anew, with what else the server may have in mind
        connection.destroy(ended(connection.address))
    }
  }

  #tell(kind: Kind, key: string, channel: string, message: Reply | undefined): void {
    const found = this.#channels.find(kind, key)
    if (found === undefined) return // it came while the server was being told
    const { subscriptions } = found
    const pattern = kind === 'psubscribe' ? key : undefined
    for (let i = 0; i < subscriptions.length; i += 1) {
      subscriptions[i]?.take(message as string | Buffer, channel, pattern)
    }
  }
}

/** Whether a subscription at that server is as good as at any other. It is not moved for a preference: that is a gap. */
function serves(topology: Topology | undefined, readFrom: ReadFrom, address: string): boolean {
  if (topology === undefined) return true
  const isMaster = topology.master === address
  if (readFrom === 'master') return isMaster
  const isReplica = topology.replicas.some((replica) => replica.address === address && replica.healthy)
  return isReplica || (readFrom !== 'replica' && isMaster)
}

function text(value: Reply | undefined): string {
  return typeof value === 'string' ? value : String(value)
}

/** Ends early, without an error, when nobody waits for what comes after. */
async function pause(signal: AbortSignal, ms = RETRY_MS * (1 + Math.random())): Promise<void> {
  await sleep(ms, undefined, { signal }).catch(() => undefined)
}

function dismissed(address: string, readFrom: ReadFrom): ConnectionError {
  const message = `subscriptions with readFrom '${String(readFrom)}' are not served by ${address} any more`
  return new ConnectionError('FENCED', message, { address, phase: 'ready' })
}

function isDismissed(error: Error): boolean {
  return error instanceof ConnectionError && error.code === 'FENCED'
}

function unconfirmed(address: string, cause: Error): ConnectionError {
  const message = `a subscription was not confirmed: ${cause.message} (${address})`
  return new ConnectionError('CONNECTION_LOST', message, { address, phase: 'ready', cause })
}

function ended(address: string): ConnectionError {
  const message = `the server ended a subscription (${address})`
  return new ConnectionError('CONNECTION_LOST', message, { address, phase: 'ready' })
}
