import { Buffer } from 'node:buffer'
import type { Database, Statement } from 'better-sqlite3'
import type { Entry, Place } from '../raft/types.ts'
import { CodecError } from '../store/byte-reader.ts'
import { DamageError } from './damage-error.ts'
import { entryChain, frameBody, frameEnd, packEntries, unpackEntry } from './entry-codec.ts'
import { EntryRows, type EntryRow } from './entry-rows.ts'
import { textChecksum } from './records.ts'

/** Entries that travel to the main thread in one message. */
const ENTRIES_PER_MESSAGE = 2_000
/** Of entries that the store has already, so many are handed out: others may be a little behind. */
const BEHIND_ENTRIES = 5_000
const BEHIND_BYTES = 16 * 1024 * 1024

/** Before the first entry of all. */
export const ORIGIN: Place = { index: 0, term: 0, chain: 0 }

/** What was handed out. */
export interface LogLoaded {
  readonly base: Place
  readonly firstIndex: number
  readonly last: Place
}

interface BaseRow {
  idx: number
  term: number
  chain: number
  crc: number
}

/** The log on the disk: tables `entry` and `base`, the place of the last entry that was dropped. */
export class LogTable {
  readonly #db: Database
  readonly #file: string
  readonly #rows: EntryRows
  readonly #setBase: Statement
  /** Of the entries, those behind this one were damaged and left out, and are still there. */
  #cutAt: number | undefined
  /** The row of the last entry that was found whole, and how many of its entries are. */
  #whole: { readonly idx: number; readonly count: number } | undefined

