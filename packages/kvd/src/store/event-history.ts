import type { StoreEvent } from './event.ts'
import { refusal, type Refusal } from './errors.ts'
import { isBelow, isHiddenFrom } from './event.ts'

/** The last events of the whole store, in order of index, without gaps. */
export class EventHistory {
  readonly #capacity: number
  #ring: StoreEvent[] = []
  #head = 0

  /** @param capacity how many events are kept; etcd 2 keeps 1000 */
  constructor(capacity: number) {
    this.#capacity = capacity
  }

  get capacity(): number {
    return this.#capacity
  }

  get size(): number {
    return this.#ring.length
  }

  /** Index of the oldest event kept; 0 when there is none. */
  get first(): number {
    return this.#ring[this.#head]?.index ?? 0
  }

  /** Index of the newest event; 0 when there is none. */
  get last(): number {
    return this.#ring.length === 0 ? 0 : this.first + this.#ring.length - 1
  }

  add(event: StoreEvent): void {
    if (this.#ring.length > 0 && event.index !== this.last + 1)
      throw new Error(`event ${event.index} does not follow ${this.last}`)
    if (this.#ring.length < this.#capacity) {
      this.#ring.push(event)
      return
    }
    this.#ring[this.#head] = event
    this.#head = (this.#head + 1) % this.#capacity
  }

  at(index: number): StoreEvent | undefined {
    const offset = index - this.first
    if (offset < 0 || offset >= this.#ring.length) return undefined
    return this.#ring[(this.#head + offset) % this.#ring.length]
  }

  /** Refuses an index that is older than what is kept (error 401). */
  check(index: number, current: number): Refusal | undefined {
    if (index >= this.first) return undefined
    return refusal(401, `the requested history has been cleared [${this.first}/${index}]`, current)
  }

  /**
   * First event from `from` on that a v2 long poll gets out of the history: hidden keys included,
   * and a directory's end matches every key that begins with its text (kvd.md 6.3).
   */
  scan(key: string, isRecursive: boolean, from: number): StoreEvent | undefined {
    for (let index = Math.max(from, this.first); index <= this.last; index += 1) {
      const event = this.at(index)
      if (event === undefined || event.refresh || event.space !== 'keys') continue
      if (event.key === key || (isRecursive && isBelow(event.key, key))) return event
      if (event.removedDir && key.startsWith(event.key)) return event
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
 * The one rule of resumable watches, live and out of the history: the key itself, keys below it
 * that are not hidden from it, and the end of a directory above it.
 */
export function matchesResumable(event: StoreEvent, key: string, isRecursive: boolean): boolean {
  if (event.refresh || event.space !== 'keys') return false
  if (event.key === key) return true
  if (isBelow(event.key, key)) return isRecursive && !isHiddenFrom(key, event.key)
  return event.removedDir && isBelow(key, event.key)
}
