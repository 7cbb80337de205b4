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

import type { Connection } from '../connection/index.ts'
import { type Endpoint, type ReadFrom, refusalOf } from '../endpoint/index.ts'
import { ConnectionError, ReplyError } from '../errors.ts'
import type { Reply } from '../resp/index.ts'
import type { Topology } from '../sentinel/index.ts'
import type { Router } from './router.ts'
import { type Channel, ChannelTable, inCommands } from './subscriber-channels.ts'
import { SubscriberDialer } from './subscriber-dialer.ts'
import { watchSilence } from './subscriber-watch.ts'
import type { Kind, Loss, Subscribed } from './subscription.ts'
import type { Gap, Replies } from './subscription-options.ts'

/** A server that does not confirm the end of its last subscription is left without. */
const FAREWELL_MS = 1_000

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
  readonly #dialer: SubscriberDialer
  /** As a lease: `'master'` means to write, so that it waits for the new master while a failover is under way. */
  readonly #target: 'write' | ReadFrom
  /** Ends the dial that is going on. */
  #attempt: AbortController | undefined
  #endpoint: Endpoint | undefined
  #connection: Connection | undefined
  #unwatch: (() => void) | undefined
  /** The first since all was well. */
  #loss: Loss | undefined

  constructor(router: Router, options: SubscriberOptions) {
    this.#router = router
    this.#options = options
    this.#target = options.readFrom === 'master' ? 'write' : options.readFrom
    this.#dialer = new SubscriberDialer(router, this.#target, (error) => this.#disappoint(error))
  }

  get readFrom(): ReadFrom {
    return this.#options.readFrom
  }

  get replies(): Replies {
    return this.#options.replies
  }

  /** Channels and patterns that somebody is subscribed to, or about to be. */
  get channelCount(): number {
    return this.#channels.size
  }

  get isConnected(): boolean {
    return this.#connection !== undefined && this.#connection.error === undefined
  }

  /** Why there is no connection, as far as that is known. */
  get failure(): Error | undefined {
    return this.#connection === undefined ? this.#dialer.failure : undefined
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
    const told = this.#unsubscribe(connection, gone, isLast ? FAREWELL_MS : this.#options.commandTimeout)
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

  /** Ends all: as their owners would, or for that reason. Resolves when the connection is gone. */
  async end(error: Error | undefined): Promise<void> {
    const connection = this.#detach()
    for (const subscription of this.#channels.subscriptions) subscription.end(error)
    connection?.destroy(error) // what is in flight there is of no use any more
    await connection?.closed
  }

  /** From now on nothing is dialed, and what the connection says is not heard. */
  #detach(): Connection | undefined {
    const connection = this.#connection
    this.#attempt?.abort()
    this.#unwatch?.()
    if (connection?.error === undefined) this.#dialer.forget()
    this.#attempt = this.#connection = this.#endpoint = this.#unwatch = this.#loss = undefined
    return connection
  }

  /** Not so from the moment it ends, which is told a little later. */
  #isCurrent(connection: Connection): boolean {
    return connection === this.#connection && connection.error === undefined
  }

  #connect(): void {
    if (this.#attempt !== undefined) return
    const attempt = new AbortController()
    this.#attempt = attempt
    this.#dialer.dial(attempt.signal).then(
      ({ connection, endpoint }) => {
        if (attempt.signal.aborted) connection.destroy()
        else this.#use(connection, endpoint)
      },
      () => undefined, // nobody wants it any more
    )
  }

  /** Those who wait for their first confirmation need not wait any longer; the others may live to see better days. */
  #disappoint(error: Error): void {
    for (const subscription of this.#channels.subscriptions) {
      if (subscription.state === 'opening') subscription.end(error)
    }
  }

  #use(connection: Connection, endpoint: Endpoint): void {
    this.#attempt = undefined
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
    if (endpoint.error === undefined && !isDismissed(reason)) this.#router.report(endpoint, reason)
    this.#connect()
  }

  #tellGap(connection: Connection): void {
    if (!this.#isCurrent(connection) || this.#loss === undefined) return
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
      const { commandTimeout: timeout, replies } = this.#options
      const command = [first.kind.toUpperCase(), ...wanted.map(({ name }) => name)]
      await connection.execute(command, { timeout, replies })
    } catch (error) {
      if (!this.#isCurrent(connection)) return // what it was asked for is asked of the next one
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
    if (!this.#isCurrent(connection)) return
    for (const channel of wanted) {
      channel.isConfirmed = true
      for (const subscription of channel.subscriptions) subscription.confirm(connection.address)
    }
  }

  async #unsubscribe(connection: Connection, channels: readonly Channel[], timeout: number): Promise<void> {
    const parts = inCommands(channels).map(async (part) => {
      const verb = (part[0] as Channel).kind.replace('sub', 'unsub').toUpperCase()
      try {
        await connection.execute([verb, ...part.map(({ name }) => name)], { timeout, replies: this.replies })
      } catch (error) {
        // not allowed to unsubscribe: what comes is not passed on
        if (!(error instanceof ReplyError))
          connection.destroy(unconfirmed(connection.address, error as Error))
      }
    })
    await Promise.all(parts)
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
