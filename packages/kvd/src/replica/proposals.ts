import type { LostProposal, Proposal, Refused } from '../raft/types.ts'
import { DATA_BYTES_MAX } from '../storage/entry-codec.ts'
import { refusal, type Refusal } from '../store/errors.ts'
import { numberIn, WaitingRing } from './waiting-ring.ts'

const TOO_MANY = 'etcdserver: too many requests'
/** The text of etcd 3 for it. No frame between members would hold it, and nothing behind it would be committed. */
export const TOO_LARGE = 'etcdserver: request is too large'

/** Hears what became of a proposal, once. */
export type Waiter<T> = (outcome: T | Refusal) => void

/** A proposal, and who waits for it. */
interface Pending<T> extends Proposal {
  /** The id ends with it. */
  readonly number: number
  readonly waiter: Waiter<T>
  readonly sinceMs: number
}

export interface ProposalsOptions {
  readonly kind: Proposal['kind']
  /** Of every id that this process makes; no other process has the same. */
  readonly prefix: string
  readonly requestTimeoutMs: number
  /** Of all that wait here, whether somebody leads or not; one is always taken. */
  readonly bytesMax: number
  readonly nowMs: () => number
  readonly propose: (proposal: Proposal) => 'taken' | Refused
  /** Whether one waits, the next time that something is proposed or tried again; never when not given. */
  readonly isHeld?: () => boolean
  /** Why a proposal of then may not have been answered. */
  readonly lateCause: (sinceMs: number) => string
  /** Hears how long each proposal took from its coming to its answer. */
  readonly answered: (ms: number) => void
}

/**
 * The proposals of this member's clients, until they are answered. One that is in nobody's log, nor
 * will be, is proposed again; one that may be is only waited for.
 */
export class Proposals<T> {
  readonly #options: ProposalsOptions
  /** Proposed. */
  readonly #pending = new WaitingRing<Pending<T>>()
  /** Not proposed yet: nobody leads, the leader is about to hand over, or they gather. */
  #queue: Pending<T>[] = []
  #bytes = 0
  #failed = 0

  constructor(options: ProposalsOptions) {
    this.#options = options
  }

  get count(): number {
    return this.#pending.size + this.#queue.length
  }

  /** Refused before they were applied, or told that they are late. */
  get failed(): number {
    return this.#failed
  }

  add(data: Uint8Array, waiter: Waiter<T>): void {
    const { kind, nowMs, bytesMax, isHeld } = this.#options
    if (data.length > DATA_BYTES_MAX) {
      this.refuse(waiter, TOO_LARGE)
      return
    }
    if (this.#bytes > 0 && this.#bytes + data.length > bytesMax) {
      this.refuse(waiter, TOO_MANY)
      return
    }
    this.#bytes += data.length
    const number = this.#pending.next()
    const pending = { kind, number, id: this.#idOf(number), data, waiter, sinceMs: nowMs() }
    if (isHeld?.() === true) this.#queue.push(pending)
    else this.#try(pending)
  }

  #idOf(number: number): string {
    return this.#options.prefix + number.toString(36)
  }

  /** Undefined when nothing of this process waits under the id. */
  #take(id: string): Pending<T> | undefined {
    const { prefix } = this.#options
    return id.startsWith(prefix) ? this.#pending.take(numberIn(id, prefix.length)) : undefined
  }

  #try(pending: Pending<T>): void {
    const result = this.#options.propose(pending)
    if (result === 'taken') this.#pending.add(pending)
    else if (result === 'full') this.#giveUp(pending, TOO_MANY)
    else this.#queue.push(pending)
  }

  /** Tries again what could not be proposed. */
  retry(): void {
    if (this.#queue.length === 0 || this.#options.isHeld?.() === true) return
    const queue = this.#queue
    this.#queue = []
    for (const pending of queue) this.#try(pending)
  }

  /** An entry was applied: whoever proposed it, if it was somebody here, is told. */
  applied(id: string, outcome: T | Refusal): void {
    const pending = this.#take(id)
    if (pending === undefined) return
    this.#bytes -= pending.data.length
    this.#options.answered(this.#options.nowMs() - pending.sinceMs)
    pending.waiter(outcome)
  }

  /** They are in nobody's log, nor will be: under new names they may try once more. */
  lost(lost: readonly LostProposal[]): void {
    for (const { id, why } of lost) {
      const pending = this.#take(id)
      if (pending === undefined) continue
      // The disk may not have had room for the entry that is lost: it is packed again, as it was stamped.
      const data = why === 'overwritten' ? Uint8Array.from(pending.data) : pending.data
      const number = this.#pending.next()
      this.#queue.push({ ...pending, data, number, id: this.#idOf(number) })
    }
  }

  /** Tells those that have waited too long; they may still be applied later. */
  expire(): void {
    const { nowMs, requestTimeoutMs, lateCause } = this.#options
    const oldest = nowMs() - requestTimeoutMs
    for (const pending of this.#pending.all()) {
      if (pending.sinceMs >= oldest) continue
      if (this.#pending.take(pending.number) !== undefined)
        this.#giveUp(pending, lateCause(pending.sinceMs))
    }
    const late = this.#queue.filter(({ sinceMs }) => sinceMs < oldest)
    if (late.length === 0) return
    this.#queue = this.#queue.filter(({ sinceMs }) => sinceMs >= oldest)
    for (const pending of late) this.#giveUp(pending, lateCause(pending.sinceMs))
  }

  refuseAll(cause: string): void {
    const all = [...this.#pending.all(), ...this.#queue]
    this.#pending.clear()
    this.#queue = []
    for (const pending of all) this.#giveUp(pending, cause)
  }

  #giveUp({ data, waiter }: Pending<T>, cause: string): void {
    this.#bytes -= data.length
    this.refuse(waiter, cause)
  }

  /** Answers a proposer whose proposal goes nowhere. */
  refuse(waiter: Waiter<T>, cause: string): void {
    this.#failed += 1
    waiter(refusal(300, cause, 0))
  }
}
