// Where a command goes in a Sentinel deployment: keeps the knowledge who is master and who are the replicas, and holds
// an endpoint open to each.
//
//            ┌────────────── asks when told to, when a timer says so, never twice at a time ──────────────┐
//   idle ──start()──► resolving ──master verified──► steady ──event, trouble──► (holding) ──► resolving ──┘
//                                                       └──────── close(), destroy() ────────► closed
//
// Events, lost connections and refusals are hints: each starts a resolve, which asks all sentinels. What follows from
// their answers for the master is in mastership.ts, for the replicas in replicas.ts; here they are brought together,
// and those wait for whom there is no server at the moment.

import {
  type Endpoint,
  type EndpointStats,
  HoldQueue,
  type HoldRequest,
  type Route,
  refusalOf,
  type Target,
  type Waiting,
} from '../endpoint/index.ts'
import { PoolError, SentinelError } from '../errors.ts'
import { discover } from './discovery.ts'
import { FallbackBudget } from './fallback-budget.ts'
import { Mastership, type SwitchEvent } from './mastership.ts'
import { type Translate, translator } from './nat-map.ts'
import type { ResolvedSentinelOptions } from './options.ts'
import { Recurring } from './recurring.ts'
import { Replicas } from './replicas.ts'
import { type Fields, isAbout } from './replies.ts'
import { SameServer } from './same-server.ts'
import type { SentinelLink } from './sentinel-link.ts'
import { Sentinels } from './sentinels.ts'
import { fencedError, type ServerEvents, Servers } from './servers.ts'
import { freezeTopology, type Topology } from './topology.ts'
import { TopologyNews } from './topology-news.ts'

/** Until the next question: while there is no master or one is suspected; while something else is wrong. */
const URGENT_MS = 100
const UNWELL_MS = 1_000
/** While the master does not answer us: whether somebody else is the master decides who may be read from. */
const AWAY_MS = 300
/** Events come by the dozen: all of those within this long are one reason to ask. The first is not delayed. */
const EVENT_GAP_MS = 20

export interface RouterEvents extends Partial<ServerEvents> {
  readonly onSwitch: (event: SwitchEvent) => void
  readonly onTopology: (topology: Topology) => void
}

