// What was given to a connection and is owed replies: one command, or a batch of them that has one promise.
//
// Invariant: each command is settled once, by `take()` or `fail()`, whichever comes first. Settled early, it stays
// in its place until its reply has come and is swallowed, unless it never left (`isDropped`): then no reply
// will come. Small on purpose: one of these is made for each command, and what few commands need is in `special`.
// Measured with all of it in one object: 3 % more time for a command.

import type { ConnectionEffect } from '../commands/index.ts'
import { ReplyError } from '../errors.ts'
import type { Argument, Reply } from '../resp/index.ts'
import { watchAbort } from './abort-watch.ts'
import type { AwaitedConfirmations } from './subscriptions.ts'

/** Who gave a command, and may know a better end for it than its failure. */
export interface Rescuer {
  /**
   * A command failed and is about to reject. Called in the midst of things: it does nothing to connections before
   * the next microtask. Must not throw.
   *
   * @param startedAt when the command was given; instant of `performance.now()`
   * @returns what the command's promise follows instead; `undefined`: it rejects
   */
  rescue(error: Error, command: readonly Argument[], startedAt: number): Promise<Reply> | undefined
}

/** What is to be known of a command that is not like most. */
export class Special {
  /** What a (un)subscription waits for instead of one reply. */
  confirmations: AwaitedConfirmations | undefined = undefined
  /** What its reply, if it is no error, changes in the connection. */
  effect: ConnectionEffect | undefined = undefined
  /** Told of the attributes that come with its reply. */
  onAttributes: ((attributes: readonly Map<Reply, Reply>[]) => void) | undefined = undefined
  /** Whether no reply behind it is to be believed unless its own is OK. */
  isDecisive = false
  /** How many commands the connection was given before it; known where it has a signal. */
  number = 0
  #unwatch: (() => void) | undefined = undefined

  /** Calls back when the signal is aborted before {@link leave}. */
  watch(signal: AbortSignal, onAbort: () => void): void {
    this.#unwatch = watchAbort(signal, onAbort)
  }

  leave(): void {
    this.#unwatch?.()
    this.#unwatch = undefined
  }
}

/** A place in the queue of what is owed. */
export interface Pending {
  /** Replies that are still owed, whoever still wants them. */
  owed: number
  readonly asBytes: boolean
  /** Maps and sets in its reply as arrays. */
  readonly isFlat: boolean
  /** Milliseconds, 0 = none. */
  readonly timeout: number
  /** Instant of `performance.now()`, rounded up. */
  readonly startedAt: number
  /** How many pieces the connection had received before it was given. */
  heardBefore: number
  special: Special | undefined
  readonly isSettled: boolean
  /** Taken back before a byte of it was written: its place gets no reply. */
  isDropped: boolean
  /** The next reply: a value, or the server's error. */
  take(reply: Reply): void
  /** Ends all of it that has no reply yet. */
  fail(error: Error): void
}

export class PendingCommand implements Pending {
  readonly #resolve: (value: Reply | Promise<Reply>) => void
  readonly #reject: (error: Error) => void
  /** Whoever is asked if it fails, and what for. */
  readonly #rescuer: Rescuer | undefined
  readonly #command: readonly Argument[] | undefined
  readonly asBytes: boolean
  readonly isFlat: boolean
  readonly timeout: number
  readonly startedAt: number
  owed = 1
  heardBefore = 0
  isSettled = false
  isDropped = false
  special: Special | undefined = undefined

  constructor(
    resolve: (value: Reply | Promise<Reply>) => void,
    reject: (error: Error) => void,
    asBytes: boolean,
    timeout: number,
    startedAt: number,
    rescuer?: Rescuer,
    command?: readonly Argument[],
    isFlat = false,
  ) {
    this.#resolve = resolve
    this.#reject = reject
    this.asBytes = asBytes
    this.timeout = timeout
    this.startedAt = startedAt
    this.#rescuer = rescuer
    this.#command = command
    this.isFlat = isFlat
  }

  take(reply: Reply): void {
    if (this.isSettled) return
    if (reply instanceof ReplyError) {
      this.fail(reply)
    } else {
      this.isSettled = true
      this.special?.leave()
      this.#resolve(reply)
    }
  }

  fail(error: Error): void {
    if (this.isSettled) return
    this.isSettled = true
    this.special?.leave()
    const end = this.#rescuer?.rescue(error, this.#command as readonly Argument[], this.startedAt)
    if (end === undefined) this.#reject(error)
    else this.#resolve(end)
  }
}

/** Commands that were given together: their outcomes, in order, fulfil one promise. */
export class PendingBatch implements Pending {
  readonly #resolve: (outcomes: (Reply | Error)[]) => void
  readonly #outcomes: (Reply | Error)[] = []
  readonly #count: number
  readonly asBytes: boolean
  readonly isFlat = false
  readonly timeout: number
  readonly startedAt: number
  owed: number
  heardBefore = 0
  isSettled = false
  isDropped = false
  special: Special | undefined = undefined

  constructor(
    resolve: (outcomes: (Reply | Error)[]) => void,
    count: number,
    asBytes: boolean,
    timeout: number,
    startedAt: number,
  ) {
    this.#resolve = resolve
    this.#count = count
    this.owed = count
    this.asBytes = asBytes
    this.timeout = timeout
    this.startedAt = startedAt
  }

  take(reply: Reply): void {
    if (this.isSettled) return
    this.#outcomes.push(reply)
    if (this.#outcomes.length === this.#count) this.#settle()
  }

  fail(error: Error): void {
    if (this.isSettled) return
    while (this.#outcomes.length < this.#count) this.#outcomes.push(error)
    this.#settle()
  }

  #settle(): void {
    this.isSettled = true
    this.special?.leave()
    this.#resolve(this.#outcomes)
  }
}
