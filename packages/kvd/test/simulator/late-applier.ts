import type { Cluster } from './cluster.ts'
import type { Member } from './member.ts'
import type { Plot } from './nemesis.ts'

/** After so long it does not come to anything any more. */
const PATIENCE_MS = 3_000
/** Two changes apart, a majority of before and one of now need not meet. */
const JOINERS = 2

/**
 * A member that knows of two changes of the configuration, and has carried out neither, counts by the
 * configuration of before (raft.md L5): it is left with as many of the old ones as made a majority then,
 * and the leader with all others goes on.
 */
export class LateApplier implements Plot {
  readonly #cluster: Cluster
  readonly #leader: Member
  readonly #late: Member
  readonly #old: readonly string[]
  readonly #join: (leader: Member) => void
  readonly #untilMs: number
  #joined = 0
  #isSplit = false

  /** @param join makes the leader propose a new voter */
  constructor(cluster: Cluster, who: { leader: Member; late: Member }, join: (to: Member) => void) {
    this.#cluster = cluster
    this.#leader = who.leader
    this.#late = who.late
    this.#old = who.leader.core?.view.conf.voters ?? []
    this.#join = join
    this.#untilMs = cluster.agenda.now + PATIENCE_MS
    cluster.network.heal()
    who.late.isApplyHeld = true
  }

  get isOver(): boolean {
    const isOver = this.#cluster.agenda.now > this.#untilMs || !this.#late.isUp
    if (isOver) this.#late.releaseApply()
    return isOver
  }

  taken(member: Member): void {
    if (member === this.#leader && this.#joined < JOINERS) this.#grow()
    else if (!this.#isSplit && this.#isKnown) this.#split()
  }

  #grow(): void {
    const { core } = this.#leader
    if (core?.view.role !== 'leader' || core.view.pendingConfIndex > core.view.log.applied) return
    this.#joined += 1
    this.#join(this.#leader)
  }

  /** Both changes are in effect at the leader, and the late one knows that they are committed. */
  get #isKnown(): boolean {
    const view = this.#leader.core?.view
    if (this.#joined < JOINERS || view?.role !== 'leader') return false
    const isDone = view.conf.voters.length === this.#old.length + JOINERS
    return isDone && (this.#late.core?.view.log.commit ?? 0) >= view.pendingConfIndex
  }

  #split(): void {
    this.#isSplit = true
    const { network, members, agenda } = this.#cluster
    const friends = this.#old.filter((id) => id !== this.#late.id && id !== this.#leader.id)
    const side = new Set([this.#late.id, ...friends.slice(0, (this.#old.length - 1) / 2)])
    this.#cluster.note(`late ${[...side].join(' ')}`)
    for (const from of members.keys())
      for (const to of members.keys()) if (side.has(from) !== side.has(to)) network.cut(from, to)
    agenda.after(0, () => {
      this.#leader.propose({ kind: 'noop', id: '', data: new Uint8Array() })
    })
  }
}
