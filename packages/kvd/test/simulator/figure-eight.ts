import type { Cluster } from './cluster.ts'
import type { Member } from './member.ts'
import type { Plot } from './nemesis.ts'

/** After so long it does not come to anything any more. */
const PATIENCE_MS = 3_000

/**
 * Figure 8 of the Raft paper, as far as a cluster plays along: a leader dies alone with an entry, its
 * successor dies alone with another one in that place, the first comes back, spreads its entry and
 * nothing more, and dies again; then the second comes back. Whoever has called the first entry
 * committed meanwhile has been wrong.
 */
export class FigureEight implements Plot {
  readonly #cluster: Cluster
  readonly #first: Member
  readonly #index: number
  readonly #untilMs: number
  #second: Member | undefined
  #stage: 'alone' | 'succeeded' | 'spreading' | 'over' = 'alone'

  constructor(cluster: Cluster, leader: Member) {
    this.#cluster = cluster
    this.#first = leader
    this.#untilMs = cluster.agenda.now + PATIENCE_MS
    cluster.isolate(leader.id, true)
    leader.propose({ kind: 'noop', id: '', data: new Uint8Array() })
    this.#index = leader.core?.view.log.last ?? 0
    this.#die(leader)
    cluster.network.heal()
  }

  get isOver(): boolean {
    return this.#stage === 'over' || this.#cluster.agenda.now > this.#untilMs
  }

  /** With everything that it had written, and for as long as it is not wanted. */
  #die(member: Member): void {
    if (member.isUp) this.#cluster.crash(member, 2 * PATIENCE_MS, member.disk.waiting)
  }

  /** Somebody has taken a message. */
  taken(member: Member): void {
    const view = member.core?.view
    if (view === undefined) return
    const isLeader = view.role === 'leader'
    if (this.#stage === 'alone' && isLeader && member !== this.#first) this.#succeed(member)
    else if (this.#stage === 'succeeded' && isLeader && member === this.#first)
      this.#stage = 'spreading'
    else if (this.#stage !== 'spreading') return
    else if (member === this.#first) this.#watch(member)
    // It has the entry, and is to have no more: what comes behind it would make it safe.
    else if (view.log.last === this.#index) this.#cluster.network.cut(this.#first.id, member.id)
  }

  #succeed(member: Member): void {
    this.#stage = 'succeeded'
    this.#second = member
    this.#cluster.isolate(member.id, true)
    this.#cluster.agenda.after(0, () => {
      this.#die(member)
      this.#cluster.network.heal()
      this.#cluster.restart(this.#first)
    })
  }

  #watch(member: Member): void {
    const view = member.core?.view
    if (view === undefined || view.log.commit < this.#index) return
    this.#stage = 'over'
    // Right: an entry of its own term is committed with it. Then nothing can go wrong any more.
    if (view.log.term(view.log.commit) === view.term) return
    this.#cluster.isolate(member.id, true)
    this.#die(member)
    this.#cluster.agenda.after(100, () => {
      this.#cluster.network.heal()
      if (this.#second !== undefined) this.#cluster.restart(this.#second)
    })
  }
}
