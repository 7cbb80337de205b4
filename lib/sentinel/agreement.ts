// Whom to believe of sentinels that do not say the same. Pure.
//
//   one sentinel has one voice, however many addresses lead to it
//   one in TILT has none while others have spoken
//   the highest config-epoch wins; among equal epochs the address with the most voices
//   an epoch below the one we know, or another address for the same one, is no news, unless a majority of all sentinels
//   says so: then the deployment was set up anew
//   an answer without an epoch (its ACL forbids SENTINEL MASTER) adds its voice to those that have one; where none has,
//   a change needs the majority of all sentinels, since nothing else tells the new from the old
//   agreement 'majority': so does every change

import type { Answer } from './questions.ts'

/** What we believe already. */
export interface Belief {
  readonly master: string
  readonly epoch: number
  /** Adopted on its own word, before the sentinels agreed: what they all still say is not news. */
  readonly isProvisional: boolean
}

export interface Rules {
  readonly agreement: 'highest-epoch' | 'majority'
  /** Sentinels that there are, whether they answer or not. */
  readonly sentinelCount: number
}

/**
 * The answer to go by; `'stale'` if all of them are older than what we believe; `'undecided'` if there is no majority
 * where one is needed; `undefined` if nobody knows a master.
 */
export function believed(
  answers: readonly Answer[],
  belief: Belief | undefined,
  { agreement, sentinelCount }: Rules,
): Answer | 'stale' | 'undecided' | undefined {
  const voices = withVoice(answers)
  if (voices.length === 0) return undefined
  const votes = (candidate: Answer) =>
    voices.filter(
      ({ master, epoch }) =>
        master === candidate.master && (epoch === candidate.epoch || epoch === undefined),
    ).length
  const isMajority = (candidate: Answer) => votes(candidate) > sentinelCount / 2
  const isOurs = ({ master }: Answer) => master === belief?.master
  const dated = voices.filter(({ epoch }) => epoch !== undefined)
  const inOrder = (dated.length > 0 ? dated : voices).toSorted(
    (a, b) => (b.epoch ?? 0) - (a.epoch ?? 0) || votes(b) - votes(a) || Number(isOurs(b)) - Number(isOurs(a)),
  )
  const [best] = inOrder as [Answer]
  if (agreement === 'majority') {
    const agreed = inOrder.find((it) => isMajority(it) || (isOurs(it) && isConfirmed(it, belief)))
    if (agreed === undefined) return 'undecided'
    return isOld(agreed, belief) && belief?.isProvisional ? 'stale' : agreed
  }
  if (!isOld(best, belief) || (isMajority(best) && !belief?.isProvisional)) return best
  return 'stale'
}

/** One answer of each sentinel that knows the master, without those in TILT unless there are no others. */
function withVoice(answers: readonly Answer[]): Answer[] {
  const seen = new Set<string>()
  const knowing = answers.filter(({ master, runId, sentinel }) => {
    if (master === undefined || seen.has(runId ?? sentinel)) return false
    seen.add(runId ?? sentinel)
    return true
  })
  const steady = knowing.filter(({ isTilted }) => !isTilted)
  return steady.length > 0 ? steady : knowing
}

/** Whether a majority would be needed to believe it. The epoch of a provisional master is our guess, which any equals. */
function isOld({ master, epoch }: Answer, belief: Belief | undefined): boolean {
  if (belief === undefined) return false
  if (epoch === undefined) return master !== belief.master
  if (epoch === belief.epoch) return master !== belief.master && !belief.isProvisional
  return epoch < belief.epoch
}

/** Whether an answer that names our master says no less than we believe. */
function isConfirmed(answer: Answer, belief: Belief | undefined): boolean {
  return belief !== undefined && !belief.isProvisional && !isOld(answer, belief)
}
