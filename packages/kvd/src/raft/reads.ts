import { isMajority } from './progress.ts'
import { hasConfirmed } from './recovery.ts'
import type { LeaderRead, State } from './state.ts'
import { NONE, type MessageOf } from './types.ts'

// Linearizable reads (raft.md 3.7). A member collects reads into numbered batches; the leader notes
// what is committed when a batch comes, and confirms it once a majority has answered a heartbeat
// that was sent afterwards. A number is never used again: an old answer must not confirm a new read.

/** Takes a read up. */
export function openRead(state: State, id: string): void {
  state.openReads.push(id)
}

/** Sends what was collected, unless a batch is on its way. */
export function sendReads(state: State): void {
  if (state.openReads.length === 0 || state.sentReads !== undefined || state.lead === NONE) return
  state.readBatch += 1
  const number = state.readBatch
  state.sentReads = { number, ids: state.openReads, ticks: 0 }
  state.openReads = []
  if (state.role === 'leader') noteRead(state, state.id, number)
  else state.send(state.lead, { type: 'readIdx', batch: number })
}

/** Reads whose answer may have been lost go into a new batch. */
export function retryReads(state: State): void {
  if (state.sentReads === undefined) return
  state.openReads.unshift(...state.sentReads.ids)
  state.sentReads = undefined
}

export function tickReads(state: State): void {
  if (state.sentReads === undefined) return
  state.sentReads.ticks += 1
  if (state.sentReads.ticks >= state.options.electionTicks) retryReads(state)
}

export function handleReadIdx(state: State, message: MessageOf<'readIdx'>): void {
  if (state.role === 'leader') noteRead(state, message.from, message.batch)
}

function noteRead(state: State, from: string, batch: number): void {
  state.leaderReads.push({ from, batch, index: state.log.commit, round: 0 })
}

/** The leader knows all that was committed before its term once an entry of its own is. */
function knowsCommit(state: State): boolean {
  return state.log.term(state.log.commit) === state.term
}

/** Leader: asks for confirmation of the reads that came since the last time. */
export function confirmReads(state: State): boolean {
  if (!knowsCommit(state)) return false
  const waiting = state.leaderReads.filter((read) => read.round === 0)
  if (waiting.length === 0) return false
  state.readRound += 1
  for (const read of waiting) {
    const index = state.leaderReads.indexOf(read)
    // One that came before the term's first commit may have noted too little.
    state.leaderReads[index] = { ...read, index: state.log.commit, round: state.readRound }
  }
  settleReads(state)
  return state.leaderReads.length > 0
}

/** Leader: answers the reads that a majority has confirmed. */
export function settleReads(state: State): void {
  const isConfirmed = ({ round }: LeaderRead): boolean =>
    round > 0 && isMajority(state.conf, (id) => hasConfirmed(state, id, round))
  const confirmed = state.leaderReads.filter(isConfirmed)
  if (confirmed.length === 0) return
  state.leaderReads = state.leaderReads.filter((read) => !confirmed.includes(read))
  for (const { from, batch, index } of confirmed)
    if (from === state.id) finishRead(state, batch, index)
    else state.send(from, { type: 'readIdxResp', batch, index })
}

export function finishRead(state: State, batch: number, index: number): void {
  if (state.sentReads?.number !== batch) return
  state.reads.push({ index, ids: state.sentReads.ids })
  state.sentReads = undefined
}
