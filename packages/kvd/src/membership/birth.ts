import { clusterId, memberId } from '../cluster.ts'
import type { Entry, MemberId } from '../raft/types.ts'
import type { Birth } from '../replica/options.ts'
import { entryChain } from '../storage/entry-codec.ts'
import { encodeChange } from './change.ts'
import { fetchCluster, type PeerAsk, type PeerCluster } from './peer-cluster.ts'

/** A new member cannot become one. The texts are the original's (kvd.md 13.1). */
export class BootstrapError extends Error {
  override readonly name = 'BootstrapError'
  readonly code = 'BOOTSTRAP'
}

export interface BirthOptions {
  readonly name: string
  /** Peer URLs of this member, as it tells them to the others. */
  readonly peerURLs: readonly string[]
  /** Peer URLs of the first, or of all, members by name. */
  readonly initialCluster: ReadonlyMap<string, readonly string[]>
  readonly state: 'new' | 'existing'
  readonly token: string
  readonly ask: Pick<PeerAsk, 'tls' | 'failed'>
}

/** What a member asks of others takes no longer, each (etcd 2.3 etcdserver/cluster_util.go). */
const JOIN_MS = 10_000
const BOOTSTRAPPED_MS = 1_000

/**
 * What a member without data begins with (raft.md 7.2).
 * @throws BootstrapError
 */
export async function birthOf(options: BirthOptions): Promise<Birth> {
  refuseMissingSelf(options)
  refuseSharedUrls(options.initialCluster)
  const others = [...options.initialCluster]
    .filter(([name]) => name !== options.name)
    .flatMap(([, urls]) => urls)
  const { ask } = options
  if (options.state === 'existing')
    return joinBirth(options, await fetchCluster(others, { ...ask, answerMs: JOIN_MS }))
  const birth = newBirth(options)
  const { memberId: id } = birth.identity
  // That they do not answer is the rule: they are about to be started too.
  const quietly = { ...ask, failed: () => undefined, answerMs: BOOTSTRAPPED_MS }
  const running = await fetchCluster(others, quietly)
  const known = running?.members.find((member) => member.id === id)
  // It would vote again where it has voted before.
  if (known !== undefined && known.clientURLs.length > 0)
    throw new BootstrapError(`member ${id} has already been bootstrapped`)
  return birth
}

/**
 * Who begins must be among the first members, with the URLs that it tells them. One that has data may have
 * moved since, and one that joins has told its URLs before (etcd 2.3 etcdserver/config.go).
 */
function refuseMissingSelf({ name, peerURLs, initialCluster, state }: BirthOptions): void {
  const own = initialCluster.get(name)
  if (own === undefined) throw missingSelf(name)
  if (state === 'new' && !isSame(own, peerURLs)) {
    const told = peerURLs.map((url) => `${name}=${url}`).join()
    throw new BootstrapError(
      `--initial-cluster must include ${told} given --initial-advertise-peer-urls=${peerURLs.join()}`,
    )
  }
}

function missingSelf(name: string): BootstrapError {
  return new BootstrapError(
    `couldn't find local name "${name}" in the initial cluster configuration`,
  )
}

/** Of two members with one URL the log would take only the first (etcd 2.3 etcdserver/config.go). */
function refuseSharedUrls(initialCluster: BirthOptions['initialCluster']): void {
  const urls = [...initialCluster.values()].flat()
  if (new Set(urls).size === urls.length) return
  const pairs = [...initialCluster].flatMap(([name, own]) => own.map((url) => `${name}=${url}`))
  throw new BootstrapError(`initial cluster ${pairs.toSorted().join()} has duplicate url`)
}

/** The same for every first member: their common log begins with all of them. */
export function newBirth({
  name,
  initialCluster,
  token,
}: Pick<BirthOptions, 'name' | 'initialCluster' | 'token'>): Birth {
  const members = [...initialCluster].map(([member, urls]) => ({
    name: member,
    id: memberId(urls, token),
    peerURLs: urls.toSorted(),
  }))
  const own = members.find((member) => member.name === name)
  if (own === undefined) throw missingSelf(name)
  const sorted = members.toSorted((left, right) => compareIds(left.id, right.id))
  const entries: Entry[] = []
  for (const { id, peerURLs } of sorted) {
    const index = entries.length + 1
    const data = encodeChange({ type: 'add', id, peerURLs, isLearner: false })
    const bare = { index, term: 1, kind: 'conf', id: '', data } as const
    entries.push({ ...bare, chain: entryChain(entries.at(-1)?.chain ?? 0, bare) })
  }
  const identity = { memberId: own.id, clusterId: clusterId(members.map(({ id }) => id)) }
  return { identity, entries, peers: peersOf(members) }
}

/** A member that was added to a running cluster: it learns everything from the leader. */
export function joinBirth(
  { name, peerURLs, initialCluster }: Omit<BirthOptions, 'state' | 'token' | 'ask'>,
  running: PeerCluster | undefined,
): Birth {
  if (running === undefined)
    throw new BootstrapError(
      'cannot fetch cluster info from peer urls: could not retrieve cluster information from the given urls',
    )
  const shown = `{ClusterID:${running.clusterId} Members:[${running.members.map(({ id }) => id).join(' ')}]}`
  const fail = (why: string): BootstrapError =>
    new BootstrapError(`error validating peerURLs ${shown}: ${why}`)
  if (running.members.length !== initialCluster.size) throw fail('member count is unequal')
  for (const urls of initialCluster.values())
    if (!running.members.some((member) => isSame(member.peerURLs, urls)))
      throw fail('unmatched member while checking PeerURLs')
  const own = running.members.find((member) => isSame(member.peerURLs, peerURLs))
  if (own === undefined)
    throw new BootstrapError(`cannot find local etcd member "${name}" in the running cluster`)
  if (own.clientURLs.length > 0)
    throw new BootstrapError(
      `member ${own.id} has already been bootstrapped: its data is gone, so remove it and add it again`,
    )
  const identity = { memberId: own.id, clusterId: running.clusterId }
  return { identity, entries: [], peers: peersOf(running.members) }
}

function peersOf(
  members: readonly { readonly id: MemberId; readonly peerURLs: readonly string[] }[],
): Birth['peers'] {
  return new Map(members.map(({ id, peerURLs }) => [id, peerURLs]))
}

function isSame(left: readonly string[], right: readonly string[]): boolean {
  return left.toSorted().join() === right.toSorted().join()
}

export function compareIds(left: MemberId, right: MemberId): number {
  return BigInt(`0x${left}`) < BigInt(`0x${right}`) ? -1 : 1
}
