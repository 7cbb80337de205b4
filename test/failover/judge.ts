// From what was seen to the figures. Pure.
//
//   write    ok ──► in the data set at the end?  yes: it lasts   no: lost, in the window or stale
//            not-sent, refused ──► in the data set?  denied: the client said that it had not run
//            anything ──► there more than once: a duplicate
//
// Only unique keys can be looked up. A register or the common counter is taken for lost when a unique key that was
// written right before or after it is: what one connection carries keeps its order.

import { type CommandLog, kindOf, type Ledger } from './protocol.ts'

/** One fault, up to the next one or the end. */
export interface Phase {
  readonly faultAt: number
  /** Public port of the server that was the master. */
  readonly masterPort: number
  /** The first `+switch-master` of any sentinel that leads away from it. */
  readonly announcedAt: number | undefined
  /** The client’s connections to it are to be replaced, and the server stays. */
  readonly isHalfOpen: boolean
  /** Until when no announcement could reach the client, because the fault kept it from the sentinels. */
  readonly cutOffUntil: number | undefined
}

/** What was found in the data set that Sentinel's last word gave. */
export interface Findings {
  /** By the number of the write: the value of its unique key, `null` when absent; `undefined` for the other kinds. */
  readonly values: readonly (string | null | undefined)[]
  readonly counter: number
}

export interface PhaseFigures {
  /** From the fault to the first announcement. */
  readonly announcedAfterMs: number | undefined
  /** The longest time between two writes that last: from the last one before the fault to the first one after it. */
  readonly outageMs: number
  readonly hasRecovered: boolean
  /** From the announcement to that write. */
  readonly recoveredAfterMs: number | undefined
  /** From the announcement to the client's own switch. */
  readonly switchedAfterMs: number | undefined
  readonly readGapMs: number
  /** Connections to the old master, older than its replacement, that were open one second after it. */
  readonly socketsLeft: number
}

export interface Figures {
  readonly phases: readonly PhaseFigures[]
  readonly writes: number
  readonly acknowledged: number
  readonly notSent: number
  readonly refused: number
  readonly unknown: number
  /** Rejected with what is no error of the library's. */
  readonly strange: number
  /** Acknowledged by the old master before the announcement, and gone. */
  readonly lostInWindow: number
  /** Acknowledged after it, or without any, and gone. */
  readonly lostStale: number
  /** Said not to have run, and there. */
  readonly denied: number
  readonly duplicates: number
  readonly reads: number
  readonly readsFailed: number
  /** Reads that missed a write which had been acknowledged more than a second before they were sent. */
  readonly readsOld: number
  /** By how much a read was behind at worst. */
  readonly oldestReadMs: number
  /** Commands that settled a second after their deadline, or never. */
  readonly neverSettled: number
  readonly unhandled: number
  readonly longestStallMs: number
  readonly subscription: SubscriptionFigures | undefined
}

export interface SubscriptionFigures {
  readonly gapMs: number
  /** Published and acknowledged when writes had been going well for a while, and never received. */
  readonly missing: number
  readonly outOfOrder: number
}

const OLD_MS = 1_000
const SOCKET_MS = 1_000
const LATE_MS = 1_000
/** What was sent just before the fault belongs to it. */
const BEFORE_MS = 100
/** A pause of writes that is shorter is none, so that nothing was replaced. */
const PAUSE_MS = 200
/** What it may take to learn of a replacement once somebody can tell it: a connection, and a round of questions. */
const LEARN_MS = 100
/** How long a subscription may take to follow, before a message that is missing counts. */
const RESUBSCRIBED_MS = 1_000

