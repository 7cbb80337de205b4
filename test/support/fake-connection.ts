// A connection without a socket, and as much of a server behind it as the state of a connection takes: it knows
// whether a transaction is open, keys are watched, channels subscribed. Commands are answered in order, by
// themselves, or one by one while `isHeld`.

import { AbortError, ReplyError } from '../../lib/errors.ts'
import type { PooledConnection } from '../../lib/pool/index.ts'

type Command = Parameters<PooledConnection['execute']>[0]
type Options = Parameters<PooledConnection['execute']>[1]
type Answer = Awaited<ReturnType<PooledConnection['execute']>>

interface Pending {
  readonly command: readonly string[]
  readonly settle: (answer: Answer | Error) => void
}

export interface FakeEvents {
  /** Called once, when it is closed or destroyed. */
  readonly onEnd?: (connection: FakeConnection) => void
  readonly onCommand?: (name: string) => void
}

export class FakeConnection implements PooledConnection {
  error: Error | undefined
  /** Resolves when it has ended, however. */
  readonly closed: Promise<void>
  onPush: PooledConnection['onPush']
  /** How it ended. */
  ended: 'closed' | 'destroyed' | undefined
  /** Answers wait for {@link answer}. */
  isHeld = false
  /** close() does not come to an end, as with a peer that is silent. */
  isStuck = false
  /** Answers that are not the usual ones. */
  readonly answers = new Map<string, Answer | Error>()
  readonly commands: string[][] = []
  readonly options: Options[] = []
  /** What the server knows of the connection. */
  readonly server = {
    isMulti: false,
    isWatching: false,
    database: 0,
    channels: new Set<string>(),
    others: new Set<string>(),
  }
  readonly #events: FakeEvents
  readonly #pending: Pending[] = []
  #resolveClosed!: () => void

  constructor(events: FakeEvents = {}) {
    this.#events = events
    this.closed = new Promise((resolve) => {
      this.#resolveClosed = resolve
    })
  }

  get pendingCount(): number {
    return this.#pending.length
  }

  get names(): string[] {
    return this.commands.map(([name]) => String(name))
  }

  /** Whether the server sees a connection as it is after the dial. */
  get isPristine(): boolean {
    const { isMulti, isWatching, database, channels, others } = this.server
    return !isMulti && !isWatching && database === 0 && channels.size === 0 && others.size === 0
  }

  call(name: string, ...args: Command[number][]): Promise<Answer> {
    return this.execute([name, ...args])
  }

  execute(command: Command, options?: Options): Promise<Answer> {
    if (this.error !== undefined) return Promise.reject(this.error)
    if (command.length === 0) throw new TypeError('an empty command')
    const words = command.map(String)
    this.commands.push(words)
    this.options.push(options)
    this.#events.onCommand?.(String(words[0]))
    return new Promise((resolve, reject) => {
      const settle = (answer: Answer | Error): void =>
        answer instanceof Error ? reject(answer) : resolve(answer)
      this.#pending.push({ command: words, settle })
      const signal = options?.signal
      signal?.addEventListener('abort', () => reject(new AbortError(signal)), { once: true })
      queueMicrotask(() => {
        if (!this.isHeld) this.answer()
      })
    })
  }

  /** Answers what is pending, in order. */
  answer(count = Number.POSITIVE_INFINITY): void {
    for (let i = 0; i < count; i++) {
      const pending = this.#pending.shift()
      if (pending === undefined) return
      pending.settle(this.answers.get(String(pending.command[0])) ?? this.#serve(pending.command))
    }
  }

  async close(): Promise<void> {
    this.#end('closed', new Error('closed'))
    if (this.isStuck) await new Promise(() => undefined)
  }

  destroy(error: Error = new Error('destroyed')): void {
    this.#end('destroyed', error)
  }

  /** The peer goes away. */
  break(error: Error = new Error('broken')): void {
    this.error ??= error
    this.#failPending(error)
    this.#resolveClosed()
  }

  #end(how: 'closed' | 'destroyed', error: Error): void {
    if (this.ended !== undefined) return
    this.ended = how
    this.error ??= error
    this.#events.onEnd?.(this)
    this.#failPending(error)
    this.#resolveClosed()
  }

  #failPending(error: Error): void {
    for (const { settle } of this.#pending.splice(0)) settle(error)
  }

  #serve([name = '', ...args]: readonly string[]): Answer | Error {
    const { server } = this
    const isControl = ['MULTI', 'EXEC', 'DISCARD', 'WATCH'].includes(name)
    if (server.isMulti && !isControl) return 'QUEUED'
    switch (name) {
      case 'MULTI':
        if (server.isMulti || args.length > 0) return new ReplyError('ERR wrong MULTI')
        server.isMulti = true
        return 'OK'
      case 'EXEC':
      case 'DISCARD':
        if (!server.isMulti) return new ReplyError(`ERR ${name} without MULTI`)
        server.isMulti = false
        server.isWatching = false
        return name === 'EXEC' ? [] : 'OK'
      case 'WATCH':
        if (server.isMulti) return new ReplyError('ERR WATCH inside MULTI is not allowed')
        server.isWatching = true
        return 'OK'
      case 'UNWATCH':
        server.isWatching = false
        return 'OK'
      case 'SELECT':
        server.database = Number(args[0])
        return 'OK'
      case 'MONITOR':
        server.others.add(name)
        return 'OK'
      case 'SUBSCRIBE':
      case 'PSUBSCRIBE':
      case 'SSUBSCRIBE':
        for (const channel of args) server.channels.add(`${name} ${channel}`)
        return args.map((channel) => [name.toLowerCase(), channel, 1])
      case 'UNSUBSCRIBE':
      case 'PUNSUBSCRIBE':
      case 'SUNSUBSCRIBE':
        for (const entry of server.channels) {
          if (entry.startsWith(`${name.replace('UN', '')} `)) server.channels.delete(entry)
        }
        return [[name.toLowerCase(), null, 0]]
      case 'ECHO':
        return args[0] ?? null
      case 'PING':
        return 'PONG'
      case 'BLPOP':
        return null
      default:
        return 'OK'
    }
  }
}
