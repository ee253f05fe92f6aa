import { join } from 'node:path'
import { constants, copyFileSync, existsSync, rmSync, writeFileSync } from 'node:fs'
import type Sqlite from 'better-sqlite3'
import { parentPort, workerData, type MessagePort } from 'node:worker_threads'
import type { Place } from '../raft/types.ts'
import { CheckpointRule } from './checkpoint-rule.ts'
import { HighWaterFile, type HighWater } from './high-water.ts'
import { DamageError } from './damage-error.ts'
import { codeOf, isDiskFull } from './disk-full.ts'
import type { OpenSnapshot } from './image-tables.ts'
import { hasChange } from './entry-codec.ts'
import { LogDatabase } from './log-database.ts'
import { rebuildDatabase, syncFile } from './rebuild.ts'
import type {
  Batch,
  DiskFailureFields,
  DiskOptions,
  FromDisk,
  HardState,
  ToDisk,
} from './messages.ts'

const IDLE_MS = 2_000
const SYNC_MARK_MS = 1_000

/** Holds the one database connection of the process and serves batches in order. */
class DiskThread {
  readonly #port: MessagePort
  readonly #database: LogDatabase
  readonly #mark: HighWaterFile
  #hard: HardState = { term: 0, vote: '0', isDamaged: false }
  readonly #snapshots = new Map<number, OpenSnapshot>()
  #markedCommit = 0
  #incarnation = 0
  /** Damaged, and the database does not say so yet. */
  #mustSettle = false
  readonly #checkpoints = new CheckpointRule(Math.random)
  #isMarkDirty = false
  #delayMs = 0
  #idle: NodeJS.Timeout | undefined

  constructor(port: MessagePort, database: LogDatabase, mark: HighWaterFile) {
    this.#port = port
    this.#database = database
    this.#mark = mark
    setInterval(() => this.#syncMark(), SYNC_MARK_MS).unref()
  }

  #post(message: FromDisk): void {
    this.#port.postMessage(message)
  }

  start({ source, mayBeDamaged = false, delayMs = 0 }: DiskOptions, file: string): void {
    this.#delayMs = delayMs
    const mark = this.#mark.read()
    const post = (message: FromDisk): void => this.#post(message)
    const loaded = this.#database.load(source, mark, post, mayBeDamaged)
    const { hard, incarnation, commit } = loaded
    this.#hard = hard
    this.#mustSettle = hard.isDamaged
    if (hard.isDamaged) keepDamagedLog(file)
    this.#markedCommit = commit
    this.#incarnation = incarnation
    if (source === 'image') this.#markLife(mark)
    this.#post({ type: 'loaded', loaded })
    this.#port.on('message', (message: ToDisk) => {
      switch (message.type) {
        case 'batch':
          this.#write(message.batch)
          break
        case 'snapshotOpen':
          this.#openSnapshot(message.id)
          break
        case 'snapshotNext':
          this.#nextOf(message.id)
          break
        case 'snapshotClose':
          this.#closeSnapshot(message.id)
          break
        case 'close':
          this.#close()
      }
    })
  }

  /**
   * The number of a start is a promise too: what the earlier ones have acknowledged may be lost, and with
   * the number the others would not find out. Anything else is said by the first batch.
   */
  #markLife(mark: HighWater | undefined): void {
    const incarnation = this.#incarnation
    const commit = this.#markedCommit
    if (mark === undefined) this.#markAt(this.#database.last, commit)
    else this.#mark.write({ ...mark, incarnation, commit, isAhead: this.#isAhead(commit) })
    this.#mark.sync()
  }

  #openSnapshot(id: number): void {
    const opened = this.#database.openSnapshot()
    if (opened !== undefined) this.#snapshots.set(id, opened.source)
    const events = opened?.source.events ?? []
    this.#post({ type: 'snapshot', id, head: opened?.head, events })
  }

  #nextOf(id: number): void {
    const pack = this.#snapshots.get(id)?.next()
    const message: FromDisk = { type: 'snapshotRows', id, pack }
    // In memory of its own: it goes over without a copy.
    if (pack?.buffer instanceof ArrayBuffer) this.#port.postMessage(message, [pack.buffer])
    else this.#post(message)
  }

  #closeSnapshot(id: number): void {
    this.#snapshots.get(id)?.close()
    this.#snapshots.delete(id)
  }

  #write(batch: Batch): void {
    const start = performance.now()
    let bytes: number
    if (this.#delayMs > 0) stall(this.#delayMs)
    if (this.#mustSettle) this.#settle()
    if (hasChange(batch.entries)) this.#markCommit(batch)
    try {
      bytes = this.#database.write(batch, (kept) => this.#lowerMark(kept))
    } catch (error) {
      if (!isDiskFull(error)) throw error
      this.#post({ type: 'full', seq: batch.seq, message: messageOf(error) })
      this.#checkpoint(true)
      return
    }
    this.#writeMark(batch)
    const commitMs = performance.now() - start
    this.#post({ type: 'persisted', seq: batch.seq, commitMs })
    this.#checkpoints.committed(bytes)
    if (this.#checkpoints.isDue || batch.image !== undefined) this.#checkpoint(false)
    clearTimeout(this.#idle)
    this.#idle = setTimeout(() => this.#checkpoint(false), IDLE_MS)
  }

  /**
   * A change of the members counts when it is committed. Who has forgotten two of them could win an
   * election by voters who do not overlap with those of now, so a change comes to the disk only behind
   * the word that what was before it is committed; and with a birth, that it is one. Where entries are
   * replaced the mark cannot say so: it would speak for those that are still there.
   */
  #markCommit({ firstIndex, install, commit }: Batch): void {
    const { last } = this.#database
    if (install !== undefined || firstIndex <= last.index) return
    this.#markAt(last, commit)
    this.#mark.sync()
  }

  /**
   * The log must have what the mark says, whatever comes to the disk first: so the mark goes below the
   * entries that are replaced before they are. What replaces them may be older than they are, or fewer,
   * since a leader sends entries of earlier terms too: the end of the log alone does not show a loss.
   */
  #lowerMark(kept: Place): void {
    this.#markAt(kept, this.#markedCommit)
    this.#mark.sync()
  }

  #settle(): void {
    this.#mustSettle = false
    this.#database.settle(this.#hard)
  }

  #markAt({ index, term, chain }: Place, commit: number): void {
    const place = { lastIndex: index, lastTerm: term, lastChain: chain }
    this.#markedCommit = commit
    const isAhead = this.#isAhead(commit)
    this.#mark.write({ ...this.#hard, ...place, commit, isAhead, incarnation: this.#incarnation })
  }

  #isAhead(commit: number): boolean {
    return commit > this.#database.committed
  }

  /** Term and vote are promises: they must be in both places before anybody hears of them. */
  #writeMark({ hard, commit }: Batch): void {
    if (hard !== undefined) this.#hard = hard
    this.#markAt(this.#database.last, commit)
    this.#isMarkDirty = hard === undefined
    if (hard !== undefined) this.#mark.sync()
  }

  /** @param makesRoom the WAL is emptied too: the disk is full */
  #checkpoint(makesRoom: boolean): void {
    this.#checkpoints.done()
    try {
      this.#database.checkpoint(makesRoom)
    } catch (error) {
      if (!isDiskFull(error)) throw error
    }
  }

  #syncMark(): void {
    if (!this.#isMarkDirty) return
    this.#isMarkDirty = false
    this.#mark.sync()
  }

  #close(): void {
    clearTimeout(this.#idle)
    this.#checkpoint(false)
    this.#syncMark()
    this.#database.close()
    this.#mark.close()
    this.#post({ type: 'closed' })
    this.#port.close()
  }
}

