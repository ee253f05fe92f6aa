import type { Batch, Image } from '../storage/messages.ts'
import { packEvents } from '../storage/records.ts'
import { packChanges } from '../storage/rows.ts'
import type { StoreEvent } from '../store/event.ts'
import type { Store, StoreState } from '../store/store.ts'
import type { ChangesLimit } from '../store/tree.ts'

/** Entries kept behind the image for slow followers (etcd 2.3 numberOfCatchUpEntries). */
const CATCH_UP_ENTRIES = 5_000
/** Entries dropped with a batch; more with one that brings more, or the log would grow. */
const COMPACT_ENTRIES = 1_000
const COMPACT_FACTOR = 2
/**
 * Images are up to so far apart, however many entries come, or keys that change all the time would be
 * written all the time. Whoever wants few entries behind the image gets them at 700 writes a second.
 */
const INTERVAL_MS_MAX = 15_000
const INTERVAL_MS_PER_ENTRY = 1.5
/** By so much the phase makes it shorter. */
const PHASE_SHARE = 0.25
/** Unless a start would have so much to replay: entries, or characters of them and of the nodes they changed. */
const ENTRIES_FACTOR = 20
const ENTRIES_MAX = 200_000
const LENGTH_MAX = 32 * 1024 * 1024
/** Changed nodes, or their characters, that go with a batch ahead of an image; more with one that brings more. */
const PIECE_NODES_MAX = 1_000
const PIECES_PER_IMAGE = 10
const PIECE_LENGTH = 1024 * 1024
const PIECE_FACTOR = 2
/** Characters of JSON after which a row of events is full. */
const EVENT_ROW_LENGTH = 4 * 1024 * 1024

/** The part of a batch that brings the materialised store on. */
export type Rows = Pick<Batch, 'packs' | 'image'>

export const NO_ROWS: Rows = { packs: [], image: undefined }

export interface ImagesOptions {
  readonly store: Store
  readonly snapshotCount: number
  /** The log entry of the image on the disk. */
  readonly index: number
  /** Of the log on the disk. */
  readonly firstIndex: number
  /** Milliseconds that pass evenly. */
  readonly elapsedMs: () => number
  /** In [0, 1), another one on each member: not all of them are to write an image at the same time. */
  readonly phase: number
}

/**
 * Decides what of the store goes to the disk, and when the log may be cut. Nothing goes there until an
 * image is due; then the changed nodes do, a piece with each batch, and the last piece makes the image.
 */
export class Images {
  readonly #store: Store
  readonly #snapshotCount: number
  readonly #entriesMax: number
  readonly #intervalMs: number
  readonly #pieceNodes: number
  readonly #elapsedMs: () => number
  /** The image on the disk, or on its way there. */
  #index: number
  #event: number
  #imageMs: number
  /** Characters that came since then. */
  #length = 0
  /** What was dirty behind the last batch. */
  #left: ChangesLimit
  #firstIndex: number
  #compactTarget = 0
  #isWanted = false
  /** An image of an earlier moment, which the next batch brings. */
  #frozen: Rows | undefined

