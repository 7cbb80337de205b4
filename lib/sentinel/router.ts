// Keeps the knowledge who is master and who are the replicas, and holds an endpoint open to each.
//
//            ┌────────────── asks when told to, when a timer says so, never twice at a time ──────────────┐
//   idle ──start()──► resolving ──master verified──► steady ──event, trouble──► (holding) ──► resolving ──┘
//                                                       └──────── close(), destroy() ────────► closed
//
// Events, lost connections and refusals are hints: each starts a resolve, which asks all sentinels, believes the
// highest epoch and verifies by ROLE. While a hint makes it likely that the master has been replaced, commands
// to it are held. A confirmed change swaps the endpoints and fences the old ones at once: their server may go on
// acknowledging writes for ten seconds that will be lost.

import {
  type Endpoint,
  type EndpointStats,
  HoldQueue,
  type HoldRequest,
  isPermanent,
  type ReadFrom,
  type Route,
  refusalOf,
  type Waiting,
} from '../endpoint/index.ts'
import { ConnectionError, PoolError, type RespoolError, SentinelError } from '../errors.ts'
import { discover, type Verdict } from './discovery.ts'
import { FailoverWatch } from './failover-watch.ts'
import type { ResolvedSentinelOptions } from './options.ts'
import { Recurring } from './recurring.ts'
import { Replicas } from './replicas.ts'
import { type Fields, isAbout, switchedTo } from './replies.ts'
import { saysMaster } from './role-check.ts'
import type { SentinelLink } from './sentinel-link.ts'
import { Sentinels } from './sentinels.ts'
import { Servers } from './servers.ts'
import { Suspicion } from './suspicion.ts'
import { freezeTopology, type Topology } from './topology.ts'

/** Until the next question: while there is no master or one is suspected; while something else is wrong. */
const URGENT_MS = 100
const UNWELL_MS = 1_000
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

export interface RouterEvents {
  readonly onSwitch: (event: SwitchEvent) => void
  readonly onTopology: (topology: Topology) => void
}

/** What a master that was adopted early rests on, until a sentinel confirms it. */
interface Provision {
  readonly leader: string
  readonly until: number
  /** The epoch to go back to when it comes to nothing. */
  readonly lastEpoch: number
}

