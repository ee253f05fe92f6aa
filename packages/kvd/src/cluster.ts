import { createHash } from 'node:crypto'
import { command } from './store/command.ts'
import type { Command } from './store/command.ts'
import type { Store } from './store/store.ts'

/** A member as /v2/members shows it. */
export interface Member {
  readonly id: string
  readonly name: string
  readonly peerURLs: readonly string[]
  readonly clientURLs: readonly string[]
}

/** What the original calls itself; clients read it at /version. */
export const SERVER_VERSION = '2.3.8'
const CLUSTER_VERSION = '2.3.0'

/** Hexadecimal without leading zeros, as the original prints ids. */
function printId(bytes: Buffer): string {
  return bytes.readBigUInt64BE(0).toString(16)
}

/** Member id: SHA-1 over the sorted peer URLs and the token (etcd 2.3 etcdserver/member.go). */
export function memberId(peerURLs: readonly string[], token: string): string {
  const text = peerURLs.toSorted().join('') + token
  return printId(createHash('sha1').update(text).digest())
}

/** Cluster id: SHA-1 over the initial members' ids in ascending order, 8 bytes each. */
export function clusterId(memberIds: readonly string[]): string {
  const ids = memberIds
    .map((id) => BigInt(`0x${id}`))
    .toSorted((left, right) => (left < right ? -1 : 1))
  const bytes = Buffer.alloc(8 * ids.length)
  for (const [at, id] of ids.entries()) bytes.writeBigUInt64BE(id, 8 * at)
  return printId(createHash('sha1').update(bytes).digest())
}

export interface Identity {
  readonly memberId: string
  readonly clusterId: string
}

/** The members and the cluster's version as the store's cluster space holds them (raft.md 7.1). */
export class Cluster {
  readonly id: string
  readonly localId: string
  /** Header line of every answer. */
  readonly head: string
  readonly #store: Store

  constructor(identity: Identity, store: Store) {
    this.id = identity.clusterId
    this.localId = identity.memberId
    this.head = `X-Etcd-Cluster-Id: ${identity.clusterId}\r\n`
    this.#store = store
  }

  /** `2.3.0`, or undefined before it was decided. */
  get version(): string | undefined {
    return this.#store.peek('cluster', '/version')
  }

  /** Sorted by id. */
  members(): readonly Member[] {
    return this.#store
      .peekNames('cluster', '/members')
      .toSorted((left, right) => (BigInt(`0x${left}`) < BigInt(`0x${right}`) ? -1 : 1))
      .map((id) => this.member(id))
      .filter((member) => member !== undefined)
  }

  member(id: string): Member | undefined {
    const raft = this.#store.peek('cluster', `/members/${id}/raftAttributes`)
    if (raft === undefined) return undefined
    const { peerURLs }: { peerURLs: string[] } = JSON.parse(raft)
    const text = this.#store.peek('cluster', `/members/${id}/attributes`) ?? '{}'
    const attributes: { name?: string; clientURLs?: string[] } = JSON.parse(text)
    return { id, name: attributes.name ?? '', peerURLs, clientURLs: attributes.clientURLs ?? [] }
  }

  isRemoved(id: string): boolean {
    return this.#store.peek('cluster', `/removed_members/${id}`) !== undefined
  }
}

/** Commands that make a new cluster of one: member added, published, version decided. */
export function bootstrapCommands(
  identity: Identity,
  member: Omit<Member, 'id'>,
  time: number,
): readonly Command[] {
  return [
    raftAttributesCommand('create', identity.memberId, member.peerURLs, time),
    attributesCommand(identity.memberId, member, time),
    command({ op: 'set', space: 'cluster', time, key: '/version', value: CLUSTER_VERSION }),
  ]
}

export function raftAttributesCommand(
  op: 'create' | 'update',
  id: string,
  peerURLs: readonly string[],
  time: number,
): Command {
  const value = JSON.stringify({ peerURLs })
  return command({ op, space: 'cluster', time, key: `/members/${id}/raftAttributes`, value })
}

/** Publishes a member's name and client URLs. */
export function attributesCommand(
  id: string,
  member: Pick<Member, 'name' | 'clientURLs'>,
  time: number,
): Command {
  const value = JSON.stringify({ name: member.name, clientURLs: member.clientURLs })
  return command({ op: 'set', space: 'cluster', time, key: `/members/${id}/attributes`, value })
}
