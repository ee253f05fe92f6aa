import { Buffer } from 'node:buffer'
import type { ConfChange, Entry, MemberId } from '../raft/types.ts'

/** A change of the membership as a log entry carries it. */
export type MemberChange =
  | {
      readonly type: 'add'
      readonly id: MemberId
      readonly peerURLs: readonly string[]
      /** It gets the log, but does not count until it is promoted. */
      readonly isLearner: boolean
    }
  | { readonly type: 'promote'; readonly id: MemberId }
  | { readonly type: 'update'; readonly id: MemberId; readonly peerURLs: readonly string[] }
  | { readonly type: 'remove'; readonly id: MemberId }

export function encodeChange(change: MemberChange): Buffer {
  return Buffer.from(JSON.stringify(change))
}

/** Of an entry of kind `conf`, whose checksum was verified. */
export function decodeChange({ data }: Pick<Entry, 'data'>): MemberChange {
  const change: MemberChange = JSON.parse(Buffer.from(data).toString())
  return change
}

/** Whom an entry removes. */
export function removedBy(entry: Entry): MemberId | undefined {
  const change = decodeChange(entry)
  return change.type === 'remove' ? change.id : undefined
}

/** What a valid change means for consensus. */
export function confChangeOf(change: MemberChange): ConfChange {
  switch (change.type) {
    case 'add':
      return { type: change.isLearner ? 'addLearner' : 'addVoter', id: change.id }
    case 'promote':
      return { type: 'addVoter', id: change.id }
    case 'remove':
      return { type: 'remove', id: change.id }
    case 'update':
      return { type: 'none' }
  }
}
