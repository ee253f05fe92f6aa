import type { Core } from '../raft/core.ts'
import { sizeOf } from '../raft/log.ts'
import type { MemberId } from '../raft/types.ts'
import type { ReplicaOptions } from './options.ts'
import { MESSAGE_BYTES_MAX } from './start.ts'

type LearnersOptions = Pick<ReplicaOptions, 'nowMs' | 'tickMs' | 'electionTicks' | 'network'>

/** Leader: when a learner may begin to count (raft.md 7.3). */
export class Learners {
  readonly #options: LearnersOptions
  readonly #core: Core
  /** Since when each has had all but the newest entries. */
  readonly #levelSinceMs = new Map<MemberId, number>()

  constructor(options: LearnersOptions, core: Core) {
    this.#options = options
    this.#core = core
  }

  /** Those that have caught up, and stayed so for an election timeout. Each is named once. */
  takeReady(): readonly MemberId[] {
    const { conf, role } = this.#core.view
    for (const id of this.#levelSinceMs.keys())
      if (role !== 'leader' || !conf.learners.includes(id)) this.#levelSinceMs.delete(id)
    if (role !== 'leader') return []
    return conf.learners.filter((id) => this.#isReady(id))
  }

  #isReady(id: MemberId): boolean {
    const { nowMs, tickMs, electionTicks, network } = this.#options
    const { match = 0, isDamaged = false } = this.#core.view.progress.get(id) ?? {}
    // One that is damaged would count among those of whom a majority is needed, and not towards it.
    const isThere = network.connectedSince(id) !== undefined && !isDamaged
    const isLevel = isThere && match > 0 && this.#bytesBehind(match) <= MESSAGE_BYTES_MAX
    const sinceMs = this.#levelSinceMs.get(id)
    if (!isLevel) this.#levelSinceMs.delete(id)
    else if (sinceMs === undefined) this.#levelSinceMs.set(id, nowMs())
    else if (nowMs() - sinceMs >= tickMs * electionTicks) return this.#levelSinceMs.delete(id)
    return false
  }

  /** Of the log behind an index; Infinity when it does not reach there. */
  #bytesBehind(index: number): number {
    const { log } = this.#core.view
    if (index + 1 < log.first) return Infinity
    let bytes = 0
    for (let at = index + 1; at <= log.last && bytes <= MESSAGE_BYTES_MAX; at += 1) {
      const entry = log.at(at)
      bytes += entry === undefined ? 0 : sizeOf(entry)
    }
    return bytes
  }
}
