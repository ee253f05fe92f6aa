import type { Conf, MemberId } from '../raft/types.ts'
import { command, type Command } from '../store/command.ts'
import type { Store } from '../store/store.ts'
import type { MemberChange } from './change.ts'

/** A member as /v2/members shows it. */
export interface Member {
  readonly id: MemberId
  readonly name: string
  readonly peerURLs: readonly string[]
  readonly clientURLs: readonly string[]
  /** Not shown: it does not count yet. */
  readonly isLearner: boolean
}

/** Why a change has no effect (etcd 2.3 ValidateConfigurationChange). */
export type ChangeProblem = 'idRemoved' | 'idExists' | 'urlExists' | 'notFound'

/** The members as the store's cluster space holds them (raft.md 7.1). */
export class Roster {
  readonly #store: Store

  constructor(store: Store) {
    this.#store = store
  }

  /** Sorted by id. */
  members(): readonly Member[] {
    return this.#store
      .peekNames('cluster', '/members')
      .toSorted((left, right) => (BigInt(`0x${left}`) < BigInt(`0x${right}`) ? -1 : 1))
      .map((id) => this.member(id))
      .filter((member) => member !== undefined)
  }

  member(id: MemberId): Member | undefined {
    const raft = this.#store.peek('cluster', `/members/${id}/raftAttributes`)
    if (raft === undefined) return undefined
    const { peerURLs, isLearner }: RaftAttributes = JSON.parse(raft)
    const text = this.#store.peek('cluster', `/members/${id}/attributes`) ?? '{}'
    const { name = '', clientURLs = [] }: { name?: string; clientURLs?: string[] } =
      JSON.parse(text)
    return { id, name, peerURLs, clientURLs, isLearner: isLearner === true }
  }

  isRemoved(id: MemberId): boolean {
    return this.#store.peek('cluster', `/removed_members/${id}`) !== undefined
  }

  conf(): Conf {
    const members = this.members()
    const idsOf = (isLearner: boolean): MemberId[] =>
      members
        .filter((member) => member.isLearner === isLearner)
        .map(({ id }) => id)
        .toSorted()
    return { voters: idsOf(false), learners: idsOf(true) }
  }

  /** Undefined: the change can be made. */
  judge(change: MemberChange): ChangeProblem | undefined {
    if (this.isRemoved(change.id)) return 'idRemoved'
    const known = this.member(change.id)
    if (change.type === 'add') {
      if (known !== undefined) return 'idExists'
      return this.#isTaken(change.peerURLs, undefined) ? 'urlExists' : undefined
    }
    if (known === undefined) return 'notFound'
    if (change.type !== 'update') return undefined
    return this.#isTaken(change.peerURLs, change.id) ? 'urlExists' : undefined
  }

  #isTaken(urls: readonly string[], except: MemberId | undefined): boolean {
    return this.members().some(
      ({ id, peerURLs }) => id !== except && peerURLs.some((url) => urls.includes(url)),
    )
  }

  /** Carries out a change that was judged. */
  apply(change: MemberChange): void {
    for (const entry of this.#commandsOf(change)) this.#store.apply(entry)
  }

  #commandsOf(change: MemberChange): readonly Command[] {
    const { id } = change
    const key = `/members/${id}/raftAttributes`
    switch (change.type) {
      case 'add':
        return [write('create', key, attributesText(change.peerURLs, change.isLearner))]
      case 'promote':
        return [write('update', key, attributesText(this.member(id)?.peerURLs ?? [], false))]
      case 'update':
        return [
          write(
            'update',
            key,
            attributesText(change.peerURLs, this.member(id)?.isLearner ?? false),
          ),
        ]
      case 'remove':
        return [
          command({
            op: 'delete',
            space: 'cluster',
            time: 0,
            key: `/members/${id}`,
            dir: true,
            recursive: true,
          }),
          write('create', `/removed_members/${id}`, 'removed'),
        ]
    }
  }
}

interface RaftAttributes {
  readonly peerURLs: readonly string[]
  readonly isLearner?: boolean
}

/** As the original writes it; it has no learners. */
function attributesText(peerURLs: readonly string[], isLearner: boolean): string {
  const attributes: RaftAttributes = isLearner ? { peerURLs, isLearner } : { peerURLs }
  return JSON.stringify(attributes)
}

function write(op: 'create' | 'update', key: string, value: string): Command {
  return command({ op, space: 'cluster', time: 0, key, value })
}
