// Commands with settings of their own: a client's, or what `with()` gives. A view has no life: it shares everything with
// its client but the settings of the single command.

import type { Argument, Reply } from '../resp/index.ts'
import type { Ground } from './batch.ts'
import type { Commands } from './commands.gen.ts'
import { Dispatcher, type DispatchOptions } from './dispatch.ts'
import { defineMethods } from './methods.ts'
import { runMulti } from './multi.ts'
import { Pipeline, type PipelineHost } from './pipeline.ts'
import { runPipeline } from './pipeline-run.ts'
import type { Shaper } from './replies.ts'
import type { Router } from './router.ts'
import { type ScanIterator, scanIterator } from './scan.ts'
import type { HashScanOptions, KeyScanOptions, ScanOptions } from './scan-options.ts'
import { defineScript, type Script } from './script.ts'
import type { Caller } from './script-call.ts'
import { defineLibrary, type FunctionCalls } from './script-library.ts'
import type { FunctionTable, KeyCount, LibraryOptions, ScriptOptions } from './script-options.ts'
import { Session, type SessionOptions } from './session.ts'
import type { Transaction, TransactionEnd, TransactionResult } from './transaction.ts'
import { runTransaction, type TransactionOptions } from './transaction-run.ts'
import { type CommandOptions, merge } from './view-options.ts'
import type { Work } from './work.ts'

/**
 * What the typed commands of a view do, and of its client through its own view.
 *
 * @internal
 */
export let runTyped: (view: CommandView, command: Argument[], shaper: Shaper | undefined) => Promise<unknown>

/** Commands with settings of their own: what `with()` gives. `T` is what strings in replies are. */
export interface CommandView<T extends string | Buffer = string> extends Commands<T> {}

