// A server that does what it is told, for all that a real one does not do on demand: stall, cut a reply, lie, close
// at the wrong moment. It reads commands with a parser of its own and answers with the bytes that the script gives:
//
//   const server = await scriptedServer(t, (command, peer) => {
//     if (command[0] === 'GET') return '$1\r\nx\r\n'     // answer
//     if (command[0] === 'PING') return undefined         // say nothing
//     if (command[0] === 'CUT') peer.cut('$3\r\nabc\r\n', 5)
//     return greet(command)                               // the handshake, as Redis 7 answers it
//   })
//   const connection = await connect(server.options)
//
// The end of `t` closes it with all its sockets.

import { type AddressInfo, createServer, type Socket } from 'node:net'
import { createServer as createTlsServer } from 'node:tls'
import type { Certificate } from './certificate.ts'
import type { Cleanup } from './temp-dir.ts'

/** What is answered to a command; `undefined` = nothing, or the script has written to the peer itself. */
export type Script = (command: string[], peer: Peer) => string | Buffer | undefined

/** One connection to the server. */
export interface Peer {
  readonly socket: Socket
  /** Its place among the connections, from 0. */
  readonly index: number
  /** What it has sent, command by command. */
  readonly commands: string[][]
  readonly isClosed: boolean
  /** Writes bytes out of turn. */
  send(wire: string | Buffer): void
  /** Writes byte by byte, each in a segment of its own as far as the system allows; resolves after the last. */
  drip(wire: string | Buffer): Promise<void>
  /** Writes the first bytes of a reply, then closes. */
  cut(wire: string | Buffer, bytes: number): void
  /** Closes with a FIN, or with a RST. */
  close(): void
  reset(): void
}

export interface ScriptedServer {
  /** How `connect()` gets here. */
  readonly options: { readonly host: string; readonly port: number } | { readonly path: string }
  /** As errors name it: `127.0.0.1:port`, or the path. */
  readonly address: string
  /** All connections so far, the closed ones too. */
  readonly peers: readonly Peer[]
  /** The commands of all connections in the order of their arrival. */
  readonly commands: readonly string[][]
  /** Connections that are open. */
  readonly openCount: number
  /** Resolves when the condition holds; it is asked again after each connection, command and close. */
  until(condition: () => boolean): Promise<void>
  /** The certificate of connections from now on. */
  changeCertificate(certificate: Certificate): void
  /** Stops to listen and closes all connections. */
  close(): Promise<void>
}

export interface ScriptedServerOptions {
  /** The server speaks TLS. */
  readonly tls?: Certificate
  /** With TLS: only clients with this certificate are let in. */
  readonly clientCertificate?: Certificate
  /** The path of a unix socket instead of a port. */
  readonly path?: string
  /** @default '127.0.0.1' */
  readonly host?: string
  /** A free one by default. */
  readonly port?: number
  /** Called with each new connection; `peer.socket.pause()` here makes a peer that reads nothing. */
  readonly onConnect?: (peer: Peer) => void
}

