import {
  closeSync,
  fstatSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  writeSync,
} from 'node:fs'
import { dirname } from 'node:path'

/** One line of a unit's log. */
export interface JournalEntry {
  /** Position in this journal, from 1; never reused while the manager lives. */
  readonly seq: number
  readonly timeMs: number
  /** 0 when no process wrote it. */
  readonly pid: number
  readonly identifier: string
  /** syslog priority, 0 (emergency) to 7 (debug). */
  readonly priority: number
  readonly message: string
}

/** Entries kept in memory for each unit. */
export const RING_ENTRIES_MAX = 1000
/** And the length of their messages: one may be as long as 48 KiB. */
export const RING_CHARS_MAX = 1024 * 1024

/** What one entry is on disk. */
interface Stored {
  readonly t: number
  readonly pid: number
  readonly id: string
  readonly p: number
  readonly m: string
}

function isStored(value: unknown): value is Stored {
  if (typeof value !== 'object' || value === null) return false
  const entry: Partial<Record<keyof Stored, unknown>> = value
  const numbers = [entry.t, entry.pid, entry.p]
  return (
    numbers.every((n) => typeof n === 'number') &&
    typeof entry.id === 'string' &&
    typeof entry.m === 'string'
  )
}

function parseLine(line: string): Omit<JournalEntry, 'seq'> | undefined {
  try {
    const value: unknown = JSON.parse(line)
    if (!isStored(value)) return undefined
    return {
      timeMs: value.t,
      pid: value.pid,
      identifier: value.id,
      priority: value.p,
      message: value.m,
    }
  } catch {
    // A line that a crash cut short; the others are good.
    return undefined
  }
}

function readEntries(path: string): Omit<JournalEntry, 'seq'>[] {
  try {
    return readFileSync(path, 'utf8')
      .split('\n')
      .map(parseLine)
      .filter((entry) => entry !== undefined)
  } catch {
    // It is not there yet, or the disk refuses: what memory has is then all there is.
    return []
  }
}

/**
 * The log of one unit: the newest entries in memory, and a file of limited size with one predecessor (`.1`), so that a
 * unit has at most twice `bytesMax` on disk. A disk that refuses writes costs the file, not the unit.
 */
export class Journal {
  readonly #path: string
  readonly #bytesMax: number
  readonly #ring: JournalEntry[] = []
  readonly #listeners = new Set<() => void>()
  #fd: number | undefined
  #size = 0
  #ringChars = 0
  #lastSeq = 0
  #hasWriteProblem = false
  #isClosed = false

  constructor(path: string, bytesMax: number) {
    this.#path = path
    this.#bytesMax = bytesMax
    const entries = [...readEntries(`${path}.1`), ...readEntries(path)]
    for (const entry of entries.slice(-RING_ENTRIES_MAX)) this.#push(entry)
  }

  get isClosed(): boolean {
    return this.#isClosed
  }

  append(entry: Omit<JournalEntry, 'seq'>): void {
    this.#push(entry)
    if (!this.#isClosed) this.#write(entry)
    for (const listener of this.#listeners) listener()
  }

  /** The newest `count` entries; those that are no longer in memory come from the file. */
  tail(count: number): readonly JournalEntry[] {
    if (count <= this.#ring.length) return this.#ring.slice(this.#ring.length - count)
    const stored = [...readEntries(`${this.#path}.1`), ...readEntries(this.#path)]
    if (stored.length <= this.#ring.length) return [...this.#ring]
    const first = this.#lastSeq - stored.length + 1
    return stored.map((entry, index) => ({ ...entry, seq: first + index })).slice(-count)
  }

  /** Entries after `seq`, as far as they are in memory. */
  after(seq: number): readonly JournalEntry[] {
    return this.#ring.filter((entry) => entry.seq > seq)
  }

  get lastSeq(): number {
    return this.#lastSeq
  }

  /** Calls back after each entry and at the end. Returns what ends it. */
  onAppend(listener: () => void): () => void {
    this.#listeners.add(listener)
    return () => void this.#listeners.delete(listener)
  }

  close(): void {
    this.#isClosed = true
    if (this.#fd !== undefined) closeSync(this.#fd)
    this.#fd = undefined
    for (const listener of this.#listeners) listener()
  }

  #push(entry: Omit<JournalEntry, 'seq'>): void {
    this.#lastSeq += 1
    this.#ring.push({ ...entry, seq: this.#lastSeq })
    this.#ringChars += entry.message.length
    // The newest one stays in any case: its readers wait for it.
    while (this.#ring.length > 1 && this.#isFull()) {
      this.#ringChars -= this.#ring.shift()?.message.length ?? 0
    }
  }

  #isFull(): boolean {
    return this.#ring.length > RING_ENTRIES_MAX || this.#ringChars > RING_CHARS_MAX
  }

  #write(entry: Omit<JournalEntry, 'seq'>): void {
    const { timeMs: t, pid, identifier: id, priority: p, message: m } = entry
    const line = `${JSON.stringify({ t, pid, id, p, m } satisfies Stored)}\n`
    try {
      this.#size += writeSync(this.#open(), line)
      this.#hasWriteProblem = false
    } catch (error) {
      if (this.#hasWriteProblem) return
      this.#hasWriteProblem = true
      const reason = error instanceof Error ? error.message : String(error)
      this.#push({
        timeMs: t,
        pid: 0,
        identifier: 'systemd',
        priority: 4,
        message: `The journal file cannot be written, entries are kept in memory only: ${reason}`,
      })
    }
  }

  #open(): number {
    if (this.#fd !== undefined && this.#size >= this.#bytesMax) {
      closeSync(this.#fd)
      this.#fd = undefined
      renameSync(this.#path, `${this.#path}.1`)
    }
    if (this.#fd === undefined) {
      mkdirSync(dirname(this.#path), { recursive: true })
      this.#fd = openSync(this.#path, 'a', 0o640)
      this.#size = fstatSync(this.#fd).size
    }
    return this.#fd
  }
}
