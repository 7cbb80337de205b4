// What is to be written next, in order. Commands of one tick are collected in the encoder's slab and leave in
// one write. A command that may still be taken back (it has a signal, or the socket is not accepting) keeps
// bytes of its own until it leaves:
//
//   #parts  [ slab bytes ][ own bytes ► command ][ own bytes ► command ]   + what the encoder holds

import { type Argument, Encoder, encodeCommand } from '../resp/index.ts'
import type { PendingCommand } from './pending.ts'

interface Part {
  readonly bytes: Buffer
  readonly command: PendingCommand | undefined
}

export class Outbox {
  readonly #encoder = new Encoder()
  #parts: Part[] = []
  #partsBytes = 0

  /** Bytes that wait. */
  get byteLength(): number {
    return this.#partsBytes + this.#encoder.byteLength
  }

  /** @throws {TypeError} an argument that is none; nothing was added then */
  add(command: readonly Argument[]): void {
    this.#encoder.append(command)
  }

  /** The same for a command that may be taken back: it leaves only if it is not settled by then. */
  addRevocable(command: readonly Argument[], pending: PendingCommand): void {
    const bytes = encodeCommand(command)
    this.#seal()
    this.#put(bytes, pending)
  }

  /** All that is to be written now; commands settled in the meantime are left out and marked as dropped. */
  take(): Buffer[] {
    if (this.#parts.length === 0) return this.#encoder.take()
    this.#seal()
    const left: Buffer[] = []
    for (const { bytes, command } of this.#parts) {
      if (command === undefined || !command.isSettled) left.push(bytes)
      else command.isDropped = true
    }
    this.#parts = []
    this.#partsBytes = 0
    return left
  }

  /** Gives memory back; see {@link Encoder.release}. */
  release(isWritten: boolean): void {
    this.#encoder.release(isWritten)
  }

  #seal(): void {
    for (const bytes of this.#encoder.take()) this.#put(bytes, undefined)
  }

  #put(bytes: Buffer, command: PendingCommand | undefined): void {
    this.#parts.push({ bytes, command })
    this.#partsBytes += bytes.length
  }
}
