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
  type Route,
  refusalOf,
  type Target,
  type Waiting,
} from '../endpoint/index.ts'
import { ConnectionError, PoolError, type RespoolError, SentinelError } from '../errors.ts'
import { discover, type Finding, type Verdict } from './discovery.ts'
import { FailoverWatch } from './failover-watch.ts'
import { FallbackBudget } from './fallback-budget.ts'
import { type Translate, translator } from './nat-map.ts'
import type { ResolvedSentinelOptions } from './options.ts'
import { Recurring } from './recurring.ts'
import type { MasterView } from './replica.ts'
import { Replicas } from './replicas.ts'
import { type Fields, isAbout, switchedTo } from './replies.ts'
import { saysMaster } from './role-check.ts'
import { SameServer } from './same-server.ts'
import type { SentinelLink } from './sentinel-link.ts'
import { Sentinels } from './sentinels.ts'
import { type ServerEvents, Servers } from './servers.ts'
import { Suspicion } from './suspicion.ts'
import { freezeTopology, type Topology } from './topology.ts'

/** Until the next question: while there is no master or one is suspected; while something else is wrong. */
const URGENT_MS = 100
const UNWELL_MS = 1_000
/** While the master does not answer us: whether somebody else is the master decides who may be read from. */
const AWAY_MS = 300
/** So long after the master was there, or the sentinels knew of no other, nobody else is taken to be the master. */
const SOLE_MS = 1_000
/** A new master is dialed and asked for its role within this, else it is asked again whether it is the one. */
const VERIFY_MS = 1_000
/** Events come by the dozen: all of those within this long are one reason to ask. The first is not delayed. */
const EVENT_GAP_MS = 20
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

