// Iterators over all keys, or over the fields or members of one key: SCAN and its kin, page by page, at the consumer's
// pace. The next page is asked for when the consumer wants more than there is, so a loop that is left has nothing under
// way, and there is nothing to close.
//
//   SCAN cursor …         reply: next cursor, keys;  from cursor 0 to cursor 0
//   HSCAN key cursor …    reply: next cursor, (field, value)…
//
// https://redis.io/docs/latest/commands/scan/

import { AbortError, ConnectionError, ProtocolError } from '../errors.ts'
import type { Argument, Reply } from '../resp/index.ts'
import { dispatch } from './dispatch.ts'
import { shapers } from './replies.ts'
import { type HashScanOptions, type KeyScanOptions, type ScanRequest, scanRequest } from './scan-options.ts'
import { ScanPin } from './scan-pin.ts'
import type { Caller } from './script-call.ts'

/** Switches that one iteration outlives: a deployment that has more of them will not be scanned to the end. */
const MAX_RESTARTS = 10

const SHAPERS = {
  SCAN: shapers.scanned,
  SSCAN: shapers.scanned,
  HSCAN: shapers.scannedHash,
  ZSCAN: shapers.scannedScores,
}

/** What `scanIterator()` and its kin give: for one consumer, once from the beginning to the end. */
export interface ScanIterator<T> extends AsyncIterableIterator<T, undefined, undefined> {
  next(): Promise<IteratorResult<T, undefined>>
  return(): Promise<IteratorResult<T, undefined>>
  /** The same, a page at a time, as the server gives them; empty ones are left out. Use it instead, not beside. */
  pages(): AsyncIterableIterator<T[], undefined, undefined>
  [Symbol.asyncIterator](): ScanIterator<T>
}

/**
 * @param key of what is scanned; `undefined`: the keys of the database
 * @throws {TypeError} {RangeError} an option that is wrong
 *
 * @internal
 */
export function scanIterator<T>(
  caller: Caller,
  name: keyof typeof SHAPERS,
  key: Argument | undefined,
  options: KeyScanOptions & HashScanOptions = {},
): ScanIterator<T> {
  const scan = new Scan(caller, name, scanRequest(name, key, options))
  // what the items are is the command's to say
  const pages = scan.pages() as AsyncGenerator<T[], undefined, undefined>
  const items = itemsOf(pages)
  const iterator: ScanIterator<T> = {
    next: () => items.next(),
    return: () => items.return(undefined),
    pages: () => pages,
    [Symbol.asyncIterator]: () => iterator,
  }
  return iterator
}

async function* itemsOf<T>(pages: AsyncGenerator<T[], undefined, undefined>): AsyncGenerator<T, undefined> {
  for await (const page of pages) yield* page
  return undefined
}

class Scan {
  readonly #caller: Caller
  readonly #name: keyof typeof SHAPERS
  readonly #request: ScanRequest
  #pin: ScanPin
  #cursor = '0'
  #restarts = 0
  #pageCount = 0
  #itemCount = 0

  constructor(caller: Caller, name: keyof typeof SHAPERS, request: ScanRequest) {
    this.#caller = caller
    this.#name = name
    this.#request = request
    this.#pin = new ScanPin(caller.route)
  }

  async *pages(): AsyncGenerator<unknown[], undefined> {
    do {
      const [cursor, items] = await this.#next()
      this.#cursor = cursor
      this.#pageCount += 1
      this.#itemCount += items.length
      if (items.length > 0) yield items
    } while (this.#cursor !== '0')
    return undefined
  }

  /** Asks until a page has come of which the items before are. */
  async #next(): Promise<[cursor: string, items: unknown[]]> {
    for (;;) {
      let error: unknown
      try {
        const page = await this.#ask()
        if (page !== undefined) return page
      } catch (thrown) {
        error = thrown
      }
      const interruption = this.#interruption(error)
      if (interruption === undefined) throw error
      if (!this.#request.restarts || this.#restarts === MAX_RESTARTS) throw interruption
      this.#restarts += 1
      this.#cursor = '0'
      this.#pin = new ScanPin(this.#caller.route)
    }
  }

  /** One page; `undefined`: of another process than those before. */
  async #ask(): Promise<[cursor: string, items: unknown[]] | undefined> {
    const { work, options } = this.#caller
    const { session, timeout, replies, signal, isIdempotent, maxStaleness } = options
    // a cursor does not go from server to server, so nor does a read of a session here
    const readFrom = session?.hasWritten ? 'master' : options.readFrom
    const pin = this.#pin
    const command = this.#request.command(this.#cursor)
    const isFirst = this.#cursor === '0'
    const settings = { timeout, replies, signal, isIdempotent, readFrom, maxStaleness }
    const reply = await dispatch(pin, work, command, settings)
    if (!isPage(reply)) throw notPage(this.#name)
    const shape = SHAPERS[this.#name](command, replies === 'buffer')
    const page = (shape === undefined ? reply : shape(reply)) as [cursor: string, items: unknown[]]
    if (isFirst) {
      if (page[0] !== '0') pin.pin(timeout)
      return page
    }
    return (await pin.isSame(timeout)) ? page : undefined
  }

  /** What the consumer is told, if the server of the cursor is gone. */
  #interruption(error: unknown): Error | undefined {
    const { route, work } = this.#caller
    const pin = this.#pin
    if (route.isClosed || work.isClosing || error instanceof AbortError) return undefined
    const why = error === undefined ? 'its process was replaced' : pin.loss
    if (why === undefined) return undefined
    const times = this.#restarts === 0 ? '' : ` and ${this.#restarts} restarts`
    const far = `after ${this.#pageCount} pages of ${this.#itemCount} items${times}`
    return new ConnectionError('SCAN_INTERRUPTED', `${this.#name} at ${pin.address} ended ${far}: ${why}`, {
      address: pin.address,
      phase: 'ready',
      ...(error === undefined ? {} : { cause: error }),
    })
  }
}

/** What is none would be looked through for ever. */
function isPage(reply: Reply): boolean {
  if (!Array.isArray(reply) || reply.length !== 2) return false
  const [cursor, items] = reply
  return (typeof cursor === 'string' || Buffer.isBuffer(cursor)) && Array.isArray(items)
}

function notPage(name: string): ProtocolError {
  const message = `${name} was not answered with a cursor and a page`
  return new ProtocolError('PROTOCOL_ERROR', message, { mayHaveExecuted: true })
}
