import { bufferOf, Machine, type Changed } from '../machine.ts'
import { decodeCommand, isCheck, type Command } from '../store/command.ts'
import type { Refusal } from '../store/errors.ts'
import type { StoreEvent } from '../store/event.ts'
import { Roster } from '../membership/roster.ts'
import type { Core } from '../raft/core.ts'
import { NONE, type Entry, type MemberId, type Message, type Ready } from '../raft/types.ts'
import type { Snapshot } from '../transport/snapshot-receiver.ts'
import { CommitNews } from './commit-news.ts'
import { DiskQueue, type Install } from './disk-queue.ts'
import { ForwardedGuard } from './forwarded.ts'
import { ImageWaiters } from './image-waiters.ts'
import { Images, type Rows } from './images.ts'
import { MemoryLog } from './memory-log.ts'
import type { ReplicaOptions } from './options.ts'
import { SnapshotOffers } from './snapshot-offers.ts'
import { createCore, startLog } from './start.ts'

/** News of a commit wait at most so long for entries to go with. */
const NEWS_MS = 1

/** Who hears what comes of it. */
export interface DriverListener {
  /** Before the core is asked what it wants. */
  pumping(): void
  /** Apart from entries: what a Ready says, before its entries are applied. */
  ready(ready: Ready): void
  applied(id: string, outcome: StoreEvent | Refusal | undefined): void
  changed(id: string, changed: Changed): void
  /** An entry `check` or `checked` was applied just now. */
  checked(index: number, entry: Command): void
  /** A snapshot of another member has taken the place of the store, in memory and on the disk. */
  installed(): void
  /** The Ready is carried out. */
  done(ready: Ready): void
  /** A member came, went or got other URLs. */
  membersChanged(): void
  /** The core wants nothing more for now. */
  pumped(): void
}

/**
 * Carries out what the core of Raft wants (raft.md 3, 8):
 *
 *   proposal, message, tick -> core -> Ready -> disk, network
 *   durable and committed -> applied to the store
 *
 * An entry is applied only when it is durable here (raft.md L2).
 */
export class Driver {
  readonly machine: Machine
  readonly core: Core
  readonly #options: ReplicaOptions
  readonly #listener: DriverListener
  readonly #queue: DiskQueue
  readonly #images: Images
  readonly #offers: SnapshotOffers
  readonly #news: CommitNews
  readonly #memory: MemoryLog
  readonly #guard: ForwardedGuard
  #isAlone = false
  #isScheduled = false
  #isStopped = false
  #isFull = false
  #isDistrusted = false
  /**
   * The configuration has changed. Who was removed goes soon, and whoever starts again without knowing
   * that this was committed needs its vote: the disk is told at once.
   */
  #mustSettle = false
  /** The store holds all entries up to here. */
  #applied: number
  /** Has arrived; the core decides whether it is installed. */
  #staged: Snapshot | undefined
  readonly #imageWaiters = new ImageWaiters()
  /** When the leader last spoke. */
  #heardMs = 0

