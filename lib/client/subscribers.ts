// The subscriptions of a client, and their connections: one for each combination of `readFrom` and `replies` in use.

import { AsyncResource } from 'node:async_hooks'
import type { ReadFrom } from '../endpoint/index.ts'
import type { Router } from './router.ts'
import { Subscriber, type SubscriberOptions } from './subscriber.ts'
import { type Kind, type Receiver, Subscribed, type Subscription } from './subscription.ts'
import { MessageIterator, type SubscriptionIterator } from './subscription-iterator.ts'
import {
  checkChannels,
  type Payload,
  type Replies,
  type ResolvedSubscriptionOptions,
  resolveSubscriptionOptions,
  type SubscribeOptions,
  type SubscriptionOptions,
} from './subscription-options.ts'
import { closedError } from './work.ts'

/**
 * Told of each message: its payload, its channel, and the pattern by which it came, where a pattern was subscribed to.
 * It may be an async function, whose calls are not waited for. It runs in the asynchronous context of its
 * subscription: what `AsyncLocalStorage` holds there it holds here.
 */
export type MessageListener<R extends Replies = 'string'> = (
  message: Payload<R>,
  channel: string,
  pattern: string | undefined,
) => unknown

/** @internal */
export class Subscribers {
  readonly #router: Router
  readonly #options: Omit<SubscriberOptions, 'readFrom' | 'replies'>
  readonly #subscribers: Subscriber[] = []
  #isClosed = false

  constructor(router: Router, options: Omit<SubscriberOptions, 'readFrom' | 'replies'>) {
    this.#router = router
    this.#options = options
  }

  /** See {@link Client.subscribe}. */
  subscribe<R extends Replies>(
    kind: Kind,
    channels: string | readonly string[],
    listener: MessageListener<R>,
    options: SubscribeOptions<R> = {},
  ): Promise<Subscription> {
    const names = checkChannels(channels)
    if (typeof listener !== 'function') {
      throw new TypeError(
        `a listener must be a function, got ${listener === null ? 'null' : typeof listener}`,
      )
    }
    const resolved = resolveSubscriptionOptions('listener', options, this.#options.commandTimeout)
    if (this.#isClosed) return Promise.reject(closedError())
    const receiver: Receiver = {
      // which payloads it gets is what `replies` asks for
      onMessage: bound(listener as Receiver['onMessage']),
      onGap: resolved.onGap && bound(resolved.onGap),
      onError: resolved.onError && bound(resolved.onError),
    }
    return this.#open(kind, names, receiver, resolved).opened
  }

  /** See {@link Client.subscription}. */
  iterate<R extends Replies>(
    kind: Kind,
    channels: string | readonly string[],
    options: SubscriptionOptions<R> = {},
  ): SubscriptionIterator<R> {
    const names = checkChannels(channels)
    const resolved = resolveSubscriptionOptions('iterator', options, this.#options.commandTimeout)
    const settings = { ...resolved, onGap: resolved.onGap && bound(resolved.onGap) }
    const iterator = new MessageIterator(settings, (receiver) => this.#open(kind, names, receiver, resolved))
    return iterator as SubscriptionIterator<Replies> as SubscriptionIterator<R>
  }

  /** The servers have changed. */
  reconsider(): void {
    for (const subscriber of this.#subscribers) subscriber.reconsider()
  }

  stats(): { readonly channels: number; readonly connections: number } {
    let [channels, connections] = [0, 0]
    for (const subscriber of this.#subscribers) {
      channels += subscriber.channelCount
      if (subscriber.isConnected) connections += 1
    }
    return Object.freeze({ channels, connections })
  }

  /** Ends all: normally, or for that reason. Resolves when their connections are closed. */
  async end(error: Error | undefined): Promise<void> {
    this.#isClosed = true
    await Promise.all(this.#subscribers.map((subscriber) => subscriber.end(error)))
  }

  #open(
    kind: Kind,
    channels: readonly string[],
    receiver: Receiver,
    options: ResolvedSubscriptionOptions,
  ): { readonly subscription: Subscribed; readonly opened: Promise<Subscription> } {
    const subscriber = this.#subscriberFor(options.readFrom, options.replies)
    const subscription = new Subscribed(kind, channels, receiver, options, (it) => subscriber.remove(it))
    if (this.#isClosed) subscription.end(closedError())
    else if (options.signal?.aborted !== true) subscriber.add(subscription)
    const opened = subscription.untilOpened(options, () => subscriber.failure).then(() => subscription)
    return { subscription, opened }
  }

  #subscriberFor(readFrom: ReadFrom, replies: Replies): Subscriber {
    const known = this.#subscribers.find((it) => it.readFrom === readFrom && it.replies === replies)
    if (known !== undefined) return known
    const subscriber = new Subscriber(this.#router, { ...this.#options, readFrom, replies })
    this.#subscribers.push(subscriber)
    return subscriber
  }
}

/** The function, in the asynchronous context of its registration. */
function bound<A extends unknown[], R>(listener: (...args: A) => R): (...args: A) => R {
  return AsyncResource.bind(listener)
}
