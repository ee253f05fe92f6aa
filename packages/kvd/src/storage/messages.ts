import type { Place } from '../raft/types.ts'
import type { StoreStats } from '../store/stats.ts'

/** What the disk thread is started with. */
export interface DiskOptions {
  /** `<data-dir>/member`, present and writable. */
  readonly directory: string
  /** `log` leaves the materialised store aside and hands out every entry from the first on. */
  readonly source: 'image' | 'log'
  /** Rows that wait in packs before they are merged into the table; without it they are never merged. */
  readonly mergeRows?: number
  /** Acknowledged entries that are lost are no reason to refuse: others may have them (raft.md 5.6). */
  readonly mayBeDamaged?: boolean
  /** Tests: each batch takes so much longer. */
  readonly delayMs?: number
}

/** Who this member is, for good. */
export interface Identity {
  readonly memberId: string
  readonly clusterId: string
}

/** What a member has promised. */
export interface HardState {
  readonly term: number
  /** Member voted for in `term`; `0` for none. */
  readonly vote: string
  /** It has lost what it had acknowledged, and has not been made whole. */
  readonly isDamaged: boolean
}

/** Some events as `packEvents` writes them, up to index `last`. */
export interface EventRow {
  readonly last: number
  readonly body: string
}

/** Makes the rows and events handed over so far the store at `applied`. */
export interface Image {
  readonly applied: number
  readonly storeIndex: number
  /** Nodes of the store. */
  readonly count: number
  readonly stats: StoreStats
  /** Events below this index are forgotten. */
  readonly eventFloor: number
}

/** One unit of work: everything in it becomes durable together. */
export interface Batch {
  readonly seq: number
  /** As `packEntries` packs them. Entries from the first one's index on are replaced. */
  readonly entries: Uint8Array
  /** Index of the first of `entries`. */
  readonly firstIndex: number
  /** Given when term or vote changed. */
  readonly hard: HardState | undefined
  /** All up to here is known to be committed. */
  readonly commit: number
  /** Given once, with the first batch of a new member. */
  readonly identity: Identity | undefined
  /** Rows that changed since the last ones, as `packChanges` packs them; a start finds them once an image came. */
  readonly packs: readonly Uint8Array[]
  /** Events since the last ones; a start finds them once an image came. */
  readonly events: readonly EventRow[]
  readonly image: Image | undefined
  /** A snapshot of another member, which `packs`, `events` and `image` hold, takes the place of store and log. */
  readonly install: Place | undefined
  /** Log entries up to here are dropped; 0 for none. */
  readonly compactTo: number
}

/** The last image, as another member needs it. */
export interface SnapshotHead {
  readonly place: Place
  readonly storeIndex: number
  /** Nodes of the store: rows that will come. */
  readonly count: number
  readonly stats: StoreStats
}

export type ToDisk =
  | { readonly type: 'batch'; readonly batch: Batch }
  /** Opens the last image for reading; `id` names it from then on. */
  | { readonly type: 'snapshotOpen'; readonly id: number }
  | { readonly type: 'snapshotNext'; readonly id: number }
  | { readonly type: 'snapshotClose'; readonly id: number }
  | { readonly type: 'close' }

/** The state on disk, as found at the start. */
export interface Loaded {
  /** Undefined: nothing was ever written. */
  readonly identity: Identity | undefined
  /** How many times this member was started, this time included. */
  readonly incarnation: number
  readonly hard: HardState
  /** Entries up to here are committed, and are there; but a damaged log may lack some, or hold ones that were replaced. */
  readonly commit: number
  readonly applied: number
  readonly storeIndex: number
  readonly count: number
  readonly stats: StoreStats | undefined
  /** The entry before the first one that is handed out. */
  readonly base: Place
  /** Of the entries on the disk; 0 when there is none. */
  readonly firstIndex: number
  readonly lastIndex: number
}

export type FromDisk =
  | { readonly type: 'rows'; readonly pack: Uint8Array }
  | { readonly type: 'events'; readonly body: string }
  /** Packed as in a batch. */
  | { readonly type: 'entries'; readonly entries: Uint8Array }
  | { readonly type: 'loaded'; readonly loaded: Loaded }
  | {
      readonly type: 'persisted'
      readonly seq: number
      readonly commitMs: number
    }
  | { readonly type: 'full'; readonly seq: number; readonly message: string }
  /** Undefined: there is no image. `events` as `packEvents` packs them. */
  | {
      readonly type: 'snapshot'
      readonly id: number
      readonly head: SnapshotHead | undefined
      readonly events: readonly EventRow[]
    }
  /** Undefined: these were all. */
  | { readonly type: 'snapshotRows'; readonly id: number; readonly pack: Uint8Array | undefined }
  | { readonly type: 'closed' }
  | { readonly type: 'failed'; readonly failure: DiskFailureFields }

/** Why the disk cannot serve. `code` decides the exit status. */
export interface DiskFailureFields {
  readonly code: 'IN_USE' | 'DAMAGED' | 'FULL' | 'IO' | 'NO_ADDON' | 'FORMAT'
  readonly message: string
}
