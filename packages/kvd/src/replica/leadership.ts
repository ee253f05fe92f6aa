import type { Core } from '../raft/core.ts'
import { isMajority } from '../raft/progress.ts'
import { NONE, type MemberId } from '../raft/types.ts'
import type { ReplicaOptions } from './options.ts'

const LATE = 'etcdserver: request timed out'

/** Who leads, since when, and what that says about requests that were not answered. */
export class Leadership {
  readonly #options: ReplicaOptions
  readonly #core: Core
  readonly #listeners = new Set<(lead: MemberId) => void>()
  #lead: MemberId = NONE
  #sinceMs = 0
  #lostMs = 0

  constructor(options: ReplicaOptions, core: Core) {
    this.#options = options
    this.#core = core
  }

  /** When the leader began to lead, on the clock of `nowMs`. */
  get sinceMs(): number {
    return this.#sinceMs
  }

  /** Hears who leads, each time that it changes. Returns how to stop that. */
  listen(listener: (lead: MemberId) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  follow(lead: MemberId): void {
    if (lead === this.#lead) return
    const { logger, memberId, nowMs } = this.#options
    const node = `raft: raft.node: ${memberId}`
    const at = `at term ${this.#core.view.term}`
    if (lead === NONE) logger.info(`${node} lost leader ${this.#lead} ${at}`)
    else if (this.#lead === NONE) logger.info(`${node} elected leader ${lead} ${at}`)
    else logger.info(`${node} changed leader from ${this.#lead} to ${lead} ${at}`)
    this.#lead = lead
    if (lead === NONE) this.#lostMs = nowMs()
    else this.#sinceMs = nowMs()
    for (const listener of this.#listeners) listener(lead)
  }

  /** Why a request of then may not have been answered (etcd 2.3 etcdserver/server.go). */
  lateCause(sinceMs: number): string {
    const { tickMs, electionTicks, memberId } = this.#options
    const { voters } = this.#core.view.conf
    if (voters.length === 1 && voters[0] === memberId) return LATE
    const failedMs = Math.max(this.#lostMs, this.#sinceMs) - 2 * tickMs * electionTicks
    if (this.#lead !== NONE && sinceMs > failedMs && sinceMs < this.#sinceMs)
      return `${LATE}, possibly due to previous leader failure`
    return this.#isCutOff(sinceMs) ? `${LATE}, possibly due to connection lost` : LATE
  }

  #isCutOff(sinceMs: number): boolean {
    const { memberId, network } = this.#options
    const { role, lead, conf } = this.#core.view
    const isThere = (id: MemberId): boolean =>
      id === memberId || (network.connectedSince(id) ?? Infinity) <= sinceMs
    if (lead === NONE) return true
    return role === 'leader' ? !isMajority(conf, isThere) : !isThere(lead)
  }
}
