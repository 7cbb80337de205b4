// A proxy before a server that can hold back what the server says to its replicas, and to nobody else: replication
// that is late, on demand.

import type { AddressInfo } from 'node:net'
import { connect, createServer, type Socket } from 'node:net'
import type { Cleanup } from './temp-dir.ts'

export interface DelayingProxy {
  readonly port: number
  /** Milliseconds by which the replication stream is late from now on; `Infinity` stops it. */
  delay: number
  /** Connections that turned out to be replicas. */
  readonly replicas: number
}

/** Listens on a port of its own and passes everything on to `target`; the end of `t` closes it. */
export async function delayingProxy(t: Cleanup, target: { readonly port: number }): Promise<DelayingProxy> {
  const sockets = new Set<Socket>()
  const proxy = { port: 0, delay: 0, replicas: 0 }
  const server = createServer((client) => {
    const upstream = connect({ port: target.port, host: '127.0.0.1', noDelay: true })
    client.setNoDelay(true)
    let isReplica = false
    /** What the server said, with the instant; given on in order. */
    const late: { readonly at: number; readonly bytes: Buffer }[] = []
    const giveOn = () => {
      while (late[0] !== undefined && performance.now() >= late[0].at + proxy.delay) {
        client.write((late.shift() as { bytes: Buffer }).bytes)
      }
    }
    const timer = setInterval(giveOn, 5)
    client.on('data', (bytes: Buffer) => {
      if (!isReplica && /\bPSYNC\b/i.test(bytes.toString('latin1'))) {
        isReplica = true
        proxy.replicas += 1
      }
      upstream.write(bytes)
    })
    upstream.on('data', (bytes: Buffer) => {
      if (!isReplica) return client.write(bytes)
      late.push({ at: performance.now(), bytes })
      return giveOn()
    })
    for (const socket of [client, upstream]) {
      sockets.add(socket)
      socket.on('error', () => undefined) // its 'close' follows
      socket.on('close', () => {
        clearInterval(timer)
        sockets.delete(socket)
        client.destroy()
        upstream.destroy()
      })
    }
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  proxy.port = (server.address() as AddressInfo).port
  t.after(() => {
    server.close()
    for (const socket of sockets) socket.destroy()
  })
  return proxy
}
