// What a server says of itself, before it is used. ROLE alone does not prove a master (a demoted one may not
// know yet); it disproves one.

import type { Connection } from '../connection/index.ts'
import type { Endpoint } from '../endpoint/index.ts'
import { ConnectionError } from '../errors.ts'
import { type Role, roleOf } from './replies.ts'

/** @throws {ConnectionError} `HANDSHAKE_FAILED`: the role is none of those */
export async function verifyRole(connection: Connection, expected: readonly Role['kind'][]): Promise<void> {
  const { address } = connection
  const role = roleOf(await connection.execute(['ROLE']))
  if (expected.includes(role.kind)) return
  const said = role.kind === 'other' ? `'${role.name}'` : role.kind
  const message = `${address} says its role is ${said}, not ${expected.join(' or ')}`
  throw new ConnectionError('HANDSHAKE_FAILED', message, { address, phase: 'handshake' })
}

/** Whether the server, asked now, says that it is a master. Never rejects: no answer is a no. */
export async function saysMaster(endpoint: Endpoint, withinMs: number): Promise<boolean> {
  try {
    return roleOf(await endpoint.execute(['ROLE'], { timeout: withinMs })).kind === 'master'
  } catch {
    return false // why shows where commands fail; here it only means: ask again
  }
}
