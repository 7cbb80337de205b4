// A run as tables: one for each workload on the terminal, and one of all for docs/performance.md.

import { clients } from './clients/index.js'
import { digits, median, medianOf, ratio, short } from './statistics.js'
import { workloads } from './workloads.js'

/** Rows that are compared to the bare connection, and what that column is called. */
const CLIENT_ROWS = [
  ['respool-client', 'typed methods'],
  ['respool-client-call', 'call()'],
  ['respool-client-sentinel', 'over Sentinel'],
]

/** A row of cells as text in columns. */
export function columns(rows, first = 22, other = 13) {
  return rows
    .map((row) => row.map((cell, i) => (i === 0 ? cell.padEnd(first) : cell.padStart(other))).join(''))
    .join('\n')
}

/** One workload, for the terminal. */
export function describe(work, samples) {
  const mine = samples.respool
  const header = ['', 'ops/s', 'min', 'max', 'µs/op', 'server µs', 'respool: ops', 'CPU']
  const rows = Object.entries(samples).map(([name, list]) => {
    const ops = list.map((sample) => sample.ops)
    const against = (figure) =>
      mine && name !== 'respool' ? `${ratio(mine, list, figure).toFixed(2)} ×` : ''
    return [
      name,
      short(median(ops)),
      short(Math.min(...ops)),
      short(Math.max(...ops)),
      digits(medianOf(list, 'cpu')),
      list[0]?.server === undefined ? '' : digits(medianOf(list, 'server')),
      against('ops'),
      against('cpu'),
    ]
  })
  return `\n${work}\n${columns([header, ...rows])}`
}

/** The whole run, for documents. */
export function describeAsMarkdown({ runtime, server, versions, rounds, ms, results, notes }) {
  const known = Object.entries(results).filter(([work, samples]) => work in workloads && samples.respool)
  const others = Object.entries(versions).map(([name, version]) => `${name} ${version}`)
  const parts = [
    `${runtime}, ${server}, ${rounds} rounds of ${ms} ms; ${others.join(', ')}.`,
    markdownTable(
      [
        'work',
        'respool, ops/s',
        'CPU, µs/op',
        'against raw',
        'best',
        'throughput against it',
        'CPU against it',
        'least CPU',
        'CPU against it',
      ],
      'lrrrlrrlr',
      known.map(peerRow),
    ),
  ]
  for (const [variant, title] of [
    ['respool-resp2', 'RESP3 against RESP2'],
    ['respool-other', 'This build against the other'],
  ]) {
    const rows = known.filter(([, samples]) => samples[variant])
    if (rows.length === 0) continue
    parts.push(
      `${title}:`,
      markdownTable(
        ['work', 'ops/s', 'the other', 'throughput against it', 'CPU against it'],
        'lrrrr',
        rows.map(([work, samples]) => variantRow(work, samples.respool, samples[variant])),
      ),
    )
  }
  const overClient = known.filter(([, samples]) => samples['respool-client'])
  if (overClient.length > 0) {
    parts.push(
      'Through `createClient()`, against the bare connection:',
      markdownTable(
        ['work', 'client, ops/s', 'CPU, µs/op', ...CLIENT_ROWS.flatMap(([, title]) => [title, 'CPU'])],
        `lrr${'rr'.repeat(CLIENT_ROWS.length)}`,
        overClient.map(clientRow),
      ),
    )
  }
  if (notes.length > 0) parts.push(notes.map((note) => `* ${note}`).join('\n'))
  return parts.join('\n\n')
}

/** The client, and its ways, beside the bare connection. */
function clientRow([work, samples]) {
  const { respool, 'respool-client': client } = samples
  const against = (name) =>
    samples[name] === undefined
      ? ['–', '–']
      : [
          `${ratio(samples[name], respool, 'ops').toFixed(2)} ×`,
          ratio(samples[name], respool, 'cpu').toFixed(2),
        ]
  return [
    workloads[work].title,
    short(medianOf(client, 'ops')),
    digits(medianOf(client, 'cpu')),
    ...CLIENT_ROWS.flatMap(([name]) => against(name)),
  ]
}

/** respool beside raw, the peer with the highest throughput and the one that needs the least CPU. */
function peerRow([work, samples]) {
  const { respool, raw } = samples
  const peers = Object.keys(samples).filter((name) => clients[name]?.kind === 'peer')
  const fastest = best(peers, (name) => -medianOf(samples[name], 'ops'))
  const leanest = best(peers, (name) => medianOf(samples[name], 'cpu'))
  return [
    workloads[work].title,
    short(medianOf(respool, 'ops')),
    digits(medianOf(respool, 'cpu')),
    raw === undefined ? '–' : `${ratio(respool, raw, 'ops').toFixed(2)} ×`,
    fastest ?? '–',
    fastest === undefined ? '–' : `${ratio(respool, samples[fastest], 'ops').toFixed(2)} ×`,
    fastest === undefined ? '–' : ratio(respool, samples[fastest], 'cpu').toFixed(2),
    leanest ?? '–',
    leanest === undefined ? '–' : ratio(respool, samples[leanest], 'cpu').toFixed(2),
  ]
}

function variantRow(work, mine, other) {
  return [
    workloads[work].title,
    short(medianOf(mine, 'ops')),
    short(medianOf(other, 'ops')),
    `${ratio(mine, other, 'ops').toFixed(2)} ×`,
    ratio(mine, other, 'cpu').toFixed(2),
  ]
}

/** The name with the lowest rank. */
function best(names, rank) {
  return names.reduce(
    (winner, name) => (winner === undefined || rank(name) < rank(winner) ? name : winner),
    undefined,
  )
}

/** @param {string} sides `l` or `r` for each column */
export function markdownTable(header, sides, rows) {
  const line = (cells) => `| ${cells.join(' | ')} |`
  const rule = [...sides].map((side) => (side === 'r' ? '--:' : '---'))
  return [line(header), line(rule), ...rows.map(line)].join('\n')
}
