// One call of subscribe() or subscription(): which channels, who is told, how far it is. What it knows of the server
// it knows from its subscriber, which calls `begin()`, `confirm()`, `lose()`, `take()` and, when it is refused, `end()`.
//
//   opening ──all confirmed──► active ──lose()──► recovering ──all confirmed──► gap told, active
//      └────────────────────────┴──── end() ───────────┴────────► closed
//
// Messages that come before the caller has its handle, or before it was told of a gap, wait; so the first message
// after a gap comes after the notice, and a listener may use the handle. What a listener throws stops nobody.

import { performance } from 'node:perf_hooks'
import { watchAbort } from '../connection/index.ts'
import { AbortError, PoolError, TimeoutError } from '../errors.ts'
import type { Gap, ResolvedSubscriptionOptions } from './subscription-options.ts'
import { MessageQueue } from './subscription-queue.ts'

/** The three kinds, named by the command that begins one. */
export type Kind = 'subscribe' | 'psubscribe' | 'ssubscribe'

/** How a subscription is held in the hand. */
export interface Subscription {
  /** The channels or patterns, each once. */
  readonly channels: readonly string[]
  /** `'recovering'`: the connection was lost, and messages are missed until it is `'active'` again. */
  readonly state: 'opening' | 'active' | 'recovering' | 'closed'
  /** Why it was closed, where that was not asked for: the server does not allow it any more, the client was destroyed. */
  readonly error: Error | undefined
  /** Resolves, never rejects, when it is closed, and the server has confirmed that or is gone. */
  readonly closed: Promise<void>
  /**
   * Ends it: from now on nobody is told of anything. The server is told when no other subscription wants the channel.
   * Resolves with `closed`, never rejects; may be called again.
   */
  close(): Promise<void>
  [Symbol.asyncDispose](): Promise<void>
}

/** Who is told. */
export interface Receiver {
  /** What it throws, or what a promise it returns rejects with, goes to `onError`. */
  readonly onMessage: (message: string | Buffer, channel: string, pattern: string | undefined) => unknown
  /** As {@link onMessage}. */
  readonly onGap: ((gap: Gap) => void) | undefined
  readonly onError: ((error: unknown) => void) | undefined
  /** Told once, when it is closed. Must not throw. */
  readonly onEnd?: ((error: Error | undefined) => void) | undefined
}

/** What is known of a lost connection. */
export interface Loss {
  readonly reason: Error
  readonly from: string
  /** Instant of `performance.now()` at which its peer was last heard. */
  readonly heardAt: number
}

export class Subscribed implements Subscription {
  readonly kind: Kind
  readonly channels: readonly string[]
  /** Resolves when the server has confirmed all channels; rejects when it ends before. */
  readonly opened: Promise<void>
  readonly closed: Promise<void>
  error: Error | undefined
  readonly #receiver: Receiver
  /** Takes it out; resolves when the server knows. */
  readonly #leave: (subscription: Subscribed) => Promise<void>
  #state: Subscription['state'] = 'opening'
  /** Channels that the server has not confirmed on its present connection. */
  #unconfirmed = 0
  /** What came too early to be told; `undefined` when it is told at once. */
  #early: MessageQueue | undefined
  readonly #limit: number
  readonly #limitBytes: number
  #loss: Loss | undefined
  #hasWarned = false
  #resolveOpened!: () => void
  #rejectOpened!: (error: Error) => void
  #resolveClosed!: () => void

  /** @internal */
  constructor(
    kind: Kind,
    channels: readonly string[],
    receiver: Receiver,
    { limit, limitBytes }: Pick<ResolvedSubscriptionOptions, 'limit' | 'limitBytes'>,
    leave: (subscription: Subscribed) => Promise<void>,
  ) {
    this.kind = kind
    this.channels = channels
    this.#receiver = receiver
    this.#limit = limit
    this.#limitBytes = limitBytes
    this.#early = new MessageQueue(limit, limitBytes)
    this.#leave = leave
    this.opened = new Promise((resolve, reject) => {
      this.#resolveOpened = resolve
      this.#rejectOpened = reject
    })
    this.opened.catch(() => undefined) // whoever waits for it is told; perhaps nobody does
    this.closed = new Promise((resolve) => {
      this.#resolveClosed = resolve
    })
  }

  get state(): Subscription['state'] {
    return this.#state
  }

