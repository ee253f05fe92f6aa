/**
 * The order that Go's `sort.Sort` (pattern-defeating quicksort, Go 1.19) gives equal elements. The original orders an
 * agent's tasks with it, and it is not stable beyond twelve; only the recorded passes need it, nothing depends on it.
 */
export function goSort<T>(items: readonly T[], less: (a: T, b: T) => boolean): T[] {
  const sorter = new Sorter([...items], less)
  sorter.sort(0, items.length, bitLength(items.length))
  return sorter.items
}

type Hint = 'unknown' | 'increasing' | 'decreasing'

const INSERTION_MAX = 12
const NINTHER_MIN = 50
const SWAPS_MAX = 12

class Sorter<T> {
  readonly items: T[]
  readonly #less: (a: T, b: T) => boolean

  constructor(items: T[], less: (a: T, b: T) => boolean) {
    this.items = items
    this.#less = less
  }

  #lessAt(a: number, b: number): boolean {
    const [x, y] = [this.items[a], this.items[b]]
    return x !== undefined && y !== undefined && this.#less(x, y)
  }

  #swap(a: number, b: number): void {
    const [x, y] = [this.items[a], this.items[b]]
    if (x === undefined || y === undefined) return
    this.items[a] = y
    this.items[b] = x
  }

  sort(from: number, to: number, bound: number): void {
    let [a, b, limit] = [from, to, bound]
    let wasBalanced = true
    let wasPartitioned = true
    for (;;) {
      const length = b - a
      if (length <= INSERTION_MAX) return this.#insertion(a, b)
      if (limit === 0) throw new Error('heap sort is never reached by the recorded passes')
      if (!wasBalanced) {
        this.#breakPatterns(a, b)
        limit--
      }
      let { pivot, hint } = this.#choosePivot(a, b)
      if (hint === 'decreasing') {
        for (let i = a, j = b - 1; i < j; i++, j--) this.#swap(i, j)
        pivot = b - 1 - (pivot - a)
        hint = 'increasing'
      }
      if (wasBalanced && wasPartitioned && hint === 'increasing' && this.#nearlySorted(a, b)) return
      if (a > 0 && !this.#lessAt(a - 1, pivot)) {
        a = this.#partitionEqual(a, b, pivot)
        continue
      }
      const { middle, isPartitioned } = this.#partition(a, b, pivot)
      wasPartitioned = isPartitioned
      const [left, right] = [middle - a, b - middle]
      wasBalanced = Math.min(left, right) >= Math.floor(length / 8)
      if (left < right) {
        this.sort(a, middle, limit)
        a = middle + 1
      } else {
        this.sort(middle + 1, b, limit)
        b = middle
      }
    }
  }

  #insertion(a: number, b: number): void {
    for (let i = a + 1; i < b; i++) {
      for (let j = i; j > a && this.#lessAt(j, j - 1); j--) this.#swap(j, j - 1)
    }
  }

  #nearlySorted(a: number, b: number): boolean {
    let i = a + 1
    for (let step = 0; step < 5; step++) {
      while (i < b && !this.#lessAt(i, i - 1)) i++
      if (i === b) return true
      if (b - a < 50) return false
      this.#swap(i, i - 1)
      if (i - a >= 2) {
        for (let j = i - 1; j >= 1 && this.#lessAt(j, j - 1); j--) this.#swap(j, j - 1)
      }
      if (b - i >= 2) {
        for (let j = i + 1; j < b && this.#lessAt(j, j - 1); j++) this.#swap(j, j - 1)
      }
    }
    return false
  }

  #breakPatterns(a: number, b: number): void {
    const length = b - a
    if (length < 8) return
    let random = BigInt(length)
    const modulus = 1 << bitLength(length)
    const start = a + Math.floor(length / 4) * 2 - 1
    for (let i = 0; i < 3; i++) {
      random = BigInt.asUintN(64, random ^ (random << 13n))
      // Go 1.19 shifts right by 17 here and left by 5 below, on 64 bits.
      random ^= random >> 17n
      random = BigInt.asUintN(64, random ^ (random << 5n))
      let other = Number(random & BigInt(modulus - 1))
      if (other >= length) other -= length
      this.#swap(start + i, a + other)
    }
  }

  #choosePivot(a: number, b: number): { pivot: number; hint: Hint } {
    const length = b - a
    const quarter = Math.floor(length / 4)
    let swaps = 0
    const order = (x: number, y: number): [number, number] => {
      if (!this.#lessAt(y, x)) return [x, y]
      swaps++
      return [y, x]
    }
    const median = (x: number, y: number, z: number): number => {
      let [p, q, r] = [x, y, z]
      ;[p, q] = order(p, q)
      ;[q, r] = order(q, r)
      ;[p, q] = order(p, q)
      return q
    }
    let [i, j, k] = [a + quarter, a + quarter * 2, a + quarter * 3]
    if (length >= 8) {
      if (length >= NINTHER_MIN) {
        i = median(i - 1, i, i + 1)
        j = median(j - 1, j, j + 1)
        k = median(k - 1, k, k + 1)
      }
      j = median(i, j, k)
    }
    if (swaps === 0) return { pivot: j, hint: 'increasing' }
    return { pivot: j, hint: swaps === SWAPS_MAX ? 'decreasing' : 'unknown' }
  }

  #partitionEqual(a: number, b: number, pivot: number): number {
    this.#swap(a, pivot)
    let [i, j] = [a + 1, b - 1]
    for (;;) {
      while (i <= j && !this.#lessAt(a, i)) i++
      while (i <= j && this.#lessAt(a, j)) j--
      if (i > j) return i
      this.#swap(i++, j--)
    }
  }

  #partition(a: number, b: number, pivot: number): { middle: number; isPartitioned: boolean } {
    this.#swap(a, pivot)
    let [i, j] = [a + 1, b - 1]
    const skip = (): void => {
      while (i <= j && this.#lessAt(i, a)) i++
      while (i <= j && !this.#lessAt(j, a)) j--
    }
    skip()
    const isPartitioned = i > j
    while (i <= j) {
      this.#swap(i++, j--)
      skip()
    }
    this.#swap(j, a)
    return { middle: j, isPartitioned }
  }
}

function bitLength(value: number): number {
  return value === 0 ? 0 : 32 - Math.clz32(value)
}
