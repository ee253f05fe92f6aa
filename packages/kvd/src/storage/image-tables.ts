import { Buffer } from 'node:buffer'
import type { Database, Statement } from 'better-sqlite3'
import type { StoreStats } from '../store/stats.ts'
import { DamageError } from './damage-error.ts'
import type { FromDisk, Image } from './messages.ts'
import { nodeChecksum, packChecksum, textChecksum } from './records.ts'
import { mergeRuns, RowWriter, sortRows, unpackRows, type DiskNode, type DiskRow } from './rows.ts'

/** Rows travel to the main thread in packs of this size. */
const PACK_BYTES = 256 * 1024

/** What the tables hold for a start, besides rows and events. */
export interface ImageState {
  readonly applied: number
  readonly storeIndex: number
  readonly count: number
  readonly stats: StoreStats | undefined
}

interface StateRow {
  readonly applied: number
  readonly store_index: number
  readonly nodes: number
  readonly stats: string
  /** Packs up to here are in table `node`. */
  readonly merged: number
  /** Packs behind `merged`, up to here, belong to the image; later ones wait for the next. */
  readonly packs: number
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
  readonly lastPack: number
  /** Rows in packs behind `state.merged`, up to `state.packs`. */
  readonly imageRows: number
  /** Rows in packs behind `state.packs`. */
  readonly newRows: number
  /** What an earlier process left without an image is gone. */
  readonly isClean: boolean
  /** Packs up to here are deleted. */
  readonly dropped: number
}

interface Merge {
  readonly upTo: number
  readonly count: number
  readonly rows: Iterator<DiskRow>
}

/** Nothing was written yet, or only the log is wanted. */
export const NO_IMAGE: ImageState = { applied: 0, storeIndex: 0, count: 0, stats: undefined }

/**
 * The materialised store. Changed rows come in packs and stay in them; an image says that they stand
 * for the store at some entry; now and then the packs are merged into table `node`, a few rows with
 * each batch. So no batch carries much, and rows that change often are written there once.
 *
 *   pack 1 .. merged        in table `node`, being deleted
 *   merged + 1 .. packs     the newest rows of the image, over those in `node`
 *   packs + 1 ..            of the next image
 *
 * Only the disk thread uses it. `write` and `merge` run in somebody else's transaction, whose end
 * `settle` tells of.
 */
