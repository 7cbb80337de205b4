// One workload, measured on all clients in turns: A B C B C A …, one process for each and one active at a time, so
// that a machine whose speed drifts does so for all of them.

import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { clients } from './clients/index.js'
import { CLIENT_CORE, start, talkTo } from './processes.js'
import { findBun } from './runtimes.js'
import { workloads } from './workloads.js'

const WORKER = join(dirname(fileURLToPath(import.meta.url)), 'worker.js')
/** For what does not end with the round: a reply of 1 MiB, a garbage collection, a machine that does other things. */
const GRACE_MS = 20_000

/**
 * One round of one client.
 * @typedef {object} Sample
 * @property {number} ops operations a second
 * @property {number} cpu µs of the client's CPU for each, all its threads
 * @property {number} [server] µs of the server's main thread for each
 *
 * @typedef {object} Plan
 * @property {any} server
 * @property {string} node the binary that runs the clients
 * @property {{ own: string, other: string | undefined }} builds
 * @property {number} rounds
 * @property {number} ms of one round
 * @property {number} warmup milliseconds before the first
 * @property {(note: string) => void} onNote is told who is left out and why
 */

/**
 * @param {string} work
 * @param {readonly string[]} names
 * @param {Plan} plan
 * @returns {Promise<Record<string, Sample[]>>} by client
 */
export async function measure(work, names, plan) {
  const workload = workloads[work]
  const where = plan.server.where[workload.over ?? 'tcp']
  if (where === undefined) {
    plan.onNote(`${work}: the server has no ${workload.over}`)
    return {}
  }
  await workload.prepare?.(plan.server.admin)
  const team = new Team(work, plan)
  try {
    for (const name of names) await team.join(name, where)
    await team.play((member) => member.round(plan.warmup))
    for (let i = 0; i < plan.rounds; i += 1) {
      await team.play(async (member) => {
        member.samples.push(await member.round(plan.ms))
      }, i)
    }
    return Object.fromEntries(team.members.map(({ name, samples }) => [name, samples]))
  } finally {
    team.stop()
  }
}

/** The clients that still take part; one that fails is left out, with a note. */
class Team {
  members = []
  #work
  #plan

  constructor(work, plan) {
    this.#work = work
    this.#plan = plan
  }

  async join(name, where) {
    const { node, builds, server } = this.#plan
    const { runtime, bySentinel, without = [] } = clients[name]
    const { over = 'tcp' } = workloads[this.#work]
    if (without.includes(over)) return this.#note(`${name} has no ${over}`)
    const binary = runtime === 'bun' ? findBun() : node
    if (binary === undefined) return this.#note(`${name}: ${runtime} is not installed`)
    const sentinel = bySentinel ? await server.sentinel() : undefined
    const task = { client: name, work: this.#work, where: { ...where, sentinel }, builds }
    const { next, ask, stop } = talkTo(start([binary, WORKER, JSON.stringify(task)], CLIENT_CORE), name)
    const round = async (ms) => {
      const before = server.cpu()
      const { ops, cpu, done } = await ask({ ms }, ms + GRACE_MS)
      return before === undefined ? { ops, cpu } : { ops, cpu, server: (server.cpu() - before) / done }
    }
    try {
      await next(GRACE_MS)
      this.members.push({ name, samples: [], round, stop })
    } catch (error) {
      stop()
      this.#note(`${error.message}; left out`)
    }
  }

  /** Each in turn, beginning with another one each time. */
  async play(turn, first = 0) {
    const { members } = this
    const order = members.map((_, i) => members[(i + first) % members.length])
    for (const member of order) {
      try {
        await turn(member)
      } catch (error) {
        member.stop()
        this.members = this.members.filter((other) => other !== member)
        this.#note(`${error.message}; left out`)
      }
    }
  }

  stop() {
    for (const { stop } of this.members) stop()
  }

  #note(text) {
    this.#plan.onNote(`${this.#work}: ${text}`)
  }
}
