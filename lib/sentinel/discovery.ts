// Who is master, according to the sentinels: all are asked at once, each within its bound, and agreement.ts decides
// whom to believe. One that hangs delays nothing: what is enough to act on is acted on.
//
// Source: https://redis.io/docs/latest/develop/reference/sentinel-clients/, with the deviations of
// docs/failover.md (in parallel, by epoch).

import { isIP } from 'node:net'
import { isPermanent } from '../endpoint/index.ts'
import { SentinelError } from '../errors.ts'
import { type Belief, believed, type Rules } from './agreement.ts'
import type { Answer } from './questions.ts'
import { addressOf, type Fields, splitAddress } from './replies.ts'
import type { SentinelLink } from './sentinel-link.ts'

/** How long the first answers wait for the others when nothing is known yet. */
const GRACE_MS = 100
/** A sentinel that cannot be reached for so long is asked like the others, and not waited for. */
const AWAY_MS = 1_000

export interface DiscoveryOptions {
  /** The name of the master. */
  readonly name: string
  /** Milliseconds for each sentinel. */
  readonly answerTimeout: number
  readonly agreement: Rules['agreement']
}

/** Whether two addresses lead to one server; `SameServer` does it. */
export interface Names {
  isSame(a: string, b: string): boolean | Promise<boolean>
}

/** What the sentinels that are believed say together. */
export interface Finding {
  /** The one that is gone by, and its epoch. */
  readonly sentinel: string
  readonly epoch: number
  /** All that those who name this master list. */
  readonly replicas: readonly Fields[]
  /** The one that leads a failover of this master whose beginning we have not heard of. */
  readonly leader: string | undefined
}

/** `sentinels`: all that are listed by those that answered, whether they are believed or not. */
export type Verdict = { readonly sentinels: readonly Fields[] } & Judgement

type Judgement =
  /** `answered`: addresses of the sentinels that this rests on. */
  | {
      readonly kind: 'master'
      readonly master: string
      readonly answer: Finding
      readonly answered: readonly string[]
    }
  /** Only answers older than what we believe. */
  | { readonly kind: 'stale' }
  /**
   * `undecided`: they name masters, and no majority names one. `unknown`: some answered, none of them knows the name.
   * `isConclusive`: waiting will not help.
   */
  | {
      readonly kind: 'undecided' | 'unknown' | 'unreachable'
      readonly error: SentinelError
      readonly isConclusive: boolean
    }

/** Asks all sentinels. Never rejects. */
export async function discover(
  links: readonly SentinelLink[],
  options: DiscoveryOptions,
  belief: Belief | undefined,
  names: Names,
): Promise<Verdict> {
  const answers = await askAll(links, options, belief, names)
  for (const link of links) {
    const answer = answers.find(({ sentinel }) => sentinel === link.address)
    if (answer !== undefined && answer.runId === undefined) link.runId = runIdByOthers(answer, answers)
  }
  const sentinels = union(answers.map((it) => it.sentinels))
  return { sentinels, ...conclude(answers, links, options, belief) }
}

function conclude(
  answers: readonly Answer[],
  links: readonly SentinelLink[],
  options: DiscoveryOptions,
  belief: Belief | undefined,
): Judgement {
  const best = judge(answers, links, options, belief)
  if (best === 'stale') return { kind: 'stale' }
  if (typeof best === 'object' && best.master !== undefined) {
    const { master, sentinel } = best
    const allies = [best, ...answers.filter((it) => it !== best && it.master === master)]
    const epoch = best.epoch ?? belief?.epoch ?? 0
    const replicas = union(allies.map((it) => it.replicas))
    const answered = answers.map((it) => it.sentinel)
    const leader = allies.find(({ isFailingOver }) => isFailingOver)?.sentinel
    return { kind: 'master', master, answer: { sentinel, epoch, replicas, leader }, answered }
  }
  return failure(links, answers, options.name)
}

function failure(links: readonly SentinelLink[], answers: readonly Answer[], name: string): Judgement {
  const attempts = links.map((link) => {
    const answer = answers.find(({ sentinel }) => sentinel === link.address)
    return `${link.address}: ${answer === undefined ? (link.error?.message ?? 'no answer') : said(answer)}`
  })
  const causes = links.flatMap(({ error }) => (error === undefined ? [] : [error]))
  const cause = new AggregateError(causes, attempts.join('; '))
  const told = `(${attempts.join('; ')})`
  if (answers.some(({ master }) => master !== undefined)) {
    const error = new SentinelError(
      'MASTER_UNVERIFIED',
      `no majority of the sentinels names one master ${told}`,
      {
        cause,
      },
    )
    return { kind: 'undecided', error, isConclusive: false }
  }
  if (answers.length > 0) {
    const message = `no sentinel knows a master named '${name}' ${told}`
    const error = new SentinelError('MASTER_UNKNOWN', message, { cause })
    return { kind: 'unknown', error, isConclusive: isMajorityOfThere(answers.length, links) }
  }
  const message = `no sentinel can be ${links.some(({ isConnected }) => isConnected) ? 'asked' : 'reached'} ${told}`
  const isConclusive = links.length > 0 && links.every(({ error }) => isPermanent(error))
  return {
    kind: 'unreachable',
    error: new SentinelError('SENTINELS_UNREACHABLE', message, { cause }),
    isConclusive,
  }
}

