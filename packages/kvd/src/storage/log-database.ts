import { closeSync, fdatasyncSync, openSync } from 'node:fs'
import type { Database, Statement } from 'better-sqlite3'
import type { Place } from '../raft/types.ts'
import { DamageError } from './damage-error.ts'
import { isDiskFull } from './disk-full.ts'
import { ImageTables, NO_IMAGE, type OpenSnapshot } from './image-tables.ts'
import { LogTable, ORIGIN } from './log-table.ts'
import type {
  Batch,
  DiskOptions,
  FromDisk,
  HardState,
  Identity,
  Loaded,
  SnapshotHead,
} from './messages.ts'
import { textChecksum } from './records.ts'
import { SyncError } from './sync-error.ts'
import {
  createTables,
  FORMAT,
  FORMAT_BEFORE,
  isReadable,
  preparePragmas,
  readFormat,
} from './schema.ts'
import type { HighWater } from './high-water.ts'

interface HardRow {
  term: number
  vote: string
  damaged: number
  crc: number
}

interface IdentityRow {
  member: string
  cluster: string
  incarnation: number
  crc: number
}

interface ToldRow {
  committed: number
  crc: number
}

const NEW_HARD: HardState = { term: 0, vote: '0', isDamaged: false }

/**
 * The log and the materialised store in one SQLite file. Only the disk thread uses it: every
 * method blocks. One `write` is one transaction and one fdatasync of the WAL, which SQLite leaves to us
 * (docs/decisions/one-sqlite-file.md).
 */
export class LogDatabase {
  readonly #db: Database
  readonly #file: string
  readonly #begin: Statement
  readonly #commit: Statement
  readonly #hard: Statement
  readonly #told: Statement
  /** What table `told` says; undefined before it says anything. */
  #committed: number | undefined
  readonly #identity: Statement
  readonly #log: LogTable
  readonly #images: ImageTables
  #last: Place = ORIGIN
  #incarnation = 1
  /** Who has started, while there was no room to write that. */
  #unwritten: Identity | undefined
  /** The WAL: the same file from the first transaction to the end. */
  #wal: number | undefined

