import type { ReadState, Refused } from '../raft/types.ts'
import { refusal, type Refusal } from '../store/errors.ts'

/** Undefined: what is applied here now may be read. */
export type Reader = (problem: Refusal | undefined) => void

interface Group {
  readonly readers: Reader[]
  readonly sinceMs: number
}

export interface QuorumReadsOptions {
  readonly requestTimeoutMs: number
  readonly nowMs: () => number
  readonly readIndex: (id: string) => 'taken' | Refused
  readonly applied: () => number
  readonly lateCause: (sinceMs: number) => string
}

/** Linearizable reads that wait for the leader's word and for this member to have caught up with it. */
export class QuorumReads {
  readonly #options: QuorumReadsOptions
  readonly #groups = new Map<string, Group>()
  #open: Group | undefined
  #count = 0
  /** The leader has spoken: they wait for an index. */
  #confirmed: { readonly index: number; readonly group: Group }[] = []

  constructor(options: QuorumReadsOptions) {
    this.#options = options
  }

  get isWaiting(): boolean {
    return this.#open !== undefined || this.#groups.size > 0 || this.#confirmed.length > 0
  }

  add(reader: Reader): void {
    this.#open ??= { readers: [], sinceMs: this.#options.nowMs() }
    this.#open.readers.push(reader)
  }

  /** Asks for those that came since the last time, with one question. */
  ask(): void {
    if (this.#open === undefined) return
    const id = String(this.#count + 1)
    if (this.#options.readIndex(id) !== 'taken') return
    this.#count += 1
    this.#groups.set(id, this.#open)
    this.#open = undefined
  }

  confirmed(states: readonly ReadState[]): void {
    for (const { index, ids } of states)
      for (const id of ids) {
        const group = this.#groups.get(id)
        if (group === undefined) continue
        this.#groups.delete(id)
        this.#confirmed.push({ index, group })
      }
  }

  /** Serves those whose index is reached. */
  serve(): void {
    if (this.#confirmed.length === 0) return
    const applied = this.#options.applied()
    const due = this.#confirmed.filter(({ index }) => index <= applied)
    if (due.length === 0) return
    this.#confirmed = this.#confirmed.filter(({ index }) => index > applied)
    for (const { group } of due) for (const reader of group.readers) reader(undefined)
  }

  expire(): void {
    const { nowMs, requestTimeoutMs, lateCause } = this.#options
    const oldest = nowMs() - requestTimeoutMs
    const isLate = ({ sinceMs }: Group): boolean => sinceMs < oldest
    const late: Group[] = []
    for (const [id, group] of this.#groups)
      if (isLate(group)) {
        this.#groups.delete(id)
        late.push(group)
      }
    if (this.#open !== undefined && isLate(this.#open)) {
      late.push(this.#open)
      this.#open = undefined
    }
    late.push(...this.#confirmed.map(({ group }) => group).filter(isLate))
    this.#confirmed = this.#confirmed.filter(({ group }) => !isLate(group))
    for (const { readers, sinceMs } of late)
      for (const reader of readers) reader(refusal(300, lateCause(sinceMs), 0))
  }

  refuseAll(cause: string): void {
    const groups = [...this.#groups.values(), ...this.#confirmed.map(({ group }) => group)]
    if (this.#open !== undefined) groups.push(this.#open)
    this.#groups.clear()
    this.#confirmed = []
    this.#open = undefined
    for (const { readers } of groups) for (const reader of readers) reader(refusal(300, cause, 0))
  }
}
