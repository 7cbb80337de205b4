// Whether an idle connection has a peer still; what the endpoint makes of it is tested there.

import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { connect } from '../../lib/connection/index.ts'
import { PingWatch, ping } from '../../lib/endpoint/ping-watch.ts'
import { ConnectionError } from '../../lib/errors.ts'
import { greet, type Script, scriptedServer } from '../support/scripted-server.ts'

async function connected(t: TestContext, script: Script = () => undefined) {
  const server = await scriptedServer(t, (command, peer) => script(command, peer) ?? greet(command))
  const open = async () => {
    const connection = await connect(server.options)
    t.after(() => connection.destroy())
    return connection
  }
  const pingsOf = (index: number) =>
    server.peers[index]?.commands.filter(([name]) => name === 'PING').length ?? 0
  return { server, open, pingsOf }
}

test('the connection that is followed is asked, the one before is not any more', async (t) => {
  const { server, open, pingsOf } = await connected(t, ([name]) =>
    name === 'PING' ? '+PONG\r\n' : undefined,
  )
  const [before, now] = [await open(), await open()]
  const watch = new PingWatch(server.address, 20)
  t.after(() => watch.stop())
  watch.follow(before)
  watch.follow(now)
  await server.until(() => pingsOf(1) >= 3)
  assert.equal(pingsOf(0), 0)
})

test('an error that names the address ends a connection whose peer does not answer the question', async (t) => {
  const { open } = await connected(t, ([name]) => (name === 'PING' ? '' : undefined))
  const connection = await open()
  await ping(connection, 'it:1', 20)
  assert.ok(connection.error instanceof ConnectionError)
  assert.equal(connection.error.code, 'CONNECTION_LOST')
  assert.equal(connection.error.message, 'the peer does not answer: no answer to PING (it:1)')
})
