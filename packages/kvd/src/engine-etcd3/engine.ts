import { readFileSync } from 'node:fs'
import type { Logger } from '@flotilla/daemon'
import type { Config } from '../config.ts'
import type { TlsSides } from '../tls/tls-sides.ts'
import type { ExistingEngine } from '../existing-engine.ts'
import { createFullServer } from '../http/full.ts'
import { answerConfigLog, answerMetrics, answerVersion } from '../http/info.ts'
import { PathRouter, type Handler } from '../http/path-router.ts'
import { ClientListener, readFdLimit } from '../listener.ts'
import { EngineError } from './engine-error.ts'
import { EngineMetrics } from './engine-metrics.ts'
import { EtcdError } from './etcd-error.ts'
import { Etcd } from './etcd.ts'
import { Follower } from './follower.ts'
import { FrontStats } from './front-stats.ts'
import type { Front } from './front.ts'
import { serveHealth, serveMachines, serveStats, serveVars } from './info.ts'
import { KeyCache } from './key-cache.ts'
import { serveKeys } from './keys.ts'
import { Layout } from './layout.ts'
import { serveMembers } from './members.ts'
import { createPeerPorts } from './peer-ports.ts'
import { Reader } from './reader.ts'
import { Writer } from './writer.ts'

const DRAIN_MS = 5_000
/** Unread bytes after which a watch is given up; the original gives up after 100 events. */
const WATCH_BYTES_MAX = 4 * 1024 * 1024
/** The cluster version that clients of the v2 API are told. */
const VERSION = '2.3.0'

export interface EngineOptions {
  readonly logger: Logger
  /** What clients are shown, and proxies at the peer port. */
  readonly tls: TlsSides
}

export interface RunningEngine {
  /** Stops listening and ends what is under way after a while. */
  close(): Promise<void>
}

/**
 * Starts a front: the v2 API over an etcd v3 cluster, which holds all state.
 * @throws EngineError when etcd does not answer, ListenError
 */
export async function startEngine(
  config: Config,
  engine: ExistingEngine,
  { logger, tls }: EngineOptions,
): Promise<RunningEngine> {
  const timeoutMs = 5_000 + 2 * config.electionMs
  const { endpoints, user } = engine
  const etcd = new Etcd({ endpoints, user, tls: readTls(engine), timeoutMs })
  const layout = new Layout(engine.prefix)
  const places = endpoints.map(({ origin }) => origin).join(',')
  try {
    const { header } = await etcd.read([{ key: layout.action }])
    logger.info(`engine: serving the tree below ${engine.prefix} of cluster ${header.clusterId}`, {
      endpoints: places,
      revision: header.revision,
    })
  } catch (error) {
    etcd.close()
    if (!(error instanceof EtcdError)) throw error
    const why = error.code === 'UNREACHABLE' ? 'no etcd answers' : error.message
    throw new EngineError(`flag -existing-engine: ${places}: ${why}`)
  }
  const front = createFront({ config, engine, logger, etcd, layout, timeoutMs })
  const ports = openPorts(front, { config, tls, hasPeerPort: engine.hasPeerPort })
  const following = front.follower.run()
  const close = async (): Promise<void> => {
    await ports.close()
    front.follower.close()
    etcd.close()
    await following
  }
  try {
    await ports.listen()
  } catch (error) {
    await close()
    throw error
  }
  return { close }
}

/** @throws EngineError */
function readTls({ caFile, certFile, keyFile }: ExistingEngine): {
  ca: Buffer | undefined
  cert: Buffer | undefined
  key: Buffer | undefined
} {
  const read = (flag: string, path: string | undefined): Buffer | undefined => {
    if (path === undefined) return undefined
    try {
      return readFileSync(path)
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error)
      throw new EngineError(`flag -existing-engine-${flag}: ${why}`)
    }
  }
  return {
    ca: read('ca-file', caFile),
    cert: read('cert-file', certFile),
    key: read('key-file', keyFile),
  }
}

