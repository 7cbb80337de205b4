// Commands that are collected and run together: `redis.pipeline().get('a').incr('n').exec()`. A chain checks each command
// and takes its bytes when it is called; nothing is sent before `exec()`. How they are run is their host's: one by one
// (pipeline-run.ts), as a transaction (multi.ts), or by whoever the chain is returned to (transaction.ts).
//
//   collecting ── exec(), execSettled(), or returned from a transaction ──► executed: takes nothing any more

import { commandName, isBlocking, isOrdinaryRead, isReadOnly, isStateful } from '../commands/index.ts'
import { RespoolError } from '../errors.ts'
import { type Argument, checkCommand, type Reply } from '../resp/index.ts'
import { defineMethods } from './methods.ts'
import type { PipelineCommands } from './pipeline.gen.ts'
import type { Shaper } from './replies.ts'
import type { Shape } from './replies-basic.ts'

/**
 * What a chain becomes: commands one behind the other; a transaction of its own; or the end of a transaction that has
 * watched keys, which is returned and not executed.
 */
export type PipelineKind = 'pipeline' | 'multi' | 'queue'

/** Results of a chain as `Promise.allSettled()` gives them. */
export type SettledResults<R extends unknown[]> = { [I in keyof R]: PromiseSettledResult<R[I]> }

/** Who runs a chain. */
export interface PipelineHost {
  readonly kind: PipelineKind
  /** Whether strings in replies are `Buffer`. */
  readonly asBytes: boolean
  /**
   * Runs commands, which are its own from then on; with reads only, a replica can serve them. Rejects if it has one
   * reason for all of them. `undefined`: the chain is not executed but returned.
   */
  readonly run: Run | undefined
}

type Run = (commands: readonly (readonly Argument[])[], isRead: boolean) => Promise<(Reply | Error)[]>

/** What a chain has collected. */
export interface Collected {
  readonly commands: readonly (readonly Argument[])[]
  /** Whether all of them only read. */
  readonly isRead: boolean
  readonly host: PipelineHost
  /** Makes values of replies, in place; errors stay what they are. */
  shape(outcomes: (Reply | Error)[]): unknown[]
}

/** What the methods of a chain do. */
let collect: (chain: unknown, command: Argument[], shaper: Shaper | undefined) => unknown

/** Takes what a chain has collected; it takes nothing any more. For transaction.ts. */
export let takeAll: (chain: unknown) => Collected | undefined

/**
 * Commands that are collected and run together, each method adding one. `R` is the tuple of their values, `T` what
 * strings in replies are.
 *
 * @see docs/pipelines.md
 */
export interface Pipeline<
  out R extends unknown[],
  out T extends string | Buffer = string,
  out K extends PipelineKind = 'pipeline',
> extends PipelineCommands<R, T, K> {}

// biome-ignore lint/suspicious/noUnsafeDeclarationMerging: the methods of PipelineCommands are there, by defineMethods()
export class Pipeline<
  out R extends unknown[],
  out T extends string | Buffer = string,
  out K extends PipelineKind = 'pipeline',
