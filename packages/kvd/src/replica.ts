import { endsWithin, type Logger } from '@flotilla/daemon'
import { command, CommandWriter, decodeCommand, frames, type Command } from './store/command.ts'
import { refusal, type Refusal } from './store/errors.ts'
import type { StoreEvent } from './store/event.ts'
import type { Store, StoreState } from './store/store.ts'
import type { Disk, DiskError } from './storage/disk.ts'
import type { Batch, HardState, Image } from './storage/messages.ts'
import { packEvents } from './storage/records.ts'
import { packChanges } from './storage/rows.ts'

/** Hears what became of a proposal, once. Undefined: applied, with nothing to say (no-op, sync). */
export type Waiter = (outcome: StoreEvent | Refusal | undefined) => void

/** Proposals beyond this many bytes are refused at once instead of filling memory. */
const PENDING_BYTES_MAX = 64 * 1024 * 1024
/** Entries kept behind the image for slow followers (etcd 2.3 numberOfCatchUpEntries). */
const CATCH_UP_ENTRIES = 5_000
/** Entries dropped with a batch; more with one that brings more, or the log would grow. */
const COMPACT_ENTRIES = 1_000
const COMPACT_FACTOR = 2
/** Changed nodes, or their characters, that are handed to the disk before an image asks for them. */
const PACK_NODES_MAX = 1_000
const PACKS_PER_IMAGE = 10
const PACK_LENGTH = 1024 * 1024
/** An image comes early when so many bytes of rows wait for one. */
const IMAGE_BYTES_MAX = 8 * 1024 * 1024
/** Characters of JSON after which a row of events is full. */
const EVENT_ROW_LENGTH = 4 * 1024 * 1024

export interface ReplicaOptions {
  readonly store: Store
  readonly disk: Disk
  readonly logger: Logger
  /** The database, for messages. */
  readonly file: string
  readonly snapshotCount: number
  /** Milliseconds until an unanswered proposal is told that it timed out. */
  readonly requestTimeoutMs: number
  readonly nowMs: () => number
  readonly onFailure: (error: DiskError) => void
}

interface InFlight {
  readonly seq: number
  readonly frames: Buffer
  readonly firstIndex: number
  readonly rows: Rows
  readonly waiting: Waiting
}

/** The part of a batch that brings the materialised store on. */
type Rows = Pick<Batch, 'packs' | 'image'>

/** Proposers of one batch, in the order of its entries, each with its own deadline. */
interface Waiting {
  readonly waiters: Waiter[]
  /** When each was proposed; never decreasing. */
  readonly since: number[]
  /** How many of them were told that they are late. */
  late: number
}

const NO_ROWS: Rows = { packs: [], image: undefined }
const NO_ROOM = refusal(300, 'etcdserver: no space left on the disk', 0)

/** What operators are shown of the log. */
export interface ReplicaStatus {
  readonly commits: number
  readonly commitMsSum: number
  readonly isFull: boolean
  /** Proposals that were refused before they were applied, or told that they are late. */
  readonly failed: number
  /** How long the batch under way has been with the disk; 0 when there is none. */
  readonly stalledMs: number
}

/**
 * One member's way from a proposal to an applied entry. Proposals gather while the disk is busy;
 * each time it is done, all of them go to it as one batch and one fsync (group commit). An entry
 * is applied, and its proposer answered, only when it is durable (raft.md L2).
 *
 *   propose -> gathering -> in flight (disk) -> durable -> applied -> answered
 */
export class Replica {
  readonly #options: ReplicaOptions
  readonly #writer = new CommandWriter()
  #gathering = createWaiting()
  #isDead = false
  #onIdle: (() => void) | undefined
  #inFlight: InFlight | undefined
  #isScheduled = false
  #isClosed = false
  #seq = 0
  #term: number
  #appliedIndex: number
  #lastIndex: number
  #firstIndex: number
  #compactTarget = 0
  #imageIndex: number
  #imageEvent: number
  #isFull = false
  /** Of a batch that found no room: the next batch takes them along. */
  #unwritten: Rows | undefined
  #packedBytes = 0
  #isHardKnown = false
  #commits = 0
  #commitMsSum = 0
  readonly #commitListeners: ((commitMs: number) => void)[] = []
  readonly #proposalListeners: ((ms: number) => void)[] = []
  #failed = 0
  readonly #timer: NodeJS.Timeout

