import type { Entry, HardState, Message, Place, Ready } from '../raft/types.ts'
import type { Disk } from '../storage/disk.ts'
import { packEntries } from '../storage/entry-codec.ts'
import type { Batch, Identity } from '../storage/messages.ts'
import { NO_ROWS, type Rows } from './images.ts'

/** What waits for the disk: one or more Readys in one. */
interface Waiting {
  /** The core's number of the last Ready in it; 0 when there is none. */
  seq: number
  entries: Entry[]
  /** Entries from here on are replaced. */
  firstIndex: number
  hard: HardState | undefined
  identity: Identity | undefined
  install: Install | undefined
  /** They leave when it is durable. */
  after: Message[]
}

/** A snapshot that takes the place of store and log. */
export interface Install extends Rows {
  readonly place: Place
  /** It is durable: the member goes on from there. */
  readonly done: () => void
}

interface InFlight {
  readonly seq: number
  readonly after: readonly Message[]
  readonly install: Install | undefined
  readonly entries: readonly Entry[]
  readonly batch: Batch
  readonly sinceMs: number
}

export interface DiskQueueOptions {
  readonly disk: Disk
  readonly nowMs: () => number
  /** Rows of the store and the piece of the log to drop, for a batch of so many entries, packed in so many bytes. */
  readonly rows: (entries: number, logBytes: number) => Rows & Pick<Batch, 'compactTo'>
  /** Known to be committed when the log was read. */
  readonly commit: number
  /** A Ready, and with it all before, is durable; its messages may leave. */
  readonly released: (seq: number, after: readonly Message[]) => void
}

/**
 * Gathers what the core wants written while the disk is busy; each time it is done, all of that goes
 * to it as one batch and one fsync (group commit). One batch is on its way at a time.
 */
export class DiskQueue {
  readonly #options: DiskQueueOptions
  #waiting = createWaiting()
  #inFlight: InFlight | undefined
  /** Of a batch that found no room: it is tried again. */
  #refused: InFlight | undefined
  #seq = 0
  #given: Batch['hard']
  /**
   * As of the last Ready, never later: the core may have taken other entries since, and a disk that
   * still has those in their places would count them as committed.
   */
  #commit: number
  #toldCommit = 0

  constructor(options: DiskQueueOptions) {
    this.#options = options
    this.#commit = options.commit
  }

  get isIdle(): boolean {
    return this.#inFlight === undefined && this.#refused === undefined && !this.#hasWaiting
  }

  get isBusy(): boolean {
    return this.#inFlight !== undefined
  }

  /** How long the batch under way has been with the disk; 0 when there is none. */
  get stalledMs(): number {
    const { sinceMs } = this.#inFlight ?? this.#refused ?? {}
    return sinceMs === undefined ? 0 : this.#options.nowMs() - sinceMs
  }

