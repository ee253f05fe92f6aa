import { Buffer } from 'node:buffer'
import type { Database, Statement } from 'better-sqlite3'
import { DamageError } from './damage-error.ts'
import { packChecksum } from './records.ts'
import { sortRows, unpackRows, type DiskRow } from './rows.ts'

/** So much of rows. */
export interface Amount {
  readonly rows: number
  readonly bytes: number
}

/** So much of packs, which are these: the sum of their checksums says so. */
export interface PackAmount extends Amount {
  readonly sum: number
}

export const NOTHING: PackAmount = { rows: 0, bytes: 0, sum: 0 }

export function plus(left: PackAmount, right: PackAmount): PackAmount {
  return {
    rows: left.rows + right.rows,
    bytes: left.bytes + right.bytes,
    sum: left.sum + right.sum,
  }
}

export function minus(left: PackAmount, right: PackAmount): PackAmount {
  return {
    rows: left.rows - right.rows,
    bytes: left.bytes - right.bytes,
    sum: left.sum - right.sum,
  }
}

interface PackColumns {
  rows: number
  body: Buffer
  crc: number
}

/** Table `pack`: rows packed into one blob, sorted, with a number and a checksum. */
export class PackTable {
  readonly #file: string
  readonly #put: Statement
  readonly #drop: Statement
  readonly #dropBehind: Statement
  readonly #read: Statement<[number], PackColumns>
  readonly #size: Statement<[number], { bytes: number }>
  readonly #first: Statement<[], { seq: number | null }>

  constructor(db: Database, file: string) {
    this.#file = file
    this.#put = db.prepare('INSERT INTO pack (seq, rows, body, crc) VALUES (?, ?, ?, ?)')
    this.#drop = db.prepare('DELETE FROM pack WHERE seq = ?')
    this.#dropBehind = db.prepare('DELETE FROM pack WHERE seq > ?')
    this.#read = db.prepare('SELECT rows, body, crc FROM pack WHERE seq = ?')
    this.#size = db.prepare('SELECT length(body) AS bytes FROM pack WHERE seq = ?')
    this.#first = db.prepare('SELECT min(seq) AS seq FROM pack')
  }

  /** Number of the oldest pack; Infinity when there is none. */
  get first(): number {
    return this.#first.get()?.seq ?? Infinity
  }

  put(seq: number, bytes: Uint8Array): PackAmount {
    const { buffer, byteOffset, byteLength } = bytes
    const { pack, count } = sortRows(Buffer.from(buffer, byteOffset, byteLength))
    const sum = packChecksum(seq, count, pack)
    this.#put.run(seq, count, pack, sum)
    return { rows: count, bytes: byteLength, sum }
  }

  drop(seq: number): void {
    this.#drop.run(seq)
  }

  dropBehind(seq: number): void {
    this.#dropBehind.run(seq)
  }

  sizeOf(seq: number): number {
    return this.#size.get(seq)?.bytes ?? 0
  }

  /**
   * Packs behind `before`, up to `last`, as runs, the newest first.
   * @throws DamageError
   */
  open(before: number, last: number): { runs: Iterator<DiskRow>[]; amount: PackAmount } {
    const runs: Iterator<DiskRow>[] = []
    let amount = NOTHING
    for (let seq = last; seq > before; seq -= 1) {
      const row = this.#read.get(seq)
      if (row === undefined)
        throw new DamageError(`${this.#file}: table pack, row ${seq}, is missing`)
      if (!Buffer.isBuffer(row.body) || packChecksum(seq, row.rows, row.body) !== row.crc)
        throw new DamageError(`${this.#file}: table pack, row ${seq}, fails its checksum`)
      runs.push(unpackRows(row.body))
      amount = plus(amount, { rows: row.rows, bytes: row.body.length, sum: row.crc })
    }
    return { runs, amount }
  }
}
