import { Buffer } from 'node:buffer'
import type { Database, Statement } from 'better-sqlite3'
import type { StoreStats } from '../store/stats.ts'
import { DamageError } from './damage-error.ts'
import { EventTable } from './event-table.ts'
import { mergeStep } from './merge-rule.ts'
import type { Batch, EventRow, FromDisk, Image } from './messages.ts'
import { minus, NOTHING, PackTable, plus, type Amount, type PackAmount } from './pack-table.ts'
import { nodeChecksum } from './records.ts'
import { mergeRuns, RowWriter, type DiskNode, type DiskRow } from './rows.ts'
import { StateTable, type StateRow } from './state-table.ts'

/** Rows travel to the main thread in packs of this size. */
const PACK_BYTES = 256 * 1024
/** And to another member in such: a batch may have to wait until one is read. */
const SNAPSHOT_PACK_BYTES = 32 * 1024
/** Rows of table `node` that are read together for a snapshot. */
const PAGE_ROWS = 100
/** Packs of so many bytes are merged at the latest, and no more than that at a time. */
const MERGE_BYTES = 8 * 1024 * 1024
/** A batch drops more merged packs than it brings. */
const DROP_FACTOR = 2

/** What a batch has for these tables. */
type ImageRows = Pick<Batch, 'packs' | 'events' | 'image'>

/** What the tables hold for a start, besides rows and events. */
export interface ImageState {
  readonly applied: number
  readonly storeIndex: number
  readonly count: number
  readonly stats: StoreStats | undefined
}

interface NodeColumns {
  path: Buffer
  value: Buffer | null
  created: number
  modified: number
  expire_ms: number
  crc: number
}

/** Where the tables stand. */
interface Progress {
  readonly state: StateRow | undefined
  /** Of the checksums of the image's packs and events; undefined before an image that has one. */
  readonly sum: number | undefined
  readonly lastPack: number
  /** In packs behind `state.merged`, up to `state.packs`. */
  readonly image: PackAmount
  /** In packs behind `state.packs`. */
  readonly fresh: PackAmount
  /** The sum of the checksums of the image's events. */
  readonly imageEvents: number
  /** And of those that wait for the next one. */
  readonly freshEvents: number
  /** What an earlier process left without an image is gone. */
  readonly isClean: boolean
  /** Packs up to here are deleted. */
  readonly dropped: number
}

interface Merge {
  readonly upTo: number
  readonly amount: PackAmount
  readonly rows: Iterator<DiskRow>
}

const EMPTY: Progress = {
  state: undefined,
  sum: undefined,
  lastPack: 0,
  image: NOTHING,
  fresh: NOTHING,
  imageEvents: 0,
  freshEvents: 0,
  isClean: true,
  dropped: 0,
}

/** An image that is being read. */
export interface OpenSnapshot {
  readonly image: ImageState & { readonly stats: StoreStats }
  readonly events: readonly EventRow[]
  /** The next rows, in the order of their paths; undefined when these were all. @throws DamageError */
  next(): Uint8Array | undefined
  close(): void
}

function nextPack(rows: Iterator<DiskRow>): Uint8Array | undefined {
  const writer = new RowWriter()
  while (writer.length < SNAPSHOT_PACK_BYTES) {
    const { done, value: row } = rows.next()
    if (done === true) break
    if (row.node !== undefined) writer.row(row)
  }
  return writer.length === 0 ? undefined : writer.take()
}

/** Nothing was written yet, or only the log is wanted. */
export const NO_IMAGE: ImageState = { applied: 0, storeIndex: 0, count: 0, stats: undefined }

/**
 * The materialised store. Changed rows come in packs and stay in them, and events in rows of their own;
 * an image says that they stand for the store at some entry; now and then the packs are merged into
 * table `node`, a few rows with each batch. So no batch carries much, and rows that change often are
 * written there once.
 *
 *   pack 1 .. merged        in table `node`, being deleted
 *   merged + 1 .. packs     the newest rows of the image, over those in `node`
 *   packs + 1 ..            of the next image
 *
 * Only the disk thread uses it. `write` runs in somebody else's transaction, whose end `settle` tells of.
 */
export class ImageTables {
  readonly #db: Database
  readonly #file: string
  readonly #mergeRows: number
  readonly #states: StateTable
  readonly #packs: PackTable
  readonly #events: EventTable
  readonly #putNode: Statement
  readonly #dropNode: Statement
  #durable: Progress = { ...EMPTY, isClean: false }
  #next: Progress = this.#durable
  #merge: Merge | undefined
  /** Snapshots that are being read: what they are made of must stay as it is. */
  #readers = 0

