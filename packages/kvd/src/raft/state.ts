import { invariant } from './invariant.ts'
import type { Chain, LogStart } from './log.ts'
import { RaftLog } from './log.ts'
import type { Progress, Window } from './progress.ts'
import type {
  Conf,
  Entry,
  HardState,
  LostProposal,
  MemberId,
  Message,
  MessageBody,
  MessageType,
  Proposal,
  ReadState,
  Role,
  SnapshotMeta,
} from './types.ts'
import { NONE } from './types.ts'

export interface CoreOptions {
  readonly id: MemberId
  /** Ticks without a leader after which a member may campaign; at most twice as many. */
  readonly electionTicks: number
  readonly heartbeatTicks: number
  /** In [0, 1). */
  readonly random: () => number
  /** The wall clock, milliseconds since 1970. It may jump. */
  readonly clock: () => number
  /** Milliseconds that pass evenly, whatever happens to the wall clock. */
  readonly elapsed: () => number
  /** Leader: gives a request the time of its place in the log, milliseconds since 1970. */
  readonly stamp: (proposal: Proposal, clusterMs: number) => Proposal
  readonly chain: Chain
  /** Whom an entry that changes the configuration removes. */
  readonly removes: (entry: Entry) => MemberId | undefined
  /** Greater with each life of the process, from 1 on: an earlier life's messages count for nothing. */
  readonly incarnation: number
  readonly maxMessageBytes: number
  readonly window: Window
  readonly maxUncommittedBytes: number
  readonly maxApplyBytes: number
  readonly start: CoreStart
}

/** What the disk has kept. */
export interface CoreStart {
  readonly hard: HardState
  readonly conf: Conf
  readonly log: LogStart
  /** The store stands here. */
  readonly applied: number
}

/** Messages whose truth depends on the disk: they leave when it has what came before them. */
const DURABLE_FIRST: ReadonlySet<MessageType> = new Set([
  'vote',
  'preVoteResp',
  'voteResp',
  'appResp',
  'appReject',
  'snapResp',
])

/** Reads of this member, collected, or on their way to the leader. */
export interface ReadBatch {
  readonly number: number
  readonly ids: readonly string[]
  ticks: number
}

/** A batch of some member's reads, as the leader keeps it. */
export interface LeaderRead {
  readonly from: MemberId
  readonly batch: number
  /** What was committed when it came. */
  readonly index: number
  /** Heartbeats that carry at least this number confirm it; 0 until one was sent. */
  round: number
}

/** A place in a log that a proposal has, or had. */
export interface Promised {
  readonly id: string
  readonly term: number
}

/** The whole state of one member. The rules are in the files beside this one. */
export class State {
  readonly options: CoreOptions
  readonly id: MemberId
  readonly log: RaftLog
  role: Role = 'follower'
  lead: MemberId = NONE
  conf: Conf
  isDamaged: boolean
  /** What was known to be committed at the start. A damaged log may lack some of it, or hold something else there. */
  readonly claimed: number
  /** The latest life of each other member that was heard of. */
  readonly incarnations = new Map<MemberId, number>()

  electionElapsed = 0
  electionTimeout: number
  heartbeatElapsed = 0
  votes = new Map<MemberId, boolean>()

  /** The latest cluster time that is known, and what `elapsed` was then. */
  known = { ms: 0, at: 0 }
  /** Leader: the cluster time that proposals get until the next batch leaves; undefined before the first. */
  stampMs: number | undefined
  /** Candidate, leader: how far each other clock is ahead of `elapsed` here. */
  clocks = new Map<MemberId, number>()

  /** Leader: every other member, and itself. */
  progress = new Map<MemberId, Progress>()
  /** Leader: no change of the configuration may be proposed before this is applied. */
  pendingConfIndex = 0
  uncommittedBytes = 0
  transferee: MemberId = NONE
  transferElapsed = 0
  readRound = 0
  leaderReads: LeaderRead[] = []

  openReads: string[] = []
  sentReads: ReadBatch | undefined
  readBatch: number

