// One server, whatever its role: every command goes there.

import { Endpoint, type EndpointOptions, type Waiting } from '../endpoint/index.ts'
import type { Router } from './router.ts'
import { closedError } from './work.ts'

export class SingleRouter implements Router {
  readonly topology = undefined
  readonly #endpoint: Endpoint
  #isClosed = false

  constructor(address: string, options: EndpointOptions) {
    this.#endpoint = new Endpoint(address, options)
  }

  get isClosed(): boolean {
    return this.#isClosed
  }

  pick(): Endpoint | undefined {
    return this.#isClosed ? undefined : this.#endpoint
  }

  /** There is always a server to pick, until the client is closed. */
  hold(): Promise<void> {
    return Promise.reject(closedError())
  }

  enqueue(waiting: Waiting): void {
    waiting.fail(closedError())
  }

  translate(announced: string): string {
    return announced
  }

  report(): void {
    // nobody else to ask: the endpoint dials again by itself
  }

  stats(): ReturnType<Router['stats']> {
    return Object.freeze({ master: this.#endpoint.stats(), replicas: Object.freeze([]), held: 0 })
  }

  close(): Promise<void> {
    this.#isClosed = true
    return this.#endpoint.close()
  }

  destroy(error: Error): void {
    this.#isClosed = true
    this.#endpoint.fence(error)
  }
}