  /** Loads the store from what the disk recovered; entries behind it are applied as they are known to be committed. */
  constructor(options: ReplicaOptions, listener: DriverListener) {
    this.#options = options
    this.#listener = listener
    const { store, disk, birth, snapshotCount, elapsedMs, logger } = options
    this.#guard = new ForwardedGuard((text) => logger.error(text), elapsedMs)
    const { loaded, rows, events } = disk.recovered
    const { stats, storeIndex: index, count } = loaded
    if (stats !== undefined) store.load({ index, count, stats }, rows, events)
    this.machine = new Machine(store)
    const log = startLog(options, this.machine)
    this.core = createCore(options, this.machine, log)
    this.#memory = new MemoryLog(this.core)
    this.#applied = loaded.applied
    this.#images = new Images({
      store,
      snapshotCount,
      index: loaded.applied,
      firstIndex: loaded.firstIndex || 1,
      elapsedMs,
      phase: options.random(),
    })
    this.#queue = this.#openQueue()
    if (log.added.length > 0 || birth !== undefined)
      this.#queue.begin(birth?.identity, log.added, log.hard)
    this.#offers = this.#openOffers()
    this.#news = this.#openNews()
    disk.forget()
    this.core.syncedTo(store.syncTime)
    this.#noteConf()
  }

  #openQueue(): DiskQueue {
    const { disk, nowMs } = this.#options
    return new DiskQueue({
      disk,
      nowMs,
      commit: this.core.view.hard.commit,
      rows: (entries, logBytes) => {
        const rows = this.#takeRows(logBytes)
        return { ...rows, compactTo: this.#images.compactTo(entries) }
      },
      released: (seq, after) => {
        this.core.persisted(seq)
        for (const message of after) this.#send(message)
      },
    })
  }

  #openNews(): CommitNews {
    return new CommitNews({
      later: (run) => {
        setTimeout(() => !this.#isStopped && run(), NEWS_MS)
      },
      send: (message) => this.#options.network.send(message),
    })
  }

  #openOffers(): SnapshotOffers {
    const { disk, nowMs, network, logger, memberId } = this.#options
    return new SnapshotOffers({
      disk,
      nowMs,
      freshImage: async () => await this.#freshImage(),
      later: (run, ms) => {
        setTimeout(() => !this.#isStopped && run(), ms).unref()
      },
      isDistrusted: () => this.#isDistrusted,
      send: async (offer, snapshot) => await network.sendSnapshot(offer, snapshot),
      sent: (to, index) => {
        logger.info(`raft: ${memberId} sent snapshot[index: ${index}] to ${to}`)
        this.core.snapshotSent(to, index)
        this.schedule()
      },
      failed: (to, problem) => {
        logger.warn(`raft: ${memberId} failed to send a snapshot to ${to}: ${problem}`)
        this.core.snapshotFailed(to)
        this.schedule()
      },
    })
  }

  /** Index of the last entry that the store holds. */
  get applied(): number {
    return this.#applied
  }

  /** It is the only one that counts. */
  get isAlone(): boolean {
    return this.#isAlone
  }

  get isFull(): boolean {
    return this.#isFull
  }

  get isIdle(): boolean {
    return this.#queue.isIdle
  }

  get stalledMs(): number {
    return this.#queue.stalledMs
  }

  /** Since the leader was last heard; a leader knows that it still is one by the last check of its quorum. */
  get stalenessMs(): number {
    const { tickMs, electionTicks, elapsedMs } = this.#options
    const { role, lead } = this.core.view
    if (this.#isAlone) return 0
    if (role === 'leader') return 2 * tickMs * electionTicks
    return lead === NONE ? Infinity : elapsedMs() - this.#heardMs
  }

  /** Carries out what there is at the end of this turn. */
  schedule(): void {
    if (this.#isScheduled) return
    this.#isScheduled = true
    setImmediate(() => {
      this.#isScheduled = false
      this.pump()
    })
  }

  /** Carries out what the core wants until it wants nothing more. */
  pump(): void {
    if (this.#isStopped) return
    this.#listener.pumping()
    while (this.core.hasReady()) this.#carryOut(this.core.ready())
    if (!this.#queue.hasCommitNews) this.#mustSettle = false
    const isDue = this.#mustSettle || this.#images.isUrgent(this.#applied)
    this.#queue.flush(!this.#queue.isInstalling && isDue)
    this.#options.network.flush()
    this.#listener.pumped()
  }

  #carryOut(ready: Ready): void {
    for (const message of ready.now) this.#send(message)
    this.#queue.add(ready, ready.install === undefined ? undefined : this.#installOf(this.#staged))
    // The next batch is on its way to the disk, and to the others, while this one is applied.
    this.#queue.flush(false)
    this.#options.network.flush()
    this.#listener.ready(ready)
    this.#apply(ready.committed)
    this.#listener.done(ready)
  }

  #send(message: Message): void {
    if (message.to === this.#options.memberId) this.core.step(message)
    else if (message.type === 'snapOffer') this.#offers.offer(message, this.#applied)
    else this.#news.pass(message)
  }

  #apply(entries: readonly Entry[]): void {
    if (entries.length === 0) return
    let isOther = false
    for (const entry of entries) {
      if (entry.kind === 'conf') {
        const changed = this.machine.applyChange(entry)
        this.core.applyConf(changed.change)
        this.#noteApplied(entry)
        this.#listener.changed(entry.id, changed)
        isOther = true
      } else {
        const outcome = this.machine.applyRequest(entry)
        this.#noteApplied(entry)
        if (entry.id !== '') this.#listener.applied(entry.id, outcome)
        if (isCheck(entry.data))
          this.#listener.checked(entry.index, decodeCommand(bufferOf(entry.data)))
      }
    }
    this.core.syncedTo(this.machine.store.syncTime)
    if (isOther) this.#followConf()
    const isKept = !this.#isAlone || this.core.view.conf.learners.length > 0
    this.#memory.cut(isKept, this.#offers.heldIndex)
  }

  #noteApplied(entry: Entry): void {
    this.core.applied(entry.index)
    this.#applied = entry.index
    this.#memory.applied(entry)
  }

  #noteConf(): void {
    const { voters } = this.core.view.conf
    this.#isAlone = voters.length === 1 && voters[0] === this.#options.memberId
  }

  #followConf(): void {
    this.#noteConf()
    this.#mustSettle = true
    this.#listener.membersChanged()
  }

  /** Messages of other members, in order. */
  receive(messages: readonly Message[]): void {
    if (this.#isStopped) return
    for (const message of messages) {
      if (this.machine.roster.isRemoved(message.from) || !this.#guard.passes(message)) continue
      this.core.step(message)
      if (message.from === this.core.view.lead) this.#heardMs = this.#options.elapsedMs()
    }
    this.schedule()
  }

  /** A message has not left: what it asked for may be asked for again. */
  unsent(message: Message): void {
    if (message.type === 'app') this.core.unreachable(message.to)
    else if (message.type === 'prop') this.core.unsent(message.proposal.id)
    else return
    this.schedule()
  }

  unreachable(id: MemberId): void {
    this.core.unreachable(id)
    this.schedule()
  }

  /** A snapshot of the leader has arrived; whoever has come further meanwhile does not take it. */
  install(snapshot: Snapshot): void {
    const { from, to, term, incarnation, place } = snapshot.title
    if (this.#isStopped || this.machine.roster.isRemoved(from)) return
    const conf = new Roster(snapshot.store).conf()
    this.#staged = snapshot
    const meta = { ...place, conf }
    this.core.step({ type: 'snapOffer', from, to, term, incarnation, meta })
    this.pump()
    this.#staged = undefined
  }

  #installOf(staged: Snapshot | undefined): Install {
    if (staged === undefined) throw new Error('a snapshot is to be installed that never came')
    const { title, store, packs, events } = staged
    const { place, storeIndex, count, stats } = title
    const image = { applied: place.index, storeIndex, count, stats, eventFloor: 0 }
    const done = (): void => {
      const { logger, memberId } = this.#options
      const { index, term } = place
      logger.info(`raft: ${memberId} restored snapshot [index: ${index}, term: ${term}]`)
      this.machine.store.adopt(store)
      this.core.syncedTo(store.syncTime)
      this.#applied = index
      this.#memory.restart()
      this.#images.restart(index)
      this.#listener.installed()
      // The disk has just been given one.
      this.#imageWaiters.given(false)
      this.#followConf()
    }
    return { place, packs, events, image, done }
  }

  /** Resolves when the disk has been given an image of the store as it is now. */
  async #freshImage(): Promise<void> {
    if (this.#images.index !== this.#applied) this.#images.want()
    // One of this very entry may be frozen, and is then on its way.
    if (!this.#images.isUrgent(this.#applied)) return
    this.schedule()
    await this.#imageWaiters.wanted()
  }

  /**
   * Makes the disk keep an image of the store as it is at the time of the call. Resolves when it has
   * been given one: this one, unless a snapshot is installed meanwhile.
   */
  async freeze(): Promise<void> {
    if (!this.#queue.isInstalling) this.#images.freeze(this.#applied)
    await this.#imageWaiters.frozen()
  }

  /** What is stored here goes to nobody else. */
  distrust(): void {
    this.#isDistrusted = true
  }

  #takeRows(logBytes: number): Rows {
    const rows = this.#images.take(this.#applied, logBytes)
    // Whoever waits for it goes on when it is on its way to the disk.
    if (rows.image !== undefined) this.#imageWaiters.given(this.#images.isWanted)
    return rows
  }

  persisted(seq: number): void {
    this.#queue.persisted(seq)
    if (this.#isFull) this.#options.logger.info('storage: there is room again')
    this.#isFull = false
    this.pump()
  }

  /** Nothing of the batch is on the disk: it is tried again, and nobody is told anything meanwhile (raft.md 5.8). */
  full(seq: number, message: string): void {
    this.#queue.full(seq)
    const { logger, file } = this.#options
    if (!this.#isFull)
      logger.error('storage: no room left on the disk, writes are refused', { file, message })
    this.#isFull = true
    // Somebody who can write should lead.
    this.handOver()
    this.pump()
  }

  /**
   * What is committed is told to the disk with the next batch; when none comes, here. A member that
   * has to go on alone knows by it what was acknowledged. In the same way an image goes on that is due.
   */
  settle(): void {
    if (this.#isStopped || this.#queue.isInstalling) return
    this.#queue.flush(this.#queue.hasCommitNews || this.#images.isDue(this.#applied))
  }

  tryForRoom(): void {
    if (this.#isFull && !this.#isStopped) this.#queue.retry()
  }

  /** Leader: lets the voter lead who has most, of those that can be reached. */
  handOver(): void {
    const { memberId, network } = this.#options
    const { conf, progress, role } = this.core.view
    const matchOf = (id: MemberId): number => progress.get(id)?.match ?? 0
    const isThere = (id: MemberId): boolean =>
      network.connectedSince(id) !== undefined && progress.get(id)?.isDamaged === false
    const heirs = conf.voters.filter((id) => id !== memberId && isThere(id))
    const [heir] = heirs.toSorted((left, right) => matchOf(right) - matchOf(left))
    if (role === 'leader' && heir !== undefined) this.core.transfer(heir)
  }

  /** Nothing is carried out any more. */
  stop(): void {
    this.#isStopped = true
  }

  /** The disk is gone: nothing is waited for any more. */
  abandon(): void {
    this.#isStopped = true
    this.#queue.abandon()
  }

  /** Brings the image on the disk up to date, as the last thing. */
  writeLast(): void {
    if (this.#isFull || this.#applied === this.#images.index) return
    this.#queue.writeLast(this.#images.takeLast(this.#applied))
  }
}
