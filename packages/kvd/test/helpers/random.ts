/** A seeded source of randomness: the same seed gives the same choices (mulberry32). */
export class Random {
  #state: number

  constructor(seed: number) {
    this.#state = seed >>> 0
  }

  /** At least 0, less than 1. */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0
    let mixed = this.#state
    mixed = Math.imul(mixed ^ (mixed >>> 15), mixed | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }

  /** A whole number from `low` to `high`, both possible. */
  int(low: number, high: number): number {
    return low + Math.floor(this.next() * (high - low + 1))
  }

  /** True with this probability. */
  chance(probability: number): boolean {
    return this.next() < probability
  }

  /** One of the list, which may not be empty. */
  pick<T>(list: readonly T[]): T {
    const chosen = list[this.int(0, list.length - 1)]
    if (chosen === undefined) throw new RangeError('pick from an empty list')
    return chosen
  }

  /** A new source with choices of its own, so that one actor's pace does not change another's. */
  fork(): Random {
    return new Random(this.int(0, 2 ** 32 - 1))
  }
}

/** The seed of a drill: from the environment variable `name` when set, to replay a failure, else a new one. */
export function seedFrom(name: string): number {
  const given = process.env[name]
  return given === undefined ? Math.floor(Math.random() * 2 ** 31) : Number(given)
}

/** A whole number from the environment, for drills that run longer by hand. */
export function countFrom(name: string, usual: number): number {
  const given = process.env[name]
  return given === undefined ? usual : Number(given)
}
