/** Canonical text of a member id: lower-case hex without leading zeros. */
export type MemberId = string

/** No member: nobody voted for, no leader known. */
export const NONE: MemberId = '0'

export type Role = 'follower' | 'preCandidate' | 'candidate' | 'leader'

export type EntryKind = 'noop' | 'request' | 'conf'

/** One place in the log. */
export interface Entry {
  readonly index: number
  readonly term: number
  readonly kind: EntryKind
  /** Of the request that it carries; empty for none. */
  readonly id: string
  readonly data: Uint8Array
  /** Checksum over this entry and all before it: equal logs have equal chains. */
  readonly chain: number
}

/** Where a log stands. */
export interface Place {
  readonly index: number
  readonly term: number
  readonly chain: number
}

/** An entry before the log gives it a place. */
export type Proposal = Pick<Entry, 'kind' | 'id' | 'data'>

/** What a member must not forget. */
export interface HardState {
  readonly term: number
  readonly vote: MemberId
  readonly commit: number
  /** It has lost what it had acknowledged, and has not been made whole. */
  readonly isDamaged: boolean
}

/** Who counts. */
export interface Conf {
  readonly voters: readonly MemberId[]
  /** They get the log but do not count. */
  readonly learners: readonly MemberId[]
}

export type ConfChange =
  | { readonly type: 'addVoter' | 'addLearner' | 'remove'; readonly id: MemberId }
  /** Nothing that concerns consensus: new URLs, or a change that turned out to be invalid. */
  | { readonly type: 'none' }

/** Where a snapshot stands. */
export interface SnapshotMeta extends Place {
  readonly conf: Conf
}

/** What became of a proposal that was forwarded to the leader. */
export type PropResult =
  | { readonly type: 'appended'; readonly index: number; readonly term: number }
  /** It is in nobody's log. */
  | { readonly type: 'dropped' }

interface VoteRequest {
  readonly lastIndex: number
  readonly lastTerm: number
  /** The leader asked for it: a live leader does not protect itself. */
  readonly isTransfer: boolean
}

export type MessageBody =
  | ({ readonly type: 'preVote' } & VoteRequest)
  | ({ readonly type: 'vote' } & VoteRequest)
  | {
      readonly type: 'preVoteResp'
      readonly isGranted: boolean
      /** Known to be committed, and not behind what the asker has. */
      readonly known?: { readonly index: number; readonly term: number }
    }
  /** `wallMs` as in `hbResp`: who wins has a quorum's clocks at once. */
  | { readonly type: 'voteResp'; readonly isGranted: boolean; readonly wallMs: number }
  | {
      readonly type: 'app'
      readonly prevIndex: number
      readonly prevTerm: number
      readonly prevChain: number
      readonly entries: readonly Entry[]
      readonly commit: number
    }
  /** The log up to `index` is the leader's, and durable. */
  | {
      readonly type: 'appResp'
      readonly index: number
      /** The member has lost acknowledged entries: its word does not count yet. */
      readonly isDamaged: boolean
    }
  | {
      readonly type: 'appReject'
      /** `prevIndex` of what was refused. */
      readonly index: number
      /** Where the logs may meet: the place and its term. */
      readonly hintIndex: number
      readonly hintTerm: number
    }
  | {
      readonly type: 'hb'
      readonly commit: number
      /** Of the receiver: `commit` was acknowledged in that one. 0 when none is known. */
      readonly life: number
      readonly readBatch: number
      /** Cluster time, for whoever leads next. */
      readonly clusterMs: number
    }
  | {
      readonly type: 'hbResp'
      readonly readBatch: number
      /** The member's own clock, milliseconds since 1970. */
      readonly wallMs: number
      readonly isDamaged: boolean
    }
  /** The member has lost acknowledged entries in this life, whatever its mark says. */
  | { readonly type: 'lost'; readonly life: number }
  /** A damaged member of this life is whole when it holds the log up to here. */
  | {
      readonly type: 'whole'
      readonly life: number
      readonly index: number
      readonly lastTerm: number
    }
  | { readonly type: 'readIdx'; readonly batch: number }
  | { readonly type: 'readIdxResp'; readonly batch: number; readonly index: number }
  | { readonly type: 'prop'; readonly proposal: Proposal }
  | { readonly type: 'propResp'; readonly id: string; readonly result: PropResult }
  | { readonly type: 'snapOffer'; readonly meta: SnapshotMeta }
  /** `index` is what the member holds now, whether or not it took the snapshot. */
  | { readonly type: 'snapResp'; readonly index: number; readonly isOk: boolean }
  | { readonly type: 'timeoutNow' }

export type MessageType = MessageBody['type']

/** What members say to each other. */
export type Message = MessageBody & {
  readonly from: MemberId
  readonly to: MemberId
  readonly term: number
  /** Which life of the sender speaks. */
  readonly incarnation: number
}

/** A message of one type. */
export type MessageOf<T extends MessageType> = Extract<Message, { readonly type: T }>

/** Reads of one batch that may be answered once `index` is applied. */
export interface ReadState {
  readonly index: number
  readonly ids: readonly string[]
}

/** A proposal of this member that can never commit. */
export interface LostProposal {
  readonly id: string
  readonly why: 'overwritten' | 'dropped'
}

/** What has to be done since the last time. Batches become durable strictly in their order. */
export interface Ready {
  /** Number of the batch, one more each time. */
  readonly seq: number
  /** Something of it belongs on the disk: `persisted(seq)` is waited for. */
  readonly isDurable: boolean
  readonly soft: { readonly lead: MemberId; readonly role: Role } | undefined
  readonly hard: HardState | undefined
  /** To append; rows from the first index on are replaced. */
  readonly entries: readonly Entry[]
  /** The staged snapshot takes the place of store and log. */
  readonly install: SnapshotMeta | undefined
  /** May leave at once. */
  readonly now: readonly Message[]
  /** May leave only when the batch is durable; those to this member come back to it then. */
  readonly after: readonly Message[]
  /** To apply, in order. */
  readonly committed: readonly Entry[]
  readonly reads: readonly ReadState[]
  readonly lost: readonly LostProposal[]
}

/** Why a proposal or a read was not taken. */
export type Refused =
  /** Nobody to give it to. */
  | 'noLeader'
  /** Not at the moment: the leader hands over, or a change is under way. */
  | 'busy'
  /** Too much waits to be committed. */
  | 'full'
