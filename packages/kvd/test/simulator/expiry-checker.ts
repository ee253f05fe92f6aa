import { Buffer } from 'node:buffer'
import type { Entry, Ready } from '../../src/raft/types.ts'
import { decodeCommand } from '../../src/store/command.ts'
import type { StoreEvent } from '../../src/store/event.ts'
import type { Member } from './member.ts'

/** What a key with a TTL was promised. */
interface Promised {
  /** By cluster time. */
  readonly untilMs: number
  readonly term: number
}

export interface Expiry {
  readonly key: string
  /** Expired under another leader than it was written under. */
  readonly isAcross: boolean
  /** Cluster time that was missing; 0 when it was due. */
  readonly earlyMs: number
}

/**
 * Knows from outside when each key may expire: by the clock that the leader of each entry had when the
 * entry went into its log, whatever the entry says itself.
 */
export class ExpiryChecker {
  readonly #clusterMs = new Map<string, number>()
  readonly #promised = new Map<string, Promised>()
  #syncedMs = 0

  /** What a leader puts into its log, at this cluster time. Returns the latest of the times. */
  ready(member: Member, { entries }: Ready): number {
    const { core } = member
    if (core?.view.role !== 'leader') return 0
    const own = entries.filter(({ term, kind }) => term === core.view.term && kind === 'request')
    if (own.length === 0) return 0
    const now = core.clusterNow()
    for (const { index, term } of own) this.#clusterMs.set(`${index} ${term}`, now)
    return now
  }

  /** An entry is applied for the first time. */
  applied({ index, term, kind, data }: Entry, events: readonly StoreEvent[]): Expiry[] {
    if (kind !== 'request') return []
    const { op, time, expireAt } = decodeCommand(Buffer.from(data))
    const clusterMs = this.#clusterMs.get(`${index} ${term}`) ?? 0
    const now = Math.max(this.#syncedMs, clusterMs)
    if (op === 'sync') this.#syncedMs = now
    const found: Expiry[] = []
    for (const { action, key } of events) {
      const promised = this.#promised.get(key)
      this.#promised.delete(key)
      if (action === 'expire')
        found.push({
          key,
          isAcross: promised !== undefined && promised.term !== term,
          earlyMs: Math.max(0, (promised?.untilMs ?? Infinity) - now),
        })
      else if (expireAt !== 0) this.#promised.set(key, { untilMs: now + expireAt - time, term })
    }
    return found
  }
}
