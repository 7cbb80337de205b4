// Runs as text: a line each while they go on, and tables in Markdown at the end.

import type { PhaseFigures } from './judge.ts'
import { median, requirements } from './requirements.ts'
import { DEFAULT_RATE, type Run } from './run.ts'

/** A column of the summary: of each run a number, or nothing. */
interface Column {
  readonly title: string
  readonly of: (run: Run) => number | undefined
}

const columns: readonly Column[] = [
  { title: 'announced, ms', of: (run) => phasesOf(run)[0]?.announcedAfterMs },
  { title: 'outage of writes, ms', of: (run) => worst(phasesOf(run).map(({ outageMs }) => outageMs)) },
  { title: 'first write after the announcement, ms', of: (run) => recoveredAfterMs(run) },
  { title: 'not sent', of: ({ figures }) => figures?.notSent },
  { title: 'refused', of: ({ figures }) => figures?.refused },
  { title: 'unknown', of: ({ figures }) => figures?.unknown },
  { title: 'lost in the window', of: ({ figures }) => figures?.lostInWindow },
  { title: 'lost after it', of: ({ figures }) => figures?.lostStale },
  { title: 'duplicates', of: ({ figures }) => figures?.duplicates },
  { title: 'reads failed', of: ({ figures }) => figures?.readsFailed },
  {
    title: 'longest pause of reads, ms',
    of: (run) => worst(phasesOf(run).map(({ readGapMs }) => readGapMs)),
  },
  { title: 'reads older than 1 s', of: ({ figures }) => figures?.readsOld },
  { title: 'never settled', of: ({ figures }) => figures?.neverSettled },
  { title: 'sockets left', of: (run) => worst(phasesOf(run).map(({ socketsLeft }) => socketsLeft)) },
  { title: 'unhandled', of: ({ figures }) => figures?.unhandled },
  { title: 'longest stall of the process, ms', of: ({ figures }) => figures?.longestStallMs },
  { title: 'subscription silent, ms', of: ({ figures }) => figures?.subscription?.gapMs },
  { title: 'messages missing', of: ({ figures }) => figures?.subscription?.missing },
  { title: 'first write at start, ms', of: ({ start }) => start.tookMs },
]

/** One line that tells a run. */
export function line(run: Run): string {
  const { start, figures, errors, trouble, unhandled } = run
  const head = `${nameOf(run)}:`
  if (figures === undefined) {
    return `${head} ${start.error?.code ?? 'no error'} after ${ms(start.tookMs)}${trouble === undefined ? '' : `; TROUBLE: ${trouble}`}`
  }
  const parts = figures.phases.map(
    (phase) =>
      `outage ${ms(phase.outageMs)}, announced ${ms(phase.announcedAfterMs)}, first write ${signed(phase.recoveredAfterMs)}, switched ${signed(phase.switchedAfterMs)}, read gap ${ms(phase.readGapMs)}, sockets left ${phase.socketsLeft}`,
  )
  const { subscription: sub } = figures
  parts.push(
    `${figures.acknowledged} of ${figures.writes} writes, ${figures.notSent} not sent, ${figures.refused} refused, ${figures.unknown} unknown, ${figures.strange} strange`,
    `lost ${figures.lostInWindow} + ${figures.lostStale} stale, ${figures.duplicates} duplicates, ${figures.denied} denied`,
    `${figures.readsFailed} of ${figures.reads} reads failed, ${figures.readsOld} old (${ms(figures.oldestReadMs)})`,
    `${figures.neverSettled} never settled, stall ${ms(figures.longestStallMs)}, start ${ms(start.tookMs)}`,
  )
  if (sub !== undefined) {
    parts.push(`subscription silent ${ms(sub.gapMs)}, ${sub.missing} missing, ${sub.outOfOrder} out of order`)
  }
  for (const { what, code, message, count } of errors) parts.push(`${count} × ${what} ${code}: ${message}`)
  parts.push(...unhandled.map((it) => `UNHANDLED ${it}`))
  if (trouble !== undefined) parts.push(`TROUBLE: ${trouble}`)
  return `${head} ${parts.join('; ')}`
}

/** The summary, and what was required. */
export function markdown(runs: readonly Run[]): string {
  return `${summary(runs)}\n\n${verdicts(runs)}\n`
}

/** A row for each scenario: the median, and the worst where it differs. What was 0 everywhere has no column. */
export function summary(runs: readonly Run[]): string {
  const groups = new Map<string, Run[]>()
  for (const run of runs) {
    const name = nameOf(run)
    groups.set(name, [...(groups.get(name) ?? []), run])
  }
  const measured = columns.filter(({ of }) => runs.some((run) => of(run) !== undefined))
  const isZero = ({ of }: Column) => runs.every((run) => (of(run) ?? 0) === 0)
  const used = measured.filter((column) => !isZero(column))
  const zero = measured.filter(isZero).map(({ title }) => title)
  const rows = [...groups].map(([name, group]) => [
    name,
    String(group.length),
    ...used.map(({ of }) => range(group.map(of))),
  ])
  const rest = zero.length === 0 ? '' : `\n\n0 in every run: ${zero.join(', ')}.`
  return `${table(['scenario', 'runs', ...used.map(({ title }) => title)], rows)}${rest}`
}

/** What must be, what was, and whether that is enough. */
export function verdicts(runs: readonly Run[]): string {
  const rows = requirements.map(({ figure, bound, check }) => {
    const { measured, isMet } = check(runs)
    return [figure, bound, measured, isMet === undefined ? 'not measured' : isMet ? 'met' : '**not met**']
  })
  return table(['figure', 'must be', 'was', ''], rows)
}

/** The scenario, and how its run differs from an ordinary one. */
function nameOf({ scenario, adoptEarly, rate }: Run): string {
  const differences = [
    ...(adoptEarly ? [] : ['no early adoption']),
    ...(rate === DEFAULT_RATE ? [] : [`${rate} writes and ${rate} reads a second`]),
  ]
  return [scenario, ...differences].join(', ')
}

function phasesOf({ figures }: Run): readonly PhaseFigures[] {
  return figures?.phases ?? []
}

function recoveredAfterMs(run: Run): number | undefined {
  return worst(phasesOf(run).map((phase) => phase.recoveredAfterMs))
}

function range(values: readonly (number | undefined)[]): string {
  const numbers = values.filter((value) => value !== undefined)
  if (numbers.length === 0) return ''
  const [middle, most] = [median(numbers), Math.max(...numbers)].map((value) => Math.round(value))
  return middle === most ? `${middle}` : `${middle} (${most})`
}

function worst(numbers: readonly (number | undefined)[]): number | undefined {
  const all = numbers.filter((number) => number !== undefined)
  return all.length === 0 ? undefined : Math.max(...all)
}

function ms(value: number | undefined): string {
  return value === undefined ? '–' : `${Math.round(value)} ms`
}

function signed(value: number | undefined): string {
  return value === undefined ? '–' : `${value > 0 ? '+' : ''}${Math.round(value)} ms`
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |`
  return [
    line(head),
    line(head.map((_, i) => (i === 0 || head.length < 6 ? '---' : '--:'))),
    ...rows.map(line),
  ].join('\n')
}
