// What one connection is subscribed to, or is to be: every channel once, however many subscriptions want it, in the
// order in which they were first wanted. Knows no connection.

import type { Kind, Subscribed } from './subscription.ts'

/** One channel or pattern; it lives from the first subscription that wants it to the end of the last. */
export interface Channel {
  readonly kind: Kind
  readonly name: string
  /** Never empty while it is in the table; replaced, not changed, so that it can be walked through. */
  subscriptions: readonly Subscribed[]
  /** Whether the server has confirmed it on the present connection. */
  isConfirmed: boolean
}

/** A command of this many channels is a few 10 KB; a server does other work between two commands. */
const MAX_NAMES = 1_000

export class ChannelTable {
  readonly #byName: Readonly<Record<Kind, Map<string, Channel>>> = {
    subscribe: new Map(),
    psubscribe: new Map(),
    ssubscribe: new Map(),
  }
  readonly #inOrder = new Set<Channel>()

  get size(): number {
    return this.#inOrder.size
  }

  /** All of them, in the order in which they came. */
  get inOrder(): readonly Channel[] {
    return [...this.#inOrder]
  }

  /** Every subscription once, in order. */
  get subscriptions(): ReadonlySet<Subscribed> {
    return new Set(this.inOrder.flatMap((channel) => channel.subscriptions))
  }

  find(kind: Kind, name: string): Channel | undefined {
    return this.#byName[kind].get(name)
  }

  has(channel: Channel): boolean {
    return this.#inOrder.has(channel)
  }

  /** Adds a subscription, and tells it how many confirmations to wait for; returns channels that are new. */
  join(subscription: Subscribed): readonly Channel[] {
    const { kind, channels } = subscription
    const fresh: Channel[] = []
    let unconfirmed = 0
    for (const name of channels) {
      const known = this.#byName[kind].get(name)
      if (known !== undefined) {
        known.subscriptions = [...known.subscriptions, subscription]
        if (!known.isConfirmed) unconfirmed += 1
        continue
      }
      const channel: Channel = { kind, name, subscriptions: [subscription], isConfirmed: false }
      this.#byName[kind].set(name, channel)
      this.#inOrder.add(channel)
      fresh.push(channel)
      unconfirmed += 1
    }
    subscription.begin(unconfirmed)
    return fresh
  }

  /** Takes a subscription out; returns the channels that nobody wants any more. */
  leave(subscription: Subscribed): readonly Channel[] {
    const { kind, channels } = subscription
    const gone: Channel[] = []
    for (const name of channels) {
      const channel = this.#byName[kind].get(name)
      if (channel === undefined) continue
      channel.subscriptions = channel.subscriptions.filter((it) => it !== subscription)
      if (channel.subscriptions.length > 0) continue
      this.#byName[kind].delete(name)
      this.#inOrder.delete(channel)
      gone.push(channel)
    }
    return gone
  }
}

/** Parts of which each is one command: of one kind, of a bounded size, in order. */
export function inCommands(channels: readonly Channel[]): readonly (readonly Channel[])[] {
  const commands: Channel[][] = []
  let last: Channel[] | undefined
  for (const channel of channels) {
    if (last === undefined || last.length === MAX_NAMES || last[0]?.kind !== channel.kind) {
      last = []
      commands.push(last)
    }
    last.push(channel)
  }
  return commands
}
