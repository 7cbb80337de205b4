// Opens a socket: TCP, TLS or unix. All sockets read into one buffer of the process: each piece that arrives
// is decoded before the next read, so an idle connection holds no buffer of its own.

import { connect as connectTcp, type OnReadOpts, type Socket, type TcpNetConnectOpts } from 'node:net'
import { connect as connectTls, type ConnectionOptions as TlsOptions } from 'node:tls'
import type { ConnectionPhase } from '../errors.ts'
import type { ResolvedConnectionOptions } from './options.ts'

/** One read's worth; measured best on replies from 16 B to 1 MiB, larger loses the overlap with the server. */
const READ_BUFFER_BYTES = 64 * 1024
/** Idle time after which the kernel asks the peer whether it is still there. */
const KEEP_ALIVE_MS = 15_000

const readBuffer = Buffer.allocUnsafeSlow(READ_BUFFER_BYTES)

/** Who gets what arrives; the bytes are lent for the time of the call. */
export interface Receiver {
  receive(bytes: Buffer, length: number): void
}

/**
 * Starts to open a socket; `onOpen` is called when it is ready for the handshake, the TLS handshake included.
 * Until then failures come as the socket's `error` event.
 */
export function openSocket(
  options: ResolvedConnectionOptions,
  receiver: Receiver,
  onPhase: (phase: ConnectionPhase) => void,
  onOpen: () => void,
): Socket {
  const onread: OnReadOpts = {
    buffer: readBuffer,
    callback(length, buffer) {
      receiver.receive(buffer as Buffer, length)
      return true
    },
  }
  const common = { onread, keepAlive: true, keepAliveInitialDelay: KEEP_ALIVE_MS, noDelay: true }
  const where =
    options.path === undefined
      ? { ...common, host: options.host, port: options.port }
      : { ...common, path: options.path }
  if (options.tls === undefined || options.tls === false) {
    return connectTcp(where as TcpNetConnectOpts).once('connect', onOpen)
  }
  const own = typeof options.tls === 'function' ? options.tls() : options.tls === true ? {} : options.tls
  const socket = connectTls({ ...where, ...own } as TlsOptions)
  return socket
    .once('connect', () => {
      onPhase('tls')
      // a TLS socket drops these two of its options
      socket.setNoDelay(true)
      socket.setKeepAlive(true, KEEP_ALIVE_MS)
    })
    .once('secureConnect', onOpen)
}
