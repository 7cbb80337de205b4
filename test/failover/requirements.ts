// What the figures must be. Laws hold in every run, on whatever machine; the other figures have their bounds on one
// that is not busy with other things.

import type { Figures, PhaseFigures } from './judge.ts'
import type { Run } from './run.ts'

export interface Requirement {
  readonly figure: string
  readonly bound: string
  readonly check: (runs: readonly Run[]) => Verdict
}

export interface Verdict {
  readonly measured: string
  /** `undefined`: no run says anything about it. */
  readonly isMet: boolean | undefined
}

const NOT_MEASURED: Verdict = { measured: '', isMet: undefined }

/** Faults in which nobody announced the old master's end before it came. */
const SUDDEN = ['kill-master', 'stop-master', 'shutdown-master']
const PLANNED = ['planned-failover']
/** The client is on the side that is cut off: it cannot know, and nobody can tell it. */
const CUT_OFF = ['partition-master']
/** Of these, nothing answers for a while. */
const DARK = ['blackout-2s', ...CUT_OFF]
const UNDISTURBED = ['sentinels-down', 'sentinel-reset']
/** Above the gaps of a steady load at any rate, on a machine that has a moment. */
const NO_EFFECT_MS = 100

export const requirements: readonly Requirement[] = [
  ...laws(),
  {
    figure: 'first successful write, early adoption on (SIGKILL, SIGSTOP, SHUTDOWN)',
    bound: 'median at least 800 ms before the announcement, never more than 100 ms after it',
    check: (runs) => recovery(runs, true, (middle, worst) => middle <= -800 && worst <= 100),
  },
  {
    figure: 'the same, early adoption off',
    bound: 'median ≤ 50 ms after the announcement, worst ≤ 300 ms',
    check: (runs) => recovery(runs, false, (middle, worst) => middle <= 50 && worst <= 300),
  },
  {
    figure: 'pause of writes in a planned failover, early adoption on',
    bound: 'median ≤ 250 ms',
    check: (runs) =>
      middle(
        of(runs, PLANNED).filter(({ adoptEarly }) => adoptEarly),
        ({ phases }) => Math.max(...phases.map(({ outageMs }) => outageMs)),
        250,
      ),
  },
  {
    figure: 'acknowledged writes lost on a planned failover, before or after the announcement',
    bound: '0',
    check: (runs) => most(of(runs, PLANNED), ({ lostInWindow, lostStale }) => lostInWindow + lostStale, 0),
  },
  {
    figure: 'writes that end as unknown, the master hung, cut off or shutting down',
    bound: '≤ 100 at 200 writes a second: half a second’s',
    check: (runs) =>
      most(
        of(runs, ['stop-master', 'shutdown-master', 'isolate-master']),
        ({ unknown }, { rate }) => (unknown / rate) * 200,
        100,
      ),
  },
  {
    figure: 'outage of writes, the connections to the master half-open',
    bound: '≤ 700 ms: found within 600 ms of silence',
    check: (runs) => most(of(runs, ['halfopen-master']), ({ phases }) => phases[0]?.outageMs ?? 0, 700),
  },
  {
    figure: 'reads failed when one replica or the master dies',
    bound: '0',
    check: (runs) =>
      most(
        runs.filter(({ scenario }) => !DARK.includes(scenario)),
        ({ readsFailed }) => readsFailed,
        0,
      ),
  },
  {
    figure:
      'all sentinels down or reset, the master healthy: writes and reads failed; longest pause beyond the process’s own stalls',
    bound: `0; ≤ ${NO_EFFECT_MS} ms`,
    check: (runs) => {
      const failed = most(of(runs, UNDISTURBED), (it) => it.writes - it.acknowledged + it.readsFailed, 0)
      if (failed.isMet === undefined) return NOT_MEASURED
      const pause = most(
        of(runs, UNDISTURBED),
        (it) => longestPause(it.phases) - it.longestStallMs,
        NO_EFFECT_MS,
      )
      return {
        measured: `${failed.measured}; ${pause.measured}`,
        isMet: failed.isMet && pause.isMet,
      }
    },
  },
  {
    figure: 'first write at the start, the first sentinels dead or silent',
    bound: '≤ 1000 ms',
    check: (runs) => {
      const starts = runs.filter(({ scenario }) => scenario.startsWith('start-'))
      if (starts.length === 0) return NOT_MEASURED
      const worst = Math.max(...starts.map(({ start }) => start.tookMs))
      return { measured: `${Math.round(worst)}`, isMet: worst <= 1_000 }
    },
  },
  {
    figure: 'a name that no sentinel knows',
    bound: '`MASTER_UNKNOWN` within 1000 ms',
    check: (runs) => {
      const starts = runs.filter(({ scenario }) => scenario === 'unknown-master').map(({ start }) => start)
      if (starts.length === 0) return NOT_MEASURED
      const worst = Math.max(...starts.map(({ tookMs }) => tookMs))
      const codes = [...new Set(starts.map(({ error }) => error?.code ?? 'none'))]
      return {
        measured: `${codes.join(', ')} after ${Math.round(worst)} ms`,
        isMet: codes.join() === 'MASTER_UNKNOWN' && worst <= 1_000,
      }
    },
  },
]

