// Opens a socket: TCP, TLS or unix. All sockets read into one buffer of the process: each piece that arrives
// is decoded before the next read, so an idle connection holds no buffer of its own.

import { connect as connectTcp, type OnReadOpts, type Socket, type TcpNetConnectOpts } from 'node:net'
import type { ConnectionOptions as TlsOptions } from 'node:tls'
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

/** Who follows the way of a socket to its opening. Failures come as the socket's `error` event. */
export interface DialObserver {
  /** An address is tried: that of the options, or one of those of its name. */
  onAttempt(host: string, port: number): void
  onPhase(phase: ConnectionPhase): void
  /** It is ready for the handshake, the TLS handshake included. */
  onOpen(): void
}

/**
 * Starts to open a socket. Of a name with several addresses each is tried, IPv6 and IPv4 by turns, until one answers;
 * one that is silent has `net.getDefaultAutoSelectFamilyAttemptTimeout()` before the next one has its turn.
 *
 * @param tls `undefined` = without
 */
export function openSocket(
  options: ResolvedConnectionOptions,
  tls: TlsOptions | undefined,
  receiver: Receiver,
  observer: DialObserver,
): Socket {
  const onread: OnReadOpts = {
    buffer: readBuffer,
    callback(length, buffer) {
      receiver.receive(buffer as Buffer, length)
      return true
    },
  }
  const common = { onread, keepAlive: true, keepAliveInitialDelay: KEEP_ALIVE_MS, noDelay: true }
  const { host, port, path, lookup } = options
  const where = path === undefined ? { ...common, host, port, path } : { ...common, path }
  const how = lookup === undefined ? where : { ...where, lookup }
  if (tls === undefined) {
    return connectTcp(how as TcpNetConnectOpts)
      .on('connectionAttempt', (ip, at) => observer.onAttempt(ip, at))
      .once('connect', () => observer.onOpen())
  }
  // node:tls is loaded by its first use: it is a third of what the import of the library would cost
  const { connect: connectTls } = process.getBuiltinModule('node:tls')
  return connectTls({ ...tls, ...how } as TlsOptions)
    .on('connectionAttempt', (ip, at) => observer.onAttempt(ip, at))
    .once('connect', function (this: Socket) {
      observer.onPhase('tls')
      // a TLS socket drops these two of its options
      this.setNoDelay(true)
      this.setKeepAlive(true, KEEP_ALIVE_MS)
    })
    .once('secureConnect', () => observer.onOpen())
}
