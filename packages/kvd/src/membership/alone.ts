import type { Conf, Entry, MemberId } from '../raft/types.ts'
import { entryChain } from '../storage/entry-codec.ts'
import { decodeChange, encodeChange, type MemberChange } from './change.ts'

export interface AloneOptions {
  readonly id: MemberId
  /** Of this member, in case it was not one. */
  readonly peerURLs: readonly string[]
  readonly term: number
  readonly commit: number
  /** Who counts as the store stands, before `entries`. */
  readonly conf: Conf
  /** Index and chain of the entry before `entries`. */
  readonly base: { readonly index: number; readonly chain: number }
  /** Up to `applied` they are in `conf`. */
  readonly applied: number
  readonly entries: readonly Entry[]
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
  const { id, term, commit, base, entries, peerURLs } = options
  const kept = entries.filter(({ index }) => index <= commit)
  const members = membersAt(options, kept)
  const changes: MemberChange[] = [...members]
    .filter((member) => member !== id)
    .toSorted()
    .map((member) => ({ type: 'remove', id: member }))
  const own = members.has(id)
  if (!own) changes.unshift({ type: 'add', id, peerURLs, isLearner: false })
  else if (options.conf.learners.includes(id)) changes.unshift({ type: 'promote', id })
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

function membersAt(
  { conf, applied }: AloneOptions,
  entries: readonly Entry[],
): ReadonlySet<MemberId> {
  const members = new Set([...conf.voters, ...conf.learners])
  for (const entry of entries) {
    if (entry.kind !== 'conf' || entry.index <= applied) continue
    const change = decodeChange(entry)
    if (change.type === 'add') members.add(change.id)
    else if (change.type === 'remove') members.delete(change.id)
  }
  return members
}