/** What is broken in one run that must never be, in words; empty as a rule. */
export function brokenLaws(run: Run): string[] {
  const broken = laws().filter(({ check }) => check([run]).isMet === false)
  return [
    ...broken.map(({ figure, check }) => `${figure}: ${check([run]).measured}`),
    ...(run.trouble === undefined ? [] : [`trouble: ${run.trouble}`]),
  ]
}

function laws(): Requirement[] {
  const law = (figure: string, value: (figures: Figures) => number): Requirement => ({
    figure,
    bound: '0',
    check: (runs) => most(runs, value, 0),
  })
  return [
    law('commands that never settled', ({ neverSettled }) => neverSettled),
    law('duplicates', ({ duplicates }) => duplicates),
    law('writes that were said not to have run, and had', ({ denied }) => denied),
    law('unhandled rejections and exceptions', ({ unhandled }) => unhandled),
    law('errors that are none of the library’s', ({ strange }) => strange),
    law('sockets left to the old master after 1 s', ({ phases }) => sum(phases, (it) => it.socketsLeft)),
    law('acknowledged writes lost after the announcement', ({ lostStale }) => lostStale),
    law('reads older than 1 s', ({ readsOld }) => readsOld),
    law('phases without recovery', ({ phases }) => sum(phases, (it) => (it.hasRecovered ? 0 : 1))),
    {
      figure: 'messages missing after the recovery, or out of order',
      bound: '0',
      check: (runs) =>
        most(
          runs.filter(({ figures }) => figures?.subscription !== undefined),
          ({ subscription: it }) => (it === undefined ? 0 : it.missing + it.outOfOrder),
          0,
        ),
    },
  ]
}

function of(runs: readonly Run[], scenarios: readonly string[]): Run[] {
  return runs.filter(({ scenario }) => scenarios.includes(scenario))
}

/** The worst of all runs, and which had it. */
function most(runs: readonly Run[], value: (figures: Figures, run: Run) => number, bound: number): Verdict {
  const values = runs.flatMap((run) =>
    run.figures === undefined ? [] : [{ scenario: run.scenario, value: value(run.figures, run) }],
  )
  if (values.length === 0) return NOT_MEASURED
  const worst = Math.max(...values.map((it) => it.value))
  const culprits = [...new Set(values.filter((it) => it.value > bound).map(({ scenario }) => scenario))]
  const where = culprits.length === 0 ? '' : ` (${culprits.join(', ')})`
  return { measured: `${Math.round(worst)}${where}`, isMet: worst <= bound }
}

/** The median, and the worst beside it. */
function middle(runs: readonly Run[], value: (figures: Figures) => number, bound: number): Verdict {
  const values = runs.flatMap(({ figures }) => (figures === undefined ? [] : [value(figures)]))
  if (values.length === 0) return NOT_MEASURED
  const measured = `${Math.round(median(values))} (worst ${Math.round(Math.max(...values))})`
  return { measured, isMet: median(values) <= bound }
}

/** From the announcement to the first write that lasts; a scenario's median is what counts. */
function recovery(
  runs: readonly Run[],
  adoptEarly: boolean,
  isEnough: (median: number, worst: number) => boolean,
): Verdict {
  const parts = SUDDEN.flatMap((scenario) => {
    const values = of(runs, [scenario])
      .filter((run) => run.adoptEarly === adoptEarly)
      .flatMap(
        ({ figures }) => figures?.phases.map(({ recoveredAfterMs }) => recoveredAfterMs ?? Infinity) ?? [],
      )
    if (values.length === 0) return []
    const [middle, worst] = [median(values), Math.max(...values)]
    const text = `${scenario} ${Math.round(middle)} (worst ${Math.round(worst)})`
    return [{ text, isMet: isEnough(middle, worst) }]
  })
  if (parts.length === 0) return NOT_MEASURED
  return { measured: parts.map(({ text }) => text).join(', '), isMet: parts.every(({ isMet }) => isMet) }
}

function longestPause(phases: readonly PhaseFigures[]): number {
  return Math.max(...phases.map(({ outageMs, readGapMs }) => Math.max(outageMs, readGapMs)))
}

function sum<T>(items: readonly T[], value: (item: T) => number): number {
  return items.reduce((total, item) => total + value(item), 0)
}

export function median(numbers: readonly number[]): number {
  const sorted = numbers.toSorted((a, b) => a - b)
  const middle = sorted.length >> 1
  const upper = sorted[middle] ?? Number.NaN
  return sorted.length % 2 === 1 ? upper : (upper + (sorted[middle - 1] ?? upper)) / 2
}
