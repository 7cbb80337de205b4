// A socket that does nothing but write commands encoded beforehand and count replies by their length, in
// lockstep: the next batch when the last reply of this one is in. The floor of Node's socket layer in CPU; no
// bound on throughput, since client and server take turns.

import { connect } from 'node:net'

const encode = (command) =>
  Buffer.from(
    `*${command.length}\r\n${command.map((arg) => `$${Buffer.byteLength(String(arg))}\r\n${arg}\r\n`).join('')}`,
  )

export async function openRaw({ host, port }) {
  const socket = await dial(host, port)
  let wanted = 0
  let onDone = (_surplus) => undefined
  const take = (length) => {
    wanted -= length
    if (wanted <= 0) onDone(-wanted)
  }
  socket.take = take
  /** Bytes of one reply, found by asking once. */
  const learn = (command) =>
    new Promise((resolve) => {
      wanted = 1
      let total = 0
      let timer
      onDone = () => {
        total += 1 - wanted
        wanted = 1
        clearTimeout(timer)
        timer = setTimeout(() => resolve(total), 20)
      }
      socket.write(encode(command))
    })
  return {
    /** Runs `count` copies of the command as one batch. */
    async prepare(command, count) {
      const replyBytes = await learn(command)
      const batch = Buffer.concat(Array.from({ length: count }, () => encode(command)))
      return () =>
        new Promise((resolve) => {
          wanted = replyBytes * count
          onDone = resolve
          socket.write(batch)
        })
    },
    close: async () => socket.destroy(),
  }
}

function dial(host, port) {
  return new Promise((resolve, reject) => {
    const socket = connect(
      {
        host,
        port,
        noDelay: true,
        onread: {
          buffer: Buffer.allocUnsafeSlow(64 * 1024),
          callback: (length) => {
            socket.take(length)
            return true
          },
        },
      },
      () => resolve(socket),
    )
    socket.on('error', reject)
  })
}