/** Listens on a free port of 127.0.0.1, or where the options say. */
export async function scriptedServer(
  t: Cleanup,
  script: Script,
  options: ScriptedServerOptions = {},
): Promise<ScriptedServer> {
  const peers: ScriptedPeer[] = []
  const commands: string[][] = []
  const waiting = new Set<() => void>()
  const changed = () => {
    for (const check of [...waiting]) check()
  }
  const onSocket = (socket: Socket) => {
    const peer = new ScriptedPeer(socket, peers.length)
    peers.push(peer)
    // a test that cuts connections off cannot mind the errors that this brings
    socket.on('error', changed)
    socket.on('close', changed)
    readCommands(socket, (command) => {
      commands.push(command)
      peer.commands.push(command)
      const reply = script(command, peer)
      if (reply !== undefined) peer.send(reply)
      changed()
    })
    options.onConnect?.(peer)
    changed()
  }
  const { clientCertificate } = options
  const context = ({ key, cert }: Certificate) =>
    clientCertificate === undefined ? { key, cert } : { key, cert, ca: clientCertificate.cert }
  const requestCert = clientCertificate !== undefined
  const tlsServer =
    options.tls === undefined
      ? undefined
      : createTlsServer({ noDelay: true, requestCert, ...context(options.tls) }, onSocket)
  const server = tlsServer ?? createServer({ noDelay: true }, onSocket)
  server.on('tlsClientError', changed)
  const close = async () => {
    if (!server.listening) return
    const closed = new Promise((resolve) => server.close(resolve))
    for (const peer of peers) peer.socket.destroy()
    await closed
  }
  t.after(close)
  const host = options.host ?? '127.0.0.1'
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    if (options.path === undefined) server.listen(options.port ?? 0, host, resolve)
    else server.listen(options.path, resolve)
  })
  const { path } = options
  const port = path === undefined ? (server.address() as AddressInfo).port : 0
  return {
    options: path === undefined ? { host, port } : { path },
    address: path ?? (host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`),
    peers,
    commands,
    get openCount() {
      return peers.filter((peer) => !peer.isClosed).length
    },
    until: (condition) =>
      new Promise((resolve) => {
        const check = () => {
          if (!condition()) return
          waiting.delete(check)
          resolve()
        }
        waiting.add(check)
        check()
      }),
    changeCertificate: (certificate) => tlsServer?.setSecureContext(context(certificate)),
    close,
  }
}

/** The handshake, and PING, as a server of today answers them in RESP3; `undefined` for all other commands. */
export function greet(command: readonly string[]): string | undefined {
  switch (command[0]) {
    case 'HELLO':
      return '%2\r\n$6\r\nserver\r\n$5\r\nredis\r\n$5\r\nproto\r\n:3\r\n'
    case 'CLIENT':
    case 'AUTH':
    case 'SELECT':
      return '+OK\r\n'
    case 'PING':
      return '+PONG\r\n'
    default:
      return undefined
  }
}

/** The same of a server that does not know HELLO and speaks RESP2. */
export function greetInResp2(command: readonly string[]): string | undefined {
  return command[0] === 'HELLO' ? `-ERR unknown command '${command[0]}'\r\n` : greet(command)
}

class ScriptedPeer implements Peer {
  readonly socket: Socket
  readonly index: number
  readonly commands: string[][] = []

  constructor(socket: Socket, index: number) {
    this.socket = socket
    this.index = index
  }

  get isClosed(): boolean {
    return this.socket.destroyed
  }

  send(wire: string | Buffer): void {
    if (this.socket.writable) this.socket.write(wire)
  }

  async drip(wire: string | Buffer): Promise<void> {
    for (const byte of Buffer.from(wire)) {
      this.send(Buffer.of(byte))
      await new Promise(setImmediate)
    }
  }

  cut(wire: string | Buffer, bytes: number): void {
    this.socket.end(Buffer.from(wire).subarray(0, bytes))
  }

  close(): void {
    this.socket.end()
  }

  reset(): void {
    this.socket.resetAndDestroy()
  }
}

// command = "*" count CRLF argument…, argument = "$" length CRLF bytes CRLF
function readCommands(socket: Socket, onCommand: (command: string[]) => void): void {
  let pending: Buffer = Buffer.alloc(0)
  socket.on('data', (chunk: Buffer) => {
    pending = pending.length === 0 ? chunk : Buffer.concat([pending, chunk])
    let at = 0
    for (;;) {
      const parsed = parseCommand(pending, at)
      if (parsed === undefined) break
      at = parsed.end
      onCommand(parsed.command)
    }
    pending = pending.subarray(at)
  })
}

function parseCommand(bytes: Buffer, start: number): { command: string[]; end: number } | undefined {
  const command: string[] = []
  let at = start
  const number = (type: string): number | undefined => {
    const end = bytes.indexOf('\r\n', at)
    if (end < 0) return undefined
    const line = bytes.toString('latin1', at, end)
    if (!new RegExp(`^\\${type}\\d+$`).test(line)) throw new Error(`no command: ${JSON.stringify(line)}`)
    at = end + 2
    return Number(line.slice(1))
  }
  const count = number('*')
  if (count === undefined) return undefined
  while (command.length < count) {
    const length = number('$')
    if (length === undefined || bytes.length < at + length + 2) return undefined
    command.push(bytes.toString('utf8', at, at + length))
    at += length + 2
  }
  return { command, end: at }
}
