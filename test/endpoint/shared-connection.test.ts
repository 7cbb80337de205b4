// The connection that commands share, on a ground that the test gives.

import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { type Connection, connect } from '../../lib/connection/index.ts'
import { SharedConnection } from '../../lib/endpoint/shared-connection.ts'
import { ConnectionError } from '../../lib/errors.ts'
import { settled } from '../support/clock.ts'
import { greet, type ScriptedServer, scriptedServer } from '../support/scripted-server.ts'

const fenced = new ConnectionError('FENCED', 'replaced', { address: 'it', phase: 'ready' })

/** To a server that answers ECHO. `onDialed` runs between the handshake and the first use. */
async function sharedTo(t: TestContext, onDialed: () => void = () => undefined) {
  const server: ScriptedServer = await scriptedServer(t, (command) =>
    command[0] === 'ECHO' ? `+${command[1]}\r\n` : greet(command),
  )
  const controller = new AbortController()
  const dialed: Connection[] = []
  const connection = { ...server.options, commandTimeout: 2_000 }
  const limits = { maxHeld: 100, maxHeldBytes: 10_000 }
  const shared = new SharedConnection(
    server.address,
    { connection, pool: {}, pingInterval: 0, suspectAfter: 0, ...limits },
    {
      dial: async (signal) => {
        const fresh = await connect({ ...connection, signal })
        dialed.push(fresh)
        onDialed()
        return fresh
      },
      ending: controller.signal,
      onSilentDeath: () => undefined,
    },
  )
  const end = () => {
    controller.abort(fenced)
    shared.stop(fenced)
    shared.destroy(fenced)
  }
  t.after(end)
  return { server, shared, dialed, end }
}

test('a command can go at once as long as there is a connection, and only then', async (t) => {
  const { shared } = await sharedTo(t)
  assert.equal(shared.flow(), undefined)
  assert.equal(await shared.executeLater(['ECHO', 'a'], undefined), 'a')
  assert.equal(await shared.flow()?.execute(['ECHO', 'b']), 'b')
  const connection = await shared.connect()
  connection.destroy()
  assert.equal(shared.flow(), undefined)
  assert.equal(await shared.executeLater(['ECHO', 'c'], undefined), 'c')
  assert.equal(shared.count, 2)
})

test('a connection that is made in the moment of the end is destroyed, and who waits for it is told why', async (t) => {
  let end = (): void => undefined
  const { shared, dialed, ...rest } = await sharedTo(t, () => end())
  end = rest.end
  await assert.rejects(shared.executeLater(['ECHO', 'a'], undefined), fenced)
  await settled()
  assert.equal(dialed[0]?.error, fenced)
  assert.equal(shared.isUp, false)
})

test('after the end nobody waits and nothing is dialed', async (t) => {
  const { server, shared, end } = await sharedTo(t)
  end()
  await assert.rejects(shared.connect(), fenced)
  await assert.rejects(shared.executeLater(['ECHO', 'a'], undefined), fenced)
  await assert.rejects(shared.executeAllLater([['ECHO', 'a']], undefined), fenced)
  assert.equal(shared.heldCount, 0)
  assert.equal(server.peers.length, 0)
})
