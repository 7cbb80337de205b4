// The fault proxy of test/support: what it does to a connection is what it says.

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { type TestContext, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { type FaultProxy, faultProxy } from '../support/fault-proxy.ts'
import { eventually } from '../support/real-servers.ts'

/** Long enough for bytes on loopback to arrive, were they to. */
const QUIET_MS = 100

/** A client's end of a connection, with what has arrived. */
interface End {
  readonly socket: Socket
  readonly arrived: () => string
  /** How it ended: the code of its error, or `'closed'`. */
  readonly ended: () => string | undefined
}

/** A server that sends back what it is sent, and a proxy before it. */
async function echo(
  t: TestContext,
): Promise<{ readonly proxy: FaultProxy; readonly peers: readonly Socket[] }> {
  const peers: Socket[] = []
  const server = createServer((socket) => {
    peers.push(socket)
    socket.on('error', () => undefined)
    socket.pipe(socket)
  })
  t.after(() => {
    for (const peer of peers) peer.destroy()
    server.close()
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  return { proxy: await faultProxy(t, 0, () => port), peers }
}

async function dial(t: TestContext, { port }: FaultProxy, localAddress = '127.0.0.1'): Promise<End> {
  const socket = connect({ port, host: '127.0.0.1', localAddress })
  let text = ''
  let end: string | undefined
  socket.setEncoding('utf8').on('data', (part: string) => {
    text += part
  })
  socket.on('error', (error: NodeJS.ErrnoException) => {
    end = error.code
  })
  socket.on('close', () => {
    end ??= 'closed'
  })
  t.after(() => void socket.destroy())
  await new Promise((resolve) => socket.once('connect', resolve).once('close', resolve))
  return { socket, arrived: () => text, ended: () => end }
}

async function echoes(end: End, text: string): Promise<void> {
  const all = end.arrived() + text
  end.socket.write(text)
  await eventually(`${text} comes back`, () => end.arrived() === all)
}

test('bytes pass both ways, and so does the end', async (t) => {
  const { proxy, peers } = await echo(t)
  const end = await dial(t, proxy)
  await echoes(end, 'a')
  assert.equal(proxy.openCount(), 1)
  end.socket.end('last')
  await eventually(
    'the last bytes and the end come back',
    () => end.arrived() === 'alast' && end.ended() === 'closed',
  )
  await eventually(
    'nothing is left',
    () => proxy.openCount() === 0 && peers.every(({ destroyed }) => destroyed),
  )
})

test('what is held arrives when it passes again, on old connections and on new ones', async (t) => {
  const { proxy, peers } = await echo(t)
  const old = await dial(t, proxy)
  await echoes(old, 'a')
  proxy.treatOpen('hold')
  proxy.treatNew('hold')
  const fresh = await dial(t, proxy)
  old.socket.write('b')
  fresh.socket.write('c')
  await sleep(QUIET_MS)
  assert.equal(old.arrived(), 'a')
  assert.equal(fresh.arrived(), '')
  assert.equal(peers.length, 1)
  proxy.treatNew('pass')
  proxy.treatOpen('pass')
  await eventually('both come back', () => old.arrived() === 'ab' && fresh.arrived() === 'c')
})

test('the end of the server is not seen through a connection that is held, until it passes again', async (t) => {
  const { proxy, peers } = await echo(t)
  const end = await dial(t, proxy)
  await echoes(end, 'a')
  proxy.treatOpen('hold')
  peers[0]?.resetAndDestroy()
  await sleep(QUIET_MS)
  assert.equal(end.ended(), undefined)
  proxy.treatOpen('pass')
  await eventually('it ends', () => end.ended())
})

test('a connection that was dropped stays silent, and new ones work', async (t) => {
  const { proxy } = await echo(t)
  const old = await dial(t, proxy)
  await echoes(old, 'a')
  proxy.treatOpen('drop')
  old.socket.write('b')
  const fresh = await dial(t, proxy)
  await echoes(fresh, 'c')
  proxy.treatOpen('pass')
  old.socket.write('d')
  await sleep(QUIET_MS)
  assert.equal(old.arrived(), 'a')
  assert.equal(old.ended(), undefined)
})

test('a connection that is reset ends with a RST', async (t) => {
  const { proxy } = await echo(t)
  const old = await dial(t, proxy)
  await echoes(old, 'a')
  proxy.treatOpen('reset')
  await eventually('it ends', () => old.ended() === 'ECONNRESET')
  proxy.treatNew('reset')
  const fresh = await dial(t, proxy)
  await eventually('a new one ends as well', () => fresh.ended() === 'ECONNRESET')
})

test('one address is treated, another is not', { skip: process.platform !== 'linux' }, async (t) => {
  const { proxy } = await echo(t)
  const [one, two] = [await dial(t, proxy), await dial(t, proxy, '127.0.1.1')]
  const isTwo = (host: string) => host === '127.0.1.1'
  proxy.treatOpen('hold', isTwo)
  proxy.treatNew('hold', isTwo)
  const three = await dial(t, proxy, '127.0.1.1')
  await echoes(one, 'a')
  await echoes(await dial(t, proxy), 'b')
  two.socket.write('c')
  three.socket.write('d')
  await sleep(QUIET_MS)
  assert.equal(two.arrived() + three.arrived(), '')
  assert.equal(proxy.openCount(isTwo), 2)
})
