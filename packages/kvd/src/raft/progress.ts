import type { Conf, MemberId } from './types.ts'

/** What the leader knows of one member's log. */
export interface Progress {
  /** The log is the leader's up to here, and durable. */
  match: number
  /** The next entry to send. */
  next: number
  /**
   * `probe`: one message at a time, to find where the logs meet. `replicate`: messages follow each
   * other without waiting. `snapshot`: nothing until the snapshot has arrived or failed.
   */
  state: 'probe' | 'replicate' | 'snapshot'
  /** In `probe`: a message is on its way. */
  isProbeSent: boolean
  /** In `probe`: the last guess was wrong, so the next one is made without entries. */
  isSearching: boolean
  /** Last index and bytes of each message that is on its way. */
  inflight: { readonly index: number; readonly bytes: number }[]
  /** Heard from since the last check of the quorum. */
  isActive: boolean
  /** The highest read batch that it has confirmed. */
  readBatch: number
  /** The highest commit index that it was told. */
  sentCommit: number
  /** It has lost acknowledged entries and does not count until it has them again. */
  isDamaged: boolean
  /** It has lost them and does not know yet. */
  hasLost: boolean
  /** What it had acknowledged in earlier lives. */
  ackedBefore: number
  recovery: Recovery | undefined
}

/** A damaged member on its way to be whole. */
interface Recovery {
  /** Heartbeats of this round confirm that the leader still led when it had heard of the damage. */
  readonly round: number
  /** Where the log ended when they had. */
  readonly upTo: { readonly index: number; readonly lastTerm: number } | undefined
}

export function createProgress(last: number): Progress {
  return {
    match: 0,
    next: last + 1,
    state: 'probe',
    isProbeSent: false,
    isSearching: false,
    inflight: [],
    isActive: false,
    readBatch: 0,
    sentCommit: 0,
    isDamaged: false,
    hasLost: false,
    ackedBefore: 0,
    recovery: undefined,
  }
}

export function probe(progress: Progress, next: number): void {
  progress.state = 'probe'
  progress.isProbeSent = false
  progress.isSearching = false
  progress.inflight = []
  progress.next = Math.max(next, progress.match + 1)
}

export interface Window {
  readonly messages: number
  readonly bytes: number
}

export function isFull({ inflight }: Progress, window: Window): boolean {
  if (inflight.length >= window.messages) return true
  let bytes = 0
  for (const message of inflight) bytes += message.bytes
  return bytes >= window.bytes
}

/** Messages up to `index` have arrived. */
export function freeUpTo(progress: Progress, index: number): void {
  const at = progress.inflight.findIndex((message) => message.index > index)
  if (at === -1) progress.inflight = []
  else if (at > 0) progress.inflight.splice(0, at)
}

function quorumOf({ voters }: Pick<Conf, 'voters'>): number {
  return Math.floor(voters.length / 2) + 1
}

/** True when a majority of the voters are such. */
export function isMajority(conf: Conf, isSuch: (id: MemberId) => boolean): boolean {
  let count = 0
  for (const id of conf.voters) if (isSuch(id)) count += 1
  return count >= quorumOf(conf)
}

/** One for all calls: this is on the way of every write, and garbage is what costs there. */
const values: number[] = []

/** The largest value that a majority of the voters have reached. `valueOf` must not ask for one itself. */
export function quorumValue(conf: Conf, valueOf: (id: MemberId) => number): number {
  values.length = 0
  for (const id of conf.voters) {
    const value = valueOf(id)
    // Largest first.
    let at = values.length
    for (; at > 0; at -= 1) {
      const before = values[at - 1] ?? 0
      if (before >= value) break
      values[at] = before
    }
    values[at] = value
  }
  return values[quorumOf(conf) - 1] ?? 0
}
