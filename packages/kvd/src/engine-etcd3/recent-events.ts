import { matchesPast } from '../store/event-history.ts'
import type { StoreEvent } from '../store/event.ts'

/**
 * The newest events that this front heard of, in order of index, which may have gaps. The newest
 * `capacity` of them are the window of the history: v2 refuses whoever asks for what lies before.
 */
export class RecentEvents {
  readonly #capacity: number
  #events: StoreEvent[] = []
  #first: number

  /**
   * @param capacity how many events the window has; up to twice as many are kept
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
    const begin = this.#windowBegin()
    this.#first = this.#lastBefore(begin) + 1
    this.#events = this.#events.slice(begin)
  }

  /** Place of the window's oldest event; events of one index stay together. */
  #windowBegin(): number {
    let at = this.#events.length - this.#capacity
    while (at > 0 && this.#events[at - 1]?.index === this.#events[at]?.index) at -= 1
    return at
  }

  /** Index of the event before a place; of the one before all that is known, the highest it can have. */
  #lastBefore(at: number): number {
    return this.#events[at - 1]?.index ?? this.#first - 1
  }

  /**
   * Index of the window's oldest event when `from` lies before the window; undefined as well while
   * this front has heard of too few events to know where it begins.
   */
  oldestIfCleared(from: number): number | undefined {
    const begin = this.#windowBegin()
    return from <= this.#lastBefore(begin) ? this.#events[begin]?.index : undefined
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
