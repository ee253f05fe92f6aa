import type { Entry, HardState, Conf } from '../../src/raft/types.ts'
import type { NodeRow, StoreState } from '../../src/store/store.ts'
import type { StoreEvent } from '../../src/store/event.ts'

/** The store at an index, as an image on disk or a snapshot on the wire. */
export interface Snapshot {
  readonly index: number
  readonly term: number
  readonly chain: number
  readonly conf: Conf
  readonly removed: readonly string[]
  readonly hash: number
  readonly state: StoreState
  readonly rows: readonly NodeRow[]
  readonly events: readonly StoreEvent[]
}

/** What goes to the disk together. */
export interface DiskBatch {
  readonly seq: number
  readonly hard: HardState | undefined
  readonly entries: readonly Entry[]
  readonly install: Snapshot | undefined
  /** A newer image, and the index up to which entries may go. */
  readonly image: Snapshot | undefined
  readonly compactTo: number
}

/** What a start finds. */
export interface Durable {
  hard: HardState
  image: Snapshot
  /** The entry before the first one of the log. */
  offset: { index: number; term: number; chain: number }
  entries: Entry[]
}

/** So many earlier states a disk may fall back to. */
const PAST_MAX = 8

/** A member's disk: batches become durable one after the other, a crash loses the newest. */
export class VirtualDisk {
  durable: Durable
  /** Nothing more fits on it. */
  isFull = false
  /** It has lost what was durable, and the mark beside it tells: term and vote are in that as well. */
  isBehindMark = false
  /** Chains of the entries that it had when it was damaged, by index, until it is whole. */
  readonly before = new Map<number, number>()
  readonly #keepsPast: boolean
  #past: Durable[] = []
  #queue: DiskBatch[] = []

  /**
   * @param entries the log that a new cluster begins with, committed
   * @param keepsPast it may be damaged
   */
  constructor(image: Snapshot, entries: readonly Entry[], keepsPast = false) {
    this.#keepsPast = keepsPast
    const { index, term, chain } = image
    const last = entries.at(-1)
    this.durable = {
      hard: {
        term: last?.term ?? term,
        vote: '0',
        commit: last?.index ?? index,
        isDamaged: false,
      },
      image,
      offset: { index, term, chain },
      entries: [...entries],
    }
  }

  get waiting(): number {
    return this.#queue.length
  }

  write(batch: DiskBatch): void {
    this.#queue.push(batch)
  }

  /** Batches at the disk that overwrite this index again: the second before the first is durable. */
  overwrites(index: number): number {
    return this.#queue.filter(({ entries }) => (entries[0]?.index ?? Infinity) <= index).length
  }

  /** The oldest batch is durable now. */
  sync(): DiskBatch | undefined {
    const batch = this.#queue.shift()
    if (batch !== undefined) this.#put(batch)
    return batch
  }

  /**
   * Power is lost. Of the batches that were written some are whole; a start finds those before the
   * first that is not, as SQLite does in its log.
   */
  crash(isWhole: (batch: number) => boolean): void {
    for (const [at, batch] of this.#queue.entries()) {
      if (!isWhole(at)) break
      this.#put(batch)
    }
    this.#queue = []
  }

  get damageMax(): number {
    return this.#past.length
  }

  /** A bit flips, and the newest batches that were durable cannot be read any more. */
  damage(batches: number): void {
    const { hard, entries } = this.durable
    const then = this.#past.at(-batches)
    if (then === undefined) return
    // Those come from the mark: term and vote are synced there before they are told.
    this.durable = { ...then, hard }
    this.#past = []
    this.isBehindMark = true
    for (const { index, chain } of entries) this.before.set(index, chain)
  }

  #put({ hard, entries, install, image, compactTo }: DiskBatch): void {
    const { durable } = this
    if (this.#keepsPast) {
      this.#past.push({ ...durable, entries: [...durable.entries] })
      if (this.#past.length > PAST_MAX) this.#past.shift()
    }
    if (hard !== undefined) this.#putHard(hard)
    if (install !== undefined) {
      const { index, term, chain } = install
      durable.image = install
      durable.offset = { index, term, chain }
      durable.entries = []
    }
    const [first] = entries
    if (first !== undefined) {
      durable.entries.length = Math.min(
        durable.entries.length,
        first.index - durable.offset.index - 1,
      )
      durable.entries.push(...entries)
    }
    if (image !== undefined && image.index > durable.image.index) durable.image = image
    this.#compact(Math.min(compactTo, durable.image.index))
  }

  #putHard(hard: HardState): void {
    this.durable.hard = hard
    if (hard.isDamaged) this.isBehindMark = false
    else if (!this.isBehindMark) this.before.clear()
  }

  #compact(to: number): void {
    const { durable } = this
    const entry = durable.entries[to - durable.offset.index - 1]
    if (to <= durable.offset.index || entry === undefined) return
    durable.entries.splice(0, to - durable.offset.index)
    durable.offset = { index: entry.index, term: entry.term, chain: entry.chain }
  }

  get last(): number {
    return this.durable.offset.index + this.durable.entries.length
  }

  /** Chain of a durable entry; undefined when it is not there any more, or not yet. */
  chain(index: number): number | undefined {
    const { offset, entries } = this.durable
    return index === offset.index ? offset.chain : entries[index - offset.index - 1]?.chain
  }
}
