import type { MemberId, MessageOf } from '../raft/types.ts'
import type { Disk, DiskSnapshot } from '../storage/disk.ts'

/** So many at a time: each makes the disk thread read the whole store. */
const SENDING_MAX = 2
/** A member that has just got a snapshot needs the entries behind it (etcd 2.3 releaseDelayAfterSnapshot). */
const HELD_MS = 30_000
/** After the first failure a member may ask again at once, then after this time, each time twice as long. */
const RETRY_MS = 1_000
const RETRY_MS_MAX = 30_000

export interface SnapshotOffersOptions {
  readonly disk: Pick<Disk, 'openSnapshot'>
  readonly nowMs: () => number
  /** Calls back after some milliseconds; nobody waits for it when the process ends. */
  readonly later: (run: () => void, ms: number) => void
  /** Resolves when the disk has been given an image of the store as it is now. */
  readonly freshImage: () => Promise<void>
  readonly send: (offer: MessageOf<'snapOffer'>, snapshot: DiskSnapshot) => Promise<void>
  readonly sent: (to: MemberId, index: number) => void
  readonly failed: (to: MemberId, problem: string) => void
  /** What is stored here goes to nobody else any more. */
  readonly isDistrusted: () => boolean
}

interface Hold {
  /** Entries behind this one are kept in memory. */
  readonly index: number
  /** Until then; Infinity while the snapshot is on its way. */
  readonly untilMs: number
}

/** The last one of those in a row. */
interface Failure {
  readonly count: number
  readonly atMs: number
}

/** A snapshot that comes to no good end when `check` throws on its way. */
function trusted(snapshot: DiskSnapshot, check: () => void): DiskSnapshot {
  const next = async (): Promise<Uint8Array | undefined> => {
    const pack = await snapshot.next()
    check()
    return pack
  }
  const { head } = snapshot
  return { head, events: checked(snapshot.events, check), next, close: () => snapshot.close() }
}

function* checked<T>(rows: Iterable<T>, check: () => void): Generator<T> {
  for (const row of rows) {
    check()
    yield row
  }
  check()
}

/** Snapshots that this member sends to others who are too far behind for the log. */
export class SnapshotOffers {
  readonly #options: SnapshotOffersOptions
  readonly #holds = new Map<MemberId, Hold>()
  readonly #failures = new Map<MemberId, Failure>()

  constructor(options: SnapshotOffersOptions) {
    this.#options = options
  }

  /** Entries behind this one must not be forgotten; Infinity: any may. */
  get heldIndex(): number {
    if (this.#holds.size === 0) return Infinity
    const nowMs = this.#options.nowMs()
    for (const [id, { untilMs }] of this.#holds) if (untilMs < nowMs) this.#holds.delete(id)
    return Math.min(Infinity, ...[...this.#holds.values()].map(({ index }) => index))
  }

  /** @param applied where the store stands now */
  offer(message: MessageOf<'snapOffer'>, applied: number): void {
    const { to } = message
    const sending = [...this.#holds.values()].filter(({ untilMs }) => untilMs === Infinity)
    if (this.#holds.get(to)?.untilMs === Infinity) return
    if (sending.length >= SENDING_MAX) {
      // The core must not be told while it is asked what to do.
      setImmediate(() => this.#options.failed(to, 'too many snapshots are on their way'))
      return
    }
    this.#holds.set(to, { index: applied, untilMs: Infinity })
    void this.#send(message)
  }

  async #send(message: MessageOf<'snapOffer'>): Promise<void> {
    const { to } = message
    const { freshImage, disk, send, sent, nowMs, isDistrusted } = this.#options
    try {
      const check = (): void => {
        if (isDistrusted()) throw new Error('this member has diverged')
      }
      check()
      await freshImage()
      const snapshot = await disk.openSnapshot()
      if (snapshot === undefined) throw new Error('there is no image yet')
      const { index } = snapshot.head.place
      // While it is open, the disk thread moves no rows into their table.
      await send(message, trusted(snapshot, check)).finally(() => snapshot.close())
      this.#holds.set(to, { index, untilMs: nowMs() + HELD_MS })
      this.#failures.delete(to)
      sent(to, index)
    } catch (error) {
      this.#holds.delete(to)
      this.#fail(to, error instanceof Error ? error.message : String(error))
    }
  }

  /** The core offers the next one as soon as it hears of it: each makes the disk read the whole store. */
  #fail(to: MemberId, problem: string): void {
    const { failed, later, nowMs } = this.#options
    const before = this.#failures.get(to)
    const isInRow = before !== undefined && nowMs() - before.atMs < 2 * RETRY_MS_MAX
    const failure = { count: isInRow ? before.count + 1 : 1, atMs: nowMs() }
    this.#failures.set(to, failure)
    if (failure.count === 1) {
      failed(to, problem)
      return
    }
    const tell = (): void => {
      const isLast = this.#failures.get(to) === failure
      // The member may have been started again: another one is on its way then, or has arrived.
      if (isLast && this.#holds.get(to)?.untilMs !== Infinity) failed(to, problem)
    }
    later(tell, Math.min(RETRY_MS * 2 ** (failure.count - 2), RETRY_MS_MAX))
  }
}
