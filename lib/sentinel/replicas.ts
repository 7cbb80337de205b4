// The replicas that can be read from. Each is an endpoint that stays open across refreshes; whether it is
// healthy is decided by what the sentinels say of it and by what it says itself (ROLE), and taken back at the
// first sign of trouble. Which one serves a read: the one with the least under way.

import type { Endpoint } from '../endpoint/index.ts'
import { addressOf, type Fields, type Role, roleOf } from './replies.ts'
import type { ReplicaState } from './topology.ts'

/** Flags of `SENTINEL REPLICAS` that rule a replica out. */
const BAD_FLAGS = ['s_down', 'o_down', 'disconnected']

/** What a replica is held against. */
export interface MasterView {
  readonly address: string
  /** Whether it answers us. While it does not, a replica that had all its data may have lost its link to it. */
  readonly isUp: boolean
}

interface Replica {
  readonly endpoint: Endpoint
  /** Whether it has ever been seen in step with its master. */
  wasInStep: boolean
  healthy: boolean
  reason: string | undefined
}

export class Replicas {
  readonly #open: (address: string) => Endpoint
  readonly #replicas = new Map<string, Replica>()
  /** Those that are gone from the list and not closed yet. */
  readonly #leaving = new Map<Endpoint, Promise<void>>()
  /** Where the search for the least loaded begins, so that equals take turns. */
  #turn = 0

  /** @param open makes the endpoint of a replica */
  constructor(open: (address: string) => Endpoint) {
    this.#open = open
  }

  get states(): ReplicaState[] {
    return [...this.#replicas].map(([address, { healthy, reason }]) => ({ address, healthy, reason }))
  }

  get endpoints(): Endpoint[] {
    return [...this.#replicas.values()].map(({ endpoint }) => endpoint)
  }

  /** Whether all that are there are healthy. */
  get isWell(): boolean {
    return [...this.#replicas.values()].every(({ healthy }) => healthy)
  }

  has(address: string): boolean {
    return this.#replicas.has(address)
  }

  /** The healthy replica with the least under way. Asked for each read, so it makes no lists. */
  pick(): Endpoint | undefined {
    let count = 0
    for (const { healthy } of this.#replicas.values()) if (healthy) count += 1
    if (count === 0) return undefined
    this.#turn = (this.#turn + 1) % count
    let best: Endpoint | undefined
    let leastLoad = 0
    let bestPlace = 0
    let i = 0
    for (const { healthy, endpoint } of this.#replicas.values()) {
      if (!healthy) continue
      const { load } = endpoint
      const place = (i + count - this.#turn) % count
      if (best === undefined || load < leastLoad || (load === leastLoad && place < bestPlace)) {
        best = endpoint
        leastLoad = load
        bestPlace = place
      }
      i += 1
    }
    return best
  }

  /** No read goes there until it has been found well again. Tells whether that is news. */
  doubt(endpoint: Endpoint, reason: string): boolean {
    const replica = this.#replicas.get(endpoint.address)
    if (replica?.endpoint !== endpoint || !replica.healthy) return false
    replica.healthy = false
    replica.reason = reason
    return true
  }

  /** Takes one out, as when it is promoted: its reads end here and go elsewhere. */
  remove(address: string, error: Error): void {
    const replica = this.#replicas.get(address)
    this.#replicas.delete(address)
    replica?.endpoint.fence(error)
  }

  /** Finishes the work of all, of those that are gone from the list as well. */
  async close(): Promise<void> {
    for (const { endpoint } of this.#replicas.values()) this.#dismiss(endpoint)
    this.#replicas.clear()
    await Promise.all(this.#leaving.values())
  }

  destroy(error: Error): void {
    for (const endpoint of [...this.endpoints, ...this.#leaving.keys()]) endpoint.fence(error)
    this.#replicas.clear()
  }

  /**
   * Takes over what the sentinels list, and looks at each that is not ruled out.
   *
   * @param master whom a replica must follow
   * @param withinMs the bound for one replica's ROLE
   */
  async refresh(listed: readonly Fields[], master: MasterView, withinMs: number): Promise<void> {
    const addresses = new Set<string>()
    const checks: Promise<void>[] = []
    for (const fields of listed) {
      const address = addressOf(fields)
      if (address === undefined || address === master.address || fields.get('replica-announced') === '0')
        continue
      addresses.add(address)
      const replica = this.#add(address)
      const flags = (fields.get('flags') ?? '').split(',')
      const bad = BAD_FLAGS.find((flag) => flags.includes(flag))
      if (bad === undefined) checks.push(check(replica, master, withinMs))
      else settle(replica, bad)
    }
    for (const [address, { endpoint }] of this.#replicas) {
      if (addresses.has(address)) continue
      this.#replicas.delete(address)
      this.#dismiss(endpoint)
    }
    await Promise.all(checks)
  }

  /** It takes nothing new; what is lent of it may take its time. */
  #dismiss(endpoint: Endpoint): void {
    const closed = endpoint.close().finally(() => this.#leaving.delete(endpoint))
    this.#leaving.set(endpoint, closed)
  }

  #add(address: string): Replica {
    const known = this.#replicas.get(address)
    if (known !== undefined) return known
    const replica: Replica = {
      endpoint: this.#open(address),
      wasInStep: false,
      healthy: false,
      reason: 'not looked at yet',
    }
    this.#replicas.set(address, replica)
    return replica
  }
}

async function check(replica: Replica, master: MasterView, withinMs: number): Promise<void> {
  try {
    settle(
      replica,
      fault(roleOf(await replica.endpoint.execute(['ROLE'], { timeout: withinMs })), replica, master),
    )
  } catch (error) {
    settle(replica, (error as Error).message)
  }
}

/**
 * A replica is well when it says that it is one, of this master, and that the link to it is up. While the master
 * is away, one that was in step is well without the link: nothing is written that it could miss. So is the one
 * that has been promoted already and not been announced.
 */
function fault(role: Role, replica: Replica, master: MasterView): string | undefined {
  const mayBeAlone = replica.wasInStep && !master.isUp
  if (role.kind === 'other') return `says it is ${role.name}`
  if (role.kind === 'master') return mayBeAlone ? undefined : 'says it is a master'
  if (role.master !== master.address) return `follows ${role.master}`
  replica.wasInStep ||= role.link === 'connected'
  if (role.link === 'connected' || (mayBeAlone && role.link.startsWith('connect'))) return undefined
  return `its link is ${role.link}`
}

function settle(replica: Replica, reason: string | undefined): void {
  replica.healthy = reason === undefined
  replica.reason = reason
}
