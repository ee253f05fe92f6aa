import { endsWithin, type Logger } from '@flotilla/daemon'
import { Machine } from '../machine.ts'
import { aloneLog } from '../membership/alone.ts'
import { encodeChange, removedBy, type MemberChange } from '../membership/change.ts'
import { Core } from '../raft/core.ts'
import { sizeOf } from '../raft/log.ts'
import type { CoreStart } from '../raft/state.ts'
import { isMajority } from '../raft/progress.ts'
import {
  NONE,
  type Entry,
  type MemberId,
  type Message,
  type MessageOf,
  type Ready,
  type Role,
} from '../raft/types.ts'
import type { Disk, DiskError, DiskSnapshot } from '../storage/disk.ts'
import { entryChain } from '../storage/entry-codec.ts'
import type { Identity } from '../storage/messages.ts'
import { CommandWriter, type Command } from '../store/command.ts'
import { refusal, type Refusal } from '../store/errors.ts'
import type { StoreEvent } from '../store/event.ts'
import type { Store } from '../store/store.ts'
import { Roster } from '../membership/roster.ts'
import type { Snapshot } from '../transport/snapshot-receiver.ts'
import { DiskQueue, type Install } from './disk-queue.ts'
import { Images, type Rows } from './images.ts'
import { Proposals, type Told, type Waiter } from './proposals.ts'
import { QuorumReads, type Reader } from './quorum-reads.ts'
import { SnapshotOffers } from './snapshot-offers.ts'

/** Limits of etcd 2.3 (etcdserver/raft.go), the last two of raft.md 3.1. */
const MESSAGE_BYTES_MAX = 1024 * 1024
const WINDOW = { messages: 512, bytes: 16 * 1024 * 1024 }
const UNCOMMITTED_BYTES_MAX = 64 * 1024 * 1024
const APPLY_BYTES_MAX = 4 * 1024 * 1024
/** Applied entries kept in memory for followers that are a little behind. */
const KEPT_ENTRIES = 5_000
const KEPT_BYTES = 64 * 1024 * 1024
/** The log in memory is cut when so many entries can go. */
const CUT_ENTRIES = 1_000
const HOUSEKEEPING_MS = 500

const NO_ROOM = 'etcdserver: no space left on the disk'
const STOPPED = 'etcdserver: server stopped'

/** The way to the other members. What cannot be sent is lost. */
export interface Network {
  send(message: Message): void
  /** Everything sent in this turn may leave. */
  flush(): void
  /** Resolves when the member has all of it, whether or not it takes it. */
  sendSnapshot(offer: MessageOf<'snapOffer'>, snapshot: DiskSnapshot): Promise<void>
  /** Since when there is a way to a member, on the clock of `nowMs`; undefined: there is none. */
  connectedSince(id: MemberId): number | undefined
}

/** Of a member that is alone. */
export const NO_NETWORK: Network = {
  send: () => undefined,
  flush: () => undefined,
  sendSnapshot: async () => await Promise.reject(new Error('there are no other members')),
  connectedSince: () => undefined,
}

/** What a new member begins with. */
export interface Birth {
  readonly identity: Identity
  /** The log that all first members have in common; empty for one that joins later. */
  readonly entries: readonly Entry[]
  /** Peer URLs of all members, itself included, for as long as it has not heard of them by the log. */
  readonly peers: ReadonlyMap<MemberId, readonly string[]>
}

export interface ReplicaOptions {
  readonly memberId: MemberId
  readonly store: Store
  readonly disk: Disk
  readonly network: Network
  /** Undefined: the disk knows this member. */
  readonly birth: Birth | undefined
  /** Goes on without the others (--force-new-cluster), and says with these URLs that it is there. */
  readonly forcesAlone: { readonly peerURLs: readonly string[] } | undefined
  readonly logger: Logger
  /** The database, for messages. */
  readonly file: string
  readonly snapshotCount: number
  /** Milliseconds of one beat of the clock, and beats without a leader until an election. */
  readonly tickMs: number
  readonly electionTicks: number
  /** Milliseconds until an unanswered proposal is told that it timed out. */
  readonly requestTimeoutMs: number
  readonly nowMs: () => number
  /** In [0, 1). */
  readonly random: () => number
  readonly onFailure: (error: DiskError) => void
}

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