// biome-ignore lint/suspicious/noUnsafeDeclarationMerging: the methods of Commands are there, by defineMethods() below
export class CommandView<T extends string | Buffer = string> {
  static {
    runTyped = (view, command, shaper) => {
      const shape = shaper?.(command, view.#options.replies === 'buffer')
      if (shape === undefined) return view.#dispatcher.dispatch(command)
      return view.#dispatcher.dispatch(command, true).then(shape)
    }
    defineMethods(CommandView.prototype, runTyped)
  }

  readonly #router: Router
  readonly #work: Work
  readonly #options: DispatchOptions
  readonly #dispatcher: Dispatcher

  /** @internal A client makes them. */
  constructor(router: Router, work: Work, options: DispatchOptions) {
    this.#router = router
    this.#work = work
    this.#options = options
    this.#dispatcher = new Dispatcher(router, work, options)
  }

  /**
   * Runs any command: `call('SET', 'key', 'value', 'EX', 10)`. Read-only commands go where `readFrom` says, all
   * others to the master; blocking ones over a connection of their own. What was not sent, or was refused by a
   * server that is not the right one (any more), is tried again until the deadline.
   *
   * @returns the reply: maps as `Map`, sets as `Set`, integers beyond the safe range as `bigint`
   * @throws {ReplyError} the server's error reply
   * @throws {TimeoutError} `COMMAND_TIMEOUT`
   * @throws {ConnectionError} with `mayHaveExecuted: true`: sent, and no reply seen
   * @throws {PoolError} `QUEUE_FULL`, `CLIENT_CLOSED`
   * @throws {SentinelError} `MASTER_UNKNOWN`
   * @throws {DurabilityError} `NOT_DURABLE`: it ran, but too few replicas acknowledged it; with option `durable`
   * @throws {AbortError} `ABORT_ERR`
   * @throws {TypeError} at once: an argument that is none, a command that changes the state of its connection
   */
  call(...command: [name: string, ...args: Argument[]]): Promise<Reply> {
    return this.#dispatcher.dispatch(command)
  }

  /**
   * Begins a chain of commands that are sent in one piece and have one promise:
   * `const [a, n] = await redis.pipeline().get('a').incr('n').exec()`. With reads only it goes where `readFrom` says,
   * else all of it to the master. Each command has an outcome of its own; they are not a transaction.
   *
   * @typeParam R what a loop adds, which no chain tells: `pipeline<(string | null)[]>()`
   * @throws {TypeError} at once: the view is `durable`
   * @see docs/pipelines.md
   */
  pipeline<R extends unknown[] = []>(): Pipeline<R, T> {
    return new Pipeline(this.#hostOf('pipeline', runPipeline))
  }

  /**
   * The same as a transaction: MULTI, the commands, EXEC. All are run with nothing between them, or none is.
   *
   * @throws {TypeError} at once: the view is `durable`
   * @see docs/pipelines.md
   */
  multi<R extends unknown[] = []>(): Pipeline<R, T, 'multi'> {
    return new Pipeline(this.#hostOf('multi', runMulti))
  }

  /**
   * Reads, then writes if nobody has changed what was read: WATCH, MULTI, EXEC on a connection of its own. The function
   * is called again when a watched key was changed meanwhile, and when its server was replaced.
   *
   * @param keys what is watched, before the first read
   * @param work reads with `tx`, and returns the chain of `tx.multi()` that is to be executed, or nothing; it may be
   *   called more than once
   * @returns the values of the chain's commands; `undefined` if there was none
   * @throws {RespoolError} `TRANSACTION_CONFLICT`, `BATCH_FAILED`
   * @throws what {@link CommandView.call} and {@link Client.lease} throw, and what `work` throws
   * @throws {TypeError} {RangeError} at once: keys, function or options that are none
   * @see docs/pipelines.md
   * @example
   * await redis.transaction('stock', async (tx) => {
   *   if (Number(await tx.get('stock')) < 1) return
   *   return tx.multi().decr('stock').rpush('orders', 'id')
   * }) // [7, 12], or undefined
   */
  transaction<E extends TransactionEnd>(
    keys: Argument | readonly Argument[],
    work: (tx: Transaction<T>) => E | Promise<E>,
    options: TransactionOptions = {},
  ): Promise<TransactionResult<E>> {
    const values = runTransaction(this.#ground, keys, work as never, this.#options, options)
    return values as Promise<TransactionResult<E>>
  }

  /** A view with other settings; cheap, and with the same methods. That of a session belongs to the session. */
  with(options: CommandOptions & { readonly replies: 'buffer' }): CommandView<Buffer>
  with(options: CommandOptions & { readonly replies: 'string' }): CommandView<string>
  with(options: CommandOptions & { readonly replies?: undefined }): CommandView<T>
  with(options: CommandOptions): CommandView<string | Buffer>
  with(options: CommandOptions): CommandView<string | Buffer> {
    return new CommandView(this.#router, this.#work, merge(this.#options, options))
  }

  /**
   * A view whose reads see its own writes, wherever `readFrom` sends them: a replica's value is taken only if the replica
   * has all that the session wrote; else the master is asked. Cheap, and nothing to close. See docs/consistency.md.
   *
   * @param options `after`: the `token` of an earlier session, whose writes this one's reads shall see as well
   * @throws {TypeError} `after` is no token
   * @example
   * const s = redis.session()
   * await s.call('SET', 'name', 'Ada')
   * await s.with({ readFrom: 'replica' }).call('GET', 'name') // 'Ada'
   */
  session(options?: SessionOptions): CommandView<T> {
    const session = new Session(options, (announced) => this.#router.translate(announced))
    return new CommandView(this.#router, this.#work, { ...this.#options, session })
  }

  /**
   * Defines a script that runs on the server: once, to be called as often as one likes. It is called by its hash, and sent
   * in full where a server does not have it. It counts as a write, unless it is `readOnly`. See docs/scripts.md.
   *
   * @returns a function of keys and arguments, with a `with()` of its own
   * @throws {TypeError} {RangeError} at once: an option that is wrong
   * @example
   * const addUpTo = redis.script({
   *   lua: `local n = redis.call('INCR', KEYS[1]) return math.min(n, ARGV[1])`,
   *   keys: 1,
   *   parse: Number,
   * })
   * await addUpTo(['visits'], [100])
   */
  script<K extends KeyCount, R = Reply>(options: ScriptOptions<K, R>): Script<K, R> {
    return defineScript(this.#caller, options)
  }

  /**
   * Defines a library of functions that run on the server (Redis 7, Valkey): each is called by its name, and the library
   * is loaded, replacing what has its name, where a function is found to be missing. See docs/scripts.md.
   *
   * @returns the functions that `functions` names, each as {@link script} gives one
   * @throws {TypeError} {RangeError} at once: an option that is wrong
   */
  functions<const F extends FunctionTable>(options: LibraryOptions<F>): FunctionCalls<F> {
    return defineLibrary(this.#caller, options)
  }

  /**
   * All keys of the database, for a `for await` loop: page by page, at the consumer's pace. As the server's SCAN has it, what
   * is there all the time comes at least once, perhaps twice; what comes or goes meanwhile may come or not. All pages are
   * of one server, the one that `readFrom` says at the beginning. `timeout` is for each page. See docs/iteration.md.
   *
   * @throws {ConnectionError} out of the loop: `SCAN_INTERRUPTED`, its server is gone or was replaced
   * @throws out of the loop, what {@link CommandView.call} throws
   * @throws {TypeError} {RangeError} at once: an option that is wrong
   */
  scanIterator(options?: KeyScanOptions): ScanIterator<T> {
    return scanIterator(this.#caller, 'SCAN', undefined, options)
  }

  /** The fields of a hash and their values; see {@link scanIterator}. */
  hscanIterator(
    key: Argument,
    options?: HashScanOptions & { readonly values?: true | undefined },
  ): ScanIterator<[field: T, value: T]>
  /** The fields of a hash alone. */
  hscanIterator(key: Argument, options: HashScanOptions & { readonly values: false }): ScanIterator<T>
  hscanIterator(key: Argument, options?: HashScanOptions): ScanIterator<T | [field: T, value: T]> {
    return scanIterator(this.#caller, 'HSCAN', key, options)
  }

  /** The members of a set; see {@link scanIterator}. */
  sscanIterator(key: Argument, options?: ScanOptions): ScanIterator<T> {
    return scanIterator(this.#caller, 'SSCAN', key, options)
  }

  /** The members of a sorted set and their scores; see {@link scanIterator}. */
  zscanIterator(key: Argument, options?: ScanOptions): ScanIterator<[member: T, score: number]> {
    return scanIterator(this.#caller, 'ZSCAN', key, options)
  }

  /**
   * Of a session: what its reads have to have seen, as a short string of `[\w.-]` for {@link session} there or
   * in another process. Take it when the writes have ended: while one is under way, or in doubt, it only says that
   * reads go to the master first. `undefined` before the session's first write, and where there is no session.
   */
  get token(): string | undefined {
    return this.#options.session?.token
  }

  get #caller(): Caller {
    return callerOf(this.#router, this.#work, this.#options)
  }

  get #ground(): Ground {
    return { router: this.#router, work: this.#work }
  }

  #hostOf(kind: 'pipeline' | 'multi', run: typeof runPipeline): PipelineHost {
    const options = this.#options
    if (options.durable !== undefined) throw new TypeError(`option durable is not for ${kind}()`)
    return {
      kind,
      asBytes: options.replies === 'buffer',
      run: (commands, isRead) => run(this.#ground, commands, isRead, options),
    }
  }
}

function callerOf(route: Router, work: Work, options: DispatchOptions): Caller {
  return { route, work, options, with: (others) => callerOf(route, work, merge(options, others)) }
}
