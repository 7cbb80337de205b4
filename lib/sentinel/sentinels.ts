// All sentinels that are watched: those the user named, kept for ever, and those that they list. One sentinel is
// watched once: what it is known by is its run id, since a name and an address, or two addresses, may lead to it.

import { type Translate, translator } from './nat-map.ts'
import type { ResolvedSentinelOptions } from './options.ts'
import { addressOf, type Fields, isFlagged } from './replies.ts'
import { SentinelLink, type SentinelLinkEvents } from './sentinel-link.ts'
import type { SentinelState } from './topology.ts'

/**
 * One that nobody named but another sentinel is dropped when it could not be reached for this long; sooner when it is
 * not listed any more. A restart takes a second or two.
 */
const FORGET_MS = 30_000
const FORGET_UNLISTED_MS = 3_000
/** With one of these flags, who lists it does not reach it. */
const DOWN_FLAGS = ['s_down', 'o_down', 'disconnected']

export class Sentinels {
  readonly #options: ResolvedSentinelOptions
  readonly #events: SentinelLinkEvents
  readonly #translate: Translate
  readonly #links = new Map<string, SentinelLink>()

  constructor(options: ResolvedSentinelOptions, events: SentinelLinkEvents) {
    this.#options = options
    this.#events = events
    this.#translate = translator(options.natMap)
  }

  get links(): SentinelLink[] {
    return [...this.#links.values()]
  }

  get states(): SentinelState[] {
    return this.links.map((link) => ({
      address: link.address,
      connected: link.isConnected,
      ...(link.isTilted ? { tilt: true } : {}),
      ...(link.forbidden.length === 0 ? {} : { forbidden: link.forbidden }),
      ...(link.error === undefined ? {} : { trouble: link.error.message }),
    }))
  }

  /** Whether events come from so many that a change will not go unheard for long. */
  get areHeard(): boolean {
    const connected = this.links.filter(({ isConnected }) => isConnected)
    return connected.length === 0 || connected.filter(({ isHeard }) => isHeard).length > connected.length / 2
  }

  /** Begins with those that the user named. */
  start(): void {
    for (const address of this.#options.sentinels) this.#watch(address)
  }

  /**
   * Goes on with those that are listed, and drops those that are gone.
   *
   * @param now the instant, as of `performance.now()`
   */
  update({ sentinels }: { readonly sentinels: readonly Fields[] }, now = performance.now()): void {
    const listed = new Set<string>()
    for (const fields of sentinels) {
      const address = addressOf(fields)
      if (address === undefined) continue
      listed.add(address)
      this.#meet(address, fields)
    }
    for (const link of this.links) {
      if (this.#isSeed(link)) continue
      if (this.#twinOf(link) !== undefined) this.#drop(link, 'watched at another address')
      const { downSince } = link
      if (downSince === undefined) continue
      const patienceMs = listed.has(link.address) ? FORGET_MS : FORGET_UNLISTED_MS
      if (now - downSince >= patienceMs) this.#drop(link, 'could not be reached')
    }
  }

  close(error: Error): void {
    for (const link of this.links) link.close(error)
  }

  /** Watches one that is listed, unless that is done already, here or at another address of it. */
  #meet(address: string, fields: Fields): void {
    const runId = fields.get('runid')
    const known = this.#links.get(address)
    if (known !== undefined) {
      known.runId ??= runId
      return
    }
    if (DOWN_FLAGS.some((flag) => isFlagged(fields, flag))) return
    const same = this.links.find((link) => link.runId !== undefined && link.runId === runId)
    if (same?.isConnected) return
    if (same !== undefined && !this.#isSeed(same)) this.#drop(same, 'has moved')
    this.#watch(address).runId = runId
  }

  /** Another link that is connected to the same sentinel. */
  #twinOf(link: SentinelLink): SentinelLink | undefined {
    if (link.runId === undefined) return undefined
    return this.links.find((it) => it !== link && it.runId === link.runId && it.isConnected)
  }

  #isSeed({ address }: SentinelLink): boolean {
    return this.#options.sentinels.includes(address)
  }

  #watch(address: string): SentinelLink {
    const known = this.#links.get(address)
    if (known !== undefined) return known
    const { sentinelConnection, answerTimeout, pingInterval } = this.#options
    const options = { sentinelConnection, answerTimeout, pingInterval, translate: this.#translate }
    const link = new SentinelLink(address, options, this.#events)
    this.#links.set(address, link)
    link.start()
    return link
  }

  #drop(link: SentinelLink, why: string): void {
    this.#links.delete(link.address)
    link.close(new Error(`no longer watched here: ${why}`))
  }
}
