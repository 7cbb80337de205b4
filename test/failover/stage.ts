// What a scenario acts on: a deployment under load, with ears at every sentinel. The harness reaches the members by
// their own ports, past any proxy.

import { performance } from 'node:perf_hooks'
import { setTimeout as sleep } from 'node:timers/promises'
import type { ProxiedTopology } from '../support/proxied-topology.ts'
import {
  eventually,
  request,
  type SentinelEvent,
  type TestServer,
  type TestTopology,
  watchSentinel,
} from '../support/real-servers.ts'
import type { Cleanup } from '../support/temp-dir.ts'
import type { ClientProcess } from './client-process.ts'
import type { Phase } from './judge.ts'
import { wallNow } from './protocol.ts'

/** A `+switch-master`; ports are public ones. */
export interface Announcement {
  readonly at: number
  readonly sentinel: number
  readonly fromPort: number
  readonly toPort: number
}

interface Fault extends Omit<Phase, 'announcedAt'> {
  cutOffUntil: number | undefined
}

const ANNOUNCED_MS = 25_000
/** A master that was replaced is left one for 10 s after it was seen again. */
const DEMOTED_MS = 25_000

export class Stage {
  readonly topology: TestTopology
  readonly client: ClientProcess
  /** Stops where the laws can be seen, and does not wait for all that may come yet. */
  readonly isShort: boolean
  readonly #proxied: ProxiedTopology | undefined
  readonly #heard: readonly (readonly SentinelEvent[])[]
  readonly #faults: Fault[] = []
  #master: TestServer

  constructor(
    topology: TestTopology | ProxiedTopology,
    client: ClientProcess,
    heard: readonly (readonly SentinelEvent[])[],
    isShort: boolean,
  ) {
    this.topology = topology
    this.#proxied = 'proxyOf' in topology ? topology : undefined
    this.client = client
    this.#heard = heard
    this.isShort = isShort
    this.#master = topology.master
  }

  /** The master as of the last announcement that was waited for. */
  get master(): TestServer {
    return this.#master
  }

  get network(): ProxiedTopology {
    if (this.#proxied === undefined) throw new Error('BUG: this scenario has no proxies')
    return this.#proxied
  }

  get members(): readonly TestServer[] {
    const { master, replicas, sentinels } = this.topology
    return [master, ...replicas, ...sentinels]
  }

  /** Notes that a fault begins now. */
  fault({ isHalfOpen = false } = {}): void {
    const masterPort = publicPort(this.topology, this.#master)
    this.#faults.push({ faultAt: wallNow(), masterPort, isHalfOpen, cutOffUntil: undefined })
  }

  /** Notes that the client could not know before now. */
  reachable(): void {
    const fault = this.#faults.at(-1)
    if (fault !== undefined) fault.cutOffUntil = wallNow()
  }

  /** Resolves when the master has been replaced, as any sentinel says; it is {@link master} from now on. */
  async announced(): Promise<void> {
    const fault = this.#faults.at(-1)
    if (fault === undefined) throw new Error('BUG: no fault yet')
    let announcement: Announcement | undefined
    await eventually(
      'a new master is announced',
      () => {
        announcement = this.#announcementAfter(fault)
        return announcement
      },
      { timeout: ANNOUNCED_MS },
    )
    this.#master = this.serverAt(announcement?.toPort ?? 0)
  }

  /** Resolves when every sentinel that runs has announced the last switch. */
  async allAnnounced(): Promise<void> {
    const fault = this.#faults.at(-1)
    await eventually(
      'all sentinels have announced the new master',
      () =>
        this.#heard.every((_, sentinel) =>
          this.announcements.some((it) => it.sentinel === sentinel && it.at > (fault?.faultAt ?? 0)),
        ),
      { timeout: ANNOUNCED_MS },
    )
  }

  /** Resolves when the server calls itself a replica. */
  async demoted(server: TestServer): Promise<void> {
    await eventually(
      `${server.port} is demoted`,
      async () => {
        const role = await request(server, 'ROLE')
        return Array.isArray(role) && role[0] === 'slave'
      },
      { timeout: DEMOTED_MS, interval: 50 },
    )
  }

  get announcements(): readonly Announcement[] {
    const all = this.#heard.flatMap((events, sentinel) =>
      events
        .filter(({ channel }) => channel === '+switch-master')
        .map(({ at, payload }) => {
          const [, , fromPort, , toPort] = payload.split(' ')
          return {
            at: performance.timeOrigin + at,
            sentinel,
            fromPort: Number(fromPort),
            toPort: Number(toPort),
          }
        }),
    )
    return all.sort((a, b) => a.at - b.at)
  }

  get phases(): readonly Phase[] {
    return this.#faults.map((fault) => ({ ...fault, announcedAt: this.#announcementAfter(fault)?.at }))
  }

  /** The server that the sentinels tell by that port. */
  serverAt(port: number): TestServer {
    const { master, replicas } = this.topology
    const found = [master, ...replicas].find((server) => publicPort(this.topology, server) === port)
    if (found === undefined) throw new Error(`no server has port ${port}`)
    return found
  }

  pause(ms: number): Promise<void> {
    return sleep(ms)
  }

  #announcementAfter({ faultAt, masterPort }: Fault): Announcement | undefined {
    return this.announcements.find(({ at, fromPort }) => at >= faultAt && fromPort === masterPort)
  }
}

/** The port by which the sentinels, and so the client, know a member. */
export function publicPort(topology: TestTopology | ProxiedTopology, member: TestServer): number {
  return 'proxyOf' in topology ? topology.proxyOf(member).port : member.port
}

/** Ears at every sentinel, from before the load begins. */
export function listen(t: Cleanup, { sentinels }: TestTopology): Promise<(readonly SentinelEvent[])[]> {
  return Promise.all(sentinels.map((sentinel) => watchSentinel(t, sentinel)))
}
