import { clusterNow, noteClusterTime } from './cluster-clock.ts'
import {
  becomeFollower,
  campaign,
  checkQuorum,
  handleVoteAnswer,
  handleVoteRequest,
  preCampaign,
} from './election.ts'
import { invariant } from './invariant.ts'
import { createProgress, probe } from './progress.ts'
import { keepPromises } from './promises.ts'
import { dropUnsent, handleProp, handlePropResp, propose } from './proposals.ts'
import {
  confirmReads,
  finishRead,
  handleReadIdx,
  openRead,
  sendReads,
  settleReads,
  tickReads,
} from './reads.ts'
import { handleLost, handleWhole, isCurrent } from './recovery.ts'
import {
  advanceCommit,
  failSnapshot,
  handleApp,
  handleAppReject,
  handleAppResp,
  handleHb,
  handleHbResp,
  handleSnapResp,
  passSnapshot,
  replicate,
  sendHeartbeats,
  startTransfer,
  tickTransfer,
} from './replication.ts'
import { State, type CoreOptions } from './state.ts'
import {
  NONE,
  type Conf,
  type ConfChange,
  type HardState,
  type MemberId,
  type Message,
  type MessageOf,
  type Proposal,
  type Ready,
  type Refused,
  type Role,
} from './types.ts'

/** So many beats, at the most, until somebody stands for election whose leader has hung up. */
const SOON_TICKS = 4

/**
 * One member's part in Raft (raft.md 3): a pure state machine. It is told of messages, ticks and what
 * the disk has done, and says in `Ready` what is to be written, sent and applied. It reads no clock,
 * draws no random numbers of its own and never waits.
 *
 *   step, tick, propose, readIndex … -> ready() -> write, send `now`, apply `committed`
 *   batch durable -> persisted(seq) and send `after`; entries applied -> applied(index)
 */
export class Core {
  readonly #state: State
  #told: { lead: MemberId; role: Role } = { lead: NONE, role: 'follower' }
  #toldHard: HardState

  constructor(options: CoreOptions) {
    this.#state = new State(options)
    // Found at the start, damage has to be on the disk before anything is added to the log.
    this.#toldHard = { ...options.start.hard, isDamaged: false }
  }

  get id(): MemberId {
    return this.#state.id
  }

  /** What is happening, for status pages, traces and tests. Not to be changed. */
  get view(): Readonly<State> {
    return this.#state
  }

  /** One beat of the clock. */
  tick(): void {
    const state = this.#state
    state.electionElapsed += 1
    tickReads(state)
    if (state.role === 'leader') this.#tickLeader()
    else if (state.electionElapsed >= state.electionTimeout) {
      if (state.isPromotable) preCampaign(state)
      // A leader that is not heard any more must not protect itself from others by this member.
      else becomeFollower(state, state.term, NONE)
    }
  }

