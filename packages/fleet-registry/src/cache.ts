import { isKvError, type KeysApi } from '@flotilla/kv-client'
import type { Keys } from './keys.ts'
import { Snapshot, type Change } from './snapshot.ts'

/** Called after the snapshot has taken a change. Must not throw. */
export type ChangeListener = (change: Change) => void

/**
 * A snapshot that follows the store: one recursive read, then one watch. While the store is away the snapshot keeps
 * what it knew; when events were lost it is read anew.
 */
export class RegistryCache {
  readonly snapshot: Snapshot
  readonly #client: KeysApi
  readonly #keys: Keys
  readonly #listeners = new Set<ChangeListener>()
  readonly #waiters = new Set<{ readonly index: number; readonly wake: () => void }>()

  constructor(client: KeysApi, keys: Keys) {
    this.#client = client
    this.#keys = keys
    this.snapshot = new Snapshot(keys.prefix)
  }

  onChange(listener: ChangeListener): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /** The first read. Rejects when the store does not answer; then it may be called again. */
  async load(signal: AbortSignal): Promise<void> {
    const key = this.#keys.prefix
    try {
      const read = await this.#client.get(key, { recursive: true, quorum: true, signal })
      this.#emit(this.snapshot.load(read.node, read.etcdIndex))
    } catch (error) {
      if (!isKvError(error, 100)) throw error
      this.#emit(this.snapshot.load(undefined, error.index))
    }
  }

  /** Follows the store from the first read on, until the signal aborts. Rejects when the store refuses the watch. */
  async follow(signal: AbortSignal): Promise<void> {
    const afterIndex = this.snapshot.index
    const watch = this.#client.watch(this.#keys.prefix, { recursive: true, afterIndex, signal })
    for await (const event of watch) {
      if (event.type === 'event') this.#emit(this.snapshot.apply(event.response))
      else this.#emit(this.snapshot.load(event.response?.node, event.index))
    }
  }

  /** Resolves when the snapshot holds the change with this index, or when `timeoutMs` is over. */
  async reach(index: number, timeoutMs: number): Promise<boolean> {
    if (this.snapshot.index >= index) return true
    return await new Promise((resolve) => {
      const done = (reached: boolean): void => {
        clearTimeout(timer)
        this.#waiters.delete(waiter)
        resolve(reached)
      }
      const waiter = { index, wake: () => done(true) }
      const timer = setTimeout(() => done(false), timeoutMs)
      this.#waiters.add(waiter)
    })
  }

  #emit(change: Change | undefined): void {
    for (const waiter of this.#waiters) if (this.snapshot.index >= waiter.index) waiter.wake()
    if (change === undefined) return
    for (const listener of this.#listeners) listener(change)
  }
}
