import type { Logger, LogLevel } from '@flotilla/daemon'
import type { Etcd } from './etcd.ts'
import type { EngineMetrics } from './engine-metrics.ts'
import type { Follower } from './follower.ts'
import type { FrontStats } from './front-stats.ts'
import type { Layout } from './layout.ts'
import type { Header } from './messages.ts'
import type { Reader } from './reader.ts'
import type { Writer } from './writer.ts'

/** What the handlers of this front share. */
export interface Front {
  readonly etcd: Etcd
  readonly layout: Layout
  readonly reader: Reader
  readonly writer: Writer
  readonly follower: Follower
  readonly stats: FrontStats
  readonly metrics: EngineMetrics
  readonly logger: Logger
  readonly name: string
  /** Client URLs of the fronts: where clients of the v2 API find it. */
  readonly clientURLs: readonly string[]
  /** Reads without `quorum` are answered by one member of etcd, which may be behind. */
  readonly isSerializable: boolean
  readonly nowMs: () => number
  readonly startedAtMs: number
  readonly fdLimit: number
  /** Bytes of events that a slow watcher may leave unread before its answer ends. */
  readonly watchBytesMax: number
  /** Ids of the members that this front has removed: to etcd v3 they are as if they had never been. */
  readonly removedMembers: Set<string>
  /** Revision of the newest write of this front. */
  lastWritten: number
  setLogLevel(level: LogLevel): void
}

/** Header line that names the cluster; etcd has answered before a front begins to. */
export function clusterHead({ etcd }: Front): string {
  return `X-Etcd-Cluster-Id: ${etcd.header?.clusterId ?? '0'}\r\n`
}

/** Headers of a successful answer to keys. etcd does not tell its raft index: the revision stands for it. */
export function successHead(front: Front, { revision, raftTerm }: Header): string {
  const index = Math.max(0, revision - 1)
  return `Content-Type: application/json\r\n${clusterHead(front)}X-Etcd-Index: ${index}\r\nX-Raft-Index: ${revision}\r\nX-Raft-Term: ${raftTerm}\r\n`
}
