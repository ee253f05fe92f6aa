import { endsWithin } from '@flotilla/daemon'
import type { Machine } from '../machine.ts'
import { encodeChange, type MemberChange } from '../membership/change.ts'
import { NONE, type MemberId, type Message, type Proposal, type Ready } from '../raft/types.ts'
import type { DiskError } from '../storage/disk.ts'
import { CommandWriter, type Command } from '../store/command.ts'
import { refusal, type Refusal } from '../store/errors.ts'
import type { StoreEvent } from '../store/event.ts'
import type { Snapshot } from '../transport/snapshot-receiver.ts'
import { DivergenceCheck, type Divergence } from './divergence.ts'
import { Driver } from './driver.ts'
import { Gathering } from './gathering.ts'
import { Leadership } from './leadership.ts'
import { Learners } from './learners.ts'
import type { RaftStatus, ReplicaOptions, ReplicaStatus } from './options.ts'
import type { ChangeProblem } from '../membership/roster.ts'
import { requestPrefix } from './request-id.ts'
import { Proposals, type Waiter } from './proposals.ts'
import { QuorumReads, type Reader } from './quorum-reads.ts'
import { UNCOMMITTED_BYTES_MAX } from './start.ts'

const HOUSEKEEPING_MS = 500
/** So long proposals wait for others at the most: where members are far apart, a commit takes longer. */
const GATHER_MS = 10
const STALLED_MS_MAX = 10_000

const NO_ROOM = 'etcdserver: no space left on the disk'
const STOPPED = 'etcdserver: server stopped'

/**
 * One member, as its clients need it: takes proposals and reads, and answers them when the cluster
 * has decided. A proposal is answered only when its entry is durable and applied here.
 */
export class Replica {
  readonly #options: ReplicaOptions
  readonly #driver: Driver
  readonly #requests: Proposals<StoreEvent | undefined>
  readonly #changes: Proposals<ChangeProblem | undefined>
  readonly #reads: QuorumReads
  readonly #leadership: Leadership
  readonly #learners: Learners
  readonly #check: DivergenceCheck
  readonly #writer = new CommandWriter()
  readonly #gathering = new Gathering()
  /** Set while proposals gather. */
  #gatherTimer: NodeJS.Timeout | undefined
  #isClosed = false
  #isDead = false
  #isDiverged: boolean
  #clockOffsetMs = 0
  #commits = 0
  #commitMsSum = 0
  #onIdle: (() => void) | undefined
  #onRemoved: () => void = () => undefined
  #onDiverged: (divergence: Divergence) => void = () => undefined
  readonly #commitListeners: ((commitMs: number) => void)[] = []
  readonly #proposalListeners: ((ms: number) => void)[] = []
  readonly #memberListeners: (() => void)[] = []
  readonly #timers: NodeJS.Timeout[] = []