  /** Loads the store from what the disk recovered and starts a new term. */
  constructor(options: ReplicaOptions) {
    this.#options = options
    const { store, disk } = options
    const { loaded, rows, events, entries } = disk.recovered
    const stats = loaded.stats
    if (stats !== undefined)
      store.load({ index: loaded.storeIndex, count: loaded.count, stats }, rows, events)
    for (const entry of entries) store.apply(decodeCommand(entry.data))
    disk.forget()
    this.#term = loaded.hard.term + 1
    this.#appliedIndex = loaded.lastIndex
    this.#lastIndex = loaded.lastIndex
    this.#firstIndex = loaded.firstIndex === 0 ? loaded.lastIndex + 1 : loaded.firstIndex
    this.#imageIndex = loaded.applied
    this.#imageEvent = loaded.storeIndex
    disk.listen({
      persisted: (seq, commitMs) => this.#persisted(seq, commitMs),
      full: (seq, message) => this.#full(seq, message),
      failed: (error) => this.#die(error),
    })
    this.#timer = setInterval(() => {
      this.#expireWaiters()
      this.#tryForRoom()
    }, 500)
  }

  get term(): number {
    return this.#term
  }

  /** Index of the last log entry that the store holds: X-Raft-Index. */
  get appliedIndex(): number {
    return this.#appliedIndex
  }

  /** Index of the last entry in the log. */
  get lastIndex(): number {
    return this.#lastIndex
  }

  get pending(): number {
    const inFlight = this.#inFlight?.waiting
    return (
      countUnanswered(this.#gathering) + (inFlight === undefined ? 0 : countUnanswered(inFlight))
    )
  }

  get status(): ReplicaStatus {
    const since = this.#inFlight?.waiting.since[0]
    return {
      commits: this.#commits,
      commitMsSum: this.#commitMsSum,
      isFull: this.#isFull,
      failed: this.#failed,
      stalledMs: since === undefined ? 0 : this.#options.nowMs() - since,
    }
  }

  onCommit(listener: (commitMs: number) => void): void {
    this.#commitListeners.push(listener)
  }

  /** Hears how long each proposal took from its coming to its answer. */
  onProposal(listener: (ms: number) => void): void {
    this.#proposalListeners.push(listener)
  }

  propose(entry: Command, waiter: Waiter): void {
    if (this.#isClosed) {
      waiter(refusal(300, 'etcdserver: server stopped', 0))
      return
    }
    if (this.#isFull) {
      waiter(NO_ROOM)
      return
    }
    if (this.#writer.bytes > PENDING_BYTES_MAX) {
      waiter(refusal(300, 'etcdserver: too many requests', 0))
      return
    }
    this.#gather(entry, waiter)
    this.#schedule()
  }

  #gather(entry: Command, waiter: Waiter): void {
    this.#writer.append(entry)
    this.#gathering.waiters.push(waiter)
    this.#gathering.since.push(this.#options.nowMs())
  }

  /** `propose` for code that is not on the hot path. */
  async proposeAsync(entry: Command): Promise<StoreEvent | Refusal | undefined> {
    return await new Promise((resolve) => this.propose(entry, resolve))
  }

  #schedule(): void {
    if (this.#isScheduled || this.#inFlight !== undefined) return
    this.#isScheduled = true
    setImmediate(() => {
      this.#isScheduled = false
      if (this.#inFlight === undefined) this.#flush()
    })
  }

  #flush(): void {
    if (this.#writer.count === 0 && this.#unwritten === undefined && !this.#wantsImage()) return
    const rows = this.#unwritten ?? this.#takeRows(this.#wantsImage())
    this.#unwritten = undefined
    const count = this.#writer.count
    this.#seq += 1
    const batch: InFlight = {
      seq: this.#seq,
      firstIndex: this.#lastIndex + 1,
      frames: this.#writer.take(),
      rows,
      waiting: this.#gathering,
    }
    this.#gathering = createWaiting()
    this.#inFlight = batch
    this.#lastIndex += count
    this.#options.disk.write({
      seq: batch.seq,
      term: this.#term,
      firstIndex: batch.firstIndex,
      // The disk thread gets a copy of its own; the structured clone would copy the whole pool.
      frames: new Uint8Array(batch.frames),
      hard: this.#takeHardState(),
      ...rows,
      compactTo: this.#compactTo(count),
    })
  }

  /** The hard state while the disk has not been given it. */
  #takeHardState(): HardState | undefined {
    if (this.#isHardKnown) return undefined
    this.#isHardKnown = true
    return { term: this.#term, vote: '', commit: this.#appliedIndex }
  }

  #persisted(seq: number, commitMs: number): void {
    const batch = this.#inFlight
    if (batch === undefined || batch.seq !== seq)
      throw new Error(`disk acknowledged batch ${seq}, ${batch?.seq ?? 'none'} is in flight`)
    this.#inFlight = undefined
    if (this.#isFull) this.#options.logger.info('storage: there is room again')
    this.#isFull = false
    this.#commits += 1
    this.#commitMsSum += commitMs
    for (const listener of this.#commitListeners) listener(commitMs)
    // The next batch is on its way to the disk while this one is applied and answered.
    if (this.#writer.count > 0) this.#flush()
    this.#apply(batch)
    if (this.#wantsImage()) this.#schedule()
    this.#settleIdle()
  }

  #apply(batch: InFlight): void {
    const nowMs = this.#options.nowMs()
    let position = 0
    for (const data of frames(batch.frames)) {
      const outcome = this.#options.store.apply(decodeCommand(data))
      this.#appliedIndex += 1
      batch.waiting.waiters[position]?.(outcome)
      const ms = nowMs - (batch.waiting.since[position] ?? nowMs)
      for (const listener of this.#proposalListeners) listener(ms)
      position += 1
    }
  }

  #wantsImage(): boolean {
    const entries = this.#appliedIndex - this.#imageIndex
    const isLarge = entries > 0 && this.#packedBytes >= IMAGE_BYTES_MAX
    return isLarge || entries >= this.#options.snapshotCount
  }

  /**
   * What the disk has not seen of the store as it is now, all entries applied. A little of it goes
   * with one batch after another, so that an image finds only the rest to do.
   */
  #takeRows(wantsImage: boolean): Rows {
    const { store, snapshotCount } = this.#options
    const packNodes = Math.min(PACK_NODES_MAX, Math.ceil(snapshotCount / PACKS_PER_IMAGE))
    const isDue = store.dirtyCount >= packNodes || store.dirtyLength >= PACK_LENGTH
    if (!wantsImage && !isDue) return NO_ROWS
    const { tree, state } = store.takeChanges()
    const packs = packChanges(tree, PACK_LENGTH)
    for (const { length } of packs) this.#packedBytes += length
    return { packs, image: wantsImage ? this.#takeImage(state) : undefined }
  }

  #takeImage(state: StoreState): Image {
    const { store } = this.#options
    const floor = Math.max(this.#imageEvent + 1, store.history.first)
    const events: StoreEvent[] = []
    for (let index = floor; index <= store.index; index += 1) {
      const event = store.history.at(index)
      if (event !== undefined) events.push(event)
    }
    this.#imageIndex = this.#appliedIndex
    this.#imageEvent = store.index
    this.#packedBytes = 0
    return {
      applied: this.#appliedIndex,
      storeIndex: state.index,
      count: state.count,
      stats: state.stats,
      events: [...cutEvents(events)].map((row) => ({
        last: row.at(-1)?.index ?? 0,
        body: packEvents(row),
      })),
      eventFloor: store.history.first,
    }
  }

  /** The next piece of the log to drop; pieces go with one batch after another until all is done. */
  #compactTo(count: number): number {
    const target = this.#imageIndex - CATCH_UP_ENTRIES
    if (target - this.#firstIndex >= this.#options.snapshotCount) this.#compactTarget = target
    if (this.#firstIndex > this.#compactTarget) return 0
    const piece = Math.max(COMPACT_ENTRIES, COMPACT_FACTOR * count)
    const upTo = Math.min(this.#compactTarget, this.#firstIndex + piece - 1)
    this.#firstIndex = upTo + 1
    return upTo
  }

  /** Nothing of the batch is on the disk: its proposals, and those behind it, have not happened. */
  #full(seq: number, message: string): void {
    const batch = this.#inFlight
    if (batch === undefined || batch.seq !== seq)
      throw new Error(`disk refused batch ${seq}, ${batch?.seq ?? 'none'} is in flight`)
    if (!this.#isFull)
      this.#options.logger.error('storage: no room left on the disk, writes are refused', {
        file: this.#options.file,
        message,
      })
    this.#isFull = true
    this.#inFlight = undefined
    this.#lastIndex = batch.firstIndex - 1
    this.#isHardKnown = false
    this.#unwritten = batch.rows === NO_ROWS ? undefined : batch.rows
    const behind = this.#gathering
    this.#writer.take()
    this.#gathering = createWaiting()
    const refused = [...batch.waiting.waiters, ...behind.waiters]
    this.#failed += refused.length
    for (const waiter of refused) waiter(NO_ROOM)
    this.#settleIdle()
  }

  /** While the disk is full, a no-op now and then finds out whether there is room again. */
  #tryForRoom(): void {
    if (!this.#isFull || this.#inFlight !== undefined || this.#isClosed) return
    this.#gather(command({ op: 'noop', time: this.#options.nowMs() }), ignore)
    this.#flush()
  }

  /** Tells proposals that the disk does not take in time; they may still be applied later. */
  #expireWaiters(): void {
    const oldest = this.#options.nowMs() - this.#options.requestTimeoutMs
    if (this.#inFlight !== undefined) this.#failed += expire(this.#inFlight.waiting, oldest)
    this.#failed += expire(this.#gathering, oldest)
  }

  /** The disk thread has failed: nothing more becomes durable, nobody may wait for it. */
  #die(error: DiskError): void {
    this.#isDead = true
    this.#isClosed = true
    this.#refuseAll()
    this.#settleIdle()
    this.#options.onFailure(error)
  }

  #refuseAll(): void {
    const waiters = [...(this.#inFlight?.waiting.waiters ?? []), ...this.#gathering.waiters]
    this.#inFlight = undefined
    this.#writer.take()
    this.#gathering = createWaiting()
    for (const waiter of waiters) waiter(refusal(300, 'etcdserver: server stopped', 0))
  }

  #settleIdle(): void {
    if (this.#inFlight === undefined && this.#writer.count === 0) this.#onIdle?.()
  }

  /**
   * Refuses new proposals, waits for those under way, brings the image on disk up to date and
   * closes the files. Takes at most about `closeMs`, whatever the disk does.
   */
  async close(closeMs = 10_000): Promise<void> {
    this.#isClosed = true
    clearInterval(this.#timer)
    const idle = new Promise<void>((resolve) => {
      this.#onIdle = resolve
    })
    this.#settleIdle()
    const isIdle = await endsWithin(idle, closeMs)
    if (!isIdle) this.#refuseAll()
    else if (!this.#isFull && !this.#isDead && this.#appliedIndex > this.#imageIndex)
      this.#writeLastImage()
    await this.#options.disk.close()
  }

  #writeLastImage(): void {
    this.#seq += 1
    const firstIndex = this.#lastIndex + 1
    const batch = { seq: this.#seq, term: this.#term, firstIndex, hard: this.#takeHardState() }
    const rows = this.#unwritten ?? this.#takeRows(true)
    this.#inFlight = { ...batch, frames: Buffer.alloc(0), rows, waiting: createWaiting() }
    this.#options.disk.write({ ...batch, frames: new Uint8Array(), ...rows, compactTo: 0 })
  }
}

/** Events in rows of bounded length: one text of all could be longer than a string may be. */
function* cutEvents(events: readonly StoreEvent[]): Generator<readonly StoreEvent[]> {
  let row: StoreEvent[] = []
  let length = 0
  for (const event of events) {
    row.push(event)
    length += event.json.length
    if (length < EVENT_ROW_LENGTH) continue
    yield row
    row = []
    length = 0
  }
  if (row.length > 0) yield row
}

function createWaiting(): Waiting {
  return { waiters: [], since: [], late: 0 }
}

function countUnanswered(waiting: Waiting): number {
  return waiting.waiters.length - waiting.late
}

function ignore(): void {
  // What became of a proposal is told once: late ones have heard already.
}

/** Returns how many were told. */
function expire(waiting: Waiting, oldest: number): number {
  const before = waiting.late
  const { waiters, since } = waiting
  for (; waiting.late < since.length && (since[waiting.late] ?? 0) < oldest; waiting.late += 1) {
    const waiter = waiters[waiting.late]
    waiters[waiting.late] = ignore
    waiter?.(refusal(300, 'etcdserver: request timed out', 0))
  }
  return waiting.late - before
}
