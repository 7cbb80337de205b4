// Clients of the tests: each ends with its test, and what failed in them is a RespoolError.

import assert from 'node:assert/strict'
import type { TestContext } from 'node:test'
import { inspect } from 'node:util'
import { type Client, type ClientOptions, createClient } from '../../lib/client/index.ts'
import { RespoolError } from '../../lib/errors.ts'
import type { ScriptedNode } from '../sentinel/scripted-deployment.ts'

/** A client of one server, without PINGs of its own unless told. */
export function clientOf(
  t: TestContext,
  { port }: { readonly port: number },
  options: ClientOptions = {},
): Client {
  const client = createClient({ port, pingInterval: 0, ...options })
  t.after(() => client.destroy())
  return client
}

export async function failure(reply: Promise<unknown>): Promise<RespoolError> {
  const outcome = await reply.then(
    (value) => assert.fail(`no error, but ${inspect(value)}`),
    (reason: unknown) => reason,
  )
  assert.ok(outcome instanceof RespoolError, inspect(outcome))
  return outcome
}

/** The commands that arrived, as text, without those that a client sends by itself. */
export function arrived(node: ScriptedNode): string[] {
  const own = new Set(['HELLO', 'CLIENT', 'ROLE', 'PING'])
  return node.server.commands.filter(([name = '']) => !own.has(name)).map((it) => it.join(' '))
}

/** Only their names, in one text. */
export function arrivedNames(node: ScriptedNode): string {
  return arrived(node)
    .map((it) => it.split(' ')[0])
    .join(' ')
}
