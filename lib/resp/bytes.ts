// Bytes of a chunk → bytes of the caller's own. Short ones share a piece of memory of 1 KiB, so that one that is
// kept keeps no more than that alive; Node's own pool, which `Buffer.from()` takes from, would be 8 KiB and shared
// with the rest of the process.

const SLAB_BYTES = 1024
/** Longer ones get memory of their own. */
const LONGEST_SHARED = 256

export class ByteReader {
  #slab: Buffer | undefined
  #at = 0

  /** A copy of `buffer[from]` to `buffer[to]`. */
  read(buffer: Buffer, from: number, to: number): Buffer {
    const own = this.#take(to - from)
    buffer.copy(own, 0, from, to)
    return own
  }

  #take(length: number): Buffer {
    if (length > LONGEST_SHARED) return Buffer.allocUnsafeSlow(length)
    if (this.#slab === undefined || this.#at + length > SLAB_BYTES) {
      this.#slab = Buffer.allocUnsafeSlow(SLAB_BYTES)
      this.#at = 0
    }
    this.#at += length
    return this.#slab.subarray(this.#at - length, this.#at)
  }
}
