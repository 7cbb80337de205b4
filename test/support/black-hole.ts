// An address that swallows what is sent to it, as a firewall or a host that is down does: a connection to it neither
// opens nor fails. On loopback only: a process listens, accepts nothing because it is stopped, and has its queue of
// connections filled, so that the kernel drops what else comes.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import type { Cleanup } from './temp-dir.ts'

export interface BlackHole {
  readonly host: string
  readonly port: number
}

const MAX_QUEUED = 8
/** On loopback a connection opens in less than 1 ms. */
const HUNG_MS = 200

/** @returns `undefined` where the system answers all the same; the end of `t` removes it */
export async function blackHole(t: Cleanup, host: string): Promise<BlackHole | undefined> {
  const program = `
    const server = require('node:net').createServer().listen({ host: process.argv.at(-1), port: 0, backlog: 1 }, () => {
      process.stdout.write(String(server.address().port), () => process.kill(process.pid, 'SIGSTOP'))
    })`
  const listener = spawn(process.execPath, ['-e', program, host], { stdio: ['ignore', 'pipe', 'inherit'] })
  t.after(() => void listener.kill('SIGKILL'))
  const [printed] = (await once(listener.stdout, 'data')) as [Buffer]
  const port = Number(String(printed))
  const queued: Socket[] = []
  t.after(() => {
    for (const socket of queued) socket.destroy()
  })
  while (queued.length < MAX_QUEUED) {
    const socket = connect({ host, port })
    queued.push(socket)
    const opening = once(socket, 'connect').then(
      () => 'open' as const,
      () => 'refused' as const,
    )
    const hung = new Promise<'hung'>((resolve) => setTimeout(resolve, HUNG_MS, 'hung'))
    const outcome = await Promise.race([opening, hung])
    if (outcome === 'hung') return { host, port }
    if (outcome === 'refused') return undefined
  }
  return undefined
}
