import { missedBars, renderBars, type Bar } from '../bars.ts'
import { left, right } from '../load-cells.ts'
import { machineLine } from '../machine.ts'
import { spread } from '../stats.ts'
import { formatCount, formatMs, formatRatio, renderTable } from '../table.ts'
import type { Part } from './options.ts'
import type { Loss, Report } from './suite.ts'

/** What a lost leader may cost: one timeout until it is missed, one more at random (--election-timeout is 1000). */
const twoTimeoutsMs = 2000

const TITLES: Readonly<Record<Part, string>> = {
  kill: 'leader killed',
  stop: 'leader stopped',
  replace: 'follower replaced',
}

/** What is promised: an election within two timeouts, a hand-over well within one, replacements that nobody notices. */
function barsOf({ losses }: Report): Bar[] {
  const median = (list: readonly Loss[]): number => spread(list.map(({ tookMs }) => tookMs)).median
  const bars: Bar[] = []
  if (losses.kill !== undefined) {
    const value = median(losses.kill)
    bars.push({ what: 'leader killed, median ms', kind: 'atMost', limit: twoTimeoutsMs, value })
  }
  if (losses.stop !== undefined) {
    const [limit, value] = [twoTimeoutsMs / 4, median(losses.stop)]
    bars.push({ what: 'leader stopped, median ms', kind: 'atMost', limit, value })
  }
  if (losses.replace !== undefined) {
    const value = sum(losses.replace, ({ writes }) => writes.failed)
    bars.push({ what: 'follower replaced, failed writes', kind: 'atMost', limit: 0, value })
  }
  return bars
}

/** Bars that were missed, and what the failed writes were told. */
export function faults(report: Report): string[] {
  const missed = missedBars(barsOf(report))
  return missed.length === 0 ? [] : [...missed, ...new Set(report.failures)]
}

/** The report as text. */
export function renderReport(report: Report): string {
  const { server, machine, losses } = report
  const parts: Part[] = ['kill', 'stop', 'replace']
  const rows = parts.flatMap((part) => {
    const list = losses[part]
    return list === undefined ? [] : [line(part, list)]
  })
  const columns = [
    left('event'),
    right('times'),
    right('median ms'),
    right('worst ms'),
    right('median to 2 timeouts'),
    right('worst to 2 timeouts'),
    right('writes'),
    right('retried'),
    right('failed'),
  ]
  return [
    `${server}, three members\n${machineLine(machine)}\n` +
      'leader lost: longest time without an acknowledged write; follower replaced: until the new one counts\n' +
      `two election timeouts: ${twoTimeoutsMs} ms\n`,
    renderTable(columns, rows),
    renderBars(barsOf(report)),
  ].join('\n')
}

function line(part: Part, list: readonly Loss[]): string[] {
  const { median, max } = spread(list.map(({ tookMs }) => tookMs))
  const isLeader = part !== 'replace'
  return [
    TITLES[part],
    String(list.length),
    formatMs(median),
    formatMs(max),
    isLeader ? formatRatio(median / twoTimeoutsMs) : '-',
    isLeader ? formatRatio(max / twoTimeoutsMs) : '-',
    formatCount(sum(list, ({ writes }) => writes.acknowledged)),
    formatCount(sum(list, ({ writes }) => writes.retried)),
    formatCount(sum(list, ({ writes }) => writes.failed)),
  ]
}

function sum(list: readonly Loss[], of: (loss: Loss) => number): number {
  return list.reduce((total, loss) => total + of(loss), 0)
}
