/** A seed that failed once, and what was wrong. It says as much as long as the plans are drawn as they were. */
export interface Regress {
  readonly seed: number
  readonly what: string
}

/** Each failing seed comes here with the commit that mends it. */
export const regress: readonly Regress[] = [
  {
    seed: 1_430_559_197,
    what: 'V3: a leader began with 190 entries of an older term, one to a message, and was given no time for them',
  },
  {
    seed: 2_014_279,
    what: 'V1: one of two was removed and gone, the other one crashed before its disk knew that',
  },
  {
    seed: 2_095_427,
    what: 'V1: the same, and the one who was removed had led',
  },
  {
    seed: 2_021_457,
    what: 'S15: an ambush took members out until the wrong clock was a majority, in a plan without such changes',
  },
  { seed: 2_024_927, what: 'V2: a backlog of 300 single entries was given the time of none' },
  {
    seed: 2_082_209,
    what: 'V2: members were asked to hold the very last entry while new ones came',
  },
  {
    seed: 7_106_341,
    what: 'V3: a backlog of 200 single entries was forgotten while nobody led for a moment',
  },
]
