// Commands → bytes. Commands are collected into slabs, so that all commands of a tick leave in one write,
// and so that an idle connection holds no memory: slabs come from a process-wide stock and go back to it.
//
//   slab [ given away | #start ▼  commands of this batch  #at | room ]
//
// Invariant: a command is in the batch whole or not at all; arguments are copied before `append()` returns.

import { types } from 'node:util'
import { type Argument, Byte } from './types.ts'

const SLAB_BYTES = 64 * 1024
/** Slabs kept for the next batch of any connection. */
const MAX_SPARE_SLABS = 8
/** Strings up to this length are copied by a JavaScript loop while they are ASCII: a call into C++ costs more. */
const LOOP_CHARS = 32
/** Longest header: type byte, 20 digits, CRLF. */
const HEADER_BYTES = 23

/** How many bytes there are, whatever a subclass of the caller's says. */
const byteLengthOf = Object.getOwnPropertyDescriptor(
  Object.getPrototypeOf(Uint8Array.prototype),
  'byteLength',
)?.get as () => number

const spareSlabs: Buffer[] = []

export class Encoder {
  #slab: Buffer | undefined
  #start = 0
  #at = 0
  /** Parts of the batch that filled their slab. */
  #full: Buffer[] = []
  #fullBytes = 0
  /** Where what is being added began; three fields, for an object would cost more than the commonest argument. */
  #markedSlab: Buffer | undefined
  #markedAt = 0
  #markedFull = 0

  /** Bytes of the batch. */
  get byteLength(): number {
    return this.#fullBytes + this.#at - this.#start
  }

  /**
   * Adds a command to the batch: `*` count CRLF, then each argument as a bulk string.
   *
   * @throws {TypeError} an argument that is none, {RangeError} one too large for memory; nothing was added then
   */
  append(command: readonly Argument[]): void {
    this.#mark()
    try {
      this.#command(command)
    } catch (error) {
      this.#resetToMark()
      throw error
    }
  }

  /** The same for several commands: all are added, or none. */
  appendAll(commands: readonly (readonly Argument[])[]): void {
    this.#mark()
    try {
      for (const command of commands) this.#command(command)
    } catch (error) {
      this.#resetToMark()
      throw error
    }
  }

  /** Ends the batch and hands its bytes over, in order. */
  take(): Buffer[] {
    const parts = this.#full
    if (this.#at > this.#start && this.#slab !== undefined) {
      parts.push(this.#slab.subarray(this.#start, this.#at))
      this.#start = this.#at
    }
    this.#full = []
    this.#fullBytes = 0
    return parts
  }

  /**
   * Gives the slab back when no batch is open.
   *
   * @param isWritten the bytes taken so far have left the process, so that the memory can be used again
   */
  release(isWritten: boolean): void {
    if (this.#at > this.#start) return
    const slab = this.#slab
    this.#slab = undefined
    this.#start = this.#at = 0
    // a slab made for one large argument is not kept: it would hold its memory for good
    if (isWritten && slab?.length === SLAB_BYTES && spareSlabs.length < MAX_SPARE_SLABS) spareSlabs.push(slab)
  }

  #mark(): void {
    this.#markedSlab = this.#slab
    this.#markedAt = this.#at
    this.#markedFull = this.#full.length
  }

  /** Forgets what was added since the mark: without its beginning, the commands behind it stay what they are. */
  #resetToMark(): void {
    if (this.#slab === this.#markedSlab) {
      this.#at = this.#markedAt
      return
    }
    const [first] = this.#full.splice(this.#markedFull)
    if (
      first !== undefined &&
      first.buffer === this.#markedSlab?.buffer &&
      first.byteOffset < this.#markedAt
    ) {
      this.#full.push(first.subarray(0, this.#markedAt - first.byteOffset))
    }
    this.#fullBytes = this.#full.reduce((sum, part) => sum + part.length, 0)
    this.#start = this.#at = 0
  }