export class ImageTables {
  readonly #db: Database
  readonly #file: string
  readonly #mergeRows: number
  readonly #putPack: Statement
  readonly #dropPack: Statement
  readonly #putNode: Statement
  readonly #dropNode: Statement
  #durable: Progress = {
    state: undefined,
    lastPack: 0,
    imageRows: 0,
    newRows: 0,
    isClean: false,
    dropped: 0,
  }
  #next: Progress = this.#durable
  #merge: Merge | undefined

  /** @param mergeRows rows that wait in packs before they are merged into table `node` */
  constructor(db: Database, file: string, mergeRows: number) {
    this.#db = db
    this.#file = file
    this.#mergeRows = mergeRows
    this.#putPack = db.prepare('INSERT INTO pack (seq, rows, body, crc) VALUES (?, ?, ?, ?)')
    this.#dropPack = db.prepare('DELETE FROM pack WHERE seq = ?')
    this.#putNode = db.prepare(
      'INSERT OR REPLACE INTO node (path, value, created, modified, expire_ms, crc) VALUES (?, ?, ?, ?, ?, ?)',
    )
    this.#dropNode = db.prepare('DELETE FROM node WHERE path = ?')
  }

  /** Reads where the image stands. `load` comes next, unless the log alone is wanted. */
  loadState(): ImageState {
    const row = this.#db.prepare<[], StateRow & { crc: number }>('SELECT * FROM state').get()
    if (row === undefined) return NO_IMAGE
    if (typeof row.stats !== 'string' || stateChecksum(row) !== row.crc)
      throw new DamageError(`${this.#file}: table state fails its checksum`)
    const stats: StoreStats = JSON.parse(row.stats)
    const first = this.#db.prepare<[], { seq: number | null }>('SELECT min(seq) AS seq FROM pack')
    const dropped = Math.min((first.get()?.seq ?? Infinity) - 1, row.merged)
    this.#durable = { ...this.#durable, state: row, lastPack: row.packs, dropped }
    this.#next = this.#durable
    return { applied: row.applied, storeIndex: row.store_index, count: row.nodes, stats }
  }

  /** Reads and checks rows and events, handing them out in pieces. */
  load(post: (message: FromDisk) => void): void {
    const { state } = this.#durable
    if (state === undefined) return
    const { runs, count: imageRows } = this.#openPacks(state)
    this.#durable = { ...this.#durable, imageRows }
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
        `${this.#file}: table node has ${count} rows, ${state.nodes} were written`,
      )
    this.#loadEvents(post)
  }

  /** The image's packs as runs, the newest first. */
  #openPacks({ merged, packs }: StateRow): { runs: Iterator<DiskRow>[]; count: number } {
    const runs: Iterator<DiskRow>[] = []
    const read = this.#db.prepare<[number], { rows: number; body: Buffer; crc: number }>(
      'SELECT rows, body, crc FROM pack WHERE seq = ?',
    )
    let count = 0
    for (let seq = packs; seq > merged; seq -= 1) {
      const row = read.get(seq)
      if (row === undefined)
        throw new DamageError(`${this.#file}: table pack, row ${seq}, is missing`)
      if (!Buffer.isBuffer(row.body) || packChecksum(seq, row.rows, row.body) !== row.crc)
        throw new DamageError(`${this.#file}: table pack, row ${seq}, fails its checksum`)
      runs.push(unpackRows(row.body))
      count += row.rows
    }
    return { runs, count }
  }

  *#nodes(): Generator<DiskRow> {
    const rows = this.#db.prepare<[], NodeColumns>('SELECT * FROM node ORDER BY path').iterate()
    for (const row of rows) {
      const { path, value, created, modified, expire_ms: expireMs } = row
      const node: DiskNode = { path, value, created, modified, expireMs }
      if (!Buffer.isBuffer(path) || nodeChecksum(node) !== row.crc)
        throw new DamageError(
          `${this.#file}: table node, key ${JSON.stringify(String(path).slice(1))}, fails its checksum`,
        )
      yield { order: path.toString('latin1'), path, node }
    }
  }

  #loadEvents(post: (message: FromDisk) => void): void {
    const rows = this.#db
      .prepare<[], { last: number; body: string; crc: number }>('SELECT * FROM event ORDER BY last')
      .iterate()
    for (const row of rows) {
      if (typeof row.body !== 'string' || textChecksum(row.last, row.body) !== row.crc)
        throw new DamageError(`${this.#file}: table event, row ${row.last}, fails its checksum`)
      post({ type: 'events', body: row.body })
    }
  }

  /** Takes packs, and makes all of them the image when there is one. */
  write(packs: readonly Uint8Array[], image: Image | undefined): void {
    if (packs.length === 0 && image === undefined) return
    this.#clean()
    for (const pack of packs) this.#writePack(pack)
    if (image !== undefined) this.#writeImage(image)
  }

  /** Drops what an earlier process left behind the last image: the log has it. */
  #clean(): void {
    if (this.#next.isClean) return
    this.#db.prepare('DELETE FROM pack WHERE seq > ?').run(this.#next.lastPack)
    this.#next = { ...this.#next, isClean: true }
  }

  #writePack(bytes: Uint8Array): void {
    const seq = this.#next.lastPack + 1
    const { buffer, byteOffset, byteLength } = bytes
    const { pack, count } = sortRows(Buffer.from(buffer, byteOffset, byteLength))
    this.#putPack.run(seq, count, pack, packChecksum(seq, count, pack))
    this.#next = { ...this.#next, lastPack: seq, newRows: this.#next.newRows + count }
  }

  #writeImage(image: Image): void {
    const putEvents = this.#db.prepare(
      'INSERT OR REPLACE INTO event (last, body, crc) VALUES (?, ?, ?)',
    )
    for (const { last, body } of image.events) putEvents.run(last, body, textChecksum(last, body))
    this.#db.prepare('DELETE FROM event WHERE last < ?').run(image.eventFloor)
    const { state, lastPack, imageRows, newRows } = this.#next
    this.#writeState({
      applied: image.applied,
      store_index: image.storeIndex,
      nodes: image.count,
      stats: JSON.stringify(image.stats),
      merged: state?.merged ?? 0,
      packs: lastPack,
    })
    this.#next = { ...this.#next, imageRows: imageRows + newRows, newRows: 0 }
  }

  #writeState(state: StateRow): void {
    const { applied, store_index: storeIndex, nodes, stats, merged, packs } = state
    this.#db
      .prepare(
        'INSERT OR REPLACE INTO state (one, applied, store_index, nodes, stats, merged, packs, crc) VALUES (1, ?, ?, ?, ?, ?, ?, ?)',
      )
      .run(applied, storeIndex, nodes, stats, merged, packs, stateChecksum(state))
    this.#next = { ...this.#next, state }
  }

  /** Moves up to `rows` rows into table `node`, when there are enough of them to begin. */
  merge(rows: number): void {
    this.#dropMerged()
    this.#merge ??= this.#openMerge()
    if (this.#merge === undefined) return
    for (let count = 0; count < rows; count += 1) {
      const { done, value: row } = this.#merge.rows.next()
      if (done === true) {
        this.#endMerge(this.#merge)
        return
      }
      this.#mergeRow(row)
    }
  }

  /** One pack at a time: a pack's pages have to be found one by one. */
  #dropMerged(): void {
    const { state, dropped } = this.#next
    if (state === undefined || dropped >= state.merged) return
    this.#dropPack.run(dropped + 1)
    this.#next = { ...this.#next, dropped: dropped + 1 }
  }

  #openMerge(): Merge | undefined {
    const { state, imageRows } = this.#next
    if (state === undefined || imageRows < this.#mergeRows) return undefined
    const { runs, count } = this.#openPacks(state)
    return { upTo: state.packs, count, rows: mergeRuns(runs) }
  }

  #mergeRow({ path, node }: DiskRow): void {
    if (node === undefined) this.#dropNode.run(path)
    else
      this.#putNode.run(
        path,
        node.value,
        node.created,
        node.modified,
        Math.trunc(node.expireMs),
        nodeChecksum(node),
      )
  }

  #endMerge({ upTo, count }: Merge): void {
    const { state, imageRows } = this.#next
    if (state === undefined) throw new Error('packs without an image were merged')
    this.#writeState({ ...state, merged: upTo })
    this.#next = { ...this.#next, imageRows: imageRows - count }
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

function stateChecksum(state: StateRow): number {
  const { applied, store_index: storeIndex, nodes, stats, merged, packs } = state
  return textChecksum(applied, `${storeIndex} ${nodes} ${merged} ${packs} ${stats}`)
}
