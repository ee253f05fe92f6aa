import { Buffer } from 'node:buffer'
import type { Entry } from '../../src/raft/types.ts'
import {
  DiskError,
  type Disk,
  type DiskListener,
  type DiskSnapshot,
  type Recovered,
} from '../../src/storage/disk.ts'
import { unpackEntry } from '../../src/storage/entry-codec.ts'
import { ORIGIN } from '../../src/storage/log-table.ts'
import type { Batch, DiskFailureFields } from '../../src/storage/messages.ts'
import { decodeCommand, frames, type Command } from '../../src/store/command.ts'

/** What a disk recovers that nothing was ever written to. */
export const NOTHING: Recovered = {
  loaded: {
    identity: undefined,
    incarnation: 1,
    hard: { term: 0, vote: '0', isDamaged: false },
    commit: 0,
    applied: 0,
    storeIndex: 0,
    count: 0,
    stats: undefined,
    base: ORIGIN,
    firstIndex: 0,
    lastIndex: 0,
  },
  rows: [],
  events: [],
  entries: [],
}

/** A disk that becomes durable when the test says so, or at once. */
export class FakeDisk implements Disk {
  readonly recovered: Recovered
  /** Everything that was ever handed to it. */
  readonly batches: Batch[] = []
  isClosed = false
  /** What a snapshot consists of; undefined: there is none. */
  rows: string | undefined
  /** An instant disk may have no room, or not answer. */
  health: 'good' | 'full' | 'stuck' = 'good'
  /** Batches that came after `close`, which a real disk would drop. */
  batchesTooLate = 0
  readonly #isInstant: boolean
  #pending: Batch[] = []
  #listener: DiskListener | undefined

  constructor(options: { readonly recovered?: Recovered; readonly isInstant?: boolean } = {}) {
    this.recovered = options.recovered ?? NOTHING
    this.#isInstant = options.isInstant ?? false
  }

  forget(): void {
    // A test may look at what was recovered for as long as it likes.
  }

  listen(listener: DiskListener): void {
    this.#listener = listener
  }

  write(batch: Batch): void {
    if (this.isClosed) {
      this.batchesTooLate += 1
      return
    }
    this.batches.push(batch)
    this.#pending.push(batch)
    if (this.#isInstant) setImmediate(() => this.#settle())
  }

  #settle(): void {
    if (this.waiting === 0 || this.health === 'stuck') return
    if (this.health === 'good') this.commit()
    else this.fill('full')
  }

  /** The batch that has waited longest is durable now. */
  commit(commitMs = 1): void {
    this.#listener?.persisted(this.#take().seq, commitMs)
  }

  /** There is no room for it. */
  fill(message: string): void {
    this.#listener?.full(this.#take().seq, message)
  }

  fail(failure: DiskFailureFields): void {
    this.#listener?.failed(new DiskError(failure))
  }

  #take(): Batch {
    const batch = this.#pending.shift()
    if (batch === undefined) throw new Error('no batch is waiting')
    return batch
  }

  /** The last image, with `rows` in the place of its own: what it was given is in `batches`. */
  openSnapshot(): Promise<DiskSnapshot | undefined> {
    const image = this.batches.findLast((batch) => batch.image !== undefined)?.image
    if (this.rows === undefined || image === undefined) return Promise.resolve(undefined)
    const packs = [Buffer.from(this.rows)]
    const place = { index: image.applied, term: 1, chain: 0 }
    return Promise.resolve({
      head: { ...image, place },
      events: [],
      next: () => Promise.resolve(packs.pop()),
      close: () => undefined,
    })
  }

  get waiting(): number {
    return this.#pending.length
  }

  close(): Promise<void> {
    this.isClosed = true
    return Promise.resolve()
  }
}

/** The entries that a batch carries. */
export function entriesOf({ entries: packed }: Pick<Batch, 'entries'>): Entry[] {
  const { buffer, byteOffset, byteLength } = packed
  return [...frames(Buffer.from(buffer, byteOffset, byteLength))].map(unpackEntry)
}

/** The commands of its requests. */
export function commandsOf(batch: Pick<Batch, 'entries'>): Command[] {
  return entriesOf(batch)
    .filter(({ kind }) => kind === 'request')
    .map(({ data }) => decodeCommand(Buffer.from(data)))
}
