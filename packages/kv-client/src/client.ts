import { setMaxListeners } from 'node:events'
import { createAdmin, createMembers } from './admin.ts'
import { basicAuth, Cluster, parseEndpoint } from './cluster.ts'
import { ClusterError } from './errors.ts'
import { createConnections } from './http.ts'
import type { Connections } from './http.ts'
import { KEYS_PREFIX } from './keys.ts'
import { createKeysApi } from './keys-api.ts'
import { unlessAborted } from './signal.ts'
import type { CallOptions, ClientOptions, KvClient, WatchOptions } from './types.ts'
import type { Watcher, WatcherOptions } from './watch/watcher.ts'
import { parseJson, record } from './wire.ts'

const BACKOFF = { minMs: 100, maxMs: 10_000 }
const RENEW_MS = 15_000
const PING_MS = 10_000
/** What a timer of Node can wait, 25 days; a longer one would fire at once. */
const TIMER_MS_MAX = 2 ** 31 - 1

/**
 * A client of one cluster. Opens nothing before the first call. Throws a TypeError for an endpoint
 * or a proxy that is no http or https URL.
 */
export function createClient(options: ClientOptions): KvClient {
  const limits = {
    requestTimeoutMs: Math.min(options.requestTimeoutMs ?? 5000, TIMER_MS_MAX),
    answerBytesMax: options.answerBytesMax ?? 64 * 1024 * 1024,
  }
  const random = options.random ?? Math.random
  const authorization = basicAuth(options.username, options.password)
  const proxy = options.proxy === undefined ? undefined : parseEndpoint(options.proxy, 'proxy')
  const connections = createConnections(options.tls, proxy)
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
  const caller = options.sync === true ? syncFirst(cluster, sync) : { cluster, ready: asItIs }
  const keysPrefix = options.keysPrefix ?? KEYS_PREFIX
  const keys = createKeysApi(caller.cluster, keysPrefix)
  let watcher: Watcher | undefined
  const watchDeps: WatcherOptions = {
    ready: caller.ready,
    cluster,
    get: keys.get,
    keysPrefix,
    // A socket's frames name keys, and the prefix of a mapped service is no part of them.
    webSocket: options.webSocket !== false && keysPrefix === KEYS_PREFIX && proxy === undefined,
    socket: {
      tls: options.tls ?? {},
      authorization,
      handshakeTimeoutMs: limits.requestTimeoutMs,
      frameBytesMax: limits.answerBytesMax,
      pingMs: PING_MS,
    },
    renewMs: options.watchRenewMs ?? RENEW_MS,
    random,
    backoff: options.backoff ?? BACKOFF,
  }
  return {
    ...keys,
    ...createAdmin(caller.cluster, (url, call) =>
      readHealth(connections, { ...limits, url, signal: call?.signal }),
    ),
    get endpoints() {
      return cluster.endpoints
    },
    async *watch(key: string, watchOptions: WatchOptions = {}) {
      const { signal: given } = watchOptions
      const signal = given === undefined ? closed.signal : AbortSignal.any([given, closed.signal])
      // Programs that do not watch start faster without this code.
      const { createWatcher } = await import('./watch/watcher.ts')
      watcher ??= createWatcher(watchDeps)
      return yield* watcher.watch(key, watchOptions, signal)
    },
    sync,
    close() {
      closed.abort(new Error('client: closed'))
      watcher?.close()
      connections.close()
    },
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

interface Ready {
  readonly cluster: Pick<Cluster, 'call'>
  readonly ready: () => Promise<void>
}

async function asItIs(): Promise<void> {
  // The endpoints are used as they were given.
}

/** Every call waits for one sync; a sync that failed fails the call and is made again for the next one. */
function syncFirst(cluster: Cluster, sync: () => Promise<void>): Ready {
  let synced: Promise<void> | undefined
  const ready = async (): Promise<void> => {
    synced ??= sync()
    try {
      await synced
    } catch (error) {
      synced = undefined
      throw error
    }
  }
  return {
    ready,
    cluster: {
      async call(call) {
        await unlessAborted(ready(), call.signal)
        return cluster.call(call)
      },
    },
  }
}

/** A member takes a second to find that no majority confirms it (etcd 2.3 etcdserver/api/v2http/client.go), and then says so. */
const HEALTH_MS_MIN = 5000

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
    headerTimeoutMs: ask.requestTimeoutMs === 0 ? 0 : Math.max(ask.requestTimeoutMs, HEALTH_MS_MIN),
    answerBytesMax: ask.answerBytesMax,
    isPoll: false,
  })
  const { health } = record(parseJson(answer.body))
  return health === 'true' || health === true
}
