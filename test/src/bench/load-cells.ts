import type { Sample } from './kvd/load.ts'
import type { Name } from './servers.ts'
import { pairedRatio, spread } from './stats.ts'
import { formatCount, formatMs, formatRatio, formatSpread, type Column } from './table.ts'

/** What was measured of each server, round by round. */
export type Rounds = Readonly<Partial<Record<Name, readonly Sample[]>>>

export const left = (title: string): Column => ({ title, align: 'left' })
export const right = (title: string): Column => ({ title, align: 'right' })

/** Titles of `loadCells`. */
export const loadColumns: readonly Column[] = [
  right('kvd/s'),
  right('etcd/s'),
  right('ratio'),
  right('kvd µs CPU'),
  right('etcd µs CPU'),
  right('CPU ratio'),
  right('kvd p50 ms'),
  right('etcd p50 ms'),
  right('kvd p99 ms'),
  right('etcd p99 ms'),
]

/** Throughput, processor time and latency of both, `-` where one is missing. */
export function loadCells(rounds: Rounds): string[] {
  const cell = (name: Name, of: (sample: Sample) => number, format: (n: number) => string) => {
    const samples = rounds[name]
    return samples === undefined ? '-' : formatSpread(spread(samples.map(of)), format)
  }
  const pair = (of: (sample: Sample) => number, format: (n: number) => string): string[] => [
    cell('kvd', of, format),
    cell('etcd', of, format),
  ]
  return [
    ...pair(perSecond, formatCount),
    ratioCell(rounds, perSecond),
    ...pair(cpu, (value) => value.toFixed(1)),
    ratioCell(rounds, cpu),
    ...pair((sample) => sample.p50Ms, formatMs),
    ...pair((sample) => sample.p99Ms, formatMs),
  ]
}

const perSecond = (sample: Sample): number => sample.perSecond
const cpu = (sample: Sample): number => sample.cpuUsPerRequest

function ratioCell({ kvd, etcd }: Rounds, of: (sample: Sample) => number): string {
  if (kvd === undefined || etcd === undefined) return '-'
  return formatSpread(pairedRatio(kvd.map(of), etcd.map(of)), formatRatio)
}

/** Median over the rounds of kvd's throughput to etcd's; undefined when one was not measured. */
export function throughputRatio({ kvd, etcd }: Rounds): number | undefined {
  if (kvd === undefined || etcd === undefined) return undefined
  return pairedRatio(kvd.map(perSecond), etcd.map(perSecond)).median
}

/** Why a row is invalid: failed requests, or no answer at all. Empty when it is valid. */
export function roundFaults(what: string, rounds: Rounds): string[] {
  return Object.entries(rounds).flatMap(([server, samples]) => {
    const errors = samples.reduce((total, sample) => total + sample.errors, 0)
    const name = `${server}: ${what}`
    if (errors > 0) return [`${name}: ${errors} requests failed, the row is invalid`]
    return samples.some((sample) => sample.requests === 0) ? [`${name}: no answer at all`] : []
  })
}
