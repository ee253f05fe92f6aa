import type { StoreStats } from '../store/stats.ts'

/** What the disk thread is started with. */
export interface DiskOptions {
  /** `<data-dir>/member`, present and writable. */
  readonly directory: string
  /** `log` leaves the materialised store aside and hands out every entry from the first on. */
  readonly source: 'image' | 'log'
  /** Rows that wait in packs before they are merged into the table; without it they are never merged. */
  readonly mergeRows?: number
}

/** Identity and place in the log of this member. */
export interface HardState {
  readonly term: number
  readonly vote: string
  readonly commit: number
}

/** Some events as `packEvents` writes them, up to index `last`. */
export interface EventRow {
  readonly last: number
  readonly body: string
}

/** Makes the rows handed over so far the store at `applied`. */
export interface Image {
  readonly applied: number
  readonly storeIndex: number
  /** Nodes of the store. */
  readonly count: number
  readonly stats: StoreStats
  /** Events since the last image. */
  readonly events: readonly EventRow[]
  /** Events below this index are forgotten. */
  readonly eventFloor: number
}

/** One unit of work: everything in it becomes durable together. */
export interface Batch {
  readonly seq: number
  readonly term: number
  /** Index of the first of `frames`; entries from there on are replaced. */
  readonly firstIndex: number
  readonly frames: Uint8Array
  /** Given when term or vote changed. The commit index rides along: replay finds a later one. */
  readonly hard: HardState | undefined
  /** Rows that changed since the last ones, as `packChanges` packs them; a start finds them once an image came. */
  readonly packs: readonly Uint8Array[]
  readonly image: Image | undefined
  /** Log entries up to here are dropped; 0 for none. */
  readonly compactTo: number
}

export type ToDisk = { readonly type: 'batch'; readonly batch: Batch } | { readonly type: 'close' }

/** The state on disk, as found at the start. */
export interface Loaded {
  readonly hard: HardState
  readonly applied: number
  readonly storeIndex: number
  readonly count: number
  readonly stats: StoreStats | undefined
  readonly firstIndex: number
  readonly lastIndex: number
}

export type FromDisk =
  | { readonly type: 'rows'; readonly pack: Uint8Array }
  | { readonly type: 'events'; readonly body: string }
  | {
      readonly type: 'entries'
      readonly entries: readonly {
        readonly index: number
        readonly term: number
        readonly data: Uint8Array
      }[]
    }
  | { readonly type: 'loaded'; readonly loaded: Loaded }
  | {
      readonly type: 'persisted'
      readonly seq: number
      readonly commitMs: number
    }
  | { readonly type: 'full'; readonly seq: number; readonly message: string }
  | { readonly type: 'closed' }
  | { readonly type: 'failed'; readonly failure: DiskFailureFields }

/** Why the disk cannot serve. `code` decides the exit status. */
export interface DiskFailureFields {
  readonly code: 'IN_USE' | 'DAMAGED' | 'FULL' | 'IO' | 'NO_ADDON' | 'FORMAT'
  readonly message: string
}
