// Peers that answer at random, well or not: what a connection makes of it is what the reference decoder says, for each
// command, each push, and for those who wait when the peer is at fault.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { connect } from '../../lib/connection/index.ts'
import { ProtocolError, ReplyError, type RespoolError } from '../../lib/errors.ts'
import type { Reply } from '../../lib/resp/index.ts'
import { corpus } from '../fuzz/corpus.ts'
import { showValue } from '../support/differential.ts'
import { mutate, randomCuts } from '../support/mutate.ts'
import { freshSeed, randomNumbers } from '../support/random-numbers.ts'
import { readByReference } from '../support/reference-decoder.ts'
import { greet, scriptedServer } from '../support/scripted-server.ts'

const WIRES = 400

test(`what ${WIRES} peers answer at random reaches who asked for it, or fails all that wait`, async (t) => {
  const seed = freshSeed()
  const random = randomNumbers(seed)
  const ends = { whole: 0, incomplete: 0, undecided: 0, PROTOCOL_ERROR: 0, PROTOCOL_LIMIT: 0 }
  let pieces: Buffer[] = []
  const server = await scriptedServer(t, (command, peer) => {
    if (command[0] !== 'GO') return greet(command)
    for (const piece of pieces) peer.send(piece)
    return undefined
  })
  for (let i = 0; i < WIRES; i += 1) {
    const wire = mutate(random, corpus)
    const { decoded, end } = readByReference(wire)
    ends[end] += 1
    const cuts = randomCuts(random, wire.length)
    pieces = [0, ...cuts].map((from, at) => wire.subarray(from, cuts[at] ?? wire.length))
    const replies = decoded.filter(({ isPush }) => !isPush)
    const pushes: Reply[] = []
    const connection = await connect({
      ...server.options,
      commandTimeout: 0,
      onPush: (it) => pushes.push([...it]),
    })
    const all = ['GO', ...replies.map(() => 'ON')].map((name) =>
      connection.call(name).then(showValue, (error: Error) => error),
    )
    const last = all.pop()
    const told = `RESPOOL_SEED=${seed}, wire ${i}: ${JSON.stringify(wire.toString('latin1'))}`
    assert.deepEqual(
      (await Promise.all(all)).map((it) => (it instanceof ReplyError ? showValue(it) : it)),
      replies.map(({ value }) => showValue(value)),
      told,
    )
    if (end === 'PROTOCOL_ERROR' || end === 'PROTOCOL_LIMIT') {
      const error = await last
      assert.ok(error instanceof ProtocolError && error.code === end, `${String(error)}; ${told}`)
      assert.equal(error.mayHaveExecuted, true)
    } else {
      connection.destroy()
      const { code } = (await last) as RespoolError
      assert.equal(code, 'CONNECTION_CLOSED', told)
    }
    await connection.closed
    const expected = decoded.filter(({ isPush }) => isPush).map(({ value }) => showValue(value))
    // a connection that was destroyed before they had all arrived has none of the rest
    const seen = pushes.map(showValue)
    assert.deepEqual(seen, end.startsWith('PROTOCOL') ? expected : expected.slice(0, seen.length), told)
  }
  assert.ok(ends.PROTOCOL_ERROR > 20 && ends.whole + ends.incomplete > 20, JSON.stringify(ends))
})
