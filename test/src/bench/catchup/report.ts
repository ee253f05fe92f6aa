import { missedBars, renderBars, type Bar } from '../bars.ts'
import { left, right } from '../load-cells.ts'
import { machineLine } from '../machine.ts'
import { formatCount, formatMs, renderTable } from '../table.ts'
import type { Phase, Report } from './suite.ts'

/** While a member catches up, the leader's p99 stays below so many times the one before. */
const slowdownMax = 2

/** What is promised. */
function barsOf(report: Report): Bar[] {
  const value = report.during.p99Ms / report.before.p99Ms
  return [{ what: 'p99 during, to before', kind: 'below', limit: slowdownMax, value }]
}

/** What makes the figures worthless, and bars that were missed. */
export function faults(report: Report): string[] {
  const { failures, trees, isBySnapshot, before, during } = report
  return [
    ...failures.map((failure) => `a PUT of the fixed load failed: ${failure}`),
    ...(new Set(Object.values(trees)).size === 1 ? [] : ['the trees of the members differ']),
    ...(isBySnapshot ? [] : ['the member caught up without a snapshot: give more --entries']),
    ...(before.puts > 0 && during.puts > 0 ? [] : ['a part of the run has no PUT']),
    ...missedBars(barsOf(report)),
  ]
}

/** The report as text. */
export function renderReport(report: Report): string {
  const { server, machine, keys, rate, behind, catchUpMs, trees } = report
  const phases: readonly (readonly [string, Phase])[] = [
    ['before', report.before],
    ['during', report.during],
    ['after', report.after],
  ]
  const rows = phases.map(([name, { puts, p50Ms, p99Ms, maxMs }]) => [
    name,
    formatCount(puts),
    ...[p50Ms, p99Ms, maxMs].map(formatMs),
  ])
  const columns = [left('PUT'), right('puts'), right('p50 ms'), right('p99 ms'), right('max ms')]
  return [
    `${server}, three members\n${machineLine(machine)}\n` +
      `${formatCount(keys)} keys, ${formatCount(rate)} PUTs a second on the leader\n`,
    `${formatCount(behind)} entries behind, caught up in ${(catchUpMs / 1000).toFixed(2)} s\n`,
    renderTable(columns, rows),
    renderTable(
      [left('member'), left('SHA-256 of the tree')],
      Object.entries(trees).map(([name, hash]) => [name, hash]),
    ),
    renderBars(barsOf(report)),
  ].join('\n')
}