  constructor(db: Database, file: string, mergeRows = Infinity) {
    this.#db = db
    this.#file = file
    preparePragmas(db)
    createTables(db)
    this.#sync()
    const format = readFormat(db)
    if (!isReadable(format))
      throw new DamageError(
        `${file} has format ${String(format)}, this kvd reads formats ${FORMAT_BEFORE} and ${FORMAT}`,
      )
    this.#log = new LogTable(db, file)
    this.#images = new ImageTables(db, file, mergeRows)
    this.#begin = db.prepare('BEGIN IMMEDIATE')
    this.#commit = db.prepare('COMMIT')
    this.#hard = db.prepare(
      'INSERT OR REPLACE INTO hard (one, term, vote, damaged, crc) VALUES (1, ?, ?, ?, ?)',
    )
    this.#told = db.prepare('INSERT OR REPLACE INTO told (one, committed, crc) VALUES (1, ?, ?)')
    this.#identity = db.prepare(
      'INSERT OR REPLACE INTO identity (one, member, cluster, incarnation, crc) VALUES (1, ?, ?, ?, ?)',
    )
  }

  /** Where the log ends. */
  get last(): Place {
    return this.#last
  }

  /**
   * Reads and checks everything, handing it out in pieces. A member that was there before is one start older
   * afterwards.
   * @param mark how far the log was acknowledged
   * @param mayBeDamaged what was acknowledged and is lost makes the member damaged, and is no error
   */
  load(
    source: DiskOptions['source'],
    mark: HighWater | undefined,
    post: (message: FromDisk) => void,
    mayBeDamaged = false,
  ): Loaded {
    this.#checkPages()
    const state = this.#images.loadState()
    if (source === 'image') this.#images.load(post)
    const postEntries = (entries: Uint8Array): void => post({ type: 'entries', entries })
    const log = this.#log.load(
      source === 'image' ? state.applied : undefined,
      postEntries,
      mayBeDamaged,
    )
    this.#last = log.last
    this.#committed = this.#loadTold()
    const hard = this.#judge(this.#loadHard(), mark, mayBeDamaged)
    const { identity, incarnation } = this.#loadIdentity(source === 'image', mark)
    // A mark comes ahead of changes of the members, and may speak of entries that come with them.
    const vouched = Math.max(mark?.commit ?? 0, this.committed)
    const loaded: Loaded = {
      identity,
      incarnation,
      hard,
      commit: Math.max(state.applied, hard.isDamaged ? vouched : Math.min(vouched, log.last.index)),
      ...(source === 'image' ? state : NO_IMAGE),
      base: log.base,
      firstIndex: log.firstIndex,
      lastIndex: log.last.index,
    }
    this.#sync()
    return loaded
  }

  /** What `load` found out of a damaged member must be here before anything moves the mark, which shows it. @throws SyncError */
  settle(hard: HardState): void {
    this.#db.transaction(() => {
      this.#log.cut()
      this.#writeHard(hard)
    })()
    this.#sync()
  }

  /** Finds pages that contradict each other; rows are checked one by one by whoever reads them. */
  #checkPages(): void {
    const found: unknown = this.#db.pragma('quick_check(1)', { simple: true })
    if (found !== 'ok') throw new DamageError(`${this.#file} is damaged: ${String(found)}`)
  }

  /** What a member may promise from now on (raft.md 5.6). @throws DamageError */
  #judge(hard: HardState, mark: HighWater | undefined, mayBeDamaged: boolean): HardState {
    const problem = mark === undefined ? undefined : this.#problemWith(mark, hard)
    if (problem !== undefined && !mayBeDamaged) throw problem
    if (problem === undefined && !this.#log.isCut && mark?.isDamaged !== true) return hard
    // Term and vote were synced in the mark before anybody heard of them.
    const { term, vote } = mark ?? hard
    if (term > hard.term) return { term, vote, isDamaged: true }
    const isVoteForgotten = term === hard.term && hard.vote === '0'
    return { ...hard, vote: isVoteForgotten ? vote : hard.vote, isDamaged: true }
  }

  /** What was acknowledged must be there. A term or a vote that is forgotten could be given twice (raft.md 5.6). */
  #problemWith(mark: HighWater, hard: HardState): DamageError | undefined {
    const { lastIndex: index, lastTerm: term, lastChain: chain } = mark
    if (!this.#log.holds({ index, term, chain }))
      return this.#lost(
        this.#last.index < index
          ? `ends at log entry ${this.#last.index}, but entries up to ${index} were acknowledged`
          : `has not the log entry ${index} of term ${term} that was acknowledged`,
      )
    // Where old pages of the log have come back over newer ones, its end may be there all the same.
    const known = this.#committed ?? Infinity
    if (!mark.isAhead && known < mark.commit)
      return this.#lost(
        `knows entries up to ${known} to be committed, and had known ${mark.commit}`,
      )
    const isVoteKept = mark.vote === '0' || mark.vote === hard.vote
    if (hard.term < mark.term || (hard.term === mark.term && !isVoteKept))
      return this.#lost(
        `stands at term ${hard.term} with a vote for ${hard.vote}, ` +
          `but in term ${mark.term} one for ${mark.vote} was given`,
      )
    return undefined
  }

  #lost(problem: string): DamageError {
    return new DamageError(`${this.#file} ${problem}: its write-ahead log is damaged`)
  }

  #loadHard(): HardState {
    const row = this.#db.prepare<[], HardRow>('SELECT * FROM hard').get()
    if (row === undefined && this.#last.index === 0) return NEW_HARD
    if (row === undefined) throw new DamageError(`${this.#file}: table hard is empty`)
    const hard: HardState = { term: row.term, vote: row.vote, isDamaged: row.damaged !== 0 }
    if (hardChecksum(hard) !== row.crc)
      throw new DamageError(`${this.#file}: table hard fails its checksum`)
    return hard
  }

  /** Entries up to here are committed, as the database knows. */
  get committed(): number {
    return this.#committed ?? 0
  }

  #loadTold(): number | undefined {
    const row = this.#db.prepare<[], ToldRow>('SELECT committed, crc FROM told').get()
    // A birth that never came to the disk, or a database of before.
    if (row === undefined) return undefined
    if (toldChecksum(row.committed) !== row.crc)
      throw new DamageError(`${this.#file}: table told fails its checksum`)
    return row.committed
  }

  /** With the WAL its number may be lost, and with the mark as well: none was there before in either. */
  #loadIdentity(
    isStart: boolean,
    mark: HighWater | undefined,
  ): { identity: Identity | undefined; incarnation: number } {
    const row = this.#db.prepare<[], IdentityRow>('SELECT * FROM identity').get()
    if (row === undefined && this.#last.index > 0)
      throw new DamageError(`${this.#file}: table identity is empty`)
    const known = Math.max(row?.incarnation ?? 0, mark?.incarnation ?? 0)
    this.#incarnation = Math.max(1, known + (isStart ? 1 : 0))
    const incarnation = this.#incarnation
    if (row === undefined) return { identity: undefined, incarnation }
    const identity: Identity = { memberId: row.member, clusterId: row.cluster }
    if (identityChecksum(identity, row.incarnation) !== row.crc)
      throw new DamageError(`${this.#file}: table identity fails its checksum`)
    if (isStart) this.#writeStart(identity)
    return { identity, incarnation }
  }

  /** The mark says it as well, and has its room already: a full disk keeps nobody from starting. */
  #writeStart(identity: Identity): void {
    try {
      this.#writeIdentity(identity)
    } catch (error) {
      if (!isDiskFull(error)) throw error
      this.#unwritten = identity
    }
  }

  #writeIdentity(identity: Identity): void {
    const { memberId, clusterId } = identity
    const incarnation = this.#incarnation
    this.#identity.run(memberId, clusterId, incarnation, identityChecksum(identity, incarnation))
  }

  /**
   * Makes a batch durable. Throws SQLite's error after a rollback: nothing of the batch remains. After a
   * SyncError all of it may: whoever gets one goes on no longer.
   * Returns about how many bytes that wrote.
   * @param replaces hears before the commit that entries are replaced, and where those end that stay
   */
  write(batch: Batch, replaces?: (kept: Place) => void): number {
    const bytes = this.#transact(batch, replaces)
    this.#sync()
    return bytes
  }

  #transact(batch: Batch, replaces?: (kept: Place) => void): number {
    this.#begin.run()
    try {
      if (this.#unwritten !== undefined) this.#writeIdentity(this.#unwritten)
      const kept = this.#keptBy(batch)
      if (batch.install !== undefined) {
        this.#images.clear()
        this.#log.restart(batch.install)
      }
      const before = batch.install ?? this.#last
      const last = this.#log.write(batch.entries, batch.firstIndex, before)
      if (batch.hard !== undefined) this.#writeHard(batch.hard)
      if (batch.commit !== this.#committed) this.#told.run(batch.commit, toldChecksum(batch.commit))
      if (batch.identity !== undefined) this.#writeIdentity(batch.identity)
      const entries = batch.entries.length === 0 ? 0 : last.index - batch.firstIndex + 1
      const bytes = this.#images.write(batch, entries)
      if (batch.compactTo > 0) this.#log.compact(batch.compactTo)
      if (kept !== undefined) replaces?.(kept)
      this.#commit.run()
      this.#last = last
      this.#committed = batch.commit
      this.#unwritten = undefined
      this.#images.settle(true)
      return batch.entries.length + bytes
    } catch (error) {
      if (this.#db.inTransaction) this.#db.exec('ROLLBACK')
      this.#images.settle(false)
      throw error
    }
  }

  /** Makes durable what was committed. @throws SyncError */
  #sync(): void {
    const wal = `${this.#file}-wal`
    try {
      this.#wal ??= openSync(wal, 'r+')
      fdatasyncSync(this.#wal)
    } catch (error) {
      throw new SyncError(wal, error)
    }
  }

  /** Where the entries end that a batch leaves, or undefined when it leaves all. */
  #keptBy({ entries, firstIndex, install }: Batch): Place | undefined {
    const first = install?.index ?? (entries.length === 0 ? Infinity : firstIndex)
    return first > this.#last.index ? undefined : this.#log.placeAt(first - 1)
  }

  #writeHard(hard: HardState): void {
    const { term, vote, isDamaged } = hard
    this.#hard.run(term, vote, isDamaged ? 1 : 0, hardChecksum(hard))
  }

  /** The last image, to be read while batches come and go. */
  openSnapshot(): { readonly head: SnapshotHead; readonly source: OpenSnapshot } | undefined {
    const source = this.#images.openSnapshot()
    if (source === undefined) return undefined
    const { applied, storeIndex, count, stats } = source.image
    const place = this.#log.placeAt(applied)
    if (place === undefined)
      throw new DamageError(
        `${this.#file}: log entry ${applied} is missing, the store stands there`,
      )
    return { head: { place, storeIndex, count, stats }, source }
  }

  /** Moves the WAL into the database file; `isEmptied` makes it short as well. */
  checkpoint(isEmptied: boolean): void {
    this.#db.pragma(`wal_checkpoint(${isEmptied ? 'TRUNCATE' : 'PASSIVE'})`)
  }

  close(): void {
    if (this.#wal !== undefined) closeSync(this.#wal)
    this.#db.close()
  }
}

function hardChecksum({ term, vote, isDamaged }: HardState): number {
  return textChecksum(term, `${vote}${isDamaged ? ' damaged' : ''}`)
}

function toldChecksum(committed: number): number {
  return textChecksum(committed, 'told')
}

function identityChecksum({ memberId, clusterId }: Identity, incarnation: number): number {
  return textChecksum(incarnation, `${memberId} ${clusterId}`)
}
