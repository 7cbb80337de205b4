// Looks after the replicas while they are read from: asks them and the master for their ROLE again and again, which
// tells whether their link is up, how much of the replication stream each has, and how fast it answers; and finds
// those that do not answer.
//
//   asleep ──start(), at a read──► awake ──no read for a minute──► asleep
//                                    │ every tick (100 ms or less): who is silent? is a round due?
//                                    └ every round (250 ms or less): ROLE to all, each within its bound
//
// A round that is due by maxStaleness comes three times within it. Between sleeping and the first round nothing is
// known that could be relied on: reads wait for that round, which takes a round trip.

import { OffsetLog } from './offset-log.ts'
import { faultOf, MasterMember, type MasterView, type Replica } from './replica.ts'
import { type Role, roleOf } from './replies.ts'

/** Silence is seen within this, and a link that is down within this: well within a second, at four questions in one. */
const TICK_MS = 100
const ROUND_MS = 250
/** While somebody has yet to show that it is level, it is asked this often. */
const CATCH_UP_MS = 20
const SHORTEST_ROUND_MS = 10
/** One that is down is asked less and less often, to this. */
const SLOWEST_ASK_MS = 1_000
/** A process that does not read leaves the servers alone after this. */
const SLEEP_AFTER_MS = 60_000
/** So is a `maxStaleness` that no read has asked for as long. */
const RELAX_AFTER_MS = 10_000
/** A late answer of the master is worth having, too: silence of it is found otherwise. */
const MASTER_MS = 1_000
/** But so long only the others wait for it. */
const COMPARE_MS = 50
/** What is known for longer is not relied on. */
const RELIABLE_MS = 1_000

export interface WatchOptions {
  readonly replicas: ReadonlyMap<string, Replica>
  readonly master: () => MasterView | undefined
  /** Milliseconds that one answer is waited for. */
  readonly withinMs: number
  /** Something was heard, or time has passed: whoever serves may be another. */
  readonly onNews: (now: number) => void
}

export class ReplicaWatch {
  readonly #options: WatchOptions
  /** What the master was seen to have; the same, with what replicas were seen to have while it was away. */
  readonly #ofMaster = new OffsetLog()
  readonly #ofAll = new OffsetLog()
  #master: MasterMember | undefined
  #isMasterAsked = false
  #masterAskedAt = 0
  #timer: NodeJS.Timeout | undefined
  #tickAt = 0
  #roundAt = Number.NEGATIVE_INFINITY
  #isWaking = false
  #isUsed = false
  #usedAt = 0
  /** The shortest `maxStaleness` that reads ask for, and whether one has done so since the last tick. */
  #bound = Number.POSITIVE_INFINITY
  #isBoundUsed = false
  #boundUsedAt = 0
  /** Whose history the offsets are of. */
  #historyOf: unknown

  constructor(options: WatchOptions) {
    this.#options = options
  }

  /** Whether it is awake, so that what it measures is up to date. */
  get isAwake(): boolean {
    return this.#timer !== undefined
  }

  /** Whether the first round is under way, before which nothing is known. */
  get isWaking(): boolean {
    return this.#isWaking
  }

  /** Whether the master is about to say how much there is: until then nobody is taken to be behind. */
  isComparing(now: number): boolean {
    return this.#isMasterAsked && now - this.#masterAskedAt < COMPARE_MS
  }

  get master(): MasterMember | undefined {
    return this.#master
  }

