// One replica: what it said of itself last, what else is known, and whether it may serve a read. It changes when
// something is heard of it or not heard in time; replicas.ts decides when to look.

import type { Endpoint } from '../endpoint/index.ts'
import { Probation } from './probation.ts'
import type { Member } from './replica-balance.ts'
import type { Role } from './replies.ts'
import type { ReplicaState } from './topology.ts'

/** What a replica is held against. */
export interface MasterView {
  readonly address: string
  /** Whether an address that a replica calls its master's leads there: it may be written in another way. */
  readonly isMaster: (address: string) => boolean | Promise<boolean>
  /** To ask for its offset; without, replicas are held against each other. */
  readonly endpoint?: Endpoint | undefined
  /** Whether it answers us. While it does not, a replica that had all its data may have lost its link to it. */
  readonly isUp: boolean
  /**
   * Whether a majority of the sentinels has said within the last second that nobody else is the master, or the master
   * was there itself a second ago: nothing is written elsewhere that a replica without its link could miss.
   */
  readonly isSole: boolean
}

/** Behind by more than this, a replica does not serve: with a tick until it is noticed, no read is older than a second. */
export const MAX_LAG_MS = 800
/** What was heard longer ago says nothing about how far behind it is now. */
const CURRENT_MS = 1_000
/** How much one measurement moves the smoothed round trip. */
const SMOOTHING = 0.3

export class Replica implements Member {
  readonly address: string
  readonly probation = new Probation()
  endpoint: Endpoint
  /** What the sentinels hold against it. */
  flag: string | undefined
  /** What it said itself that is against it, or why it could not be asked. */
  fault: string | undefined = 'not looked at yet'
  /** It owes answers, and nothing is heard. */
  isSilent = false
  /** Until it has shown that it is not. */
  isBehind = true
  /** Whether it serves, which is what of all this the last review made. */
  isServing = false
  /** Whether the process that we are connected to has been seen in step with its master. */
  wasInStep = false
  /** How much of the replication stream it had read; -1 = not known. */
  offset = -1
  /** Up to which instant it has everything that the master had; and everything that anybody was seen to have. */
  freshAt = Number.NEGATIVE_INFINITY
  levelAt = Number.NEGATIVE_INFINITY
  /** When it last said its role. */
  heardAt = Number.NEGATIVE_INFINITY
  /** Smoothed round trip in milliseconds, and the measurements it rests on. */
  latency: number | undefined
  measurements = 0
  isAsked = false
  /** Failed questions in a row, and when the next is due: one that is down is not asked at full pace. */
  failures = 0
  nextAskAt = 0
  weight = 1
  credit = 0
  turn = 0

  constructor(address: string, endpoint: Endpoint) {
    this.address = address
    this.endpoint = endpoint
  }

  /** Whether nothing is known against its data. */
  get isFit(): boolean {
    return this.flag === undefined && this.fault === undefined && !this.isBehind
  }

  /** Makes out whether it is behind, unless nothing was heard for so long that nobody can tell. */
  judgeAge(now: number): void {
    if (now - this.heardAt <= CURRENT_MS) this.isBehind = now - this.levelAt > MAX_LAG_MS
  }

  /** Why it does not serve. */
  reason(now: number): string | undefined {
    if (this.flag !== undefined || this.fault !== undefined) return this.flag ?? this.fault
    if (this.isSilent) return 'does not answer'
    if (this.isBehind) return `is more than ${MAX_LAG_MS} ms behind`
    return this.probation.reason(now)
  }

  /** @param withMeasures whether they are kept up to date */
  state(now: number, withMeasures: boolean): ReplicaState {
    const { address, latency, freshAt } = this
    const reason = this.reason(now)
    const state = { address, healthy: reason === undefined, reason }
    if (!withMeasures) return state
    const lag = freshAt === Number.NEGATIVE_INFINITY ? undefined : Math.max(Math.round(now - freshAt), 0)
    return { ...state, lag, latency: latency === undefined ? undefined : Math.round(latency * 100) / 100 }
  }

  measure(ms: number): void {
    this.latency = smoothed(this.latency, ms)
    this.measurements += 1
  }

  /** Whether its data can be trusted is open again: another process may answer there from now on. */
  distrust(fault: string): void {
    this.fault = fault
    this.wasInStep = false
    this.forgetOffset()
  }

  /** Offsets of another history say nothing. */
  forgetOffset(): void {
    this.isBehind = true
    this.offset = -1
    this.freshAt = this.levelAt = Number.NEGATIVE_INFINITY
  }
}

/** The master as one of those that reads may go to. */
export class MasterMember implements Member {
  readonly address: string
  readonly endpoint: Endpoint
  readonly freshAt = Number.POSITIVE_INFINITY
  readonly weight = 1
  latency: number | undefined
  credit = 0
  turn = 0

  constructor(address: string, endpoint: Endpoint) {
    this.address = address
    this.endpoint = endpoint
  }

  measure(ms: number): void {
    this.latency = smoothed(this.latency, ms)
  }
}

function smoothed(latency: number | undefined, ms: number): number {
  return latency === undefined ? ms : latency + SMOOTHING * (ms - latency)
}

/**
 * What a role says against its replica, once the master is called by the name it has here ({@link MasterView.isMaster}). It is well when it says that it is a replica of this master, and that the
 * link to it is up. While the master is away, one that was in step is well without the link: nothing is written that
 * it could miss, as long as nobody else is the master. So is one that has been promoted already and not been
 * announced.
 */
export function faultOf(role: Role, wasInStep: boolean, master: MasterView): string | undefined {
  const mayBeAlone = wasInStep && !master.isUp && master.isSole
  if (role.kind === 'other') return `says it is ${role.name}`
  if (role.kind === 'master') return mayBeAlone ? undefined : 'says it is a master'
  if (role.master !== master.address) return `follows ${role.master}`
  if (role.link === 'connected' || (mayBeAlone && role.link.startsWith('connect'))) return undefined
  return `its link is ${role.link}`
}
