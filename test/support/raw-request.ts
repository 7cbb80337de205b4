// One command, one reply, over a socket of its own: how the tests talk to real servers without the library, so
// that a fault of ours cannot hide in the tool that is to find it. RESP2 only, and small replies.

import { readFileSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'

/** Paths of PEM files; the server then speaks TLS, and only TLS, on its port. */
export interface TestServerTls {
  readonly cert: string
  readonly key: string
  readonly ca: string
  /** Clients have to show a certificate of this authority. @default false */
  readonly authClients?: boolean
}

/** Where a server is, and how to be let in. */
export interface Address {
  readonly port: number
  readonly password?: string | undefined
  readonly tls?: TestServerTls | undefined
}

/** A RESP2 reply as the tests' own reader sees it; error replies are `Error`s, in arrays too. */
export type RawReply = string | number | null | Error | readonly RawReply[]

const replyTimeoutMs = 1000

/** Sends one command over a new connection. An error reply is returned, not thrown; a dead server rejects. */
export function request(server: Address, ...command: string[]): Promise<RawReply> {
  const socket = server.tls
    ? connectTls({
        port: server.port,
        host: '127.0.0.1',
        rejectUnauthorized: false,
        ...identity(server.tls),
      })
    : connect({ port: server.port, host: '127.0.0.1' })
  const password = server.password
  return new Promise<RawReply>((resolve, reject) => {
    let toSkip = password === undefined ? 0 : 1
    readReplies(socket, (reply) => {
      if (toSkip-- > 0) return
      socket.destroy()
      resolve(reply)
    })
    socket.on('error', reject)
    socket.on('close', () => reject(new Error(`${server.port} closed the connection`)))
    socket.setTimeout(replyTimeoutMs, () =>
      socket.destroy(new Error(`${server.port} answered nothing in ${replyTimeoutMs} ms`)),
    )
    if (password !== undefined) socket.write(encode(['AUTH', password]))
    socket.write(encode(command))
  })
}

/** The bytes of a command. */
export function encode(command: readonly string[]): string {
  return `*${command.length}\r\n${command.map((it) => `$${Buffer.byteLength(it)}\r\n${it}\r\n`).join('')}`
}

/** Calls back with every reply and message that arrives on the socket. */
export function readReplies(socket: Socket, onReply: (reply: RawReply) => void): void {
  let pending = Buffer.alloc(0)
  socket.on('data', (chunk: Buffer) => {
    pending = Buffer.concat([pending, chunk])
    for (;;) {
      const parsed = parseReply(pending, 0)
      if (parsed === undefined) return
      pending = pending.subarray(parsed.end)
      onReply(parsed.reply)
    }
  })
}

// reply = "+" text CRLF | "-" text CRLF | ":" integer CRLF | "$" length CRLF bytes CRLF | "*" count CRLF reply…
// A length or count of -1 is null. Undefined: the bytes end before the reply does.
function parseReply(bytes: Buffer, start: number): { reply: RawReply; end: number } | undefined {
  const lineEnd = bytes.indexOf('\r\n', start)
  if (lineEnd < 0) return undefined
  const kind = String.fromCharCode(bytes[start] ?? 0)
  const line = bytes.toString('utf8', start + 1, lineEnd)
  let end = lineEnd + 2
  if (kind === '+') return { reply: line, end }
  if (kind === '-') return { reply: new Error(line), end }
  const number = Number(line)
  if (kind === ':') return { reply: number, end }
  if (number < 0) return { reply: null, end }
  if (kind === '$') {
    if (bytes.length < end + number + 2) return undefined
    return { reply: bytes.toString('utf8', end, end + number), end: end + number + 2 }
  }
  if (kind !== '*') throw new Error(`no RESP2 reply begins with ${JSON.stringify(kind)}`)
  const items: RawReply[] = []
  for (let i = 0; i < number; i++) {
    const item = parseReply(bytes, end)
    if (item === undefined) return undefined
    items.push(item.reply)
    end = item.end
  }
  return { reply: items, end }
}

function identity(tls: TestServerTls) {
  return { cert: readFileSync(tls.cert), key: readFileSync(tls.key) }
}
