import type { State } from './state.ts'
import type { Entry } from './types.ts'

// A proposal that may have reached the leader is never sent again: it could be carried out twice. It
// is given up only when it can be in nobody's future log (raft.md 3.8):
// - it never left, or the leader refused it;
// - another entry was committed at the place that the leader promised;
// - an entry of a later term was committed before it. A leader takes proposals of its own term alone,
//   and behind an entry of a later term no log has one of an earlier term.

/** A proposal has a place in some log: the leader said so, or this member lost it from its own. */
export function notePlace(
  state: State,
  id: string,
  { index, term }: { readonly index: number; readonly term: number },
): void {
  if (id === '') return
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

/** These entries are committed: whoever was promised their places for another entry has lost. */
export function keepPromises(state: State, committed: readonly Entry[]): void {
  const { forwarded, promised } = state
  for (const entry of committed) {
    if (forwarded.size > 0) forwarded.delete(entry.id)
    if (promised.size > 0) keepPlace(state, entry)
    if (entry.term > state.handedTerm) breakPromises(state, entry.term)
    state.handedTerm = entry.term
  }
}

function keepPlace(state: State, { index, term }: Entry): void {
  const promised = state.promised.get(index)
  if (promised === undefined) return
  state.promised.delete(index)
  for (const one of promised)
    if (one.term !== term) state.lost.push({ id: one.id, why: 'overwritten' })
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
    for (const one of promised)
      if (one.term < term) state.lost.push({ id: one.id, why: 'overwritten' })
    if (kept.length > 0) state.promised.set(index, kept)
    else state.promised.delete(index)
  }
}
