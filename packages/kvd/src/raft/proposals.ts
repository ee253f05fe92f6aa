import { clusterNow } from './cluster-clock.ts'
import { sizeOf } from './log.ts'
import { notePlace } from './promises.ts'
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

/** Puts a proposal of this member into the log, or on its way to the leader. */
export function propose(state: State, proposal: Proposal): 'taken' | Refused {
  if (state.role === 'leader') {
    const entry = appendProposal(state, proposal)
    return typeof entry === 'string' ? entry : 'taken'
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
  const entry = appendOwn(state, proposal.kind === 'request' ? stamp(state, proposal) : proposal)
  if (entry.kind === 'conf') state.pendingConfIndex = entry.index
  return entry
}

/** All that leave in one batch have come at the same time. */
function stamp(state: State, proposal: Proposal): Proposal {
  state.stampMs ??= clusterNow(state)
  return state.options.stamp(proposal, state.stampMs)
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
  else notePlace(state, id, result)
}

/** It was forwarded, but did not leave this member. */
export function dropUnsent(state: State, id: string): void {
  if (state.forwarded.delete(id)) state.lost.push({ id, why: 'dropped' })
}
