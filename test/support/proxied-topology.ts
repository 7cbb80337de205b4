// A Sentinel deployment with a fault proxy before each member, so that the network between them can be cut. All of
// them, and whoever asks the sentinels, know each other by the ports of the proxies. Who connects is told by the
// address that it connects from: each member has one of its own, all others (the client, say) have 127.0.0.1.
//
// Needs servers with `bind-source-addr` (Redis 7.0), and a system on which all of 127.0.0.0/8 is local (Linux).

import { type FaultProxy, faultProxy } from './fault-proxy.ts'
import { freePorts } from './free-ports.ts'
import {
  startTopology,
  type TestServer,
  type TestTopology,
  type TestTopologyOptions,
} from './real-servers.ts'
import type { Cleanup } from './temp-dir.ts'

export interface ProxiedTopology extends TestTopology {
  /** What stands before the member; its port is the one that the sentinels tell. */
  proxyOf(member: TestServer): FaultProxy
  /** Nothing passes between the two sides, in either direction; who is on neither reaches both. */
  partition(one: readonly Party[], other: readonly Party[]): void
  /** What was held passes. */
  heal(): void
}

/** A member, or those who are none. */
export type Party = TestServer | 'others'

interface Fronted {
  readonly host: string
  readonly proxy: FaultProxy
}

const OTHERS = '127.0.0.1'

/** As {@link startTopology}. */
export async function startProxiedTopology(
  t: Cleanup,
  options: Omit<TestTopologyOptions, 'front'> = {},
): Promise<ProxiedTopology> {
  const fronted = new Map<TestServer, Fronted>()
  let count = 0
  const front = async (member: 'server' | 'sentinel') => {
    count += 1
    const host = `127.0.1.${count}`
    const [port = 0] = await freePorts(1)
    let target = 0
    const proxy = await faultProxy(t, port, () => target)
    const announced =
      member === 'server'
        ? [`replica-announce-ip 127.0.0.1`, `replica-announce-port ${port}`]
        : [`sentinel announce-ip 127.0.0.1`, `sentinel announce-port ${port}`]
    return {
      port,
      config: [`bind-source-addr ${host}`, ...announced].join('\n'),
      open: (server: TestServer) => {
        target = server.port
        fronted.set(server, { host, proxy })
      },
    }
  }
  const topology = await startTopology(t, { ...options, front })
  const of = (member: TestServer): Fronted => {
    const found = fronted.get(member)
    if (found === undefined) throw new Error(`port ${member.port} is none of this deployment's`)
    return found
  }
  const hold = (member: Party, from: readonly Party[]) => {
    if (member === 'others') return // nobody connects to them
    const hosts = from.map((party) => (party === 'others' ? OTHERS : of(party).host))
    const isMeant = (host: string) => hosts.includes(host)
    of(member).proxy.treatNew('hold', isMeant)
    of(member).proxy.treatOpen('hold', isMeant)
  }
  return {
    ...topology,
    proxyOf: (member) => of(member).proxy,
    partition: (one, other) => {
      for (const member of one) hold(member, other)
      for (const member of other) hold(member, one)
    },
    heal: () => {
      for (const { proxy } of fronted.values()) {
        proxy.treatNew('pass')
        proxy.treatOpen('pass')
      }
    },
  }
}
