import { clusterNow, noteClock } from './cluster-clock.ts'
import { createProgress, isMajority, type Progress } from './progress.ts'
import { retryReads } from './reads.ts'
import { appendOwn } from './replication.ts'
import type { State } from './state.ts'
import { NONE, type MemberId, type MessageOf } from './types.ts'

/** Follows somebody, or nobody yet, in `term`. */
export function becomeFollower(state: State, term: number, lead: MemberId): void {
  state.enterTerm(term)
  reset(state)
  state.role = 'follower'
  setLead(state, lead)
}

function setLead(state: State, lead: MemberId): void {
  if (state.lead === lead) return
  state.lead = lead
  // Whoever led before may never answer.
  retryReads(state)
}

function reset(state: State): void {
  state.electionElapsed = 0
  state.electionTimeout = state.randomTimeout()
  state.heartbeatElapsed = 0
  state.votes = new Map()
  state.progress = new Map()
  state.transferee = NONE
  state.leaderReads = []
  state.uncommittedBytes = 0
}

/** Asks whether an election could be won, and disturbs nobody by it (dissertation 9.6). */
export function preCampaign(state: State): void {
  reset(state)
  state.role = 'preCandidate'
  setLead(state, NONE)
  state.votes.set(state.id, true)
  if (isWon(state)) {
    campaign(state, false)
    return
  }
  const { last: lastIndex, lastTerm } = state.log
  for (const id of state.conf.voters)
    if (id !== state.id)
      state.send(id, { type: 'preVote', lastIndex, lastTerm, isTransfer: false }, state.term + 1)
}

/** Asks for votes. Its own counts when it comes back from the disk. */
export function campaign(state: State, isTransfer: boolean): void {
  state.enterTerm(state.term + 1)
  reset(state)
  state.role = 'candidate'
  setLead(state, NONE)
  state.clocks = new Map()
  state.voteFor(state.id)
  state.send(state.id, { type: 'voteResp', isGranted: true, wallMs: state.options.clock() })
  const { last: lastIndex, lastTerm } = state.log
  for (const id of state.conf.voters)
    if (id !== state.id) state.send(id, { type: 'vote', lastIndex, lastTerm, isTransfer })
}

/** The vote rule (raft.md 3.4). */
export function handleVoteRequest(state: State, message: MessageOf<'preVote' | 'vote'>): void {
  const isPre = message.type === 'preVote'
  const isFree = state.vote === message.from || (state.vote === NONE && state.lead === NONE)
  const mayVote = isPre ? message.term > state.term || isFree : isFree
  const isGranted = mayVote && isUpToDate(state, message) && !state.isDamaged
  if (isPre) {
    // A granted pre-vote is told in the term that the candidate asked for.
    const term = isGranted ? message.term : state.term
    const known = knownUpTo(state, message.lastIndex)
    const body = { type: 'preVoteResp', isGranted } as const
    state.send(message.from, known === undefined ? body : { ...body, known }, term)
    return
  }
  if (isGranted) {
    state.voteFor(message.from)
    state.electionElapsed = 0
  }
  state.send(message.from, { type: 'voteResp', isGranted, wallMs: state.options.clock() })
}

/**
 * What is committed is so for everybody who has it. Somebody who was removed, and knows that, may have
 * more than those who stay and do not: it cannot lead, and they cannot win against it, but they can hear
 * from it that it does not count any more.
 */
function knownUpTo(
  { log }: State,
  lastIndex: number,
): { readonly index: number; readonly term: number } | undefined {
  const index = Math.min(log.commit, lastIndex)
  const term = log.term(index)
  return term === undefined || index === 0 ? undefined : { index, term }
}

function isUpToDate(
  { log }: State,
  { lastIndex, lastTerm }: MessageOf<'preVote' | 'vote'>,
): boolean {
  if (lastTerm !== log.lastTerm) return lastTerm > log.lastTerm
  return lastIndex >= log.last
}

export function handleVoteAnswer(
  state: State,
  message: MessageOf<'preVoteResp' | 'voteResp'>,
): void {
  const isPre = message.type === 'preVoteResp'
  const known = isPre ? message.known : undefined
  if (known !== undefined && state.log.matches(known.index, known.term))
    state.log.commitTo(known.index)
  if (state.role !== (isPre ? 'preCandidate' : 'candidate')) return
  if (message.type === 'voteResp') noteClock(state, message.from, message.wallMs)
  if (!state.votes.has(message.from)) state.votes.set(message.from, message.isGranted)
  if (isWon(state)) {
    if (isPre) campaign(state, false)
    else becomeLeader(state)
  } else if (isMajority(state.conf, (id) => state.votes.get(id) === false))
    becomeFollower(state, state.term, NONE)
}

function isWon(state: State): boolean {
  return isMajority(state.conf, (id) => state.votes.get(id) === true)
}

function becomeLeader(state: State): void {
  reset(state)
  state.role = 'leader'
  setLead(state, state.id)
  for (const id of [state.id, ...state.others])
    state.progress.set(id, createProgress(state.log.last))
  const own = state.progress.get(state.id)
  if (own !== undefined) own.match = state.log.durable
  // While the clocks that came with the votes are fresh.
  state.stampMs = clusterNow(state)
  appendOwn(state, { kind: 'noop', id: '', data: new Uint8Array() })
  // Whatever configuration the log holds has to be in effect before the next change (L4).
  state.pendingConfIndex = state.log.last
}

function isCounting(progress: Progress | undefined): boolean {
  return progress?.isActive === true && !progress.isDamaged
}

/** A leader that a majority does not hear any more must not go on saying that it leads. */
export function checkQuorum(state: State): void {
  const { conf, progress, id } = state
  const isAlive = isMajority(conf, (voter) => voter === id || isCounting(progress.get(voter)))
  for (const other of progress.values()) other.isActive = false
  if (!isAlive) becomeFollower(state, state.term, NONE)
}