> {
  static {
    collect = (chain, command, shaper) => (chain as Pipeline<unknown[]>).#add(command, shaper)
    takeAll = (chain) => (chain instanceof Pipeline ? chain.#take() : undefined)
    defineMethods(Pipeline.prototype, collect)
  }

  readonly #host: PipelineHost
  #commands: (readonly Argument[])[] = []
  /** What becomes of each reply; as long as the commands, or empty while no reply needs it. */
  #shapes: (Shape | undefined)[] = []
  #isRead = true
  #isExecuted = false

  /**
   * For {@link CommandView.pipeline}, {@link CommandView.multi} and {@link Transaction.multi}.
   *
   * @internal
   */
  constructor(host: PipelineHost) {
    this.#host = host
  }

  /** Whether it is a pipeline, a transaction, or the end of one. */
  get kind(): K {
    return this.#host.kind as K
  }

  /** How many commands it has collected. */
  get length(): number {
    return this.#commands.length
  }

  /**
   * Adds any command: `call('JSON.GET', 'key')`.
   *
   * @throws {TypeError} at once: an argument that is none, a command that blocks or changes its connection, a chain that
   *   was executed
   */
  call(name: string, ...args: Argument[]): Pipeline<[...R, Reply], T, K> {
    return this.#add([name, ...args], undefined) as unknown as Pipeline<[...R, Reply], T, K>
  }

  /**
   * Sends all of it in one piece, as soon as there is a server for it.
   *
   * @returns the value of each command, in their order
   * @throws {RespoolError} `BATCH_FAILED` when a command failed: its `batch` has all values and errors, its `cause` is
   *   the first error
   * @throws what {@link CommandView.call} throws when nothing of it was sent; of a transaction also when its outcome is
   *   unknown as a whole
   * @throws {TypeError} at once: it was executed before
   */
  exec(this: Pipeline<R, T, 'pipeline' | 'multi'>): Promise<R> {
    return execute(this.#run(), this.#take()) as Promise<R>
  }

  /** The same, with values and errors side by side. Never rejects. */
  execSettled(this: Pipeline<R, T, 'pipeline' | 'multi'>): Promise<SettledResults<R>> {
    return settle(this.#run(), this.#take()) as Promise<SettledResults<R>>
  }

  #add(command: Argument[], shaper: Shaper | undefined): this {
    this.#checkOpen()
    checkCommand(command)
    const reads = isOrdinaryRead(command)
    if (reads === undefined) checkBatched(command)
    if (reads === false || (reads === undefined && !isReadOnly(command))) this.#isRead = false
    for (let i = 1; i < command.length; i += 1) {
      const argument = command[i]
      if (typeof argument === 'object') command[i] = Buffer.from(argument) // the caller's may change
    }
    const shape = shaper?.(command, this.#host.asBytes)
    const at = this.#commands.push(command) - 1
    if (shape !== undefined && this.#shapes.length === 0)
      this.#shapes = new Array<Shape | undefined>(at).fill(undefined)
    if (shape !== undefined || this.#shapes.length > 0) this.#shapes.push(shape)
    return this
  }

  #run(): Run {
    const { run } = this.#host
    if (run === undefined) throw new TypeError('the chain of tx.multi() is to be returned: do not execute it')
    return run
  }

  #take(): Collected {
    this.#checkOpen()
    this.#isExecuted = true
    const [commands, shapes] = [this.#commands, this.#shapes]
    this.#commands = []
    this.#shapes = []
    return {
      commands,
      isRead: this.#isRead,
      host: this.#host,
      shape: (outcomes) => shapeAll(outcomes, shapes),
    }
  }

  #checkOpen(): void {
    if (this.#isExecuted) throw new TypeError(`the ${this.#host.kind} was executed: begin another one`)
  }
}

/** @throws {TypeError} what cannot be run together with others */
function checkBatched(command: readonly Argument[]): void {
  if (isStateful(command)) {
    throw new TypeError(
      `${commandName(command)} changes the state of its connection: borrow one with lease() or use() for it`,
    )
  }
  if (isBlocking(command)) {
    throw new TypeError(
      `${commandName(command)} blocks, and what comes behind it would wait: call it by itself`,
    )
  }
}

async function execute(run: Run, { commands, isRead, shape }: Collected): Promise<unknown[]> {
  if (commands.length === 0) return []
  const results = shape(await run(commands, isRead))
  const index = results.findIndex((result) => result instanceof Error)
  if (index >= 0) throw batchError(commands, results, index)
  return results
}

async function settle(
  run: Run,
  { commands, isRead, shape }: Collected,
): Promise<PromiseSettledResult<unknown>[]> {
  if (commands.length === 0) return []
  let results: readonly unknown[]
  try {
    results = shape(await run(commands, isRead))
  } catch (error) {
    const batch = error instanceof RespoolError ? error.batch : undefined
    results = batch?.results ?? commands.map(() => error)
  }
  return results.map((result) =>
    result instanceof Error ? { status: 'rejected', reason: result } : { status: 'fulfilled', value: result },
  )
}

/** @param index the first of the results that is an error */
export function batchError(
  commands: readonly (readonly Argument[])[],
  results: readonly unknown[],
  index: number,
): RespoolError {
  const command = commandName(commands[index] ?? [])
  const cause = results[index]
  const others = results.filter((result) => result instanceof Error).length - 1
  const what = cause instanceof RespoolError ? ('prefix' in cause ? cause.prefix : cause.code) : String(cause)
  const more = others === 0 ? '' : `, and so did ${others} more`
  const message = `${command}, at index ${index} of ${commands.length} commands, failed${more}: ${String(what)}`
  const mayHaveExecuted = results.some((it) =>
    it instanceof Error ? it instanceof RespoolError && it.mayHaveExecuted : true,
  )
  return new RespoolError('BATCH_FAILED', message, {
    cause,
    mayHaveExecuted,
    batch: Object.freeze({ index, command, results }),
  })
}

function shapeAll(outcomes: (Reply | Error)[], shapes: readonly (Shape | undefined)[]): unknown[] {
  const results: unknown[] = outcomes
  for (let i = 0; i < shapes.length; i += 1) {
    const shape = shapes[i]
    const outcome = outcomes[i]
    if (shape !== undefined && outcome !== undefined && !(outcome instanceof Error))
      results[i] = shape(outcome)
  }
  return results
}
