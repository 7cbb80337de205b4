// A command that runs code which its server may not have yet: a script by its hash, a function of a library. A server
// that does not have it says so and runs nothing; then the code is brought there, once for all calls that find it
// missing at the same time:
//
//   first call   EVALSHA ──NOSCRIPT──► EVAL                  brings the code, on the same connection
//   the others   EVALSHA ──NOSCRIPT──► EVALSHA ──a reply     right behind that EVAL, in the same write
//                                         └─NOSCRIPT──► EVAL
//
// Invariant: nothing is sent again but after the server's word that it ran nothing.

import type { ReadFrom } from '../endpoint/index.ts'
import { ReplyError } from '../errors.ts'
import type { Reply } from '../resp/index.ts'
import type { AttemptOptions, Exchange, Line } from './exchange.ts'

/** How such a command is sent, and what the server's errors mean. */
export interface Loadable {
  /** Sends the command alone. */
  call(line: Line, options: AttemptOptions): Promise<Reply>
  /** Sends it with the code: all of it before it returns. */
  bring(line: Line, options: AttemptOptions): Promise<Reply>
  /** Whether the server says that it does not have the code. */
  isMissing(error: ReplyError): boolean
  /** How often the code is on its way to each line. One for all calls of the same code. */
  readonly underWay: WeakMap<Line, number>
}

/** Where a command that only reads goes if the first server cannot run it there. */
export interface Detour {
  /** Whether the server's error is a reason to ask the master instead. */
  isNeeded(error: ReplyError, line: Line): boolean
  /** What is sent there. */
  readonly instead: Loadable
  /** Whether running that twice does harm. */
  readonly isWrite: boolean
}

export class ScriptExchange implements Exchange {
  readonly needsLease: boolean
  readonly #whole: Exchange
  readonly #detour: Detour | undefined
  #loadable: Loadable
  #target: 'write' | ReadFrom
  #isRepeatable: boolean | undefined
  /** What the next attempt, and the one under way, sends. */
  #way: 'call' | 'bring' = 'call'

  /**
   * @param wrap adds what a session and `durable` send besides
   * @param detour of one that only reads
   */
  constructor(
    loadable: Loadable,
    target: 'write' | ReadFrom,
    wrap: (command: Exchange) => Exchange,
    detour?: Detour,
  ) {
    this.#loadable = loadable
    this.#target = target
    this.#detour = detour
    this.#whole = wrap({
      needsLease: false,
      target: () => this.#target,
      attempt: (line, _, options) => this.#send(line, options),
    })
    this.needsLease = this.#whole.needsLease
  }

  get isRepeatable(): boolean | undefined {
    return this.#isRepeatable
  }

  target(): 'write' | ReadFrom {
    return this.#whole.target()
  }

  async attempt(line: Line, address: string, options: AttemptOptions): Promise<Reply | undefined> {
    const startedAt = performance.now()
    if (!this.needsLease) this.#way = 'call' // of a lease's, the next attempt is the rest of the last
    for (let hasWaited = false; ; ) {
      try {
        const left = options.timeout === 0 ? 0 : options.timeout - (performance.now() - startedAt)
        const timeout = options.timeout === 0 ? 0 : Math.max(Math.ceil(left), 1)
        return await this.#whole.attempt(line, address, { ...options, timeout })
      } catch (error) {
        if (!(error instanceof ReplyError)) throw error
        if (this.#isDetourNeeded(error, line)) return undefined
        if (this.#way === 'bring' || !this.#loadable.isMissing(error)) throw error
        // behind the one that brings it; if that comes to nothing, this one does
        const isUnderWay = (this.#loadable.underWay.get(line) ?? 0) > 0
        if (!isUnderWay || hasWaited) this.#way = 'bring'
        hasWaited = true
        // a WAIT may be blocking its connection
        if (this.needsLease) return undefined
      }
    }
  }

  #send(line: Line, options: AttemptOptions): Promise<Reply> {
    const { underWay } = this.#loadable
    if (this.#way === 'call') return this.#loadable.call(line, options)
    const reply = this.#loadable.bring(line, options)
    underWay.set(line, (underWay.get(line) ?? 0) + 1)
    const arrived = () => underWay.set(line, (underWay.get(line) ?? 1) - 1)
    reply.then(arrived, arrived)
    return reply
  }

  /** The master is next, then. */
  #isDetourNeeded(error: ReplyError, line: Line): boolean {
    const detour = this.#detour
    if (detour === undefined || this.#loadable === detour.instead || !detour.isNeeded(error, line))
      return false
    this.#loadable = detour.instead
    this.#target = 'master'
    if (detour.isWrite) this.#isRepeatable = false
    this.#way = 'call'
    return true
  }
}
