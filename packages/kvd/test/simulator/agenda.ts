/** Things to do at virtual times, in the order of time and then of their coming. */
export class Agenda {
  #heap: { readonly at: number; readonly order: number; readonly run: () => void }[] = []
  #order = 0
  #now = 0

  get now(): number {
    return this.#now
  }

  get size(): number {
    return this.#heap.length
  }

  after(delay: number, run: () => void): void {
    this.#order += 1
    this.#heap.push({ at: this.#now + delay, order: this.#order, run })
    this.#up(this.#heap.length - 1)
  }

  /** Does the next thing; false when there is none. */
  step(): boolean {
    const [first] = this.#heap
    const last = this.#heap.pop()
    if (first === undefined || last === undefined) return false
    if (this.#heap.length > 0) {
      this.#heap[0] = last
      this.#down(0)
    }
    this.#now = first.at
    first.run()
    return true
  }

  #isBefore(left: number, right: number): boolean {
    const a = this.#heap[left]
    const b = this.#heap[right]
    if (a === undefined) return false
    if (b === undefined) return true
    return a.at < b.at || (a.at === b.at && a.order < b.order)
  }

  #swap(left: number, right: number): void {
    const a = this.#heap[left]
    const b = this.#heap[right]
    if (a === undefined || b === undefined) return
    this.#heap[left] = b
    this.#heap[right] = a
  }

  #up(from: number): void {
    for (let at = from; at > 0;) {
      const parent = (at - 1) >> 1
      if (!this.#isBefore(at, parent)) return
      this.#swap(at, parent)
      at = parent
    }
  }

  #down(from: number): void {
    for (let at = from; ;) {
      const left = 2 * at + 1
      const least = this.#isBefore(left + 1, left) ? left + 1 : left
      if (least >= this.#heap.length || !this.#isBefore(least, at)) return
      this.#swap(at, least)
      at = least
    }
  }
}
