import { setMaxListeners } from 'node:events'
import { createAdmin } from './admin.ts'
import { basicAuth, Cluster, parseEndpoint } from './cluster.ts'
import { ClusterError } from './errors.ts'
import { createConnections } from './http.ts'
import type { Connections } from './http.ts'
import { createKeysApi } from './keys-api.ts'
import type { CallOptions, ClientOptions, KvClient, WatchOptions } from './types.ts'
import { pollSession } from './watch/poll.ts'
import { watch } from './watch/watch.ts'
import { parseJson, record } from './wire.ts'

const BACKOFF = { minMs: 100, maxMs: 10_000 }
const RENEW_MS = 15_000
const GRACE_MAX_MS = 2000

/**
 * A client of one cluster. Opens nothing before the first call. Throws a TypeError for an endpoint
 * that is no http or https URL.
 */
export function createClient(options: ClientOptions): KvClient {
  const settings = {
    requestTimeoutMs: options.requestTimeoutMs ?? 5000,
    answerBytesMax: options.answerBytesMax ?? 64 * 1024 * 1024,
  }
  const random = options.random ?? Math.random
  const connections = createConnections(options.tls)
  const closed = new AbortController()
  setMaxListeners(0, closed.signal)
  const cluster = new Cluster({
    endpoints: options.endpoints,
    connections,
    authorization: basicAuth(options.username, options.password),
    requestTimeoutMs: settings.requestTimeoutMs,
    answerBytesMax: settings.answerBytesMax,
    retryWrites: options.retryWrites ?? 'unsent',
    onRequest: options.onRequest,
    random,
  })
  const admin = createAdmin(cluster, (url, call) =>
    readHealth(connections, { ...settings, url, signal: call?.signal }),
  )
  const keys = createKeysApi(cluster)
  const renewMs = options.watchRenewMs ?? RENEW_MS
  return {
    ...keys,
    ...admin,
    get endpoints() {
      return cluster.endpoints
    },
    watch(key: string, watchOptions: WatchOptions = {}) {
      const { signal: given } = watchOptions
      const signal = given === undefined ? closed.signal : AbortSignal.any([given, closed.signal])
      const deps = {
        get: keys.get,
        open: (target: Parameters<typeof pollSession>[0]) =>
          pollSession(target, {
            cluster,
            signal,
            renewMs,
            graceMs: Math.min(GRACE_MAX_MS, renewMs / 4),
          }),
        random,
        backoff: options.backoff ?? BACKOFF,
      }
      return watch(deps, key, watchOptions, signal)
    },
    async sync(call?: CallOptions) {
      const urls = (await admin.members(call)).flatMap((member) => member.clientURLs)
      if (urls.length === 0) throw new ClusterError('NO_ENDPOINTS', [])
      const same = [...cluster.endpoints].toSorted().join() === urls.toSorted().join()
      if (!same) cluster.setEndpoints(urls)
    },
    close() {
      closed.abort(new Error('client: closed'))
      connections.close()
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
