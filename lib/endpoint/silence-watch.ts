// Watches a shared connection for silence while it owes replies, and finds out what it means.
//
//   calm ──no byte for suspectAfter──► suspect ──a byte──► calm
//                                        │ ▲
//                                  probe │ │ no answer; or the server knows why the old one waits: asked again
//                                        ▼ │
//                                      replaced: a new connection is served and the old one is not
//
// While it is suspect, nothing more is written to it: what is given meanwhile waits, unsent and so free to go
// elsewhere, instead of ending as "may have run". The probe is a whole new connection, its role verified as for any,
// and takes the place of the old one when that is proven dead. A probe without an answer proves nothing: the server is
// busy or hung, and is waited for. So is one that tells that it holds the old connection back itself, as during
// CLIENT PAUSE, or while a master that shuts down waits for its replicas.

import { setImmediate as afterReading } from 'node:timers/promises'
import type { Connection } from '../connection/index.ts'
import { ReplyError } from '../errors.ts'
import { refusalOf } from './outcome.ts'

/** A round trip takes less by two orders; at 200 writes a second it leaves 50 of them in doubt. */
export const DEFAULT_SUSPECT_AFTER = 250
/** How late silence is noticed, at worst. */
const TICK_MS = 25
/** Between two questions of one probe, and between two probes. */
const ASK_AGAIN_MS = 50
/** The answer of the old connection, sent before that of the probe, may be read after it. */
const GRACE_MS = 10

/** What the watch needs of its owner. */
export interface SilenceEvents {
  /** Makes a new connection to the same server, verified; must not retry. */
  readonly dial: (signal: AbortSignal) => Promise<Connection>
  /** Nothing is to be written from now on. */
  readonly onSuspect: () => void
  /** The connection has been heard. */
  readonly onCalm: () => void
  /** It is dead, and here is another one. The receiver destroys the one and owns the other. */
  readonly onReplaced: (dead: Connection, fresh: Connection) => void
}

export class SilenceWatch {
  /** Milliseconds of silence; 0 = never. */
  readonly #suspectAfterMs: number
  readonly #events: SilenceEvents
  #connection: Connection | undefined
  #timer: NodeJS.Timeout | undefined
  /** Set while the connection is suspect; ends the probe. */
  #suspicion: AbortController | undefined

  constructor(suspectAfterMs: number, events: SilenceEvents) {
    this.#suspectAfterMs = suspectAfterMs
    this.#events = events
  }

  get isSuspect(): boolean {
    return this.#suspicion !== undefined
  }

  /** Goes on with this connection; the one before is nobody's concern any more. */
  follow(connection: Connection): void {
    this.stop()
    this.#connection = connection
  }

  /** A command is given to the connection. Called for each: a comparison, as a rule. */
  wake(): void {
    if (this.#timer === undefined && this.#suspectAfterMs !== 0) this.#start()
  }

  stop(): void {
    this.#connection = undefined
    clearInterval(this.#timer)
    this.#timer = undefined
    this.#suspicion?.abort()
    this.#suspicion = undefined
  }

  #start(): void {
    // the socket keeps the process alive; it is looked at again as long as something is owed
    this.#timer = setInterval(() => this.#look(), TICK_MS).unref()
  }

  #look(): void {
    const connection = this.#connection
    if (connection?.error !== undefined) return // its owner is about to replace it
    if (connection === undefined || connection.pendingCount === 0) {
      clearInterval(this.#timer)
      this.#timer = undefined
      if (this.isSuspect) this.#calm()
    } else if (this.isSuspect !== this.#isSilent(connection)) {
      // it may be our own loop that was busy: what has come meanwhile is read first
      void afterReading().then(() => {
        if (this.#connection === connection) this.#judge(connection)
      })
    }
  }

  #judge(connection: Connection): void {
    if (this.isSuspect && !this.#isSilent(connection)) this.#calm()
    else if (!this.isSuspect && this.#isSilent(connection)) this.#suspect(connection)
  }

  #isSilent(connection: Connection): boolean {
    return connection.silence >= this.#suspectAfterMs
  }

  #calm(): void {
    this.#suspicion?.abort()
    this.#suspicion = undefined
    this.#events.onCalm()
  }

  #suspect(connection: Connection): void {
    const suspicion = new AbortController()
    this.#suspicion = suspicion
    this.#events.onSuspect()
    // told to dial and to stop by its owner: whatever a single probe fails of is no news
    void this.#probe(connection, suspicion.signal)
  }

  /** Probes until the suspicion ends. Never rejects. */
  async #probe(connection: Connection, signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const fresh = await this.#events.dial(signal).catch(() => undefined)
      if (fresh !== undefined) {
        await this.#compare(connection, fresh, signal)
        if (!signal.aborted) this.#replace(connection, fresh)
        else fresh.destroy()
      }
      if (!signal.aborted) await pause(ASK_AGAIN_MS, signal)
    }
  }

  /** Returns when the old connection is dead, or nobody wants to know any more. */
  async #compare(connection: Connection, fresh: Connection, signal: AbortSignal): Promise<void> {
    await pause(GRACE_MS, signal)
    while (!signal.aborted && fresh.error === undefined && (await isHeldBack(connection, fresh, signal))) {
      await pause(ASK_AGAIN_MS, signal)
    }
    await afterReading()
    if (!signal.aborted) this.#judge(connection)
  }

  #replace(connection: Connection, fresh: Connection): void {
    if (fresh.error !== undefined) return
    this.stop()
    this.#events.onReplaced(connection, fresh)
  }
}

/**
 * Whether the server itself holds the connection's commands back: its line of CLIENT LIST has the flag `b`. One that
 * the server does not know any more, or from which it has nothing to answer, is not. In RESP2 the number of the old
 * connection is not known, and a handshake without a question was no answer: there PING has to be answered.
 */
async function isHeldBack({ id }: Connection, fresh: Connection, signal: AbortSignal): Promise<boolean> {
  try {
    if (id === undefined) {
      await fresh.execute(['PING'], { signal })
      return false
    }
    const line = await fresh.execute(['CLIENT', 'LIST', 'ID', id], { signal })
    return /\bflags=\w*b/.test(String(line))
  } catch (error) {
    // Redis before 6.2 has no CLIENT LIST ID, and an ACL may forbid it: then that it answers is the proof
    return refusalOf(error) === 'not-ready' || (!(error instanceof ReplyError) && fresh.error === undefined)
  }
}

/** Rests; less when there is no need any more. */
function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve()
    const end = () => {
      clearTimeout(timer)
      signal.removeEventListener('abort', end)
      resolve()
    }
    const timer = setTimeout(end, ms).unref()
    signal.addEventListener('abort', end)
  })
}
