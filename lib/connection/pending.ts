// Commands that are owed a reply, in the order in which they were given to the connection; replies come in
// the same order.
//
//   #ring (a power of two)   [ free | head ► owed … owed, not yet written ◄ tail | free ]
//
// Invariant: a command is settled once, by `settle()` or `fail()`, whichever comes first, and leaves nothing
// behind in its signal. A settled command stays in its place until its reply has come and is swallowed,
// unless it never left (`isDropped`): then no reply will come.

import type { ConnectionEffect } from '../commands/index.ts'
import type { Reply } from '../resp/index.ts'
import { watchAbort } from './abort-watch.ts'
import type { AwaitedConfirmations } from './subscriptions.ts'

export class PendingCommand {
  readonly #resolve: (value: Reply) => void
  readonly #reject: (error: Error) => void
  readonly asBytes: boolean
  /** Milliseconds, 0 = none; and the instants of start and end on the clock of `performance.now()`. */
  readonly timeout: number
  readonly startedAt: number
  readonly expiresAt: number
  /** What a (un)subscription waits for instead of one reply. */
  confirmations: AwaitedConfirmations | undefined = undefined
  /** What its reply, if it is no error, changes in the connection. */
  effect: ConnectionEffect | undefined = undefined
  /** Told of the attributes that come with its reply. */
  onAttributes: ((attributes: readonly Map<Reply, Reply>[]) => void) | undefined = undefined
  /** How many commands the connection was given before it, and how many pieces it had received. */
  number = 0
  heardBefore = 0
  isSettled = false
  /** Taken back before a byte of it was written: its place gets no reply. */
  isDropped = false
  #unwatch: (() => void) | undefined

  constructor(
    resolve: (value: Reply) => void,
    reject: (error: Error) => void,
    asBytes: boolean,
    timeout: number,
    startedAt: number,
  ) {
    this.#resolve = resolve
    this.#reject = reject
    this.asBytes = asBytes
    this.timeout = timeout
    this.startedAt = startedAt
    // the start was rounded down
    this.expiresAt = timeout === 0 ? Number.POSITIVE_INFINITY : startedAt + timeout + 1
  }

  /** Calls back when the signal is aborted while the command is not settled. */
  watch(signal: AbortSignal, onAbort: () => void): void {
    this.#unwatch = watchAbort(signal, onAbort)
  }

  settle(value: Reply): void {
    if (!this.isSettled) {
      this.#leave()
      this.#resolve(value)
    }
  }

  fail(error: Error): void {
    if (!this.isSettled) {
      this.#leave()
      this.#reject(error)
    }
  }

  #leave(): void {
    this.isSettled = true
    this.#unwatch?.()
    this.#unwatch = undefined
  }
}

const FIRST_CAPACITY = 16

export class PendingQueue {
  #ring: (PendingCommand | undefined)[] = new Array(FIRST_CAPACITY)
  #head = 0
  #length = 0
  #pushed = 0

  get length(): number {
    return this.#length
  }

  /** Whether somebody waits for one of the replies. */
  get isAwaited(): boolean {
    for (const [, command] of this.entries()) {
      if (!command.isSettled) return true
    }
    return false
  }

  /** Whether it is one of that many commands at the end. */
  isAmongLast(command: PendingCommand, count: number): boolean {
    return command.number >= this.#pushed - count
  }

  push(command: PendingCommand): void {
    command.number = this.#pushed
    this.#pushed += 1
    if (this.#length === this.#ring.length) this.#grow()
    this.#ring[(this.#head + this.#length) & (this.#ring.length - 1)] = command
    this.#length += 1
  }

  /** The command whose reply comes next; those that were taken back in time are passed over. */
  first(): PendingCommand | undefined {
    while (this.#length > 0) {
      const command = this.#ring[this.#head] as PendingCommand
      if (!command.isDropped) return command
      this.shift()
    }
    return undefined
  }

  shift(): void {
    this.#ring[this.#head] = undefined
    this.#head = (this.#head + 1) & (this.#ring.length - 1)
    this.#length -= 1
  }

  /** In order, with each command's place. */
  *entries(): Generator<[number, PendingCommand]> {
    for (let i = 0; i < this.#length; i += 1) {
      yield [i, this.#ring[(this.#head + i) & (this.#ring.length - 1)] as PendingCommand]
    }
  }

  clear(): void {
    this.#ring = new Array(FIRST_CAPACITY)
    this.#head = 0
    this.#length = 0
  }

  #grow(): void {
    const ring: (PendingCommand | undefined)[] = new Array(this.#ring.length * 2)
    for (const [i, command] of this.entries()) ring[i] = command
    this.#ring = ring
    this.#head = 0
  }
}
