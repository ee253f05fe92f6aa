import { missedBars, renderBars, type Bar } from '../bars.ts'
import { memoryKeys, memoryValueBytes } from '../kvd/memory.ts'
import { left, loadCells, loadColumns, right, roundFaults, throughputRatio } from '../load-cells.ts'
import { machineLine } from '../machine.ts'
import { formatCount, formatRatio, renderTable } from '../table.ts'
import type { LoadRow, Report } from './suite.ts'

/** How many times etcd's throughput is promised at the leader, by operation and connections. */
const promises: readonly (readonly [LoadRow['operation'], number, number])[] = [
  ['put', 64, 1.1],
  ['put', 256, 2],
  ['get', 64, 1.5],
  ['get', 256, 1.5],
  ['qget', 64, 1.5],
  ['qget', 256, 1.5],
]

/** The bars that can be judged by what was measured. */
export function barsOf(report: Report): Bar[] {
  const promised = promises.flatMap(([operation, connections, limit]): Bar[] => {
    const row = report.loads.find(
      (candidate) =>
        candidate.operation === operation &&
        candidate.connections === connections &&
        candidate.through === 'leader',
    )
    const value = row === undefined ? undefined : throughputRatio(row.rounds)
    if (value === undefined) return []
    return [
      {
        what: `${operation} at ${connections} connections, to etcd`,
        kind: 'atLeast',
        limit,
        value,
      },
    ]
  })
  const { kvd, etcd } = report.memory
  if (kvd === undefined || etcd === undefined) return promised
  const value = kvd.filled.rssKib / etcd.filled.rssKib
  return [...promised, { what: 'memory of the leader, to etcd', kind: 'atMost', limit: 1, value }]
}

/** Rows that hold failed requests, and bars that were missed. */
export function faults(report: Report): string[] {
  const invalid = report.loads.flatMap(({ operation, through, connections, rounds }) =>
    roundFaults(`${operation} through ${through} at ${connections} connections`, rounds),
  )
  return [...invalid, ...missedBars(barsOf(report))]
}

/** The report as text: loads, memory, bars. */
export function renderReport(report: Report): string {
  const versions = Object.entries(report.versions).map(([name, version]) => `${name} ${version}`)
  return [
    `${versions.join(', ')}\n${machineLine(report.machine)}\n` +
      `three members each; medians (range) of ${report.rounds} rounds of ${report.secondsPerRun} s; ` +
      `${formatCount(report.keys)} keys, values of ${report.valueBytes} bytes; ` +
      'CPU is that of all members\n' +
      (report.missing === undefined ? '' : `no comparison: ${report.missing}\n`),
    ...[loads(report), memory(report), renderBars(barsOf(report))].filter((text) => text !== ''),
  ].join('\n')
}

function loads(report: Report): string {
  if (report.loads.length === 0) return ''
  const rows = report.loads.map(({ operation, through, connections, rounds }) => [
    operation,
    through,
    String(connections),
    ...loadCells(rounds),
  ])
  return renderTable([left('operation'), left('through'), right('conns'), ...loadColumns], rows)
}

function memory(report: Report): string {
  const { kvd, etcd } = report.memory
  if (kvd === undefined) return ''
  const mib = (kib: number | undefined): string =>
    kib === undefined ? '-' : (kib / 1024).toFixed(1)
  const line = (what: string, ours: number, theirs: number | undefined): string[] => [
    what,
    mib(ours),
    mib(theirs),
    theirs === undefined ? '-' : formatRatio(ours / theirs),
  ]
  const keys = `${formatCount(memoryKeys)} keys of ${memoryValueBytes} bytes`
  return renderTable(
    [left('memory of the leader'), right('kvd MiB'), right('etcd MiB'), right('ratio')],
    [
      line('empty, RSS', kvd.empty.rssKib, etcd?.empty.rssKib),
      line(`${keys}, RSS`, kvd.filled.rssKib, etcd?.filled.rssKib),
      line(`${keys}, highest RSS`, kvd.filled.peakKib, etcd?.filled.peakKib),
    ],
  )
}