  /** Waits for the confirmation, no longer than that; it is ended when that comes to nothing. */
  async untilOpened(
    { timeout, signal }: Pick<ResolvedSubscriptionOptions, 'timeout' | 'signal'>,
    why: () => Error | undefined,
  ): Promise<void> {
    const giveUp = () => {
      const cause = why()
      const message = `not subscribed within ${timeout} ms${cause === undefined ? '' : `: ${cause.message}`}`
      this.end(new TimeoutError(message, cause === undefined ? { timeout } : { timeout, cause }))
    }
    // ref: somebody waits for the answer, which may be that there is none
    const timer = timeout === 0 ? undefined : setTimeout(giveUp, timeout)
    const abort = () => this.end(new AbortError(signal as AbortSignal))
    const unwatch = signal === undefined ? undefined : watchAbort(signal, abort)
    if (signal?.aborted) abort()
    try {
      await this.opened
    } finally {
      clearTimeout(timer)
      unwatch?.()
    }
  }

  /** For the subscriber: so many of its channels are not confirmed yet. */
  begin(unconfirmed: number): void {
    this.#unconfirmed = unconfirmed
    if (unconfirmed === 0) this.#open()
  }

  /** For the subscriber: one of its channels is confirmed, by the server there. */
  confirm(to: string): void {
    this.#unconfirmed -= 1
    if (this.#unconfirmed > 0) return
    if (this.#state === 'opening') this.#open()
    else if (this.#state === 'recovering') this.#recover(to)
  }

  /** For the subscriber: a channel that was confirmed is so no more. */
  lose(loss: Loss): void {
    this.#unconfirmed += 1
    if (this.#state !== 'active') return
    this.#state = 'recovering'
    this.#loss = loss
    this.#early ??= new MessageQueue(this.#limit, this.#limitBytes)
  }

  /** For the subscriber: a message of one of its channels. */
  take(message: string | Buffer, channel: string, pattern: string | undefined): void {
    if (this.#early === undefined) {
      if (this.#state !== 'closed') this.#tell(message, channel, pattern)
      return
    }
    // of a flood, the last are kept: what is missing is missing before the notice
    while (!this.#early.hasRoomFor(message)) this.#early.drop()
    this.#early.push({ message, channel, pattern })
  }

  close(): Promise<void> {
    this.end(undefined)
    return this.closed
  }

  /** The one place where it ends; only the first reason counts. */
  end(error: Error | undefined): void {
    if (this.#state === 'closed') return
    const wasOpening = this.#state === 'opening'
    this.#state = 'closed'
    this.error = error
    this.#early = undefined
    if (wasOpening) this.#rejectOpened(error ?? closedEarly())
    this.#receiver.onEnd?.(error)
    void this.#leave(this).then(this.#resolveClosed)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  #open(): void {
    this.#state = 'active'
    this.#resolveOpened()
    // behind the microtasks in which the caller gets its handle, before anything else is read from the socket
    process.nextTick(() => {
      if (this.#state === 'active') this.#flush()
    })
  }

  #recover(to: string): void {
    const { reason, from, heardAt } = this.#loss as Loss
    const { onGap } = this.#receiver
    const downtime = Math.round(performance.now() - heardAt)
    const gap: Gap = Object.freeze({ reason, from, to, channels: this.channels.length, downtime })
    this.#state = 'active'
    this.#loss = undefined
    this.#attempt(() => onGap?.(gap))
    this.#flush()
  }

  #flush(): void {
    const early = this.#early
    this.#early = undefined
    for (let it = early?.shift(); it !== undefined; it = early?.shift()) {
      if (this.#state === 'closed') return // by the listener itself
      this.#tell(it.message, it.channel, it.pattern)
    }
  }

  #tell(message: string | Buffer, channel: string, pattern: string | undefined): void {
    try {
      const result = this.#receiver.onMessage(message, channel, pattern)
      if (result !== undefined) this.#follow(result)
    } catch (error) {
      this.#report(error)
    }
  }

  #attempt(call: () => unknown): void {
    try {
      this.#follow(call())
    } catch (error) {
      this.#report(error)
    }
  }

  /** A listener may be an async function. */
  #follow(result: unknown): void {
    if (result instanceof Promise) result.catch((error: unknown) => this.#report(error))
  }

  /** The listener's fault harms nobody else, and crashes nothing unless `onError` throws. */
  #report(error: unknown): void {
    const { onError } = this.#receiver
    if (onError === undefined) this.#warn(error)
    else {
      try {
        onError(error)
      } catch (thrown) {
        process.nextTick(() => {
          throw thrown
        })
      }
    }
  }

  #warn(error: unknown): void {
    if (this.#hasWarned) return // a listener that fails for one message fails for many
    this.#hasWarned = true
    const detail = error instanceof Error ? (error.stack ?? error.message) : String(error)
    process.emitWarning('the listener of a subscription threw; further errors of it are not told', {
      type: 'RespoolWarning',
      code: 'LISTENER_ERROR',
      detail,
    })
  }
}

function closedEarly(): PoolError {
  return new PoolError('CLIENT_CLOSED', 'the subscription was closed before the server had confirmed it')
}
