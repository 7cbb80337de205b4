// Messages that the client sends to itself: whether a subscription outlives its master, and how long it is silent.
// Only where the client can subscribe.

import type { Client } from '../../lib/client/index.ts'
import { CHANNEL, type SubscriptionLog, wallNow } from './protocol.ts'

/** As the client has it, or will have it. */
interface Subscribing {
  subscribe(channel: string, listener: (message: string) => void): Promise<unknown>
}

const PUBLISH_MS = 50

export interface Subscriber {
  readonly log: SubscriptionLog
  stop(): void
}

/** @returns `undefined` if the client has no `subscribe()` */
export async function startSubscriber(
  client: Client,
  onError: (error: unknown) => void,
): Promise<Subscriber | undefined> {
  if (!canSubscribe(client)) return undefined
  const log: SubscriptionLog = { publishedAt: [], received: [] }
  await client.subscribe(CHANNEL, (message) => {
    log.received.push({ at: wallNow(), number: Number(message) })
  })
  const timer = setInterval(() => {
    const number = log.publishedAt.push(0) - 1
    client.call('PUBLISH', CHANNEL, number).then(() => {
      log.publishedAt[number] = wallNow()
    }, onError)
  }, PUBLISH_MS)
  return { log, stop: () => clearInterval(timer) }
}

function canSubscribe(client: object): client is Client & Subscribing {
  return typeof (client as Partial<Subscribing>).subscribe === 'function'
}
