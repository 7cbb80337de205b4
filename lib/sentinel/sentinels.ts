// All sentinels that are watched: those the user named, kept for ever, and those they name.

import type { ResolvedSentinelOptions } from './options.ts'
import { addressOf, type Fields } from './replies.ts'
import { SentinelLink, type SentinelLinkEvents } from './sentinel-link.ts'
import type { SentinelState } from './topology.ts'

export class Sentinels {
  readonly #options: ResolvedSentinelOptions
  readonly #events: SentinelLinkEvents
  readonly #links = new Map<string, SentinelLink>()

  constructor(options: ResolvedSentinelOptions, events: SentinelLinkEvents) {
    this.#options = options
    this.#events = events
  }

  get links(): SentinelLink[] {
    return [...this.#links.values()]
  }

  get states(): SentinelState[] {
    return this.links.map(({ address, isConnected }) => ({ address, connected: isConnected }))
  }

  /** Begins with those that the user named. */
  start(): void {
    for (const address of this.#options.sentinels) this.#watch(address)
  }

  /** Goes on with those that one of them listed. */
  add(listed: readonly Fields[]): void {
    for (const fields of listed) {
      const address = addressOf(fields)
      if (address !== undefined) this.#watch(address)
    }
  }

  close(error: Error): void {
    for (const link of this.links) link.close(error)
  }

  #watch(address: string): void {
    if (this.#links.has(address)) return
    const { sentinelConnection, answerTimeout } = this.#options
    const link = new SentinelLink(address, sentinelConnection, answerTimeout, this.#events)
    this.#links.set(address, link)
    link.start()
  }
}
