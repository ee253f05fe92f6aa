import { machineLine } from '../machine.ts'
import type { Name } from '../servers.ts'
import { pairedRatio, spread } from '../stats.ts'
import {
  formatCount,
  formatMs,
  formatRatio,
  formatSpread,
  renderTable,
  type Column,
} from '../table.ts'
import { memoryKeys, memoryValueBytes } from './memory.ts'
import type { Sample } from './load.ts'
import type { FanOut, LoadRow, Report } from './suite.ts'

/** What was wrong with a report: rows that hold failed requests. An empty list means it is valid. */
export function faults(report: Report): string[] {
  return report.loads.flatMap((row) =>
    Object.entries(row.rounds).flatMap(([server, samples]) => {
      const errors = samples.reduce((total, sample) => total + sample.errors, 0)
      const name = `${server}: ${row.operation} at ${row.connections} connections`
      if (errors > 0) return [`${name}: ${errors} requests failed, the row is invalid`]
      return samples.some((sample) => sample.requests === 0) ? [`${name}: no answer at all`] : []
    }),
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

const left = (title: string): Column => ({ title, align: 'left' })
const right = (title: string): Column => ({ title, align: 'right' })

function loads(report: Report): string {
  if (report.loads.length === 0) return ''
  const columns = [
    left('operation'),
    right('conns'),
    right('kvd/s'),
    right('etcd/s'),
    right('ratio'),
    right('kvd µs CPU'),
    right('etcd µs CPU'),
    right('CPU ratio'),
    right('kvd p99 ms'),
    right('etcd p99 ms'),
  ]
  return renderTable(columns, report.loads.map(loadLine))
}

function loadLine(row: LoadRow): string[] {
  const perSecond = (sample: Sample): number => sample.perSecond
  const cpu = (sample: Sample): number => sample.cpuUsPerRequest
  const p99 = (sample: Sample): number => sample.p99Ms
  const cell = (name: Name, of: (sample: Sample) => number, format: (n: number) => string) => {
    const samples = row.rounds[name]
    return samples === undefined ? '-' : formatSpread(spread(samples.map(of)), format)
  }
  const micro = (value: number): string => value.toFixed(1)
  return [
    row.operation,
    String(row.connections),
    cell('kvd', perSecond, formatCount),
    cell('etcd', perSecond, formatCount),
    ratio(row, perSecond),
    cell('kvd', cpu, micro),
    cell('etcd', cpu, micro),
    ratio(row, cpu),
    cell('kvd', p99, formatMs),
    cell('etcd', p99, formatMs),
  ]
}

function ratio(row: LoadRow, of: (sample: Sample) => number): string {
  const { kvd, etcd } = row.rounds
  if (kvd === undefined || etcd === undefined) return '-'
  return formatSpread(pairedRatio(kvd.map(of), etcd.map(of)), formatRatio)
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
