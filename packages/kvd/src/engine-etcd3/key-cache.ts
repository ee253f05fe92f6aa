import type { KeyValue, TxnOperation } from './messages.ts'
import { keysOf, type Scope, type View } from './view.ts'

const ENTRIES_MAX = 10_000
/** Longer values are read again each time. */
const VALUE_LENGTH_MAX = 16 * 1024

interface Entry {
  readonly kv: KeyValue | undefined
  /** Revision at which it was so. */
  readonly revision: number
}

/**
 * What v3 keys were when they were last seen. It may be old: a write that is planned with it says
 * in its transaction what it took for granted, and a refusal is never given out of it.
 */
export class KeyCache {
  readonly #entries = new Map<string, Entry>()

  get size(): number {
    return this.#entries.size
  }

  learn(keys: ReadonlyMap<string, KeyValue | undefined>, revision: number): void {
    for (const [key, kv] of keys) this.#put(key, { kv, revision })
  }

  /** A change that somebody made. Only of keys that somebody asked for. */
  learnChange(key: string, kv: KeyValue | undefined, revision: number): void {
    if (this.#entries.has(key)) this.#put(key, { kv, revision })
  }

  /** A transaction of ours was carried out. */
  learnCommit(operations: readonly TxnOperation[], before: View, revision: number): void {
    for (const operation of operations)
      if (operation.type === 'put') {
        const { key, value, lease } = operation
        const createRevision = before.keys.get(key)?.createRevision ?? revision
        const kv = { key, value, lease, createRevision, modRevision: revision }
        this.#put(key, { kv, revision })
      } else if (operation.type === 'delete' && operation.end === undefined)
        this.#put(operation.key, { kv: undefined, revision })
  }

  #put(key: string, entry: Entry): void {
    const known = this.#entries.get(key)
    if (known !== undefined && known.revision > entry.revision) return
    this.#entries.delete(key)
    if ((entry.kv?.value.length ?? 0) > VALUE_LENGTH_MAX) return
    this.#entries.set(key, entry)
    if (this.#entries.size <= ENTRIES_MAX) return
    const [oldest] = this.#entries.keys()
    if (oldest !== undefined) this.#entries.delete(oldest)
  }

  /**
   * Undefined unless all of the scope is known.
   * @param revision the newest one that was seen otherwise; a change may be known before it
   */
  view(scope: Scope, revision: number): View | undefined {
    if (scope.needsChild) return undefined
    const keys = new Map<string, KeyValue | undefined>()
    let newest = revision
    for (const key of keysOf(scope)) {
      const entry = this.#entries.get(key)
      if (entry === undefined) return undefined
      keys.set(key, entry.kv)
      newest = Math.max(newest, entry.revision)
    }
    return { revision: newest, keys, hasChild: false }
  }
}
