import { setMaxListeners } from 'node:events'
import { createAdmin, createMembers } from './admin.ts'
import { basicAuth, Cluster, parseEndpoint } from './cluster.ts'
import { ClusterError, errorCode } from './errors.ts'
import { asError, createConnections } from './http.ts'
import type { Connections } from './http.ts'
import { createKeysApi } from './keys-api.ts'
import type { CallOptions, ClientOptions, KvClient, WatchOptions } from './types.ts'
import { pollSession } from './watch/poll.ts'
import { WatchSockets } from './watch/sockets.ts'
import { watch } from './watch/watch.ts'
import type { WatchDeps } from './watch/watch.ts'
import { parseJson, record } from './wire.ts'

const BACKOFF = { minMs: 100, maxMs: 10_000 }
const RENEW_MS = 15_000
const GRACE_MAX_MS = 2000
const PING_MS = 10_000

/**
 * A client of one cluster. Opens nothing before the first call. Throws a TypeError for an endpoint
 * that is no http or https URL.
 */
export function createClient(options: ClientOptions): KvClient {
  const limits = {
    requestTimeoutMs: options.requestTimeoutMs ?? 5000,
    answerBytesMax: options.answerBytesMax ?? 64 * 1024 * 1024,
  }
  const random = options.random ?? Math.random
  const authorization = basicAuth(options.username, options.password)
  const connections = createConnections(options.tls)
  const closed = new AbortController()
  setMaxListeners(0, closed.signal)
  const cluster = new Cluster({
    ...limits,
    endpoints: options.endpoints,
    connections,
    authorization,
    retryWrites: options.retryWrites ?? 'unsent',
    onRequest: options.onRequest,
    random,
  })
  const sync = async (call?: CallOptions): Promise<void> => syncEndpoints(cluster, call)
  const caller = options.sync === true ? syncFirst(cluster, sync) : cluster
  const keys = createKeysApi(caller)
  const sockets = new WatchSockets(cluster, {
    tls: options.tls ?? {},
    authorization,
    handshakeTimeoutMs: limits.requestTimeoutMs,
    frameBytesMax: limits.answerBytesMax,
    pingMs: PING_MS,
  })
  const watches: WatchDeps = {
    get: keys.get,
    open: openSession(
      {
        caller,
        sockets,
        leave: () => cluster.leave(cluster.current),
        renewMs: options.watchRenewMs ?? RENEW_MS,
      },
      options,
    ),
    random,
    backoff: options.backoff ?? BACKOFF,
  }
  return {
    ...keys,
    ...createAdmin(caller, (url, call) =>
      readHealth(connections, { ...limits, url, signal: call?.signal }),
    ),
    get endpoints() {
      return cluster.endpoints
    },
    watch(key: string, watchOptions: WatchOptions = {}) {
      const { signal: given } = watchOptions
      const signal = given === undefined ? closed.signal : AbortSignal.any([given, closed.signal])
      return watch(watches, key, watchOptions, signal)
    },
    sync,
    close() {
      closed.abort(new Error('client: closed'))
      sockets.close()
      connections.close()
    },
  }
}

type Caller = Pick<Cluster, 'call'>

interface SessionSource {
  readonly caller: Caller
  readonly sockets: WatchSockets
  /** Gives the endpoint in use up. */
  readonly leave: () => void
  readonly renewMs: number
}

/** A session by kvd's multiplexed watch where the endpoint has it, else by long polls. */
function openSession(
  { caller, sockets, leave, renewMs }: SessionSource,
  options: Pick<ClientOptions, 'webSocket'>,
): WatchDeps['open'] {
  const graceMs = Math.min(GRACE_MAX_MS, renewMs / 4)
  return async function* open(target, signal) {
    const connection =
      options.webSocket === false ? undefined : await unlessAborted(sockets.connection(), signal)
    if (connection !== undefined) return yield* connection.session(target, signal)
    try {
      yield* pollSession(target, { cluster: caller, signal, renewMs, graceMs })
    } catch (error) {
      sockets.forget()
      if (errorCode(error) === 'HEADER_TIMEOUT') leave()
      throw error
    }
  }
}

async function unlessAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  let onAbort: (() => void) | undefined
  const aborted = new Promise<never>((_, reject) => {
    onAbort = () => reject(asError(signal.reason))
    if (signal.aborted) onAbort()
    else signal.addEventListener('abort', onAbort)
  })
  try {
    return await Promise.race([promise, aborted])
  } finally {
    if (onAbort !== undefined) signal.removeEventListener('abort', onAbort)
  }
}

async function syncEndpoints(cluster: Cluster, call?: CallOptions): Promise<void> {
  const members = await createMembers(cluster).members(call)
  const urls = members.flatMap((member) => member.clientURLs)
  if (urls.length === 0) throw new ClusterError('NO_ENDPOINTS', [])
  const same = cluster.endpoints.toSorted().join() === urls.toSorted().join()
  // etcd 2.3 client/client.go: nothing new, so the endpoint that works is kept.
  if (!same) cluster.setEndpoints(urls)
}

/** Every call waits for one sync; a sync that failed fails the call and is made again for the next one. */
function syncFirst(cluster: Cluster, sync: (call?: CallOptions) => Promise<void>): Caller {
  let synced: Promise<void> | undefined
  return {
    async call(call) {
      synced ??= sync()
      try {
        await synced
      } catch (error) {
        synced = undefined
        throw error
      }
      return cluster.call(call)
    },
  }
}

/** The two forms the field `health` had in etcd's history: a text and a boolean. */
async function readHealth(
  connections: Connections,
  ask: {
    url: string
    requestTimeoutMs: number
    answerBytesMax: number
    signal?: AbortSignal | undefined
  },
): Promise<boolean> {
  const answer = await connections.send({
    method: 'GET',
    url: new URL(`${parseEndpoint(ask.url).href.replace(/\/$/, '')}/health`),
    headers: {},
    signal: ask.signal,
    headerTimeoutMs: ask.requestTimeoutMs,
    answerBytesMax: ask.answerBytesMax,
    isPoll: false,
  })
  const { health } = record(parseJson(answer.body))
  return health === 'true' || health === true
}
