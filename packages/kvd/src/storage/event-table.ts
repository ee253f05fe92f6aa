import type { Database, Statement } from 'better-sqlite3'
import { DamageError } from './damage-error.ts'
import type { EventRow } from './messages.ts'
import { textChecksum } from './records.ts'

interface EventColumns extends EventRow {
  readonly crc: number
}

/** Table `event`: some events a row, under the index of the last of them, with a checksum. */
export class EventTable {
  readonly #file: string
  readonly #put: Statement
  readonly #dropBelow: Statement<[number], { crc: number }>
  readonly #dropBehind: Statement
  readonly #read: Statement<[], EventColumns>

  constructor(db: Database, file: string) {
    this.#file = file
    this.#put = db.prepare('INSERT INTO event (last, body, crc) VALUES (?, ?, ?)')
    this.#dropBelow = db.prepare('DELETE FROM event WHERE last < ? RETURNING crc')
    this.#dropBehind = db.prepare('DELETE FROM event WHERE last > ?')
    this.#read = db.prepare('SELECT last, body, crc FROM event ORDER BY last')
  }

  /** Returns the checksum. */
  put({ last, body }: EventRow): number {
    const crc = textChecksum(last, body)
    this.#put.run(last, body, crc)
    return crc
  }

  /** Drops rows that end before an index. Returns the sum of their checksums. */
  dropBelow(floor: number): number {
    return this.#dropBelow.all(floor).reduce((sum, { crc }) => sum + crc, 0)
  }

  dropBehind(index: number): void {
    this.#dropBehind.run(index)
  }

  /**
   * Rows up to `end`, those of the image: later ones wait for the next, but are checked as well, or a
   * wrong number would hide one. `sum` is that of the checksums of the rows.
   * @throws DamageError
   */
  read(end: number): { readonly rows: readonly EventRow[]; readonly sum: number } {
    const rows: EventRow[] = []
    let sum = 0
    for (const { last, body, crc } of this.#read.iterate()) {
      if (typeof body !== 'string' || textChecksum(last, body) !== crc)
        throw new DamageError(`${this.#file}: table event, row ${last}, fails its checksum`)
      if (last <= end) {
        rows.push({ last, body })
        sum += crc
      }
    }
    return { rows, sum }
  }
}
