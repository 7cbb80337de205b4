// A failover as its leader's events tell it, before the sentinels agree on its outcome.
//
//   none ──+try-failover──► holding ──+selected-slave──► courting ──its ROLE says master──► won
//     ▲                        │                            │
//     └──── -failover-abort-…, the bound, end() ◄───────────┘
//
// While it is on, writes are held: the leader promotes a replica within 0.2 s and the others announce it a second
// later, and what the old master acknowledges in between is lost. The replica that the leader names is asked for
// its role again and again, and won the moment it says that it is a master: long before the announcement. An
// event alone proves nothing; only a known replica is courted, and only its own word wins it.

import { selectedReplica } from './replies.ts'

/** A leader that is elected promotes within this; one that is not says so, or is not heard of again. */
const HOLD_MS = 5_000
/** Between two questions to the candidate: what early adoption can be late by. */
const ASK_AGAIN_MS = 15

/** What is courted; an {@link Endpoint} is one. */
export interface Candidate {
  readonly address: string
  /** Resolves when the server is connected and has said that it is a master. */
  connect(): Promise<unknown>
  fence(error: Error): void
}

export interface FailoverEvents<C extends Candidate> {
  /** Whether a replica of this address is known; no other is courted. */
  readonly isReplica: (address: string) => boolean
  /** Opens what connects only to a master. */
  readonly open: (address: string) => C
  /** The candidate is a master: it is connected, and the receiver's from now on. */
  readonly onWon: (candidate: C, leader: string) => void
  /** The leader has given up. */
  readonly onAborted: (leader: string) => void
}

export class FailoverWatch<C extends Candidate> {
  readonly #events: FailoverEvents<C>
  readonly #adoptsEarly: boolean
  /** The sentinel that leads. */
  #leader: string | undefined
  #holdUntil = 0
  #candidate: C | undefined
  #timer: NodeJS.Timeout | undefined

  constructor(events: FailoverEvents<C>, { adoptsEarly }: { readonly adoptsEarly: boolean }) {
    this.#events = events
    this.#adoptsEarly = adoptsEarly
  }

  /** Whether a failover is under way, so that a write had better wait for its end. */
  get isOn(): boolean {
    return this.#leader !== undefined && performance.now() < this.#holdUntil
  }

  /** Takes note of an event that is about our master. */
  heed(sentinel: string, channel: string, payload: string): void {
    if (channel === '+try-failover') {
      this.#lead(sentinel)
    } else if (channel === '+selected-slave') {
      this.#lead(sentinel)
      const address = selectedReplica(payload)
      if (this.#adoptsEarly && address !== undefined && this.#events.isReplica(address)) this.#court(address)
    } else if (channel.startsWith('-failover-abort-')) {
      if (this.#leader === sentinel) this.end()
      this.#events.onAborted(sentinel)
    }
  }

  /** It is over, whatever came of it. */
  end(): void {
    this.#leader = undefined
    clearTimeout(this.#timer)
    this.#candidate?.fence(new Error('the failover has ended'))
    this.#candidate = undefined
  }

  #lead(sentinel: string): void {
    if (this.#leader !== sentinel) this.end()
    this.#leader = sentinel
    this.#holdUntil = performance.now() + HOLD_MS
  }

  #court(address: string): void {
    if (this.#candidate?.address === address) return
    this.#candidate?.fence(new Error('another candidate was selected'))
    const candidate = this.#events.open(address)
    this.#candidate = candidate
    this.#ask(candidate)
  }

  #ask(candidate: C): void {
    candidate.connect().then(
      () => {
        if (this.#candidate !== candidate || this.#leader === undefined) return
        this.#candidate = undefined // not ours any more
        const leader = this.#leader
        this.end()
        this.#events.onWon(candidate, leader)
      },
      () => {
        // not a master yet, or its connections were cut in the promotion
        if (this.#candidate !== candidate) return
        if (this.isOn) this.#timer = setTimeout(() => this.#ask(candidate), ASK_AGAIN_MS)
        else this.end()
      },
    )
  }
}
