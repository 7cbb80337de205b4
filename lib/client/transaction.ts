// What a transaction's function works with: reads on the connection that watches the keys, and the chain that it returns
// to be executed. One of these for each attempt; it ends when the function has returned.

import { commandName, isBlocking, isOrdinary, isStateful, isWrite } from '../commands/index.ts'
import { PoolError } from '../errors.ts'
import { type Argument, checkCommand, type Reply } from '../resp/index.ts'
import type { Commands } from './commands.gen.ts'
import type { Line } from './exchange.ts'
import { defineMethods } from './methods.ts'
import { type Collected, Pipeline, type PipelineHost, takeAll } from './pipeline.ts'
import type { Shaper } from './replies.ts'

/** The end of a transaction: what its function returns. */
// biome-ignore lint/suspicious/noConfusingVoidType: a function without `return` gives void
export type TransactionEnd = Pipeline<unknown[], string | Buffer, 'queue'> | undefined | void

/** What becomes of it: the values of its commands, or `undefined` where the function returned none. */
export type TransactionResult<E extends TransactionEnd> =
  E extends Pipeline<infer R, string | Buffer, 'queue'> ? R : undefined

/**
 * What an attempt gives its transaction.
 *
 * @internal
 */
export interface TransactionHost {
  readonly line: Line
  readonly replies: 'string' | 'buffer' | undefined
  readonly signal: AbortSignal
  /** Milliseconds until the deadline of the whole; 0 = none. */
  leftMs(): number
}

/** What the methods do. */
let read: (tx: unknown, command: Argument[], shaper: Shaper | undefined) => Promise<unknown>

/** The transaction as its function sees it: typed commands that read, and {@link Transaction.multi}. */
export interface Transaction<T extends string | Buffer = string> extends Commands<T> {}

// biome-ignore lint/suspicious/noUnsafeDeclarationMerging: the methods of Commands are there, by defineMethods() below
export class Transaction<T extends string | Buffer = string> {
  static {
    read = (tx, command, shaper) => (tx as Transaction).#read(command, shaper)
    defineMethods(Transaction.prototype, read)
  }

  readonly #host: TransactionHost
  readonly #watches: Promise<unknown>[] = []
  /** What its commands failed with. */
  readonly #failures = new WeakSet<object>()
  /** Runs nothing: a chain is told from those of others by it. */
  readonly #queue: PipelineHost
  #isOver = false

  /**
   * For {@link CommandView.transaction}.
   *
   * @internal
   */
  constructor(host: TransactionHost, keys: readonly Argument[]) {
    this.#host = host
    this.#queue = { kind: 'queue', asBytes: host.replies === 'buffer', run: undefined }
    void this.watch(...keys)
  }

  /**
   * Runs any command that does not write: `call('JSON.GET', 'key')`. It may be run again with the next attempt.
   *
   * @throws {PoolError} `LEASE_RETURNED`: the function has returned, or time is up
   * @throws {TypeError} at once: an argument that is none, a command that writes, blocks or changes its connection
   */
  call(name: string, ...args: Argument[]): Promise<Reply> {
    return this.#read([name, ...args], undefined) as Promise<Reply>
  }

  /** Watches more keys, for what depends on what was read. Need not be waited for before they are read. */
  watch(...keys: Argument[]): Promise<void> {
    const command = ['WATCH', ...keys]
    checkCommand(command)
    const watched = this.#run(command).then(() => undefined)
    watched.catch(() => undefined) // it is looked at before anything is written
    this.#watches.push(watched)
    return watched
  }

  /**
   * Begins the chain of commands that are to be executed if none of the watched keys has been changed: return it, and
   * do not execute it.
   */
  multi<R extends unknown[] = []>(): Pipeline<R, T, 'queue'> {
    return new Pipeline(this.#queue)
  }

  /** For transaction-run.ts: resolves when all keys are watched. */
  async watched(): Promise<void> {
    await Promise.all(this.#watches)
  }

  /** For transaction-run.ts: nothing is run any more. */
  end(): void {
    this.#isOver = true
  }

  /** For transaction-run.ts: whether an error is one of its own. */
  gave(error: unknown): boolean {
    return typeof error === 'object' && error !== null && this.#failures.has(error)
  }

  /**
   * For transaction-run.ts: what the function returned.
   *
   * @throws {TypeError} it is no chain of this transaction
   *
   * @internal
   */
  collected(end: unknown): Collected | undefined {
    if (end === undefined) return undefined
    const collected = end instanceof Pipeline && end.kind === 'queue' ? takeAll(end) : undefined
    if (collected?.host === this.#queue) return collected
    const got =
      end instanceof Pipeline
        ? 'a chain of another one'
        : end === null
          ? 'null'
          : `a value of type ${typeof end}`
    throw new TypeError(
      `a transaction's function must return a chain of its tx.multi(), or nothing; got ${got}`,
    )
  }

  #read(command: Argument[], shaper: Shaper | undefined): Promise<unknown> {
    checkCommand(command)
    checkRead(command)
    const shape = shaper?.(command, this.#host.replies === 'buffer')
    const reply = this.#run(command)
    return shape === undefined ? reply : reply.then(shape)
  }

  async #run(command: readonly Argument[]): Promise<Reply> {
    if (this.#isOver) throw new PoolError('LEASE_RETURNED', 'the transaction is over')
    const { line, replies, signal } = this.#host
    try {
      return await line.execute(command, { replies, signal, timeout: this.#host.leftMs() })
    } catch (error) {
      this.#failures.add(error as Error)
      throw error
    }
  }
}

/** @throws {TypeError} what is not to be run before EXEC */
function checkRead(command: readonly Argument[]): void {
  if (isWrite(command))
    throw new TypeError(`${commandName(command)} writes: in a transaction it has its place behind multi()`)
  if (isOrdinary(command)) return
  if (isStateful(command))
    throw new TypeError(`${commandName(command)} changes the state of its connection: the transaction's own`)
  if (isBlocking(command))
    throw new TypeError(`${commandName(command)} blocks: keys would be watched for as long`)
}