  constructor(options: ReplicaOptions) {
    this.#options = options
    const { disk, memberId, requestTimeoutMs, nowMs } = options
    const { incarnation } = disk.recovered.loaded
    this.#driver = new Driver(options, {
      pumping: () => {
        this.#gather()
        this.#reads.ask()
      },
      ready: (ready) => this.#heed(ready),
      applied: (id, outcome) => this.#requests.applied(id, outcome),
      checked: (index, entry) => this.#check.applied(index, entry),
      changed: (id, { problem }) => this.#changes.applied(id, problem),
      installed: () => this.#check.installed(),
      done: ({ reads }) => {
        this.#reads.confirmed(reads)
        this.#reads.serve()
      },
      membersChanged: () => this.#followMembers(),
      pumped: () => this.#settleIdle(),
    })
    const { core } = this.#driver
    this.#leadership = new Leadership(options, core)
    this.#learners = new Learners(options, core)
    const lateCause = (sinceMs: number): string => this.#leadership.lateCause(sinceMs)
    const shared = {
      requestTimeoutMs,
      bytesMax: UNCOMMITTED_BYTES_MAX,
      nowMs,
      propose: (proposal: Proposal) => core.propose(proposal),
      lateCause,
      answered: (ms: number) => {
        for (const listener of this.#proposalListeners) listener(ms)
      },
    }
    const prefix = requestPrefix(memberId, incarnation)
    this.#requests = new Proposals({
      ...shared,
      kind: 'request',
      prefix,
      isHeld: () => this.#isHeld(),
    })
    this.#changes = new Proposals({ ...shared, kind: 'conf', prefix: `${prefix}/` })
    this.#reads = new QuorumReads({
      requestTimeoutMs,
      nowMs,
      readIndex: (id) => core.readIndex(id),
      applied: () => this.appliedIndex,
      lateCause,
    })
    this.#check = this.#openCheck()
    this.#isDiverged = options.hasDiverged
    if (this.#isDiverged) this.#driver.distrust()
    disk.listen({
      persisted: (seq, commitMs) => this.#persisted(seq, commitMs),
      full: (seq, message) => this.#driver.full(seq, message),
      failed: (error) => this.#die(error),
    })
  }

  #openCheck(): DivergenceCheck {
    const { memberId, snapshotCount, disk, elapsedMs, logger } = this.#options
    return new DivergenceCheck({
      memberId,
      snapshotCount,
      disk,
      elapsedMs,
      applied: this.appliedIndex,
      conf: () => this.#driver.core.view.conf,
      freeze: async () => await this.#driver.freeze(),
      propose: (entry, done) => this.propose(entry, done),
      isDiverged: () => this.#isDiverged,
      found: (divergence) => this.#diverge(divergence),
      undecided: (index, told) =>
        logger.error('etcdserver: members hold different things, too few to tell which is right', {
          index,
          told: [...told].map(([id, hash]) => `${id} ${hash}`).join(),
        }),
    })
  }

  /** Begins to take part. A member that is alone stands for election at once. */
  start(): void {
    const { tickMs, electionTicks } = this.#options
    const { core } = this.#driver
    this.#driver.pump()
    const ticks = this.isAlone ? 2 * electionTicks : electionTicks - 1
    for (let tick = 0; tick < ticks && core.view.role === 'follower'; tick += 1) core.tick()
    this.#driver.pump()
    // What has come in meanwhile is read first: a pause must not look like a silent leader.
    const tick = (): void => {
      setImmediate(() => this.#tick())
    }
    this.#timers.push(setInterval(tick, tickMs))
    this.#timers.push(setInterval(() => this.#keepHouse(), HOUSEKEEPING_MS))
  }

  #tick(): void {
    if (this.#isDead) return
    const { core } = this.#driver
    core.tick()
    const clusterMs = core.clusterNow()
    this.#clockOffsetMs = clusterMs === 0 ? 0 : clusterMs - this.#options.nowMs()
    this.#retry()
    this.#driver.pump()
  }

  get machine(): Machine {
    return this.#driver.machine
  }

  get term(): number {
    return this.#driver.core.view.term
  }

  /** Index of the last log entry that the store holds: X-Raft-Index. */
  get appliedIndex(): number {
    return this.#driver.applied
  }

  /** Index of the last entry in the log. */
  get lastIndex(): number {
    return this.#driver.core.view.log.last
  }

  /** Proposals that are not answered. */
  get pending(): number {
    return this.#requests.count + this.#changes.count
  }

  get isLeader(): boolean {
    return this.#driver.core.view.role === 'leader'
  }

  /** Who leads; `0`: nobody, as far as is known here. */
  get lead(): MemberId {
    return this.#driver.core.view.lead
  }

  /** When it began to lead, on the clock of `nowMs`. */
  get leadSinceMs(): number {
    return this.#leadership.sinceMs
  }

  /** It has lost what it had acknowledged, and does not count until it has it again (raft.md 5.6). */
  get isDamaged(): boolean {
    return this.#driver.core.view.isDamaged
  }

  /** What it holds is not what the others hold: nobody is to be served from it (raft.md 5.9). */
  get isDiverged(): boolean {
    return this.#isDiverged
  }

  /** At most so old is what this member has applied: Infinity without a leader. */
  get stalenessMs(): number {
    return this.#driver.stalenessMs
  }

  /** How far the cluster's time is ahead of this member's clock, as of the last beat. */
  get clockOffsetMs(): number {
    return this.#clockOffsetMs
  }

  /** Leader: the time by which nodes expire, milliseconds since 1970. */
  get clusterNow(): number {
    return this.#driver.core.clusterNow()
  }

  /** What this member has applied is all that was ever acknowledged: nobody else has a say. */
  get isAlone(): boolean {
    return this.#driver.isAlone
  }

  get raft(): RaftStatus {
    const { role, lead, term, vote, log } = this.#driver.core.view
    return { role, lead, term, vote, commit: log.commit, applied: log.applied }
  }

  get status(): ReplicaStatus {
    return {
      commits: this.#commits,
      commitMsSum: this.#commitMsSum,
      isFull: this.#driver.isFull,
      failed: this.#requests.failed + this.#changes.failed,
      stalledMs: this.#driver.stalledMs,
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
    return this.#leadership.listen(listener)
  }

  /** Hears that a member came, went or got other URLs. */
  onMembers(listener: () => void): void {
    this.#memberListeners.push(listener)
  }

  /** Hears that this member was removed: it has nothing to do here any more. */
  onRemoved(listener: () => void): void {
    this.#onRemoved = listener
  }

  /** Hears that what is stored here is wrong. */
  onDiverged(listener: (divergence: Divergence) => void): void {
    this.#onDiverged = listener
  }

  propose(entry: Command, waiter: Waiter<StoreEvent | undefined>): void {
    if (!this.#mayPropose(this.#requests, waiter)) return
    this.#writer.append(entry)
    this.#requests.add(this.#writer.takeOne(), waiter)
    this.#driver.schedule()
  }

  /** Asked for a proposal: whether it has to wait for the batch under way. */
  #isHeld(): boolean {
    if (!this.isLeader || this.isAlone) return false
    if (!this.#gathering.holds(this.#driver.core.view.log.commit)) return false
    this.#gatherTimer ??= setTimeout(() => {
      this.#gathering.giveUp()
      this.#driver.pump()
    }, this.#options.gatherMs ?? GATHER_MS)
    return true
  }

  /** Proposes what has gathered when the batch before it is committed, or cannot be by this member. */
  #gather(): void {
    const { log } = this.#driver.core.view
    if (this.#gatherTimer !== undefined) {
      if (this.isLeader && this.#gathering.holds(log.commit)) return
      clearTimeout(this.#gatherTimer)
      this.#gatherTimer = undefined
      this.#requests.retry()
    }
    this.#gathering.leaves(log.last, this.#requests.count)
  }

  /** `propose` for code that is not on the hot path. */
  async proposeAsync(entry: Command): Promise<StoreEvent | Refusal | undefined> {
    return await new Promise((resolve) => this.propose(entry, resolve))
  }

  /** Undefined: done. A text says why the change is none. */
  async change(change: MemberChange): Promise<ChangeProblem | Refusal | undefined> {
    return await new Promise((resolve) => {
      if (!this.#mayPropose(this.#changes, resolve)) return
      this.#changes.add(encodeChange(change), resolve)
      this.#driver.schedule()
    })
  }

  #mayPropose<T>(proposals: Proposals<T>, waiter: Waiter<T>): boolean {
    if (this.#isClosed) proposals.refuse(waiter, STOPPED)
    // Whoever else leads may have room.
    else if (this.#driver.isFull && (this.isLeader || this.isAlone))
      proposals.refuse(waiter, NO_ROOM)
    else return true
    return false
  }

  /** Calls back when all that was acknowledged before now is applied here. */
  readIndex(reader: Reader): void {
    if (this.#isClosed) {
      reader(refusal(300, STOPPED, 0))
      return
    }
    this.#reads.add(reader)
    this.#driver.schedule()
  }

  /** Messages of other members, in order. */
  receive(messages: readonly Message[]): void {
    this.#driver.receive(messages)
  }

  /** A message has not left: what it asked for may be asked for again. */
  unsent(message: Message): void {
    this.#driver.unsent(message)
  }

  /** A member does not speak any more. */
  silent(id: MemberId): void {
    this.#driver.core.silent(id)
  }

  unreachable(id: MemberId): void {
    this.#driver.unreachable(id)
  }

  /** A snapshot of the leader has arrived. */
  install(snapshot: Snapshot): void {
    this.#driver.install(snapshot)
  }

  #heed({ lost, soft }: Ready): void {
    if (lost.length > 0) {
      this.#requests.lost(lost)
      this.#changes.lost(lost)
    }
    if (soft === undefined) return
    this.#leadership.follow(soft.lead)
    if (soft.lead !== NONE) this.#retry()
  }

  #diverge(divergence: Divergence): void {
    if (this.#isDiverged) return
    this.#isDiverged = true
    this.#driver.distrust()
    this.#onDiverged(divergence)
  }

  #retry(): void {
    this.#requests.retry()
    this.#changes.retry()
  }

  #followMembers(): void {
    for (const listener of this.#memberListeners) listener()
    if (this.machine.roster.isRemoved(this.#options.memberId)) this.#onRemoved()
  }

  #persisted(seq: number, commitMs: number): void {
    this.#commits += 1
    this.#commitMsSum += commitMs
    for (const listener of this.#commitListeners) listener(commitMs)
    this.#driver.persisted(seq)
  }

  #keepHouse(): void {
    this.#requests.expire()
    this.#changes.expire()
    this.#reads.expire()
    this.#driver.tryForRoom()
    this.#driver.settle()
    if (this.#isClosed) return
    // Whoever leads with a disk that does not answer holds up everybody (raft.md 5.4).
    if (this.#driver.stalledMs > STALLED_MS_MAX) this.#driver.handOver()
    if (this.#isDiverged) this.#driver.handOver()
    if (this.isLeader) this.#check.proposeWhenDue(this.appliedIndex)
    for (const id of this.#learners.takeReady()) void this.change({ type: 'promote', id })
  }

  /** The disk thread has failed: nothing more becomes durable, nobody may wait for it. */
  #die(error: DiskError): void {
    this.#isDead = true
    this.#isClosed = true
    this.#driver.abandon()
    this.#refuseAll()
    this.#settleIdle()
    this.#options.onFailure(error)
  }

  #refuseAll(): void {
    this.#requests.refuseAll(STOPPED)
    this.#changes.refuseAll(STOPPED)
    this.#reads.refuseAll(STOPPED)
  }

  #settleIdle(): void {
    if (this.#driver.isIdle && this.pending === 0) this.#onIdle?.()
  }

  /** Lets somebody else lead. Resolves when that is so, at once when nobody is there, or after an election timeout. */
  async stepDown(): Promise<void> {
    if (!this.isLeader || this.isAlone) return
    const { tickMs, electionTicks, memberId } = this.#options
    let forget: () => void = () => undefined
    const isLed = new Promise<void>((resolve) => {
      forget = this.onLead((lead) => lead !== NONE && lead !== memberId && resolve())
    })
    this.#driver.handOver()
    this.#driver.schedule()
    const hasHeir = this.#driver.core.view.transferee !== NONE
    if (hasHeir) await endsWithin(isLed, tickMs * electionTicks)
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
    clearTimeout(this.#gatherTimer)
    this.#driver.stop()
    if (!isIdle) this.#refuseAll()
    else if (!this.#isDead) this.#driver.writeLast()
    this.#isDead = true
    await this.#options.disk.close()
  }
}
