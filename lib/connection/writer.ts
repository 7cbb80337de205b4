// When what waits in the outbox is written: together at the end of the tick, or before; nothing while the socket does not
// take more. Of the commands it knows only how many are under way.
//
//   due() ──► end of the tick, or of the code that runs ──► flush() ──► socket ──drain──► flush()
//
// `performance` is imported here and where time is read most, for the global is a getter: with it a command of a lease
// took 3 % more of our own time.

import type { Socket } from 'node:net'
import { performance } from 'node:perf_hooks'
import type { Outbox } from './outbox.ts'
import type { PendingQueue } from './pending-queue.ts'

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

/** Given to `process.nextTick` with its argument, so that a flush costs no closure. */
const flush = (writer: Writer): void => writer.flush()

export class Writer {
  readonly #socket: Socket
  readonly #pending: PendingQueue
  readonly #outbox: Outbox
  readonly #flushSoon = (): void => this.flush()
  #isScheduled = false
  /** Batches in a row that were one command, with no other under way. */
  #loners = 0
  #isBlocked = false
  #isStopped = false
  /** Instant of `performance.now()` of the batch being collected, in whole milliseconds: kept without an allocation. */
  #batchAt = 0

  constructor(socket: Socket, pending: PendingQueue, outbox: Outbox) {
    this.#socket = socket
    this.#pending = pending
    this.#outbox = outbox
    socket.on('drain', () => {
      this.#isBlocked = false
      this.flush()
    })
  }

  /** Whether the socket has not taken all of the last write: nothing more is written until it has. */
  get isBlocked(): boolean {
    return this.#isBlocked
  }

  /** The instant at which the batch being collected began. */
  now(): number {
    if (this.#pending.unwritten === 0 || this.#isBlocked) this.#batchAt = Math.ceil(performance.now())
    return this.#batchAt
  }

  /** A command was added to the outbox and the queue, and is to be written. */
  due(): void {
    const { unwritten } = this.#pending
    if (unwritten >= EARLY_FLUSH && unwritten * 4 >= this.#pending.length) this.flush()
    else this.#schedule()
  }

  /** Writes all that waits, in one write where it fits a slab. */
  flush(): void {
    this.#isScheduled = false
    if (this.#isStopped || this.#isBlocked || this.#pending.unwritten === 0) return
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

  /** Nothing is written any more. */
  stop(): void {
    this.#isStopped = true
  }

  #schedule(): void {
    if (this.#isScheduled) return
    this.#isScheduled = true
    if (this.#loners < LONERS) process.nextTick(flush, this)
    else void soon.then(this.#flushSoon)
  }
}
