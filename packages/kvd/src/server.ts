import { readdirSync, readFileSync } from 'node:fs'
import type { Logger } from '@flotilla/daemon'
import { AuthRules } from './auth/rules.ts'
import { attributesCommand, Cluster, versionCommand } from './cluster.ts'
import type { Config } from './config.ts'
import { AuthChanges } from './http/auth-changes.ts'
import { AuthGate } from './http/auth-gate.ts'
import { authRoutes } from './http/auth.ts'
import type { HttpContext } from './http/context.ts'
import { discoveryRoutes } from './http/discovery.ts'
import { createFullServer } from './http/full.ts'
import { Metrics } from './http/metrics.ts'
import { Passwords } from './http/passwords.ts'
import { Router } from './http/router.ts'
import { WatchSockets } from './http/watch-socket.ts'
import { ClientListener, RESERVED_FDS } from './listener.ts'
import { birthOf, BootstrapError } from './membership/birth.ts'
import { Roster } from './membership/roster.ts'
import { PeerPort } from './peer-port.ts'
import { Peers } from './peers.ts'
import type { Birth } from './replica/options.ts'
import { Replica } from './replica/replica.ts'
import { DiskError, openDisk, type Disk } from './storage/disk.ts'
import { command } from './store/command.ts'
import { isRefusal } from './store/errors.ts'
import { Store } from './store/store.ts'
import type { TlsSides } from './tls/tls-sides.ts'

/** Nodes that expire within this time of each other go in one log entry. */
const EXPIRY_GRAIN_MS = 100
const DRAIN_MS = 5_000
/** A removed member answers those who wait before it ends (raft.md 7.4). */
const REMOVED_MS = 1_000
/** So many images' rows wait before they are merged into one table: most keys have changed more than once by then. */
const MERGE_IMAGES = 3
const MERGE_ROWS_MAX = 32_000
/** Unread bytes after which a watch is given up; the original gives up after 100 events. */
const WATCH_BYTES_MAX = 4 * 1024 * 1024

/** Why a member ends by itself. */
export type ServerEnd = DiskError | 'removed'

export interface RunningServer {
  /** Resolves when the disk fails, or when the cluster does without this member: the process cannot go on. */
  readonly ended: Promise<ServerEnd>
  /** Stops listening, lets requests under way end, makes the store durable. */
  close(): Promise<void>
}

/** The system does not give this process what it needs. */
export class LimitError extends Error {
  override readonly name = 'LimitError'
  readonly code = 'LIMIT'
}

/**
 * Starts one member: recovers the store, begins a cluster or joins one when there is nothing to
 * recover, opens the ports.
 * @throws DiskError, ListenError, LimitError, BootstrapError
 */
export async function startServer(
  config: Config,
  logger: Logger,
  tls: TlsSides,
): Promise<RunningServer> {
  const fdLimit = readFdLimit()
  if (fdLimit <= RESERVED_FDS)
    throw new LimitError(
      `file descriptor limit[${fdLimit}] of kvd process is too low, and should be set higher than ${RESERVED_FDS}`,
    )
  const disk = await openDisk({
    directory: config.storageDir,
    source: 'image',
    mergeRows: Math.min(MERGE_ROWS_MAX, MERGE_IMAGES * config.snapshotCount),
  })
  const making = createMember({ config, logger, disk, fdLimit, tls })
  const member = await making.catch(async (error: unknown) => {
    await disk.close()
    throw error
  })
  try {
    await member.start()
  } catch (error) {
    await member.close()
    throw error
  }
  return { ended: member.ended, close: async () => await member.close() }
}

