// Which server a read goes to: the words, and what a function of the user's is shown and may answer.

/** A word for a rule; see {@link ReadFrom}. */
export type ReadPolicy = 'master' | 'prefer-master' | 'replica' | 'prefer-replica' | 'nearest'

/** A server that may serve a read now, as a {@link ReadChoice} sees it: a frozen snapshot. */
export interface ReadCandidate {
  readonly address: string
  readonly role: 'master' | 'replica'
  /** Smoothed round trip in milliseconds; `undefined` before the first was measured. */
  readonly latency: number | undefined
  /** Milliseconds for which its data are known to be old at most; 0 for the master, `undefined` = not known. */
  readonly lag: number | undefined
  /** Commands and leases of this client that are under way there. */
  readonly load: number
}

/**
 * Chooses one of the candidates, or none: then the read waits until there are others, within its deadline. Only
 * servers that are fit to be read from are shown. Called for each read, so it must be quick; it may be called
 * again for the same read.
 */
export type ReadChoice = (candidates: readonly ReadCandidate[]) => ReadCandidate | undefined

/**
 * Which server a read goes to. `'master'`, `'replica'`: only there. `'prefer-master'`, `'prefer-replica'`: there,
 * else to the other kind. `'nearest'`: to whoever answers fastest. Or a function that chooses.
 */
export type ReadFrom = ReadPolicy | ReadChoice

/** What a command wants of a server. */
export type Target = 'write' | ReadFrom

const POLICIES: readonly ReadPolicy[] = Object.freeze([
  'master',
  'prefer-master',
  'replica',
  'prefer-replica',
  'nearest',
])

/** @throws {RangeError} */
export function checkReadFrom(readFrom: unknown): asserts readFrom is ReadFrom {
  if (typeof readFrom === 'function' || POLICIES.includes(readFrom as ReadPolicy)) return
  const got = typeof readFrom === 'string' ? JSON.stringify(readFrom) : nameOf(readFrom)
  throw new RangeError(`option readFrom must be one of ${POLICIES.join(', ')}, or a function, got ${got}`)
}

/** Offsets are sampled three times within it, and not more often than every few milliseconds. */
const MIN_STALENESS = 10
const MAX_STALENESS = 2 ** 31 - 1

/** @throws {TypeError} {RangeError} */
export function checkMaxStaleness(ms: unknown): number {
  if (typeof ms !== 'number') throw new TypeError(`option maxStaleness must be a number, got ${typeof ms}`)
  if (ms === 0 || (ms >= MIN_STALENESS && ms <= MAX_STALENESS)) return ms
  throw new RangeError(
    `option maxStaleness must be 0 or from ${MIN_STALENESS} to ${MAX_STALENESS} milliseconds, got ${ms}`,
  )
}

/**
 * Asks the function, and takes nothing but one of the candidates for an answer.
 *
 * @throws {TypeError} it threw, which is the cause, or answered something else
 */
export function choose(
  readFrom: ReadChoice,
  candidates: readonly ReadCandidate[],
): ReadCandidate | undefined {
  let choice: unknown
  try {
    choice = readFrom(candidates)
  } catch (error) {
    throw new TypeError('the function that option readFrom is has thrown', { cause: error })
  }
  if (choice === undefined) return undefined
  const found = candidates.find((candidate) => candidate === choice)
  if (found !== undefined) return found
  throw new TypeError(
    `the function that option readFrom is must return one of its candidates or undefined, got ${nameOf(choice)}`,
  )
}

/** What it is, not what is in it. */
function nameOf(value: unknown): string {
  if (value instanceof Promise) return 'a promise'
  return value === null ? 'null' : typeof value
}
