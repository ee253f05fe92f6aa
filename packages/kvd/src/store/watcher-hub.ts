import type { StoreEvent } from './event.ts'
import { isBelow, isHiddenFrom } from './event.ts'

/** Somebody who waits for changes of a key. */
export interface Watcher {
  readonly key: string
  readonly recursive: boolean
  /** Events with a smaller index are not for this watcher. */
  readonly since: number
  /**
   * `once`: a long poll, gone after its first event. `stream`: a v2 stream, which hears of the end
   * of its own key twice, as in etcd 2. `resumable`: each event exactly once (kvd-watch.1).
   */
  readonly mode: 'once' | 'stream' | 'resumable'
  deliver(event: StoreEvent): void
  /** The store was replaced by one that does not know all that happened in between. */
  lost(): void
}

/** Watchers by key. Delivery is synchronous and in the order in which they came. */
export class WatcherHub {
  readonly #byKey = new Map<string, Set<Watcher>>()
  #count = 0
  #added = 0

  get count(): number {
    return this.#count
  }

  /** How many were ever added. */
  get added(): number {
    return this.#added
  }

  add(watcher: Watcher): void {
    this.#added += 1
    const set = this.#byKey.get(watcher.key)
    if (set === undefined) this.#byKey.set(watcher.key, new Set([watcher]))
    else set.add(watcher)
    this.#count += 1
  }

  /** Forgets a watcher; nothing happens when it is gone already. */
  remove(watcher: Watcher): void {
    const set = this.#byKey.get(watcher.key)
    if (set?.delete(watcher) !== true) return
    this.#count -= 1
    if (set.size === 0) this.#byKey.delete(watcher.key)
  }

  /** Tells the watchers of a key that went away, itself or with a directory above it. */
  notifyRemoved(event: StoreEvent, removedKey: string): void {
    if (this.#count > 0) this.#notifyAt(event, removedKey, true)
  }

  /** An event that another member's store brings along: what it removed is not known one by one. */
  replay(event: StoreEvent): void {
    if (event.refresh || event.space !== 'keys') return
    this.notify(event)
    if (!event.removedDir) return
    for (const key of this.#byKey.keys())
      if (isBelow(key, event.key)) this.#notifyAt(event, key, true)
  }

  /** There is a gap in what they could be told. */
  lose(): void {
    const all = [...this.#byKey.values()].flatMap((set) => [...set])
    for (const watcher of all) watcher.lost()
  }

  /** Tells everybody on the way from the root to the event's key. */
  notify(event: StoreEvent): void {
    if (this.#count === 0) return
    this.#notifyAt(event, '/', false)
    if (event.key !== '/')
      for (let end = event.key.indexOf('/', 1); ; end = event.key.indexOf('/', end + 1)) {
        this.#notifyAt(event, end === -1 ? event.key : event.key.slice(0, end), false)
        if (end === -1) break
      }
    if (event.removedDir) this.#notifyBelow(event)
  }

  #notifyAt(event: StoreEvent, at: string, isRemoval: boolean): void {
    const set = this.#byKey.get(at)
    if (set === undefined) return
    const isOwn = event.key === at
    if (!isOwn && isHiddenFrom(at, event.key)) return
    for (const watcher of set) {
      if (event.index < watcher.since) continue
      if (isRemoval ? watcher.mode === 'resumable' : !isOwn && !watcher.recursive) continue
      if (watcher.mode === 'once') this.remove(watcher)
      watcher.deliver(event)
    }
  }

  /** Resumable watchers hear of a directory's end whether or not their key existed. */
  #notifyBelow(event: StoreEvent): void {
    for (const [key, set] of this.#byKey) {
      if (!isBelow(key, event.key)) continue
      for (const watcher of set)
        if (watcher.mode === 'resumable' && event.index >= watcher.since) watcher.deliver(event)
    }
  }
}