interface FrontParts {
  readonly config: Config
  readonly engine: ExistingEngine
  readonly logger: Logger
  readonly etcd: Etcd
  readonly layout: Layout
  readonly timeoutMs: number
}

function createFront({ config, engine, logger, etcd, layout, timeoutMs }: FrontParts): Front {
  const cache = new KeyCache()
  const stats = new FrontStats()
  const nowMs = Date.now
  const follower = new Follower({
    etcd,
    layout,
    logger,
    capacity: config.eventHistory,
    revision: etcd.revision,
    onChange: ({ type, kv }) =>
      cache.learnChange(kv.key, type === 'put' ? kv : undefined, kv.modRevision),
    onExpired: () => stats.expired(),
  })
  return {
    etcd,
    layout,
    follower,
    stats,
    logger,
    nowMs,
    reader: new Reader({ etcd, layout, stats }),
    writer: new Writer({ etcd, layout, cache, stats, timeoutMs, nowMs, random: Math.random }),
    metrics: new EngineMetrics({
      watchers: () => follower.watchers,
      position: () => follower.position,
    }),
    name: config.name,
    clientURLs: config.clientURLs,
    isSerializable: engine.isSerializable,
    startedAtMs: nowMs(),
    fdLimit: readFdLimit(),
    watchBytesMax: WATCH_BYTES_MAX,
    removedMembers: new Set(),
    lastWritten: 0,
    setLogLevel: (level) => logger.setLevel(level),
  }
}

function tableOf(front: Front): ReadonlyMap<string, Handler> {
  const members: Handler = (request, responder, path) =>
    serveMembers(front, request, path, responder)
  const stats: Handler = (request, responder, path) => serveStats(front, request, path, responder)
  const cluster = { version: VERSION }
  const metrics = async (): Promise<{ type: string; text: string }> => await front.metrics.render()
  return new Map<string, Handler>([
    ['/v2/members', members],
    ['/v2/members/', members],
    ['/v2/machines', (request, responder) => serveMachines(front, request, responder)],
    ['/v2/stats/self', stats],
    ['/v2/stats/leader', stats],
    ['/v2/stats/store', stats],
    ['/health', (request, responder) => serveHealth(front, request, responder)],
    ['/version', (request, responder) => answerVersion({ cluster }, request, responder)],
    ['/metrics', (request, responder) => answerMetrics({ metrics }, request, responder)],
    ['/debug/vars', (request, responder) => serveVars(front, request, responder)],
    ['/config/local/log', (request, responder) => answerConfigLog(front, request, responder)],
  ])
}

interface PortsOptions {
  readonly config: Config
  readonly tls: TlsSides
  readonly hasPeerPort: boolean
}

function openPorts(
  front: Front,
  { config, tls, hasPeerPort }: PortsOptions,
): { listen(): Promise<void>; close(): Promise<void> } {
  const { corsOrigins, listenClientURLs } = config
  const { logger, fdLimit } = front
  const router = new PathRouter({
    keys: (request, key, responder) => serveKeys(front, request, key, responder),
    table: tableOf(front),
    origins: corsOrigins,
  })
  const route = router.route.bind(router)
  const full = createFullServer({
    route,
    // kvd-watch.1 is not spoken here; clients of it fall back to long polls.
    upgrade: (_request, socket) =>
      socket.end('HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n'),
  })
  const clients = new ClientListener({ full, route, logger, fdLimit, tls: tls.clients })
  const peers = hasPeerPort
    ? createPeerPorts(front, { config, tls: tls.peers, version: VERSION })
    : undefined
  return {
    listen: async () => {
      for (const url of listenClientURLs) {
        await clients.listen(url)
        logger.info(`etcdmain: listening for client requests on ${url.origin}`)
      }
      await peers?.listen()
    },
    close: async () => {
      peers?.close()
      clients.drain()
      await clients.ended(DRAIN_MS)
      clients.close()
    },
  }
}
