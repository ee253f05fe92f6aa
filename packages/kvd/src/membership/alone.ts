import type { Conf, Entry, MemberId } from '../raft/types.ts'
import type { Recovered } from '../storage/disk.ts'
import { entryChain } from '../storage/entry-codec.ts'
import { decodeChange, encodeChange, type MemberChange } from './change.ts'

export interface CommittedOptions {
  readonly id: MemberId
  readonly commit: number
  /** Who counts as the store stands, before `entries`. */
  readonly conf: Conf
  /** Up to `applied` they are in `conf`. */
  readonly applied: number
  readonly entries: readonly Entry[]
}

export interface AloneOptions extends CommittedOptions {
  /** Of this member, in case it was not one. */
  readonly peerURLs: readonly string[]
  readonly term: number
  /** Index and chain of the entry before `entries`. */
  readonly base: { readonly index: number; readonly chain: number }
}

/**
 * The log of a member that goes on without all others (--force-new-cluster): what was committed, and
 * behind it a change for each of the others that removes it (etcd 2.3 restartAsStandaloneNode). What
 * was not committed is dropped: nobody was told that it happened.
 */
export function aloneLog(options: AloneOptions): {
  readonly kept: readonly Entry[]
  readonly added: readonly Entry[]
} {
  const { id, term, base, peerURLs } = options
  const { kept, roles } = committedOf(options)
  const changes: MemberChange[] = [...roles.keys()]
    .filter((member) => member !== id)
    .toSorted()
    .map((member) => ({ type: 'remove', id: member }))
  const own = roles.get(id)
  if (own === undefined) changes.unshift({ type: 'add', id, peerURLs, isLearner: false })
  else if (own === 'learner') changes.unshift({ type: 'promote', id })
  const added: Entry[] = []
  let before = kept.at(-1) ?? base
  for (const change of changes) {
    const data = encodeChange(change)
    const bare = { index: before.index + 1, term, kind: 'conf', id: '', data } as const
    const entry = { ...bare, chain: entryChain(before.chain, bare) }
    added.push(entry)
    before = entry
  }
  return { kept, added }
}

/** Up to where a member's log is committed: while it is the only one that counts, all that its disk has is. */
export function committedUpTo(options: CommittedOptions): number {
  return Math.max(options.commit, committedOf(options).kept.at(-1)?.index ?? 0)
}

/** The same of what a disk holds. A damaged log is not to be judged by: the mark beside it says all that is known. */
export function committedIn({ loaded, entries }: Recovered, conf: Conf): number {
  const { identity, hard, commit, applied } = loaded
  if (hard.isDamaged) return commit
  return committedUpTo({ id: identity?.memberId ?? '', commit, conf, applied, entries })
}

type Roles = Map<MemberId, 'voter' | 'learner'>

/**
 * What was committed, and who was a member then. How far that goes may be known a little late; while
 * this member was the only one that counts, all that its disk had was committed.
 */
function committedOf({ id, commit, conf, applied, entries }: CommittedOptions): {
  readonly kept: readonly Entry[]
  readonly roles: Roles
} {
  const roles: Roles = new Map()
  for (const voter of conf.voters) roles.set(voter, 'voter')
  for (const learner of conf.learners) roles.set(learner, 'learner')
  const kept: Entry[] = []
  for (const entry of entries) {
    if (entry.index > commit && !isAlone(roles, id)) break
    kept.push(entry)
    if (entry.kind === 'conf' && entry.index > applied) follow(roles, decodeChange(entry))
  }
  return { kept, roles }
}

function isAlone(roles: Roles, id: MemberId): boolean {
  return (
    roles.get(id) === 'voter' &&
    ![...roles].some(([other, role]) => other !== id && role === 'voter')
  )
}

function follow(roles: Roles, change: MemberChange): void {
  if (change.type === 'add' && !roles.has(change.id))
    roles.set(change.id, change.isLearner ? 'learner' : 'voter')
  else if (change.type === 'promote' && roles.has(change.id)) roles.set(change.id, 'voter')
  else if (change.type === 'remove') roles.delete(change.id)
}
