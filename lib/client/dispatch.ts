// Brings a command to a server. As a rule that is one attempt on the shared connection of the server that the route
// names, and it succeeds: this file is that way, and keeps it short. What takes more (nobody to send it to yet, a
// connection that is not up, an attempt that failed, a connection of the command's own) is attempts.ts.
//
// Reads go where `readFrom` says, by the command's own flags; blocking commands go over a connection of their
// own, from the pool of the same server; commands that change the state of a connection are not taken here. What is
// sent beside a command, for a session or a durable write, is its exchange's.
//
// Measured, GET with 100 in flight over a socket that costs nothing: 30 ns more than the connection alone (250), where
// a promise, a closure, a clock and five look-ups for each command took 150.

import { commandName, isBlocking, isOrdinaryRead, isReadOnly, isStateful } from '../commands/index.ts'
import type { Rescuer } from '../connection/index.ts'
import { type Endpoint, outcomeOf, type Route } from '../endpoint/index.ts'
import { type Argument, checkCommand, type Reply } from '../resp/index.ts'
import { Attempts, type DispatchOptions } from './attempts.ts'
import { durableExchange } from './durable.ts'
import { type Exchange, plainExchange } from './exchange.ts'
import { SessionRead, sessionWrite } from './session.ts'
import { closedError, type Work } from './work.ts'

export type { DispatchOptions } from './attempts.ts'

/** Brings the commands of one view to their servers. */
export class Dispatcher {
  readonly #route: Route
  readonly #work: Work
  readonly #options: DispatchOptions
  /** Nothing is sent beside the commands. */
  readonly #isPlain: boolean
  /** Of the server that had the last command. */
  #rescuer: FirstAttempts | undefined

  constructor(route: Route, work: Work, options: DispatchOptions) {
    this.#route = route
    this.#work = work
    this.#options = options
    this.#isPlain = options.durable === undefined && options.session === undefined
  }

  /**
   * @param command its array is given away; its bytes stay the caller's
   * @param isFlat maps and sets may come as arrays, in the form of RESP2; they need not
   * @throws {TypeError} at once: an argument that is none, or a command that is not for a shared connection
   */
  dispatch(command: readonly Argument[], isFlat = false): Promise<Reply> {
    const reads = this.#isPlain ? isOrdinaryRead(command) : undefined
    return reads === undefined ? this.#dispatchOther(command) : this.#send(command, reads, isFlat)
  }

  #dispatchOther(command: readonly Argument[]): Promise<Reply> {
    checkCommand(command)
    if (isStateful(command)) {
      throw new TypeError(
        `${commandName(command)} changes the state of its connection: borrow one with lease() or use() for it`,
      )
    }
    if (this.#isPlain && !isBlocking(command)) return this.#send(command, isReadOnly(command), false)
    if (this.#work.isClosing) return Promise.reject(closedError())
    const owned = ownBytes(command)
    const exchange = exchangeOf(owned, this.#options)
    return this.#attempts(owned, exchange, performance.now()).run()
  }

  #send(command: readonly Argument[], reads: boolean, isFlat: boolean): Promise<Reply> {
    if (this.#work.isClosing) return Promise.reject(closedError())
    const owned = ownBytes(command)
    const { readFrom, maxStaleness } = this.#options
    let endpoint: Endpoint | undefined
    try {
      endpoint = this.#route.pick(reads ? readFrom : 'write', maxStaleness)
    } catch (error) {
      checkCommand(owned)
      return Promise.reject(error) // a function that the user gave for readFrom
    }
    if (endpoint !== undefined) {
      const reply = endpoint.attempt(owned, this.#options, this.#rescuerAt(endpoint), isFlat)
      if (reply !== undefined) return reply
    }
    checkCommand(owned)
    return this.#attempts(owned, undefined, performance.now()).run(endpoint)
  }

  #rescuerAt(endpoint: Endpoint): FirstAttempts {
    const last = this.#rescuer
    if (last?.endpoint === endpoint) return last
    const rescuer = new FirstAttempts(endpoint, (error, command, startedAt) =>
      this.#attempts(command, undefined, startedAt).run(endpoint, error),
    )
    this.#rescuer = rescuer
    return rescuer
  }

  #attempts(command: readonly Argument[], exchange: Exchange | undefined, startedAt: number): Attempts {
    return new Attempts(this.#route, this.#work, this.#options, command, exchange, startedAt)
  }
}

/** The same for one command alone. */
export function dispatch(
  route: Route,
  work: Work,
  command: readonly Argument[],
  options: DispatchOptions,
): Promise<Reply> {
  return new Dispatcher(route, work, options).dispatch(command)
}

type TryAgain = (error: Error, command: readonly Argument[], startedAt: number) => Promise<Reply>

/** What becomes of commands that a server did not answer as wished: as a rule, that is the answer. */
class FirstAttempts implements Rescuer {
  readonly endpoint: Endpoint
  readonly #tryAgain: TryAgain

  constructor(endpoint: Endpoint, tryAgain: TryAgain) {
    this.endpoint = endpoint
    this.#tryAgain = tryAgain
  }

  rescue(error: Error, command: readonly Argument[], startedAt: number): Promise<Reply> | undefined {
    return outcomeOf(error) === 'answered' ? undefined : this.#tryAgain(error, command, startedAt)
  }
}

/**
 * {@link dispatch} of what is more than a command: the exchange sends it.
 *
 * @param command what it amounts to; checked and ours
 * @param startedAt instant of `performance.now()` from which its deadline counts
 */
export function dispatchExchange(
  route: Route,
  work: Work,
  command: readonly Argument[],
  options: DispatchOptions,
  exchange: Exchange,
  startedAt: number,
): Promise<Reply> {
  if (work.isClosing) return Promise.reject(closedError())
  return new Attempts(route, work, options, command, exchange, startedAt).run()
}

/** @param sent what is sent of it, with what a session and `durable` send besides */
export function exchangeOf(
  command: readonly Argument[],
  options: DispatchOptions,
  sent: Exchange = plainExchange(command, options.readFrom),
): Exchange {
  const { durable, session } = options
  let exchange = sent
  if (isReadOnly(command)) return session === undefined ? exchange : new SessionRead(session, exchange)
  if (durable !== undefined) {
    if (exchange.needsLease)
      throw new TypeError(`${commandName(command)} blocks: option durable is not for it`)
    exchange = durableExchange(exchange, durable)
  }
  return session === undefined ? exchange : sessionWrite(session, exchange)
}

/** The caller's bytes may change as soon as it has control again, an attempt may come later. */
function ownBytes(command: readonly Argument[]): readonly Argument[] {
  for (let i = 0; i < command.length; i += 1) {
    if (typeof command[i] !== 'object') continue
    checkCommand(command)
    return command.map((argument) => (typeof argument === 'object' ? Buffer.from(argument) : argument))
  }
  return command
}
