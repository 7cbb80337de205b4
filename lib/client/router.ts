// What a client stands on: a route, and what can be asked of the whole.

import type { EndpointStats, Route } from '../endpoint/index.ts'
import type { Topology } from '../sentinel/index.ts'

/** What `stats()` says of the servers. */
export interface RouterStats {
  /** `undefined` while it is unknown. Of a client of one server: that one, whatever its role. */
  readonly master: EndpointStats | undefined
  readonly replicas: readonly EndpointStats[]
  /** Commands, and callers of `lease()`, that wait because there is no server to send them to. */
  readonly held: number
}

/** What a client holds open and has to do, now. */
export interface ClientStats extends RouterStats {
  /** Commands that look for a server, or go on to the next one, or have a connection of their own. */
  readonly working: number
  /** Channels and patterns that are subscribed to, each once for each connection, and the connections of all that. */
  readonly subscriptions: { readonly channels: number; readonly connections: number }
}

/** @internal */
export interface Router extends Route {
  /** The servers as they are known; `undefined` where there is only one. */
  readonly topology: Topology | undefined
  /** What a replica says that its master is called, as it is called here. */
  translate(announced: string): string
  stats(): RouterStats
  close(): Promise<void>
  destroy(error: Error): void
}