function said({ master, epoch, isTilted }: Answer): string {
  if (master === undefined) return 'does not know the name'
  return `names ${master}${epoch === undefined ? '' : `, epoch ${epoch}`}${isTilted ? ', in TILT' : ''}`
}

/** Those that cannot be reached for a while do not count: they may never come back. */
function isMajorityOfThere(count: number, links: readonly SentinelLink[]): boolean {
  return count > Math.max(thereOf(links).length, 1) / 2
}

/** Those that can be reached, or could a moment ago. */
function thereOf(links: readonly SentinelLink[]): SentinelLink[] {
  const now = performance.now()
  return links.filter(({ downSince }) => downSince === undefined || now - downSince < AWAY_MS)
}

function judge(
  answers: readonly Answer[],
  links: readonly SentinelLink[],
  { agreement }: DiscoveryOptions,
  belief: Belief | undefined,
): ReturnType<typeof believed> {
  return believed(answers, belief, { agreement, sentinelCount: sentinelCount(answers, links) })
}

/** All that there are, as most of them know: one that lies about it, or was reset, is not enough to change it. */
function sentinelCount(answers: readonly Answer[], links: readonly SentinelLink[]): number {
  const known = new Set(links.map(({ runId, address }) => runId ?? address)).size
  const told = answers.map((it) => it.sentinelCount).toSorted((a, b) => a - b)
  return Math.max(known, told[Math.floor((told.length - 1) / 2)] ?? 0)
}

/**
 * The run id of one that does not tell it (Redis 6.0, or its ACL forbids it): a sentinel lists all but itself, so it is
 * the one that others list and it does not. INFO is no help: its run id is another one.
 */
function runIdByOthers(answer: Answer, answers: readonly Answer[]): string | undefined {
  const idsOf = ({ sentinels }: Answer) => sentinels.flatMap((fields) => fields.get('runid') ?? [])
  const others = new Set(answers.filter((it) => it !== answer).flatMap(idsOf))
  for (const id of idsOf(answer)) others.delete(id)
  return others.size === 1 ? [...others][0] : undefined
}

/** Each address once, as the first list that has it says: a sentinel that was reset has forgotten some for a while. */
function union(lists: readonly (readonly Fields[])[]): Fields[] {
  const byAddress = new Map<string | Fields, Fields>()
  for (const fields of lists.flat()) {
    const key = addressOf(fields) ?? fields
    if (!byAddress.has(key)) byAddress.set(key, fields)
  }
  return [...byAddress.values()]
}

/** The answers that came by the time there is enough to act on. */
function askAll(
  links: readonly SentinelLink[],
  options: DiscoveryOptions,
  belief: Belief | undefined,
  names: Names,
): Promise<Answer[]> {
  return new Promise((resolve) => {
    const answers: Answer[] = []
    const there = thereOf(links)
    const awaited = new Set(there.length > 0 ? there : links)
    let grace: NodeJS.Timeout | undefined
    let isDone = false
    const done = () => {
      isDone = true
      clearTimeout(bound)
      clearTimeout(grace)
      resolve([...answers])
    }
    const bound = setTimeout(done, options.answerTimeout)
    if (awaited.size === 0) done()
    const weigh = () => {
      const best = judge(answers, links, options, belief)
      if (best === undefined) {
        if (belief === undefined && answers.length > links.length / 2) done() // nobody knows the name
      } else if (typeof best === 'object' && !best.isTilted) {
        if (belief === undefined) grace ??= setTimeout(done, GRACE_MS)
        else if (isNews(best, belief)) done()
      }
    }
    for (const link of links) {
      link
        .ask(options.name)
        .then((answer) => named(answer, answers, belief, names))
        .then(
          (answer) => {
            answers.push(answer)
            if (!isDone) weigh()
          },
          () => undefined, // kept in link.error
        )
        .finally(() => {
          awaited.delete(link)
          if (awaited.size === 0) done()
        })
    }
  })
}

/** News is acted on at once. */
function isNews({ master, epoch }: Answer, belief: Belief): boolean {
  return epoch === undefined ? master !== belief.master : epoch > belief.epoch
}

/**
 * The answer, with its master called as we call it, or as another sentinel does: some announce a name and others the
 * address. Two names are not compared: they are two servers, and looking them up would delay a switch.
 */
async function named(
  answer: Answer,
  others: readonly Answer[],
  belief: Belief | undefined,
  names: Names,
): Promise<Answer> {
  const { master } = answer
  if (master === undefined || master === belief?.master) return answer
  const known = new Set([belief?.master, ...others.map((it) => it.master)])
  for (const name of known) {
    if (name !== undefined && isName(name) !== isName(master) && (await names.isSame(name, master))) {
      return { ...answer, master: name }
    }
  }
  return answer
}

function isName(address: string): boolean {
  return isIP(splitAddress(address).host) === 0
}