  #command(command: readonly Argument[]): void {
    if (command.length === 0) throw new TypeError('a command needs a name: got no arguments')
    this.#header(Byte.array, command.length)
    for (let i = 0; i < command.length; i += 1) {
      const argument = command[i] as Argument
      if (typeof argument === 'string') this.#string(argument)
      else if (typeof argument === 'number' || typeof argument === 'bigint')
        this.#string(numberText(argument))
      else if (types.isUint8Array(argument)) this.#bytes(argument)
      else throw noArgument(argument, i)
    }
  }

  #string(text: string): void {
    const { length } = text
    if (length <= LOOP_CHARS) {
      const slab = this.#room(length * 3 + HEADER_BYTES + 2)
      let at = this.#at
      slab[at++] = Byte.bulk
      if (length >= 10) slab[at++] = Byte.zero + ((length / 10) | 0)
      slab[at++] = Byte.zero + (length % 10)
      slab[at++] = Byte.cr
      slab[at++] = Byte.lf
      let i = 0
      for (; i < length; i += 1) {
        const code = text.charCodeAt(i)
        if (code > 0x7f) break
        slab[at++] = code
      }
      if (i === length) {
        slab[at++] = Byte.cr
        slab[at++] = Byte.lf
        this.#at = at
        return
      }
    }
    const byteLength = Buffer.byteLength(text)
    this.#header(Byte.bulk, byteLength)
    const slab = this.#room(byteLength + 2)
    const end = this.#at + slab.write(text, this.#at)
    slab[end] = Byte.cr
    slab[end + 1] = Byte.lf
    this.#at = end + 2
  }

  #bytes(bytes: Uint8Array): void {
    const length = byteLengthOf.call(bytes)
    this.#header(Byte.bulk, length)
    const slab = this.#room(length + 2)
    slab.set(bytes, this.#at)
    const end = this.#at + length
    slab[end] = Byte.cr
    slab[end + 1] = Byte.lf
    this.#at = end + 2
  }

  #header(type: number, count: number): void {
    const slab = this.#room(HEADER_BYTES)
    let at = this.#at
    slab[at++] = type
    if (count < 10) {
      slab[at++] = Byte.zero + count
    } else {
      at += slab.write(String(count), at, 'latin1')
    }
    slab[at++] = Byte.cr
    slab[at++] = Byte.lf
    this.#at = at
  }

  /** Room for that many bytes, in one piece. */
  #room(bytes: number): Buffer {
    const slab = this.#slab
    if (slab !== undefined && this.#at + bytes <= slab.length) return slab
    const next =
      bytes > SLAB_BYTES
        ? Buffer.allocUnsafeSlow(bytes)
        : (spareSlabs.pop() ?? Buffer.allocUnsafeSlow(SLAB_BYTES))
    if (slab !== undefined && this.#at > this.#start) {
      this.#full.push(slab.subarray(this.#start, this.#at))
      this.#fullBytes += this.#at - this.#start
    }
    this.#slab = next
    this.#start = this.#at = 0
    return next
  }
}

/** The bytes of commands, in memory of their own. */
export function encodeCommands(commands: readonly (readonly Argument[])[]): Buffer {
  const encoder = new Encoder()
  encoder.appendAll(commands)
  const whole = Buffer.concat(encoder.take())
  encoder.release(true)
  return whole
}

/** @throws {TypeError} naming the position and the type of what is not an argument */
export function checkCommand(command: readonly Argument[]): void {
  if (command.length === 0) throw new TypeError('a command needs a name: got no arguments')
  for (let i = 0; i < command.length; i += 1) {
    const argument: unknown = command[i]
    const type = typeof argument
    if (type === 'string' || type === 'number' || type === 'bigint' || types.isUint8Array(argument)) continue
    throw noArgument(argument, i)
  }
}

function noArgument(argument: unknown, place: number): TypeError {
  const where = place === 0 ? 'the name' : `argument ${place}`
  return new TypeError(
    `${where} of the command must be a string, number, bigint or Uint8Array, got ${describe(argument)}`,
  )
}

function describe(value: unknown): string {
  if (value === null || typeof value !== 'object') return String(value === null ? 'null' : typeof value)
  return Array.isArray(value) ? 'an array' : `an object (${value.constructor?.name ?? 'no prototype'})`
}

/** As the servers print and read them: infinities as `inf` and `-inf`. */
function numberText(value: number | bigint): string {
  if (value === Number.POSITIVE_INFINITY) return 'inf'
  if (value === Number.NEGATIVE_INFINITY) return '-inf'
  return String(value)
}
