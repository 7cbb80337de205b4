// What is to be written next, in order. Commands of one tick are collected in the encoder's slab and leave in
// one write. A command that may still be taken back (it has a signal, or the socket is not accepting) keeps
// bytes of its own until it leaves:
//
//   #parts  [ slab bytes ][ own bytes ► command ][ own bytes ► command ]   + what the encoder holds

import { type Argument, Encoder, encodeCommands } from '../resp/index.ts'
import type { Pending } from './pending.ts'

interface Part {
  readonly bytes: Buffer
  readonly pending: Pending | undefined
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

  /** The same for several: all are added, or none. */
  addAll(commands: readonly (readonly Argument[])[]): void {
    this.#encoder.appendAll(commands)
  }

  /** The same for what may be taken back: it leaves only if it is not settled by then. */
  addRevocable(commands: readonly (readonly Argument[])[], pending: Pending): void {
    const bytes = encodeCommands(commands)
    this.#seal()
    this.#put(bytes, pending)
  }

  /** All that is to be written now; commands settled in the meantime are left out and marked as dropped. */
  take(): Buffer[] {
    if (this.#parts.length === 0) return this.#encoder.take()
    this.#seal()
    const left: Buffer[] = []
    for (const { bytes, pending } of this.#parts) {
      if (pending === undefined || !pending.isSettled) left.push(bytes)
      else pending.isDropped = true
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

  #put(bytes: Buffer, pending: Pending | undefined): void {
    this.#parts.push({ bytes, pending })
    this.#partsBytes += bytes.length
  }
}