  /** @param mergeRows rows that wait in packs before they are merged into table `node` */
  constructor(db: Database, file: string, mergeRows: number) {
    this.#db = db
    this.#file = file
    this.#mergeRows = mergeRows
    this.#states = new StateTable(db, file)
    this.#packs = new PackTable(db, file)
    this.#events = new EventTable(db, file)
    this.#putNode = db.prepare(
      'INSERT OR REPLACE INTO node (path, value, created, modified, expire_ms, crc) VALUES (?, ?, ?, ?, ?, ?)',
    )
    this.#dropNode = db.prepare('DELETE FROM node WHERE path = ?')
  }

  /** Reads where the image stands. `load` comes next, unless the log alone is wanted. */
  loadState(): ImageState {
    const found = this.#states.read()
    if (found === undefined) return NO_IMAGE
    const { row, sum } = found
    const stats: StoreStats = JSON.parse(row.stats)
    const dropped = Math.min(this.#packs.first - 1, row.merged)
    this.#durable = { ...EMPTY, isClean: false, state: row, sum, lastPack: row.packs, dropped }
    this.#next = this.#durable
    return { applied: row.applied, storeIndex: row.store_index, count: row.nodes, stats }
  }

  /** Reads and checks rows and events, handing them out in pieces. */
  load(post: (message: FromDisk) => void): void {
    const { state, sum } = this.#durable
    if (state === undefined) return
    const { runs, amount: image } = this.#packs.open(state.merged, state.packs)
    const { rows: events, sum: imageEvents } = this.#events.read(state.store_index)
    if (sum !== undefined && sum !== image.sum + imageEvents)
      throw new DamageError(`${this.#file}: the image is of other packs or events`)
    this.#durable = { ...this.#durable, image, imageEvents }
    this.#next = this.#durable
    const writer = new RowWriter()
    let count = 0
    for (const row of mergeRuns([...runs, this.#nodes()])) {
      if (row.node === undefined) continue
      writer.row(row)
      count += 1
      if (writer.length >= PACK_BYTES) post({ type: 'rows', pack: writer.take() })
    }
    post({ type: 'rows', pack: writer.take() })
    if (count !== state.nodes)
      throw new DamageError(
        `${this.#file}: the store has ${count} nodes, ${state.nodes} were written`,
      )
    for (const { body } of events) post({ type: 'events', body })
  }

  *#nodes(): Generator<DiskRow> {
    const rows = this.#db.prepare<[], NodeColumns>('SELECT * FROM node ORDER BY path').iterate()
    for (const row of rows) yield this.#rowOf(row)
  }

  /** The same, a page at a time: others may use the database in between. */
  *#pagedNodes(): Generator<DiskRow> {
    const page = this.#db.prepare<[Buffer], NodeColumns>(
      `SELECT * FROM node WHERE path > ? ORDER BY path LIMIT ${PAGE_ROWS}`,
    )
    for (let last: Buffer = Buffer.alloc(0); ;) {
      const rows = page.all(last)
      for (const row of rows) yield this.#rowOf(row)
      const { path } = rows.at(-1) ?? {}
      if (path === undefined || rows.length < PAGE_ROWS) return
      last = path
    }
  }

  #rowOf(row: NodeColumns): DiskRow {
    const { path, value, created, modified, expire_ms: expireMs } = row
    const node: DiskNode = { path, value, created, modified, expireMs }
    if (!Buffer.isBuffer(path) || nodeChecksum(node) !== row.crc)
      throw new DamageError(
        `${this.#file}: table node, key ${JSON.stringify(String(path).slice(1))}, fails its checksum`,
      )
    return { order: path.toString('latin1'), path, node }
  }

  /**
   * The last image, to be read a pack at a time while batches come and go; `close` it. Meanwhile
   * nothing is moved from packs into table `node`, so that what it is made of stays.
   */
  openSnapshot(): OpenSnapshot | undefined {
    const { state } = this.#durable
    if (state === undefined) return undefined
    this.#readers += 1
    const { runs } = this.#packs.open(state.merged, state.packs)
    const rows = mergeRuns([...runs, this.#pagedNodes()])
    const { rows: events } = this.#events.read(state.store_index)
    const { applied, store_index: storeIndex, nodes: count } = state
    const stats: StoreStats = JSON.parse(state.stats)
    return {
      image: { applied, storeIndex, count, stats },
      events,
      next: () => nextPack(rows),
      close: () => {
        this.#readers -= 1
      },
    }
  }

  /** A snapshot of another member takes the place of everything; `write` brings it. */
  clear(): void {
    for (const table of ['node', 'pack', 'event', 'state']) this.#db.exec(`DELETE FROM ${table}`)
    this.#merge = undefined
    this.#next = EMPTY
  }

  /**
   * Takes packs and events, makes all of them the image when there is one, and moves some rows that
   * wait in packs into table `node`. Returns about how many bytes were written.
   * @param entries of the batch that this belongs to: each may make a row that has to be merged
   */
  write({ packs, events, image }: ImageRows, entries: number): number {
    let brought = NOTHING
    const waiting = this.#next.image
    if (packs.length + events.length > 0 || image !== undefined) this.#clean()
    for (const pack of packs) brought = plus(brought, this.#writePack(pack))
    let { bytes } = brought
    for (const event of events) {
      const crc = this.#events.put(event)
      this.#next = { ...this.#next, freshEvents: this.#next.freshEvents + crc }
      bytes += event.body.length
    }
    if (image !== undefined) this.#writeImage(image)
    if (this.#readers > 0) return bytes
    this.#dropMerged(DROP_FACTOR * packs.length + 1)
    const due = { rows: this.#mergeRows, bytes: MERGE_BYTES }
    return bytes + this.#mergeSome(mergeStep({ entries, brought, waiting, due }))
  }

  /** Drops what an earlier process left behind the last image: the log has it. */
  #clean(): void {
    if (this.#next.isClean) return
    this.#packs.dropBehind(this.#next.lastPack)
    this.#events.dropBehind(this.#next.state?.store_index ?? 0)
    this.#next = { ...this.#next, isClean: true }
  }

  #writePack(bytes: Uint8Array): PackAmount {
    const seq = this.#next.lastPack + 1
    const amount = this.#packs.put(seq, bytes)
    this.#next = { ...this.#next, lastPack: seq, fresh: plus(this.#next.fresh, amount) }
    return amount
  }

  #writeImage(image: Image): void {
    const { state, lastPack, image: before, fresh } = this.#next
    const dropped = this.#events.dropBelow(image.eventFloor)
    this.#next = {
      ...this.#next,
      image: plus(before, fresh),
      fresh: NOTHING,
      imageEvents: this.#next.imageEvents + this.#next.freshEvents - dropped,
      freshEvents: 0,
    }
    this.#writeState({
      applied: image.applied,
      store_index: image.storeIndex,
      nodes: image.count,
      stats: JSON.stringify(image.stats),
      merged: state?.merged ?? 0,
      packs: lastPack,
    })
  }

  #writeState(state: StateRow): void {
    const sum = this.#next.image.sum + this.#next.imageEvents
    this.#states.write(state, sum)
    this.#next = { ...this.#next, state, sum }
  }

  /** Begins whenever there is enough, and goes on until it has done so much. Returns the bytes moved. */
  #mergeSome(step: Amount): number {
    let done: Amount = NOTHING
    let opened = 0
    while (done.rows < step.rows && done.bytes < step.bytes) {
      if (this.#merge === undefined) {
        // What repeats few keys is read all the same.
        if (opened >= step.bytes) break
        this.#merge = this.#openMerge()
        if (this.#merge === undefined) break
        opened += this.#merge.amount.bytes
      }
      const next = this.#merge.rows.next()
      if (next.done === true) this.#endMerge(this.#merge)
      else {
        this.#mergeRow(next.value)
        const { path, node } = next.value
        const bytes = path.length + (node?.value?.length ?? 0)
        done = { rows: done.rows + 1, bytes: done.bytes + bytes }
      }
    }
    return done.bytes
  }

  /** A few at a time: the pages of a pack have to be found one by one. */
  #dropMerged(count: number): void {
    const { state, dropped } = this.#next
    const upTo = Math.min(state?.merged ?? 0, dropped + count)
    for (let seq = dropped + 1; seq <= upTo; seq += 1) this.#packs.drop(seq)
    this.#next = { ...this.#next, dropped: Math.max(dropped, upTo) }
  }

  /** The oldest packs, as many as may be in memory at a time: those behind them still lie over the table. */
  #openMerge(): Merge | undefined {
    const { state, image } = this.#next
    if (state === undefined) return undefined
    if (image.rows < this.#mergeRows && image.bytes < MERGE_BYTES) return undefined
    let upTo = state.merged
    for (let bytes = 0; upTo < state.packs && bytes < MERGE_BYTES; upTo += 1)
      bytes += this.#packs.sizeOf(upTo + 1)
    const { runs, amount } = this.#packs.open(state.merged, upTo)
    return { upTo, amount, rows: mergeRuns(runs) }
  }

  #mergeRow({ path, node }: DiskRow): void {
    if (node === undefined) this.#dropNode.run(path)
    else
      this.#putNode.run(
        path,
        node.value,
        node.created,
        node.modified,
        node.expireMs,
        nodeChecksum(node),
      )
  }

  #endMerge({ upTo, amount }: Merge): void {
    const { state, image } = this.#next
    if (state === undefined) throw new Error('packs without an image were merged')
    this.#next = { ...this.#next, image: minus(image, amount) }
    this.#writeState({ ...state, merged: upTo })
    this.#merge = undefined
  }

  /** The transaction has ended. A merge that was rolled back begins anew: rows may be put twice. */
  settle(isCommitted: boolean): void {
    if (isCommitted) this.#durable = this.#next
    else {
      this.#next = this.#durable
      this.#merge = undefined
    }
  }
}
