// Who is the master, by which epoch, whether that is in doubt, and the switch to another.
//
//   nobody ──named, verified──► steady ──suspicion, failover, another is named──► doubted: writes are held
//                                 ▲                                                 │  │
//                                 ├──────────────── confirmed ──────────────────────┘  │
//                                 └──── another is adopted, the old one is fenced ◄────┘
//
// A server becomes the master here only after its own ROLE said so; a master adopted on nothing but that is
// provisional. The switch is one turn of the event loop: the old endpoint is fenced in it, since its server may go on
// acknowledging writes for ten seconds that will be lost.
//
// It asks no sentinel, but is told what they say; who waits for the master, and the replicas, are not known here.

import { type Endpoint, isPermanent, refusalOf } from '../endpoint/index.ts'
import { type RespoolError, SentinelError } from '../errors.ts'
import type { Belief } from './agreement.ts'
import type { Finding, Verdict } from './discovery.ts'
import { FailoverWatch } from './failover-watch.ts'
import type { ResolvedSentinelOptions } from './options.ts'
import type { MasterView } from './replica.ts'
import { switchedTo } from './replies.ts'
import { saysMaster } from './role-check.ts'
import { fencedError } from './servers.ts'
import { Suspicion } from './suspicion.ts'

/** So long after the master was there, or the sentinels knew of no other, nobody else is taken to be the master. */
const SOLE_MS = 1_000
/** A new master is dialed and asked for its role within this, else it is asked again whether it is the one. */
const VERIFY_MS = 1_000
/** A master that has owed us an answer for this long counts as away: far above any round trip. */
const SILENT_MS = 500
/** An event that announces a new master, and that nobody confirms, holds writes no longer than this. */
const HOLD_ON_EVENT_MS = 1_000
/** A master adopted before its announcement is believed this long without it: a leader's INFO period and more. */
const PROVISIONAL_MS = 10_000

export interface SwitchEvent {
  /** Addresses of the master before and from now on. */
  readonly from: string
  readonly to: string
  readonly epoch: number
  readonly generation: number
  /** Whether it was adopted on its own word, before the sentinels agreed on it. */
  readonly early: boolean
  /** Milliseconds from the first sign of the change, or of trouble with the old master, to the switch. */
  readonly duration: number
}

/**
 * What it needs of its owner.
 *
 * @internal
 */
export interface MastershipHost {
  /** Opens what connects only to a master. */
  readonly open: (address: string) => Endpoint
  /** Whether a replica of this address is known; no other is adopted on its own word. */
  readonly isReplica: (address: string) => boolean
  /** Whether what somebody calls the master's address leads to this one. */
  readonly isSame: (named: string, address: string) => boolean | Promise<boolean>
  /** The sentinels are to be asked again. */
  readonly askAgain: () => void
  /** There is a new master, and the one before is fenced. The event tells of a switch; the first master is none. */
  readonly onAdopted: (address: string, event: SwitchEvent | undefined) => void
}

/** What a master that was adopted early rests on, until a sentinel confirms it. */
interface Provision {
  readonly leader: string
  readonly until: number
  /** The epoch to go back to when it comes to nothing. */
  readonly lastEpoch: number
}

/** @internal */
type MastershipOptions = Pick<ResolvedSentinelOptions, 'name' | 'answerTimeout' | 'onFailover' | 'adoptEarly'>

/** @internal */
export class Mastership {
  readonly #options: MastershipOptions
  readonly #host: MastershipHost
  readonly #suspicion = new Suspicion()
  readonly #failover: FailoverWatch<Endpoint>
  #endpoint: Endpoint | undefined
  #epoch = 0
  #generation = 0
  /** The sentinels agree on another master, which has not been verified yet. */
  #isReplaced = false
  #provision: Provision | undefined
  #trouble: RespoolError | undefined
  #hopeless: RespoolError | undefined
  /** Since when the master gives cause to doubt it; instant of `performance.now()`. */
  #doubtedAt: number | undefined
  /** When it was last up, and when a majority of the sentinels last said that it is the one. */
  #seenAt = Number.NEGATIVE_INFINITY
  #vouchedAt = Number.NEGATIVE_INFINITY
  /** Why nobody is adopted any more. */
  #ended: Error | undefined

