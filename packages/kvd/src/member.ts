import { setTimeout as pause } from 'node:timers/promises'
import { endsWithin, type Logger } from '@flotilla/daemon'
import { attributesCommand, versionCommand, type Cluster } from './cluster.ts'
import { openClients } from './client-side.ts'
import type { Config } from './config.ts'
import { markDiverged, readMark } from './divergence-mark.ts'
import type { WatchSockets } from './http/watch-socket.ts'
import { ListenError, type ClientListener } from './listener.ts'
import { PeerPort } from './peer-port.ts'
import type { Peers } from './peers.ts'
import type { Divergence } from './replica/divergence.ts'
import type { Replica } from './replica/replica.ts'
import { DiskError } from './storage/disk.ts'
import { command } from './store/command.ts'
import { isRefusal, type Refusal } from './store/errors.ts'
import type { Store } from './store/store.ts'
import type { TlsSides } from './tls/tls-sides.ts'

/** Nodes that expire within this time of each other go in one log entry. */
const EXPIRY_GRAIN_MS = 100
const DRAIN_MS = 5_000
const JOIN_MS = 1_000
/** A removed member answers those who wait before it ends (raft.md 7.4). */
const REMOVED_MS = 1_000

const DIVERGED =
  'etcdserver: nobody is served from what it holds: it must be removed, and added with an empty data-dir'

/** Why a member ends by itself. */
export type MemberEnd = DiskError | ListenError | 'removed'

export interface MemberParts {
  readonly config: Config
  readonly logger: Logger
  readonly store: Store
  readonly replica: Replica
  readonly cluster: Cluster
  readonly peers: Peers
  readonly fdLimit: number
  readonly failed: Promise<DiskError>
  readonly tls: TlsSides
  /** The wall clock, milliseconds since 1970. It may jump. */
  readonly wallMs: () => number
}

/** All parts of a member, in the order in which they start and end. */
export class Member {
  readonly ended: Promise<MemberEnd>
  readonly #parts: MemberParts
  readonly #clients: ClientListener
  readonly #sockets: WatchSockets
  readonly #port: PeerPort
  readonly #stops: (() => void)[] = []
  readonly #tellRemoved: () => void
  /** It cannot listen when its time comes. */
  readonly #giveUp: (error: ListenError) => void
  #isClosed = false
  #isSettled = false

  constructor(parts: MemberParts) {
    this.#parts = parts
    const { replica, peers, failed, logger, cluster, tls } = parts
    let endAsRemoved = (): void => undefined
    const removed = new Promise<'removed'>((resolve) => {
      endAsRemoved = (): void => resolve('removed')
    })
    let isTold = false
    const tell = (): void => {
      if (isTold) return
      isTold = true
      logger.warn('etcdserver: the member has been permanently removed from the cluster')
      logger.warn('etcdserver: the data-dir used by this member must be removed.')
      setTimeout(endAsRemoved, REMOVED_MS)
    }
    this.#tellRemoved = tell
    replica.onRemoved(tell)
    replica.onDiverged((divergence) => this.#stopServing(divergence))
    peers.attach({
      receive: (messages) => replica.receive(messages),
      unreachable: (id) => replica.unreachable(id),
      silent: (id) => replica.silent(id),
      unsent: (message) => replica.unsent(message),
      install: (snapshot) => replica.install(snapshot),
      removed: tell,
      isDamaged: () => replica.isDamaged,
    })
    let giveUp: (error: ListenError) => void = () => undefined
    const deaf = new Promise<ListenError>((resolve) => {
      giveUp = resolve
    })
    this.#giveUp = giveUp
    this.ended = Promise.race([failed, removed, deaf])
    replica.onMembers(() => this.#followMembers())
    const { clients, sockets } = openClients(parts)
    this.#clients = clients
    this.#sockets = sockets
    this.#port = new PeerPort({ cluster, peers, tls: tls.peers, logger })
  }

  /** It was alone when it started, and that and all that it knows is on the disk. */
  get isSettled(): boolean {
    return this.#isSettled
  }

  #stopServing({ index, own, right }: Divergence): void {
    const { config, logger, store } = this.#parts
    logger.error('etcdserver: this member holds something else than the others', {
      index,
      own,
      right,
    })
    logger.error(DIVERGED)
    markDiverged(config.storageDir, { index, own, right }, logger)
    store.watchers.lose()
    this.#sockets.hangUp()
  }

  /** @throws ListenError, DiskError */
  async start(): Promise<void> {
    const { config, replica, logger } = this.#parts
    if (replica.isDiverged) {
      const { file, index } = readMark(config.storageDir) ?? {}
      logger.error(DIVERGED, { file, index })
    }
    for (const url of config.listenPeerURLs) await this.#port.listen(url)
    replica.start()
    this.#stops.push(keepExpiring(this.#parts), this.#keepJoined())
    if (this.#parts.cluster.isRemoved(this.#parts.cluster.localId)) this.#tellRemoved()
    if (replica.isAlone && !replica.isDamaged) await this.#becomeReady()
    else await this.#catchUp()
    if (!replica.isDamaged && !this.#joins) {
      await this.#listen()
      return
    }
    const listening = this.#listenWhenItMay()
    // Who joins does so within a moment, or has to wait for others.
    if (!replica.isDamaged) await endsWithin(listening, JOIN_MS)
  }

  /** Applies what it knows to be committed. */
  async #catchUp(): Promise<void> {
    const { replica, failed } = this.#parts
    const { commit } = replica.raft
    const caughtUp = waitUntil(() => replica.appliedIndex >= commit, DRAIN_MS)
    const problem = await Promise.race([caughtUp, failed])
    if (problem instanceof DiskError) throw problem
  }

  /** It does not count yet, and may know neither all keys nor who may do what. */
  get #joins(): boolean {
    const { cluster } = this.#parts
    return (
      !cluster.isRemoved(cluster.localId) && cluster.member(cluster.localId)?.isLearner !== false
    )
  }