export interface RouterEvents extends Partial<ServerEvents> {
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
  readonly #names: SameServer
  readonly #translate: Translate
  readonly #replicas: Replicas
  readonly #held: HoldQueue
  readonly #fallback: FallbackBudget
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
    EVENT_GAP_MS,
  )
  #refreshing: Promise<void> | undefined
  /** When our master was last up, and when a majority of the sentinels last said that it is the one. */
  #masterSeenAt = Number.NEGATIVE_INFINITY
  #vouchedAt = Number.NEGATIVE_INFINITY
  /** When what the topology says of replicas was measured. */
  #measuredAt = 0
  /** What the sentinels said of the replicas last. */
  #listed: readonly Fields[] = []

  constructor(options: ResolvedSentinelOptions, events: RouterEvents) {
    this.#options = options
    this.#events = events
    this.#sentinels = new Sentinels(options, {
      onEvent: (from, channel, payload) => this.#onEvent(from, channel, payload),
      onChange: () => this.#asking.soon(),
    })
    this.#servers = new Servers(options, (endpoint, error) => this.report(endpoint, error), {
      onConnect: (address, role) => this.#later(() => this.#events.onConnect?.(address, role)),
      onDisconnect: (address, role, error) =>
        this.#later(() => this.#events.onDisconnect?.(address, role, error)),
    })
    this.#translate = translator(options.natMap)
    this.#names = new SameServer({ lookup: options.connection.lookup })
    this.#replicas = new Replicas({
      open: (address) => this.#servers.openReplica(address),
      master: () => this.#masterView(),
      withinMs: options.answerTimeout,
      onChange: () => this.#onReplicas(),
    })
    this.#held = new HoldQueue(`server for '${options.name}'`, options, () => this.#whyNobody())
    this.#fallback = new FallbackBudget(
      options.masterFallback,
      options,
      () => this.#readableMaster,
      () => this.#whyNobody(),
    )
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
    // what is measured is no change, but whoever asks gets it as it is now
    const { measuredAt } = this.#replicas
    if (measuredAt > this.#measuredAt) {
      this.#measuredAt = measuredAt
      this.#topology = this.#snapshot()
    }
    return this.#topology
  }

  /** What a replica says that its master is called, as it is called here. A `natMap` that throws leaves it as it is. */
  translate(announced: string): string {
    try {
      return this.#translate(announced, 'master')
    } catch {
      return announced
    }
  }

  get isClosed(): boolean {
    return this.#state === 'closed'
  }

  pick(target: Target, maxStaleness: number = this.#options.maxStaleness): Endpoint | undefined {
    if (this.#state === 'closed') return undefined
    this.start()
    const master = this.#readableMaster
    switch (target) {
      case 'write':
        return this.#isHolding ? undefined : master
      case 'master':
        return master
      case 'prefer-master':
        return master?.isConnected && !master.isSuspect
          ? master
          : (this.#replicas.pick(maxStaleness) ?? master)
      case 'replica':
        return this.#replicas.pick(maxStaleness) ?? this.#replicas.pickLeftOut(maxStaleness)
      case 'prefer-replica':
        return this.#replicas.pick(maxStaleness) ?? this.#fallBack(master, maxStaleness)
      case 'nearest':
        return this.#replicas.nearest(master, maxStaleness) ?? this.#fallBack(master, maxStaleness)
      default:
        return this.#replicas.chosen(target, master, maxStaleness)
    }
  }

  hold(request: HoldRequest): Promise<void> {
    const refusal = this.#refusal
    if (refusal !== undefined) return Promise.reject(refusal)
    return this.#awaitsTurn(request) ? this.#fallback.wait(request) : this.#held.wait(request)
  }

  enqueue(waiting: Waiting): void {
    const refusal = this.#refusal
    if (refusal !== undefined) waiting.fail(refusal)
    else if (this.#awaitsTurn(waiting)) this.#fallback.add(waiting)
    else this.#held.add(waiting)
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

  stats(): {
    readonly master: EndpointStats | undefined
    readonly replicas: readonly EndpointStats[]
    readonly held: number
  } {
    return Object.freeze({
      held: this.#held.length,
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

  /** Whether there is a master, and its budget is all that keeps a read from it. */
  #awaitsTurn(request: HoldRequest): boolean {
    const target = request.target?.()
    const mayFallBack = target === 'prefer-replica' || target === 'nearest'
    return mayFallBack && !this.#replicas.isWaking && this.#readableMaster !== undefined
  }

  /** Whether there is a master that gives no cause to doubt it. */
  get #isSteady(): boolean {
    return this.#master?.isConnected === true && !this.#master.isSuspect && !this.#isHolding
  }

  get #isHolding(): boolean {
    const isAwaited = this.#options.onFailover === 'hold' && this.#failover.isOn
    return this.#suspicion.isOn || this.#isReplaced || isAwaited
  }

  /** The master, unless it is doubted that it is one. */
  get #readableMaster(): Endpoint | undefined {
    return this.#suspicion.isOn || this.#isReplaced ? undefined : this.#master
  }

  /** Where there are no replicas at all, the master is no makeshift. */
  #fallBack(master: Endpoint | undefined, maxStaleness: number): Endpoint | undefined {
    if (this.#replicas.isWaking) return undefined
    if (master !== undefined && (this.#listed.length === 0 || this.#fallback.take(master))) return master
    return this.#replicas.pickLeftOut(maxStaleness)
  }

  #masterView(): MasterView | undefined {
    const master = this.#readableMaster ?? this.#master
    if (master === undefined) return undefined
    const now = performance.now()
    const isUp = this.#readableMaster !== undefined && master.isConnected && master.silence < SILENT_MS
    if (isUp) this.#masterSeenAt = now
    const isSole = now - Math.max(this.#masterSeenAt, this.#vouchedAt) <= SOLE_MS
    const { address } = master
    const isMaster = (named: string) => this.#names.isSame(this.#translate(named, 'master'), address)
    return { address, endpoint: master, isMaster, isUp, isSole }
  }

  #onReplicas(): void {
    if (this.isClosed) return
    this.#publish()
    this.#release()
    this.#fallback.release()
  }

  #stop(): void {
    this.#state = 'closed'
    this.#fallback.fail(closedError())
    this.#asking.stop()
    this.#failover.end()
    this.#held.fail(closedError())
    this.#sentinels.close(closedError())
  }

  /** How long what we know is good for, if no event comes. */
  #pauseMs(): number {
    if (this.#master === undefined || this.#isHolding || this.#master.isSuspect) return URGENT_MS
    if (!this.#masterView()?.isUp) return AWAY_MS
    if (this.#trouble !== undefined || !this.#isSteady || !this.#replicas.isWell) return UNWELL_MS
    const pollMs = this.#options.pollInterval * (0.9 + Math.random() * 0.2)
    return this.#sentinels.areHeard ? pollMs : Math.min(pollMs, UNWELL_MS)
  }

  async #resolve(): Promise<void> {
    const { answerTimeout } = this.#options
    if (this.#provision !== undefined && performance.now() >= this.#provision.until) this.#revoke()
    const isProvisional = this.#provision !== undefined
    const belief = this.#master && { master: this.#master.address, epoch: this.#epoch, isProvisional }
    const generation = this.#generation
    const askedAt = performance.now()
    const verdict = await discover(this.#sentinels.links, this.#options, belief, this.#names)
    if (this.#state !== 'running') return
    if (this.#generation !== generation) return this.#asking.soon() // the answers are about the one before
    this.#hopeless = undefined
    this.#sentinels.update(verdict)
    if (verdict.kind === 'master') {
      const isMajority = verdict.answer.voices > this.#sentinels.links.length / 2
      if (isMajority && verdict.master === this.#master?.address) this.#vouchedAt = performance.now()
      this.#listed = verdict.answer.replicas
      await this.#accept(verdict)
      if (this.isClosed) return
    } else if (verdict.kind !== 'stale') {
      this.#trouble = verdict.error
      // a name that nobody knows will not come by waiting; the last topology keeps serving, though
      if (verdict.isConclusive && this.#master === undefined) {
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
    if (this.isClosed || this.#generation !== generation) {
      next.fence(closedError()) // somebody was quicker
      return
    }
    this.#adopt(next, { epoch, leader })
  }

  /** The candidate of a failover says that it is the master; the sentinels will say so in a second. */
  #adoptEarly(endpoint: Endpoint, leader: string): void {
    if (this.isClosed || endpoint.address === this.#master?.address) {
      endpoint.fence(closedError())
      return
    }
    const provision = { leader, until: performance.now() + PROVISIONAL_MS, lastEpoch: this.#epoch }
    this.#adopt(endpoint, { epoch: this.#epoch + 1, leader: undefined }, provision)
    this.#asking.soon()
  }

  /** What was adopted early did not come true: the sentinels are believed again. */
  #revoke(): void {
    this.#epoch = this.#provision?.lastEpoch ?? this.#epoch
    this.#provision = undefined
    this.#asking.soon()
  }

  /** The switch itself, in one go: from here on the new master is the master, and the old one is fenced. */
  #adopt(next: Endpoint, { epoch, leader }: Pick<Finding, 'epoch' | 'leader'>, provision?: Provision): void {
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
    // it is about to be replaced itself: its writes are held from the beginning
    if (leader !== undefined) this.#failover.heed(leader, '+try-failover', '')
    if (old !== undefined) {
      next.warm(old.pool.stats().activeCount)
      // who waits there has come before those who wait for a new one, and goes at once
      old.fence(fencedError(old.address, `is no longer the master, ${address} is (epoch ${epoch})`))
    }
    this.#replicas.remove(address, fencedError(address, 'was promoted and is the master now'))
    if (old !== undefined) {
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
    this.#refreshing = this.#replicas.refresh(this.#listed).finally(() => {
      this.#refreshing = undefined
      if (this.isClosed) return
      if (this.#master !== master) this.#refreshReplicas()
      this.#onReplicas()
    })
  }

  /** Lets go on who waits for a server that is there now. Whether a replica serves a read, each read finds out. */
  #release(): void {
    this.#held.release((target) => {
      if (target === 'write') return !this.#isHolding && this.#readableMaster !== undefined
      return target !== 'master' || this.#readableMaster !== undefined
    })
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
    if (JSON.stringify(topology, unmeasured) === JSON.stringify(this.#topology, unmeasured)) return
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

/** Measurements come and go all the time: that is no news. */
function unmeasured(key: string, value: unknown): unknown {
  return key === 'lag' || key === 'latency' ? undefined : value
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
