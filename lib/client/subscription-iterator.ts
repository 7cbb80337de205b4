// The messages of a subscription as an async iterator, with a bounded buffer between the server, which does not wait,
// and the consumer. It subscribes when it is first asked. Gaps are told by `onGap` at their place in the order: when
// the consumer has taken what came before, and asks for more.
//
//   unopened ──next(), ready()──► open ──close(), return(), signal, overflow, the end of the client──► ended
//
// Ended, it still gives what is buffered, then the error, if there is one, once; nothing more after return() and abort.

import { watchAbort } from '../connection/index.ts'
import { AbortError, PoolError } from '../errors.ts'
import type { Receiver, Subscribed, Subscription } from './subscription.ts'
import type { Gap, Replies, ResolvedSubscriptionOptions } from './subscription-options.ts'
import { type Message, MessageQueue } from './subscription-queue.ts'

/** What `subscription()` gives: for one consumer. `break` and `return` in a loop over it close the subscription. */
export interface SubscriptionIterator<R extends Replies = 'string'>
  extends AsyncIterableIterator<Message<R>, undefined, undefined> {
  /** Messages that were dropped because the buffer was full. */
  readonly dropped: number
  /** Messages that wait for the consumer. */
  readonly buffered: number
  /**
   * Subscribes, if iterating has not begun, and resolves when the server has confirmed: messages from then on are kept
   * for the consumer.
   *
   * @throws what `subscribe()` rejects with
   */
  ready(): Promise<void>
  next(): Promise<IteratorResult<Message<R>, undefined>>
  /** Closes the subscription; what is buffered is dropped. Resolves when the server has confirmed that or is gone. */
  return(): Promise<IteratorReturnResult<undefined>>
  /** Closes the subscription; what is buffered can still be taken. */
  close(): Promise<void>
  [Symbol.asyncIterator](): SubscriptionIterator<R>
  [Symbol.asyncDispose](): Promise<void>
}

type Result = IteratorResult<Message<Replies>, undefined>

interface Waiter {
  readonly resolve: (result: Result) => void
  readonly reject: (error: unknown) => void
}

/** Calls the server up. */
type Open = (receiver: Receiver) => {
  readonly subscription: Subscribed
  readonly opened: Promise<Subscription>
}

const DONE: IteratorReturnResult<undefined> = Object.freeze({ done: true, value: undefined })

export class MessageIterator implements AsyncIterableIterator<Message<Replies>, undefined, undefined> {
  readonly #options: ResolvedSubscriptionOptions
  readonly #open: Open
  readonly #queue: MessageQueue
  /** Calls of `next()` that nothing has come for yet; there is nothing in the queue then. */
  readonly #waiters: Waiter[] = []
  #subscription: Subscribed | undefined
  #opened: Promise<Subscription> | undefined
  #unwatch: (() => void) | undefined
  #dropped = 0
  #isEnded = false
  /** To be thrown once, behind what is buffered. */
  #error: Error | undefined

  /** @internal */
  constructor(options: ResolvedSubscriptionOptions, open: Open) {
    this.#options = options
    this.#open = open
    this.#queue = new MessageQueue(options.limit, options.limitBytes)
  }

  get dropped(): number {
    return this.#dropped
  }

  get buffered(): number {
    return this.#queue.length
  }

  async ready(): Promise<void> {
    if (this.#isEnded) throw this.#subscription?.error ?? this.#error ?? ended()
    this.#begin()
    await this.#opened
  }

  async next(): Promise<Result> {
    this.#begin()
    const gap = this.#queue.takeGap()
    if (gap !== undefined) this.#tellGap(gap)
    const message = this.#queue.shift()
    if (message !== undefined) return { done: false, value: message }
    const error = this.#takeError()
    if (error !== undefined) throw error
    if (this.#isEnded) return DONE
    return await new Promise((resolve, reject) => {
      this.#waiters.push({ resolve, reject })
    })
  }

  async return(): Promise<IteratorReturnResult<undefined>> {
    await this.close()
    this.#queue.clear()
    this.#error = undefined
    return DONE
  }

  async close(): Promise<void> {
    this.#end(undefined)
    await this.#subscription?.close()
  }

  [Symbol.asyncIterator](): this {
    return this
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.return()
  }

  #begin(): void {
    if (this.#isEnded || this.#subscription !== undefined) return
    const { signal } = this.#options
    if (signal !== undefined) this.#unwatch = watchAbort(signal, () => this.#abort(signal))
    const { subscription, opened } = this.#open({
      onMessage: (message, channel, pattern) => this.#take({ channel, message, pattern }),
      onGap: this.#options.onGap === undefined ? undefined : (gap) => this.#takeGap(gap),
      onError: undefined, // nothing of the user's is called there
      onEnd: (error) => this.#end(error),
    })
    this.#subscription = subscription
    this.#opened = opened
    opened.catch(() => undefined) // next() tells as well
  }

  #take(message: Message<Replies>): void {
    const waiter = this.#waiters.shift()
    if (waiter !== undefined) waiter.resolve({ done: false, value: message })
    else if (this.#queue.hasRoomFor(message.message)) this.#queue.push(message)
    else this.#overflow(message)
  }

  #overflow(message: Message<Replies>): void {
    const { overflow, limit, limitBytes } = this.#options
    if (overflow === 'drop-oldest') {
      for (; !this.#queue.hasRoomFor(message.message); this.#dropped += 1) this.#queue.drop()
      this.#queue.push(message)
      return
    }
    this.#dropped += 1
    if (overflow === 'drop-newest') return
    const waiting = `${this.#queue.length} messages of ${this.#queue.byteLength} bytes wait for their consumer`
    const limits = `the limits are ${limit} and ${limitBytes} bytes`
    this.#subscription?.end(new PoolError('QUEUE_FULL', `${waiting}; ${limits}`))
  }

  #takeGap(gap: Gap): void {
    if (this.#waiters.length > 0) this.#tellGap(gap)
    else this.#queue.pushGap(gap)
  }

  /** It is the consumer's turn, so what `onGap` throws is the consumer's: the iteration ends with it. */
  #tellGap(gap: Gap): void {
    try {
      this.#options.onGap?.(gap)
    } catch (error) {
      this.#queue.clear()
      this.#subscription?.end(error as Error)
    }
  }

  #abort(signal: AbortSignal): void {
    this.#queue.clear()
    this.#end(new AbortError(signal))
    this.#subscription?.end(new AbortError(signal))
  }

  #end(error: Error | undefined): void {
    if (this.#isEnded) return
    this.#isEnded = true
    this.#error = error
    this.#unwatch?.()
    for (const { resolve, reject } of this.#waiters.splice(0)) {
      const last = this.#takeError()
      if (last === undefined) resolve(DONE)
      else reject(last)
    }
  }

  #takeError(): Error | undefined {
    const error = this.#error
    this.#error = undefined
    return error
  }
}

function ended(): PoolError {
  return new PoolError('CLIENT_CLOSED', 'the subscription was closed')
}