  /**
   * What it holds is not older than what clients were told before: they may have been told it by this member,
   * which has lost it since. The leader confirms it.
   */
  async #isCurrent(): Promise<boolean> {
    const { replica, cluster } = this.#parts
    if (replica.isDamaged || cluster.member(cluster.localId) === undefined) return false
    return await new Promise((resolve) =>
      replica.readIndex((problem) => resolve(problem === undefined)),
    )
  }

  /** @throws ListenError */
  async #listen(): Promise<void> {
    const { config, logger } = this.#parts
    for (const url of config.listenClientURLs) {
      await this.#clients.listen(url)
      logger.info(`etcdmain: listening for client requests on ${url.origin}`)
    }
  }

  async #listenWhenItMay(): Promise<void> {
    const { replica, config, logger, peers } = this.#parts
    const { isDamaged } = replica
    if (!isDamaged)
      logger.info(
        'etcdserver: this member serves clients as soon as a leader confirms what it holds',
      )
    let isOver = false
    // Once, not in each turn: it may take for ever, and each promise that waits for it would stay.
    void this.ended.then(() => (isOver = true))
    while (!(await this.#isCurrent())) {
      if (this.#isClosed || isOver) return
      await pause(config.heartbeatMs, undefined, { ref: false })
    }
    if (this.#isClosed || isOver) return
    if (isDamaged) {
      logger.info('etcdserver: this member is whole again')
      peers.follow()
    }
    try {
      await this.#listen()
    } catch (error) {
      if (!(error instanceof ListenError)) throw error
      this.#giveUp(error)
    }
  }

  /** A member that is alone serves only when all that it knows is applied. */
  async #becomeReady(): Promise<void> {
    const { replica, failed, config, cluster } = this.#parts
    const problem = await Promise.race([
      new Promise<Refusal | undefined>((resolve) => replica.readIndex(resolve)),
      failed,
    ])
    if (problem instanceof DiskError) throw problem
    this.#isSettled = problem === undefined && !replica.status.isFull
    // Clients ask for the members first: what they are told must lead them here.
    await waitUntil(() => this.#isJoined() || replica.status.isFull, DRAIN_MS)
    // With room for nothing, what is there can still be read; but not what is on no disk.
    if (!replica.status.isFull) return
    const file = `${config.storageDir}/kvd.db`
    if (config.forcesNewCluster)
      throw new DiskError({
        code: 'FULL',
        message: `${file}: the others are still members: no room`,
      })
    if (cluster.members().length > 0) return
    throw new DiskError({ code: 'FULL', message: `${file}: the cluster was not made: no room` })
  }

  /** Makes sure that the cluster knows how to reach this member, and which version it has. */
  #keepJoined(): () => void {
    const { replica, cluster, config, logger, wallMs } = this.#parts
    let isVersionTold = false
    let isDeciding = false
    const tellVersion = (): void => {
      if (isVersionTold || cluster.version === undefined) return
      isVersionTold = true
      logger.info(`etcdserver: set the initial cluster version to ${cluster.version.slice(0, 3)}`)
    }
    const join = (): void => {
      void this.#publish()
      if (!replica.isLeader || cluster.version !== undefined || isDeciding) return
      isDeciding = true
      replica.propose(versionCommand(wallMs()), () => {
        isDeciding = false
        tellVersion()
      })
    }
    const watch = setInterval(() => {
      if (replica.lead !== '0' && !this.#isJoined()) join()
      tellVersion()
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

  #isLearner = false

  #followMembers(): void {
    const { cluster, peers, logger } = this.#parts
    peers.follow()
    const { isLearner } = cluster.member(cluster.localId) ?? { isLearner: this.#isLearner }
    if (isLearner === this.#isLearner) return
    this.#isLearner = isLearner
    // Nothing of the v2 API says so, and who replaces members one by one has to know.
    if (isLearner) logger.info('etcdserver: this member does not count before it has caught up')
    else logger.info('etcdserver: this member has caught up and counts')
  }

  #isPublishing = false

  async #publish(): Promise<void> {
    const { replica, cluster, config, logger, wallMs } = this.#parts
    // Nobody takes anything from who was removed: its end would wait for an answer.
    if (this.#isPublishing || this.#isPublished() || cluster.isRemoved(cluster.localId)) return
    this.#isPublishing = true
    const { name, clientURLs } = config
    const entry = attributesCommand(cluster.localId, { name, clientURLs }, wallMs())
    const outcome = await replica.proposeAsync(entry)
    this.#isPublishing = false
    if (outcome === undefined || isRefusal(outcome)) return
    const published = `{Name:${name} ClientURLs:[${clientURLs.join(' ')}]}`
    logger.info(`etcdserver: published ${published} to cluster ${cluster.id}`)
  }

  async close(): Promise<void> {
    this.#isClosed = true
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

/** Leader: proposes a cut-off time whenever a node is due; nodes die by log entry, never by the clock. */
function keepExpiring({ store, replica }: MemberParts): () => void {
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
