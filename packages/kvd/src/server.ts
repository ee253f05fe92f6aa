import { readdirSync, readFileSync } from 'node:fs'
import type { Logger } from '@flotilla/daemon'
import { AuthRules } from './auth/rules.ts'
import {
  attributesCommand,
  bootstrapCommands,
  Cluster,
  clusterId,
  memberId,
  type Identity,
} from './cluster.ts'
import type { Config } from './config.ts'
import { AuthChanges } from './http/auth-changes.ts'
import { AuthGate } from './http/auth-gate.ts'
import { authRoutes } from './http/auth.ts'
import type { HttpContext } from './http/context.ts'
import { createFullServer } from './http/full.ts'
import { Metrics } from './http/metrics.ts'
import { Passwords } from './http/passwords.ts'
import { Router } from './http/router.ts'
import { WatchSockets } from './http/watch-socket.ts'
import { ClientListener, RESERVED_FDS } from './listener.ts'
import { PeerPort } from './peer-port.ts'
import { Replica } from './replica.ts'
import { DiskError, openDisk } from './storage/disk.ts'
import { command } from './store/command.ts'
import { isRefusal } from './store/errors.ts'
import { Store } from './store/store.ts'

/** Nodes that expire within this time of each other go in one log entry. */
const EXPIRY_GRAIN_MS = 100
const DRAIN_MS = 5_000
/** So many images' rows wait before they are merged into one table: most keys have changed more than once by then. */
const MERGE_IMAGES = 3
const MERGE_ROWS_MAX = 32_000
/** Unread bytes after which a watch is given up; the original gives up after 100 events. */
const WATCH_BYTES_MAX = 4 * 1024 * 1024

export interface RunningServer {
  /** Resolves when the disk fails: the process cannot go on. */
  readonly failed: Promise<DiskError>
  /** Stops listening, lets requests under way end, makes the store durable. */
  close(): Promise<void>
}

/** The system does not give this process what it needs. */
export class LimitError extends Error {
  override readonly name = 'LimitError'
  readonly code = 'LIMIT'
}

/**
 * Starts one member: recovers the store, makes a new cluster when there is none, opens the ports.
 * @throws DiskError, ListenError, LimitError
 */
export async function startServer(config: Config, logger: Logger): Promise<RunningServer> {
  const fdLimit = readFdLimit()
  if (fdLimit <= RESERVED_FDS)
    throw new LimitError(
      `file descriptor limit[${fdLimit}] of kvd process is too low, and should be set higher than ${RESERVED_FDS}`,
    )
  let fail: (error: DiskError) => void = () => undefined
  const failed = new Promise<DiskError>((resolve) => {
    fail = resolve
  })
  const disk = await openDisk({
    directory: config.storageDir,
    source: 'image',
    mergeRows: Math.min(MERGE_ROWS_MAX, MERGE_IMAGES * config.snapshotCount),
  })
  const file = `${config.storageDir}/kvd.db`
  const store = new Store({ historySize: config.eventHistory })
  const replica = new Replica({
    store,
    disk,
    logger,
    file,
    snapshotCount: config.snapshotCount,
    requestTimeoutMs: 5_000 + 2 * config.electionMs,
    nowMs: Date.now,
    onFailure: (error) => fail(error),
  })
  const joined = await Promise.race([join(config, store, replica, logger), failed])
  if (joined instanceof DiskError) throw joined
  const member = openPorts(config, logger, { store, replica, cluster: joined, fdLimit })
  try {
    await member.listen()
  } catch (error) {
    await member.close()
    throw error
  }
  return { failed, close: async () => await member.close() }
}

/** Starts the term and makes sure that the cluster knows this member. */
async function join(
  config: Config,
  store: Store,
  replica: Replica,
  logger: Logger,
): Promise<Cluster> {
  const [knownId] = store.peekNames('cluster', '/members')
  const id = knownId ?? memberId(config.peerURLs, config.clusterToken)
  const identity: Identity = { memberId: id, clusterId: clusterId([id]) }
  const cluster = new Cluster(identity, store)
  const time = Date.now()
  const begun = await replica.proposeAsync(command({ op: 'noop', time }))
  const isWritable = begun === undefined
  logger.info(`raft: raft.node: ${id} elected leader ${id} at term ${replica.term}`)
  const { name, clientURLs, peerURLs } = config
  const known = cluster.member(id)
  const isPublished =
    known?.name === name && known.clientURLs.toSorted().join() === clientURLs.toSorted().join()
  const commands =
    known === undefined
      ? bootstrapCommands(identity, { name, clientURLs, peerURLs }, time)
      : isPublished
        ? []
        : [attributesCommand(id, { name, clientURLs }, time)]
  for (const entry of commands) {
    const outcome = await replica.proposeAsync(entry)
    if (outcome !== undefined && !isRefusal(outcome)) continue
    // With room for nothing, what is there can still be read; but a new cluster has nothing.
    if (known !== undefined && !isWritable) break
    const cause = outcome === undefined ? 'no answer' : outcome.cause
    const file = `${config.storageDir}/kvd.db`
    throw new DiskError({ code: 'FULL', message: `${file}: the cluster was not made: ${cause}` })
  }
  const published = `{Name:${name} ClientURLs:[${clientURLs.join(' ')}]}`
  logger.info(`etcdserver: published ${published} to cluster ${cluster.id}`)
  logger.info(
    `etcdserver: set the initial cluster version to ${cluster.version?.slice(0, 3) ?? ''}`,
  )
  return cluster
}

