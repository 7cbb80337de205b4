// One socket, one life. A connection never reconnects: its owner replaces it.
//
//   connecting ──ready()──► ready ──close()──► closing ──last reply──► closed
//        └─────────────────────┴─── destroy(), peer, protocol error ─────▲
//
// Commands are encoded when they are given and written together at the end of the tick, or before; replies are matched
// in order. Every command settles once: by its reply, its deadline, its signal, or the end of the connection.
// A command settled early leaves its place in the queue, and the late reply is swallowed there. One that has
// not been written is never written then.
//
// `performance` is imported here and where time is read most, for the global is a getter: with it a command of a lease
// took 3 % more of our own time.

import type { Socket } from 'node:net'
import { performance } from 'node:perf_hooks'
import {
  blockingTimeout,
  type ConnectionEffect,
  connectionEffect,
  isBlocking,
  isOrdinary,
  isUndoneByReset,
  StateBit,
  stateAfter,
} from '../commands/index.ts'
import { AbortError, type ConnectionError, PoolError, TimeoutError } from '../errors.ts'
import { type Argument, checkCommand, type Reply } from '../resp/index.ts'
import { Deadlines } from './deadline.ts'
import { connectionFailure, protocolFailure, withOutcome } from './failure.ts'
import type { Greeting, Send } from './handshake.ts'
import { Incoming } from './incoming.ts'
import type { ResolvedConnectionOptions } from './options.ts'
import { Outbox } from './outbox.ts'
import { type Pending, PendingBatch, PendingCommand, type Rescuer, Special } from './pending.ts'
import { PendingQueue } from './pending-queue.ts'
import { resetFailure } from './reset.ts'
import { awaitedConfirmations } from './subscriptions.ts'

/** How one command differs from the connection's settings. */
export interface ExecuteOptions {
  /** Strings in the reply as strings or as `Buffer`. @default 'string' */
  readonly replies?: 'string' | 'buffer' | undefined
  /** Milliseconds until the command is given up; 0 = never. @default the connection's `commandTimeout` */
  readonly timeout?: number | undefined
  /** Gives the command up. Not sent yet: it never is. Sent: it may run, and its reply is swallowed. */
  readonly signal?: AbortSignal | undefined
  /**
   * Called before the command's promise settles when attributes (RESP3) came with its reply: the one of the reply
   * first, then those of elements within it. What it throws is an uncaught exception.
   */
  readonly onAttributes?: ((attributes: readonly Map<Reply, Reply>[]) => void) | undefined
}

/**
 * So many commands, if they are a good part of all that are under way, are written without waiting for the end of
 * the tick: the server works on them while the next are encoded. Measured: with 100 in flight 1.4 to 1.9 times the
 * throughput for up to 16 % more CPU, with 1,000 1.6 times for none.
 */
const EARLY_FLUSH = 32

/**
 * After so many lone commands the next is expected to be one too, as on a connection that one user has to himself: it
 * is written when the code that gave it has returned, for the end of the tick has its price in Node. Measured with
 * bench/pool.js, 'get': 4 % less CPU for a command. Where many share a connection the end of the tick makes better
 * batches: if all were written so early, 100 callers who go on at different times took 1.7 times the CPU.
 */
const LONERS = 8

/** What comes after it comes when the code that runs has returned. */
const soon = Promise.resolve()

const TRANSACTION = StateBit.watch | StateBit.multi
/** State that the usual commands begin and end. */
const PASSING = StateBit.watch | StateBit.multi | StateBit.subscribe | StateBit.shard

type State = 'connecting' | 'ready' | 'closing' | 'closed'

/** Given to `process.nextTick` with its argument, so that a flush costs no closure. */
let flush: (connection: Connection) => void

export class Connection {
  /** Where it leads: `host:port`, `[v6]:port` or the path of a unix socket. */
  readonly address: string
  /** Resolves, never rejects, when the connection has ended and its socket is gone. */
  readonly closed: Promise<void>

