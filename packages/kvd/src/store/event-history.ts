import type { StoreEvent } from './event.ts'
import { refusal, type Refusal } from './errors.ts'
import { isBelow, isHiddenFrom } from './event.ts'

/** Characters of JSON that the history keeps at the most, whatever the number of events; `length` counts them. */
const LENGTH_MAX = 64 * 1024 * 1024
/** Forgotten places at the front of the list before it is cut. */
const SLACK = 1024

/** The last events of the whole store, in order of index, without gaps. */
export class EventHistory {
  readonly #capacity: number
  readonly #lengthMax: number
  #events: (StoreEvent | undefined)[] = []
  #start = 0
  #length = 0

  /**
   * @param capacity how many events are kept; etcd 2 keeps 1000
   * @param lengthMax how many characters of JSON; the newest event is kept in any case
   */
  constructor(capacity: number, lengthMax = LENGTH_MAX) {
    this.#capacity = capacity
    this.#lengthMax = lengthMax
  }

  get size(): number {
    return this.#events.length - this.#start
  }

  /** Index of the oldest event kept; 0 when there is none. */
  get first(): number {
    return this.#events[this.#start]?.index ?? 0
  }

  /** Index of the newest event; 0 when there is none. */
  get last(): number {
    return this.#events.at(-1)?.index ?? 0
  }

  add(event: StoreEvent): void {
    if (this.size > 0 && event.index !== this.last + 1)
      throw new Error(`event ${event.index} does not follow ${this.last}`)
    this.#events.push(event)
    this.#length += event.length
    while (this.size > this.#capacity || (this.#length > this.#lengthMax && this.size > 1))
      this.#forgetFirst()
  }

  /** Takes over what another one keeps, and nothing else. */
  adopt(other: EventHistory): void {
    this.#events = []
    this.#start = 0
    this.#length = 0
    for (let index = other.first; index <= other.last; index += 1) {
      const event = other.at(index)
      if (event !== undefined) this.add(event)
    }
  }

  #forgetFirst(): void {
    this.#length -= this.#events[this.#start]?.length ?? 0
    this.#events[this.#start] = undefined
    this.#start += 1
    if (this.#start < SLACK || this.#start < this.#events.length / 2) return
    // In place: the old array, garbage of the old generation, would keep all that stays.
    this.#events.splice(0, this.#start)
    this.#start = 0
  }

  at(index: number): StoreEvent | undefined {
    const offset = index - this.first
    return offset < 0 ? undefined : this.#events[this.#start + offset]
  }

  /** Refuses an index that is older than what is kept (error 401). */
  check(index: number, current: number): Refusal | undefined {
    if (index >= this.first) return undefined
    return refusal(401, `the requested history has been cleared [${this.first}/${index}]`, current)
  }

  /** First event from `from` on that a v2 long poll gets out of the history. */
  scan(key: string, isRecursive: boolean, from: number): StoreEvent | undefined {
    for (let index = Math.max(from, this.first); index <= this.last; index += 1) {
      const event = this.at(index)
      if (event !== undefined && matchesPast(event, key, isRecursive)) return event
    }
    return undefined
  }

  /** Every event from `from` on that a resumable watcher gets, in order. */
  *replay(key: string, isRecursive: boolean, from: number): Generator<StoreEvent> {
    for (let index = Math.max(from, this.first); index <= this.last; index += 1) {
      const event = this.at(index)
      if (event !== undefined && matchesResumable(event, key, isRecursive)) yield event
    }
  }
}

/**
 * The rule of v2 long polls for the past: hidden keys included, and a directory's end matches every
 * key that begins with its text (kvd.md 6.3).
 */
export function matchesPast(event: StoreEvent, key: string, isRecursive: boolean): boolean {
  if (event.refresh || event.space !== 'keys') return false
  if (event.key === key || (isRecursive && isBelow(event.key, key))) return true
  return event.removedDir && key.startsWith(event.key)
}

/**
 * The one rule of resumable watches, live and out of the history: the key itself, keys below it
 * that are not hidden from it, and the end of a directory above it.
 */
export function matchesResumable(event: StoreEvent, key: string, isRecursive: boolean): boolean {
  if (event.refresh || event.space !== 'keys') return false
  if (event.key === key) return true
  if (isBelow(event.key, key)) return isRecursive && !isHiddenFrom(key, event.key)
  return event.removedDir && isBelow(key, event.key)
}
