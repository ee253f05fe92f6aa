import { Buffer } from 'node:buffer'
import type { Database, Statement } from 'better-sqlite3'
import type { StoreStats } from '../store/stats.ts'
import { frames } from '../store/command.ts'
import type { Batch, DiskOptions, FromDisk, HardState, Image, Loaded } from './messages.ts'
import { entryChecksum, nodeChecksum, textChecksum, type DiskNode } from './records.ts'
import { createTables, FORMAT, preparePragmas, readFormat } from './schema.ts'

/** Rows that travel to the main thread in one message. */
const ROWS_PER_MESSAGE = 2_000
/** Log entries dropped in one transaction, so that compaction never stalls a commit for long. */
const COMPACT_ROWS_MAX = 4_000

/** The database contradicts itself: a checksum, a gap, a format. */
export class DamageError extends Error {
  override readonly name = 'DamageError'
  readonly code = 'DAMAGED'
}

interface EntryRow {
  idx: number
  term: number
  data: Buffer
  crc: number
}

interface StateFields {
  readonly applied: number
  readonly storeIndex: number
  readonly count: number
  readonly stats: StoreStats | undefined
}

const EMPTY_STATE: StateFields = { applied: 0, storeIndex: 0, count: 0, stats: undefined }

interface HardRow {
  term: number
  vote: string
  commit_idx: number
  crc: number
}

interface StateRow {
  applied: number
  store_index: number
  nodes: number
  stats: string
  crc: number
}

interface NodeColumns {
  path: Buffer
  value: Buffer | null
  created: number
  modified: number
  expire_ms: number
  crc: number
}

/**
 * The log and the materialised store in one SQLite file. Only the disk thread uses it: every
 * method blocks. One `write` is one transaction and, at the default settings, one fdatasync.
 */
export class LogDatabase {
  readonly #db: Database
  readonly #file: string
  readonly #begin: Statement
  readonly #commit: Statement
  readonly #insertEntry: Statement
  readonly #truncate: Statement
  readonly #hard: Statement
  readonly #compact: Statement
  #lastIndex = 0

