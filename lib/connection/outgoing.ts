// What is said to the peer. A command that is taken is encoded at once, gets its place in the queue and its deadline, and
// leaves with the batch; what it does to the connection is noted. Knows no life: whether commands are taken at all is the
// connection's to say, and so is what becomes of them when it ends.
//
//   command ──► Writer ──► socket
//        └────► queue, deadline, signal

import type { Socket } from 'node:net'
import {
  type ConnectionEffect,
  connectionEffect,
  isBlocking,
  isOrdinary,
  isUndoneByReset,
  StateBit,
  stateAfter,
} from '../commands/index.ts'
import { AbortError, PoolError } from '../errors.ts'
import { type Argument, checkCommand, type Reply } from '../resp/index.ts'
import { Deadlines } from './deadline.ts'
import { checkTimeout, type ExecuteOptions, ownTimeout } from './execute-options.ts'
import type { Incoming } from './incoming.ts'
import type { ResolvedConnectionOptions } from './options.ts'
import { Outbox } from './outbox.ts'
import { type Pending, PendingBatch, PendingCommand, type Rescuer, Special } from './pending.ts'
import type { PendingQueue } from './pending-queue.ts'
import { awaitedConfirmations } from './subscriptions.ts'
import { Writer } from './writer.ts'

const TRANSACTION = StateBit.watch | StateBit.multi
/** State that the usual commands begin and end. */
const PASSING = StateBit.watch | StateBit.multi | StateBit.subscribe | StateBit.shard

/** Of its connection. */
export interface OutgoingParts {
  readonly socket: Socket
  readonly address: string
  readonly options: ResolvedConnectionOptions
  readonly pending: PendingQueue
  readonly incoming: Incoming
  /** Fails what is due; returns the next deadline, as that of {@link Deadlines}. */
  readonly onDue: (now: number) => number
  /** Told when a signal has ended a command. */
  readonly onAbort: () => void
}

export class Outgoing {
  readonly #address: string
  readonly #options: ResolvedConnectionOptions
  readonly #pending: PendingQueue
  readonly #incoming: Incoming
  readonly #outbox = new Outbox()
  readonly #writer: Writer
  readonly #deadlines: Deadlines
  readonly #onAbort: () => void
  /** Bits of `StateBit`: what the commands have done to the connection. */
  #state = 0

  constructor(parts: OutgoingParts) {
    this.#address = parts.address
    this.#options = parts.options
    this.#pending = parts.pending
    this.#incoming = parts.incoming
    this.#writer = new Writer(parts.socket, parts.pending, this.#outbox)
    this.#deadlines = new Deadlines(parts.onDue, { keepsProcess: false })
    this.#onAbort = parts.onAbort
  }

