import type { State } from '../raft/state.ts'
import { placeOf, type Step } from './steps.ts'

const ENTRIES_MAX = 100

/** What is left of a core that contradicted itself (raft.md 3.10): plain data, without keys and values. */
export interface CrashReport {
  readonly error: { readonly message: string; readonly stack: string | undefined }
  readonly core: object
  readonly steps: readonly Step[]
}

/** @param steps the last ones, in their order */
export function crashReport(
  error: Error,
  state: Readonly<State>,
  steps: readonly Step[],
): CrashReport {
  const { message, stack } = error
  return { error: { message, stack }, core: coreOf(state), steps }
}

function coreOf(state: Readonly<State>): object {
  const { id, hard, role, lead, conf, options, install, installBatch, seq, persistedSeq } = state
  const { electionElapsed, electionTimeout, heartbeatElapsed, pendingConfIndex } = state
  const { transferee, transferElapsed, readRound, readBatch, handedTerm, known } = state
  return {
    id,
    incarnation: options.incarnation,
    hard,
    role,
    lead,
    conf,
    incarnations: Object.fromEntries(state.incarnations),
    election: { electionElapsed, electionTimeout, heartbeatElapsed },
    votes: Object.fromEntries(state.votes),
    clocks: { known, others: Object.fromEntries(state.clocks) },
    progress: Object.fromEntries(
      [...state.progress].map(([peer, { inflight, ...rest }]) => [
        peer,
        {
          ...rest,
          inflight: { count: inflight.length, first: inflight[0], last: inflight.at(-1) },
        },
      ]),
    ),
    pendingConfIndex,
    uncommittedBytes: state.uncommittedBytes,
    transfer: { transferee, transferElapsed },
    reads: {
      readRound,
      readBatch,
      atLeader: state.leaderReads.length,
      sent: state.sentReads?.number,
    },
    proposals: { forwarded: state.forwarded.size, promised: state.promised.size },
    batches: { seq, persistedSeq, install, installBatch, handedTerm },
    log: logOf(state),
  }
}

/** Its bounds, and its end. */
function logOf({ log }: Readonly<State>): object {
  const { first, last, lastTerm, commit, durable, handed, applied } = log
  const entries: object[] = []
  for (let index = Math.max(first, last - ENTRIES_MAX + 1); index <= last; index += 1) {
    const entry = log.at(index)
    if (entry !== undefined) entries.push(placeOf(entry))
  }
  return { first, last, lastTerm, commit, durable, handed, applied, entries }
}
