const SLOTS_MIN = 1_024
const RADIX = 36
const DIGIT_0 = 48
const LETTER_A = 97

interface Waiting {
  /** The number that `next` gave. */
  readonly number: number
}

/**
 * What waits under a growing number, each in the slot of its number. No Map: when one grows or is
 * swept its old table keeps what was in it, and points to the next table, so that the collector,
 * once it holds an old one for alive, carries everything that ever waited into the old generation.
 */
export class WaitingRing<T extends Waiting> {
  #slots: (T | undefined)[] = slots(SLOTS_MIN)
  #size = 0
  #last = 0

  get size(): number {
    return this.#size
  }

  /** A number that nothing had before, from 1 on. */
  next(): number {
    this.#last += 1
    return this.#last
  }

  add(one: T): void {
    while (this.#slots[one.number % this.#slots.length] !== undefined) this.#grow()
    this.#slots[one.number % this.#slots.length] = one
    this.#size += 1
  }

  /** What waits under a number waits no more. */
  take(number: number): T | undefined {
    const at = number % this.#slots.length
    const one = this.#slots[at]
    if (one?.number !== number) return undefined
    this.#slots[at] = undefined
    this.#size -= 1
    if (this.#size === 0 && this.#slots.length > SLOTS_MIN) this.clear()
    return one
  }

  /** Those that wait, the longest first. */
  all(): readonly T[] {
    const found = this.#slots.filter((one) => one !== undefined)
    return found.toSorted((left, right) => left.number - right.number)
  }

  clear(): void {
    this.#slots = slots(SLOTS_MIN)
    this.#size = 0
  }

  #grow(): void {
    const old = this.#slots
    this.#slots = slots(2 * old.length)
    // Of two with the same rest by the longer length, their numbers have it by the shorter one as well.
    for (const one of old) if (one !== undefined) this.#slots[one.number % this.#slots.length] = one
  }
}

function slots<T>(count: number): (T | undefined)[] {
  return Array.from({ length: count }, () => undefined)
}

/** The number that ends a name, from `at` on, in the digits of `toString(36)`; 0 when it is none. */
export function numberIn(name: string, at: number): number {
  let number = 0
  for (let index = at; index < name.length; index += 1) {
    const digit = digitOf(name.charCodeAt(index))
    if (digit === -1) return 0
    number = number * RADIX + digit
  }
  return number
}

function digitOf(code: number): number {
  if (code >= DIGIT_0 && code < DIGIT_0 + 10) return code - DIGIT_0
  if (code >= LETTER_A && code < LETTER_A + RADIX - 10) return code - LETTER_A + 10
  return -1
}
