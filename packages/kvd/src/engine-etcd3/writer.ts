import { setTimeout as delay } from 'node:timers/promises'
import type { Command } from '../store/command.ts'
import { isRefusal, refusal, type Refusal } from '../store/errors.ts'
import type { StoreEvent } from '../store/event.ts'
import { applyTo, planWrite, type Plan } from './decision.ts'
import { EtcdError, TIMED_OUT } from './etcd-error.ts'
import type { Etcd } from './etcd.ts'
import type { FrontStats } from './front-stats.ts'
import type { KeyCache } from './key-cache.ts'
import type { Layout } from './layout.ts'
import { indexOf } from './nodes.ts'
import { Turns } from './turns.ts'
import { placeholder, readsOf, rowsOf, scopeOf, viewOf, type Scope, type View } from './view.ts'

/** So often a write may find that somebody else was faster. */
const TURNS_MAX = 64
/** From then on it waits a little, so that not all of them meet again. */
const TURNS_AT_ONCE = 3
const PAUSE_MS_MAX = 20

export interface WriterOptions {
  readonly etcd: Pick<Etcd, 'read' | 'txn' | 'grantLease' | 'revokeLease' | 'revision'>
  readonly layout: Layout
  readonly cache: KeyCache
  readonly stats: FrontStats
  readonly timeoutMs: number
  /** At least 0, less than 1. */
  readonly random: () => number
  readonly nowMs: () => number
}

/** What a write came to. */
export interface Written {
  readonly outcome: StoreEvent | Refusal
  /** How often somebody else was faster. */
  readonly conflicts: number
}

/**
 * Carries writes out as guarded transactions: read, decide, commit if nothing has changed, else
 * decide again on what is there now. A transaction whose outcome is not known is never sent again.
 */
export class Writer {
  readonly #options: WriterOptions
  readonly #turns = new Turns()

  constructor(options: WriterOptions) {
    this.#options = options
  }

  async write(entry: Command): Promise<Written> {
    const { nowMs, timeoutMs } = this.#options
    const deadlineMs = nowMs() + timeoutMs
    return await this.#turns.take(entry.key, async () => {
      if (nowMs() >= deadlineMs) return { outcome: refusal(300, TIMED_OUT, 0), conflicts: 0 }
      return await this.#write(entry, deadlineMs)
    })
  }

  async #write(entry: Command, deadlineMs: number): Promise<Written> {
    const lease = new Lease(this.#options, entry)
    try {
      const written = await this.#race(entry, lease, deadlineMs)
      if (isRefusal(written.outcome)) lease.giveUp()
      return written
    } catch (error) {
      if (!(error instanceof EtcdError)) throw error
      // The node may have been written, and would go with its lease.
      if (error.code !== 'UNKNOWN') lease.giveUp()
      return { outcome: refusal(300, error.message, 0), conflicts: 0 }
    }
  }

  async #race(entry: Command, lease: Lease, deadlineMs: number): Promise<Written> {
    const { layout, cache, etcd, stats, nowMs } = this.#options
    const scope = scopeOf(layout, entry)
    const cached = cache.view(scope, etcd.revision)
    let isFresh = cached === undefined
    let view = cached ?? (await this.#read(scope))
    for (let attempt = 0; attempt < TURNS_MAX && nowMs() < deadlineMs; attempt += 1) {
      await this.#pause(attempt)
      const planned = planWrite({ scope, entry, view, attempt, lease: lease.id })
      if (planned.type === 'refused') {
        if (isFresh) {
          stats.add(planned.store)
          return { outcome: planned.outcome, conflicts: attempt }
        }
        view = await this.#read(scope)
        isFresh = true
        continue
      }
      await lease.grant()
      const outcome = await this.#commit(scope, view, planned)
      if ('index' in outcome) return { outcome, conflicts: attempt }
      view = outcome
      isFresh = true
    }
    throw new EtcdError('REFUSED', TIMED_OUT)
  }

  async #pause(attempt: number): Promise<void> {
    if (attempt < TURNS_AT_ONCE) return
    await delay(1 + this.#options.random() * PAUSE_MS_MAX)
  }

  async #read(scope: Scope): Promise<View> {
    const { header, ranges } = await this.#options.etcd.read(readsOf(scope))
    return this.#learn(viewOf(scope, header.revision, ranges))
  }

  #learn(view: View): View {
    this.#options.cache.learn(view.keys, view.revision)
    return view
  }

  /** The event, the refusal of an in-order key, or what is there instead of what was in view. */
  async #commit(scope: Scope, view: View, plan: Plan): Promise<StoreEvent | Refusal | View> {
    const { etcd, cache, stats } = this.#options
    const { compare, success, settled } = plan
    const reads = readsOf(scope)
    const { header, succeeded, ranges } = await etcd.txn({
      compare,
      success,
      failure: scope.isInOrder ? [...reads, ...nameReads(scope, settled.key)] : reads,
    })
    if (!succeeded) {
      const now = this.#learn(viewOf(scope, header.revision, ranges))
      const isTaken = scope.isInOrder && ranges.slice(reads.length).flat().length > 0
      // Taken by somebody who made the next in-order key, or who wanted this very name.
      if (!isTaken || orderOf(scope, now) !== orderOf(scope, view)) return now
      return this.#refuseTaken(scope, now, settled)
    }
    cache.learnCommit(success, view, header.revision)
    // Decided again with the index that it got.
    const made = applyTo(rowsOf(scope, view), settled, indexOf(header.revision) - 1)
    if (isRefusal(made.outcome)) throw new Error(`${settled.op} was carried out and refused`)
    stats.add(made.store)
    return made.outcome
  }

  #refuseTaken(scope: Scope, view: View, settled: Command): Refusal | View {
    const rows = rowsOf(scope, view)
    const dir = rows.at(-1)
    const isThere = scope.key === '/' || (dir?.key === scope.key && dir.value === undefined)
    if (!isThere) return view
    const taken = [...rows, placeholder(settled.key)]
    const { outcome, store } = applyTo(taken, settled, indexOf(view.revision))
    if (!isRefusal(outcome)) throw new Error(`${settled.key} was made over itself`)
    this.#options.stats.add(store)
    return outcome
  }
}

function nameReads({ layout }: Scope, key: string): ReturnType<typeof readsOf> {
  return [layout.marker(key), layout.file(key)].map((name) => ({ type: 'range', key: name }))
}

/** Revision of the directory's last in-order key. */
function orderOf({ layout, key }: Scope, view: View): number {
  return view.keys.get(layout.order(key))?.modRevision ?? 0
}

/** The lease of the node written, if it has a TTL. Ids are ours: a number must hold them. */
class Lease {
  readonly #options: WriterOptions
  readonly #ttlSeconds: number
  readonly id: bigint
  #isGranted = false

  constructor(options: WriterOptions, entry: Command) {
    this.#options = options
    this.#ttlSeconds = Math.max(1, Math.ceil((entry.expireAt - entry.time) / 1000))
    const { random } = options
    const bits = BigInt(Math.floor(random() * 2 ** 26)) * 2n ** 26n
    this.id = entry.expireAt === 0 ? 0n : 1n + bits + BigInt(Math.floor(random() * 2 ** 26))
  }

  async grant(): Promise<void> {
    if (this.id === 0n || this.#isGranted) return
    await this.#options.etcd.grantLease({ id: this.id, ttlSeconds: this.#ttlSeconds })
    this.#isGranted = true
  }

  /** Nothing hangs on it. When this fails, its time will pass. */
  giveUp(): void {
    if (!this.#isGranted) return
    void this.#options.etcd.revokeLease(this.id).catch(() => undefined)
  }
}