  /** Whether a MULTI was given and no EXEC or DISCARD yet. */
  get isInTransaction(): boolean {
    return (this.#state & StateBit.multi) !== 0
  }

  /** Whether more was left behind than transactions, watched keys and subscriptions. */
  get isAltered(): boolean {
    return (this.#state & ~PASSING) !== 0
  }

  /** Whether RESET, and the handshake again, put back all that was done. */
  get canBeReset(): boolean {
    return isUndoneByReset(this.#state)
  }

  /** The connection is as it was after its handshake. */
  forget(): void {
    this.#state = 0
  }

  /** Why so many more commands are not taken; `undefined`: they are. */
  refusal(count: number, signal: AbortSignal | undefined): Error | undefined {
    if (signal?.aborted) return new AbortError(signal)
    const { maxPending, maxPendingBytes } = this.#options
    const isFull = this.#pending.length + count > maxPending || this.#outbox.byteLength > maxPendingBytes
    return isFull ? this.#full(count) : undefined
  }

  /**
   * Takes a command for which there is no {@link refusal}.
   *
   * @param isFlat maps and sets may come as arrays, in the form of RESP2
   * @param isDecisive whether no reply behind it is to be believed unless its own is OK; it alters nothing then
   * @throws {TypeError} {RangeError} an argument or option that is none; nothing was taken then
   */
  add(
    command: readonly Argument[],
    options: ExecuteOptions | undefined,
    rescuer?: Rescuer,
    isFlat = false,
    isDecisive = false,
  ): Promise<Reply> {
    const isPlain = isOrdinary(command)
    const { commandTimeout } = this.#options
    const timeout = checkTimeout(
      options?.timeout ?? (isPlain ? commandTimeout : ownTimeout(command, commandTimeout)),
    )
    let pending!: PendingCommand
    const promise = new Promise<Reply>((resolve, reject) => {
      const asBytes = options?.replies === 'buffer'
      const startedAt = this.#writer.now()
      const kept = rescuer === undefined ? undefined : command // it is a lot to keep, where nobody asks for it
      pending = new PendingCommand(resolve, reject, asBytes, timeout, startedAt, rescuer, kept, isFlat)
    })
    if (!isPlain) pending.special = special(command, isDecisive)
    if (options?.onAttributes !== undefined) {
      pending.special ??= new Special()
      pending.special.onAttributes = options.onAttributes
    }
    const signal = options?.signal
    if (signal === undefined && !this.#writer.isBlocked) this.#outbox.add(command)
    else this.#outbox.addRevocable([command], pending)
    if (!isPlain && !isDecisive) this.#state = stateAfter(this.#state, command)
    this.#await(pending, signal)
    return promise
  }

  /**
   * Takes several for which there is no {@link refusal}.
   *
   * @throws {TypeError} {RangeError} an argument or option that is none; nothing was taken then
   */
  addAll(
    commands: readonly (readonly Argument[])[],
    options: ExecuteOptions | undefined,
  ): Promise<(Reply | Error)[]> {
    const timeout = checkTimeout(options?.timeout ?? this.#options.commandTimeout)
    let arePlain = options?.onAttributes === undefined
    let state = this.#state
    for (const command of commands) {
      if (isOrdinary(command)) continue
      const effect = connectionEffect(command)
      refuseReplyOff(effect)
      const hasOwnTime = options?.timeout === undefined && isBlocking(command)
      if (!isOfTransactions(effect) || hasOwnTime) arePlain = false
      else if (effect !== undefined) state = stateAfter(state, command)
    }
    if (commands.length === 0) return Promise.resolve([])
    if (!arePlain) {
      for (const command of commands) checkCommand(command) // all of them before the first is added
      const outcome = (command: readonly Argument[]): Promise<Reply | Error> =>
        this.add(command, options).catch((error: Error) => error)
      return Promise.all(commands.map(outcome))
    }
    let batch!: PendingBatch
    const outcomes = new Promise<(Reply | Error)[]>((resolve) => {
      const asBytes = options?.replies === 'buffer'
      batch = new PendingBatch(resolve, commands.length, asBytes, timeout, this.#writer.now())
    })
    const signal = options?.signal
    if (signal === undefined && !this.#writer.isBlocked) this.#outbox.addAll(commands)
    else this.#outbox.addRevocable(commands, batch)
    this.#state = state
    this.#await(batch, signal)
    return outcomes
  }

  /**
   * Takes an AUTH as whom the handshake would, which alters nothing.
   *
   * Some servers (Redis 7.2 to 8, Valkey 8) do not answer a refused AUTH at all while earlier replies are unsent: the
   * replies behind it would all move up to the wrong commands. So a PING goes behind it, whose reply is not OK.
   */
  authenticate(command: readonly Argument[], timeout: number): Promise<Reply> {
    const reply = this.add(command, { timeout }, undefined, false, true)
    this.add(['PING', 'authenticated'], { timeout }).catch(() => undefined)
    return reply
  }

  /** Writes what waits, without waiting for the end of the tick. */
  flush(): void {
    this.#writer.flush()
  }

  /** Nothing is written any more, and nothing expires. */
  stop(): void {
    this.#deadlines.stop()
    this.#writer.stop()
  }

  /** What was encoded is owed replies from now on. */
  #await(pending: Pending, signal: AbortSignal | undefined): void {
    if (signal !== undefined) {
      pending.special ??= new Special()
      pending.special.number = this.#pending.pushed
      pending.special.watch(signal, () => this.#abort(pending, signal))
    }
    pending.heardBefore = this.#incoming.heard
    this.#pending.push(pending)
    if (pending.timeout !== 0) this.#deadlines.add(pending.startedAt + pending.timeout)
    this.#writer.due()
  }

  #abort(pending: Pending, signal: AbortSignal): void {
    const isSent = this.#pending.isWritten(pending.special?.number ?? 0)
    pending.fail(new AbortError(signal, { mayHaveExecuted: isSent }))
    this.#onAbort()
  }

  #full(count: number): PoolError {
    const { maxPending, maxPendingBytes } = this.#options
    const more = count === 1 ? '' : `, and ${count} more were given at once`
    return new PoolError(
      'QUEUE_FULL',
      `${this.#pending.length} commands are waiting at ${this.#address}, ${this.#outbox.byteLength} bytes unsent${more}; ` +
        `the limits are maxPending ${maxPending} and maxPendingBytes ${maxPendingBytes}`,
    )
  }
}

/** What is to be known of a command whose reply is no common one, or that changes the connection. */
function special(command: readonly Argument[], isDecisive: boolean): Special {
  const known = new Special()
  known.isDecisive = isDecisive
  known.effect = connectionEffect(command)
  refuseReplyOff(known.effect)
  known.confirmations = awaitedConfirmations(command)
  return known
}

/** Whether a command changes nothing, or only what MULTI, EXEC, DISCARD, WATCH and UNWATCH do: no reply is looked at. */
function isOfTransactions(effect: ConnectionEffect | undefined): boolean {
  if (effect === undefined) return true
  const bits = effect.sets | effect.clears
  return bits !== 0 && (bits & ~TRANSACTION) === 0
}

function refuseReplyOff(effect: ConnectionEffect | undefined): void {
  if (effect !== undefined && (effect.sets & StateBit.reply) !== 0) {
    throw new TypeError('CLIENT REPLY is not supported: a command here is the promise of its reply')
  }
}
