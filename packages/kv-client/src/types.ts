import type { HttpTrace } from './http.ts'
import type { Admin } from './admin-types.ts'

/** A node of the v2 key space, as the wire gives it. The root has the key `/` and the indexes 0. */
export interface KvNode {
  readonly key: string
  readonly value?: string
  readonly dir?: boolean
  /** RFC 3339, UTC. */
  readonly expiration?: string
  /** Whole seconds left when the answer was made. */
  readonly ttl?: number
  readonly nodes?: readonly KvNode[]
  readonly modifiedIndex: number
  readonly createdIndex: number
}

/** An answer of the keys API. Indexes and term are 0 and the id is empty where the server did not tell them. */
export interface KvResponse {
  readonly action: string
  readonly node: KvNode
  readonly prevNode?: KvNode
  /** `X-Etcd-Index`: the store's index. A watch that goes on from this answer has `afterIndex: etcdIndex`. */
  readonly etcdIndex: number
  readonly raftIndex: number
  readonly raftTerm: number
  readonly clusterId: string
}

/** What every call takes: a signal that gives the call up. The promise then rejects with the signal's reason. */
export interface CallOptions {
  readonly signal?: AbortSignal | undefined
}

export interface GetOptions extends CallOptions {
  readonly recursive?: boolean | undefined
  readonly sorted?: boolean | undefined
  /** Linearised read through the log. */
  readonly quorum?: boolean | undefined
}

export interface SetOptions extends CallOptions {
  /** Seconds, whole; 0 and less mean none. */
  readonly ttl?: number | undefined
  /** Compare and swap; the empty string is no condition. */
  readonly prevValue?: string | undefined
  /** Compare and swap; 0 is no condition. */
  readonly prevIndex?: number | bigint | undefined
  /** true: update only, false: create only. */
  readonly prevExist?: boolean | undefined
  /** Sets a new ttl and keeps the value; the value given is not sent. */
  readonly refresh?: boolean | undefined
  /** A directory; the value given is not sent. */
  readonly dir?: boolean | undefined
}

export interface DeleteOptions extends CallOptions {
  readonly recursive?: boolean | undefined
  readonly dir?: boolean | undefined
  readonly prevValue?: string | undefined
  readonly prevIndex?: number | bigint | undefined
}

export interface TtlOptions extends CallOptions {
  /** Seconds, whole; 0 and less mean none. */
  readonly ttl?: number | undefined
}

export interface WaitOptions extends CallOptions {
  readonly recursive?: boolean | undefined
  /** The first index wanted; 0 or none: events after now. */
  readonly waitIndex?: number | bigint | undefined
}

export interface WatchOptions extends CallOptions {
  readonly recursive?: boolean | undefined
  /**
   * Events with a modifiedIndex above this one. Give the `etcdIndex` of the read the watch goes on
   * from: without it the watch begins with the first `next()`, and what happened before is not seen.
   */
  readonly afterIndex?: number | undefined
  /** Told before every wait that follows a lost connection; for the caller's log. */
  readonly onRetry?: ((error: Error, waitMs: number) => void) | undefined
}

/**
 * What a watch yields. `event`: one change; its `etcdIndex` is its own index. `resync`: events were
 * lost because the server has forgotten them; `response` is a fresh quorum read of the key, recursive
 * as the watch is (undefined: the key does not exist), at `index`; the events that follow go on from there.
 */
export type WatchEvent =
  | { readonly type: 'event'; readonly response: KvResponse }
  | { readonly type: 'resync'; readonly response: KvResponse | undefined; readonly index: number }

/** PEM texts, as `node:tls` takes them. */
export interface TlsOptions {
  readonly ca?: string | Buffer | readonly (string | Buffer)[] | undefined
  readonly cert?: string | Buffer | undefined
  readonly key?: string | Buffer | undefined
  /** Default true. */
  readonly rejectUnauthorized?: boolean | undefined
}

export interface ClientOptions {
  /** URLs of members; one without a scheme is taken as http. Tried in random order. */
  readonly endpoints: readonly string[]
  readonly tls?: TlsOptions | undefined
  /**
   * URL of an HTTP proxy for all requests; one without a scheme is taken as http, a user and password
   * in it are sent to it. https goes through by CONNECT. Watches are long polls then.
   */
  readonly proxy?: string | undefined
  readonly username?: string | undefined
  readonly password?: string | undefined
  /** Until an endpoint's answer begins, for each endpoint; not for watches. Default 5000; 0: no limit. */
  readonly requestTimeoutMs?: number | undefined
  /** The longest answer accepted. Default 64 MiB. */
  readonly answerBytesMax?: number | undefined
  /**
   * When a write goes on to the next endpoint. `unsent` (default): only if the endpoint certainly did
   * not take it (see README.md). `always`: after every connection failure and 5xx, as etcd's own
   * client does; then a write may be applied twice.
   */
  readonly retryWrites?: 'unsent' | 'always' | undefined
  /** Before the first call, read /v2/members and use all their clientURLs from then on. Default false. */
  readonly sync?: boolean | undefined
  /**
   * Path in front of every key, escaped, without a final slash; default `/v2/keys`. Empty for a
   * service that maps keys onto its root, as a discovery service does. Watches are long polls then.
   */
  readonly keysPrefix?: string | undefined
  /** Ask for kvd's multiplexed watch. Default true; false: long polls only. */
  readonly webSocket?: boolean | undefined
  /** Called before every HTTP request, also for repeated and redirected ones. */
  readonly onRequest?: ((trace: HttpTrace) => void) | undefined
  /** In [0, 1). Default `Math.random`. */
  readonly random?: (() => number) | undefined
  /** Waits between two tries of a watch: doubled from `minMs` up to `maxMs`, with jitter. Default 100 and 10000. */
  readonly backoff?: { readonly minMs: number; readonly maxMs: number } | undefined
  /** How long a long poll is quiet before the client confirms how far it has come. Default 15000. */
  readonly watchRenewMs?: number | undefined
}

export interface KeysApi {
  get(key: string, options?: GetOptions): Promise<KvResponse>
  set(key: string, value: string, options?: SetOptions): Promise<KvResponse>
  /** The key must not exist (else 105). */
  create(key: string, value: string, options?: TtlOptions): Promise<KvResponse>
  /** The key must exist (else 100). */
  update(key: string, value: string, options?: TtlOptions): Promise<KvResponse>
  /** POST: a child of `dir` named by its index. */
  createInOrder(dir: string, value: string, options?: TtlOptions): Promise<KvResponse>
  /** The directory must not exist (else 105). */
  mkdir(key: string, options?: TtlOptions): Promise<KvResponse>
  delete(key: string, options?: DeleteOptions): Promise<KvResponse>
  /** One long poll and nothing else; undefined: the answer ended without an event. */
  waitOnce(key: string, options?: WaitOptions): Promise<KvResponse | undefined>
  /**
   * All changes of a key, in order, each exactly once, across reconnects. Ends when the signal is
   * aborted, the loop is left or the client is closed; throws a KvError when the server refuses (110).
   */
  watch(
    key: string,
    options?: WatchOptions,
  ): AsyncIterableIterator<WatchEvent, undefined, undefined>
}

/** See {@link createClient}. */
export interface KvClient extends KeysApi, Admin {
  /** The endpoints in use, in the order of trying. */
  readonly endpoints: readonly string[]
  /** Reads /v2/members and uses all their clientURLs from now on. ClusterError `NO_ENDPOINTS` when there are none. */
  sync(options?: CallOptions): Promise<void>
  /** Ends watches and connections; calls in flight are given up. */
  close(): void
}
