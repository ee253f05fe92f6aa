import type { Random } from '../helpers/random.ts'

/** The faults that can be asked for by name (correctness.md 4.6). */
export const FAULT_KINDS = [
  'crash',
  'pause',
  'partition',
  'clock',
  'disk-full',
  'slow-disk',
  'membership',
  'combined',
] as const

export type FaultKind = (typeof FAULT_KINDS)[number]

/** Who suffers. `majority` is just enough members that the others are none. */
export type Who = 'leader' | 'any' | 'majority' | 'all'

/** How a network is cut. One-way: what goes that way is lost, the answers come. */
export type Cut =
  'leader off' | 'any off' | 'halves' | 'nothing from leader' | 'nothing to leader' | 'one way'

/** What is to go wrong; it is undone after `holdMs`. */
export type Fault = { readonly holdMs: number } & (
  | { readonly type: 'crash'; readonly who: Who }
  | { readonly type: 'pause'; readonly who: Who }
  | { readonly type: 'partition'; readonly cut: Cut }
  | { readonly type: 'clock'; readonly who: Who; readonly offsetMs: number }
  | { readonly type: 'disk-full'; readonly who: Who }
  | { readonly type: 'slow-disk'; readonly who: Who; readonly delayMs: number }
  | { readonly type: 'membership'; readonly who: 'leader' | 'any' }
)

const HOUR_MS = 3_600_000

/**
 * What goes wrong next: one fault, or two at once when faults are combined. A change of members is
 * never combined: a cluster of three that lacks one cannot do without another.
 */
export function drawFaults(random: Random, kinds: readonly FaultKind[]): Fault[] {
  const kind = random.pick(kinds)
  if (kind !== 'combined') return [drawFault(random, kind)]
  const single = kinds.filter((one) => one !== 'combined' && one !== 'membership')
  const pool = single.length > 0 ? single : (['crash', 'pause', 'partition'] as const)
  return [drawFault(random, random.pick(pool)), drawFault(random, random.pick(pool))]
}

function drawFault(random: Random, type: Exclude<FaultKind, 'combined'>): Fault {
  switch (type) {
    case 'crash': {
      const who = random.pick(['leader', 'leader', 'any', 'any', 'majority', 'all'] as const)
      return { type, who, holdMs: random.int(0, 5_000) }
    }
    case 'pause':
      return { type, who: random.pick(['leader', 'leader', 'any']), holdMs: random.int(500, 6_000) }
    case 'partition': {
      const cut = random.pick([
        'leader off',
        'any off',
        'halves',
        'nothing from leader',
        'nothing to leader',
        'one way',
      ] as const)
      return { type, cut, holdMs: random.int(500, 7_000) }
    }
    case 'clock': {
      const offsetMs = random.pick([-HOUR_MS, HOUR_MS, -5_000, 5_000, 60_000])
      return {
        type,
        who: random.pick(['leader', 'any', 'all']),
        offsetMs,
        holdMs: random.int(500, 5_000),
      }
    }
    case 'disk-full':
      return { type, who: random.pick(['leader', 'any', 'all']), holdMs: random.int(500, 5_000) }
    case 'membership':
      return { type, who: random.pick(['leader', 'any']), holdMs: random.int(0, 2_000) }
    case 'slow-disk': {
      const delayMs = random.int(5, 200)
      return {
        type,
        who: random.pick(['leader', 'any']),
        delayMs,
        holdMs: random.int(1_000, 5_000),
      }
    }
  }
}

/** A fault as a word or two. */
export function nameOf(fault: Fault): string {
  switch (fault.type) {
    case 'partition':
      return `partition (${fault.cut})`
    case 'clock':
      return `clock of ${fault.who} by ${fault.offsetMs} ms`
    case 'slow-disk':
      return `disk of ${fault.who} slower by ${fault.delayMs} ms`
    case 'crash':
    case 'pause':
    case 'disk-full':
    case 'membership':
      return `${fault.type} of ${fault.who}`
  }
}