async function createMember({
  config,
  logger,
  disk,
  fdLimit,
  tls,
}: Pick<Parts, 'config' | 'logger' | 'fdLimit' | 'tls'> & {
  readonly disk: Disk
}): Promise<ServerMember> {
  const { identity: known, lastIndex, incarnation } = disk.recovered.loaded
  // One that was told who it is, and nothing else yet, begins again: as one that joins, whatever the flags say now.
  const clusterState = known === undefined ? config.clusterState : 'existing'
  const birth =
    known === undefined || lastIndex === 0
      ? await birthFor({ ...config, clusterState }, logger, tls)
      : undefined
  const identity = birth?.identity ?? known
  if (identity === undefined) throw new Error('a member without data and without identity')
  const store = new Store({ historySize: config.eventHistory })
  const peers = new Peers({
    identity,
    incarnation,
    peerURLs: config.peerURLs,
    roster: new Roster(store),
    first: birth?.peers ?? new Map(),
    historySize: config.eventHistory,
    tls: () => tls.peers.dialOptions(),
    electionMs: config.electionMs,
    logger,
    nowMs: Date.now,
    random: Math.random,
  })
  let fail: (error: DiskError) => void = () => undefined
  const failed = new Promise<DiskError>((resolve) => {
    fail = resolve
  })
  const replica = new Replica({
    memberId: identity.memberId,
    store,
    disk,
    network: peers,
    birth,
    forcesAlone: config.forcesNewCluster ? { peerURLs: config.peerURLs } : undefined,
    logger,
    file: `${config.storageDir}/kvd.db`,
    snapshotCount: config.snapshotCount,
    tickMs: config.heartbeatMs,
    electionTicks: Math.ceil(config.electionMs / config.heartbeatMs),
    requestTimeoutMs: 5_000 + 2 * config.electionMs,
    nowMs: Date.now,
    elapsedMs: () => performance.now(),
    random: Math.random,
    onFailure: (error) => fail(error),
  })
  const cluster = new Cluster(identity, store, replica.machine.roster)
  return new ServerMember({ config, logger, store, replica, cluster, peers, fdLimit, failed, tls })
}

async function birthFor(config: Config, logger: Logger, tls: TlsSides): Promise<Birth> {
  // Whoever has looked for its cluster before and lost the answer must not begin one alone.
  if (config.discovery !== undefined)
    throw new BootstrapError(
      `${config.storageDir} was begun, and holds no member: remove it, and start with a new discovery token`,
    )
  const { name, peerURLs, initialCluster, clusterState: state, clusterToken: token } = config
  const ask = {
    tls: () => tls.peers.dialOptions(),
    failed: (url: string, reason: string) =>
      logger.warn(`etcdserver: could not get cluster response from ${url}: ${reason}`),
  }
  return await birthOf({ name, peerURLs, initialCluster, state, token, ask })
}

interface Parts {
  readonly config: Config
  readonly logger: Logger
  readonly store: Store
  readonly replica: Replica
  readonly cluster: Cluster
  readonly peers: Peers
  readonly fdLimit: number
  readonly failed: Promise<DiskError>
  readonly tls: TlsSides
}

/** All parts of a member, in the order in which they start and end. */
class ServerMember {
  readonly ended: Promise<ServerEnd>
  readonly #parts: Parts
  readonly #clients: ClientListener
  readonly #sockets: WatchSockets
  readonly #port: PeerPort
  readonly #stops: (() => void)[] = []

  constructor(parts: Parts) {
    this.#parts = parts
    const { replica, peers, failed, logger, cluster, tls } = parts
    const removed = new Promise<'removed'>((resolve) => {
      let isTold = false
      const tell = (): void => {
        if (isTold) return
        isTold = true
        logger.warn('etcdserver: the member has been permanently removed from the cluster')
        logger.warn('etcdserver: the data-dir used by this member must be removed.')
        setTimeout(() => resolve('removed'), REMOVED_MS)
      }
      replica.onRemoved(tell)
      peers.attach({
        receive: (messages) => replica.receive(messages),
        unreachable: (id) => replica.unreachable(id),
        unsent: (message) => replica.unsent(message),
        install: (snapshot) => replica.install(snapshot),
        removed: tell,
      })
    })
    this.ended = Promise.race([failed, removed])
    replica.onMembers(() => peers.follow())
    const { clients, sockets } = openClients(parts)
    this.#clients = clients
    this.#sockets = sockets
    this.#port = new PeerPort({ cluster, peers, tls: tls.peers, logger })
  }

  /** @throws ListenError, DiskError */
  async start(): Promise<void> {
    const { config, replica, logger } = this.#parts
    for (const url of config.listenPeerURLs) await this.#port.listen(url)
    replica.start()
    this.#stops.push(keepExpiring(this.#parts), this.#keepJoined())
    if (replica.isAlone) await this.#becomeReady()
    for (const url of config.listenClientURLs) {
      await this.#clients.listen(url)
      logger.info(`etcdmain: listening for client requests on ${url.origin}`)
    }
  }

