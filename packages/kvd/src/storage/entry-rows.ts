import { Buffer } from 'node:buffer'
import type { Database, Statement } from 'better-sqlite3'
import type { Place } from '../raft/types.ts'
import { frameEnd, placeIn } from './entry-codec.ts'

/** Entries that come together share a row up to so many bytes: each row more is work for SQLite. */
const ROW_BYTES_MAX = 64 * 1024

/** Entries as `packEntries` packs them, in the row of the first one's index. */
export interface EntryRow {
  readonly idx: number
  /** What should be bytes, and is something else when the file is damaged. */
  readonly body: unknown
}

/** Of a row that was checked. */
interface Found {
  readonly idx: number
  readonly body: Buffer
}

/** Table `entry`: the log, a batch in one row or a few. */
export class EntryRows {
  readonly #db: Database
  readonly #insert: Statement<[number, Uint8Array]>
  readonly #cut: Statement<[Uint8Array, number]>
  readonly #dropFrom: Statement<[number]>
  readonly #dropUpTo: Statement<[number]>
  readonly #find: Statement<[number], Found>

  constructor(db: Database) {
    this.#db = db
    this.#insert = db.prepare('INSERT INTO entry (idx, body) VALUES (?, ?)')
    this.#cut = db.prepare('UPDATE entry SET body = ? WHERE idx = ?')
    this.#dropFrom = db.prepare('DELETE FROM entry WHERE idx >= ?')
    this.#dropUpTo = db.prepare('DELETE FROM entry WHERE idx <= ?')
    this.#find = db.prepare('SELECT idx, body FROM entry WHERE idx <= ? ORDER BY idx DESC LIMIT 1')
  }

  /** All rows, in order. */
  all(): IterableIterator<EntryRow> {
    return this.#db.prepare<[], EntryRow>('SELECT idx, body FROM entry ORDER BY idx').iterate()
  }

  /** Of the rows that begin up to an index: where each begins and how long it is, the last one first. */
  sizesUpTo(index: number): IterableIterator<{ readonly idx: number; readonly bytes: number }> {
    return this.#db
      .prepare<[number], { idx: number; bytes: number }>(
        'SELECT idx, length(body) AS bytes FROM entry WHERE idx <= ? ORDER BY idx DESC',
      )
      .iterate(index)
  }

  /** Puts entries behind all that are there. Returns where the last one stands. */
  append(packed: Uint8Array, firstIndex: number): Place | undefined {
    const pack = Buffer.from(packed.buffer, packed.byteOffset, packed.byteLength)
    let [rowStart, rowIndex] = [0, firstIndex]
    let [at, index] = [0, firstIndex]
    let last: number | undefined
    while (at < pack.length) {
      const end = frameEnd(pack, at)
      if (end === undefined) throw new Error(`a batch ends within entry ${index}`)
      if (end - rowStart > ROW_BYTES_MAX && at > rowStart) {
        this.#insert.run(rowIndex, pack.subarray(rowStart, at))
        ;[rowStart, rowIndex] = [at, index]
      }
      last = at
      at = end
      index += 1
    }
    if (last === undefined) return undefined
    this.#insert.run(rowIndex, pack.subarray(rowStart))
    return placeIn(pack, last)
  }

  /** Where the entry of an index stands; undefined when it is not there. */
  placeAt(index: number): Place | undefined {
    const row = this.#find.get(index)
    const at = row && offsetOf(row, index)
    return at === undefined || row === undefined ? undefined : placeIn(row.body, at)
  }

  /** Entries from an index on are gone. */
  cutFrom(index: number): void {
    this.#dropFrom.run(index)
    const row = this.#find.get(index)
    if (row !== undefined) this.keep(row.idx, index - row.idx)
  }

  /** Of the rows from one on only its first entries stay, at least one. */
  keep(idx: number, count: number): void {
    this.#dropFrom.run(idx + 1)
    const row = this.#find.get(idx)
    const end = row && offsetOf(row, idx + count)
    if (row !== undefined && end !== undefined) this.#cut.run(row.body.subarray(0, end), idx)
  }

  /** Entries up to an index are gone. Returns where the last of them stood; undefined when it is not there. */
  dropUpTo(index: number): Place | undefined {
    const row = this.#find.get(index)
    const at = row && offsetOf(row, index)
    if (row === undefined || at === undefined) return undefined
    this.#dropUpTo.run(index)
    const rest = frameEnd(row.body, at)
    if (rest !== undefined && rest < row.body.length)
      this.#insert.run(index + 1, row.body.subarray(rest))
    return placeIn(row.body, at)
  }

  clear(): void {
    this.#db.exec('DELETE FROM entry')
  }
}

/** Where in its row the entry of an index begins; undefined when the row ends before. */
function offsetOf({ idx, body }: Found, index: number): number | undefined {
  let at = 0
  for (let before = idx; before < index; before += 1) {
    const end = frameEnd(body, at)
    if (end === undefined) return undefined
    at = end
  }
  return at < body.length ? at : undefined
}
