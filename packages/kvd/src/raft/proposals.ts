import { sizeOf } from './log.ts'
import { appendOwn } from './replication.ts'
import type { State } from './state.ts'
import {
  NONE,
  type Entry,
  type MessageOf,
  type Proposal,
  type PropResult,
  type Refused,
} from './types.ts'

// A proposal that may have reached the leader is never sent again: it could be carried out twice. It
// is given up only when it can be in nobody's future log (raft.md 3.8):
// - it never left, or the leader refused it;
// - another entry was committed at the place that the leader promised;
// - an entry of a later term was committed before it. A leader takes proposals of its own term alone,
//   and behind an entry of a later term no log has one of an earlier term.

/** Puts a proposal of this member into the log, or on its way to the leader. */
export function propose(state: State, proposal: Proposal): 'taken' | Refused {
  if (state.role === 'leader') {
    const entry = appendProposal(state, proposal)
    if (typeof entry === 'string') return entry
    promise(state, proposal.id, entry)
    return 'taken'
  }
  if (state.lead === NONE) return 'noLeader'
  state.forwarded.set(proposal.id, state.term)
  state.send(state.lead, { type: 'prop', proposal })
  return 'taken'
}

/** Leader: the entry, or why it takes nothing at the moment. */
function appendProposal(state: State, proposal: Proposal): Entry | 'busy' | 'full' {
  const { options, uncommittedBytes } = state
  const isFull =
    uncommittedBytes > 0 && uncommittedBytes + sizeOf(proposal) > options.maxUncommittedBytes
  if (isFull) return 'full'
  if (state.transferee !== NONE || !state.isVoter() || state.isLeaving) return 'busy'
  if (proposal.kind === 'conf' && state.pendingConfIndex > state.log.applied) return 'busy'
  const entry = appendOwn(state, proposal)
  if (entry.kind === 'conf') state.pendingConfIndex = entry.index
  return entry
}

export function handleProp(state: State, message: MessageOf<'prop'>): void {
  const { proposal, from } = message
  const entry = state.role === 'leader' ? appendProposal(state, proposal) : 'busy'
  const result: PropResult =
    typeof entry === 'string'
      ? { type: 'dropped' }
      : { type: 'appended', index: entry.index, term: entry.term }
  state.send(from, { type: 'propResp', id: proposal.id, result })
}

export function handlePropResp(state: State, { id, result }: MessageOf<'propResp'>): void {
  if (!state.forwarded.delete(id)) return
  if (result.type === 'dropped') state.lost.push({ id, why: 'dropped' })
  else promise(state, id, result)
}

function promise(
  state: State,
  id: string,
  place: { readonly index: number; readonly term: number },
): void {
  if (id === '') return
  const { index, term } = place
  if (index <= state.log.handed) {
    // What was committed there came first; where it is forgotten, nobody can say.
    const committed = state.log.term(index)
    if (committed !== undefined && committed !== term) state.lost.push({ id, why: 'overwritten' })
    return
  }
  const there = state.promised.get(index)
  if (there === undefined) state.promised.set(index, [{ id, term }])
  else there.push({ id, term })
}

/** It was forwarded, but did not leave this member. */
export function dropUnsent(state: State, id: string): void {
  if (state.forwarded.delete(id)) state.lost.push({ id, why: 'dropped' })
}

/** These entries are committed: whoever was promised their places for another entry has lost. */
export function keepPromises(state: State, committed: readonly Entry[]): void {
  for (const entry of committed) {
    state.forwarded.delete(entry.id)
    const promised = state.promised.get(entry.index)
    if (promised !== undefined) {
      state.promised.delete(entry.index)
      for (const { id, term } of promised)
        if (term !== entry.term) state.lost.push({ id, why: 'overwritten' })
    }
    if (entry.term > state.handedTerm) breakPromises(state, entry.term)
    state.handedTerm = entry.term
  }
}

/** A later term has begun in the log: what earlier leaders took and did not commit is gone. */
function breakPromises(state: State, term: number): void {
  for (const [id, sentTerm] of state.forwarded)
    if (sentTerm < term) {
      state.forwarded.delete(id)
      state.lost.push({ id, why: 'overwritten' })
    }
  for (const [index, promised] of state.promised) {
    const kept = promised.filter((one) => one.term >= term)
    for (const { id, term: sentTerm } of promised)
      if (sentTerm < term) state.lost.push({ id, why: 'overwritten' })
    if (kept.length > 0) state.promised.set(index, kept)
    else state.promised.delete(index)
  }
}
