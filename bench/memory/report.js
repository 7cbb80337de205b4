// The figures of memory as tables.

import { columns, markdownTable } from '../report.js'
import { digits, short } from '../statistics.js'

const KB = 1024
const MB = 1024 * 1024

/** What stands where something was not measured. */
const NONE = '–'

const tables = [
  {
    title: 'idle connections and large values',
    columns: [
      ['RSS each, KB', ({ idle }) => idle && digits(idle.rss / KB)],
      ['heap each, KB', ({ idle }) => idle && digits(idle.heap / KB)],
      ['+ buffers, KB', ({ idle }) => idle && digits(idle.held / KB)],
      ['peak, string', ({ peakString }) => peakString && `${digits(peakString.peak)} ×`],
      ['peak, bytes', ({ peakBytes }) => peakBytes && `${digits(peakBytes.peak)} ×`],
    ],
  },
  {
    title: 'GETs with 100 in flight',
    columns: [
      ['ops/s', ({ load }) => load && short(load.opsPerSecond)],
      ['CPU, µs/op', ({ load }) => load && digits(load.cpu)],
      ['growth, MB', ({ load }) => load && (load.growth / MB).toFixed(2)],
      ['RSS at end, MB', ({ load }) => load && digits(load.rss / MB)],
      ['GC, %', ({ load }) => load?.collections && digits(load.collectionShare * 100)],
      ['GC, ms/1M', ({ load }) => load?.collections && digits(load.collectionMsPerMillion)],
      ['minor', ({ load }) => load?.collections && String(load.collections.minor ?? 0)],
      ['major', ({ load }) => load?.collections && String(load.collections.major ?? 0)],
      ['incremental', ({ load }) => load?.collections && String(load.collections.incremental ?? 0)],
    ],
  },
  {
    title: 'bytes held for each reply that is kept',
    columns: ['string-17', 'string-100', 'bytes-17', 'bytes-100', 'element-17', 'element-100'].map((key) => [
      key,
      ({ kept }) => kept?.[key]?.kept.toFixed(0),
    ]),
  },
]

export function describeMemory(results) {
  return eachTable(results, (title, header, rows) => `\n${title}\n${columns([header, ...rows], 22, 16)}`)
}

export function describeMemoryAsMarkdown({ runtime, server, ops, connections, mebibytes, results }) {
  const intro = `${runtime}, ${server}; ${connections} idle connections, a value of ${mebibytes} MiB, ${ops} GETs.`
  const body = eachTable(results, (title, header, rows) => {
    const sides = `l${'r'.repeat(header.length - 1)}`
    return `\n${title}:\n\n${markdownTable(['client', ...header.slice(1)], sides, rows)}`
  })
  return `${intro}\n${body}`
}

/** Those tables and rows for which anything was measured. */
function eachTable(results, format) {
  return tables
    .flatMap(({ title, columns: shown }) => {
      const rows = Object.entries(results)
        .map(([name, found]) => [name, ...shown.map(([, cell]) => cell(found) ?? NONE)])
        .filter(([, ...cells]) => cells.some((cell) => cell !== NONE))
      return rows.length === 0 ? [] : [format(title, ['', ...shown.map(([head]) => head)], rows)]
    })
    .join('\n')
}