/** The thread does nothing else meanwhile, as with a disk that does not answer. */
function stall(ms: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms)
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

/** What an error of SQLite or of the file system means to whoever runs the daemon. */
function failureOf(error: unknown, file: string): DiskFailureFields {
  const code = codeOf(error)
  const text = messageOf(error)
  if (error instanceof DamageError) return { code: 'DAMAGED', message: text }
  if (code === 'SQLITE_FULL' || code === 'ENOSPC')
    return { code: 'FULL', message: `${file}: no room left on the disk` }
  if (code.startsWith('SQLITE_BUSY') || code === 'SQLITE_LOCKED')
    return { code: 'IN_USE', message: `${file} is in use by another process` }
  if (code.startsWith('SQLITE_CORRUPT') || code === 'SQLITE_NOTADB')
    return {
      code: 'DAMAGED',
      message:
        `${file} is damaged (${text}). Restore the data directory from a backup if this member is alone; ` +
        'if there are others, remove it and add it again with an empty one',
    }
  if (code === 'ERR_DLOPEN_FAILED' || code === 'MODULE_NOT_FOUND' || text.includes('bindings file'))
    return {
      code: 'NO_ADDON',
      message: `the native part of better-sqlite3 is missing or was built for another Node: run "npm rebuild better-sqlite3" (${text.split('\n')[0] ?? ''})`,
    }
  return { code: 'IO', message: `${file}: ${text}${code === '' ? '' : ` (${code})`}` }
}

async function main(port: MessagePort, options: DiskOptions): Promise<void> {
  const file = join(options.directory, 'kvd.db')
  const fail = (error: unknown): void => {
    const failure = failureOf(error, file)
    if (failure.code === 'IO') noteIoError(options.directory, failure.message)
    if (failure.code === 'DAMAGED') keepDamagedLog(file)
    port.postMessage({ type: 'failed', failure } satisfies FromDisk)
    port.close()
  }
  process.on('uncaughtException', fail)
  try {
    const { default: Database } = await import('better-sqlite3')
    const open = (path: string): Sqlite.Database => new Database(path, { timeout: 0 })
    const ioError = join(options.directory, 'io-error')
    if (existsSync(ioError)) rebuildDatabase(open, file)
    const database = new LogDatabase(open(file), file, options.mergeRows)
    const mark = new HighWaterFile(join(options.directory, 'hwm'))
    syncFile(options.directory)
    new DiskThread(port, database, mark).start(options, file)
    rmSync(ioError, { force: true })
  } catch (error) {
    fail(error)
  }
}

/** Closing the database deletes its WAL, and with it what somebody could still save by hand. */
function keepDamagedLog(file: string): void {
  try {
    copyFileSync(`${file}-wal`, `${file}-wal.damaged`, constants.COPYFILE_EXCL)
  } catch (error) {
    const code = codeOf(error)
    if (code !== 'ENOENT' && code !== 'EEXIST' && code !== 'ENOSPC' && code !== 'EROFS') throw error
  }
}

/** Leaves word for the next start: after a failed fsync the page cache cannot be believed (L8). */
function noteIoError(directory: string, message: string): void {
  try {
    writeFileSync(join(directory, 'io-error'), `${new Date().toISOString()} ${message}\n`)
  } catch {
    // The disk that failed may refuse this as well; the failure itself is reported anyway.
  }
}

const options: DiskOptions = workerData
if (parentPort !== null) await main(parentPort, options)