export class SentinelRouter implements Route {
  readonly #options: ResolvedSentinelOptions
  readonly #events: RouterEvents
  readonly #sentinels: Sentinels
  readonly #servers: Servers
  readonly #replicas: Replicas
  readonly #held: HoldQueue
  #state: 'idle' | 'running' | 'closed' = 'idle'
  #master: Endpoint | undefined
  #epoch = 0
  #generation = 0
  readonly #suspicion = new Suspicion()
  /** The sentinels agree on another master, which has not been verified yet. */
  #isReplaced = false
  #provision: Provision | undefined
  readonly #failover: FailoverWatch<Endpoint>
  #trouble: RespoolError | undefined
  /** Since when the master gives cause to doubt it; instant of `performance.now()`. */
  #doubtedAt: number | undefined
  /** Set while there never was a master and waiting for one is in vain: a name nobody knows, a wrong password. */
  #hopeless: RespoolError | undefined
  #topology: Topology
  /** Asks the sentinels. */
  readonly #asking = new Recurring(
    () => this.#resolve(),
    () => this.#pauseMs(),
  )
  #refreshing: Promise<void> | undefined
  /** What the sentinels said of the replicas last. */
  #listed: readonly Fields[] = []

  constructor(options: ResolvedSentinelOptions, events: RouterEvents) {
    this.#options = options
    this.#events = events
    this.#sentinels = new Sentinels(options, {
      onEvent: (from, channel, payload) => this.#onEvent(from, channel, payload),
      onChange: () => this.#asking.soon(),
    })
    this.#servers = new Servers(options, (endpoint, error) => this.report(endpoint, error))
    this.#replicas = new Replicas((address) => this.#servers.openReplica(address))
    this.#held = new HoldQueue(`server for '${options.name}'`, options, () => this.#whyNobody())
    this.#failover = new FailoverWatch(
      {
        isReplica: (address) => this.#replicas.has(address),
        open: (address) => this.#servers.openMaster(address),
        onWon: (endpoint, leader) => this.#adoptEarly(endpoint, leader),
        onAborted: (leader) => {
          if (this.#provision?.leader === leader) this.#revoke()
        },
      },
      { adoptsEarly: options.adoptEarly },
    )
    this.#topology = this.#snapshot()
  }

  get topology(): Topology {
    return this.#topology
  }

  get isClosed(): boolean {
    return this.#state === 'closed'
  }

  pick(target: 'write' | ReadFrom): Endpoint | undefined {
    if (this.#state === 'closed') return undefined
    this.start()
    const master = this.#suspicion.isOn || this.#isReplaced ? undefined : this.#master
    switch (target) {
      case 'write':
        return this.#isHolding ? undefined : master
      case 'master':
        return master
      case 'prefer-master':
        return master?.isConnected && !master.isSuspect ? master : (this.#replicas.pick() ?? master)
      case 'replica':
        return this.#replicas.pick()
      case 'prefer-replica':
        return this.#replicas.pick() ?? master
    }
  }

  hold(request: HoldRequest): Promise<void> {
    const refusal = this.#refusal
    return refusal === undefined ? this.#held.wait(request) : Promise.reject(refusal)
  }

  /** {@link hold} without a promise. */
  enqueue(waiting: Waiting): void {
    const refusal = this.#refusal
    if (refusal === undefined) this.#held.add(waiting)
    else waiting.fail(refusal)
  }

  report(endpoint: Endpoint, error: Error): void {
    if (this.#state === 'closed') return
    if (endpoint === this.#master) {
      this.#doubtedAt ??= performance.now()
      if (refusalOf(error) === 'wrong-role') {
        this.#suspicion.convict()
        this.#publish()
      }
      this.#asking.soon()
    } else if (refusalOf(error) === 'wrong-role') {
      // the write of a lease, to a replica that is one
    } else if (this.#replicas.doubt(endpoint, error.message)) {
      this.#publish()
      this.#asking.soon()
    }
  }

  stats(): { readonly master: EndpointStats | undefined; readonly replicas: readonly EndpointStats[] } {
    return Object.freeze({
      master: this.#master?.stats(),
      replicas: Object.freeze(this.#replicas.endpoints.map((endpoint) => endpoint.stats())),
    })
  }

  /** Begins to look for the master, if that has not begun. */
  start(): void {
    if (this.#state !== 'idle') return
    this.#state = 'running'
    this.#sentinels.start()
    this.#asking.soon()
  }

  async close(): Promise<void> {
    this.#stop()
    await Promise.all([this.#master?.close(), this.#replicas.close()])
  }

  destroy(error: Error): void {
    this.#stop()
    this.#master?.fence(error)
    this.#replicas.destroy(error)
  }

  /** Why nobody is to wait. */
  get #refusal(): Error | undefined {
    return this.#state === 'closed' ? closedError() : this.#hopeless
  }

  /** Whether there is a master that gives no cause to doubt it. */
  get #isSteady(): boolean {
    return this.#master?.isConnected === true && !this.#master.isSuspect && !this.#isHolding
  }

  get #isHolding(): boolean {
    const isAwaited = this.#options.onFailover === 'hold' && this.#failover.isOn
    return this.#suspicion.isOn || this.#isReplaced || isAwaited
  }

  #stop(): void {
    this.#state = 'closed'
    this.#asking.stop()
    this.#failover.end()
    this.#held.fail(closedError())
    this.#sentinels.close(closedError())
  }

  /** How long what we know is good for, if no event comes. */
  #pauseMs(): number {
    if (this.#master === undefined || this.#isHolding || this.#master.isSuspect) return URGENT_MS
    if (this.#trouble !== undefined || !this.#isSteady || !this.#replicas.isWell) return UNWELL_MS
    return this.#options.pollInterval * (0.9 + Math.random() * 0.2)
  }

  async #resolve(): Promise<void> {
    const { name, answerTimeout } = this.#options
    if (this.#provision !== undefined && performance.now() >= this.#provision.until) this.#revoke()
    const isProvisional = this.#provision !== undefined
    const belief = this.#master && { master: this.#master.address, epoch: this.#epoch, isProvisional }
    const generation = this.#generation
    const askedAt = performance.now()
    const verdict = await discover(this.#sentinels.links, name, belief, answerTimeout)
    if (this.#state !== 'running') return
    if (this.#generation !== generation) return this.#asking.soon() // the answers are about the one before
    this.#hopeless = undefined
    if (verdict.kind === 'master') {
      this.#sentinels.update(verdict.answer)
      this.#listed = verdict.answer.replicas
      await this.#accept(verdict)
      if (this.isClosed) return
    } else if (verdict.kind !== 'stale') {
      this.#trouble = verdict.error
      // a name that nobody knows will not come by waiting; the last topology keeps serving, though
      if (verdict.kind === 'unknown' && verdict.isConclusive && this.#master === undefined) {
        this.#giveUp(verdict.error)
      }
    }
    const { answered } = verdict.kind === 'master' ? verdict : { answered: [] }
    if (this.#master !== undefined && !this.#isReplaced) {
      const master = this.#master
      await this.#suspicion.reconsider(askedAt, answered, () => saysMaster(master, answerTimeout))
      if (this.isClosed) return
    }
    if (this.#isSteady) this.#doubtedAt = undefined
    this.#refreshReplicas()
    this.#publish()
    this.#release()
  }

  async #accept(verdict: Verdict & { kind: 'master' }): Promise<void> {
    const { answer, master } = verdict
    if (master !== this.#master?.address) {
      // the old one has been replaced, whatever becomes of the new one: nothing is sent there any more
      this.#isReplaced = this.#master !== undefined
      this.#doubtedAt ??= performance.now()
      await this.#switchTo(master, answer.epoch)
      return
    }
    this.#trouble = undefined
    this.#epoch = answer.epoch
    this.#provision = undefined
    this.#isReplaced = false
  }

  async #switchTo(address: string, epoch: number): Promise<void> {
    const generation = this.#generation
    const next = this.#servers.openMaster(address)
    try {
      await within(VERIFY_MS, next.connect(), `no answer within ${VERIFY_MS} ms`)
    } catch (error) {
      const message = `the sentinels name ${address} as the master, but: ${(error as Error).message}`
      this.#trouble = new SentinelError('MASTER_UNVERIFIED', message, { cause: error })
      next.fence(this.#trouble)
      if (this.#master === undefined && isPermanent(error)) this.#giveUp(this.#trouble)
      return
    }
    if (!this.isClosed && this.#generation === generation) this.#adopt(next, epoch)
    else next.fence(closedError()) // somebody was quicker
  }

  /** The candidate of a failover says that it is the master; the sentinels will say so in a second. */
  #adoptEarly(endpoint: Endpoint, leader: string): void {
    if (this.isClosed || endpoint.address === this.#master?.address) {
      endpoint.fence(closedError())
      return
    }
    const provision = { leader, until: performance.now() + PROVISIONAL_MS, lastEpoch: this.#epoch }
    this.#adopt(endpoint, this.#epoch + 1, provision)
    this.#asking.soon()
  }

  /** What was adopted early did not come true: the sentinels are believed again. */
  #revoke(): void {
    this.#epoch = this.#provision?.lastEpoch ?? this.#epoch
    this.#provision = undefined
    this.#asking.soon()
  }

  /** The switch itself, in one go: from here on the new master is the master, and the old one is fenced. */
  #adopt(next: Endpoint, epoch: number, provision?: Provision): void {
    const { address } = next
    const old = this.#master
    const now = performance.now()
    const duration = now - (this.#doubtedAt ?? now)
    this.#doubtedAt = undefined
    this.#master = next
    this.#epoch = epoch
    this.#generation += 1
    this.#suspicion.drop()
    this.#isReplaced = false
    this.#provision = provision
    this.#trouble = undefined
    this.#failover.end()
    this.#replicas.remove(address, fencedError(address, 'was promoted and is the master now'))
    if (old !== undefined) {
      next.warm(old.pool.stats().activeCount)
      old.fence(fencedError(old.address, `is no longer the master, ${address} is (epoch ${epoch})`))
      const generation = this.#generation
      const early = provision !== undefined
      const event = { from: old.address, to: address, epoch, generation, early, duration }
      this.#later(() => this.#events.onSwitch(Object.freeze(event)))
    }
    this.#publish()
    this.#release()
  }

  /** Looks at the replicas beside everything else: one that hangs must not delay the next question. */
  #refreshReplicas(): void {
    const master = this.#master
    if (master === undefined || this.#refreshing !== undefined) return
    const isUp =
      !this.#suspicion.isOn && !this.#isReplaced && master.isConnected && master.silence < SILENT_MS
    const view = { address: master.address, isUp }
    this.#refreshing = this.#replicas.refresh(this.#listed, view, this.#options.answerTimeout).finally(() => {
      this.#refreshing = undefined
      if (this.isClosed) return
      if (this.#master !== master) this.#refreshReplicas()
      this.#publish()
      this.#release()
    })
  }

  /** Lets go on who waits for a server that is there now. */
  #release(): void {
    this.#held.release((target) => this.pick(target) !== undefined)
  }

  /** Why those who wait find no server. */
  #whyNobody(): Error | undefined {
    if (this.#trouble !== undefined) return this.#trouble
    if (this.#isHolding) return new SentinelError('MASTER_UNVERIFIED', 'a failover is under way')
    const replicas = this.#replicas.states.map(({ address, reason }) => `${address}: ${reason ?? 'healthy'}`)
    const which = replicas.length === 0 ? 'there is none' : replicas.join('; ')
    return new SentinelError('NO_REPLICA', `no replica to read from (${which})`)
  }

  /** Waiting does not help those who wait, nor those who come until the next answer. */
  #giveUp(error: RespoolError): void {
    this.#hopeless = error
    this.#held.fail(error)
  }

  #onEvent(link: SentinelLink, channel: string, payload: string): void {
    const { name } = this.#options
    if (this.#state !== 'running' || !isAbout(channel, payload, name)) return
    this.#failover.heed(link.address, channel, payload)
    const announced = switchedTo(channel, payload, name)
    if (announced !== undefined && announced !== this.#master?.address) {
      this.#suspicion.accuse(link.address, HOLD_ON_EVENT_MS)
    }
    if (this.#isHolding) this.#doubtedAt ??= performance.now()
    this.#publish()
    this.#asking.soon()
  }

  #publish(): void {
    const topology = this.#snapshot()
    if (JSON.stringify(topology) === JSON.stringify(this.#topology)) return
    this.#topology = topology
    this.#later(() => this.#events.onTopology(topology))
  }

  #snapshot(): Topology {
    return freezeTopology({
      generation: this.#generation,
      epoch: this.#epoch,
      master: this.#master?.address,
      replicas: this.#replicas.states,
      sentinels: this.#sentinels.states,
      holding: this.#master === undefined || this.#master.isSuspect || this.#isHolding,
      ...(this.#trouble === undefined ? {} : { trouble: this.#trouble.message }),
    })
  }

  /** Listeners are the user's: they run outside of ours, and what they throw is theirs. */
  #later(tell: () => void): void {
    process.nextTick(tell)
  }
}

function within<T>(ms: number, promise: Promise<T>, message: string): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(message)), ms)
    promise.then(resolve, reject).finally(() => clearTimeout(timer))
  })
}

function fencedError(address: string, message: string): ConnectionError {
  return new ConnectionError('FENCED', `${address} ${message}`, { address, phase: 'ready' })
}

function closedError(): PoolError {
  return new PoolError('CLIENT_CLOSED', 'the client was closed')
}