interface Parts {
  readonly store: Store
  readonly replica: Replica
  readonly cluster: Cluster
  readonly fdLimit: number
}

function openPorts(
  config: Config,
  logger: Logger,
  { store, replica, cluster, fdLimit }: Parts,
): { listen(): Promise<void>; close(): Promise<void> } {
  const metrics = new Metrics({ store, replica, openFiles: countOpenFiles, maxFiles: fdLimit })
  const auth = openAuth(store, replica, logger)
  const context: HttpContext = {
    store,
    replica,
    cluster,
    nowMs: Date.now,
    gate: () => (auth.rules.isEnabled ? auth.gate : undefined),
    guardWatch: (watch) => auth.gate.guardWatch(watch),
    counters: metrics,
    startedAtMs: Date.now(),
    fdLimit,
    setLogLevel: (level) => logger.setLevel(level),
    metrics: async () => await metrics.render(),
    watchBytesMax: WATCH_BYTES_MAX,
    headCache: { storeIndex: -1, raftIndex: -1, text: '' },
  }
  const router = new Router(context, config.corsOrigins, authRoutes({ context, ...auth }))
  const route = router.route.bind(router)
  const sockets = new WatchSockets(context)
  const full = createFullServer({ route, upgrade: sockets.upgrade.bind(sockets) })
  const clients = new ClientListener({ full, route, logger, fdLimit })
  const peers = new PeerPort(cluster)
  const stopExpiry = keepExpiring(store, replica)
  return {
    listen: async () => {
      for (const url of config.listenPeerURLs) await peers.listen(url)
      for (const url of config.listenClientURLs) {
        await clients.listen(url)
        logger.info(`etcdmain: listening for client requests on ${url.origin}`)
      }
    },
    close: async () => {
      stopExpiry()
      clients.drain()
      sockets.close()
      peers.close()
      await waitUntil(() => clients.isQuiet && replica.pending === 0, DRAIN_MS)
      clients.close()
      await replica.close()
    },
  }
}

/** Users, roles and who may do what; running watches end when their rights do. */
function openAuth(
  store: Store,
  replica: Replica,
  logger: Logger,
): { rules: AuthRules; gate: AuthGate; changes: AuthChanges } {
  const rules = new AuthRules({
    peek: (key) => store.peek('auth', key),
    peekNames: (key) => store.peekNames('auth', key),
  })
  const passwords = new Passwords((user) =>
    logger.warn('auth: wrong password or unknown user', { user }),
  )
  const gate = new AuthGate({ rules, passwords, logger })
  store.onAuthChange(() => gate.changed())
  const nowMs = Date.now
  const changes = new AuthChanges({ store, replica, rules, passwords, logger, nowMs })
  return { rules, gate, changes }
}

/** Proposes a cut-off time whenever a node is due: nodes die by log entry, never by the clock. */
function keepExpiring(store: Store, replica: Replica): () => void {
  let isProposed = false
  const timer = setInterval(() => {
    const next = store.nextExpiry
    if (isProposed || next === undefined || next > Date.now()) return
    isProposed = true
    replica.propose(command({ op: 'sync', time: Date.now() }), () => {
      isProposed = false
    })
  }, EXPIRY_GRAIN_MS)
  return () => clearInterval(timer)
}

async function waitUntil(isDone: () => boolean, ms: number): Promise<void> {
  const until = performance.now() + ms
  while (!isDone() && performance.now() < until)
    await new Promise((resolve) => setTimeout(resolve, 10))
}

/** Soft limit of open files; Node raises it to the hard one when it starts. */
function readFdLimit(): number {
  const line = /^Max open files\s+(\S+)/m.exec(readFileSync('/proc/self/limits', 'utf8'))
  const limit = Number(line?.[1] ?? 'unlimited')
  return Number.isFinite(limit) ? limit : Number.MAX_SAFE_INTEGER
}

function countOpenFiles(): number {
  return readdirSync('/proc/self/fd').length
}
