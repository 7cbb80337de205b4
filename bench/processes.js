// The processes of a run: each pinned to a core where there are two, and ended with us, however we end.

import { spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { availableParallelism, tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'

export const SERVER_CORE = 0
export const CLIENT_CORE = 1

/** `taskset` is of Linux. */
const canPin = process.platform === 'linux' && availableParallelism() >= 2

/** Where the processes leave their files; GLIDE, for one, leaves a socket behind. */
export const scratch = mkdtempSync(join(tmpdir(), 'respool-bench-'))

const children = new Set()
process.once('exit', () => {
  for (const child of children) child.kill('SIGKILL')
  rmSync(scratch, { recursive: true, force: true })
})
for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => process.exit(1))

/** Starts a program on a core; its stderr is ours. */
export function start(command, core) {
  const env = { ...process.env, TMPDIR: scratch }
  const [program, ...rest] = canPin ? ['taskset', '-c', String(core), ...command] : command
  const child = spawn(program, rest, { stdio: ['pipe', 'pipe', 'inherit'], env })
  // what it cannot be told any more it is not told: its end is noticed by who reads from it
  child.stdin.on('error', () => undefined)
  children.add(child)
  child.once('exit', () => children.delete(child))
  child.once('error', (error) => {
    children.delete(child)
    console.error(`${program}: ${error.message}`)
  })
  return child
}

/**
 * A child that speaks lines of JSON: `next(withinMs)` is what it says next, an error when that takes longer, and
 * `ask(question, withinMs)` says something first.
 */
export function talkTo(child, name) {
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  const read = async () => {
    for (;;) {
      const { value, done } = await lines.next()
      if (done) throw new Error(`${name} ended`)
      if (value.startsWith('{')) return JSON.parse(value) // a client may write a log there
    }
  }
  const next = async (withinMs) => {
    let timer
    const late = new Promise((_, reject) => {
      timer = setTimeout(() => reject(new Error(`${name} was silent for ${withinMs} ms`)), withinMs)
    })
    return await Promise.race([read(), late]).finally(() => clearTimeout(timer))
  }
  const ask = (question, withinMs) => {
    child.stdin.write(`${JSON.stringify(question)}\n`)
    return next(withinMs)
  }
  return { next, ask, stop: () => child.kill('SIGKILL') }
}

/** Microseconds of CPU that the main thread of a process has had; `undefined` where the system does not tell. */
export function mainThreadCpu(pid) {
  try {
    const [nanoseconds] = readFileSync(`/proc/${pid}/task/${pid}/schedstat`, 'latin1').split(' ')
    return Number(nanoseconds) / 1000
  } catch {
    return undefined
  }
}
