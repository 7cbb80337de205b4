// Who is master, according to the sentinels: all are asked at once, each within its bound, and the highest
// config-epoch is believed. One that hangs delays nothing: what is enough to act on is acted on.
//
// Source: https://redis.io/docs/latest/develop/reference/sentinel-clients/, with the deviations of
// docs/failover.md (in parallel, by epoch).

import { SentinelError } from '../errors.ts'
import type { Answer, SentinelLink } from './sentinel-link.ts'

/** How long the first answers wait for the others when nothing is known yet. */
const GRACE_MS = 100

/** What we believe already. */
export interface Belief {
  readonly master: string
  readonly epoch: number
  /** Adopted on its own word, before the sentinels agreed: what they all still say is not news. */
  readonly isProvisional: boolean
}

export type Verdict =
  /** `answered`: addresses of the sentinels that this rests on. */
  | {
      readonly kind: 'master'
      readonly master: string
      readonly answer: Answer
      readonly answered: readonly string[]
    }
  /** Only answers older than what we believe. */
  | { readonly kind: 'stale' }
  /** Some answered, none of them knows the name; conclusive when they are a majority. */
  | { readonly kind: 'unknown'; readonly error: SentinelError; readonly isConclusive: boolean }
  | { readonly kind: 'unreachable'; readonly error: SentinelError }

/**
 * Asks all sentinels. Never rejects.
 *
 * @param withinMs the bound for each of them
 */
export async function discover(
  links: readonly SentinelLink[],
  name: string,
  belief: Belief | undefined,
  withinMs: number,
): Promise<Verdict> {
  const answers = await askAll(links, name, belief, withinMs)
  const best = believed(answers, belief, links.length)
  if (best === 'stale') return { kind: 'stale' }
  if (best?.master !== undefined) {
    return {
      kind: 'master',
      master: best.master,
      answer: best,
      answered: answers.map(({ sentinel }) => sentinel),
    }
  }
  const attempts = links.map((link) => {
    const isUnknown = answers.some(({ sentinel }) => sentinel === link.address)
    return `${link.address}: ${isUnknown ? 'does not know the name' : (link.error?.message ?? 'no answer')}`
  })
  const causes = links.flatMap(({ error }) => (error === undefined ? [] : [error]))
  const cause = new AggregateError(causes, attempts.join('; '))
  if (answers.length > 0) {
    const message = `no sentinel knows a master named '${name}' (${attempts.join('; ')})`
    const error = new SentinelError('MASTER_UNKNOWN', message, { cause })
    return { kind: 'unknown', error, isConclusive: answers.length > links.length / 2 }
  }
  const message = `no sentinel can be reached (${attempts.join('; ')})`
  return { kind: 'unreachable', error: new SentinelError('SENTINELS_UNREACHABLE', message, { cause }) }
}

/**
 * The answer to go by: that of the highest epoch, among equal ones the address with the most votes. An epoch
 * below the one we know is old news, unless a majority of all sentinels agrees on it: then the deployment was
 * set up anew.
 */
export function believed(
  answers: readonly Answer[],
  belief: Belief | undefined,
  sentinelCount: number,
): Answer | 'stale' | undefined {
  const knowing = answers.filter(({ master }) => master !== undefined)
  const votes = (candidate: Answer) =>
    knowing.filter(({ master, epoch }) => master === candidate.master && epoch === candidate.epoch).length
  const inOrder = knowing.toSorted(
    (a, b) =>
      b.epoch - a.epoch ||
      votes(b) - votes(a) ||
      Number(b.master === belief?.master) - Number(a.master === belief?.master),
  )
  const [best] = inOrder
  if (belief === undefined || best === undefined || best.epoch >= belief.epoch) return best
  return votes(best) > sentinelCount / 2 && !belief.isProvisional ? best : 'stale'
}

/** The answers that came by the time there is enough to act on. */
function askAll(
  links: readonly SentinelLink[],
  name: string,
  belief: Belief | undefined,
  withinMs: number,
): Promise<Answer[]> {
  return new Promise((resolve) => {
    const answers: Answer[] = []
    let open = links.length
    let grace: NodeJS.Timeout | undefined
    const done = () => {
      clearTimeout(bound)
      clearTimeout(grace)
      resolve([...answers])
    }
    const bound = setTimeout(done, withinMs)
    if (open === 0) done()
    for (const link of links) {
      link
        .ask(name)
        .then(
          (answer) => {
            answers.push(answer)
            // news: acted on at once
            if (belief !== undefined && answer.master !== undefined && answer.epoch > belief.epoch) done()
            if (belief === undefined && answer.master !== undefined) grace ??= setTimeout(done, GRACE_MS)
          },
          () => undefined, // kept in link.error
        )
        .finally(() => {
          open -= 1
          if (open === 0) done()
        })
    }
  })
}
