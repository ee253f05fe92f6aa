// What is said to an etcd v3 cluster, as far as this front needs it (etcd 3.4 etcdserverpb/rpc.proto,
// mvccpb/kv.proto). Keys and values are texts of `decodeText`, so that any bytes survive.

/** Stands at the head of every answer. */
export interface Header {
  /** Hexadecimal without leading zeros. */
  readonly clusterId: string
  readonly memberId: string
  readonly revision: number
  readonly raftTerm: number
}

export interface KeyValue {
  readonly key: string
  readonly value: string
  readonly createRevision: number
  readonly modRevision: number
  /** 0 for none. */
  readonly lease: bigint
}

/** One key, or all keys from `key` on and before `end`. */
export interface Span {
  readonly key: string
  readonly end?: string
}

export interface RangeRequest extends Span {
  /** 0 or absent: all. */
  readonly limit?: number
  /** 0 or absent: the newest. */
  readonly revision?: number
  /** Answered by the member asked, which may be behind. */
  readonly serializable?: boolean
}

export interface Put {
  readonly type: 'put'
  readonly key: string
  readonly value: string
  /** 0 for none. */
  readonly lease: bigint
}

export type TxnOperation =
  ({ readonly type: 'range' } & RangeRequest) | Put | ({ readonly type: 'delete' } & Span)

/**
 * Holds when every key of the span has that number, or a greater one; a key that is not there has 0.
 */
export interface Compare extends Span {
  readonly target: 'version' | 'create' | 'mod'
  readonly than?: 'equal' | 'greater'
  readonly is: number
}

export interface TxnRequest {
  readonly compare: readonly Compare[]
  readonly success: readonly TxnOperation[]
  readonly failure: readonly TxnOperation[]
}

export interface TxnResponse {
  readonly header: Header
  readonly succeeded: boolean
  /** What the range operations found, in their order. */
  readonly ranges: readonly (readonly KeyValue[])[]
}

export interface WatchRequest extends Span {
  readonly startRevision: number
}

export interface ChangeEvent {
  readonly type: 'put' | 'delete'
  /** A deleted key has no value; its `modRevision` is the one of the deletion. */
  readonly kv: KeyValue
  /** What was there before. */
  readonly previous: KeyValue | undefined
}

export interface WatchResponse {
  readonly header: Header
  readonly isCreated: boolean
  readonly isCanceled: boolean
  /** Not 0: what was asked for is gone, and this is the oldest revision left. */
  readonly compactRevision: number
  readonly cancelReason: string
  readonly events: readonly ChangeEvent[]
}

export interface EtcdMember {
  /** Hexadecimal without leading zeros. */
  readonly id: string
  readonly name: string
  readonly peerURLs: readonly string[]
  readonly clientURLs: readonly string[]
}

export interface MembersResponse {
  readonly header: Header
  readonly members: readonly EtcdMember[]
  /** The one that was added. */
  readonly added: EtcdMember | undefined
}

export interface StatusResponse {
  readonly header: Header
  readonly version: string
  /** Id of the leader; `0` while there is none. */
  readonly leader: string
  readonly raftIndex: number
}
