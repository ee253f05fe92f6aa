import { isMajority, probe, type Progress } from './progress.ts'
import type { State } from './state.ts'
import type { MemberId, Message, MessageOf } from './types.ts'

// A member that has lost what it had acknowledged is damaged (raft.md 5.6): it gives no votes and does
// not count, until a leader whom a quorum without it has confirmed since its start tells it how far the
// log went then, and it holds that log.
//
//   hbResp, appResp (isDamaged) -> round of heartbeats -> confirmed at (index, term) -> whole -> whole

/** Whether a message comes from the latest life of its sender that is known; an earlier one is over. */
export function isCurrent(state: State, { from, incarnation }: Message): boolean {
  if (from === state.id) return true
  const known = state.incarnations.get(from) ?? 0
  if (incarnation < known) return false
  if (incarnation === known) return true
  state.incarnations.set(from, incarnation)
  const progress = state.progress.get(from)
  if (progress !== undefined) restart(progress)
  return true
}

/** Leader: a member lives anew. What it has must show; it may be less than it had acknowledged. */
function restart(progress: Progress): void {
  progress.ackedBefore = Math.max(progress.ackedBefore, progress.match)
  progress.match = 0
  progress.hasLost = false
  progress.recovery = undefined
  probe(progress, progress.ackedBefore + 1)
}

/**
 * Leader: what a member has acknowledged in this term it can only lack if its disk has lost it. It may
 * not know: its high-water mark lags.
 * @param index the place where its log does not match
 */
export function noteMissing(state: State, from: MemberId, progress: Progress, index: number): void {
  if (index > progress.ackedBefore || progress.isDamaged) return
  progress.hasLost = true
  progress.isDamaged = true
  sendLost(state, from)
}

function sendLost(state: State, to: MemberId): void {
  state.send(to, { type: 'lost', life: state.incarnations.get(to) ?? 0 })
}

/** Leader: a member says whether it is whole. */
export function noteHealth(
  state: State,
  { from, isDamaged }: MessageOf<'appResp' | 'hbResp'>,
  progress: Progress,
): void {
  if (progress.hasLost && !isDamaged) {
    sendLost(state, from)
    return
  }
  progress.hasLost = false
  progress.isDamaged = isDamaged
  if (!isDamaged) progress.recovery = undefined
  else if (progress.recovery === undefined) {
    state.readRound += 1
    progress.recovery = { round: state.readRound, upTo: undefined }
  } else if (progress.recovery.upTo !== undefined) {
    const life = state.incarnations.get(from) ?? 0
    state.send(from, { type: 'whole', life, ...progress.recovery.upTo })
  }
}

/** Leader: who is whole has answered. Where that makes a quorum, a recovery has its end. */
export function settleRecoveries(state: State): void {
  for (const [id, progress] of state.progress) {
    const { recovery } = progress
    if (recovery === undefined || recovery.upTo !== undefined) continue
    const isConfirmed = isMajority(
      state.conf,
      (other) => other !== id && hasConfirmed(state, other, recovery.round),
    )
    if (!isConfirmed) continue
    const { last: index, lastTerm } = state.log
    progress.recovery = { ...recovery, upTo: { index, lastTerm } }
  }
}

/** Leader: a member that counts has answered a heartbeat of this round, or of a later one. */
export function hasConfirmed(state: State, id: MemberId, round: number): boolean {
  const progress = state.progress.get(id)
  if (progress === undefined || progress.isDamaged) return false
  return id === state.id || progress.readBatch >= round
}

/** The leader knows better than this member's mark. */
export function handleLost(state: State, { life }: MessageOf<'lost'>): void {
  if (life === state.options.incarnation) state.isDamaged = true
}

export function handleWhole(state: State, message: MessageOf<'whole'>): void {
  const { log, options } = state
  const { life, index, lastTerm } = message
  if (life !== options.incarnation || log.durable < index) return
  // Who campaigns must know all changes of the members that it has acted by.
  if (log.commit < state.claimed) return
  // What lies before a snapshot is committed, and so it is the leader's.
  if (index < log.first - 1 || log.matches(index, lastTerm)) state.isDamaged = false
}
