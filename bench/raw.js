// A socket that does nothing but write commands encoded beforehand and count the bytes of the replies, in
// lockstep: the next batch when the last reply of this one is in. The floor of Node's socket layer in CPU; no
// bound on throughput, since client and server take turns.

import { connect } from 'node:net'
import { connect as connectTls } from 'node:tls'

/** One for all sockets: nobody keeps what arrives. */
const readBuffer = Buffer.allocUnsafeSlow(64 * 1024)
/** Silence after which a reply is taken for complete while its length is learnt. */
const QUIET_MS = 20

/** `*<count> {$<length> <bytes>}`, the form of a command and, in RESP2, of a message. */
export function encode(parts) {
  const bulks = parts.map((part) => `$${Buffer.byteLength(String(part))}\r\n${part}\r\n`)
  return Buffer.from(`*${parts.length}\r\n${bulks.join('')}`)
}

/** A socket whose bytes go to its `take(length, buffer)`. */
export function dial({ ca, ...where }) {
  return new Promise((resolve, reject) => {
    const onread = {
      buffer: readBuffer,
      callback: (length, buffer) => {
        socket.take(length, buffer)
        return true
      },
    }
    const options = { ...where, noDelay: true, onread }
    const socket = ca === undefined ? connect(options) : connectTls({ ...options, ca })
    socket.once(ca === undefined ? 'connect' : 'secureConnect', () => resolve(socket))
    socket.once('error', reject)
    // a TLS socket drops this one of its options
    if (ca !== undefined) socket.once('connect', () => socket.setNoDelay(true))
  })
}

/** Connects, asks one thing, and is gone when it was answered. */
export async function dialOnce(where) {
  const socket = await dial(where)
  await exchange(socket, ['PING'])
  const gone = new Promise((resolve) => socket.once('close', resolve))
  socket.destroy()
  await gone
}

/** One command and the first piece of its reply. */
export function exchange(socket, command) {
  return new Promise((resolve) => {
    socket.take = (length, buffer) => resolve(buffer.toString('latin1', 0, length))
    socket.write(encode(command))
  })
}

/**
 * A batch of `count` commands, those given in turn; their replies have to be as long each time.
 *
 * @returns runs the batch once
 */
export async function prepareBatch(socket, commands, count) {
  let replyBytes = 0
  for (const command of commands) replyBytes += await learn(socket, command)
  const encoded = commands.map(encode)
  const batch = Buffer.concat(Array.from({ length: count }, (_, i) => encoded[i % encoded.length]))
  const expected = (replyBytes * count) / commands.length
  return () =>
    new Promise((resolve, reject) => {
      let wanted = expected
      socket.take = (length) => {
        wanted -= length
        if (wanted === 0) resolve()
        else if (wanted < 0) reject(new Error(`BUG: ${-wanted} bytes more than ${count} replies have`))
      }
      socket.write(batch)
    })
}

/** Bytes of a command's reply, found by asking once. */
function learn(socket, command) {
  return new Promise((resolve) => {
    let total = 0
    let timer
    socket.take = (length) => {
      total += length
      clearTimeout(timer)
      timer = setTimeout(resolve, QUIET_MS, total)
    }
    socket.write(encode(command))
  })
}
