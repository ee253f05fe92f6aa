/** Median and range of a series of measurements. */
export interface Spread {
  readonly median: number
  readonly min: number
  readonly max: number
}

/** Median, smallest and largest of `values`; refuses an empty series, which no row of a report may be. */
export function spread(values: readonly number[]): Spread {
  const sorted = ascending(values)
  return { median: middle(sorted), min: sorted.at(0) ?? NaN, max: sorted.at(-1) ?? NaN }
}

/**
 * The value below or at which `percent` of `values` lie (nearest rank, so always one of the values).
 * `percent` is in (0, 100].
 */
export function percentile(values: readonly number[], percent: number): number {
  if (!(percent > 0 && percent <= 100)) throw new RangeError(`percentile: ${percent}`)
  const sorted = ascending(values)
  return sorted[Math.ceil((percent / 100) * sorted.length) - 1] ?? NaN
}

/**
 * Ratio `ours[i] / theirs[i]` of each round, then its spread. The two halves of a round run next to each
 * other, so that a disturbance of the machine hits both; ratios of medians would mix rounds.
 */
export function pairedRatio(ours: readonly number[], theirs: readonly number[]): Spread {
  if (ours.length !== theirs.length) throw new RangeError('pairedRatio: series of unequal length')
  return spread(ours.map((value, round) => value / (theirs[round] ?? NaN)))
}

function ascending(values: readonly number[]): number[] {
  if (values.length === 0) throw new RangeError('no values')
  return values.toSorted((a, b) => a - b)
}

function middle(sorted: readonly number[]): number {
  const half = Math.floor(sorted.length / 2)
  const upper = sorted[half] ?? NaN
  return sorted.length % 2 === 1 ? upper : ((sorted[half - 1] ?? NaN) + upper) / 2
}
