// A scripted server and a connection to it, both gone when the test ends.

import { type Connection, type ConnectionOptions, connect } from '../../lib/connection/index.ts'
import {
  type Script,
  type ScriptedServer,
  type ScriptedServerOptions,
  scriptedServer,
} from './scripted-server.ts'
import type { Cleanup } from './temp-dir.ts'

export interface Connected {
  readonly server: ScriptedServer
  readonly connection: Connection
}

/** The script has to answer the handshake, as `greet()` does. */
export async function connected(
  t: Cleanup,
  script: Script,
  options: ConnectionOptions = {},
  serverOptions?: ScriptedServerOptions,
): Promise<Connected> {
  const server = await scriptedServer(t, script, serverOptions)
  const connection = await connect({ ...server.options, ...options })
  t.after(() => connection.destroy())
  return { server, connection }
}
