// One socket, one life. A connection never reconnects: its owner replaces it.
//
//   connecting ──ready()──► ready ──close()──► closing ──last reply──► closed
//        └─────────────────────┴─── destroy(), peer, protocol error ─────▲
//
// Every command settles once: by its reply, its deadline, its signal, or the end of the connection. One settled early
// leaves its place in the queue, and the late reply is swallowed there. One that has not been written is never written
// then. What is said to the peer is in outgoing.ts and writer.ts, what it says in incoming.ts; here are the states and the end.

import type { Socket } from 'node:net'
import { performance } from 'node:perf_hooks'
import type { ConnectionError } from '../errors.ts'
import type { Argument, Reply } from '../resp/index.ts'
import type { ExecuteOptions } from './execute-options.ts'
import { expire } from './expiry.ts'
import { connectionFailure, failAll, protocolFailure, withOutcome } from './failure.ts'
import type { Greeting, Send } from './handshake.ts'
import { Incoming } from './incoming.ts'
import type { ResolvedConnectionOptions } from './options.ts'
import { Outgoing } from './outgoing.ts'
import type { Rescuer } from './pending.ts'
import { PendingQueue } from './pending-queue.ts'
import { resetFailure } from './reset.ts'

type State = 'connecting' | 'ready' | 'closing' | 'closed'

export class Connection {
  /** Where it leads: `host:port`, `[v6]:port` or the path of a unix socket. */
  readonly address: string
  /** Resolves, never rejects, when the connection has ended and its socket is gone. */
  readonly closed: Promise<void>

  readonly #socket: Socket
  readonly #options: ResolvedConnectionOptions
  readonly #pending = new PendingQueue()
  readonly #incoming: Incoming
  readonly #outgoing: Outgoing
  #state: State = 'connecting'
  #error: Error | undefined
  /** Goes back to where the handshake had led, and through it again. */
  #shakeAgain!: (send: Send) => Promise<void>
  #id: number | undefined

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
    this.#outgoing = new Outgoing({
      socket,
      address,
      options,
      pending: this.#pending,
      incoming: this.#incoming,
      onDue: (now) => this.#expire(now),
      onAbort: () => this.#endWhenIdle(),
    })
    this.closed = new Promise((resolve) => {
      socket.once('close', () => {
        this.#lose('the peer closed the connection')
        resolve()
      })
    })
    socket.on('error', (error) => this.#lose('the connection broke', error))
    socket.on('end', () => this.#lose('the peer closed the connection'))
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
    return this.#outgoing.isInTransaction
  }

  /**
   * Whether a command was given since the handshake, or since {@link reset}, that left something behind other than
   * transactions, watched keys and subscriptions: another database, user, name…
   */
  get isAltered(): boolean {
    return this.#outgoing.isAltered
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
    const refusal = this.#state === 'ready' ? this.#outgoing.refusal(1, options.signal) : this.#refusal()
    if (refusal === undefined) return this.#outgoing.add(command, options, rescuer, isFlat)
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
    const refusal = this.#outgoing.refusal(commands.length, options?.signal)
    return refusal === undefined ? this.#outgoing.addAll(commands, options) : Promise.reject(refusal)
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
    const { protocol, id } = await shake((command) => this.#outgoing.add(command, { timeout: 0 }))
    this.#incoming.protocol = protocol
    this.#id = id
    if (this.#state === 'connecting') this.#state = 'ready'
    else throw this.#refusal()
    this.#outgoing.forget()
    this.#shakeAgain = (send) => shakeAgain(send, protocol)
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
      if (!this.#outgoing.canBeReset) throw new Error('RESET would not undo all that was done to it')
      await this.#shakeAgain((command) => this.#sendOwn(command))
    } catch (error) {
      this.#end(resetFailure(error, this.address))
      throw this.#refusal()
    }
    this.#outgoing.forget()
  }

  /**
   * For credentials.ts: AUTH as whom the handshake would, which alters nothing. Its caller destroys the connection if it
   * rejects; no reply behind is given out then.
   *
   * @internal
   */
  authenticate(command: readonly Argument[], timeout: number): Promise<Reply> {
    if (this.#state !== 'ready') return Promise.reject(this.#refusal())
    return this.#outgoing.authenticate(command, timeout)
  }

  /**
   * Finishes the work: no command is accepted any more, those in flight get their replies (or their
   * deadlines), then the socket is closed. Resolves, never rejects, when it is; in any state.
   */
  close(): Promise<void> {
    if (this.#state === 'connecting') this.destroy()
    if (this.#state === 'ready') {
      this.#state = 'closing'
      this.#outgoing.flush()
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

  /** One of the handshake's: it is for nobody, so there is no limit to it. */
  #sendOwn(command: readonly Argument[]): Promise<Reply> {
    return this.#state === 'ready' ? this.#outgoing.add(command, undefined) : Promise.reject(this.#refusal())
  }

  #send(command: readonly Argument[], options: ExecuteOptions | undefined): Promise<Reply> {
    const refusal = this.#outgoing.refusal(1, options?.signal)
    return refusal === undefined ? this.#outgoing.add(command, options) : Promise.reject(refusal)
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

  /** Fails what is due; tells when the next one is. */
  #expire(now: number): number {
    const { next, verdict } = expire(this.#pending, this.#incoming, this.#options, this.address, now)
    if (verdict !== undefined) this.#lose(verdict)
    if (this.#state === 'closed') return Number.POSITIVE_INFINITY
    this.#endWhenIdle()
    return next
  }

  /** Ends a closing connection when nobody waits for a reply any more. */
  #endWhenIdle(): void {
    if (this.#state !== 'closing' || this.#pending.isAwaited) return
    this.#error = this.#failure('CONNECTION_CLOSED', 'the connection was closed')
    this.#state = 'closed'
    this.#outgoing.stop()
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
    this.#outgoing.stop()
    this.#socket.destroy()
    this.#incoming.onError?.(error)
    failAll(this.#pending, error, this.address)
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
}
