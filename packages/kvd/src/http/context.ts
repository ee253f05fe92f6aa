import type { LogLevel } from '@flotilla/daemon'
import type { Access } from '../auth/role.ts'
import type { Store } from '../store/store.ts'
import type { Replica } from '../replica/replica.ts'
import type { Cluster } from '../cluster.ts'
import type { RawRequest } from './message.ts'

/** `busy`: too many other passwords are being checked. */
export type Verdict = 'allowed' | 'refused' | 'busy'

/** Says whether a request may go on: at once when its credentials are known. */
export interface Gate {
  /** @param path the key, decoded, as it was sent: `/a/` is not `/a` */
  mayAccess(request: RawRequest, path: string, access: Access): Verdict | Promise<Verdict>
  /** Whether the user has the role `root`. */
  mayAdminister(request: RawRequest): Verdict | Promise<Verdict>
}

/** A running watch that ends when it may no longer read. */
export interface GuardedWatch {
  /** The credentials that it was opened with. */
  readonly request: Pick<RawRequest, 'authorization'>
  readonly path: string
  readonly recursive: boolean
  end(): void
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
  /** Ends a watch as soon as its rights are gone. Returns how to forget it. */
  guardWatch(watch: GuardedWatch): () => void
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
  readonly membership: MembershipRules
  readonly traffic: Traffic
}

/** What /v2/stats shows of the messages between members. */
export interface Traffic {
  /** Leader: by member, what became of what it was sent. */
  followers(): Readonly<Record<string, object>>
  /** Counts and rates of appends, received and sent. */
  self(): object
}

/** How members may be added and removed. */
export interface MembershipRules {
  /** Refuses what would leave too few started members (--strict-reconfig-check). */
  readonly isStrict: boolean
  /** New members count at once (--add-members-as-voters). */
  readonly addsVoters: boolean
}

/** The headers of the last successful answer to keys. */
export interface HeadCache {
  storeIndex: number
  raftIndex: number
  raftTerm: number
  text: string
}
