// The replicas that can be read from. Each is an endpoint that stays open across refreshes. Whether it serves is
// decided by what the sentinels say of it, what it says itself (ROLE: its master, its link, its offset), whether it
// answers in time, and how often it has failed; and taken back at the first sign of trouble.
//
//   listed ──ROLE is well, level with the master──► serving ──flag, link, lag, silence──► not serving ──► …
//                                                      │ ▲
//                     a read failed, slower than others ▼ │ its pause is over (probation.ts), little at first
//                                                   left out
//
// Who serves is made out in #review(), when something is heard or a tick has passed, so that pick() has only to
// compare.

import { choose, type Endpoint, type ReadCandidate, type ReadChoice } from '../endpoint/index.ts'
import { ConnectionError } from '../errors.ts'
import { type MasterMember, type MasterView, Replica } from './replica.ts'
import { Balance } from './replica-balance.ts'
import { nearestOf, slowOf } from './replica-ranking.ts'
import { ReplicaWatch } from './replica-watch.ts'
import { addressOf, type Fields } from './replies.ts'
import type { ReplicaState } from './topology.ts'

/** Flags of `SENTINEL REPLICAS` that rule a replica out; the last one only while we ourselves reach the master. */
const BAD_FLAGS = ['s_down', 'o_down', 'disconnected', 'master_down']
/** Silent for so long with reads under way: they are taken from it, to be tried elsewhere. */
const HUNG_MS = 500
/** But not from one after the other: reads that keep their servers busy for long must not go round all of them. */
const HUNG_PAUSE_MS = 3_000
/** Others that have served for longer than this take over most from one that has just come. */
const ESTABLISHED_MS = 1_000

export interface ReplicasOptions {
  /** Makes the endpoint of a replica. */
  readonly open: (address: string) => Endpoint
  /** The master as known now; `undefined` while none is. */
  readonly master: () => MasterView | undefined
  /** Milliseconds that one answer is waited for. */
  readonly withinMs: number
  /** Others serve than before, or reads that had to wait may look again. Must not throw. */
  readonly onChange: () => void
}

export class Replicas {
  readonly #options: ReplicasOptions
  readonly #replicas = new Map<string, Replica>()
  /** Those that are gone from the list and not closed yet. */
  readonly #leaving = new Map<Endpoint, Promise<void>>()
  readonly #watch: ReplicaWatch
  readonly #serving = new Balance<Replica>()
  /** The fastest of those that serve, the master among them. */
  readonly #near = new Balance<Replica | MasterMember>()
  /** Well but left out for a while: better than nobody. */
  readonly #leftOut = new Balance<Replica>()
  #hungAt = Number.NEGATIVE_INFINITY
  #measuredAt = 0
  /** A read has found nobody: it looks again when anything is heard. */
  #isAwaited = false