/** What is known of the cluster's consensus here. */
export interface RaftStatus {
  readonly role: Role
  readonly lead: MemberId
  readonly term: number
  readonly vote: MemberId
  readonly commit: number
  readonly applied: number
}

/**
 * One member: carries out what the core of Raft wants (raft.md 3, 8).
 *
 *   proposal, message, tick -> core -> Ready -> disk, network
 *   durable and committed -> applied to the store -> answered
 *
 * An entry is applied, and its proposer answered, only when it is durable here (raft.md L2).
 */
export class Replica {
  readonly machine: Machine
  readonly #options: ReplicaOptions
  readonly #core: Core
  readonly #queue: DiskQueue
  readonly #images: Images
  readonly #proposals: Proposals
  readonly #reads: QuorumReads
  readonly #offers: SnapshotOffers
  readonly #writer = new CommandWriter()
  #isAlone = false
  #isScheduled = false
  #isClosed = false
  #isDead = false
  #isFull = false
  /** The store holds all entries up to here. */
  #applied: number
  #heldBytes = 0
  /** Has arrived; the core decides whether it is installed. */
  #staged: Snapshot | undefined
  #imageWaiters: (() => void)[] = []
  #commits = 0
  #commitMsSum = 0
  #led: MemberId = NONE
  /** Leader: since when each learner has had all but the newest entries. */
  readonly #levelSinceMs = new Map<MemberId, number>()
  #leadSinceMs = 0
  #leadLostMs = 0
  #onIdle: (() => void) | undefined
  readonly #commitListeners: ((commitMs: number) => void)[] = []
  readonly #proposalListeners: ((ms: number) => void)[] = []
  readonly #leadListeners = new Set<(lead: MemberId) => void>()
  readonly #memberListeners: (() => void)[] = []
  #onRemoved: () => void = () => undefined
  readonly #timers: NodeJS.Timeout[] = []

