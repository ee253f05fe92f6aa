import { invariant } from './invariant.ts'
import type { Entry, Place, Proposal, SnapshotMeta } from './types.ts'

/** Checksum of an entry that follows a log whose chain is `before`. */
export type Chain = (before: number, entry: Omit<Entry, 'chain'>) => number

/** Fixed part of an entry on the wire and on the disk, for limits in bytes. */
const ENTRY_BYTES = 32

export function sizeOf(entry: Pick<Entry, 'id' | 'data'>): number {
  return ENTRY_BYTES + entry.id.length + entry.data.length
}

/** What a member has of the log when it starts: the entry before the first one, and those that follow. */
export interface LogStart extends Place {
  readonly entries: readonly Entry[]
}

/**
 * The log from behind a snapshot on, with what is known of its durability: each entry remembers the
 * batch that last wrote it, so that the acknowledgement of an older batch cannot speak for an entry
 * that was overwritten since (raft.md 3.1).
 */
export class RaftLog {
  readonly #chain: Chain
  #offset: number
  #offsetTerm: number
  #offsetChain: number
  #entries: Entry[]
  /** Of each entry: the batch that wrote it; Infinity while none has taken it. */
  #batches: number[]
  #durable: number
  /** The batch that installs the snapshot below the first entry. */
  #installBatch = 0
  #unwritten: number
  #commit: number
  #handed: number
  #applied: number

  constructor(
    start: LogStart,
    points: { readonly commit: number; readonly applied: number },
    chain: Chain,
  ) {
    this.#chain = chain
    this.#offset = start.index
    this.#offsetTerm = start.term
    this.#offsetChain = start.chain
    this.#entries = [...start.entries]
    this.#batches = this.#entries.map(() => 0)
    this.#durable = this.last
    this.#unwritten = this.last + 1
    const { commit } = points
    invariant(
      commit <= this.last,
      'log.commit',
      () => `commit ${commit}, the log ends at ${this.last}`,
    )
    this.#commit = commit
    this.#handed = points.applied
    this.#applied = points.applied
  }

  /** Index of the first entry that is there; one more than `last` when there is none. */
  get first(): number {
    return this.#offset + 1
  }

  get last(): number {
    return this.#offset + this.#entries.length
  }

  get lastTerm(): number {
    return this.#entries.at(-1)?.term ?? this.#offsetTerm
  }

  get commit(): number {
    return this.#commit
  }

  /** The last entry up to which all are durable as they are now. */
  get durable(): number {
    return this.#durable
  }

  /** The last entry that was handed out to be applied. */
  get handed(): number {
    return this.#handed
  }

  get applied(): number {
    return this.#applied
  }

  at(index: number): Entry | undefined {
    return this.#entries[index - this.#offset - 1]
  }

  /** Term of an entry, the one before the first included; undefined when it is not known. */
  term(index: number): number | undefined {
    return index === this.#offset ? this.#offsetTerm : this.at(index)?.term
  }

  /** Chain up to an entry, the one before the first included. */
  chain(index: number): number | undefined {
    return index === this.#offset ? this.#offsetChain : this.at(index)?.chain
  }

  matches(index: number, term: number): boolean {
    return this.term(index) === term
  }

  /** Entries from `from` on, at least one when there is one, of about `bytesMax`, up to `to`. */
  slice(from: number, bytesMax: number, to = this.last): Entry[] {
    const found: Entry[] = []
    let bytes = 0
    for (let index = from; index <= to; index += 1) {
      const entry = this.at(index)
      if (entry === undefined) break
      bytes += sizeOf(entry)
      if (found.length > 0 && bytes > bytesMax) break
      found.push(entry)
    }
    return found
  }

  /** The leader's way to put something at the end. */
  append(proposal: Proposal, term: number): Entry {
    const { kind, id, data } = proposal
    const index = this.last + 1
    const before = this.chain(this.last)
    invariant(before !== undefined, 'log.chain', () => `no chain at ${this.last}`)
    // One object, written out: this is on the way of every write.
    const entry = { index, term, kind, id, data, chain: 0 }
    entry.chain = this.#chain(before, entry)
    this.#push(entry)
    return entry
  }

