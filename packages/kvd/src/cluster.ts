import { createHash } from 'node:crypto'
import type { Member, Roster } from './membership/roster.ts'
import type { Identity } from './storage/messages.ts'
import { command, type Command } from './store/command.ts'
import type { Store } from './store/store.ts'

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

/** The cluster as one member sees it. */
export class Cluster {
  readonly id: string
  readonly localId: string
  /** Header line of every answer. */
  readonly head: string
  readonly #store: Store
  readonly #roster: Roster

  constructor(identity: Identity, store: Store, roster: Roster) {
    this.id = identity.clusterId
    this.localId = identity.memberId
    this.head = `X-Etcd-Cluster-Id: ${identity.clusterId}\r\n`
    this.#store = store
    this.#roster = roster
  }

  /** `2.3.0`, or undefined before it was decided. */
  get version(): string | undefined {
    return this.#store.peek('cluster', '/version')
  }

  /** Sorted by id. */
  members(): readonly Member[] {
    return this.#roster.members()
  }

  member(id: string): Member | undefined {
    return this.#roster.member(id)
  }

  isRemoved(id: string): boolean {
    return this.#roster.isRemoved(id)
  }
}

/** Decides the cluster's version. */
export function versionCommand(time: number): Command {
  const value = CLUSTER_VERSION
  return command({ op: 'set', space: 'cluster', time, key: '/version', value })
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
