import type { Replica } from '../replica/replica.ts'

const DIVERGED = 'etcdserver: this member holds something else than the others'
const DAMAGED =
  'etcdserver: this member has lost what it had acknowledged, and is not whole again yet'

/**
 * Why nobody is served from what a member holds; undefined: it serves. One that is damaged from the start
 * does not listen; what is lost may also be found out later, by the leader (raft.md 5.6).
 */
export function unservedCause({
  isDiverged,
  isDamaged,
}: Pick<Replica, 'isDiverged' | 'isDamaged'>): string | undefined {
  if (isDiverged) return DIVERGED
  return isDamaged ? DAMAGED : undefined
}
