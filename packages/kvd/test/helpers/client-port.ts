import { setImmediate as turn } from 'node:timers/promises'
import { createLogger } from '@flotilla/daemon'
import type { Test } from 'tap'
import { attributesCommand, Cluster, versionCommand } from '../../src/cluster.ts'
import type { HttpContext } from '../../src/http/context.ts'
import { createFullServer } from '../../src/http/full.ts'
import { Metrics } from '../../src/http/metrics.ts'
import { Router, type Routes } from '../../src/http/router.ts'
import { WatchSockets } from '../../src/http/watch-socket.ts'
import { ClientListener } from '../../src/listener.ts'
import type { Replica } from '../../src/replica/replica.ts'
import type { DiskError } from '../../src/storage/disk.ts'
import { Store } from '../../src/store/store.ts'
import { AppendStats } from '../../src/transport/traffic.ts'
import { BIRTH, createAlone, lead } from './alone.ts'
import type { TlsIdentity } from '../../src/tls/tls-identity.ts'
import { NOW } from './commands.ts'
import { FakeDisk } from './fake-disk.ts'
import { freePorts } from './store-process.ts'

export const CLIENT_URLS = ['http://127.0.0.1:4001', 'http://127.0.0.1:2379']

export interface ClientPortOptions {
  readonly cors?: readonly string[]
  readonly routes?: Routes | ((context: HttpContext) => Routes)
  readonly historySize?: number
  /** Batches are durable when the test says so; otherwise at once. */
  readonly isByHand?: boolean
  readonly watchBytesMax?: number
  readonly fdLimit?: number
  readonly context?: Partial<HttpContext>
  /** Serves https. */
  readonly tls?: TlsIdentity
  /** By which new connections wait for each other. */
  readonly elapsedMs?: () => number
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
  const nowMs = (): number => clock.now
  const onFailure = (error: DiskError): void => void tt.fail(error.message)
  const replica = createAlone(disk, { store, logger, nowMs, onFailure })
  const cluster = new Cluster(BIRTH.identity, store, replica.machine.roster)
  lead(replica, disk)
  await join(replica, disk, cluster)
  lines.length = 0
  const fdLimit = options.fdLimit ?? 1000
  const traffic = new AppendStats(nowMs)
  const metrics = new Metrics({
    store,
    replica,
    openFiles: () => 7,
    maxFiles: fdLimit,
    messages: { dropped: 0 },
  })
  const context: HttpContext = {
    store,
    replica,
    cluster,
    nowMs,
    gate: () => undefined,
    guardWatch: () => () => undefined,
    counters: metrics,
    startedAtMs: NOW,
    fdLimit,
    setLogLevel: (level) => levels.push(level),
    metrics: async () => await metrics.render(),
    watchBytesMax: options.watchBytesMax ?? 1 << 20,
    headCache: { storeIndex: -1, raftIndex: -1, raftTerm: -1, text: '' },
    membership: { isStrict: false, addsVoters: false },
    traffic: { followers: () => traffic.followers([]), self: () => traffic.self() },
    ...options.context,
  }
  const { routes = new Map() } = options
  const extra = typeof routes === 'function' ? routes(context) : routes
  const router = new Router(context, options.cors ?? [], extra)
  const route = router.route.bind(router)
  const sockets = new WatchSockets(context)
  const full = createFullServer({ route, upgrade: sockets.upgrade.bind(sockets) })
  const { tls, elapsedMs = () => performance.now() } = options
  const clients = new ClientListener({ full, route, logger, fdLimit, tls, elapsedMs })
  const { client: port } = await freePorts()
  const url = `${options.tls === undefined ? 'http' : 'https'}://127.0.0.1:${port}`
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

/** Says who the member is and which version the cluster has, as a server does: entries 3 and 4. */
async function join(replica: Replica, disk: FakeDisk, cluster: Cluster): Promise<void> {
  const member = { name: 'default', clientURLs: CLIENT_URLS }
  for (const entry of [attributesCommand(cluster.localId, member, NOW), versionCommand(NOW)])
    replica.propose(entry, () => undefined)
  await turn()
  while (disk.waiting > 0) disk.commit()
  disk.batches.length = 0
}
