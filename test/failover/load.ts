// A steady load on one client, and a record of each command. Commands are sent when they are due, whatever became of
// those before: a client that hangs gets no less to do. At high rates a tick sends a batch; what is due after a pause
// of the process itself is not made up for beyond a bound, so that a stall does not end in a burst.

import { performance } from 'node:perf_hooks'
import type { Client } from '../../lib/client/index.ts'
import { ReplyError, RespoolError } from '../../lib/errors.ts'
import {
  COUNTER,
  type CommandLog,
  type ErrorCount,
  type Fate,
  kindOf,
  type Progress,
  REGISTER,
  uniqueKey,
  wallNow,
} from './protocol.ts'

const TICK_MS = 5
/** What is made up for after a pause, as time. */
const CATCH_UP_MS = 50

export class Load {
  readonly writes: CommandLog = emptyLog()
  readonly reads: CommandLog = emptyLog()
  readonly #client: Client
  readonly #perMs: number
  readonly #errors = new Map<string, { -readonly [K in keyof ErrorCount]: ErrorCount[K] }>()
  readonly #timer: NodeJS.Timeout
  #acknowledged = 0
  #failed = 0
  #open = 0
  /** Instant of `performance.now()` up to which all that was due has been sent. */
  #sentUntil = performance.now()
  #longestStallMs = 0
  #lastTick = performance.now()

  constructor(client: Client, rate: number) {
    this.#client = client
    this.#perMs = rate / 1000
    this.#timer = setInterval(() => this.#tick(), TICK_MS)
  }

  get progress(): Progress {
    return { at: wallNow(), acknowledged: this.#acknowledged, failed: this.#failed }
  }

  get errors(): readonly ErrorCount[] {
    return [...this.#errors.values()]
  }

  /** By how much the event loop was late at worst. */
  get longestStallMs(): number {
    return this.#longestStallMs
  }

  /** How many commands have not settled. */
  get open(): number {
    return this.#open
  }

  stop(): void {
    clearInterval(this.#timer)
  }

  /** Takes note of an error that belongs to none of the logs. */
  note(what: ErrorCount['what'], error: unknown): void {
    const code =
      error instanceof RespoolError ? codeOf(error) : String((error as Error)?.name ?? typeof error)
    const known = this.#errors.get(`${what} ${code}`)
    if (known !== undefined) known.count += 1
    else {
      const message = error instanceof Error ? error.message : String(error)
      this.#errors.set(`${what} ${code}`, { what, code, message, firstAt: wallNow(), count: 1 })
    }
  }

  #tick(): void {
    const now = performance.now()
    this.#longestStallMs = Math.max(this.#longestStallMs, now - this.#lastTick - TICK_MS)
    this.#lastTick = now
    this.#sentUntil = Math.max(this.#sentUntil, now - CATCH_UP_MS)
    const due = Math.floor((now - this.#sentUntil) * this.#perMs)
    this.#sentUntil += due / this.#perMs
    for (let i = 0; i < due; i++) {
      this.#write()
      this.#read()
    }
  }

  #write(): void {
    const number = this.writes.sentAt.length
    const kind = kindOf(number)
    const key = uniqueKey(number)
    const command = () => {
      switch (kind) {
        case 'set':
          return this.#client.call('SET', key, number)
        case 'register':
          return this.#client.call('SET', REGISTER, number)
        case 'counter':
          return this.#client.call('INCR', COUNTER)
        case 'once':
          return this.#client.call('INCR', key)
      }
    }
    this.#follow('write', this.writes, command(), (reply) => (typeof reply === 'number' ? reply : 0))
  }

  #read(): void {
    this.#follow('read', this.reads, this.#client.call('GET', REGISTER), (reply) =>
      reply === null ? -1 : Number(reply),
    )
  }

  #follow(
    what: 'write' | 'read',
    log: CommandLog,
    promise: Promise<unknown>,
    digest: (reply: unknown) => number,
  ): void {
    const number = log.sentAt.length
    log.sentAt.push(wallNow())
    log.settledAt.push(0)
    log.fate.push('open')
    log.reply.push(0)
    this.#open += 1
    const settle = (fate: Fate) => {
      log.settledAt[number] = wallNow()
      log.fate[number] = fate
      this.#open -= 1
    }
    promise.then(
      (reply) => {
        settle('ok')
        log.reply[number] = digest(reply)
        if (what === 'write') this.#acknowledged += 1
      },
      (error: unknown) => {
        settle(fateOf(error))
        if (what === 'write') this.#failed += 1
        this.note(what, error)
      },
    )
  }
}

function emptyLog(): CommandLog {
  return { sentAt: [], settledAt: [], fate: [], reply: [] }
}

function fateOf(error: unknown): Fate {
  if (!(error instanceof RespoolError)) return 'strange'
  if (error.mayHaveExecuted) return 'unknown'
  return error instanceof ReplyError ? 'refused' : 'not-sent'
}

function codeOf(error: RespoolError): string {
  return error instanceof ReplyError ? error.prefix : error.code
}