export function judge(
  ledger: Ledger,
  phases: readonly Phase[],
  findings: Findings,
  commandTimeout: number,
): Figures {
  const { writes, reads } = ledger
  const lost = lostWrites(writes, findings)
  const lasting = instantsOf(writes, (number) => !lost.assumed.has(number))
  const seen = instantsOf(reads, () => true)
  const count = (log: CommandLog, fate: string) => log.fate.filter((it) => it === fate).length
  const isStale = (number: number) => !isInWindow(writes.settledAt[number] ?? 0, phases)
  const stale = lost.certain.filter(isStale).length
  const ages = agesOf(reads, writes, lost.assumed)
  return {
    phases: phases.map((phase, i) => {
      const until = phases[i + 1]?.faultAt ?? Number.POSITIVE_INFINITY
      return phaseFigures(phase, until, lasting, seen, ledger)
    }),
    writes: writes.fate.length,
    acknowledged: count(writes, 'ok'),
    notSent: count(writes, 'not-sent'),
    refused: count(writes, 'refused'),
    unknown: count(writes, 'unknown'),
    strange: count(writes, 'strange'),
    lostInWindow: lost.certain.length - stale,
    lostStale: stale,
    denied: deniedWrites(writes, findings),
    duplicates: duplicatesOf(writes, findings),
    reads: reads.fate.length,
    readsFailed: reads.fate.filter((fate) => fate !== 'ok' && fate !== 'open').length,
    readsOld: ages.filter((age) => age > OLD_MS).length,
    oldestReadMs: ages.reduce((oldest, age) => Math.max(oldest, age), 0),
    neverSettled: lateOnes(writes, commandTimeout) + lateOnes(reads, commandTimeout),
    unhandled: ledger.unhandled.length,
    longestStallMs: ledger.longestStallMs,
    subscription: subscriptionFigures(ledger, phases, lasting),
  }
}

function phaseFigures(
  phase: Phase,
  until: number,
  lasting: readonly number[],
  seen: readonly number[],
  { switches, sockets, writes }: Ledger,
): PhaseFigures {
  const { faultAt, masterPort, announcedAt, isHalfOpen, cutOffUntil } = phase
  const end = Math.min(until, writes.sentAt.at(-1) ?? until)
  const outage = longestGap(lasting, faultAt - BEFORE_MS, end)
  const gap = longestGap(seen, faultAt - BEFORE_MS, end)
  const toldAt = announcedAt === undefined ? undefined : Math.max(announcedAt, cutOffUntil ?? 0)
  const own = switches.find(({ at, from }) => at >= faultAt && at < until && endsWithPort(from, masterPort))
  const replacedAt = own?.at ?? (isHalfOpen ? outage.endsAt : undefined)
  const left = sockets.filter(
    ({ port, openedAt, closedAt = Number.POSITIVE_INFINITY }) =>
      replacedAt !== undefined &&
      port === masterPort &&
      openedAt < (own?.at ?? faultAt) &&
      closedAt > replacedAt + SOCKET_MS,
  )
  const since = (at: number | undefined) =>
    toldAt === undefined || at === undefined ? undefined : at - toldAt
  return {
    announcedAfterMs: announcedAt === undefined ? undefined : announcedAt - faultAt,
    outageMs: outage.ms,
    hasRecovered: outage.endsAt !== undefined,
    recoveredAfterMs: since(outage.endsAt),
    switchedAfterMs: since(own?.at),
    readGapMs: gap.ms,
    socketsLeft: left.length,
  }
}

/** Acknowledged, and gone. */
function lostWrites(
  { fate }: CommandLog,
  { values }: Findings,
): { readonly certain: readonly number[]; readonly assumed: ReadonlySet<number> } {
  const certain = [...fate.keys()].filter((number) => fate[number] === 'ok' && values[number] === null)
  const assumed = new Set(certain)
  for (const number of certain) {
    for (const beside of [number - 1, number + 1]) {
      if (values[beside] === undefined && fate[beside] === 'ok') assumed.add(beside)
    }
  }
  return { certain, assumed }
}

/** Before the announcement that the server was replaced: with asynchronous replication nobody can keep those. */
function isInWindow(settledAt: number, phases: readonly Phase[]): boolean {
  const phase = phases.findLast(({ faultAt }) => settledAt >= faultAt - BEFORE_MS)
  if (phase?.announcedAt === undefined) return false
  const { announcedAt, cutOffUntil } = phase
  return settledAt < (cutOffUntil === undefined ? announcedAt : Math.max(announcedAt, cutOffUntil + LEARN_MS))
}

function deniedWrites({ fate }: CommandLog, { values }: Findings): number {
  return [...fate.keys()].filter(
    (number) =>
      (fate[number] === 'not-sent' || fate[number] === 'refused') && typeof values[number] === 'string',
  ).length
}

