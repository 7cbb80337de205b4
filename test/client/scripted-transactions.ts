// MULTI and EXEC for scripted servers: what a transaction's commands are answered, and in which batches they came.

import type { ScriptedNode } from '../sentinel/scripted-deployment.ts'
import { array, error, integer, nullArray, simple } from '../support/resp-writer.ts'
import type { Peer } from '../support/scripted-server.ts'

/** Answers one command. */
export type Answer = (command: string[], peer: Peer) => string | Buffer | undefined | 'pass'

export interface Transactions {
  /** Commands that EXEC has run, in order. */
  readonly ran: string[][]
  /** EXEC that were answered with null, for a watched key was changed. */
  conflicts: number
}

/**
 * Has the node take transactions. EXEC runs what was queued; a command that `refuse` refuses is not queued.
 *
 * @param changed whether a watched key was changed, at each EXEC
 * @param answer takes every command first
 */
export function takeTransactions(
  node: ScriptedNode,
  {
    refuse = () => undefined,
    answer = () => 'pass',
    changed = () => false,
  }: {
    readonly refuse?: (command: string[]) => string | undefined
    readonly answer?: Answer
    readonly changed?: () => boolean
  } = {},
): Transactions {
  const open = new Map<Peer, { readonly queued: string[][]; isDirty: boolean }>()
  const told: Transactions = { ran: [], conflicts: 0 }
  node.intercept = (command, peer) => {
    const early = answer(command, peer)
    if (early !== 'pass') return early
    const [name] = command
    const transaction = open.get(peer)
    if (name === 'WATCH' || name === 'UNWATCH') return simple('OK')
    if (name === 'MULTI') {
      open.set(peer, { queued: [], isDirty: false })
      return simple('OK')
    }
    if (name === 'EXEC') {
      open.delete(peer)
      if (transaction === undefined) return error('ERR EXEC without MULTI')
      if (transaction.isDirty) return error('EXECABORT Transaction discarded because of previous errors.')
      if (changed()) {
        told.conflicts += 1
        return nullArray()
      }
      told.ran.push(...transaction.queued)
      return array(...transaction.queued.map((_, i) => integer(i + 1)))
    }
    if (transaction === undefined) return 'pass'
    const refusal = refuse(command)
    if (refusal !== undefined) {
      transaction.isDirty = true
      return error(refusal)
    }
    transaction.queued.push(command)
    return simple('QUEUED')
  }
  return told
}
