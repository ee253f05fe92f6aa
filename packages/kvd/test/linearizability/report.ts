import { isWrite, type Entry } from './history.ts'
import type { Options } from './options.ts'
import type { Trial } from './trial.ts'
import type { Violation } from './violation.ts'

const VIOLATIONS_SHOWN = 3
/** Requests answered in a second, on average, below which a run shows nothing. */
const ANSWERED_MIN = 4

/** Why a run fails; empty when it passes. */
export function failuresOf(trial: Trial, options: Options, mayCrash: boolean): string[] {
  const { verdict, watches, crashes } = trial
  const answered = trial.entries.filter(({ e }) => e === 'ok').length
  const isIdle = answered < ANSWERED_MIN * options.seconds
  return [
    ...(isIdle ? [`IDLE only ${answered} requests were answered, which shows nothing`] : []),
    ...show(verdict.violations),
    ...show(watches.violations),
    ...trial.failures,
    ...(mayCrash ? [] : crashes),
  ]
}

/** The longest time, in seconds, in which no write was acknowledged. */
function longestSilence(entries: readonly Entry[], seconds: number): number {
  const writes = new Set<number>()
  let last = 0
  let longest = 0
  for (const entry of entries) {
    if (entry.e === 'invoke' && isWrite(entry)) writes.add(entry.op)
    if (entry.e !== 'ok' || !writes.has(entry.op)) continue
    longest = Math.max(longest, entry.t - last)
    last = entry.t
  }
  return Math.max(longest, seconds - last)
}

/** The first of them, and how many there are of each kind. */
function show(violations: readonly Violation[]): string[] {
  if (violations.length === 0) return []
  const counts = new Map<string, number>()
  for (const { id } of violations) counts.set(id, (counts.get(id) ?? 0) + 1)
  const shown = violations.slice(0, VIOLATIONS_SHOWN)
  return [
    ...shown.map(({ id, message }) => `${id} ${message}`),
    `violations: ${[...counts].map(([id, count]) => `${id} ${count}`).join(', ')}`,
  ]
}

/** The figures of a run. */
export function renderReport(trial: Trial, options: Options, version: string): string {
  const { verdict, watches, settled, entries, faults } = trial
  const ends = { ok: 0, fail: 0, info: 0 }
  for (const { e } of entries) if (e !== 'invoke') ends[e] += 1
  const silence = longestSilence(entries, options.seconds)
  const rate = Math.round((ends.ok + ends.fail + ends.info) / options.seconds)
  const suffered = [...faults].map(([kind, count]) => `${kind} ${count}`).join(', ')
  const ms = (value: number): string => `${Math.round(value)} ms`
  const lines = [
    `seed ${options.seed}: ${version}, ${options.members} members, ${options.seconds} s, ${options.clients} clients`,
    `faults: ${suffered === '' ? 'none' : suffered}; slowest recovery ${ms(trial.slowestRecoveryMs)}`,
    `requests: ${ends.ok} answered, ${ends.fail} refused, ${ends.info} unknown; ${rate}/s; ${silence.toFixed(1)} s without an acknowledged write at the longest`,
    `judged: ${verdict.operations} operations on ${verdict.keys} keys, ${verdict.unknown} open writes, ${verdict.states} states`,
    `watched: ${watches.events} events told in ${watches.sessions} requests of ${options.watchers} watchers, ${watches.refused} refused as too late; ${watches.truth} different events`,
    settled === undefined
      ? 'settled: no'
      : `settled: serving after ${ms(settled.servingMs)}, equal after ${ms(settled.equalMs)}; tree ${settled.hash} at index ${settled.index}, ${settled.bytes} bytes`,
    `members that ended by themselves: ${trial.crashes.length}`,
  ]
  return `${lines.join('\n')}\n`
}
