// The process with the client: so that nothing the harness does disturbs its event loop. It takes its plan as an
// argument, and ends with the harness, however that ends.

import { setTimeout as sleep } from 'node:timers/promises'
import { type Client, createClient } from '../../lib/client/index.ts'
import { RespoolError } from '../../lib/errors.ts'
import { Load } from './load.ts'
import { type ClientSwitch, type Order, type Plan, type Word, wallNow } from './protocol.ts'
import { watchSockets } from './sockets.ts'
import { startSubscriber } from './subscriber.ts'

const PROGRESS_MS = 50
/** Replicas that do not come are no reason not to begin. */
const REPLICAS_MS = 10_000
/** After the deadline of the last command, what has not settled never will. */
const MARGIN_MS = 1_000

const plan = JSON.parse(process.argv[2] ?? '') as Plan
const unhandled: string[] = []
process.on('unhandledRejection', (reason) => unhandled.push(`rejection: ${String(reason)}`))
process.on('uncaughtException', (error) => unhandled.push(`exception: ${String(error)}`))
process.on('disconnect', () => process.exit())

const sockets = watchSockets()
const switches: ClientSwitch[] = []
const startedAt = wallNow()
const client = createClient({
  sentinel: { name: plan.name, sentinels: plan.sentinels, adoptEarly: plan.adoptEarly },
  readFrom: 'prefer-replica',
  commandTimeout: plan.commandTimeout,
})
client.on('switch', ({ from, to }) => switches.push({ at: wallNow(), from, to }))

try {
  await client.call('SET', 'started', '1')
  tell({ kind: 'started', tookMs: wallNow() - startedAt })
  await drive()
} catch (error) {
  const { code, message } = error instanceof RespoolError ? error : { code: 'none', message: String(error) }
  tell({ kind: 'refused', tookMs: wallNow() - startedAt, code, message })
}
client.destroy()

async function drive(): Promise<void> {
  await areRead(client, plan.replicas)
  const load = new Load(client, plan.rate)
  const subscriber = await startSubscriber(client, (error) => load.note('publish', error))
  const reporter = setInterval(() => tell({ kind: 'progress', progress: load.progress }), PROGRESS_MS)
  await new Promise<void>((resolve) => {
    process.on('message', (order: Order) => {
      if (order.kind === 'stop') resolve()
    })
  })
  load.stop()
  subscriber?.stop()
  clearInterval(reporter)
  const giveUpAt = wallNow() + plan.commandTimeout + MARGIN_MS
  while (load.open > 0 && wallNow() < giveUpAt) await sleep(20)
  // messages that are on their way
  await sleep(100)
  tell({
    kind: 'ledger',
    ledger: {
      writes: load.writes,
      reads: load.reads,
      errors: load.errors,
      switches,
      sockets: sockets(),
      unhandled,
      longestStallMs: load.longestStallMs,
      subscription: subscriber?.log,
    },
  })
}

async function areRead(client: Client, replicas: number): Promise<void> {
  const giveUpAt = wallNow() + REPLICAS_MS
  while (wallNow() < giveUpAt) {
    if (client.topology?.replicas.filter(({ healthy }) => healthy).length === replicas) return
    await sleep(20)
  }
}

function tell(word: Word): void {
  process.send?.(word)
}