  /** Loads the store from what the disk recovered; entries behind it are applied as they are known to be committed. */
  constructor(options: ReplicaOptions) {
    this.#options = options
    const { store, disk, birth, memberId, electionTicks } = options
    const { loaded, rows, events, entries } = disk.recovered
    const stats = loaded.stats
    if (stats !== undefined)
      store.load({ index: loaded.storeIndex, count: loaded.count, stats }, rows, events)
    this.machine = new Machine(store)
    const { known, added, hard } = this.#begin(entries)
    this.#core = new Core({
      id: memberId,
      electionTicks,
      heartbeatTicks: 1,
      random: options.random,
      chain: entryChain,
      removes: removedBy,
      incarnation: loaded.incarnation,
      maxMessageBytes: MESSAGE_BYTES_MAX,
      window: WINDOW,
      maxUncommittedBytes: UNCOMMITTED_BYTES_MAX,
      maxApplyBytes: APPLY_BYTES_MAX,
      start: {
        hard,
        conf: this.machine.conf,
        log: { ...loaded.base, entries: [...known, ...added] },
        applied: loaded.applied,
      },
    })
    this.#applied = loaded.applied
    this.#images = new Images(store, options.snapshotCount, loaded.applied, loaded.firstIndex || 1)
    this.#queue = this.#openQueue()
    if (added.length > 0 || birth !== undefined) this.#queue.begin(birth?.identity, added, hard)
    disk.forget()
    const idPrefix = `${memberId}.${loaded.incarnation.toString(36)}.`
    this.#proposals = this.#openProposals(idPrefix)
    this.#reads = this.#openReads()
    this.#offers = this.#openOffers()
    disk.listen({
      persisted: (seq, commitMs) => this.#persisted(seq, commitMs),
      full: (seq, message) => this.#full(seq, message),
      failed: (error) => this.#die(error),
    })
    this.#followConf()
  }

  /** The log that it starts with: what the disk has, and what the disk is to be given first. */
  #begin(entries: readonly Entry[]): {
    readonly known: readonly Entry[]
    readonly added: readonly Entry[]
    readonly hard: CoreStart['hard']
  } {
    const { disk, birth, forcesAlone, memberId, logger } = this.#options
    const { hard, commit, base, applied } = disk.recovered.loaded
    if (birth !== undefined) {
      const last = birth.entries.at(-1)
      const { term = hard.term, index = 0 } = last ?? {}
      return { known: [], added: birth.entries, hard: { ...hard, term, commit: index } }
    }
    if (forcesAlone === undefined) return { known: entries, added: [], hard: { ...hard, commit } }
    const { kept, added } = aloneLog({
      id: memberId,
      peerURLs: forcesAlone.peerURLs,
      term: hard.term,
      commit,
      conf: this.machine.conf,
      base,
      applied,
      entries,
    })
    const dropped = entries.length - kept.length
    logger.warn(
      `etcdserver: forcing a new cluster of ${memberId} alone: discarding ${dropped} uncommitted entries`,
    )
    const last = added.at(-1)?.index ?? commit
    return { known: kept, added, hard: { ...hard, commit: last } }
  }

  #openQueue(): DiskQueue {
    const { disk, nowMs } = this.#options
    return new DiskQueue({
      disk,
      nowMs,
      commit: () => this.#core.view.log.commit,
      rows: (entries) => {
        const rows = this.#takeRows()
        return { ...rows, compactTo: this.#images.compactTo(entries) }
      },
      released: (seq, after) => {
        this.#core.persisted(seq)
        for (const message of after) this.#send(message)
      },
    })
  }

  #openProposals(prefix: string): Proposals {
    const { requestTimeoutMs, nowMs } = this.#options
    return new Proposals({
      prefix,
      requestTimeoutMs,
      nowMs,
      propose: (proposal) => this.#core.propose(proposal),
      lateCause: (sinceMs) => this.#lateCause(sinceMs),
      answered: (ms) => {
        for (const listener of this.#proposalListeners) listener(ms)
      },
    })
  }

  #openReads(): QuorumReads {
    const { requestTimeoutMs, nowMs } = this.#options
    return new QuorumReads({
      requestTimeoutMs,
      nowMs,
      readIndex: (id) => this.#core.readIndex(id),
      applied: () => this.appliedIndex,
      lateCause: (sinceMs) => this.#lateCause(sinceMs),
    })
  }

  #openOffers(): SnapshotOffers {
    const { disk, nowMs, network, logger, memberId } = this.#options
    return new SnapshotOffers({
      disk,
      nowMs,
      freshImage: async () => await this.#freshImage(),
      send: async (offer, snapshot) => await network.sendSnapshot(offer, snapshot),
      sent: (to, index) => logger.info(`raft: ${memberId} sent snapshot[index: ${index}] to ${to}`),
      failed: (to, problem) => {
        logger.warn(`raft: ${memberId} failed to send a snapshot to ${to}: ${problem}`)
        this.#core.snapshotFailed(to)
        this.#schedule()
      },
    })
  }

  /** Begins to take part. A member that is alone stands for election at once. */
  start(): void {
    const { tickMs, electionTicks } = this.#options
    const core = this.#core
    this.#pump()
    const ticks = this.#isAlone ? 2 * electionTicks : electionTicks - 1
    for (let tick = 0; tick < ticks && core.view.role === 'follower'; tick += 1) core.tick()
    this.#pump()
    // What has come in meanwhile is read first: a pause must not look like a silent leader.
    const tick = (): void => {
      setImmediate(() => this.#tick())
    }
    this.#timers.push(setInterval(tick, tickMs))
    this.#timers.push(setInterval(() => this.#keepHouse(), HOUSEKEEPING_MS))
  }

  get term(): number {
    return this.#core.view.term
  }

  /** Index of the last log entry that the store holds: X-Raft-Index. */
  get appliedIndex(): number {
    return this.#applied
  }

  /** Index of the last entry in the log. */
  get lastIndex(): number {
    return this.#core.view.log.last
  }

  /** Proposals that are not answered. */
  get pending(): number {
    return this.#proposals.count
  }

  get isLeader(): boolean {
    return this.#core.view.role === 'leader'
  }

  /** Who leads; `0`: nobody, as far as is known here. */
  get lead(): MemberId {
    return this.#core.view.lead
  }

  /** When it began to lead, on the clock of `nowMs`. */
  get leadSinceMs(): number {
    return this.#leadSinceMs
  }

  /** What this member has applied is all that was ever acknowledged: nobody else has a say. */
  get isAlone(): boolean {
    return this.#isAlone
  }

  get raft(): RaftStatus {
    const { role, lead, term, vote, log } = this.#core.view
    return { role, lead, term, vote, commit: log.commit, applied: log.applied }
  }

  get status(): ReplicaStatus {
    return {
      commits: this.#commits,
      commitMsSum: this.#commitMsSum,
      isFull: this.#isFull,
      failed: this.#proposals.failed,
      stalledMs: this.#queue.stalledMs,
    }
  }

  onCommit(listener: (commitMs: number) => void): void {
    this.#commitListeners.push(listener)
  }

  /** Hears how long each proposal took from its coming to its answer. */
  onProposal(listener: (ms: number) => void): void {
    this.#proposalListeners.push(listener)
  }

  /** Hears who leads, each time that it changes. Returns how to stop that. */
  onLead(listener: (lead: MemberId) => void): () => void {
    this.#leadListeners.add(listener)
    return () => this.#leadListeners.delete(listener)
  }

  /** Hears that a member came, went or got other URLs. */
  onMembers(listener: () => void): void {
    this.#memberListeners.push(listener)
  }

  /** Hears that this member was removed: it has nothing to do here any more. */
  onRemoved(listener: () => void): void {
    this.#onRemoved = listener
  }

  propose(entry: Command, waiter: Waiter<StoreEvent | Refusal | undefined>): void {
    this.#writer.append(entry)
    // Behind the length of the frame, which the log does not need.
    const data = this.#writer.take().subarray(4)
    this.#add('request', data, (told) => waiter(typeof told === 'string' ? undefined : told))
  }

  /** `propose` for code that is not on the hot path. */
  async proposeAsync(entry: Command): Promise<StoreEvent | Refusal | undefined> {
    return await new Promise((resolve) => this.propose(entry, resolve))
  }

  /** Undefined: done. A text says why the change is none. */
  async change(change: MemberChange): Promise<Exclude<Told, StoreEvent>> {
    const told = await new Promise<Told>((resolve) =>
      this.#add('conf', encodeChange(change), resolve),
    )
    return typeof told === 'object' && 'action' in told ? undefined : told
  }

  #add(kind: 'request' | 'conf', data: Uint8Array, waiter: Waiter): void {
    if (this.#isClosed) waiter(refusal(300, STOPPED, 0))
    // Whoever else leads may have room.
    else if (this.#isFull && (this.isLeader || this.#isAlone)) waiter(refusal(300, NO_ROOM, 0))
    else {
      this.#proposals.add(kind, data, waiter)
      this.#schedule()
    }
  }

  /** Calls back when all that was acknowledged before now is applied here. */
  readIndex(reader: Reader): void {
    if (this.#isClosed) {
      reader(refusal(300, STOPPED, 0))
      return
    }
    this.#reads.add(reader)
    this.#schedule()
  }

  /** Messages of other members, in order. */
  receive(messages: readonly Message[]): void {
    if (this.#isDead) return
    for (const message of messages)
      if (!this.machine.roster.isRemoved(message.from)) this.#core.step(message)
    this.#schedule()
  }

  /** A snapshot of the leader has arrived; whoever has come further meanwhile does not take it. */
  install(snapshot: Snapshot): void {
    const { from, to, term, place } = snapshot.title
    if (this.#isDead || this.machine.roster.isRemoved(from)) return
    const conf = new Roster(snapshot.store).conf()
    this.#staged = snapshot
    this.#core.step({ type: 'snapOffer', from, to, term, meta: { ...place, conf } })
    this.#pump()
    this.#staged = undefined
  }

  /** A message has not left: what it asked for may be asked for again. */
  unsent(message: Message): void {
    if (message.type === 'app') this.#core.unreachable(message.to)
    else if (message.type === 'prop') this.#core.unsent(message.proposal.id)
    else return
    this.#schedule()
  }

  unreachable(id: MemberId): void {
    this.#core.unreachable(id)
    this.#schedule()
  }

  #tick(): void {
    if (this.#isDead) return
    this.#core.tick()
    this.#proposals.retry()
    this.#pump()
  }

  #schedule(): void {
    if (this.#isScheduled) return
    this.#isScheduled = true
    setImmediate(() => {
      this.#isScheduled = false
      this.#pump()
    })
  }

  /** Carries out what the core wants until it wants nothing more. */
  #pump(): void {
    if (this.#isDead) return
    this.#reads.ask()
    while (this.#core.hasReady()) this.#carryOut(this.#core.ready())
    this.#queue.flush(!this.#queue.isInstalling && this.#images.isDue(this.#applied))
    this.#options.network.flush()
    this.#settleIdle()
  }

  #carryOut(ready: Ready): void {
    const { network } = this.#options
    for (const message of ready.now) this.#send(message)
    this.#queue.add(ready, ready.install === undefined ? undefined : this.#installOf(this.#staged))
    // The next batch is on its way to the disk, and to the others, while this one is applied.
    this.#queue.flush(false)
    network.flush()
    this.#proposals.lost(ready.lost)
    if (ready.soft !== undefined) this.#follow(ready.soft.lead)
    this.#apply(ready.committed)
    this.#reads.confirmed(ready.reads)
    this.#reads.serve()
  }

  #send(message: Message): void {
    if (message.to === this.#options.memberId) this.#core.step(message)
    else if (message.type === 'snapOffer') this.#offers.offer(message, this.#applied)
    else this.#options.network.send(message)
  }

  #installOf(staged: Snapshot | undefined): Install {
    if (staged === undefined) throw new Error('a snapshot is to be installed that never came')
    const { title, store, packs, events } = staged
    const { place, storeIndex, count, stats } = title
    const image = { applied: place.index, storeIndex, count, stats, events, eventFloor: 0 }
    const done = (): void => {
      const { logger, memberId } = this.#options
      logger.info(
        `raft: ${memberId} restored snapshot [index: ${place.index}, term: ${place.term}]`,
      )
      this.machine.store.adopt(store)
      this.#applied = place.index
      this.#heldBytes = 0
      this.#images.restart(place.index)
      this.#followConf()
    }
    return { place, packs, image, done }
  }

  /** Resolves when the disk has been given an image of the store as it is now. */
  async #freshImage(): Promise<void> {
    if (this.#images.index === this.#applied) return
    await new Promise<void>((resolve) => {
      this.#imageWaiters.push(resolve)
      this.#images.want()
      this.#schedule()
    })
  }

  #apply(entries: readonly Entry[]): void {
    if (entries.length === 0) return
    let isOther = false
    for (const entry of entries) {
      const result = this.machine.apply(entry)
      if (result.type === 'conf') {
        this.#core.applyConf(result.change)
        isOther = true
      }
      this.#core.applied(entry.index)
      this.#applied = entry.index
      this.#heldBytes += sizeOf(entry)
      if (entry.id === '') continue
      this.#proposals.applied(entry.id, result.type === 'conf' ? result.problem : result.outcome)
    }
    if (isOther) this.#followConf()
    this.#cutLog()
  }

  #followConf(): void {
    const { voters } = this.#core.view.conf
    const { memberId } = this.#options
    this.#isAlone = voters.length === 1 && voters[0] === memberId
    for (const listener of this.#memberListeners) listener()
    if (this.machine.roster.isRemoved(memberId)) this.#onRemoved()
  }

  /** Applied entries stay in memory for others that are a little behind. */
  #cutLog(): void {
    const { log, conf } = this.#core.view
    const kept = this.#isAlone && conf.learners.length === 0 ? 0 : KEPT_ENTRIES
    const held = Math.min(log.applied, this.#offers.heldIndex)
    let upTo = Math.min(held, log.applied - kept)
    let bytes = this.#heldBytes
    if (upTo - log.first < CUT_ENTRIES && bytes < KEPT_BYTES) return
    for (let index = log.first; index <= held; index += 1) {
      if (index > upTo && bytes <= KEPT_BYTES / 2) break
      const entry = log.at(index)
      if (entry !== undefined) bytes -= sizeOf(entry)
      upTo = Math.max(upTo, index)
    }
    this.#heldBytes = Math.max(0, bytes)
    this.#core.compact(upTo)
  }

  #follow(lead: MemberId): void {
    if (lead === this.#led) return
    const { logger, memberId, nowMs } = this.#options
    const node = `raft: raft.node: ${memberId}`
    const at = `at term ${this.term}`
    if (lead === NONE) logger.info(`${node} lost leader ${this.#led} ${at}`)
    else if (this.#led === NONE) logger.info(`${node} elected leader ${lead} ${at}`)
    else logger.info(`${node} changed leader from ${this.#led} to ${lead} ${at}`)
    this.#led = lead
    if (lead === NONE) this.#leadLostMs = nowMs()
    else {
      this.#leadSinceMs = nowMs()
      this.#proposals.retry()
    }
    for (const listener of this.#leadListeners) listener(lead)
  }

  /** Why a proposal of then may not have been answered (etcd 2.3 etcdserver/server.go). */
  #lateCause(sinceMs: number): string {
    const late = 'etcdserver: request timed out'
    if (this.#isAlone) return late
    const { tickMs, electionTicks } = this.#options
    const failedMs = Math.max(this.#leadLostMs, this.#leadSinceMs) - 2 * tickMs * electionTicks
    if (this.lead !== NONE && sinceMs > failedMs && sinceMs < this.#leadSinceMs)
      return `${late}, possibly due to previous leader failure`
    return this.#isCutOff(sinceMs) ? `${late}, possibly due to connection lost` : late
  }

  #isCutOff(sinceMs: number): boolean {
    const { memberId, network } = this.#options
    const isThere = (id: MemberId): boolean =>
      id === memberId || (network.connectedSince(id) ?? Infinity) <= sinceMs
    if (this.lead === NONE) return true
    if (!this.isLeader) return !isThere(this.lead)
    return !isMajority(this.#core.view.conf, isThere)
  }

  #takeRows(): Rows {
    const rows = this.#images.take(this.#applied, this.#images.isDue(this.#applied))
    if (rows.image === undefined) return rows
    // Whoever waits for it goes on when it is on its way to the disk.
    for (const resolve of this.#imageWaiters) resolve()
    this.#imageWaiters = []
    return rows
  }

  #persisted(seq: number, commitMs: number): void {
    this.#queue.persisted(seq)
    if (this.#isFull) this.#options.logger.info('storage: there is room again')
    this.#isFull = false
    this.#commits += 1
    this.#commitMsSum += commitMs
    for (const listener of this.#commitListeners) listener(commitMs)
    this.#pump()
  }

  /** Nothing of the batch is on the disk: it is tried again, and nobody is told anything meanwhile (raft.md 5.8). */
  #full(seq: number, message: string): void {
    this.#queue.full(seq)
    const { logger, file } = this.#options
    if (!this.#isFull)
      logger.error('storage: no room left on the disk, writes are refused', { file, message })
    this.#isFull = true
    // Somebody who can write should lead.
    this.#handOver()
    this.#pump()
  }

  /** Leader: lets the voter lead who has most. */
  #handOver(): void {
    const { conf, progress } = this.#core.view
    const matchOf = (id: MemberId): number => progress.get(id)?.match ?? 0
    const heirs = conf.voters.filter((id) => id !== this.#options.memberId)
    const [heir] = heirs.toSorted((left, right) => matchOf(right) - matchOf(left))
    if (this.isLeader && heir !== undefined) this.#core.transfer(heir)
  }

  /** Leader: a learner that has caught up, and stayed so for a while, begins to count (raft.md 7.3). */
  #promote(): void {
    const { conf, progress, log } = this.#core.view
    const { nowMs, tickMs, electionTicks, network } = this.#options
    for (const id of this.#levelSinceMs.keys())
      if (!this.isLeader || !conf.learners.includes(id)) this.#levelSinceMs.delete(id)
    if (!this.isLeader) return
    for (const id of conf.learners) {
      const match = progress.get(id)?.match ?? 0
      const isThere = network.connectedSince(id) !== undefined
      const isLevel = isThere && match > 0 && this.#bytesBehind(match) <= MESSAGE_BYTES_MAX
      const sinceMs = this.#levelSinceMs.get(id)
      if (!isLevel) this.#levelSinceMs.delete(id)
      else if (sinceMs === undefined) this.#levelSinceMs.set(id, nowMs())
      else if (nowMs() - sinceMs >= tickMs * electionTicks && log.commit >= match) {
        this.#levelSinceMs.delete(id)
        this.#add('conf', encodeChange({ type: 'promote', id }), () => undefined)
      }
    }
  }

  /** Of the log behind an index; Infinity when it does not reach there. */
  #bytesBehind(index: number): number {
    const { log } = this.#core.view
    if (index + 1 < log.first) return Infinity
    let bytes = 0
    for (let at = index + 1; at <= log.last && bytes <= MESSAGE_BYTES_MAX; at += 1) {
      const entry = log.at(at)
      bytes += entry === undefined ? 0 : sizeOf(entry)
    }
    return bytes
  }

  #keepHouse(): void {
    if (!this.#isClosed) this.#promote()
    this.#proposals.expire()
    this.#reads.expire()
    if (this.#isFull && !this.#isDead) this.#queue.retry()
  }

  /** The disk thread has failed: nothing more becomes durable, nobody may wait for it. */
  #die(error: DiskError): void {
    this.#isDead = true
    this.#isClosed = true
    this.#queue.abandon()
    this.#refuseAll()
    this.#settleIdle()
    this.#options.onFailure(error)
  }

  #refuseAll(): void {
    this.#proposals.refuseAll(STOPPED)
    this.#reads.refuseAll(STOPPED)
  }

  #settleIdle(): void {
    if (this.#queue.isIdle && this.#proposals.count === 0) this.#onIdle?.()
  }

  /** Lets somebody else lead. Resolves when that is so, or after an election timeout. */
  async stepDown(): Promise<void> {
    if (!this.isLeader || this.#isAlone) return
    const { tickMs, electionTicks } = this.#options
    let forget: () => void = () => undefined
    const isLed = new Promise<void>((resolve) => {
      forget = this.onLead((lead) => lead !== this.#options.memberId && resolve())
    })
    this.#handOver()
    this.#schedule()
    await endsWithin(isLed, tickMs * electionTicks)
    forget()
  }

  /**
   * Refuses new proposals, waits for those under way, brings the image on disk up to date and
   * closes the files. Takes at most about `closeMs`, whatever the disk does.
   */
  async close(closeMs = 10_000): Promise<void> {
    this.#isClosed = true
    const idle = new Promise<void>((resolve) => {
      this.#onIdle = resolve
    })
    this.#settleIdle()
    const isIdle = await endsWithin(idle, closeMs)
    for (const timer of this.#timers) clearInterval(timer)
    const isDead = this.#isDead
    this.#isDead = true
    if (!isIdle) this.#refuseAll()
    else if (!this.#isFull && !isDead && this.#applied > this.#images.index)
      this.#queue.writeLast(this.#images.take(this.#applied, true))
    await this.#options.disk.close()
  }
}
