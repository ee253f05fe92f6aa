import type { Database, Statement } from 'better-sqlite3'
import { DamageError } from './damage-error.ts'
import { textChecksum } from './records.ts'
import { FORMAT } from './schema.ts'

/** Where the image stands, and what it is made of. */
export interface StateRow {
  readonly applied: number
  readonly store_index: number
  readonly nodes: number
  readonly stats: string
  /** Packs up to here are in table `node`. */
  readonly merged: number
  /** Packs behind `merged`, up to here, belong to the image; later ones wait for the next. */
  readonly packs: number
}

/**
 * Table `state`, of one row, and in table `meta` the sum of the checksums of the image's packs and
 * events, which the row's checksum covers: pages of an earlier life that lie under the same numbers
 * are whole, and give another sum.
 */
export class StateTable {
  readonly #file: string
  readonly #put: Statement
  readonly #putSum: Statement
  readonly #read: Statement<[], StateRow & { crc: number }>
  readonly #readSum: Statement<[], { v: unknown }>

  constructor(db: Database, file: string) {
    this.#file = file
    this.#put = db.prepare(
      'INSERT OR REPLACE INTO state (one, applied, store_index, nodes, stats, merged, packs, crc) VALUES (1, ?, ?, ?, ?, ?, ?, ?)',
    )
    this.#putSum = db.prepare(
      `INSERT OR REPLACE INTO meta (k, v) VALUES ('sum', ?), ('format', ${FORMAT})`,
    )
    this.#read = db.prepare('SELECT * FROM state')
    this.#readSum = db.prepare(`SELECT v FROM meta WHERE k = 'sum'`)
  }

  /** `sum` is undefined in a database of the format before. @throws DamageError */
  read(): { readonly row: StateRow; readonly sum: number | undefined } | undefined {
    const row = this.#read.get()
    if (row === undefined) return undefined
    const sum = this.#readSum.get()?.v
    if (sum !== undefined && typeof sum !== 'number')
      throw new DamageError(`${this.#file}: table meta, row sum, is no number`)
    if (typeof row.stats !== 'string' || stateChecksum(row, sum) !== row.crc)
      throw new DamageError(`${this.#file}: table state fails its checksum`)
    return { row, sum }
  }

  write(row: StateRow, sum: number): void {
    const { applied, store_index: storeIndex, nodes, stats, merged, packs } = row
    this.#put.run(applied, storeIndex, nodes, stats, merged, packs, stateChecksum(row, sum))
    this.#putSum.run(sum)
  }
}

function stateChecksum(row: StateRow, sum: number | undefined): number {
  const { applied, store_index: storeIndex, nodes, stats, merged, packs } = row
  const covered = sum === undefined ? '' : ` ${sum}`
  return textChecksum(applied, `${storeIndex} ${nodes} ${merged} ${packs}${covered} ${stats}`)
}
