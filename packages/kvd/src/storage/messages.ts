import type { StoreStats } from '../store/stats.ts'
import type { DiskNode } from './records.ts'

/** What the disk thread is started with. */
export interface DiskOptions {
  /** `<data-dir>/member`, present and writable. */
  readonly directory: string
  /** `log` leaves the materialised store aside and hands out every entry from the first on. */
  readonly source: 'image' | 'log'
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

/** Rows that bring the materialised store up to `applied`. */
export interface Image {
  readonly applied: number
  readonly storeIndex: number
  /** Rows of table node when the image is written. */
  readonly count: number
  readonly stats: StoreStats
  readonly written: readonly DiskNode[]
  readonly removed: readonly Uint8Array[]
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
  | { readonly type: 'nodes'; readonly nodes: readonly DiskNode[] }
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