  constructor(options: MastershipOptions, host: MastershipHost) {
    this.#options = options
    this.#host = host
    this.#failover = new FailoverWatch(
      {
        isReplica: host.isReplica,
        open: host.open,
        onWon: (endpoint, leader) => this.#adoptEarly(endpoint, leader),
        onAborted: (leader) => {
          if (this.#provision?.leader === leader) this.#revoke()
        },
      },
      { adoptsEarly: options.adoptEarly },
    )
  }

  /** The endpoint of the master, doubted or not. */
  get endpoint(): Endpoint | undefined {
    return this.#endpoint
  }

  /** The master, unless it is doubted that it is one. */
  get readable(): Endpoint | undefined {
    return this.#suspicion.isOn || this.#isReplaced ? undefined : this.#endpoint
  }

  /** The master, unless writes to it are held. */
  get writable(): Endpoint | undefined {
    return this.isHolding ? undefined : this.#endpoint
  }

  get isHolding(): boolean {
    const isAwaited = this.#options.onFailover === 'hold' && this.#failover.isOn
    return this.#suspicion.isOn || this.#isReplaced || isAwaited
  }

  /** Whether there is a master to write to, and it has not fallen silent. */
  get isSettled(): boolean {
    return this.writable?.isSuspect === false
  }

  /** Whether there is a master that gives no cause to doubt it. */
  get isSteady(): boolean {
    return this.isSettled && this.#endpoint?.isConnected === true
  }

  get epoch(): number {
    return this.#epoch
  }

  /** Counts the masters that there have been. */
  get generation(): number {
    return this.#generation
  }

  /** Why there is no other knowledge, of the last attempt to get it. */
  get trouble(): RespoolError | undefined {
    return this.#trouble
  }

  /** Set while there never was a master and waiting for one is in vain: a name nobody knows, a wrong password. */
  get hopeless(): RespoolError | undefined {
    return this.#hopeless
  }