  constructor(options: ImagesOptions) {
    const { store, snapshotCount, index, firstIndex, elapsedMs, phase } = options
    this.#store = store
    this.#snapshotCount = snapshotCount
    this.#entriesMax = Math.max(
      snapshotCount,
      Math.min(ENTRIES_FACTOR * snapshotCount, ENTRIES_MAX),
    )
    const intervalMs = Math.min(INTERVAL_MS_PER_ENTRY * snapshotCount, INTERVAL_MS_MAX)
    this.#intervalMs = intervalMs * (1 - PHASE_SHARE * phase)
    this.#pieceNodes = Math.min(PIECE_NODES_MAX, Math.ceil(snapshotCount / PIECES_PER_IMAGE))
    this.#elapsedMs = elapsedMs
    this.#index = index
    this.#event = store.index
    this.#imageMs = elapsedMs()
    this.#left = dirtyOf(store)
    this.#firstIndex = firstIndex
  }

  /** The log entry of the last image. */
  get index(): number {
    return this.#index
  }

  /** A snapshot has taken the place of everything. */
  restart(index: number): void {
    this.#noteImage(index)
    this.#frozen = undefined
    this.#firstIndex = index + 1
    this.#compactTarget = 0
  }

  #noteImage(index: number): void {
    this.#index = index
    this.#event = this.#store.index
    this.#imageMs = this.#elapsedMs()
    this.#length = 0
    this.#left = dirtyOf(this.#store)
    this.#isWanted = false
  }

  /** Makes an image due, however little has changed. */
  want(): void {
    this.#isWanted = true
  }

  /** Whoever wants an image will get it with a later batch. */
  get isWanted(): boolean {
    return this.#isWanted
  }

  /** Makes the next batch bring an image of the store as it is now, whatever is applied until then. */
  freeze(applied: number): void {
    this.#frozen ??= this.#takeAll(applied)
  }

  /** Somebody waits for the image. */
  isUrgent(applied: number): boolean {
    return this.#frozen !== undefined || (this.#isWanted && applied > this.#index)
  }

  /** Stays so until there is one. */
  isDue(applied: number): boolean {
    if (this.#frozen !== undefined) return true
    const entries = applied - this.#index
    if (entries === 0) return false
    if (this.#isWanted || this.#length >= LENGTH_MAX) return true
    if (entries < this.#snapshotCount) return false
    return entries >= this.#entriesMax || this.#elapsedMs() - this.#imageMs >= this.#intervalMs
  }

  /**
   * What goes to the disk with a batch whose entries have `logBytes`, of the store as it is now, all
   * entries up to `applied` in it. When an image is due: more than has come since the last batch, so
   * that the pieces come to an end.
   */
  take(applied: number, logBytes: number): Rows {
    const store = this.#store
    const { nodes, length } = this.#left
    const came = { nodes: store.dirtyCount - nodes, length: store.dirtyLength - length }
    this.#length += Math.max(logBytes, came.length)
    const piece = {
      nodes: Math.max(this.#pieceNodes, PIECE_FACTOR * came.nodes),
      length: Math.max(PIECE_LENGTH, PIECE_FACTOR * came.length),
    }
    const rows = this.#takeFrozen() ?? this.#takeDue(applied, piece)
    this.#left = dirtyOf(store)
    return rows
  }

  /** The last rows of all, with an image. */
  takeLast(applied: number): Rows {
    return this.#takeFrozen() ?? this.#takeAll(applied)
  }

  #takeFrozen(): Rows | undefined {
    const frozen = this.#frozen
    this.#frozen = undefined
    return frozen
  }

  #takeDue(applied: number, piece: ChangesLimit): Rows {
    if (!this.isDue(applied)) return NO_ROWS
    const { tree, state } = this.#store.takeChanges(piece)
    const packs = packChanges(tree, PIECE_LENGTH)
    const isLast = this.#store.dirtyCount === 0
    return { packs, image: isLast ? this.#takeImage(applied, state) : undefined }
  }

  /** The image, with all that it lacks. */
  #takeAll(applied: number): Rows {
    const { tree, state } = this.#store.takeChanges()
    return { packs: packChanges(tree, PIECE_LENGTH), image: this.#takeImage(applied, state) }
  }

  #takeImage(applied: number, state: StoreState): Image {
    const { history, index } = this.#store
    const floor = Math.max(this.#event + 1, history.first)
    const events: StoreEvent[] = []
    for (let at = floor; at <= index; at += 1) {
      const event = history.at(at)
      if (event !== undefined) events.push(event)
    }
    this.#noteImage(applied)
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

function dirtyOf({ dirtyCount: nodes, dirtyLength: length }: Store): ChangesLimit {
  return { nodes, length }
}

/** Events in rows of bounded length: one text of all could be longer than a string may be. */
function* cutEvents(events: readonly StoreEvent[]): Generator<readonly StoreEvent[]> {
  let row: StoreEvent[] = []
  let length = 0
  for (const event of events) {
    row.push(event)
    length += event.length
    if (length < EVENT_ROW_LENGTH) continue
    yield row
    row = []
    length = 0
  }
  if (row.length > 0) yield row
}
