import type { Batch, Image } from '../storage/messages.ts'
import { packChanges } from '../storage/rows.ts'
import type { StoreEvent } from '../store/event.ts'
import type { Store, StoreState } from '../store/store.ts'
import type { ChangesLimit } from '../store/tree.ts'
import { EventRows, rowOf } from './event-rows.ts'

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
/** By so much the phase makes it shorter, and the bounds below smaller. */
const PHASE_SHARE = 0.25
/** Unless a start would have so much to replay: entries, or characters of them and of the nodes they changed. */
const ENTRIES_FACTOR = 20
const ENTRIES_MAX = 200_000
const LENGTH_MAX = 32 * 1024 * 1024
/**
 * Changed nodes, or characters of them and of events, that go with a batch ahead of an image; more with
 * one that brings more.
 */
const PIECE_NODES_MAX = 1_000
const PIECES_PER_IMAGE = 10
const PIECE_LENGTH = 1024 * 1024
const PIECE_FACTOR = 2
/** Characters of events that are on the disk before all nodes are: as many as the history keeps. */
const AHEAD_MAX = 64 * 1024 * 1024

/** The part of a batch that brings the materialised store on. */
export type Rows = Pick<Batch, 'packs' | 'events' | 'image'>

/** What is left of an image that was asked for at an entry: as it was then, whatever comes after. */
interface Frozen {
  readonly packs: readonly Uint8Array[]
  /** Rows yet to be packed: text of all of them would be much at a time. */
  readonly events: readonly (readonly StoreEvent[])[]
  readonly image: Image
}

export const NO_ROWS: Rows = { packs: [], events: [], image: undefined }

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
 * image is due; then the changed nodes and the events since the last one do, a piece with each batch,
 * and the last piece makes the image.
 */
export class Images {
  readonly #store: Store
  readonly #snapshotCount: number
  readonly #entriesMax: number
  readonly #lengthMax: number
  readonly #intervalMs: number
  readonly #pieceNodes: number
  readonly #elapsedMs: () => number
  /** The image on the disk, or on its way there. */
  #index: number
  readonly #events: EventRows
  #imageMs: number
  /** Characters that came since then. */
  #length = 0
  /** What was dirty behind the last batch. */
  #left: ChangesLimit
  #firstIndex: number
  #compactTarget = 0
  #isWanted = false
  /** An image of an earlier moment, which the next batches bring. */
  #frozen: Frozen | undefined

  constructor(options: ImagesOptions) {
    const { store, snapshotCount, index, firstIndex, elapsedMs, phase } = options
    this.#store = store
    this.#snapshotCount = snapshotCount
    const share = 1 - PHASE_SHARE * phase
    const entriesMax = Math.min(ENTRIES_FACTOR * snapshotCount, ENTRIES_MAX)
    this.#entriesMax = Math.max(snapshotCount, share * entriesMax)
    this.#lengthMax = share * LENGTH_MAX
    this.#intervalMs = share * Math.min(INTERVAL_MS_PER_ENTRY * snapshotCount, INTERVAL_MS_MAX)
    this.#pieceNodes = Math.min(PIECE_NODES_MAX, Math.ceil(snapshotCount / PIECES_PER_IMAGE))
    this.#elapsedMs = elapsedMs
    this.#index = index
    this.#events = new EventRows(store)
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
    this.#events.restart()
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

  /** Makes the next batches bring an image of the store as it is now, whatever is applied until then. */
  freeze(applied: number): void {
    this.#frozen ??= this.#freezeAll(applied)
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
    if (this.#isWanted || this.#length >= this.#lengthMax) return true
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
    const more = Math.max(logBytes, came.length)
    this.#length += more
    const piece = {
      nodes: Math.max(this.#pieceNodes, PIECE_FACTOR * came.nodes),
      length: Math.max(PIECE_LENGTH, PIECE_FACTOR * more),
    }
    const rows = this.#takeFrozen(piece.length) ?? this.#takeDue(applied, piece)
    this.#left = dirtyOf(store)
    this.#events.settle()
    return rows
  }

  /** The last rows of all, with an image. */
  takeLast(applied: number): Rows {
    const { packs, events, image } = this.#frozen ?? this.#freezeAll(applied)
    this.#frozen = undefined
    return { packs, events: events.map(rowOf), image }
  }

  /** So many characters of packs and of events, at least one of each, and the image with the last ones. */
  #takeFrozen(length: number): Rows | undefined {
    if (this.#frozen === undefined) return undefined
    const { packs, events, image } = this.#frozen
    const count = Math.max(1, Math.floor(length / PIECE_LENGTH))
    const isLast = packs.length <= count && events.length <= count
    this.#frozen = isLast
      ? undefined
      : { packs: packs.slice(count), events: events.slice(count), image }
    return {
      packs: packs.slice(0, count),
      events: events.slice(0, count).map(rowOf),
      image: isLast ? image : undefined,
    }
  }

  #takeDue(applied: number, piece: ChangesLimit): Rows {
    if (!this.isDue(applied)) return NO_ROWS
    const { tree, state } = this.#store.takeChanges(piece)
    const packs = packChanges(tree, PIECE_LENGTH)
    const isBehind = this.#store.dirtyCount > 0
    // The history may forget them before the nodes are through, and the disk would keep them until then.
    if (isBehind && this.#events.handed >= AHEAD_MAX) return { packs, events: [], image: undefined }
    const { rows, isRest } = this.#events.takeFull({ least: PIECE_LENGTH, factor: PIECE_FACTOR })
    if (isBehind || !isRest) return { packs, events: rows, image: undefined }
    const events = [...rows, ...this.#events.cutRest().map(rowOf)]
    return { packs, events, image: this.#takeImage(applied, state) }
  }

  /** The image, with all that it lacks. */
  #freezeAll(applied: number): Frozen {
    const { tree, state } = this.#store.takeChanges()
    const packs = packChanges(tree, PIECE_LENGTH)
    const events = this.#events.cutRest()
    return { packs, events, image: this.#takeImage(applied, state) }
  }

  #takeImage(applied: number, state: StoreState): Image {
    this.#noteImage(applied)
    return {
      applied,
      storeIndex: state.index,
      count: state.count,
      stats: state.stats,
      eventFloor: this.#store.history.first,
    }
  }

  /**
   * The next piece of the log to drop; pieces go with one batch after another until all is done.
   * @param count entries of the batch
   */
  compactTo(count: number): number {
    // The log has what is not on the disk yet.
    if (this.#frozen !== undefined) return 0
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