  constructor(options: ReplicasOptions) {
    this.#options = options
    this.#watch = new ReplicaWatch({
      replicas: this.#replicas,
      master: options.master,
      withinMs: options.withinMs,
      onNews: (now) => this.#review(now),
    })
  }

  get states(): ReplicaState[] {
    const now = performance.now()
    return [...this.#replicas.values()].map((replica) => replica.state(now, this.#watch.isAwake))
  }

  /** When what is measured in the states was measured; stands still while nobody reads. */
  get measuredAt(): number {
    return this.#watch.isAwake ? this.#measuredAt : 0
  }

  get endpoints(): Endpoint[] {
    return [...this.#replicas.values()].map(({ endpoint }) => endpoint)
  }

  /** Whether all that are there are well, so that there is no need to ask for news of them. */
  get isWell(): boolean {
    for (const { isFit } of this.#replicas.values()) if (!isFit) return false
    return true
  }

  /** Whether the first look after a long time without reads is under way: a round trip, and it is known who serves. */
  get isWaking(): boolean {
    return this.#watch.isWaking
  }

  has(address: string): boolean {
    return this.#replicas.has(address)
  }

  /** The one that serves with the least under way. @param maxStaleness milliseconds; 0 = any age */
  pick(maxStaleness = 0): Endpoint | undefined {
    this.#watch.use(maxStaleness)
    const replica = this.#watch.isWaking ? undefined : this.#serving.pick(since(maxStaleness))
    if (replica === undefined) this.#isAwaited = true
    return replica?.endpoint
  }

  /** One that is well and left out for what it did before: for those who have no other. */
  pickLeftOut(maxStaleness = 0): Endpoint | undefined {
    return this.#watch.isWaking ? undefined : this.#leftOut.pick(since(maxStaleness))?.endpoint
  }

  /** The fastest, or of those that are about as fast the one with the least under way. @param master if it may serve */
  nearest(master: Endpoint | undefined, maxStaleness = 0): Endpoint | undefined {
    const nearest = this.#watch.isWaking ? undefined : this.#near.pick(since(maxStaleness))
    const isMaster = nearest !== undefined && nearest === this.#watch.master
    if (nearest === undefined || (isMaster && nearest.endpoint !== master)) return this.pick(maxStaleness)
    this.#watch.use(maxStaleness)
    return isMaster ? master : (nearest as Replica).endpoint
  }

  /**
   * The one that a function of the user's chooses. @param master if it may serve
   *
   * @throws {TypeError} it threw, or chose what was not there
   */
  chosen(readFrom: ReadChoice, master: Endpoint | undefined, maxStaleness = 0): Endpoint | undefined {
    this.#watch.use(maxStaleness)
    this.#isAwaited ||= this.#watch.isWaking
    if (this.#watch.isWaking) return undefined
    const now = performance.now()
    const notBefore = since(maxStaleness)
    const endpoints: Endpoint[] = []
    const candidates: ReadCandidate[] = []
    if (master !== undefined) {
      const { address, load } = master
      const { latency } = this.#watch.master ?? {}
      endpoints.push(master)
      candidates.push(Object.freeze({ address, role: 'master', latency, lag: 0, load }))
    }
    for (const { address, endpoint, latency, freshAt } of this.#serving.members) {
      if (freshAt < notBefore || !endpoint.isConnected) continue
      const lag = freshAt === Number.NEGATIVE_INFINITY ? undefined : Math.max(now - freshAt, 0)
      endpoints.push(endpoint)
      candidates.push(Object.freeze({ address, role: 'replica', latency, lag, load: endpoint.load }))
    }
    const choice = choose(readFrom, Object.freeze(candidates))
    this.#isAwaited ||= choice === undefined
    return choice === undefined ? undefined : endpoints[candidates.indexOf(choice)]
  }

  /** No read goes there until it has been found well again. Tells whether that is news. */
  doubt(endpoint: Endpoint, reason: string): boolean {
    const replica = this.#replicas.get(endpoint.address)
    if (replica?.endpoint !== endpoint) return false
    const wasWell = replica.fault === undefined
    if (!endpoint.isConnected) replica.distrust(reason)
    if (!wasWell) return false
    const now = performance.now()
    replica.fault = reason
    replica.nextAskAt = 0
    replica.probation.setBack(now, reason, true)
    this.#review(now)
    return true
  }

  /** Takes one out, as when it is promoted: its reads end here and go elsewhere. */
  remove(address: string, error: Error): void {
    const replica = this.#replicas.get(address)
    if (replica === undefined) return
    this.#forget(replica)
    replica.endpoint.fence(error)
  }

  /** Finishes the work of all, of those that are gone from the list as well. */
  async close(): Promise<void> {
    this.#watch.stop()
    for (const replica of [...this.#replicas.values()]) {
      this.#forget(replica)
      this.#dismiss(replica.endpoint)
    }
    await Promise.all(this.#leaving.values())
  }

  destroy(error: Error): void {
    this.#watch.stop()
    const endpoints = [...this.endpoints, ...this.#leaving.keys()]
    this.#replicas.clear()
    this.#review(performance.now())
    for (const endpoint of endpoints) endpoint.fence(error)
  }

  /** Takes over what the sentinels list, and looks at each that is not ruled out, within the bound. */
  async refresh(listed: readonly Fields[]): Promise<void> {
    const view = this.#options.master()
    if (view === undefined) return
    const addresses = new Set<string>()
    for (const fields of listed) {
      const address = addressOf(fields)
      if (address === undefined || address === view.address || fields.get('replica-announced') === '0')
        continue
      addresses.add(address)
      const flags = (fields.get('flags') ?? '').split(',')
      const bad = BAD_FLAGS.find((flag) => flags.includes(flag))
      this.#add(address).flag = bad === 'master_down' && !view.isUp ? undefined : bad
    }
    for (const replica of [...this.#replicas.values()]) {
      if (addresses.has(replica.address)) continue
      this.#forget(replica)
      this.#dismiss(replica.endpoint)
    }
    this.#review(performance.now())
    await this.#watch.look()
  }

  #add(address: string): Replica {
    const known = this.#replicas.get(address)
    if (known !== undefined) return known
    const replica = new Replica(address, this.#options.open(address))
    this.#replicas.set(address, replica)
    return replica
  }

  #forget(replica: Replica): void {
    this.#replicas.delete(replica.address)
    this.#review(performance.now())
  }

  /** It takes nothing new; what is lent of it may take its time. */
  #dismiss(endpoint: Endpoint): void {
    const closed = endpoint.close().finally(() => this.#leaving.delete(endpoint))
    this.#leaving.set(endpoint, closed)
  }

  /** Makes out who serves. */
  #review(now: number): void {
    this.#measuredAt = now
    const isComparing = this.#watch.isComparing(now)
    for (const replica of this.#replicas.values()) {
      if (!isComparing) replica.judgeAge(now)
      replica.endpoint.isFit = replica.isFit
      if (replica.isSilent) this.#leaveHung(replica, now)
    }
    this.#leaveSlow(now)
    const serving: Replica[] = []
    const leftOut: Replica[] = []
    let isOther = this.#serving.members.some(({ address }) => !this.#replicas.has(address))
    for (const replica of this.#replicas.values()) {
      const isServing = replica.reason(now) === undefined
      if (isServing !== replica.isServing) {
        isOther = true
        replica.isServing = isServing
        if (isServing) replica.probation.start(now, this.#isSomebodyEstablished(now))
      }
      replica.weight = replica.probation.weight(now)
      if (isServing) serving.push(replica)
      else if (replica.isFit && !replica.isSilent) leftOut.push(replica)
    }
    this.#serving.set(serving)
    this.#leftOut.set(leftOut)
    this.#near.set(this.#nearest(serving))
    if (!isOther && !this.#isAwaited) return
    this.#isAwaited = false
    this.#options.onChange()
  }

  #isSomebodyEstablished(now: number): boolean {
    return this.#serving.members.some(({ probation }) => now - probation.startedAt > ESTABLISHED_MS)
  }

  /**
   * Takes its reads from one that has been silent for long: they fail as unknown, and because they only read they are
   * tried elsewhere. Its leases end, too. It comes back by new connections when it answers.
   */
  #leaveHung(replica: Replica, now: number): void {
    const { address, endpoint } = replica
    if (endpoint.silence < HUNG_MS || now - this.#hungAt < HUNG_PAUSE_MS) return
    const isReplaceable =
      this.#options.master()?.isUp === true ||
      this.#serving.members.some((other) => other !== replica && !other.isSilent)
    if (!isReplaceable) return
    this.#hungAt = now
    replica.distrust('does not answer')
    replica.probation.setBack(now, 'does not answer', true)
    replica.isSilent = replica.isAsked = false
    replica.endpoint = this.#options.open(address)
    replica.endpoint.isFit = false
    const message = `the replica has been silent for ${Math.round(endpoint.silence)} ms (${address})`
    endpoint.fence(new ConnectionError('CONNECTION_LOST', message, { address, phase: 'ready' }))
  }

  /** Leaves out who is much slower than the others; never more than half of them. */
  #leaveSlow(now: number): void {
    const fit = [...this.#replicas.values()].filter(({ isFit }) => isFit)
    const isLeftOut = ({ probation }: Replica): boolean => probation.reason(now) !== undefined
    let left = Math.floor(fit.length / 2) - fit.filter(isLeftOut).length
    for (const replica of slowOf(fit.filter((one) => !isLeftOut(one)))) {
      if (left-- <= 0) return
      replica.probation.setBack(now, 'answers much slower than the others', false)
    }
  }

  #nearest(serving: readonly Replica[]): readonly (Replica | MasterMember)[] {
    const { master } = this.#watch
    if (serving.length === 0) return [] // the master then is a makeshift, and that has its budget
    const isMasterUp = master !== undefined && this.#options.master()?.isUp === true
    return nearestOf(isMasterUp ? [...serving, master] : serving)
  }
}

/** The instant up to which a replica must have everything. */
function since(maxStaleness: number): number {
  return maxStaleness === 0 ? Number.NEGATIVE_INFINITY : performance.now() - maxStaleness
}