  /** A member that is alone serves only when all that it knows is applied. */
  async #becomeReady(): Promise<void> {
    const { replica, failed, config, cluster } = this.#parts
    const problem = await Promise.race([
      new Promise<undefined>((resolve) => replica.readIndex(() => resolve(undefined))),
      failed,
    ])
    if (problem instanceof DiskError) throw problem
    // With room for nothing, what is there can still be read; but a new cluster has nothing.
    if (!replica.status.isFull || cluster.members().length > 0) return
    const file = `${config.storageDir}/kvd.db`
    throw new DiskError({ code: 'FULL', message: `${file}: the cluster was not made: no room` })
  }

  /** Makes sure that the cluster knows how to reach this member, and which version it has. */
  #keepJoined(): () => void {
    const { replica, cluster, config, logger } = this.#parts
    let isVersionTold = false
    const join = (): void => {
      void this.#publish()
      if (replica.isLeader && cluster.version === undefined)
        replica.propose(versionCommand(Date.now()), () => undefined)
    }
    const watch = setInterval(() => {
      if (replica.lead !== '0' && !this.#isJoined()) join()
      if (isVersionTold || cluster.version === undefined) return
      isVersionTold = true
      logger.info(`etcdserver: set the initial cluster version to ${cluster.version.slice(0, 3)}`)
    }, config.heartbeatMs)
    const forget = replica.onLead((lead) => lead !== '0' && join())
    return () => {
      clearInterval(watch)
      forget()
    }
  }

  #isJoined(): boolean {
    return this.#parts.cluster.version !== undefined && this.#isPublished()
  }

  #isPublished(): boolean {
    const { cluster, config } = this.#parts
    const known = cluster.member(cluster.localId)
    const { name, clientURLs } = config
    return (
      known?.name === name && known.clientURLs.toSorted().join() === clientURLs.toSorted().join()
    )
  }

  #isPublishing = false

  async #publish(): Promise<void> {
    const { replica, cluster, config, logger } = this.#parts
    if (this.#isPublishing || this.#isPublished()) return
    this.#isPublishing = true
    const { name, clientURLs } = config
    const entry = attributesCommand(cluster.localId, { name, clientURLs }, Date.now())
    const outcome = await replica.proposeAsync(entry)
    this.#isPublishing = false
    if (outcome === undefined || isRefusal(outcome)) return
    const published = `{Name:${name} ClientURLs:[${clientURLs.join(' ')}]}`
    logger.info(`etcdserver: published ${published} to cluster ${cluster.id}`)
  }

  async close(): Promise<void> {
    const { replica, peers } = this.#parts
    for (const stop of this.#stops) stop()
    await replica.stepDown()
    this.#clients.drain()
    this.#sockets.close()
    await waitUntil(() => this.#clients.isQuiet && replica.pending === 0, DRAIN_MS)
    this.#clients.close()
    await replica.close()
    this.#port.close()
    peers.close()
  }
}

function openClients({ config, logger, store, replica, cluster, peers, fdLimit, tls }: Parts): {
  clients: ClientListener
  sockets: WatchSockets
} {
  const metrics = new Metrics({
    store,
    replica,
    openFiles: countOpenFiles,
    maxFiles: fdLimit,
    messages: peers,
  })
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
    traffic: peers,
    membership: { isStrict: config.isReconfigStrict, addsVoters: config.addsVoters },
  }
  const routes = new Map([
    ...authRoutes({ context, ...auth }),
    ...(config.servesDiscovery ? discoveryRoutes(context) : []),
  ])
  const router = new Router(context, config.corsOrigins, routes)
  const route = router.route.bind(router)
  const sockets = new WatchSockets(context)
  const full = createFullServer({ route, upgrade: sockets.upgrade.bind(sockets) })
  return {
    clients: new ClientListener({ full, route, logger, fdLimit, tls: tls.clients }),
    sockets,
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

/** Leader: proposes a cut-off time whenever a node is due; nodes die by log entry, never by the clock. */
function keepExpiring({ store, replica }: Parts): () => void {
  let isProposed = false
  const timer = setInterval(() => {
    const next = store.nextExpiry
    if (isProposed || !replica.isLeader || next === undefined) return
    const time = replica.clusterNow
    if (next > time) return
    isProposed = true
    replica.propose(command({ op: 'sync', time }), () => {
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