  constructor(db: Database, file: string) {
    this.#db = db
    this.#file = file
    preparePragmas(db)
    createTables(db)
    const format = readFormat(db)
    if (format !== FORMAT)
      throw new DamageError(`${file} has format ${String(format)}, this kvd reads format ${FORMAT}`)
    this.#begin = db.prepare('BEGIN IMMEDIATE')
    this.#commit = db.prepare('COMMIT')
    this.#insertEntry = db.prepare('INSERT INTO entry (idx, term, data, crc) VALUES (?, ?, ?, ?)')
    this.#truncate = db.prepare('DELETE FROM entry WHERE idx >= ?')
    this.#hard = db.prepare(
      'INSERT OR REPLACE INTO hard (one, term, vote, commit_idx, crc) VALUES (1, ?, ?, ?, ?)',
    )
    this.#compact = db.prepare(
      'DELETE FROM entry WHERE idx <= ? AND idx < (SELECT min(idx) FROM entry) + ?',
    )
  }

  get lastIndex(): number {
    return this.#lastIndex
  }

  /**
   * Reads and checks everything, handing it out in pieces; the last piece is `loaded`.
   * @param acknowledged index that the log must reach at least
   */
  load(
    source: DiskOptions['source'],
    acknowledged: number,
    post: (message: FromDisk) => void,
  ): Loaded {
    this.#checkPages()
    const state = source === 'log' ? EMPTY_STATE : this.#loadState()
    if (source === 'image') {
      this.#loadNodes(state.count, post)
      this.#loadEvents(post)
    }
    const { firstIndex, lastIndex } = this.#loadEntries(state.applied, post)
    this.#lastIndex = lastIndex
    if (lastIndex < acknowledged)
      throw new DamageError(
        `${this.#file} ends at log entry ${lastIndex}, but entries up to ${acknowledged} were ` +
          'acknowledged: its write-ahead log is damaged. Restore the data directory from a backup',
      )
    const hard = this.#loadHard(lastIndex)
    const loaded: Loaded = {
      hard,
      applied: state.applied,
      storeIndex: state.storeIndex,
      count: state.count,
      stats: state.stats,
      firstIndex,
      lastIndex,
    }
    post({ type: 'loaded', loaded })
    return loaded
  }

  /** Finds pages that contradict each other; rows are checked one by one by whoever reads them. */
  #checkPages(): void {
    const found: unknown = this.#db.pragma('quick_check(1)', { simple: true })
    if (found !== 'ok') throw new DamageError(`${this.#file} is damaged: ${String(found)}`)
  }

  #loadHard(lastIndex: number): HardState {
    const row = this.#db.prepare<[], HardRow>('SELECT * FROM hard').get()
    if (row === undefined && lastIndex === 0) return { term: 0, vote: '', commit: 0 }
    if (row === undefined) throw new DamageError(`${this.#file}: table hard is empty`)
    const { term, vote, commit_idx: commit } = row
    if (textChecksum(term, `${vote} ${commit}`) !== row.crc)
      throw new DamageError(`${this.#file}: table hard fails its checksum`)
    return { term, vote, commit }
  }

  #loadState(): StateFields {
    const row = this.#db.prepare<[], StateRow>('SELECT * FROM state').get()
    if (row === undefined) return EMPTY_STATE
    if (typeof row.stats !== 'string' || stateChecksum(row) !== row.crc)
      throw new DamageError(`${this.#file}: table state fails its checksum`)
    const stats: StoreStats = JSON.parse(row.stats)
    return { applied: row.applied, storeIndex: row.store_index, count: row.nodes, stats }
  }

  #loadNodes(expected: number, post: (message: FromDisk) => void): void {
    let count = 0
    let nodes: DiskNode[] = []
    for (const row of this.#db
      .prepare<[], NodeColumns>('SELECT * FROM node ORDER BY path')
      .iterate()) {
      const node = { ...row, expireMs: row.expire_ms }
      if (!Buffer.isBuffer(row.path) || nodeChecksum(node) !== row.crc)
        throw new DamageError(
          `${this.#file}: table node, key ${JSON.stringify(row.path.toString('utf8', 1))}, fails its checksum`,
        )
      nodes.push(node)
      count += 1
      if (nodes.length < ROWS_PER_MESSAGE) continue
      post({ type: 'nodes', nodes })
      nodes = []
    }
    post({ type: 'nodes', nodes })
    if (count !== expected)
      throw new DamageError(`${this.#file}: table node has ${count} rows, ${expected} were written`)
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

  #loadEntries(
    applied: number,
    post: (message: FromDisk) => void,
  ): { firstIndex: number; lastIndex: number } {
    let entries: { index: number; term: number; data: Buffer }[] = []
    let expected = 0
    let term = 0
    let firstIndex = 0
    for (const row of this.#db
      .prepare<[], EntryRow>('SELECT * FROM entry ORDER BY idx')
      .iterate()) {
      if (firstIndex === 0) firstIndex = row.idx
      const problem =
        !Buffer.isBuffer(row.data) || entryChecksum(row.idx, row.term, row.data) !== row.crc
          ? 'fails its checksum'
          : expected !== 0 && row.idx !== expected
            ? `follows ${expected - 1}`
            : row.term < term
              ? `has term ${row.term} after ${term}`
              : undefined
      if (problem !== undefined)
        throw new DamageError(`${this.#file}: log entry ${row.idx} ${problem}`)
      expected = row.idx + 1
      term = row.term
      if (row.idx <= applied) continue
      entries.push({ index: row.idx, term: row.term, data: row.data })
      if (entries.length < ROWS_PER_MESSAGE) continue
      post({ type: 'entries', entries })
      entries = []
    }
    post({ type: 'entries', entries })
    const lastIndex = expected === 0 ? applied : expected - 1
    if (applied === 0 && firstIndex > 1)
      throw new DamageError(
        `${this.#file}: the log begins at entry ${firstIndex}, older ones are compacted`,
      )
    if (lastIndex < applied || (firstIndex > applied + 1 && firstIndex !== 0))
      throw new DamageError(
        `${this.#file}: the log holds ${firstIndex} to ${lastIndex}, the store stands at ${applied}`,
      )
    return { firstIndex, lastIndex }
  }

  /** Makes a batch durable. Throws SQLite's error after a rollback: nothing of the batch remains. */
  write(batch: Batch): void {
    this.#begin.run()
    try {
      const lastIndex = this.#append(batch)
      if (batch.hard !== undefined) this.#writeHard(batch.hard)
      if (batch.image !== undefined) this.#writeImage(batch.image)
      if (batch.compactTo > 0) this.#compact.run(batch.compactTo, COMPACT_ROWS_MAX)
      this.#commit.run()
      this.#lastIndex = lastIndex
    } catch (error) {
      if (this.#db.inTransaction) this.#db.exec('ROLLBACK')
      throw error
    }
  }

  #writeHard({ term, vote, commit }: HardState): void {
    this.#hard.run(term, vote, commit, textChecksum(term, `${vote} ${commit}`))
  }

  #append(batch: Batch): number {
    if (batch.frames.length === 0) return this.#lastIndex
    if (batch.firstIndex <= this.#lastIndex) this.#truncate.run(batch.firstIndex)
    let index = batch.firstIndex
    const { buffer, byteOffset, byteLength } = batch.frames
    for (const data of frames(Buffer.from(buffer, byteOffset, byteLength))) {
      this.#insertEntry.run(index, batch.term, data, entryChecksum(index, batch.term, data))
      index += 1
    }
    return index - 1
  }

  #writeImage(image: Image): void {
    const remove = this.#db.prepare('DELETE FROM node WHERE path = ?')
    for (const path of image.removed) remove.run(path)
    const put = this.#db.prepare(
      'INSERT OR REPLACE INTO node (path, value, created, modified, expire_ms, crc) VALUES (?, ?, ?, ?, ?, ?)',
    )
    // In the table's order, so that each page is written once.
    for (const node of image.written.toSorted((left, right) =>
      Buffer.compare(left.path, right.path),
    ))
      put.run(
        node.path,
        node.value,
        node.created,
        node.modified,
        Math.trunc(node.expireMs),
        nodeChecksum(node),
      )
    const putEvents = this.#db.prepare(
      'INSERT OR REPLACE INTO event (last, body, crc) VALUES (?, ?, ?)',
    )
    for (const { last, body } of image.events) putEvents.run(last, body, textChecksum(last, body))
    this.#db.prepare('DELETE FROM event WHERE last < ?').run(image.eventFloor)
    const state = {
      applied: image.applied,
      store_index: image.storeIndex,
      nodes: image.count,
      stats: JSON.stringify(image.stats),
    }
    this.#db
      .prepare(
        'INSERT OR REPLACE INTO state (one, applied, store_index, nodes, stats, crc) VALUES (1, ?, ?, ?, ?, ?)',
      )
      .run(state.applied, state.store_index, state.nodes, state.stats, stateChecksum(state))
  }

  /** Moves the WAL into the database file; `isEmptied` makes it short as well. */
  checkpoint(isEmptied: boolean): void {
    this.#db.pragma(`wal_checkpoint(${isEmptied ? 'TRUNCATE' : 'PASSIVE'})`)
  }

  close(): void {
    this.#db.close()
  }
}

function stateChecksum(state: Omit<StateRow, 'crc'>): number {
  return textChecksum(state.applied, `${state.store_index} ${state.nodes} ${state.stats}`)
}
