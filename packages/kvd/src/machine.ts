import { Buffer } from 'node:buffer'
import { confChangeOf, decodeChange } from './membership/change.ts'
import { Roster, type ChangeProblem } from './membership/roster.ts'
import type { Conf, ConfChange, Entry } from './raft/types.ts'
import { decodeCommand } from './store/command.ts'
import type { Refusal } from './store/errors.ts'
import type { StoreEvent } from './store/event.ts'
import type { Store } from './store/store.ts'

/** What a change of the membership came to. */
export interface Changed {
  /** `none` when it turned out to be invalid. */
  readonly change: ConfChange
  readonly problem: ChangeProblem | undefined
}

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

  /** Carries out an entry, whatever it is. */
  apply(entry: Entry): void {
    if (entry.kind === 'conf') this.applyChange(entry)
    else this.applyRequest(entry)
  }

  /** Of a request or a no-op. */
  applyRequest(entry: Entry): StoreEvent | Refusal | undefined {
    return entry.kind === 'noop' ? undefined : this.store.apply(decodeCommand(bufferOf(entry.data)))
  }

  /** Of an entry of kind `conf`. */
  applyChange(entry: Entry): Changed {
    const change = decodeChange(entry)
    const problem = this.roster.judge(change)
    if (problem !== undefined) return { change: { type: 'none' }, problem }
    this.roster.apply(change)
    return { change: confChangeOf(change), problem }
  }
}

/** The same memory. */
export function bufferOf(bytes: Uint8Array): Buffer {
  if (Buffer.isBuffer(bytes)) return bytes
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}
