// Faults that are there when the client starts.

import { createServer } from 'node:net'
import { freePorts } from '../../support/free-ports.ts'
import type { Cleanup } from '../../support/temp-dir.ts'
import type { Known, Scenario } from '../scenario.ts'

export const startSentinelsRefused: Scenario = {
  name: 'start-sentinels-refused',
  about: 'of the sentinels that the client is told, all but the last refuse connections',
  start: async (_, known) => {
    const dead = await freePorts(2)
    return withFirst(known, dead)
  },
  act: async (stage) => stage.fault(),
}

export const startSentinelsSilent: Scenario = {
  name: 'start-sentinels-silent',
  about: 'of the sentinels that the client is told, all but the last accept and stay silent',
  start: async (t, known) => withFirst(known, [await silentPort(t), await silentPort(t)]),
  act: async (stage) => stage.fault(),
}

export const unknownMaster: Scenario = {
  name: 'unknown-master',
  about: 'the sentinels know no master of that name',
  start: async (_, known) => ({ ...known, name: 'nobody' }),
  isRefused: true,
  act: async () => undefined,
}

function withFirst({ name, sentinels }: Known, ports: readonly number[]): Known {
  return { name, sentinels: [...ports.map((port) => `127.0.0.1:${port}`), ...sentinels.slice(-1)] }
}

async function silentPort(t: Cleanup): Promise<number> {
  const [port = 0] = await freePorts(1)
  const server = createServer((socket) => {
    socket.on('error', () => undefined)
    socket.resume()
    t.after(() => void socket.destroy())
  })
  t.after(() => void server.close())
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve))
  return port
}
