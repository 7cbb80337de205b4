// examples/server.js as a process of a test's own, on a free port, and a load on it.

import { type ChildProcess, spawn } from 'node:child_process'
import { Agent, type IncomingHttpHeaders, request } from 'node:http'
import { dirname, join } from 'node:path'
import { performance } from 'node:perf_hooks'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { freePorts } from './free-ports.ts'
import { eventually } from './real-servers.ts'
import type { Cleanup } from './temp-dir.ts'

export interface Demo {
  readonly port: number
  /** All that it has printed, both streams. */
  log(): string
  /** Resolves when the process has ended, to its exit code; `null` when a signal ended it. */
  readonly ended: Promise<number | null>
  kill(signal: NodeJS.Signals): void
}

/** One answer, and when it was asked for and came, in ms of `performance.now()`. */
export interface Answer {
  readonly askedAt: number
  readonly at: number
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly text: string
}

/** What one server did for an answer. */
export interface Served {
  readonly value: string | null
  readonly endpoint: string
  readonly tries: number
  readonly ms: number
}

/** The answer to `/`, and, without `written`, to `/read`. */
export interface Content {
  readonly key: string
  readonly written: Served
  readonly read: Served
}

export interface Load {
  readonly path: string
  /** Requests under way at a time, each over a connection that stays. */
  readonly concurrency: number
  /** Ends it after so many requests... */
  readonly count?: number
  /** ...or as soon as this aborts; what is under way is finished. */
  readonly until?: AbortSignal
  /** Milliseconds between an answer and the next request on that connection. */
  readonly pause?: number
}

/** Longer than any deadline of the demo: what takes this long hangs. */
const hangMs = 10_000

/** What the demo is told is up to the test alone. */
const unset = {
  REQUEST_TIMEOUT: undefined,
  RESPOOL_MASTER_NAME: undefined,
  RESPOOL_PORTS: undefined,
  RESPOOL_SENTINELS: undefined,
}

const root = dirname(fileURLToPath(import.meta.resolve('respool/package.json')))

/** Starts the demo and resolves when it listens or has ended; the end of `t` kills it. */
export async function startDemo(t: Cleanup, env: NodeJS.ProcessEnv): Promise<Demo> {
  const port = Number(env.PORT ?? (await freePorts(1))[0])
  const child: ChildProcess = spawn(process.execPath, [join(root, 'examples', 'server.js')], {
    cwd: root,
    env: { ...process.env, ...unset, ...env, PORT: String(port) },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  t.after(() => {
    child.kill('SIGKILL')
  })
  let log = ''
  let hasEnded = false
  for (const stream of [child.stdout, child.stderr]) {
    stream?.setEncoding('utf8').on('data', (text: string) => {
      log += text
    })
  }
  const ended = new Promise<number | null>((resolve, reject) => {
    child.once('error', reject)
    child.once('close', (code) => {
      hasEnded = true
      resolve(code)
    })
  })
  const line = `listening on http://127.0.0.1:${port}/\n`
  await eventually('the demo listens', () => hasEnded || log.includes(line))
  return { port, log: () => log, ended, kill: (signal) => child.kill(signal) }
}

/** One request. */
export function ask(
  demo: Pick<Demo, 'port'>,
  path: string,
  options: { readonly method?: string; readonly agent?: Agent; readonly signal?: AbortSignal } = {},
): Promise<Answer> {
  const { method = 'GET', agent, signal } = options
  const askedAt = performance.now()
  return new Promise((resolve, reject) => {
    const sent = request({ host: '127.0.0.1', port: demo.port, path, method, agent, signal }, (response) => {
      let text = ''
      response.setEncoding('utf8').on('data', (part: string) => {
        text += part
      })
      response.on('end', () => {
        const { statusCode: status = 0, headers } = response
        resolve({ askedAt, at: performance.now(), status, headers, text })
      })
      response.on('error', reject)
    })
    sent.setTimeout(hangMs, () => sent.destroy(new Error(`${method} ${path} hangs`)))
    sent.on('error', reject)
    sent.end()
  })
}

/** Keeps so many requests under way; resolves to all answers, in the order in which they came. */
export async function run(demo: Demo, load: Load): Promise<Answer[]> {
  const { path, concurrency, count = Number.POSITIVE_INFINITY, until, pause = 0 } = load
  const agent = new Agent({ keepAlive: true, maxSockets: concurrency })
  const answers: Answer[] = []
  let asked = 0
  const worker = async () => {
    while (asked < count && !until?.aborted) {
      asked += 1
      answers.push(await ask(demo, path, { agent }))
      if (pause > 0) await sleep(pause)
    }
  }
  try {
    await Promise.all(Array.from({ length: concurrency }, worker))
  } finally {
    agent.destroy()
  }
  return answers
}

export function content(answer: Answer): Content {
  return JSON.parse(answer.text) as Content
}

/** The longest time without an answer, in ms. */
export function longestGap(answers: readonly Answer[]): number {
  const gaps = answers.slice(1).map(({ at }, i) => at - (answers[i]?.at ?? at))
  return Math.round(Math.max(0, ...gaps))
}

/** The longest time that a request took, in ms. */
export function longestWait(answers: readonly Answer[]): number {
  return Math.round(answers.reduce((longest, { askedAt, at }) => Math.max(longest, at - askedAt), 0))
}
