import type { Batch, Image } from '../storage/messages.ts'
import { packEvents } from '../storage/records.ts'
import { packChanges } from '../storage/rows.ts'
import type { StoreEvent } from '../store/event.ts'
import type { Store, StoreState } from '../store/store.ts'

/** Entries kept behind the image for slow followers (etcd 2.3 numberOfCatchUpEntries). */
const CATCH_UP_ENTRIES = 5_000
/** Entries dropped with a batch; more with one that brings more, or the log would grow. */
const COMPACT_ENTRIES = 1_000
const COMPACT_FACTOR = 2
/** Changed nodes, or their characters, that are handed to the disk before an image asks for them. */
const PACK_NODES_MAX = 1_000
const PACKS_PER_IMAGE = 10
const PACK_LENGTH = 1024 * 1024
/** An image comes early when so many bytes of rows wait for one. */
const IMAGE_BYTES_MAX = 8 * 1024 * 1024
/** Characters of JSON after which a row of events is full. */
const EVENT_ROW_LENGTH = 4 * 1024 * 1024

/** The part of a batch that brings the materialised store on. */
export type Rows = Pick<Batch, 'packs' | 'image'>

export const NO_ROWS: Rows = { packs: [], image: undefined }

/** Decides what of the store goes to the disk, and when the log may be cut. */
export class Images {
  readonly #store: Store
  readonly #snapshotCount: number
  /** The image on the disk, or on its way there. */
  #index: number
  #event: number
  #packedBytes = 0
  #firstIndex: number
  #compactTarget = 0
  #isWanted = false
  /** An image of an earlier moment, which the next batch brings. */
  #frozen: Rows | undefined

  /** @param firstIndex of the log on the disk */
  constructor(store: Store, snapshotCount: number, index: number, firstIndex: number) {
    this.#store = store
    this.#snapshotCount = snapshotCount
    this.#index = index
    this.#event = store.index
    this.#firstIndex = firstIndex
  }

  /** The log entry of the last image. */
  get index(): number {
    return this.#index
  }

  /** A snapshot has taken the place of everything. */
  restart(index: number): void {
    this.#index = index
    this.#event = this.#store.index
    this.#firstIndex = index + 1
    this.#compactTarget = 0
    this.#packedBytes = 0
    this.#isWanted = false
    this.#frozen = undefined
  }

  /** Makes the next batch bring an image, however little has changed. */
  want(): void {
    this.#isWanted = true
  }

  /** Whoever wants an image will get it with a later batch. */
  get isWanted(): boolean {
    return this.#isWanted
  }

  /** Makes the next batch bring an image of the store as it is now, whatever is applied until then. */
  freeze(applied: number): void {
    this.#frozen ??= this.#take(applied, true)
  }

  isDue(applied: number): boolean {
    if (this.#frozen !== undefined) return true
    const entries = applied - this.#index
    const isLarge = entries > 0 && this.#packedBytes >= IMAGE_BYTES_MAX
    return isLarge || entries >= this.#snapshotCount || (this.#isWanted && entries > 0)
  }

  /**
   * What the disk has not seen of the store as it is now, all entries up to `applied` in it. A little
   * of it goes with one batch after another, so that an image finds only the rest to do.
   */
  take(applied: number, wantsImage: boolean): Rows {
    const frozen = this.#frozen
    this.#frozen = undefined
    return frozen ?? this.#take(applied, wantsImage)
  }

  #take(applied: number, wantsImage: boolean): Rows {
    const store = this.#store
    const packNodes = Math.min(PACK_NODES_MAX, Math.ceil(this.#snapshotCount / PACKS_PER_IMAGE))
    const isDue = store.dirtyCount >= packNodes || store.dirtyLength >= PACK_LENGTH
    if (!wantsImage && !isDue) return NO_ROWS
    const { tree, state } = store.takeChanges()
    const packs = packChanges(tree, PACK_LENGTH)
    for (const { length } of packs) this.#packedBytes += length
    return { packs, image: wantsImage ? this.#takeImage(applied, state) : undefined }
  }

  #takeImage(applied: number, state: StoreState): Image {
    const { history, index } = this.#store
    const floor = Math.max(this.#event + 1, history.first)
    const events: StoreEvent[] = []
    for (let at = floor; at <= index; at += 1) {
      const event = history.at(at)
      if (event !== undefined) events.push(event)
    }
    this.#isWanted = false
    this.#index = applied
    this.#event = index
    this.#packedBytes = 0
    return {
      applied,
      storeIndex: state.index,
      count: state.count,
      stats: state.stats,
      events: [...cutEvents(events)].map((row) => ({
        last: row.at(-1)?.index ?? 0,
        body: packEvents(row),
      })),
      eventFloor: history.first,
    }
  }

  /**
   * The next piece of the log to drop; pieces go with one batch after another until all is done.
   * @param count entries of the batch
   */
  compactTo(count: number): number {
    const target = this.#index - CATCH_UP_ENTRIES
    if (target - this.#firstIndex >= this.#snapshotCount) this.#compactTarget = target
    if (this.#firstIndex > this.#compactTarget) return 0
    const piece = Math.max(COMPACT_ENTRIES, COMPACT_FACTOR * count)
    const upTo = Math.min(this.#compactTarget, this.#firstIndex + piece - 1)
    this.#firstIndex = upTo + 1
    return upTo
  }
}

/** Events in rows of bounded length: one text of all could be longer than a string may be. */
function* cutEvents(events: readonly StoreEvent[]): Generator<readonly StoreEvent[]> {
  let row: StoreEvent[] = []
  let length = 0
  for (const event of events) {
    row.push(event)
    length += event.json.length
    if (length < EVENT_ROW_LENGTH) continue
    yield row
    row = []
    length = 0
  }
  if (row.length > 0) yield row
}