export class SentinelRouter implements Route {
  readonly #options: ResolvedSentinelOptions
  readonly #events: RouterEvents
  readonly #sentinels: Sentinels
  readonly #names: SameServer
  readonly #translate: Translate
  readonly #mastership: Mastership
  readonly #replicas: Replicas
  readonly #held: HoldQueue
  readonly #fallback: FallbackBudget
  readonly #news: TopologyNews
  #state: 'idle' | 'running' | 'closed' = 'idle'
  /** Asks the sentinels. */
  readonly #asking = new Recurring(
    () => this.#resolve(),
    () => this.#pauseMs(),
    EVENT_GAP_MS,
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
    const servers = new Servers(options, (endpoint, error) => this.report(endpoint, error), {
      onConnect: (address, role) => this.#later(() => this.#events.onConnect?.(address, role)),
      onDisconnect: (address, role, error) =>
        this.#later(() => this.#events.onDisconnect?.(address, role, error)),
    })
    this.#names = new SameServer({ lookup: options.connection.lookup })
    this.#translate = translator(options.natMap)
    this.#mastership = new Mastership(options, {
      open: (address) => servers.openMaster(address),
      isReplica: (address) => this.#replicas.has(address),
      isSame: (named, address) => this.#names.isSame(this.#translate(named, 'master'), address),
      askAgain: () => this.#asking.soon(),
      onAdopted: (address, event) => this.#onAdopted(address, event),
    })
    this.#replicas = new Replicas({
      open: (address) => servers.openReplica(address),
      master: () => this.#mastership.view(),
      withinMs: options.answerTimeout,
      onChange: () => this.#onReplicas(),
    })
    const why = () => this.#whyNobody()
    this.#held = new HoldQueue(`server for '${options.name}'`, options, why)
    this.#fallback = new FallbackBudget(options.masterFallback, options, () => this.#mastership.readable, why)
    this.#news = new TopologyNews(
      () => this.#snapshot(),
      (topology) => this.#later(() => this.#events.onTopology(topology)),
    )
  }

  get topology(): Topology {
    return this.#news.latest(this.#replicas.measuredAt)
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
    const { readable: master } = this.#mastership
    switch (target) {
      case 'write':
        return this.#mastership.writable
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
    if (endpoint === this.#mastership.endpoint) {
      if (this.#mastership.doubt(error)) this.#news.publish()
      this.#asking.soon()
    } else if (refusalOf(error) === 'wrong-role') {
      // the write of a lease, to a replica that is one
    } else if (this.#replicas.doubt(endpoint, error.message)) {
      this.#news.publish()
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
      master: this.#mastership.endpoint?.stats(),
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
    await Promise.all([this.#mastership.endpoint?.close(), this.#replicas.close()])
  }

  destroy(error: Error): void {
    this.#stop()
    this.#mastership.endpoint?.fence(error)
    this.#replicas.destroy(error)
  }

  /** Why nobody is to wait. */
  get #refusal(): Error | undefined {
    return this.#state === 'closed' ? closedError() : this.#mastership.hopeless
  }

  /** Whether there is a master, and its budget is all that keeps a read from it. */
  #awaitsTurn(request: HoldRequest): boolean {
    const target = request.target?.()
    const mayFallBack = target === 'prefer-replica' || target === 'nearest'
    return mayFallBack && !this.#replicas.isWaking && this.#mastership.readable !== undefined
  }

  /** Where there are no replicas at all, the master is no makeshift. */
  #fallBack(master: Endpoint | undefined, maxStaleness: number): Endpoint | undefined {
    if (this.#replicas.isWaking) return undefined
    if (master !== undefined && (this.#listed.length === 0 || this.#fallback.take(master))) return master
    return this.#replicas.pickLeftOut(maxStaleness)
  }

  #onReplicas(): void {
    if (this.isClosed) return
    this.#news.publish()
    this.#release()
    this.#fallback.release()
  }

  #stop(): void {
    this.#state = 'closed'
    this.#fallback.fail(closedError())
    this.#asking.stop()
    this.#mastership.stop(closedError())
    this.#held.fail(closedError())
    this.#sentinels.close(closedError())
  }

  /** How long what we know is good for, if no event comes. */
  #pauseMs(): number {
    const { isSettled, isSteady, trouble } = this.#mastership
    if (!isSettled) return URGENT_MS
    if (!this.#mastership.view()?.isUp) return AWAY_MS
    if (trouble !== undefined || !isSteady || !this.#replicas.isWell) return UNWELL_MS
    const pollMs = this.#options.pollInterval * (0.9 + Math.random() * 0.2)
    return this.#sentinels.areHeard ? pollMs : Math.min(pollMs, UNWELL_MS)
  }

  async #resolve(): Promise<void> {
    const belief = this.#mastership.belief()
    const { generation } = this.#mastership
    const askedAt = performance.now()
    const verdict = await discover(this.#sentinels.links, this.#options, belief, this.#names)
    if (this.#state !== 'running') return
    if (this.#mastership.generation !== generation) return this.#asking.soon() // the answers are about the one before
    this.#sentinels.update(verdict)
    if (verdict.kind === 'master') this.#listed = verdict.answer.replicas
    await this.#mastership.consider(verdict, askedAt, this.#sentinels.links.length)
    if (this.isClosed) return
    const { hopeless } = this.#mastership
    if (hopeless !== undefined) this.#held.fail(hopeless)
    this.#refreshReplicas()
    this.#news.publish()
    this.#release()
  }

  #onAdopted(address: string, event: SwitchEvent | undefined): void {
    this.#replicas.remove(address, fencedError(address, 'was promoted and is the master now'))
    if (event !== undefined) this.#later(() => this.#events.onSwitch(event))
    this.#news.publish()
    this.#release()
  }

  /** Looks at the replicas beside everything else: one that hangs must not delay the next question. */
  #refreshReplicas(): void {
    const { generation } = this.#mastership
    if (generation === 0 || this.#refreshing !== undefined) return
    this.#refreshing = this.#replicas.refresh(this.#listed).finally(() => {
      this.#refreshing = undefined
      if (this.isClosed) return
      if (this.#mastership.generation !== generation) this.#refreshReplicas()
      this.#onReplicas()
    })
  }

  /** Lets go on who waits for a server that is there now. Whether a replica serves a read, each read finds out. */
  #release(): void {
    const { readable, writable } = this.#mastership
    this.#held.release((target) => {
      if (target === 'write') return writable !== undefined
      return target !== 'master' || readable !== undefined
    })
  }

  /** Why those who wait find no server. */
  #whyNobody(): Error | undefined {
    const { trouble, isHolding } = this.#mastership
    if (trouble !== undefined) return trouble
    if (isHolding) return new SentinelError('MASTER_UNVERIFIED', 'a failover is under way')
    const replicas = this.#replicas.states.map(({ address, reason }) => `${address}: ${reason ?? 'healthy'}`)
    const which = replicas.length === 0 ? 'there is none' : replicas.join('; ')
    return new SentinelError('NO_REPLICA', `no replica to read from (${which})`)
  }

  #onEvent(link: SentinelLink, channel: string, payload: string): void {
    if (this.#state !== 'running' || !isAbout(channel, payload, this.#options.name)) return
    this.#mastership.heed(link.address, channel, payload)
    this.#news.publish()
    this.#asking.soon()
  }

  #snapshot(): Topology {
    const { generation, epoch, endpoint, isSettled, trouble } = this.#mastership
    return freezeTopology({
      generation,
      epoch,
      master: endpoint?.address,
      replicas: this.#replicas.states,
      sentinels: this.#sentinels.states,
      holding: !isSettled,
      ...(trouble === undefined ? {} : { trouble: trouble.message }),
    })
  }

  /** Listeners are the user's: they run outside of ours, and what they throw is theirs. */
  #later(tell: () => void): void {
    process.nextTick(tell)
  }
}

function closedError(): PoolError {
  return new PoolError('CLIENT_CLOSED', 'the client was closed')
}
