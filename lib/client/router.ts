// What a client stands on: a route, and what can be asked of the whole.

import type { EndpointStats, Route, Waiting } from '../endpoint/index.ts'
import type { Topology } from '../sentinel/index.ts'

export interface Router extends Route {
  /** The servers as they are known; `undefined` where there is only one. */
  readonly topology: Topology | undefined
  /** {@link Route.hold} without a promise: it proceeds when `pick()` is worth another try. */
  enqueue(waiting: Waiting): void
  stats(): { readonly master: EndpointStats | undefined; readonly replicas: readonly EndpointStats[] }
  close(): Promise<void>
  destroy(error: Error): void
}
