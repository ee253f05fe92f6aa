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

/** A member's disk: batches become durable one after the other, a crash loses the newest. */
export class VirtualDisk {
  readonly durable: Durable
  #queue: DiskBatch[] = []

  /** @param entries the log that a new cluster begins with, committed */
  constructor(image: Snapshot, entries: readonly Entry[]) {
    const { index, term, chain } = image
    const last = entries.at(-1)
    this.durable = {
      hard: { term: last?.term ?? term, vote: '0', commit: last?.index ?? index },
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

  /** Power is lost: so many of the batches that were written are there, the rest never was. */
  crash(kept: number): void {
    for (const batch of this.#queue.slice(0, kept)) this.#put(batch)
    this.#queue = []
  }

  #put({ hard, entries, install, image, compactTo }: DiskBatch): void {
    const { durable } = this
    if (hard !== undefined) durable.hard = hard
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
