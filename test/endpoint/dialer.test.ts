// What is made of a dial: a connection that was looked at, or trouble.

import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import type { Connection } from '../../lib/connection/index.ts'
import { Dialer } from '../../lib/endpoint/dialer.ts'
import { ConnectionError } from '../../lib/errors.ts'
import { greet, scriptedServer } from '../support/scripted-server.ts'

type Look = (connection: Connection) => Promise<void>

async function dialerTo(t: TestContext, verify?: Look) {
  const server = await scriptedServer(t, (command) => greet(command))
  const troubles: Error[] = []
  const ending = new AbortController()
  const dialer = new Dialer(
    server.address,
    {
      connection: { ...server.options, commandTimeout: 2_000 },
      verify,
      onTrouble: (error) => troubles.push(error),
    },
    undefined,
    ending.signal,
  )
  const dial = async (signal = new AbortController().signal): Promise<Connection> => {
    const connection = await dialer.dial(signal)
    t.after(() => connection.destroy())
    return connection
  }
  return { server, dial, troubles, ending }
}

test('nobody has a connection before it was looked at', async (t) => {
  const seen: Connection[] = []
  const { dial, troubles } = await dialerTo(t, async (connection) => {
    seen.push(connection)
  })
  assert.deepEqual([await dial()], seen)
  assert.deepEqual(troubles, [])
})

test('a look that fails destroys the connection, and is trouble', async (t) => {
  const reason = new Error('not the one')
  let seen: Connection | undefined
  const { dial, troubles } = await dialerTo(t, (connection) => {
    seen = connection
    return Promise.reject(reason)
  })
  const error = await dial().catch((it: unknown) => it)
  assert.ok(error instanceof ConnectionError)
  assert.equal(error.code, 'HANDSHAKE_FAILED')
  assert.equal(error.message, 'the look at a new connection failed: not the one')
  assert.equal(error.cause, reason)
  assert.deepEqual(troubles, [error])
  assert.notEqual(seen?.error, undefined)
})

test('a dial that its signal ends is no trouble', async (t) => {
  const controller = new AbortController()
  const { dial, troubles } = await dialerTo(t, ({ closed }) => {
    controller.abort()
    return closed.then(() => Promise.reject(new Error('ended')))
  })
  await assert.rejects(dial(controller.signal))
  assert.deepEqual(troubles, [])
})

test('what fails after the end fails for the reason of the end, and is no trouble', async (t) => {
  const over = new Error('replaced')
  const { dial, troubles, ending } = await dialerTo(t, async () => {
    ending.abort(over)
    throw new Error('whatever')
  })
  await assert.rejects(dial(), over)
  assert.deepEqual(troubles, [])
})
