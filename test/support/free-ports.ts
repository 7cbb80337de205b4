/**
 * Ports for servers that a test starts itself.
 *
 * The ports were free on 127.0.0.1 a moment ago, which is all anyone can say: nothing holds them
 * until the test's server listens. All are held together while they are chosen, so one call never
 * gives the same port twice; each process remembers what it gave, so neither do two calls in it.
 * They are taken from below the range that systems use for outgoing connections: a port from inside
 * it (what `listen(0)` gives) can be taken by any client's socket before the server gets to it.
 */
import { randomInt } from 'node:crypto'
import { createServer, type Server } from 'node:net'

/** Linux gives outgoing connections 32768 and up, macOS and IANA 49152 and up. */
const lowest = 20_000
const highest = 32_767

/** How many taken ports to look at for one free one. In 12,768 ports, 200 misses mean something else. */
const triesPerPort = 200

const given = new Set<number>()

/** Finds `count` different ports of 127.0.0.1 on which a server can listen. */
export async function freePorts(count: number): Promise<number[]> {
  const held: Server[] = []
  const ports: number[] = []
  try {
    for (let tries = count * triesPerPort; ports.length < count; tries -= 1) {
      if (tries <= 0) throw new Error(`no ${count} free ports between ${lowest} and ${highest}`)
      const port = randomInt(lowest, highest + 1)
      if (given.has(port)) continue
      const server = await hold(port)
      if (server === undefined) continue
      given.add(port)
      held.push(server)
      ports.push(port)
    }
    return ports
  } finally {
    await Promise.all(held.map(release))
  }
}

/** Listens on the port, or gives `undefined` when it cannot be had. */
function hold(port: number): Promise<Server | undefined> {
  return new Promise((resolve) => {
    const server = createServer()
    server.once('error', () => resolve(undefined))
    server.listen({ port, host: '127.0.0.1', exclusive: true }, () => resolve(server))
  })
}

function release(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve())
  })
}
