import { clusterNow, noteClock, noteClusterTime } from './cluster-clock.ts'
import { invariant } from './invariant.ts'
import { sizeOf } from './log.ts'
import { freeUpTo, isFull, probe, quorumValue, type Progress } from './progress.ts'
import { notePlace } from './promises.ts'
import { settleReads } from './reads.ts'
import { noteHealth, noteMissing, settleRecoveries } from './recovery.ts'
import type { State } from './state.ts'
import { NONE, type Entry, type MemberId, type MessageOf, type Proposal } from './types.ts'

/** Leader: puts something into the log. It is sent, and written, with the next batch. */
export function appendOwn(state: State, proposal: Proposal): Entry {
  const entry = state.log.append(proposal, state.term)
  state.uncommittedBytes += sizeOf(entry)
  return entry
}

/** Leader: sends every member what it may get now. */
export function replicate(state: State): void {
  for (const [id, progress] of state.progress)
    if (id !== state.id) while (sendAppend(state, id, progress, false));
}

/**
 * Sends one message of entries, or of the commit index alone. Returns whether another may follow.
 * @param isForced also when there is nothing new: to find out what the member has
 */
function sendAppend(state: State, to: MemberId, progress: Progress, isForced: boolean): boolean {
  if (progress.state === 'snapshot' || (progress.state === 'probe' && progress.isProbeSent))
    return false
  const { log, options } = state
  const prevIndex = progress.next - 1
  const prevTerm = log.term(prevIndex)
  const prevChain = log.chain(prevIndex)
  if (prevTerm === undefined || prevChain === undefined) {
    offerSnapshot(state, to, progress)
    return false
  }
  const mayFill =
    progress.state === 'probe' ? !progress.isSearching : !isFull(progress, options.window)
  const entries = mayFill ? log.slice(progress.next, options.maxMessageBytes) : []
  const tellsCommit = progress.state === 'replicate' && progress.sentCommit < log.commit
  const isDue = entries.length > 0 || tellsCommit || isForced || progress.state === 'probe'
  if (!isDue) return false
  const { commit } = log
  state.send(to, { type: 'app', prevIndex, prevTerm, prevChain, entries, commit })
  progress.sentCommit = commit
  if (progress.state === 'probe') {
    progress.isProbeSent = true
    return false
  }
  const last = entries.at(-1)
  if (last === undefined) return false
  progress.next = last.index + 1
  const bytes = entries.reduce((sum, entry) => sum + sizeOf(entry), 0)
  progress.inflight.push({ index: last.index, bytes })
  return progress.next <= log.last
}

function offerSnapshot(state: State, to: MemberId, progress: Progress): void {
  // A member that does not answer would only make the sender read the whole store.
  if (!progress.isActive) return
  const { log } = state
  progress.state = 'snapshot'
  progress.inflight = []
  const index = log.first - 1
  const meta = { index, term: log.term(index) ?? 0, chain: log.chain(index) ?? 0, conf: state.conf }
  state.send(to, { type: 'snapOffer', meta })
}

/** Follower: takes entries of the leader of its term. */
export function handleApp(state: State, message: MessageOf<'app'>): void {
  const { log } = state
  const { prevIndex, prevTerm, prevChain, entries, commit, from } = message
  const { isDamaged } = state
  if (prevIndex < log.commit) {
    state.send(from, { type: 'appResp', index: log.commit, isDamaged })
    return
  }
  if (!log.matches(prevIndex, prevTerm)) {
    reject(state, message)
    return
  }
  invariant(
    log.chain(prevIndex) === prevChain,
    'log.matching',
    () =>
      `entry ${prevIndex} of term ${prevTerm} has chain ${log.chain(prevIndex)}, the leader's has ${prevChain}`,
  )
  for (const entry of log.merge(entries)) notePlace(state, entry.id, entry)
  const proven = prevIndex + entries.length
  log.commitTo(Math.min(commit, proven))
  state.send(from, { type: 'appResp', index: proven, isDamaged })
}

/** The largest place at which the logs can agree, seen from here: one probe for each term is enough. */
function reject(state: State, { from, prevIndex, prevTerm }: MessageOf<'app'>): void {
  const hintIndex = lastUpToTerm(state, Math.min(prevIndex, state.log.last), prevTerm)
  const hintTerm = state.log.term(hintIndex) ?? 0
  state.send(from, { type: 'appReject', index: prevIndex, hintIndex, hintTerm })
}

/** The last entry up to `index` whose term is at most `term`. */
function lastUpToTerm({ log }: State, index: number, term: number): number {
  let at = index
  while (at >= log.first && (log.term(at) ?? 0) > term) at -= 1
  return at
}

/** Leader: a member's log is durable up to `index`. */
export function handleAppResp(state: State, message: MessageOf<'appResp'>): void {
  const progress = state.progress.get(message.from)
  if (progress === undefined) return
  const { index } = message
  progress.isActive = true
  noteHealth(state, message, progress)
  invariant(
    index <= state.log.last,
    'match',
    () => `${message.from} has ${index}, the leader ${state.log.last}`,
  )
  advance(state, progress, index)
  if (state.transferee === message.from && index === state.log.last)
    state.send(message.from, { type: 'timeoutNow' })
}