  readonly #socket: Socket
  readonly #options: ResolvedConnectionOptions
  readonly #pending = new PendingQueue()
  readonly #outbox = new Outbox()
  readonly #incoming: Incoming
  readonly #deadlines: Deadlines
  #state: State = 'connecting'
  #error: Error | undefined
  #isFlushScheduled = false
  /** Batches in a row that were one command, with no other under way. */
  #loners = 0
  readonly #flushSoon = (): void => this.#flush()
  /** The socket has not taken all of the last write: nothing more is written until it has. */
  #isBlocked = false
  /** Bits of `StateBit`: what the commands given since the handshake have done to the connection. */
  #commandState = 0
  /** Goes back to where the handshake had led, and through it again. */
  #shakeAgain!: (send: Send, protocol: 2 | 3) => Promise<void>
  /** Version of RESP that the handshake had led to. */
  #shakenTo: 2 | 3 = 2
  #id: number | undefined
  /** Instant of `performance.now()` of the batch being collected, in whole milliseconds: kept without an allocation. */
  #batchAt = 0

  /**
   * For `connect()`: a connection over a socket that is about to open, before its handshake.
   *
   * @internal
   */
  constructor(socket: Socket, address: string, options: ResolvedConnectionOptions) {
    this.#socket = socket
    this.#options = options
    this.address = address
    this.#incoming = new Incoming(this.#pending, options.onPush)
    this.#deadlines = new Deadlines((now) => this.#expire(now), { keepsProcess: false })
    this.closed = new Promise((resolve) => {
      socket.once('close', () => {
        this.#lose('the peer closed the connection')
        resolve()
      })
    })
    socket.on('error', (error) => this.#lose('the connection broke', error))
    socket.on('end', () => this.#lose('the peer closed the connection'))
    socket.on('drain', () => {
      this.#isBlocked = false
      this.#flush()
    })
  }

  /** Version of RESP that is spoken. */
  get protocol(): 2 | 3 {
    return this.#incoming.protocol
  }

  /** The server's number of the connection, as CLIENT LIST has it; `undefined` over RESP2, where HELLO tells none. */
  get id(): number | undefined {
    return this.#id
  }

  /** Called with each push; see {@link ConnectionOptions.onPush}. The owner may set it at any time. */
  get onPush(): ((push: readonly Reply[]) => void) | undefined {
    return this.#incoming.onPush
  }

  set onPush(listener: ((push: readonly Reply[]) => void) | undefined) {
    this.#incoming.onPush = listener
  }

  /**
   * Called with each error reply, and with what the connection died of, before the commands concerned reject. For its
   * owner; must not throw.
   */
  get onError(): ((error: Error) => void) | undefined {
    return this.#incoming.onError
  }

  set onError(listener: ((error: Error) => void) | undefined) {
    this.#incoming.onError = listener
  }

  /**
   * Strings of pushes as `Buffer`. In RESP2, where a push is an array like any reply, the `replies` of a command in
   * flight decides for what comes before its reply. @default false
   */
  get pushesAsBytes(): boolean {
    return this.#incoming.pushesAsBytes
  }

  set pushesAsBytes(value: boolean) {
    this.#incoming.pushesAsBytes = value
  }

  /** Why the connection ended, from then on; `undefined` while it is usable. */
  get error(): Error | undefined {
    return this.#error
  }

  /** Commands whose reply is owed. */
  get pendingCount(): number {
    return this.#pending.length
  }

  /** Instant of `performance.now()` at which the peer was last heard. */
  get heardAt(): number {
    return this.#incoming.heardAt
  }

  /** Whether a MULTI was given and no EXEC or DISCARD yet. */
  get isInTransaction(): boolean {
    return (this.#commandState & StateBit.multi) !== 0
  }

  /**
   * Whether a command was given since the handshake, or since {@link reset}, that left something behind other than
   * transactions, watched keys and subscriptions: another database, user, name…
   */
  get isAltered(): boolean {
    return (this.#commandState & ~PASSING) !== 0
  }

  /** Milliseconds for which a command has been owed a reply and no byte has come; 0 when none is owed. */
  get silence(): number {
    const first = this.#pending.first()
    return first === undefined
      ? 0
      : Math.max(performance.now() - Math.max(first.startedAt, this.#incoming.heardAt), 0)
  }

  /**
   * Runs a command: `call('SET', 'key', 'value')`.
   *
   * @returns the reply: maps as `Map`, sets as `Set`, integers beyond the safe range as `bigint`; of a
   *   (un)subscription the confirmations
   * @throws {ReplyError} the server's error reply
   * @throws {TimeoutError} `COMMAND_TIMEOUT`
   * @throws {ConnectionError} `CONNECTION_LOST`, `CONNECTION_CLOSED`, `FENCED`
   * @throws {ProtocolError} `PROTOCOL_ERROR`, `PROTOCOL_LIMIT`
   * @throws {PoolError} `QUEUE_FULL`
   * @throws {TypeError} {RangeError} at once, for an argument or option that is none
   */
  call(...command: [name: string, ...args: Argument[]]): Promise<Reply> {
    return this.execute(command)
  }

  /** {@link call} with options. The command's array and bytes are the caller's again when this returns. */
  execute(command: readonly Argument[], options?: ExecuteOptions): Promise<Reply> {
    if (this.#state !== 'ready') return Promise.reject(this.#refusal())
    return this.#send(command, options)
  }

  /**
   * For dispatch.ts: {@link execute} with a rescuer, a hook in the record that there is anyway. A `catch()` at each
   * command, which is a promise and a closure, would cost a third of the command.
   *
   * @param isFlat maps and sets may come as arrays, in the form of RESP2
   *
   * @internal
   */
  attempt(
    command: readonly Argument[],
    options: ExecuteOptions,
    rescuer: Rescuer,
    isFlat = false,
  ): Promise<Reply> {
    const { signal } = options
    let refusal: Error
    if (this.#state !== 'ready') refusal = this.#refusal()
    else if (signal?.aborted) refusal = new AbortError(signal)
    else if (this.#isFull(1)) refusal = this.#full()
    else return this.#add(command, options, signal, false, rescuer, isFlat)
    return rescuer.rescue(refusal, command, performance.now()) ?? Promise.reject(refusal)
  }

  /**
   * Runs several commands, in order and with nothing between them, for the price of one promise. Options hold for each
   * of them. With a transaction among them all are written or none is, and all have the same deadline.
   *
   * @returns for each its reply, or the error it ended with, which is a {@link ReplyError} or what {@link execute}
   *   would have thrown: one that failed says nothing of the others
   * @throws what {@link execute} throws when nothing of it was taken: `QUEUE_FULL`, a closed connection, an argument
   *   that is none
   */
  executeAll(
    commands: readonly (readonly Argument[])[],
    options?: ExecuteOptions,
  ): Promise<(Reply | Error)[]> {
    if (this.#state !== 'ready') return Promise.reject(this.#refusal())
    return this.#sendAll(commands, options)
  }

  /**
   * For `connect()`: goes through the handshake.
   *
   * @internal
   * @param shake runs the handshake's commands and tells which version is spoken from then on
   * @param shakeAgain does what {@link reset} needs
   */
  async ready(
    shake: (send: Send) => Promise<Greeting>,
    shakeAgain: (send: Send, protocol: 2 | 3) => Promise<void>,
  ): Promise<void> {
    const { protocol, id } = await shake((command) => this.#send(command, { timeout: 0 }))
    this.#incoming.protocol = protocol
    this.#id = id
    if (this.#state === 'connecting') this.#state = 'ready'
    else throw this.#refusal()
    this.#commandState = 0
    this.#shakenTo = this.#incoming.protocol
    this.#shakeAgain = shakeAgain
  }

  /**
   * Makes the connection what it was after its handshake, whatever commands have done to it: by RESET, and by the
   * handshake again, with credentials that are asked for anew. Replies owed by then come before. A connection that
   * cannot be reset is destroyed: the server has no RESET (before Redis 6.2) or does not allow it, refuses the
   * handshake, or RESET would leave something (CLIENT NO-EVICT, CLIENT CAPA…). `onPush` stays as it is.
   *
   * The owner sees to it that nobody else uses the connection meanwhile.
   *
   * @throws {ConnectionError} `CONNECTION_LOST`, `CONNECTION_CLOSED`
   * @throws {ProtocolError} `PROTOCOL_ERROR`, `PROTOCOL_LIMIT`
   */
  async reset(): Promise<void> {
    if (this.#state !== 'ready') throw this.#refusal()
    try {
      if (!isUndoneByReset(this.#commandState))
        throw new Error('RESET would not undo all that was done to it')
      await this.#shakeAgain((command) => this.execute(command), this.#shakenTo)
    } catch (error) {
      this.#end(resetFailure(error, this.address))
      throw this.#refusal()
    }
    this.#commandState = 0
  }

  /**
   * For credentials.ts: AUTH as whom the handshake would, which alters nothing. Its caller destroys the connection if it
   * rejects; no reply behind is given out then.
   *
   * Some servers (Redis 7.2 to 8, Valkey 8) do not answer a refused AUTH at all while earlier replies are unsent: the
   * replies behind it would all move up to the wrong commands. So a PING goes behind it, whose reply is not OK.
   *
   * @internal
   */
  authenticate(command: readonly Argument[], timeout: number): Promise<Reply> {
    if (this.#state !== 'ready') return Promise.reject(this.#refusal())
    const state = this.#commandState
    const reply = this.#add(command, { timeout }, undefined, true)
    this.#commandState = state
    this.#add(['PING', 'authenticated'], { timeout }, undefined).catch(() => undefined)
    return reply
  }

  /**
   * Finishes the work: no command is accepted any more, those in flight get their replies (or their
   * deadlines), then the socket is closed. Resolves, never rejects, when it is; in any state.
   */
  close(): Promise<void> {
    if (this.#state === 'connecting') this.destroy()
    if (this.#state === 'ready') {
      this.#state = 'closing'
      this.#flush()
      this.#endWhenIdle()
    }
    return this.closed
  }

  /**
   * Fails the work: every command in flight rejects, the socket is closed without waiting for the peer.
   * Legal in any state; only the first reason counts.
   */
  destroy(error?: Error): void {
    this.#end(error ?? this.#failure('CONNECTION_CLOSED', 'the connection was destroyed'))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  #send(command: readonly Argument[], options: ExecuteOptions | undefined): Promise<Reply> {
    const signal = options?.signal
    if (signal?.aborted) return Promise.reject(new AbortError(signal))
    if (this.#isFull(1)) return Promise.reject(this.#full())
    return this.#add(command, options, signal)
  }

  #sendAll(
    commands: readonly (readonly Argument[])[],
    options: ExecuteOptions | undefined,
  ): Promise<(Reply | Error)[]> {
    const signal = options?.signal
    if (signal?.aborted) return Promise.reject(new AbortError(signal))
    if (this.#isFull(commands.length)) return Promise.reject(this.#full(commands.length))
    const timeout = checkTimeout(options?.timeout ?? this.#options.commandTimeout)
    let arePlain = options?.onAttributes === undefined
    let state = this.#commandState
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
        this.#add(command, options, signal).catch((error: Error) => error)
      return Promise.all(commands.map(outcome))
    }
    let batch!: PendingBatch
    const outcomes = new Promise<(Reply | Error)[]>((resolve) => {
      const asBytes = options?.replies === 'buffer'
      batch = new PendingBatch(resolve, commands.length, asBytes, timeout, this.#now())
    })
    if (signal === undefined && !this.#isBlocked) this.#outbox.addAll(commands)
    else this.#outbox.addRevocable(commands, batch)
    this.#commandState = state
    this.#await(batch, signal)
    return outcomes
  }

  #add(
    command: readonly Argument[],
    options: ExecuteOptions | undefined,
    signal: AbortSignal | undefined,
    isDecisive = false,
    rescuer?: Rescuer,
    isFlat = false,
  ): Promise<Reply> {
    const isPlain = isOrdinary(command)
    const timeout = checkTimeout(
      options?.timeout ?? (isPlain ? this.#options.commandTimeout : this.#ownTimeout(command)),
    )
    let pending!: PendingCommand
    const promise = new Promise<Reply>((resolve, reject) => {
      const asBytes = options?.replies === 'buffer'
      const kept = rescuer === undefined ? undefined : command // it is a lot to keep, where nobody asks for it
      pending = new PendingCommand(resolve, reject, asBytes, timeout, this.#now(), rescuer, kept, isFlat)
    })
    if (!isPlain) pending.special = special(command)
    if (isDecisive && pending.special !== undefined) pending.special.isDecisive = true
    if (options?.onAttributes !== undefined) {
      pending.special ??= new Special()
      pending.special.onAttributes = options.onAttributes
    }
    if (signal === undefined && !this.#isBlocked) this.#outbox.add(command)
    else this.#outbox.addRevocable([command], pending)
    if (!isPlain) this.#commandState = stateAfter(this.#commandState, command)
    this.#await(pending, signal)
    return promise
  }

  /** The instant at which the batch being collected began. */
  #now(): number {
    if (this.#pending.unwritten === 0 || this.#isBlocked) this.#batchAt = Math.ceil(performance.now())
    return this.#batchAt
  }

  /** What was encoded is owed replies from now on, and is to be written. */
  #await(pending: Pending, signal: AbortSignal | undefined): void {
    if (signal !== undefined) {
      pending.special ??= new Special()
      pending.special.number = this.#pending.pushed
      pending.special.watch(signal, () => this.#abort(pending, signal))
    }
    pending.heardBefore = this.#incoming.heard
    this.#pending.push(pending)
    if (pending.timeout !== 0) this.#deadlines.add(pending.startedAt + pending.timeout)
    const { unwritten } = this.#pending
    if (unwritten >= EARLY_FLUSH && unwritten * 4 >= this.#pending.length) this.#flush()
    else this.#scheduleFlush()
  }

  #isFull(count: number): boolean {
    const { maxPending, maxPendingBytes } = this.#options
    return this.#pending.length + count > maxPending || this.#outbox.byteLength > maxPendingBytes
  }

  #full(count = 1): PoolError {
    const { maxPending, maxPendingBytes } = this.#options
    const more = count === 1 ? '' : `, and ${count} more were given at once`
    return new PoolError(
      'QUEUE_FULL',
      `${this.#pending.length} commands are waiting at ${this.address}, ${this.#outbox.byteLength} bytes unsent${more}; ` +
        `the limits are maxPending ${maxPending} and maxPendingBytes ${maxPendingBytes}`,
    )
  }

  /** A command that blocks has its own timeout, and then some. */
  #ownTimeout(command: readonly Argument[]): number {
    const { commandTimeout } = this.#options
    if (commandTimeout === 0 || !isBlocking(command)) return commandTimeout
    const own = blockingTimeout(command)
    return own === undefined || own === 0 ? 0 : own + commandTimeout
  }

  #scheduleFlush(): void {
    if (this.#isFlushScheduled) return
    this.#isFlushScheduled = true
    if (this.#loners < LONERS) process.nextTick(flush, this)
    else void soon.then(this.#flushSoon)
  }

  /** Writes all that waits, in one write where it fits a slab. */
  #flush(): void {
    this.#isFlushScheduled = false
    if (this.#state === 'closed' || this.#isBlocked || this.#pending.unwritten === 0) return
    const socket = this.#socket
    const parts = this.#outbox.take()
    this.#loners = this.#pending.length === 1 ? this.#loners + 1 : 0
    this.#pending.markWritten()
    if (parts.length > 1) socket.cork()
    for (const part of parts) socket.write(part)
    if (parts.length > 1) socket.uncork()
    this.#isBlocked = socket.writableNeedDrain && socket.writableLength > 0
    this.#outbox.release(socket.writableLength === 0)
  }

  /** What the socket read; see dial.ts. */
  receive(bytes: Buffer, length: number): void {
    if (this.#state === 'closed') return
    try {
      this.#incoming.receive(bytes, length)
    } catch (error) {
      this.#end(protocolFailure(error, this.address))
    }
    if (this.#state === 'closing') this.#endWhenIdle()
  }

  /**
   * Fails what is due; tells when the next one is. A peer that was silent all the while, and for as long as
   * `commandTimeout`, is taken for dead; so is one whose bytes have become no reply for twice as long: it trickles, or a
   * wrong length swallows all that follows.
   */
  #expire(now: number): number {
    let next = Number.POSITIVE_INFINITY
    const { written } = this.#pending
    let silentMs = 0
    let hasExpired = false
    for (const [place, pending] of this.#pending.entries()) {
      const { timeout, startedAt } = pending
      if (timeout === 0 || pending.isSettled) continue
      if (startedAt + timeout > now) {
        next = Math.min(next, startedAt + timeout)
        continue
      }
      const isSent = place < written
      const how = isSent ? 'no reply' : 'not sent'
      pending.fail(
        new TimeoutError(`${how} within ${timeout} ms at ${this.address}`, {
          timeout,
          mayHaveExecuted: isSent,
        }),
      )
      if (isSent && this.#incoming.heard === pending.heardBefore) silentMs = Math.max(silentMs, timeout)
      hasExpired ||= isSent
    }
    const { commandTimeout } = this.#options
    if (commandTimeout !== 0) {
      if (silentMs >= commandTimeout) this.#lose(`the peer has been silent for ${silentMs} ms`)
      else if (hasExpired && this.#stuckFor(now) >= commandTimeout * 2)
        this.#lose(`the peer has completed no reply for ${commandTimeout * 2} ms`)
    }
    if (this.#state === 'closed') return Number.POSITIVE_INFINITY
    this.#endWhenIdle()
    return next
  }

  /** Milliseconds for which a reply has been owed that nobody waits for any more, and none was completed. */
  #stuckFor(now: number): number {
    const first = this.#pending.first()
    return first?.isSettled === true ? now - Math.max(first.startedAt, this.#incoming.answeredAt) : 0
  }

  #abort(pending: Pending, signal: AbortSignal): void {
    const isSent = this.#pending.isWritten(pending.special?.number ?? 0)
    pending.fail(new AbortError(signal, { mayHaveExecuted: isSent }))
    this.#endWhenIdle()
  }

  /** Ends a closing connection when nobody waits for a reply any more. */
  #endWhenIdle(): void {
    if (this.#state !== 'closing' || this.#pending.isAwaited) return
    this.#error = this.#failure('CONNECTION_CLOSED', 'the connection was closed')
    this.#state = 'closed'
    this.#deadlines.stop()
    // with a late reply still owed, the peer may never take what the socket holds: no farewell then
    if (this.#pending.first() === undefined) this.#socket.destroySoon()
    else this.#socket.destroy()
    this.#pending.clear()
  }

  /** The one place where the connection dies. */
  #end(error: Error): void {
    if (this.#state === 'closed') return
    this.#state = 'closed'
    this.#error = error
    this.#incoming.stop()
    this.#deadlines.stop()
    this.#socket.destroy()
    this.#incoming.onError?.(error)
    const { written, unwritten } = this.#pending
    const lost = written === 0 ? error : withOutcome(error, true, this.address)
    const unsent = unwritten === 0 ? error : withOutcome(error, false, this.address)
    const commands = [...this.#pending.entries()]
    this.#pending.clear()
    for (const [place, command] of commands) command.fail(place < written ? lost : unsent)
  }

  /** Why a command is not taken. */
  #refusal(): Error {
    if (this.#error !== undefined) return withOutcome(this.#error, false, this.address)
    return this.#failure('CONNECTION_CLOSED', `the connection is ${this.#state}`)
  }

  #lose(message: string, cause?: Error): void {
    if (this.#state !== 'closed') this.#end(this.#failure('CONNECTION_LOST', message, cause))
  }

  #failure(code: 'CONNECTION_LOST' | 'CONNECTION_CLOSED', message: string, cause?: Error): ConnectionError {
    const phase = this.#state === 'connecting' ? 'handshake' : 'ready'
    return connectionFailure(code, message, { address: this.address, phase }, cause)
  }

  static {
    flush = (connection) => connection.#flush()
  }
}

/** @throws {RangeError} */
function checkTimeout(timeout: number): number {
  if (!(timeout >= 0)) throw new RangeError(`option timeout must be 0 or more milliseconds, got ${timeout}`)
  return timeout
}

/** What is to be known of a command whose reply is no common one, or that changes the connection. */
function special(command: readonly Argument[]): Special {
  const known = new Special()
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
