// What one sentinel is asked, all in one write, and what it answers. A question that its ACL forbids (NOPERM) is left
// out; what can be had without it, is. Addresses are translated (nat-map.ts) before anybody sees them.

import type { Connection } from '../connection/index.ts'
import { ReplyError } from '../errors.ts'
import type { Reply } from '../resp/index.ts'
import type { Announced, Translate } from './nat-map.ts'
import {
  addressOf,
  addressOfPair,
  type Fields,
  fieldsOf,
  fieldsOfEach,
  isFlagged,
  isTilted,
  translateFields,
} from './replies.ts'

/** What one sentinel says about the master. */
export interface Answer {
  /** Address of the sentinel, and its own name for itself where it tells it. */
  readonly sentinel: string
  readonly runId: string | undefined
  /** `undefined`: the sentinel does not know a master of this name. */
  readonly master: string | undefined
  /** The config-epoch: the higher one is the newer truth. `undefined`: it may not be asked for it. */
  readonly epoch: number | undefined
  /** Its clock has jumped: for a while it does not act on what it sees. */
  readonly isTilted: boolean
  /** It leads a failover, and has not promoted anybody yet. */
  readonly isFailingOver: boolean
  /** Sentinels of this master that it knows, with itself; 1 where it does not tell. */
  readonly sentinelCount: number
  readonly replicas: readonly Fields[]
  readonly sentinels: readonly Fields[]
  /** The questions that it does not allow. */
  readonly forbidden: readonly string[]
}

/**
 * Asks who is master of that name.
 *
 * @param withinMs the bound for the answer
 * @throws why there is no answer
 */
export async function askSentinel(
  connection: Connection,
  name: string,
  withinMs: number,
  translate: Translate,
): Promise<Answer> {
  const forbidden: string[] = []
  let refusal: ReplyError | undefined
  const ask = async (...question: string[]): Promise<Reply> => {
    try {
      return await connection.execute(question, { timeout: withinMs })
    } catch (error) {
      if (!(error instanceof ReplyError)) throw error
      // an answer, too
      if (/^ERR No such master/i.test(error.message)) return null
      if (error.prefix !== 'NOPERM') throw error
      refusal ??= error
      forbidden.push(question[0] === 'SENTINEL' ? question.slice(0, 2).join(' ') : String(question[0]))
      return null
    }
  }
  const [pair, master, replicas, sentinels, runId, info] = await Promise.all([
    ask('SENTINEL', 'GET-MASTER-ADDR-BY-NAME', name),
    ask('SENTINEL', 'MASTER', name),
    ask('SENTINEL', 'REPLICAS', name),
    ask('SENTINEL', 'SENTINELS', name),
    ask('SENTINEL', 'MYID').catch(ifSaid),
    ask('INFO', 'sentinel').catch(ifSaid),
  ])
  const mayPair = !forbidden.includes('SENTINEL GET-MASTER-ADDR-BY-NAME')
  const mayMaster = !forbidden.includes('SENTINEL MASTER')
  if (!mayPair && !mayMaster) throw refusal
  const fields = fieldsOf(master)
  // The address is that of GET-MASTER-ADDR-BY-NAME: the leader of a failover gives the promoted replica there
  // seconds before its MASTER does. The epoch is only in MASTER.
  const address = mayPair ? addressOfPair(pair) : addressOf(fields)
  const isUnknown = mayPair ? pair === null : fields.size === 0
  if (address === undefined && !isUnknown) throw new Error('its answer has no address of a master')
  const each = (list: Reply, what: Announced) =>
    fieldsOfEach(list).map((it) => translateFields(it, what, translate))
  return {
    sentinel: connection.address,
    runId: typeof runId === 'string' && runId !== '' ? runId : undefined,
    master: address === undefined ? undefined : translate(address, 'master'),
    epoch: mayMaster ? (count(fields.get('config-epoch')) ?? 0) : undefined,
    isTilted: isTilted(info),
    isFailingOver: isFlagged(fields, 'failover_in_progress') && address === addressOf(fields),
    sentinelCount: (count(fields.get('num-other-sentinels')) ?? 0) + 1,
    replicas: each(replicas, 'replica'),
    sentinels: each(sentinels, 'sentinel'),
    forbidden,
  }
}

/** A sentinel that does not have the command is as good without. */
function ifSaid(error: unknown): null {
  if (error instanceof ReplyError) return null
  throw error
}

/** Garbage is no number: as an epoch it would make everything that comes later look old. */
function count(text: string | undefined): number | undefined {
  const number = Number(text)
  return Number.isSafeInteger(number) && number > 0 ? number : undefined
}