function advance(state: State, progress: Progress, index: number): void {
  const { log } = state
  const isNews = index > progress.match
  progress.match = Math.max(progress.match, index)
  progress.next = Math.max(progress.next, index + 1)
  freeUpTo(progress, index)
  if (progress.state === 'snapshot') {
    if (progress.match >= log.first - 1) probe(progress, progress.match + 1)
  } else if (progress.state === 'probe') {
    progress.state = 'replicate'
    progress.isProbeSent = false
    progress.next = progress.match + 1
  }
  if (isNews) advanceCommit(state)
}

export function handleAppReject(state: State, message: MessageOf<'appReject'>): void {
  const progress = state.progress.get(message.from)
  if (progress === undefined) return
  progress.isActive = true
  const { index, hintIndex, hintTerm } = message
  const isStale =
    progress.state === 'replicate' ? index <= progress.match : index !== progress.next - 1
  if (isStale || progress.state === 'snapshot') return
  noteMissing(state, message.from, progress, index)
  const meeting = lastUpToTerm(state, Math.min(hintIndex, state.log.last), hintTerm)
  probe(progress, Math.min(meeting, index - 1) + 1)
  progress.isSearching = true
}

export function handleSnapResp(state: State, message: MessageOf<'snapResp'>): void {
  const progress = state.progress.get(message.from)
  if (progress === undefined) return
  progress.isActive = true
  if (progress.state !== 'snapshot') return
  if (message.isOk) advance(state, progress, Math.min(message.index, state.log.last))
  // Until it is heard from again: or a broken receiver would get one snapshot after the other.
  else failSnapshot(progress)
}

export function failSnapshot(progress: Progress): void {
  passSnapshot(progress, progress.match)
}

/** The member is asked again when it is heard from, as if its log ended at `index`. */
export function passSnapshot(progress: Progress, index: number): void {
  probe(progress, index + 1)
  progress.isProbeSent = true
}

/** Leader: commits what a majority holds, if it is of this term (dissertation 3.6.2). */
export function advanceCommit(state: State): void {
  const { log, conf, progress } = state
  const reached = quorumValue(conf, (id) => {
    const other = progress.get(id)
    return other === undefined || other.isDamaged ? 0 : other.match
  })
  if (log.term(reached) !== state.term) return
  const before = log.commit
  if (!log.commitTo(reached)) return
  for (let index = before + 1; index <= reached; index += 1) {
    const entry = log.at(index)
    if (entry !== undefined) state.uncommittedBytes -= sizeOf(entry)
  }
  state.uncommittedBytes = Math.max(0, state.uncommittedBytes)
}

/** Leader: tells all that it is there, how far they may apply, and which reads it wants confirmed. */
export function sendHeartbeats(state: State): void {
  state.heartbeatElapsed = 0
  const clusterMs = clusterNow(state)
  for (const [id, progress] of state.progress) {
    if (id === state.id) continue
    const commit = Math.min(progress.match, state.log.commit)
    const life = state.incarnations.get(id) ?? 0
    state.send(id, { type: 'hb', commit, life, readBatch: state.readRound, clusterMs })
  }
}

export function handleHb(state: State, message: MessageOf<'hb'>): void {
  const { commit, life, readBatch, clusterMs, from } = message
  // What an earlier life has acknowledged may be lost.
  if (life === state.options.incarnation) state.log.commitTo(commit)
  noteClusterTime(state, clusterMs)
  const { isDamaged, options } = state
  state.send(from, { type: 'hbResp', readBatch, wallMs: options.clock(), isDamaged })
}

/** Leader: an answer also shows that the way is free, so what was lost is sent again. */
export function handleHbResp(state: State, message: MessageOf<'hbResp'>): void {
  const progress = state.progress.get(message.from)
  if (progress === undefined) return
  progress.isActive = true
  noteClock(state, message.from, message.wallMs)
  noteHealth(state, message, progress)
  progress.readBatch = Math.max(progress.readBatch, message.readBatch)
  progress.isProbeSent = false
  if (progress.state === 'replicate' && progress.match < state.log.last)
    sendAppend(state, message.from, progress, true)
  settleReads(state)
  settleRecoveries(state)
}

/** Leader: hands over to a member that has everything. */
export function startTransfer(state: State, to: MemberId): void {
  if (state.role !== 'leader' || to === state.id || !state.isVoter(to)) return
  // Begun anew each time that it is asked for, one that cannot succeed would never end.
  if (state.transferee === to) return
  state.transferee = to
  state.transferElapsed = 0
  const progress = state.progress.get(to)
  if (progress?.match === state.log.last) state.send(to, { type: 'timeoutNow' })
}

export function tickTransfer(state: State): void {
  if (state.transferee === NONE) return
  state.transferElapsed += 1
  if (state.transferElapsed >= state.options.electionTicks) state.transferee = NONE
}
