import { createLogger } from '@flotilla/daemon'
import type { Test } from 'tap'
import { bootstrapCommands, Cluster, clusterId, memberId } from '../../src/cluster.ts'
import type { HttpContext } from '../../src/http/context.ts'
import { createFullServer } from '../../src/http/full.ts'
import { Metrics } from '../../src/http/metrics.ts'
import { Router, type Routes } from '../../src/http/router.ts'
import { WatchSockets } from '../../src/http/watch-socket.ts'
import { ClientListener } from '../../src/listener.ts'
import { Replica } from '../../src/replica.ts'
import { Store } from '../../src/store/store.ts'
import { NOW } from './commands.ts'
import { FakeDisk } from './fake-disk.ts'
import { freePorts } from './store-process.ts'

export const PEER_URL = 'http://127.0.0.1:2380'
export const CLIENT_URLS = ['http://127.0.0.1:4001', 'http://127.0.0.1:2379']

export interface ClientPortOptions {
  readonly cors?: readonly string[]
  readonly routes?: Routes
  readonly historySize?: number
  /** Batches are durable when the test says so; otherwise at once. */
  readonly isByHand?: boolean
  readonly watchBytesMax?: number
  readonly fdLimit?: number
  readonly context?: Partial<HttpContext>
}

/** The client port of a member that was just made, in this process, over a disk in memory. */
export interface ClientPort {
  readonly port: number
  readonly url: string
  readonly store: Store
  readonly replica: Replica
  readonly disk: FakeDisk
  readonly clients: ClientListener
  readonly sockets: WatchSockets
  readonly metrics: Metrics
  readonly lines: readonly string[]
  readonly levels: readonly string[]
  readonly clock: { now: number }
}

/** Opens it; the test's end closes it. The store stands at index 3, the clock at `NOW`. */
export async function openClientPort(
  tt: Test,
  options: ClientPortOptions = {},
): Promise<ClientPort> {
  const clock = { now: NOW }
  const lines: string[] = []
  const levels: string[] = []
  const sink = { write: (line: string) => lines.push(line), writableLength: 0 }
  const logger = createLogger({ sink, journal: true })
  const store = new Store({ historySize: options.historySize ?? 1000 })
  const disk = new FakeDisk({ isInstant: options.isByHand !== true })
  const replica = new Replica({
    store,
    disk,
    logger,
    file: 'kvd.db',
    snapshotCount: 10_000,
    requestTimeoutMs: 7000,
    nowMs: () => clock.now,
    onFailure: (error) => tt.fail(error.message),
  })
  const cluster = bootstrap(store)
  const fdLimit = options.fdLimit ?? 1000
  const metrics = new Metrics({ store, replica, openFiles: () => 7, maxFiles: fdLimit })
  const context: HttpContext = {
    store,
    replica,
    cluster,
    nowMs: () => clock.now,
    gate: () => undefined,
    guardWatch: () => () => undefined,
    counters: metrics,
    startedAtMs: NOW,
    fdLimit,
    setLogLevel: (level) => levels.push(level),
    metrics: async () => await metrics.render(),
    watchBytesMax: options.watchBytesMax ?? 1 << 20,
    headCache: { storeIndex: -1, raftIndex: -1, text: '' },
    ...options.context,
  }
  const router = new Router(context, options.cors ?? [], options.routes ?? new Map())
  const route = router.route.bind(router)
  const sockets = new WatchSockets(context)
  const full = createFullServer({ route, upgrade: sockets.upgrade.bind(sockets) })
  const clients = new ClientListener({ full, route, logger, fdLimit })
  const { client: port } = await freePorts()
  const url = `http://127.0.0.1:${port}`
  await clients.listen(new URL(url))
  tt.teardown(async () => {
    clients.drain()
    sockets.close()
    clients.close()
    while (disk.waiting > 0) disk.commit()
    await replica.close()
  })
  return { port, url, store, replica, disk, clients, sockets, metrics, lines, levels, clock }
}

function bootstrap(store: Store): Cluster {
  const id = memberId([PEER_URL], 'etcd-cluster')
  const identity = { memberId: id, clusterId: clusterId([id]) }
  const member = { name: 'default', clientURLs: CLIENT_URLS, peerURLs: [PEER_URL] }
  for (const entry of bootstrapCommands(identity, member, NOW)) store.apply(entry)
  return new Cluster(identity, store)
}
