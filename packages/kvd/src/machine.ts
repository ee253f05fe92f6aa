import { Buffer } from 'node:buffer'
import { confChangeOf, decodeChange } from './membership/change.ts'
import { Roster, type ChangeProblem } from './membership/roster.ts'
import type { Conf, ConfChange, Entry } from './raft/types.ts'
import { decodeCommand } from './store/command.ts'
import type { Refusal } from './store/errors.ts'
import type { StoreEvent } from './store/event.ts'
import type { Store } from './store/store.ts'

/** What an entry came to. */
export type Outcome =
  | { readonly type: 'request'; readonly outcome: StoreEvent | Refusal | undefined }
  | {
      readonly type: 'conf'
      /** `none` when the change turned out to be invalid. */
      readonly change: ConfChange
      readonly problem: ChangeProblem | undefined
    }

const NOTHING: Outcome = { type: 'request', outcome: undefined }

/** What a member makes of the log: the store, the members in it, and who counts. Pure: every member decides alike. */
export class Machine {
  readonly store: Store
  readonly roster: Roster

  constructor(store: Store) {
    this.store = store
    this.roster = new Roster(store)
  }

  get conf(): Conf {
    return this.roster.conf()
  }

  apply(entry: Entry): Outcome {
    if (entry.kind === 'request')
      return { type: 'request', outcome: this.store.apply(decodeCommand(bufferOf(entry.data))) }
    if (entry.kind === 'noop') return NOTHING
    const change = decodeChange(entry)
    const problem = this.roster.judge(change)
    if (problem !== undefined) return { type: 'conf', change: { type: 'none' }, problem }
    this.roster.apply(change)
    return { type: 'conf', change: confChangeOf(change), problem }
  }
}

function bufferOf(bytes: Uint8Array): Buffer {
  if (Buffer.isBuffer(bytes)) return bytes
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}
