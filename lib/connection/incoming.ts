// What the peer says, and whose it is. Replies belong to the commands of the queue, in order; the confirmations of a
// (un)subscription, which come in the place of a reply, to the command that waits for them; all else, messages and
// the lines of MONITOR, to the connection's owner.
//
//   piece ──► Decoder ──► reply ──► first of the queue
//                    └──► push ───► confirmation of the first, or onPush

import { performance } from 'node:perf_hooks'
import { type ConnectionEffect, StateBit } from '../commands/index.ts'
import { ProtocolError, ReplyError } from '../errors.ts'
import { Decoder, type Reply } from '../resp/index.ts'
import type { Pending, Special } from './pending.ts'
import type { PendingQueue } from './pending-queue.ts'
import { Subscriptions } from './subscriptions.ts'

const MONITOR_LINE = /^\d+\.\d+ \[/

export class Incoming {
  /** Version of RESP that is spoken. */
  protocol: 2 | 3 = 2
  onPush: ((push: readonly Reply[]) => void) | undefined
  /** Told of each error reply. */
  onError: ((error: Error) => void) | undefined
  /** Instant of `performance.now()` of the last piece. */
  heardAt = performance.now()
  /** Pieces received. */
  heard = 0
  /** Instant of the last piece that completed a reply. */
  answeredAt = 0
  #isAnswer = false
  readonly #pending: PendingQueue
  readonly #decoder = new Decoder()
  readonly #subscriptions = new Subscriptions()
  /** Whether MONITOR was answered: its lines, which look like replies, come after. */
  #isMonitoring = false
  #isStopped = false

  constructor(pending: PendingQueue, onPush: ((push: readonly Reply[]) => void) | undefined) {
    this.#pending = pending
    this.onPush = onPush
  }

  /**
   * Takes a piece of what the socket read; the bytes are lent for the time of the call.
   *
   * @throws {ProtocolError} `PROTOCOL_ERROR`, `PROTOCOL_LIMIT`: the peer cannot be understood any more
   */
  receive(bytes: Buffer, length: number): void {
    this.heardAt = performance.now()
    this.heard += 1
    const decoder = this.#decoder
    decoder.feed(bytes, length)
    while (!this.#isStopped) {
      const first = this.#pending.first()
      const value =
        first === undefined ? decoder.next(decoder.pushesAsBytes) : decoder.next(first.asBytes, first.isFlat)
      if (value === undefined) break
      if (decoder.isPush) this.#takePush(value as Reply[], first)
      else this.#takeReply(value, first)
    }
    if (this.#isAnswer) this.answeredAt = this.heardAt
    this.#isAnswer = false
  }

  /** Bulk strings of pushes as bytes; in RESP2 a command in flight decides for those that come meanwhile. */
  get pushesAsBytes(): boolean {
    return this.#decoder.pushesAsBytes
  }

  set pushesAsBytes(value: boolean) {
    this.#decoder.pushesAsBytes = value
  }

  /** Nothing is taken any more, not even the rest of the piece that is being taken. */
  stop(): void {
    this.#isStopped = true
  }

  #takeReply(value: Reply, first: Pending | undefined): void {
    if (this.protocol === 2 && this.#subscriptions.isFrame(value, first?.special?.confirmations)) {
      this.#takePush(value, first)
      return
    }
    if (this.#isMonitoring && typeof value === 'string' && MONITOR_LINE.test(value)) {
      this.#notify(['monitor', value])
      return
    }
    if (first === undefined) throw new ProtocolError('PROTOCOL_ERROR', 'a reply that no command asked for')
    this.#shift()
    if (value instanceof ReplyError) this.onError?.(value)
    const { special } = first
    if (special !== undefined && !first.isSettled) this.#takeAttributes(special)
    if (special?.effect !== undefined && !(value instanceof ReplyError))
      this.#takeEffect(special.effect, value)
    if (special?.isDecisive === true && value !== 'OK') this.#doubt(first, value)
    else first.take(value)
  }

  /** Nothing behind is given out: the command's caller ends the connection. */
  #doubt(first: Pending, value: Reply): void {
    this.#isStopped = true
    const isRefusal = value instanceof ReplyError
    first.fail(
      isRefusal ? value : new ProtocolError('PROTOCOL_ERROR', 'the reply of another command in its place'),
    )
  }

  #takeAttributes({ onAttributes }: Special): void {
    const { attributes } = this.#decoder
    if (onAttributes === undefined || attributes.length === 0) return
    try {
      onAttributes(attributes)
    } catch (error) {
      report(error)
    }
  }

  /** MONITOR brings lines beside the replies, HELLO changes how the peer speaks, RESET ends all it was told of. */
  #takeEffect(effect: ConnectionEffect, reply: Reply): void {
    if ((effect.clears & StateBit.monitor) !== 0) {
      this.protocol = 2
      this.#isMonitoring = false
      this.#subscriptions.clear()
    } else if ((effect.sets & StateBit.monitor) !== 0) {
      this.#isMonitoring = true
    } else if ((effect.sets & StateBit.protocol) !== 0) {
      if (reply instanceof Map) this.protocol = 3
      else if (Array.isArray(reply)) this.protocol = 2
    }
  }

  #takePush(push: Reply[], first: Pending | undefined): void {
    const confirmations = first?.special?.confirmations
    const found = this.#subscriptions.take(push, confirmations)
    if (found === 'other') {
      this.#notify(push)
    } else if (found === 'done') {
      this.#shift()
      first?.take(confirmations?.got ?? [])
    }
  }

  #notify(push: Reply[]): void {
    try {
      this.onPush?.(push)
    } catch (error) {
      report(error)
    }
  }

  #shift(): void {
    // a reply to what was not written yet: the peer lies, and the command has to fail like the others
    if (this.#pending.written === 0) {
      throw new ProtocolError('PROTOCOL_ERROR', 'a reply to a command that was not sent yet')
    }
    this.#pending.shift()
    this.#isAnswer = true
  }
}

/** A listener of the user's threw: its own fault, reported as for any event, and the replies behind go on. */
function report(error: unknown): void {
  process.nextTick(() => {
    throw error
  })
}
