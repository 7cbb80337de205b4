// One run of one scenario, from an empty directory to the figures. Whatever happens, what it started is ended.

import { setTimeout as sleep } from 'node:timers/promises'
import { startProxiedTopology } from '../support/proxied-topology.ts'
import {
  eventually,
  request,
  startTopology,
  type TestServer,
  type TestTopology,
} from '../support/real-servers.ts'
import type { Cleanup } from '../support/temp-dir.ts'
import { ClientProcess, type Start } from './client-process.ts'
import { type Figures, type Findings, judge } from './judge.ts'
import { COUNTER, type ErrorCount, kindOf, uniqueKey } from './protocol.ts'
import type { Scenario } from './scenario.ts'
import { listen, publicPort, Stage } from './stage.ts'

export interface RunOptions {
  /** Writes a second, and as many reads. */
  readonly rate: number
  readonly adoptEarly: boolean
  /** Only what is needed to see whether the laws hold. */
  readonly isShort: boolean
}

export interface Run extends RunOptions {
  readonly scenario: string
  readonly start: Start
  /** `undefined` where there is no load. */
  readonly figures: Figures | undefined
  readonly errors: readonly ErrorCount[]
  readonly unhandled: readonly string[]
  /** What the harness waited for in vain. */
  readonly trouble: string | undefined
}

/** Writes a second, and as many reads. */
export const DEFAULT_RATE = 200

const DOWN_AFTER_MS = 1_000
const FAILOVER_TIMEOUT_MS = 5_000
const COMMAND_TIMEOUT_MS = 5_000
const REPLICAS = 2
/** A client that hangs at the start is given up. */
const START_MS = 20_000
/** The load before the fault. */
const STEADY_MS = 1_000
const LINGER_MS = 2_000
const SHORT_LINGER_MS = 1_500
const FINAL_MASTER_MS = 20_000
/** Keys of one question to the server at the end. */
const KEYS_AT_ONCE = 1_000

/** @throws when the deployment cannot be started, or the client's process dies */
export async function runScenario(scenario: Scenario, options: RunOptions): Promise<Run> {
  const t = new Cleanups()
  try {
    return await runOn(t, scenario, options)
  } finally {
    await t.run()
  }
}

async function runOn(t: Cleanup, scenario: Scenario, options: RunOptions): Promise<Run> {
  const topology = await startDeployment(t, scenario)
  const heard = await listen(t, topology)
  const all = {
    name: topology.name,
    sentinels: topology.sentinels.map((sentinel) => `127.0.0.1:${publicPort(topology, sentinel)}`),
  }
  const known = (await scenario.start?.(t, all)) ?? all
  const { rate, adoptEarly, isShort } = options
  const client = new ClientProcess(t, {
    ...known,
    adoptEarly,
    rate,
    commandTimeout: COMMAND_TIMEOUT_MS,
    replicas: REPLICAS,
  })
  const start = await client.start(START_MS)
  const result = { scenario: scenario.name, ...options, start }
  if (start.error !== undefined || scenario.isRefused) {
    const trouble =
      start.error !== undefined && scenario.isRefused ? undefined : (start.error?.message ?? 'no error')
    return { ...result, figures: undefined, errors: [], unhandled: [], trouble }
  }
  await client.flows()
  await sleep(STEADY_MS)

  const stage = new Stage(topology, client, heard, isShort)
  let trouble: string | undefined
  try {
    await scenario.act(stage)
    await client.flows()
    await sleep(isShort ? SHORT_LINGER_MS : (scenario.lingerMs ?? LINGER_MS))
  } catch (error) {
    trouble = (error as Error).message // the figures tell what became of the commands
  }
  const ledger = await client.stop()
  const findings = await look(await lastMaster(stage), ledger.writes.sentAt.length)
  return {
    ...result,
    figures: judge(ledger, stage.phases, findings, COMMAND_TIMEOUT_MS),
    errors: ledger.errors,
    unhandled: ledger.unhandled,
    trouble,
  }
}

async function startDeployment(t: Cleanup, scenario: Scenario): Promise<TestTopology> {
  const begin = scenario.isProxied ? startProxiedTopology : startTopology
  const topology = await begin(t, {
    replicas: REPLICAS,
    sentinels: 3,
    failoverTimeout: FAILOVER_TIMEOUT_MS,
    ...scenario.topology,
  })
  // not from the start: a sentinel would take all members for down before it has seen them
  for (const sentinel of topology.sentinels) {
    await request(
      sentinel,
      ...['SENTINEL', 'SET', topology.name],
      ...['down-after-milliseconds', String(DOWN_AFTER_MS)],
    )
  }
  return topology
}

/** The server whose data set counts: the one that the sentinels agree on and that says itself that it is a master. */
async function lastMaster(stage: Stage): Promise<TestServer> {
  const { topology } = stage
  let found: TestServer | undefined
  await eventually(
    'the sentinels agree on a master',
    async () => {
      const answers = await Promise.all(
        topology.sentinels.map((sentinel) =>
          request(sentinel, 'SENTINEL', 'GET-MASTER-ADDR-BY-NAME', topology.name).catch(() => undefined),
        ),
      )
      const ports = new Set(answers.flatMap((answer) => (Array.isArray(answer) ? [Number(answer[1])] : [])))
      const [port] = ports
      if (ports.size > 1) return false
      const server = port === undefined ? stage.master : stage.serverAt(port) // none of them is alive
      const role = await request(server, 'ROLE')
      found = Array.isArray(role) && role[0] === 'master' ? server : undefined
      return found
    },
    { timeout: FINAL_MASTER_MS, interval: 50 },
  )
  return found as TestServer
}

/** What is left of the writes. */
async function look(server: TestServer, writes: number): Promise<Findings> {
  const values: (string | null | undefined)[] = new Array(writes).fill(undefined)
  const numbers = [...values.keys()].filter((number) => ['set', 'once'].includes(kindOf(number)))
  for (let from = 0; from < numbers.length; from += KEYS_AT_ONCE) {
    const some = numbers.slice(from, from + KEYS_AT_ONCE)
    const reply = await request(server, 'MGET', ...some.map(uniqueKey))
    if (!Array.isArray(reply)) throw new Error(`MGET gave ${reply}`)
    for (const [i, number] of some.entries()) values[number] = reply[i] as string | null
  }
  return { values, counter: Number(await request(server, 'GET', COUNTER)) }
}

/** What a test has from its runner, for a program. In the order of registration, as there. */
class Cleanups implements Cleanup {
  readonly #all: (() => Promise<void> | void)[] = []

  after(fn: () => Promise<void> | void): void {
    this.#all.push(fn)
  }

  /** One that fails keeps none of the others from being run. */
  async run(): Promise<void> {
    const errors: unknown[] = []
    for (const fn of this.#all.splice(0)) {
      try {
        await fn()
      } catch (error) {
        errors.push(error)
      }
    }
    if (errors.length > 0) throw new AggregateError(errors, 'the clean-up failed')
  }
}