  /** Called at every read: wakes it, and sees to it that it asks often enough. */
  use(maxStaleness: number): void {
    this.#isUsed = true
    if (maxStaleness !== 0 && maxStaleness <= this.#bound) {
      this.#isBoundUsed = true
      if (maxStaleness < this.#bound) this.#shorten(maxStaleness)
    }
    if (this.#timer === undefined) this.#wake()
  }

  stop(): void {
    clearInterval(this.#timer)
    this.#timer = undefined
    this.#isWaking = false
  }

  /** Asks all now; again, within the bound, those that have yet to show that they are level. */
  async look(): Promise<void> {
    const giveUpAt = performance.now() + this.#options.withinMs
    await this.#round(true)
    while (this.#isSomebodyLate && performance.now() < giveUpAt) {
      await pause(CATCH_UP_MS)
      await this.#round(true)
    }
  }

  /** Another master, another history: what was known of offsets says nothing any more. */
  #view(): MasterView | undefined {
    const view = this.#options.master()
    const history = view?.endpoint ?? view?.address
    if (history !== this.#historyOf) {
      this.#historyOf = history
      this.#master = undefined
      this.#forgetOffsets()
    }
    return view
  }

  #forgetOffsets(): void {
    this.#ofMaster.clear()
    this.#ofAll.clear()
    for (const replica of this.#options.replicas.values()) replica.forgetOffset()
  }

  get #isSomebodyLate(): boolean {
    for (const { flag, fault, isBehind } of this.#options.replicas.values()) {
      if (flag === undefined && fault === undefined && isBehind) return true
    }
    return false
  }

  get #roundMs(): number {
    if (this.#isSomebodyLate) return CATCH_UP_MS * 2
    return Math.min(Math.max(this.#bound / 3, SHORTEST_ROUND_MS), ROUND_MS)
  }

  #wake(): void {
    const now = performance.now()
    this.#usedAt = this.#tickAt = now
    this.#startTimer()
    this.#isWaking = now - this.#roundAt > RELIABLE_MS
    if (!this.#isWaking) return
    void this.#round(true).finally(() => {
      this.#isWaking = false
      this.#options.onNews(performance.now())
    })
  }

  #startTimer(): void {
    clearInterval(this.#timer)
    const tick = Math.min(TICK_MS, Math.max(this.#bound / 3, SHORTEST_ROUND_MS))
    this.#timer = setInterval(() => this.#tick(), tick).unref() // reads that wait keep the process
  }

  #shorten(bound: number): void {
    this.#bound = bound
    if (this.#timer === undefined) return
    this.#startTimer()
    void this.#round(false)
  }

  #tick(): void {
    const now = performance.now()
    const sinceTick = now - this.#tickAt
    this.#tickAt = now
    if (this.#isUsed) this.#usedAt = now
    else if (now - this.#usedAt > SLEEP_AFTER_MS) {
      this.stop()
      return
    }
    if (this.#isBoundUsed) this.#boundUsedAt = now
    else if (now - this.#boundUsedAt > RELAX_AFTER_MS) this.#relax()
    this.#isUsed = this.#isBoundUsed = false
    // after a long turn of ours, answers lie in the sockets unread: nobody is judged by that
    if (sinceTick <= TICK_MS * 2) {
      for (const replica of this.#options.replicas.values()) replica.isSilent = replica.endpoint.isSuspect
      this.#options.onNews(now)
    }
    if (now - this.#roundAt >= this.#roundMs - 1) void this.#round(false)
  }

  /** Nobody asks for the short bound any more. */
  #relax(): void {
    if (this.#bound === Number.POSITIVE_INFINITY) return
    this.#bound = Number.POSITIVE_INFINITY
    this.#startTimer()
  }

  /** @param isUrgent whether those that are down are asked, too, though it is not their time */
  async #round(isUrgent: boolean): Promise<void> {
    const now = performance.now()
    this.#roundAt = now
    const view = this.#view()
    if (view === undefined) return
    const asked: Promise<void>[] = []
    if (view.isUp && !this.#isMasterAsked) asked.push(this.#askMaster(view))
    for (const replica of this.#options.replicas.values()) {
      if (replica.flag !== undefined || replica.isAsked) continue
      if (isUrgent || now >= replica.nextAskAt) asked.push(this.#ask(replica))
    }
    await Promise.all(asked)
  }

  async #askMaster({ address, endpoint }: MasterView): Promise<void> {
    if (endpoint === undefined) return
    if (this.#master?.endpoint !== endpoint) this.#master = new MasterMember(address, endpoint)
    this.#isMasterAsked = true
    const askedAt = performance.now()
    this.#masterAskedAt = askedAt
    try {
      const role = roleOf(await endpoint.execute(['ROLE'], { timeout: MASTER_MS }))
      const now = performance.now()
      if (this.#options.master()?.endpoint !== endpoint || role.kind !== 'master') return
      this.#master?.measure(now - askedAt)
      if (this.#ofMaster.isBefore(role.offset)) this.#forgetOffsets()
      this.#ofMaster.note(askedAt, role.offset)
      this.#ofAll.note(askedAt, role.offset)
      this.#level()
      this.#options.onNews(now)
    } catch {
      // its own connection and the router see to that; here it means that nothing is known
    } finally {
      this.#isMasterAsked = false
    }
  }

  async #ask(replica: Replica): Promise<void> {
    const { endpoint } = replica
    const wasConnected = endpoint.isConnected
    const askedAt = performance.now()
    replica.isAsked = true
    try {
      const said = roleOf(await endpoint.execute(['ROLE'], { timeout: this.#options.withinMs }))
      if (replica.endpoint !== endpoint) return
      if (wasConnected) replica.measure(performance.now() - askedAt)
      const role = await this.#inOurNames(said)
      if (replica.endpoint === endpoint) this.#hear(replica, role, askedAt)
    } catch (error) {
      if (replica.endpoint !== endpoint) return
      replica.fault = (error as Error).message
    } finally {
      if (replica.endpoint === endpoint) {
        const now = performance.now()
        replica.isAsked = false
        replica.failures = replica.fault === undefined ? 0 : replica.failures + 1
        const pauseMs = Math.min(ROUND_MS * 2 ** (replica.failures - 1), SLOWEST_ASK_MS)
        replica.nextAskAt = replica.failures === 0 ? 0 : now + pauseMs
        this.#options.onNews(now)
      }
    }
  }

  /** The role, with the master called as it is here if it is the same server. */
  async #inOurNames(role: Role): Promise<Role> {
    const view = this.#options.master()
    if (view === undefined || role.kind !== 'slave' || role.master === undefined) return role
    if (role.master === view.address || !(await view.isMaster(role.master))) return role
    return { ...role, master: view.address }
  }

  #hear(replica: Replica, role: Role, askedAt: number): void {
    const view = this.#view()
    if (view === undefined) return
    if (role.kind === 'slave' && role.link === 'connected' && role.master === view.address) {
      replica.wasInStep = true
      if (role.offset < replica.offset) replica.forgetOffset() // it has begun anew
    }
    replica.isSilent = false
    replica.heardAt = performance.now()
    replica.fault = faultOf(role, replica.wasInStep, view)
    if (replica.fault !== undefined) return
    // without its link it does not tell; it has what it had
    if (role.kind !== 'other' && role.offset >= 0) replica.offset = role.offset
    if (!view.isUp || view.endpoint === undefined) this.#compareAmongReplicas(replica, askedAt)
    this.#level()
  }

  /**
   * While the master is away, the replica that has most is what the others are held against; what the master had alone
   * is lost. Unless that one was behind already: then there is news somewhere that is not to be had.
   */
  #compareAmongReplicas({ offset }: Replica, askedAt: number): void {
    let most = -1
    for (const { isFit, offset } of this.#options.replicas.values()) if (isFit) most = Math.max(most, offset)
    if (most >= 0) this.#ofAll.trim(most)
    this.#ofAll.note(askedAt, offset)
  }

  /** Whose data are how fresh, by what is known now. */
  #level(): void {
    for (const replica of this.#options.replicas.values()) {
      if (replica.offset < 0) continue
      replica.freshAt = this.#ofMaster.reached(replica.offset)
      replica.levelAt = this.#ofAll.reached(replica.offset)
    }
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}