  get #hasWaiting(): boolean {
    return this.#waiting.seq > 0
  }

  /** What a new member has before it is written: it goes with the first batch. */
  begin(identity: Identity | undefined, entries: readonly Entry[], hard: HardState): void {
    const waiting = this.#waiting
    waiting.identity = identity
    waiting.hard = hard
    this.#commit = hard.commit
    merge(waiting, entries)
  }

  /** A snapshot is on its way: the store is not yet what the log says. */
  get isInstalling(): boolean {
    return [this.#waiting, this.#inFlight, this.#refused].some((one) => one?.install !== undefined)
  }

  /** More is known to be committed than the disk was told. */
  get hasCommitNews(): boolean {
    return this.#commit > this.#toldCommit
  }

  /** @param install the snapshot that the Ready wants installed */
  add({ seq, isDurable, entries, hard, after }: Ready, install?: Install): void {
    if (hard !== undefined) this.#commit = hard.commit
    if (!isDurable) {
      const isFree = !this.#hasWaiting && !this.isBusy && this.#refused === undefined
      if (isFree) this.#options.released(seq, after)
      // Nothing of it belongs on the disk or waits for it: a later batch speaks for it as well.
      if (isFree || after.length === 0) return
    }
    const waiting = this.#waiting
    waiting.seq = seq
    if (hard !== undefined) waiting.hard = hard
    waiting.after.push(...after)
    if (install !== undefined) {
      // Whatever was to be written before is replaced with the rest of the log.
      waiting.install = install
      waiting.entries = []
    }
    merge(waiting, entries)
  }

  /** Sends a batch when the disk is free and there is something for it. */
  flush(wantsRows: boolean): void {
    if (this.isBusy || this.#refused !== undefined) return
    if (!this.#hasWaiting && !wantsRows) return
    const { seq, after, entries, firstIndex, hard, identity, install } = this.#waiting
    // Neither rows nor a piece of the log: the store is about to be another one.
    const isReplaced = install !== undefined || this.isInstalling
    this.#waiting = createWaiting()
    this.#seq += 1
    const packed = packEntries(entries)
    const batch: Batch = {
      seq: this.#seq,
      entries: packed,
      firstIndex,
      hard: this.#news(hard),
      commit: this.#commit,
      identity,
      install: install?.place,
      compactTo: 0,
      ...(isReplaced ? NO_ROWS : this.#options.rows(entries.length, packed.length)),
      ...(install !== undefined && {
        packs: install.packs,
        events: install.events,
        image: install.image,
      }),
    }
    this.#toldCommit = batch.commit
    this.#inFlight = { seq, after, install, entries, batch, sinceMs: this.#options.nowMs() }
    this.#options.disk.write(batch)
  }

  /** What was promised, when it is not what the disk was last given. */
  #news(hard: HardState | undefined): Batch['hard'] {
    if (hard === undefined) return undefined
    const { term, vote, isDamaged } = hard
    const given = this.#given
    if (term === given?.term && vote === given.vote && isDamaged === given.isDamaged)
      return undefined
    this.#given = { term, vote, isDamaged }
    return this.#given
  }

  /** The batch under way is durable. */
  persisted(seq: number): void {
    const { seq: readySeq, after, install } = this.#finish(seq, 'acknowledged')
    install?.done()
    if (readySeq > 0) this.#options.released(readySeq, after)
  }

  /** Nothing of the batch under way is on the disk; `retry` sends it again. */
  full(seq: number): void {
    this.#refused = this.#finish(seq, 'refused')
  }

  retry(): void {
    const refused = this.#refused
    if (refused === undefined) return
    this.#refused = undefined
    this.#seq += 1
    // What was handed over is with the other thread.
    const batch = { ...refused.batch, seq: this.#seq, entries: packEntries(refused.entries) }
    this.#inFlight = { ...refused, batch }
    this.#options.disk.write(batch)
  }

  #finish(seq: number, what: string): InFlight {
    const inFlight = this.#inFlight
    if (inFlight?.batch.seq !== seq)
      throw new Error(`disk ${what} batch ${seq}, ${inFlight?.batch.seq ?? 'none'} is in flight`)
    this.#inFlight = undefined
    return inFlight
  }

  /** The disk is gone: nothing is waited for any more. */
  abandon(): void {
    this.#inFlight = undefined
    this.#refused = undefined
    this.#waiting = createWaiting()
  }

  /** Rows without entries, as the last batch. */
  writeLast(rows: Rows): void {
    this.#seq += 1
    const batch: Batch = {
      seq: this.#seq,
      entries: new Uint8Array(),
      firstIndex: 0,
      hard: undefined,
      commit: this.#commit,
      identity: undefined,
      install: undefined,
      ...rows,
      compactTo: 0,
    }
    this.#inFlight = {
      seq: 0,
      after: [],
      install: undefined,
      entries: [],
      batch,
      sinceMs: this.#options.nowMs(),
    }
    this.#options.disk.write(batch)
  }
}

function createWaiting(): Waiting {
  return {
    seq: 0,
    entries: [],
    firstIndex: 0,
    hard: undefined,
    identity: undefined,
    install: undefined,
    after: [],
  }
}

/** Later entries take the place of earlier ones from their first index on. */
function merge(waiting: Waiting, entries: readonly Entry[]): void {
  const [first] = entries
  if (first === undefined) return
  const kept = first.index - waiting.firstIndex
  if (waiting.entries.length === 0 || kept <= 0) {
    waiting.entries = [...entries]
    waiting.firstIndex = first.index
    return
  }
  waiting.entries.length = Math.min(waiting.entries.length, kept)
  for (const entry of entries) waiting.entries.push(entry)
}