function duplicatesOf({ fate }: CommandLog, { values, counter }: Findings): number {
  let twice = 0
  let acknowledged = 0
  let perhaps = 0
  for (const [number, of] of fate.entries()) {
    const kind = kindOf(number)
    const value = values[number]
    if (kind === 'once' && typeof value === 'string') twice += Number(value) - 1
    if (kind !== 'counter') continue
    if (of === 'ok') acknowledged += 1
    else if (of === 'unknown' || of === 'open' || of === 'strange') perhaps += 1
  }
  return twice + Math.max(0, counter - acknowledged - perhaps)
}

/**
 * Of each read: for how long a newer value than the one it gave had been acknowledged when it was sent. Values that
 * were lost later are no measure: the read may have been the first to see that they are gone.
 */
function agesOf(reads: CommandLog, writes: CommandLog, lost: ReadonlySet<number>): number[] {
  const registers = [...writes.fate.keys()].filter(
    (number) => kindOf(number) === 'register' && writes.fate[number] === 'ok' && !lost.has(number),
  )
  // for each register write, the earliest acknowledgement of it or of any later one
  const earliest = new Array<number>(registers.length)
  let min = Number.POSITIVE_INFINITY
  for (let i = registers.length - 1; i >= 0; i--) {
    min = Math.min(min, writes.settledAt[registers[i] as number] ?? min)
    earliest[i] = min
  }
  return [...reads.fate.keys()]
    .filter((number) => reads.fate[number] === 'ok')
    .map((number) => {
      const next = firstAbove(registers, reads.reply[number] ?? -1)
      const newerSince = earliest[next] ?? Number.POSITIVE_INFINITY
      return Math.max(0, (reads.sentAt[number] ?? 0) - newerSince)
    })
}

function lateOnes({ fate, sentAt, settledAt }: CommandLog, commandTimeout: number): number {
  return [...fate.keys()].filter(
    (number) =>
      fate[number] === 'open' || (settledAt[number] ?? 0) - (sentAt[number] ?? 0) > commandTimeout + LATE_MS,
  ).length
}

function subscriptionFigures(
  { subscription }: Ledger,
  phases: readonly Phase[],
  lasting: readonly number[],
): SubscriptionFigures | undefined {
  if (subscription === undefined) return undefined
  const { publishedAt, received } = subscription
  const faultAt = phases[0]?.faultAt ?? 0
  const lastFaultAt = phases.at(-1)?.faultAt ?? 0
  const end = lasting.at(-1) ?? lastFaultAt
  const wellSince = longestGap(lasting, lastFaultAt - BEFORE_MS, end).endsAt ?? end
  const got = new Set(received.map(({ number }) => number))
  return {
    gapMs: longestGap(
      received.map(({ at }) => at),
      faultAt - BEFORE_MS,
      end,
    ).ms,
    missing: publishedAt.filter((at, number) => at > wellSince + RESUBSCRIBED_MS && !got.has(number)).length,
    outOfOrder: received.filter(({ number }, i) => number < (received[i - 1]?.number ?? 0)).length,
  }
}

/** When the commands were acknowledged, in the order of time. */
function instantsOf({ fate, settledAt }: CommandLog, counts: (number: number) => boolean): number[] {
  return settledAt.filter((_, number) => fate[number] === 'ok' && counts(number)).sort((a, b) => a - b)
}

/** The longest time between two instants in a row, or from the last one to the end, which then ends in nothing. */
function longestGap(
  instants: readonly number[],
  from: number,
  end: number,
): { readonly ms: number; readonly endsAt: number | undefined } {
  let longest: { ms: number; endsAt: number | undefined } = { ms: 0, endsAt: from }
  let last = from
  for (const at of instants) {
    if (at < from || at > end) continue
    if (at - last > longest.ms) longest = { ms: at - last, endsAt: at }
    last = at
  }
  return end - last > longest.ms && end - last > PAUSE_MS ? { ms: end - last, endsAt: undefined } : longest
}

/** The index of the first number above `value` in a sorted list; its length if there is none. */
function firstAbove(sorted: readonly number[], value: number): number {
  let low = 0
  let high = sorted.length
  while (low < high) {
    const middle = (low + high) >> 1
    if ((sorted[middle] as number) > value) high = middle
    else low = middle + 1
  }
  return low
}

function endsWithPort(address: string, port: number): boolean {
  return address.endsWith(`:${port}`)
}