  #tickLeader(): void {
    const state = this.#state
    const { electionTicks, heartbeatTicks } = state.options
    tickTransfer(state)
    if (state.electionElapsed >= electionTicks) {
      state.electionElapsed = 0
      checkQuorum(state)
      if (state.role !== 'leader') return
    }
    state.heartbeatElapsed += 1
    if (state.heartbeatElapsed >= heartbeatTicks) sendHeartbeats(state)
  }

  /** Takes a message from another member, or from itself out of `after`. */
  step(message: Message): void {
    const state = this.#state
    if (message.to !== state.id || !isCurrent(state, message)) return
    if (message.term > state.term) {
      if (!this.#enterLater(message)) return
    } else if (message.term < state.term) {
      this.#answerEarlier(message)
      return
    }
    this.#dispatch(message)
  }

  /** A message of a later term: whether it goes on to be dispatched (raft.md 3.3). */
  #enterLater(message: Message): boolean {
    const state = this.#state
    if (message.type === 'vote' || message.type === 'preVote') {
      const isLed = state.lead !== NONE && state.electionElapsed < state.options.electionTicks
      if (isLed && !message.isTransfer) return false
      if (message.type === 'vote') becomeFollower(state, message.term, NONE)
      return true
    }
    if (message.type === 'preVoteResp' && message.isGranted)
      return state.role === 'preCandidate' && message.term === state.term + 1
    const isLeader = message.type === 'app' || message.type === 'hb' || message.type === 'snapOffer'
    becomeFollower(state, message.term, isLeader ? message.from : NONE)
    return message.type !== 'preVoteResp'
  }

  #answerEarlier(message: Message): void {
    const state = this.#state
    const { from } = message
    if (message.type === 'app' || message.type === 'hb' || message.type === 'snapOffer')
      // A leader that was replaced, or that cannot reach a member of a later term, has to hear of it.
      state.send(from, { type: 'appResp', index: 0, isDamaged: state.isDamaged })
    else if (message.type === 'preVote') state.send(from, { type: 'preVoteResp', isGranted: false })
  }

  #dispatch(message: Message): void {
    const state = this.#state
    switch (message.type) {
      case 'preVote':
      case 'vote':
        handleVoteRequest(state, message)
        break
      case 'preVoteResp':
      case 'voteResp':
        handleVoteAnswer(state, message)
        break
      case 'app':
        this.#heed(message)
        handleApp(state, message)
        break
      case 'hb':
        this.#heed(message)
        handleHb(state, message)
        break
      case 'snapOffer':
        this.#heed(message)
        this.#takeSnapshot(message)
        break
      case 'appResp':
        handleAppResp(state, message)
        break
      case 'appReject':
        handleAppReject(state, message)
        break
      case 'hbResp':
        handleHbResp(state, message)
        break
      case 'snapResp':
        handleSnapResp(state, message)
        break
      case 'readIdx':
        handleReadIdx(state, message)
        break
      case 'readIdxResp':
        finishRead(state, message.batch, message.index)
        break
      case 'prop':
        handleProp(state, message)
        break
      case 'propResp':
        handlePropResp(state, message)
        break
      case 'lost':
        handleLost(state, message)
        break
      case 'whole':
        handleWhole(state, message)
        break
      case 'timeoutNow':
        if (state.role === 'follower' && state.isPromotable) campaign(state, true)
        break
    }
  }

  /** The leader of this term speaks. */
  #heed(message: Message): void {
    const state = this.#state
    invariant(
      state.role !== 'leader',
      'oneLeader',
      () => `${message.from} leads in term ${message.term} too`,
    )
    if (state.role === 'follower' && state.lead === message.from) state.electionElapsed = 0
    else becomeFollower(state, state.term, message.from)
  }

  /** A snapshot has arrived and was checked. It is installed unless the log goes on anyway. */
  #takeSnapshot(message: MessageOf<'snapOffer'>): void {
    const state = this.#state
    const { meta, from } = message
    const { log } = state
    if (meta.index <= log.commit) {
      state.send(from, { type: 'snapResp', index: log.commit, isOk: true })
      return
    }
    if (log.matches(meta.index, meta.term)) log.commitTo(meta.index)
    else {
      const seq = state.seq + 1
      log.restore(meta, seq)
      state.conf = meta.conf
      state.install = meta
      state.installBatch = seq
      // What they came to may be in the snapshot: nobody can say.
      state.promised.clear()
      state.forwarded.clear()
    }
    state.send(from, { type: 'snapResp', index: meta.index, isOk: true })
  }

  /** Puts a proposal into the log, here or at the leader. What becomes of it shows in `committed` and `lost`. */
  propose(proposal: Proposal): 'taken' | Refused {
    return propose(this.#state, proposal)
  }

  /** A proposal that was given to the leader has certainly not left this member. */
  unsent(id: string): void {
    dropUnsent(this.#state, id)
  }

  /** Asks for a linearizable read; `reads` names it when it may be served. */
  readIndex(id: string): 'taken' | Refused {
    if (this.#state.lead === NONE) return 'noLeader'
    openRead(this.#state, id)
    return 'taken'
  }

  /** Leader: lets another voter lead as soon as it has everything. */
  transfer(to: MemberId): void {
    startTransfer(this.#state, to)
  }

  /**
   * The way from a member has ended. If it leads, it is not protected any more, and somebody may stand
   * soon: where a majority still hears it, their pre-votes say so.
   */
  silent(id: MemberId): void {
    const state = this.#state
    const { electionTicks, random } = state.options
    if (state.role !== 'follower' || state.lead !== id) return
    state.electionElapsed = Math.max(state.electionElapsed, electionTicks)
    const soon = electionTicks + 1 + Math.floor(random() * SOON_TICKS)
    state.electionTimeout = Math.max(
      state.electionElapsed + 1,
      Math.min(state.electionTimeout, soon),
    )
  }

  /** What was sent to a member may be lost. */
  unreachable(id: MemberId): void {
    const progress = this.#state.progress.get(id)
    if (progress?.state === 'replicate') probe(progress, progress.match + 1)
  }

  /** Leader: a snapshot did not reach a member. */
  snapshotFailed(id: MemberId): void {
    const progress = this.#state.progress.get(id)
    if (progress?.state === 'snapshot') failSnapshot(progress)
  }

  /**
   * Leader: a member has got a snapshot of `index`. Whether it took it shows when it is asked: its own
   * word may be lost, and who waits for that alone waits for ever.
   */
  snapshotSent(id: MemberId, index: number): void {
    const progress = this.#state.progress.get(id)
    if (progress?.state === 'snapshot') passSnapshot(progress, index)
  }

  /** A committed change of the configuration takes effect. Returns the configuration. */
  applyConf(change: ConfChange): Conf {
    const state = this.#state
    if (change.type === 'none') return state.conf
    const without = (ids: readonly MemberId[]): MemberId[] => ids.filter((id) => id !== change.id)
    const voters = without(state.conf.voters)
    const learners = without(state.conf.learners)
    if (change.type === 'addVoter') voters.push(change.id)
    if (change.type === 'addLearner') learners.push(change.id)
    state.conf = { voters: voters.toSorted(), learners: learners.toSorted() }
    if (state.role === 'leader') this.#followConf(change)
    return state.conf
  }

  #followConf(change: Exclude<ConfChange, { type: 'none' }>): void {
    const state = this.#state
    if (change.type !== 'remove') {
      if (!state.progress.has(change.id))
        state.progress.set(change.id, createProgress(state.log.last))
      return
    }
    // Those who stay hear of the commit, and the removed one hears of its removal.
    sendHeartbeats(state)
    state.progress.delete(change.id)
    if (state.transferee === change.id) state.transferee = NONE
    if (change.id === state.id) {
      this.#leave()
      return
    }
    advanceCommit(state)
    settleReads(state)
  }

  /** The leader was removed: whoever has most should not have to wait for a timeout. */
  #leave(): void {
    const state = this.#state
    const matchOf = (id: MemberId): number => state.progress.get(id)?.match ?? 0
    const heir = state.conf.voters.toSorted((left, right) => matchOf(right) - matchOf(left))[0]
    if (heir !== undefined && matchOf(heir) === state.log.last)
      state.send(heir, { type: 'timeoutNow' })
    becomeFollower(state, state.term, NONE)
  }

  /** The store has let everything expire that was due then; milliseconds since 1970. */
  syncedTo(ms: number): void {
    noteClusterTime(this.#state, ms)
  }

  /** Cluster time, milliseconds since 1970: what is due by it may expire, if this member leads. */
  clusterNow(): number {
    return clusterNow(this.#state)
  }

  /** Entries up to `index` are applied. */
  applied(index: number): void {
    this.#state.log.appliedTo(index)
  }

  /** Entries up to `index`, all applied, need not be kept in memory. */
  compact(index: number): void {
    this.#state.log.compact(index)
  }

  /** Batch `seq`, and with it all before, is on the disk. */
  persisted(seq: number): void {
    const state = this.#state
    invariant(
      seq > state.persistedSeq && seq <= state.seq,
      'persisted',
      () => `batch ${seq} after ${state.persistedSeq}, the last one is ${state.seq}`,
    )
    state.persistedSeq = seq
    state.log.persisted(seq)
    if (state.installBatch <= seq) state.installBatch = 0
    const own = state.progress.get(state.id)
    if (own === undefined) return
    own.match = Math.max(own.match, state.log.durable)
    advanceCommit(state)
  }

  /** There is something to do. */
  hasReady(): boolean {
    const state = this.#state
    this.#prepare()
    const { outbox, log } = state
    return (
      outbox.now.length > 0 ||
      outbox.after.length > 0 ||
      state.reads.length > 0 ||
      state.lost.length > 0 ||
      state.install !== undefined ||
      log.hasUnwritten ||
      log.handed < log.appliable ||
      this.#isHardNews() ||
      this.#isSoftNews()
    )
  }

  /** Puts together what has come since the last time: entries of many proposals leave in one message. */
  #prepare(): void {
    const state = this.#state
    sendReads(state)
    if (state.role !== 'leader') return
    if (confirmReads(state)) sendHeartbeats(state)
    replicate(state)
  }

  #isHardNews(): boolean {
    return this.#isSyncNews() || this.#state.knownCommit !== this.#toldHard.commit
  }

  /** What has to be on the disk before messages may speak of it. */
  #isSyncNews(): boolean {
    const { term, vote, isDamaged } = this.#state
    const told = this.#toldHard
    return term !== told.term || vote !== told.vote || isDamaged !== told.isDamaged
  }

  #isSoftNews(): boolean {
    return this.#told.lead !== this.#state.lead || this.#told.role !== this.#state.role
  }

  /** What is to be done now. To be called only when there is something, and followed by doing it. */
  ready(): Ready {
    const state = this.#state
    this.#prepare()
    state.seq += 1
    state.stampMs = undefined
    const { seq, log, install, reads } = state
    const soft = this.#isSoftNews() ? { lead: state.lead, role: state.role } : undefined
    const hard = this.#isHardNews() ? state.hard : undefined
    const mustSync = this.#isSyncNews()
    const entries = log.takeUnwritten(seq)
    const committed = log.takeCommitted(state.options.maxApplyBytes)
    keepPromises(state, committed)
    const { now, after } = state.outbox
    const { lost } = state
    this.#told = { lead: state.lead, role: state.role }
    this.#toldHard = state.hard
    state.outbox = { now: [], after: [] }
    state.reads = []
    state.lost = []
    state.install = undefined
    const isDurable = mustSync || entries.length > 0 || install !== undefined
    return { seq, isDurable, soft, hard, entries, install, now, after, committed, reads, lost }
  }
}
