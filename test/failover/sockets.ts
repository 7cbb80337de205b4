// The life of every TCP socket that this process opens, as Node's own diagnostics channel tells of them.

import { subscribe } from 'node:diagnostics_channel'
import type { Socket, TcpNetConnectOpts } from 'node:net'
import { type SocketLife, wallNow } from './protocol.ts'

/** Begins to watch; the function gives all that were opened since. */
export function watchSockets(): () => SocketLife[] {
  const lives: { port: number; openedAt: number; closedAt: number | undefined; readonly socket: Socket }[] =
    []
  subscribe('net.client.socket', (message) => {
    const { socket } = message as { readonly socket: Socket }
    const life = { port: 0, openedAt: wallNow(), closedAt: undefined as number | undefined, socket }
    lives.push(life)
    // an option of the call, so known before the connection is; of a socket that never connects, too
    socket.once('connectionAttempt', (_host: string, port: TcpNetConnectOpts['port']) => {
      life.port = port
    })
    socket.once('close', () => {
      life.closedAt = wallNow()
    })
  })
  return () => lives.map(({ port, openedAt, closedAt }) => ({ port, openedAt, closedAt }))
}
