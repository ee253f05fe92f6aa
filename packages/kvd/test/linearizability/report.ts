import type { Options } from './options.ts'
import type { Trial } from './trial.ts'

const VIOLATIONS_SHOWN = 3

/** Why a run fails; empty when it passes. */
export function failuresOf({ verdict, settled, crashes }: Trial, mayCrash: boolean): string[] {
  const shown = verdict.violations.slice(0, VIOLATIONS_SHOWN)
  const more = verdict.violations.length - shown.length
  return [
    ...shown.map(({ id, message }) => `${id} ${message}`),
    ...(more > 0 ? [`and ${more} more violations`] : []),
    ...('failure' in settled ? [settled.failure] : []),
    ...(mayCrash ? [] : crashes),
  ]
}

/** The figures of a run. */
export function renderReport(trial: Trial, options: Options, version: string): string {
  const { verdict, settled, entries, faults } = trial
  const ends = { ok: 0, fail: 0, info: 0 }
  for (const { e } of entries) if (e !== 'invoke') ends[e] += 1
  const rate = Math.round((ends.ok + ends.fail + ends.info) / options.seconds)
  const suffered = [...faults].map(([kind, count]) => `${kind} ${count}`).join(', ')
  const ms = (value: number): string => `${Math.round(value)} ms`
  const lines = [
    `seed ${options.seed}: ${version}, ${options.members} members, ${options.seconds} s, ${options.clients} clients`,
    `faults: ${suffered === '' ? 'none' : suffered}`,
    `requests: ${ends.ok} answered, ${ends.fail} refused, ${ends.info} unknown; ${rate}/s`,
    `judged: ${verdict.operations} operations on ${verdict.keys} keys, ${verdict.unknown} open writes, ${verdict.states} states`,
    'failure' in settled
      ? 'settled: no'
      : `settled: serving after ${ms(settled.servingMs)}, equal after ${ms(settled.equalMs)}; tree ${settled.hash} at index ${settled.index}, ${settled.bytes} bytes`,
    `members that ended by themselves: ${trial.crashes.length}`,
  ]
  return `${lines.join('\n')}\n`
}
