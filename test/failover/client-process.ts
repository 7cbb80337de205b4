// The client's process as the harness sees it.

import { type ChildProcess, fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { eventually } from '../support/real-servers.ts'
import type { Cleanup } from '../support/temp-dir.ts'
import type { Ledger, Order, Plan, Progress, Word } from './protocol.ts'

/** How the first write ended. */
export interface Start {
  readonly tookMs: number
  /** What it was rejected with. */
  readonly error: { readonly code: string; readonly message: string } | undefined
}

/** Two reports in a row, and some, must show a steady load. */
const STEADY_MS = 500
/** Of what the load sends; on a busy machine not all of it comes back within the time it was sent in. */
const STEADY_SHARE = 0.7
/** Commands of the last moment have their deadline, and the process a margin. */
const LEDGER_MARGIN_MS = 5_000

export class ClientProcess {
  readonly #plan: Plan
  readonly #child: ChildProcess
  #start: Start | undefined
  #ledger: Ledger | undefined
  #end: string | undefined
  readonly #progress: Progress[] = []

  constructor(t: Cleanup, plan: Plan) {
    this.#plan = plan
    const program = fileURLToPath(new URL('worker.js', import.meta.url))
    this.#child = fork(program, [JSON.stringify(plan)], {
      // its own, not those of a test runner
      execArgv: ['--enable-source-maps'],
      serialization: 'advanced',
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    })
    const kill = () => void this.#child.kill('SIGKILL')
    process.once('exit', kill)
    t.after(() => {
      process.off('exit', kill)
      kill()
    })
    this.#child.on('exit', (code, signal) => {
      this.#end = `it ended with ${code ?? signal}`
    })
    this.#child.on('message', (word: Word) => this.#hear(word))
  }

  /** Resolves when the first write has settled. */
  async start(timeout: number): Promise<Start> {
    await eventually('the first write settles', () => this.#start, { timeout })
    return this.#start as Start
  }

  /** Resolves when writes have been acknowledged for a while, at the rate at which they are sent. */
  async flows(timeout = 25_000): Promise<void> {
    const from = this.#progress.length
    const wanted = this.#plan.rate * (STEADY_MS / 1000) * STEADY_SHARE
    await eventually(
      'writes are acknowledged again',
      () => {
        if (this.#end !== undefined) return true // the ledger will be missed
        const last = this.#progress.at(-1)
        const before = this.#progress.slice(from).findLast(({ at }) => at <= (last?.at ?? 0) - STEADY_MS)
        return (
          last !== undefined &&
          before !== undefined &&
          last.acknowledged - before.acknowledged >= wanted &&
          last.failed === before.failed
        )
      },
      { timeout, interval: 20 },
    )
  }

  /** Ends the load and gives all that was seen. */
  async stop(): Promise<Ledger> {
    if (this.#end === undefined) this.#child.send({ kind: 'stop' } satisfies Order)
    await eventually(
      'the client’s process gives its ledger',
      () => {
        if (this.#ledger === undefined && this.#end !== undefined) throw new Error(this.#end)
        return this.#ledger
      },
      { timeout: this.#plan.commandTimeout + LEDGER_MARGIN_MS },
    )
    return this.#ledger as Ledger
  }

  #hear(word: Word): void {
    switch (word.kind) {
      case 'started':
        this.#start = { tookMs: word.tookMs, error: undefined }
        return
      case 'refused':
        this.#start = { tookMs: word.tookMs, error: word }
        return
      case 'progress':
        this.#progress.push(word.progress)
        return
      case 'ledger':
        this.#ledger = word.ledger
    }
  }
}
