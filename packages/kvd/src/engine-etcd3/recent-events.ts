import { matchesPast } from '../store/event-history.ts'
import type { StoreEvent } from '../store/event.ts'

/** The newest events that this front heard of, in order of index, which may have gaps. */
export class RecentEvents {
  readonly #capacity: number
  #events: StoreEvent[] = []
  #first: number

  /**
   * @param capacity about how many events are kept at the least; up to twice as many are
   * @param first the index from which on none is missing
   */
  constructor(capacity: number, first: number) {
    this.#capacity = capacity
    this.#first = first
  }

  /** From this index on nothing is missing. */
  get first(): number {
    return this.#first
  }

  get size(): number {
    return this.#events.length
  }

  add(event: StoreEvent): void {
    this.#events.push(event)
    if (this.#events.length <= 2 * this.#capacity) return
    this.#first = (this.#events[this.#capacity]?.index ?? 0) + 1
    this.#events = this.#events.filter(({ index }) => index >= this.#first)
  }

  /** Events were missed: only what comes from `first` on is known. */
  reset(first: number): void {
    this.#events = []
    this.#first = first
  }

  /** First event from `from` on that a v2 long poll gets out of the history. */
  scan(key: string, isRecursive: boolean, from: number): StoreEvent | undefined {
    return this.#events.find((event) => event.index >= from && matchesPast(event, key, isRecursive))
  }
}
