import { machineLine } from '../machine.ts'
import { left, loadCells, loadColumns, right, roundFaults } from '../load-cells.ts'
import { pairedRatio, spread } from '../stats.ts'
import { formatCount, formatMs, formatRatio, formatSpread, renderTable } from '../table.ts'
import { memoryKeys, memoryValueBytes } from './memory.ts'
import type { Sample } from './load.ts'
import type { FanOut, Report } from './suite.ts'

/** What was wrong with a report: rows that hold failed requests. An empty list means it is valid. */
export function faults(report: Report): string[] {
  return report.loads.flatMap(({ operation, connections, rounds }) =>
    roundFaults(`${operation} at ${connections} connections`, rounds),
  )
}

/** The report as text: loads, log, fan-out, memory. */
export function renderReport(report: Report): string {
  const versions = Object.entries(report.versions).map(([name, version]) => `${name} ${version}`)
  return [
    `${versions.join(', ')}\n${machineLine(report.machine)}\n` +
      `medians (range) of ${report.rounds} rounds of ${report.secondsPerRun} s; ` +
      `${formatCount(report.keys)} keys, values of ${report.valueBytes} bytes\n` +
      (report.missing === undefined ? '' : `no comparison: ${report.missing}\n`),
    ...[loads(report), log(report), fanOut(report), memory(report)].filter((text) => text !== ''),
  ].join('\n')
}

function loads(report: Report): string {
  if (report.loads.length === 0) return ''
  const rows = report.loads.map(({ operation, connections, rounds }) => [
    operation,
    String(connections),
    ...loadCells(rounds),
  ])
  return renderTable([left('operation'), right('conns'), ...loadColumns], rows)
}

/** fsyncs of the log beside the writes they made durable. */
function log(report: Report): string {
  const rows = report.loads
    .filter((row) => row.operation !== 'get')
    .flatMap((row) =>
      Object.entries(row.rounds).map(([server, samples]) => {
        const fsyncs = sum(samples, (sample) => sample.fsyncs ?? NaN)
        const requests = sum(samples, (sample) => sample.requests)
        const each = Number.isNaN(fsyncs) ? '-' : (requests / fsyncs).toFixed(1)
        return [
          row.operation,
          String(row.connections),
          server,
          formatCount(requests),
          Number.isNaN(fsyncs) ? '-' : formatCount(fsyncs),
          fsyncs === 0 ? '-' : each,
        ]
      }),
    )
  if (rows.length === 0) return ''
  const columns = [
    left('log'),
    right('conns'),
    left('server'),
    right('requests'),
    right('fsyncs'),
    right('requests per fsync'),
  ]
  return renderTable(columns, rows)
}

function sum(samples: readonly Sample[], of: (sample: Sample) => number): number {
  return samples.reduce((total, sample) => total + of(sample), 0)
}

function fanOut(report: Report): string {
  if (report.watches.length === 0) return ''
  const etcd = report.watches.find((row) => row.server === 'etcd')
  const rows = report.watches.map((row) => {
    const series = (of: (round: FanOut) => number): string =>
      formatSpread(spread(row.rounds.map(of)), formatMs)
    const p99 = (round: FanOut): number => round.p99Ms
    const compared =
      etcd === undefined || etcd === row
        ? '-'
        : formatSpread(pairedRatio(row.rounds.map(p99), etcd.rounds.map(p99)), formatRatio)
    return [
      row.server,
      row.transport,
      series((round) => round.p50Ms),
      series(p99),
      series((round) => round.maxMs),
      compared,
    ]
  })
  const columns = [
    left(`${formatCount(report.watchers)} watchers`),
    left('over'),
    right('p50 ms'),
    right('p99 ms'),
    right('max ms'),
    right('p99 to etcd'),
  ]
  return renderTable(columns, rows)
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
    [left('memory'), right('kvd MiB'), right('etcd MiB'), right('ratio')],
    [
      line('empty, RSS', kvd.empty.rssKib, etcd?.empty.rssKib),
      line('empty, PSS', kvd.empty.pssKib, etcd?.empty.pssKib),
      line(`${keys}, RSS`, kvd.filled.rssKib, etcd?.filled.rssKib),
      line(`${keys}, PSS`, kvd.filled.pssKib, etcd?.filled.pssKib),
      line(`${keys}, highest RSS`, kvd.filled.peakKib, etcd?.filled.peakKib),
    ],
  )
}