  /** What replicas are held against. */
  view(): MasterView | undefined {
    const endpoint = this.#endpoint
    if (endpoint === undefined) return undefined
    const now = performance.now()
    const isUp = this.readable !== undefined && endpoint.isConnected && endpoint.silence < SILENT_MS
    if (isUp) this.#seenAt = now
    const isSole = now - Math.max(this.#seenAt, this.#vouchedAt) <= SOLE_MS
    const { address } = endpoint
    return { address, endpoint, isMaster: (named) => this.#host.isSame(named, address), isUp, isSole }
  }

  /** What the sentinels' answers are held against. A provision whose time is over is revoked first. */
  belief(): Belief | undefined {
    if (this.#provision !== undefined && performance.now() >= this.#provision.until) this.#revoke()
    const isProvisional = this.#provision !== undefined
    return this.#endpoint && { master: this.#endpoint.address, epoch: this.#epoch, isProvisional }
  }

  /** Takes note of an event that is about our master. */
  heed(sentinel: string, channel: string, payload: string): void {
    this.#failover.heed(sentinel, channel, payload)
    const announced = switchedTo(channel, payload, this.#options.name)
    if (announced !== undefined && announced !== this.#endpoint?.address) {
      this.#suspicion.accuse(sentinel, HOLD_ON_EVENT_MS)
    }
    if (this.isHolding) this.#doubtedAt ??= performance.now()
  }

  /** The master has failed somebody. Tells whether it said itself that it is none: writes are held then. */
  doubt(error: Error): boolean {
    this.#doubtedAt ??= performance.now()
    if (refusalOf(error) !== 'wrong-role') return false
    this.#suspicion.convict()
    return true
  }

  /**
   * Goes by what the sentinels say, which they were asked for in this generation. Never rejects.
   *
   * @param askedAt when they were asked
   * @param sentinelCount how many there are
   */
  async consider(verdict: Verdict, askedAt: number, sentinelCount: number): Promise<void> {
    this.#hopeless = undefined
    if (verdict.kind === 'master') {
      const isMajority = verdict.answer.voices > sentinelCount / 2
      if (isMajority && verdict.master === this.#endpoint?.address) this.#vouchedAt = performance.now()
      await this.#accept(verdict)
      if (this.#ended !== undefined) return
    } else if (verdict.kind !== 'stale') {
      this.#trouble = verdict.error
      // a name that nobody knows will not come by waiting; the last topology keeps serving, though
      if (verdict.isConclusive && this.#endpoint === undefined) this.#hopeless = verdict.error
    }
    const { answered } = verdict.kind === 'master' ? verdict : { answered: [] }
    const endpoint = this.#endpoint
    if (endpoint !== undefined && !this.#isReplaced) {
      const { answerTimeout } = this.#options
      await this.#suspicion.reconsider(askedAt, answered, () => saysMaster(endpoint, answerTimeout))
    }
    if (this.isSteady) this.#doubtedAt = undefined
  }

  /** Nobody is adopted any more; one that is being verified ends with the error. The master is left to the owner. */
  stop(error: Error): void {
    this.#ended = error
    this.#failover.end()
  }

  async #accept({ answer, master }: Verdict & { kind: 'master' }): Promise<void> {
    if (master !== this.#endpoint?.address) {
      // the old one has been replaced, whatever becomes of the new one: nothing is sent there any more
      this.#isReplaced = this.#endpoint !== undefined
      this.#doubtedAt ??= performance.now()
      await this.#switchTo(master, answer)
      return
    }
    if (answer.leader !== undefined) this.#failover.heed(answer.leader, '+try-failover', '')
    this.#trouble = undefined
    this.#epoch = answer.epoch
    this.#provision = undefined
    this.#isReplaced = false
  }

  async #switchTo(address: string, { epoch, leader }: Finding): Promise<void> {
    const generation = this.#generation
    const next = this.#host.open(address)
    try {
      await within(VERIFY_MS, next.connect(), `no answer within ${VERIFY_MS} ms`)
    } catch (error) {
      const message = `the sentinels name ${address} as the master, but: ${(error as Error).message}`
      this.#trouble = new SentinelError('MASTER_UNVERIFIED', message, { cause: error })
      next.fence(this.#trouble)
      if (this.#endpoint === undefined && isPermanent(error)) this.#hopeless = this.#trouble
      return
    }
    if (this.#ended !== undefined) next.fence(this.#ended)
    else if (this.#generation === generation) this.#adopt(next, { epoch, leader })
    else next.fence(fencedError(address, 'is not needed, another master was adopted meanwhile'))
  }

  /** The candidate of a failover says that it is the master; the sentinels will say so in a second. */
  #adoptEarly(endpoint: Endpoint, leader: string): void {
    const { address } = endpoint
    const isKnown = address === this.#endpoint?.address
    if (this.#ended !== undefined || isKnown) {
      endpoint.fence(this.#ended ?? fencedError(address, 'is the master already'))
      return
    }
    const provision = { leader, until: performance.now() + PROVISIONAL_MS, lastEpoch: this.#epoch }
    this.#adopt(endpoint, { epoch: this.#epoch + 1, leader: undefined }, provision)
    this.#host.askAgain()
  }

  /** What was adopted early did not come true: the sentinels are believed again. */
  #revoke(): void {
    this.#epoch = this.#provision?.lastEpoch ?? this.#epoch
    this.#provision = undefined
    this.#host.askAgain()
  }

  /** The switch itself, in one go: from here on the new master is the master, and the old one is fenced. */
  #adopt(next: Endpoint, { epoch, leader }: Pick<Finding, 'epoch' | 'leader'>, provision?: Provision): void {
    const { address } = next
    const old = this.#endpoint
    const now = performance.now()
    const duration = now - (this.#doubtedAt ?? now)
    this.#doubtedAt = undefined
    this.#endpoint = next
    this.#epoch = epoch
    this.#generation += 1
    this.#suspicion.drop()
    this.#isReplaced = false
    this.#provision = provision
    this.#trouble = undefined
    this.#failover.end()
    // it is about to be replaced itself: its writes are held from the beginning
    if (leader !== undefined) this.#failover.heed(leader, '+try-failover', '')
    if (old === undefined) {
      this.#host.onAdopted(address, undefined)
      return
    }
    next.warm(old.pool.stats().activeCount)
    // who waits there has come before those who wait for a new one, and goes at once
    old.fence(fencedError(old.address, `is no longer the master, ${address} is (epoch ${epoch})`))
    const early = provision !== undefined
    const event = { from: old.address, to: address, epoch, generation: this.#generation, early, duration }
    this.#host.onAdopted(address, Object.freeze(event))
  }
}

function within<T>(ms: number, promise: Promise<T>, message: string): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(message)), ms)
    promise.then(resolve, reject).finally(() => clearTimeout(timer))
  })
}
