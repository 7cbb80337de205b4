// Finds the server to subscribe at and dials it, again and again, until there is a connection or nobody wants one.
// Another server is tried at once, the same one after 50 to 100 ms: flat, so that the end of an outage is not slept
// through, and spread, so that not all clients come at once.

import { setTimeout as sleep } from 'node:timers/promises'
import type { Connection } from '../connection/index.ts'
import { type Endpoint, isPermanent, RETRY_MS, type ReadFrom, type Route } from '../endpoint/index.ts'
import { SentinelError, TimeoutError } from '../errors.ts'

/** Between two attempts where none can succeed until somebody has changed something: a password, say. */
const HOPELESS_RETRY_MS = 1_000
/** The route is asked again after this; also what keeps the process while nobody is there. */
const HOLD_MS = 100

/** A connection, and whose it is. */
export interface Dialed {
  readonly connection: Connection
  readonly endpoint: Endpoint
}

export class SubscriberDialer {
  readonly #route: Route
  readonly #target: 'write' | ReadFrom
  readonly #onHopeless: (error: Error) => void
  /** The last one that was dialed. */
  #tried: Endpoint | undefined
  #failure: Error | undefined

  /** @param onHopeless told when trying again will not help: a wrong password, a name that no sentinel knows */
  constructor(route: Route, target: 'write' | ReadFrom, onHopeless: (error: Error) => void) {
    this.#route = route
    this.#target = target
    this.#onHopeless = onHopeless
  }

  /** Why the last attempt failed; `undefined` when it succeeded. */
  get failure(): Error | undefined {
    return this.#failure
  }

  /** What was dialed last was closed by our own wish: nothing speaks against it. */
  forget(): void {
    this.#tried = undefined
  }

  /** Rejects only when the signal is aborted. */
  async dial(signal: AbortSignal): Promise<Dialed> {
    for (;;) {
      try {
        const endpoint = await this.#nextEndpoint(signal)
        const connection = await endpoint.dial(signal)
        this.#failure = undefined
        return { connection, endpoint }
      } catch (error) {
        signal.throwIfAborted()
        await this.#recover(error as Error, signal)
      }
    }
  }

  async #nextEndpoint(signal: AbortSignal): Promise<Endpoint> {
    for (;;) {
      const endpoint = this.#route.pick(this.#target)
      if (endpoint === undefined) {
        await this.#route.hold({ bytes: 0, expiresAt: performance.now() + HOLD_MS, timeout: HOLD_MS, signal })
      } else if (endpoint === this.#tried) {
        this.#tried = undefined
        await pause(signal)
      } else {
        this.#tried = endpoint
        return endpoint
      }
    }
  }

  /** Waits until another attempt makes sense. */
  async #recover(error: Error, signal: AbortSignal): Promise<void> {
    const isHeld = error instanceof TimeoutError // nobody was there; the cause says why
    this.#failure = isHeld && error.cause instanceof Error ? error.cause : error
    this.#tried = undefined
    if (isHeld) return
    const isHopeless = isPermanent(error) || error instanceof SentinelError
    if (isHopeless) this.#onHopeless(error)
    await pause(signal, isHopeless ? HOPELESS_RETRY_MS : undefined)
  }
}

function pause(signal: AbortSignal, ms = RETRY_MS * (1 + Math.random())): Promise<void> {
  return sleep(ms, undefined, { signal })
}
