// One server for all pages of an iteration: a cursor means something to the process that gave it, and to no other. The
// first page goes where any read would, and where it went, the others go:
//
//   open ──first page──► pinned ──fenced, closed, unreachable, another process──► gone
//
// A connection that was replaced is no proof that the process was, so its `run_id` is looked at then (INFO server). It is
// asked for once behind the first page, which nobody waits for. Where INFO is forbidden, a lost connection is the end.

import type { Endpoint, HoldRequest, Route, Target, Waiting } from '../endpoint/index.ts'

export class ScanPin implements Route {
  readonly #route: Route
  #endpoint: Endpoint | undefined
  #isPinned = false
  /** Which of the endpoint's shared connections is known to lead to the process. */
  #connection = 0
  /** Of the process: its run_id, as far as the server tells. */
  #process: Promise<string | undefined> = Promise.resolve(undefined)

  constructor(route: Route) {
    this.#route = route
  }

  get isClosed(): boolean {
    return this.#route.isClosed
  }

  /** Of the server, once there is one. */
  get address(): string {
    return this.#endpoint?.address ?? ''
  }

  /** Why there are no more pages to be had of the server, if it is so. */
  get loss(): string | undefined {
    if (!this.#isPinned || this.#endpoint === undefined) return undefined
    if (this.#endpoint.error !== undefined) return this.#endpoint.error.message
    return this.#endpoint.isConnected ? undefined : 'it cannot be reached'
  }

  pick(target: Target, maxStaleness?: number): Endpoint | undefined {
    if (!this.#isPinned) this.#endpoint = this.#route.pick(target, maxStaleness)
    else if (this.#endpoint?.error !== undefined) return undefined
    return this.#endpoint
  }

  hold(request: HoldRequest): Promise<void> {
    return this.#isPinned ? Promise.reject(this.#refusal) : this.#route.hold(request)
  }

  enqueue(waiting: Waiting): void {
    if (this.#isPinned) waiting.fail(this.#refusal)
    else this.#route.enqueue(waiting)
  }

  report(endpoint: Endpoint, error: Error): void {
    this.#route.report(endpoint, error)
  }

  get #refusal(): Error {
    return this.#endpoint?.error ?? new Error('BUG: held though there is a server')
  }

  /** A first page has come, and is not the last. */
  pin(timeout: number): void {
    const endpoint = this.#endpoint as Endpoint
    this.#isPinned = true
    this.#connection = endpoint.connectionCount
    this.#process = runIdOf(endpoint, timeout)
  }

  /** A later page has come: whether it is of the same process as those before. */
  async isSame(timeout: number): Promise<boolean> {
    const endpoint = this.#endpoint as Endpoint
    if (endpoint.connectionCount === this.#connection) return true
    const known = await this.#process
    const connection = endpoint.connectionCount
    if (known === undefined || known !== (await runIdOf(endpoint, timeout))) return false
    this.#connection = connection
    return true
  }
}

/** `undefined` where the server does not tell, or not on one connection. Never rejects. */
async function runIdOf(endpoint: Endpoint, timeout: number): Promise<string | undefined> {
  const connection = endpoint.connectionCount
  try {
    const info = await endpoint.execute(['INFO', 'server'], { timeout })
    return endpoint.connectionCount === connection ? /^run_id:(\w+)/m.exec(String(info))?.[1] : undefined
  } catch {
    return undefined // what it means is for the next page to find out
  }
}
