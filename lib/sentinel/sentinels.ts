// All sentinels that are watched: those the user named, kept for ever, and those they name.

import type { ResolvedSentinelOptions } from './options.ts'
import { addressOf } from './replies.ts'
import { type Answer, SentinelLink, type SentinelLinkEvents } from './sentinel-link.ts'
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

  /**
   * Goes on with those that one of them lists. Those that nobody named, not the user and not the one that is
   * believed now, are dropped when they cannot be reached: they have been taken out of the deployment.
   */
  update({ sentinel, sentinels }: Pick<Answer, 'sentinel' | 'sentinels'>): void {
    const named = new Set([sentinel, ...this.#options.sentinels])
    for (const fields of sentinels) {
      const address = addressOf(fields)
      if (address === undefined) continue
      named.add(address)
      this.#watch(address)
    }
    for (const link of this.links) {
      if (named.has(link.address) || link.isConnected) continue
      this.#links.delete(link.address)
      link.close(new Error('no sentinel of this deployment any more'))
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