  /**
   * The follower's way: entries that are there already stay, from the first other one on all are
   * replaced. Returns those.
   */
  merge(entries: readonly Entry[]): readonly Entry[] {
    let replaced: readonly Entry[] = []
    for (const entry of entries) {
      if (this.matches(entry.index, entry.term)) {
        const chain = this.chain(entry.index)
        invariant(
          chain === entry.chain,
          'log.matching',
          () =>
            `entry ${entry.index} of term ${entry.term} has chain ${chain}, the leader's has ${entry.chain}`,
        )
        continue
      }
      if (entry.index <= this.last) replaced = this.#truncate(entry.index)
      invariant(
        entry.index === this.last + 1,
        'log.contiguous',
        () => `entry ${entry.index} after ${this.last}`,
      )
      invariant(
        entry.term >= this.lastTerm,
        'log.terms',
        () => `term ${entry.term} after ${this.lastTerm}`,
      )
      this.#push(entry)
    }
    return replaced
  }

  #push(entry: Entry): void {
    this.#entries.push(entry)
    this.#batches.push(Infinity)
  }

  #truncate(from: number): readonly Entry[] {
    invariant(
      from > this.#commit,
      'log.truncate',
      () => `from ${from}, committed up to ${this.#commit}`,
    )
    const gone = this.#entries.splice(from - this.#offset - 1)
    this.#batches.length = this.#entries.length
    this.#durable = Math.min(this.#durable, from - 1)
    this.#unwritten = Math.min(this.#unwritten, from)
    return gone
  }

  get hasUnwritten(): boolean {
    return this.#unwritten <= this.last
  }

  /** Hands out what no batch has taken yet; they are durable when batch `seq` is. */
  takeUnwritten(seq: number): Entry[] {
    const taken = this.#entries.slice(this.#unwritten - this.#offset - 1)
    for (let index = this.#unwritten; index <= this.last; index += 1)
      this.#batches[index - this.#offset - 1] = seq
    this.#unwritten = this.last + 1
    return taken
  }

  /** Batch `seq`, and with it all before it, is durable. */
  persisted(seq: number): void {
    if (this.#installBatch > seq) return
    this.#durable = Math.max(this.#durable, this.#offset)
    while ((this.#batches[this.#durable - this.#offset] ?? Infinity) <= seq) this.#durable += 1
  }

  /** Raises the commit index; a lower one changes nothing. */
  commitTo(index: number): boolean {
    if (index <= this.#commit) return false
    invariant(
      index <= this.last,
      'log.commit',
      () => `commit ${index}, the log ends at ${this.last}`,
    )
    this.#commit = index
    return true
  }

  /** The last entry that may be applied. */
  get appliable(): number {
    return Math.min(this.#commit, this.#durable)
  }

  /** Hands out entries to apply, about `bytesMax` of them. */
  takeCommitted(bytesMax: number): Entry[] {
    const taken = this.slice(this.#handed + 1, bytesMax, this.appliable)
    this.#handed += taken.length
    return taken
  }

  appliedTo(index: number): void {
    invariant(
      index >= this.#applied && index <= this.#handed,
      'log.applied',
      () => `${index} after ${this.#applied}, handed out up to ${this.#handed}`,
    )
    this.#applied = index
  }

  /** Forgets entries up to `index`, which must be applied. */
  compact(index: number): void {
    if (index <= this.#offset) return
    invariant(
      index <= this.#applied,
      'log.compact',
      () => `up to ${index}, applied up to ${this.#applied}`,
    )
    this.#offsetTerm = this.term(index) ?? 0
    this.#offsetChain = this.chain(index) ?? 0
    const gone = index - this.#offset
    // In place: the old array, garbage of the old generation, would keep all that stays.
    this.#entries.splice(0, gone)
    this.#batches.splice(0, gone)
    this.#offset = index
  }

  /** A snapshot takes the place of everything, durable with batch `seq`. */
  restore(meta: SnapshotMeta, seq: number): void {
    invariant(
      meta.index > this.#commit,
      'log.install',
      () => `snapshot at ${meta.index}, committed up to ${this.#commit}`,
    )
    this.#offset = meta.index
    this.#offsetTerm = meta.term
    this.#offsetChain = meta.chain
    this.#entries = []
    this.#batches = []
    this.#installBatch = seq
    this.#durable = 0
    this.#unwritten = meta.index + 1
    this.#commit = meta.index
    this.#handed = meta.index
    this.#applied = meta.index
  }
}