  constructor(db: Database, file: string) {
    this.#db = db
    this.#file = file
    this.#rows = new EntryRows(db)
    this.#setBase = db.prepare(
      'INSERT OR REPLACE INTO base (one, idx, term, chain, crc) VALUES (1, ?, ?, ?, ?)',
    )
  }

  /**
   * Checks every entry and hands out those that are wanted, in packs.
   * @param applied the store has all up to here; undefined to hand out everything
   * @param mayBeCut what is damaged behind `applied`, and all that follows, is left out: `cut` removes it
   * @throws DamageError
   */
  load(
    applied: number | undefined,
    post: (entries: Uint8Array) => void,
    mayBeCut = false,
  ): LogLoaded {
    const base = this.#loadBase()
    const from = applied === undefined ? 0 : this.#firstWanted(applied)
    let waiting: Entry[] = []
    let last = base
    let wantedBase = base
    const flush = (): void => {
      if (waiting.length > 0) post(packEntries(waiting))
      waiting = []
    }
    const whole = mayBeCut ? this.#wholeEntries(base, applied ?? 0) : this.#checkedEntries(base)
    for (const entry of whole) {
      last = entry
      if (entry.index < from) wantedBase = entry
      else waiting.push(entry)
      if (waiting.length >= ENTRIES_PER_MESSAGE) flush()
    }
    flush()
    if (applied === undefined && base.index > 0)
      throw new DamageError(
        `${this.#file}: the log begins at entry ${base.index + 1}, older ones are compacted`,
      )
    if (applied !== undefined && (last.index < applied || base.index > applied))
      throw new DamageError(
        `${this.#file}: the log holds ${base.index + 1} to ${last.index}, the store stands at ${applied}`,
      )
    const firstIndex = last.index > base.index ? base.index + 1 : 0
    return { base: placeOf(wantedBase), firstIndex, last: placeOf(last) }
  }

  *#checkedEntries(base: Place): Generator<Entry> {
    let before = base
    for (const row of this.#rows.all())
      for (const entry of this.#entriesOf(row)) {
        this.#check(entry, before)
        before = entry
        this.#whole = { idx: row.idx, count: entry.index - row.idx + 1 }
        yield entry
      }
  }

  /** Up to the first one that is damaged; a damaged one that the store holds is still an error. */
  *#wholeEntries(base: Place, applied: number): Generator<Entry> {
    let last = base.index
    try {
      for (const entry of this.#checkedEntries(base)) {
        last = entry.index
        yield entry
      }
    } catch (error) {
      if (!(error instanceof DamageError) || last < applied) throw error
      this.#cutAt = last
    }
  }

  /** Entries that were left out go, if there are any. */
  cut(): void {
    if (this.#cutAt === undefined) return
    this.#cutAt = undefined
    if (this.#whole === undefined) this.#rows.clear()
    else this.#rows.keep(this.#whole.idx, this.#whole.count)
  }

  /** Entries were damaged and left out. */
  get isCut(): boolean {
    return this.#cutAt !== undefined
  }

  #loadBase(): Place {
    const row = this.#db.prepare<[], BaseRow>('SELECT * FROM base').get()
    if (row === undefined) return ORIGIN
    const { idx: index, term, chain } = row
    if (baseChecksum({ index, term, chain }) !== row.crc)
      throw new DamageError(`${this.#file}: table base fails its checksum`)
    return { index, term, chain }
  }

  /** Some entries that are applied are wanted too, newest first, as long as they are not too many. */
  #firstWanted(applied: number): number {
    const oldest = applied - BEHIND_ENTRIES + 1
    let from = applied + 1
    let bytes = 0
    for (const row of this.#rows.sizesUpTo(applied)) {
      bytes += row.bytes
      if (bytes > BEHIND_BYTES) break
      from = Math.max(row.idx, oldest)
      if (from === oldest) break
    }
    return from
  }

  *#entriesOf({ idx, body }: EntryRow): Generator<Entry> {
    if (!Buffer.isBuffer(body)) throw this.#damaged(idx, 'fails its checksum')
    let index = idx
    for (let at = 0; at < body.length; index += 1) {
      const end = frameEnd(body, at)
      const entry = end === undefined ? undefined : this.#unpack(frameBody(body, at, end))
      if (end === undefined || entry?.index !== index)
        throw this.#damaged(index, 'fails its checksum')
      yield entry
      at = end
    }
  }

  #unpack(body: Buffer): Entry | undefined {
    try {
      return unpackEntry(body)
    } catch (error) {
      if (error instanceof CodecError) return undefined
      throw error
    }
  }

  #check(entry: Entry, before: Place): void {
    const { index, term, chain } = entry
    if (index !== before.index + 1) throw this.#damaged(index, `follows ${before.index}`)
    if (entryChain(before.chain, entry) !== chain) throw this.#damaged(index, 'fails its checksum')
    if (term < before.term) throw this.#damaged(index, `has term ${term} after ${before.term}`)
  }

  #damaged(index: number, problem: string): DamageError {
    return new DamageError(`${this.#file}: log entry ${index} ${problem}`)
  }

  /** Entries of a batch take the place of all from the first one's index on. Returns the last one's place. */
  write(packed: Uint8Array, firstIndex: number, last: Place): Place {
    if (packed.length === 0) return last
    if (firstIndex <= last.index) this.#rows.cutFrom(firstIndex)
    return this.#rows.append(packed, firstIndex) ?? last
  }

  /** Drops all entries up to an index, which is in the table. */
  compact(upTo: number): void {
    const place = this.#rows.dropUpTo(upTo)
    if (place !== undefined) this.#putBase(place)
  }

  /** The log begins anew behind a place. */
  restart(place: Place): void {
    this.#rows.clear()
    this.#putBase(place)
  }

  #putBase({ index, term, chain }: Place): void {
    this.#setBase.run(index, term, chain, baseChecksum({ index, term, chain }))
  }

  /** Whether the log has this place, or begins behind it. */
  holds({ index, term, chain }: Place): boolean {
    if (index < this.#loadBase().index) return true
    const found = this.placeAt(index)
    return found?.term === term && found.chain === chain
  }

  /** Where the log stood at an index: undefined when it does not reach there. */
  placeAt(index: number): Place | undefined {
    const base = this.#loadBase()
    if (base.index === index) return base
    if (index > (this.#cutAt ?? Infinity)) return undefined
    return this.#rows.placeAt(index)
  }
}

function placeOf({ index, term, chain }: Place): Place {
  return { index, term, chain }
}

function baseChecksum({ index, term, chain }: Place): number {
  return textChecksum(index, `${term} ${chain}`)
}
