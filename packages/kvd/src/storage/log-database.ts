import { Buffer } from 'node:buffer'
import type { Database, Statement } from 'better-sqlite3'
import { frames } from '../store/command.ts'
import { DamageError } from './damage-error.ts'
import { ImageTables, NO_IMAGE } from './image-tables.ts'
import type { Batch, DiskOptions, FromDisk, HardState, Loaded } from './messages.ts'
import { entryChecksum, textChecksum } from './records.ts'
import { createTables, FORMAT, preparePragmas, readFormat } from './schema.ts'

/** Rows that travel to the main thread in one message. */
const ROWS_PER_MESSAGE = 2_000
interface EntryRow {
  idx: number
  term: number
  data: Buffer
  crc: number
}

interface HardRow {
  term: number
  vote: string
  commit_idx: number
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
  readonly #images: ImageTables
  #lastIndex = 0

  constructor(db: Database, file: string, mergeRows = Infinity) {
    this.#db = db
    this.#file = file
    preparePragmas(db)
    createTables(db)
    const format = readFormat(db)
    if (format !== FORMAT)
      throw new DamageError(`${file} has format ${String(format)}, this kvd reads format ${FORMAT}`)
    this.#images = new ImageTables(db, file, mergeRows)
    this.#begin = db.prepare('BEGIN IMMEDIATE')
    this.#commit = db.prepare('COMMIT')
    this.#insertEntry = db.prepare('INSERT INTO entry (idx, term, data, crc) VALUES (?, ?, ?, ?)')
    this.#truncate = db.prepare('DELETE FROM entry WHERE idx >= ?')
    this.#hard = db.prepare(
      'INSERT OR REPLACE INTO hard (one, term, vote, commit_idx, crc) VALUES (1, ?, ?, ?, ?)',
    )
    this.#compact = db.prepare('DELETE FROM entry WHERE idx <= ?')
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
    const state = this.#images.loadState()
    if (source === 'image') this.#images.load(post)
    const applied = source === 'image' ? state.applied : 0
    const { firstIndex, lastIndex } = this.#loadEntries(applied, post)
    this.#lastIndex = lastIndex
    if (lastIndex < acknowledged)
      throw new DamageError(
        `${this.#file} ends at log entry ${lastIndex}, but entries up to ${acknowledged} were ` +
          'acknowledged: its write-ahead log is damaged. Restore the data directory from a backup',
      )
    const hard = this.#loadHard(lastIndex)
    const loaded: Loaded = {
      hard,
      ...(source === 'image' ? state : NO_IMAGE),
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

  /**
   * Makes a batch durable. Throws SQLite's error after a rollback: nothing of the batch remains.
   * Returns about how many bytes that wrote.
   */
  write(batch: Batch): number {
    this.#begin.run()
    try {
      const lastIndex = this.#append(batch)
      if (batch.hard !== undefined) this.#writeHard(batch.hard)
      const entries = Math.max(0, lastIndex - batch.firstIndex + 1)
      const bytes = this.#images.write(batch.packs, batch.image, entries)
      if (batch.compactTo > 0) this.#compact.run(batch.compactTo)
      this.#commit.run()
      this.#lastIndex = lastIndex
      this.#images.settle(true)
      return batch.frames.length + bytes
    } catch (error) {
      if (this.#db.inTransaction) this.#db.exec('ROLLBACK')
      this.#images.settle(false)
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

  /** Moves the WAL into the database file; `isEmptied` makes it short as well. */
  checkpoint(isEmptied: boolean): void {
    this.#db.pragma(`wal_checkpoint(${isEmptied ? 'TRUNCATE' : 'PASSIVE'})`)
  }

  close(): void {
    this.#db.close()
  }
}
