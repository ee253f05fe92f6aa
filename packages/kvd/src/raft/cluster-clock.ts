import { quorumValue } from './progress.ts'
import type { State } from './state.ts'
import type { MemberId } from './types.ts'

// Cluster time (raft.md 8.1) is the latest that the clocks of a majority of the voters have reached, so
// that one wrong clock can expire nobody's keys. It never goes back, not at a change of the leader
// either: where clocks are set back it runs on at the pace of time, or nothing would expire for as long.

/** Somebody's clock, as it was a moment ago. */
export function noteClock(state: State, id: MemberId, wallMs: number): void {
  state.clocks.set(id, wallMs - state.options.elapsed())
}

/** It is known to be at least so late. */
export function noteClusterTime(state: State, ms: number): void {
  if (ms > state.known.ms) state.known = { ms, at: state.options.elapsed() }
}

/** Whole milliseconds since 1970; 0 on a member that does not lead and has not heard of any. */
export function clusterNow(state: State): number {
  const { options, known, conf, clocks } = state
  const elapsed = options.elapsed()
  const running = known.ms === 0 ? 0 : known.ms + elapsed - known.at
  if (state.role !== 'leader') return Math.floor(running)
  const reached = quorumValue(conf, (id) =>
    id === state.id ? options.clock() : (clocks.get(id) ?? -Infinity) + elapsed,
  )
  const ms = Math.max(running, reached)
  state.known = { ms, at: elapsed }
  return Math.floor(ms)
}
