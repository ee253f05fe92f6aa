import type { Logger } from '@flotilla/daemon'
import type { Entry, MemberId, Message, MessageOf, Role } from '../raft/types.ts'
import type { Disk, DiskError, DiskSnapshot } from '../storage/disk.ts'
import type { Identity } from '../storage/messages.ts'
import type { Store } from '../store/store.ts'
import type { CrashReport } from './crash-report.ts'

/** The way to the other members. What cannot be sent is lost. */
export interface Network {
  send(message: Message): void
  /** Everything sent in this turn may leave. */
  flush(): void
  /** Resolves when the member has all of it, whether or not it takes it. */
  sendSnapshot(offer: MessageOf<'snapOffer'>, snapshot: DiskSnapshot): Promise<void>
  /** Since when there is a way to a member, on the clock of `nowMs`; undefined: there is none. */
  connectedSince(id: MemberId): number | undefined
}

/** Of a member that is alone. */
export const NO_NETWORK: Network = {
  send: () => undefined,
  flush: () => undefined,
  sendSnapshot: async () => await Promise.reject(new Error('there are no other members')),
  connectedSince: () => undefined,
}

/** What a new member begins with. */
export interface Birth {
  readonly identity: Identity
  /** The log that all first members have in common; empty for one that joins later. */
  readonly entries: readonly Entry[]
  /** Peer URLs of all members, itself included, for as long as it has not heard of them by the log. */
  readonly peers: ReadonlyMap<MemberId, readonly string[]>
}

export interface ReplicaOptions {
  readonly memberId: MemberId
  readonly store: Store
  readonly disk: Disk
  readonly network: Network
  /** Undefined: the disk knows this member. */
  readonly birth: Birth | undefined
  /** Goes on without the others (--force-new-cluster), and says with these URLs that it is there. */
  readonly forcesAlone: { readonly peerURLs: readonly string[] } | undefined
  readonly logger: Logger
  /** The database, for messages. */
  readonly file: string
  readonly snapshotCount: number
  /** Milliseconds of one beat of the clock, and beats without a leader until an election. */
  readonly tickMs: number
  readonly electionTicks: number
  /** Milliseconds until an unanswered proposal is told that it timed out. */
  readonly requestTimeoutMs: number
  /** Milliseconds that proposals of a crowd gather at the most; 10 unless a test says otherwise. */
  readonly gatherMs?: number
  /** Milliseconds since 1970, which pass evenly: how long somebody waits must not hang on a clock that is set. */
  readonly nowMs: () => number
  /** The wall clock, milliseconds since 1970. It may jump. */
  readonly wallMs: () => number
  /** Milliseconds that pass evenly, whatever happens to the wall clock. */
  readonly elapsedMs: () => number
  /** In [0, 1). */
  readonly random: () => number
  readonly onFailure: (error: DiskError) => void
  /** An earlier life has found that what is stored here is wrong. */
  readonly hasDiverged: boolean
  /** The core has thrown, which is a bug: the error goes on, and should end the process. */
  readonly onBroken: (report: CrashReport) => void
}

/** What operators are shown of the log. */
export interface ReplicaStatus {
  readonly commits: number
  readonly commitMsSum: number
  readonly isFull: boolean
  /** Proposals that were refused before they were applied, or told that they are late. */
  readonly failed: number
  /** How long the batch under way has been with the disk; 0 when there is none. */
  readonly stalledMs: number
}

/** What is known of the cluster's consensus here. */
export interface RaftStatus {
  readonly role: Role
  readonly lead: MemberId
  readonly term: number
  readonly vote: MemberId
  readonly commit: number
  readonly applied: number
}