  /** Proposals that were sent to the leader and not answered yet, and the term of that. */
  readonly forwarded = new Map<string, number>()
  readonly promised = new Map<number, Promised[]>()
  /** Of the last entry that was handed out to be applied. */
  handedTerm = 0

  /** Goes out with the next batch. */
  outbox: { now: Message[]; after: Message[] } = { now: [], after: [] }
  reads: ReadState[] = []
  lost: LostProposal[] = []
  install: SnapshotMeta | undefined
  /** The batch that installs a snapshot, until it is durable. */
  installBatch = 0
  /** Number of the last batch. */
  seq = 0
  persistedSeq = 0

  #term: number
  #vote: MemberId
  /** The batch that makes the present term durable. */
  #termBatch = 0

  constructor(options: CoreOptions) {
    this.options = options
    this.id = options.id
    const { hard, conf, log, applied } = options.start
    this.conf = conf
    this.#term = hard.term
    this.#vote = hard.vote
    this.isDamaged = hard.isDamaged
    this.claimed = Math.max(hard.commit, applied)
    // Of a log that has lost its end, entries may be there again that others have replaced.
    const commit = hard.isDamaged ? applied : this.claimed
    this.log = new RaftLog(log, { commit, applied }, options.chain)
    this.readBatch = options.incarnation * 2 ** 32
    this.electionTimeout = this.randomTimeout()
  }

  get term(): number {
    return this.#term
  }

  get vote(): MemberId {
    return this.#vote
  }

  get hard(): HardState {
    const { isDamaged, knownCommit: commit } = this
    return { term: this.#term, vote: this.#vote, commit, isDamaged }
  }

  /** Committed for sure, whether it is here or lost. */
  get knownCommit(): number {
    return this.isDamaged ? Math.max(this.log.commit, this.claimed) : this.log.commit
  }

  /** A later term begins, without a vote. */
  enterTerm(term: number): void {
    invariant(term >= this.#term, 'term', () => `${term} after ${this.#term}`)
    if (term === this.#term) return
    this.#term = term
    this.#vote = NONE
    this.#termBatch = this.seq + 1
  }

  voteFor(id: MemberId): void {
    invariant(
      this.#vote === NONE || this.#vote === id,
      'vote',
      () => `for ${id} after ${this.#vote} in term ${this.#term}`,
    )
    this.#vote = id
  }

  randomTimeout(): number {
    const { electionTicks, random } = this.options
    return electionTicks + Math.floor(random() * electionTicks)
  }

  /** A message of the present term, or of `term`. */
  send(to: MemberId, body: MessageBody, term = this.#term): void {
    const { incarnation } = this.options
    const message: Message = { from: this.id, to, term, incarnation, ...body }
    const waits = DURABLE_FIRST.has(body.type) || this.#termBatch > this.persistedSeq
    if (waits) this.outbox.after.push(message)
    else this.outbox.now.push(message)
  }

  isVoter(id: MemberId = this.id): boolean {
    return this.conf.voters.includes(id)
  }

  get others(): readonly MemberId[] {
    return [...this.conf.voters, ...this.conf.learners].filter((id) => id !== this.id)
  }

  /** It may lead: it counts, it is whole, and it knows who counts. */
  get isPromotable(): boolean {
    return this.isVoter() && !this.isDamaged && this.installBatch === 0 && !this.hasUnappliedConf
  }

  /**
   * Its own removal is in its log and not in effect yet. Nothing may come behind it: who stays might
   * need this member's vote, and would not get it with a shorter log.
   */
  get isLeaving(): boolean {
    const { log, options } = this
    if (this.pendingConfIndex <= log.applied) return false
    for (let index = log.applied + 1; index <= log.last; index += 1) {
      const entry = log.at(index)
      if (entry?.kind === 'conf' && options.removes(entry) === this.id) return true
    }
    return false
  }

  /** A committed change of the configuration is not in effect yet. */
  get hasUnappliedConf(): boolean {
    for (let index = this.log.applied + 1; index <= this.log.commit; index += 1)
      if (this.log.at(index)?.kind === 'conf') return true
    return false
  }
}
