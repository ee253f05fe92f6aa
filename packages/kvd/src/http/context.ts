import type { LogLevel } from '@flotilla/daemon'
import type { Store } from '../store/store.ts'
import type { Replica } from '../replica.ts'
import type { Cluster } from '../cluster.ts'
import type { RawRequest } from './message.ts'

/** Says whether a request to keys may go on. `recursive` is what it asked for. */
export interface Gate {
  mayAccess(
    request: RawRequest,
    key: string,
    access: { readonly write: boolean; readonly recursive: boolean },
  ): boolean | Promise<boolean>
}

/** Counts of what clients asked for, by method; read by /metrics. */
export interface RequestCounters {
  received(method: string): void
  failed(method: string, status: number): void
  succeeded(method: string, seconds: number): void
}

/** What the handlers of the client port share. */
export interface HttpContext {
  readonly store: Store
  readonly replica: Replica
  readonly cluster: Cluster
  readonly nowMs: () => number
  /** Undefined while auth is off. */
  readonly gate: () => Gate | undefined
  readonly counters: RequestCounters
  readonly startedAtMs: number
  /** Open files that the system allows this process. */
  readonly fdLimit: number
  setLogLevel(level: LogLevel): void
  /** Prometheus text and its content type. */
  metrics(): Promise<{ readonly type: string; readonly text: string }>
  /** Bytes of events that a slow watcher may leave unread before its answer ends. */
  readonly watchBytesMax: number
  readonly headCache: HeadCache
}

/** The headers of the last successful answer to keys. */
export interface HeadCache {
  storeIndex: number
  raftIndex: number
  text: string
}
