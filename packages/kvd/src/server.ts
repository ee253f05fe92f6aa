import type { Logger } from '@flotilla/daemon'
import { Cluster } from './cluster.ts'
import type { Config } from './config.ts'
import { leaveCrashFile } from './crash-file.ts'
import { readMark, removeMark } from './divergence-mark.ts'
import { readFdLimit, RESERVED_FDS } from './listener.ts'
import { Member, type MemberEnd, type MemberParts } from './member.ts'
import { removeBackupMark } from './backup-mark.ts'
import { birthOf, BootstrapError } from './membership/birth.ts'
import { Roster } from './membership/roster.ts'
import { Peers } from './peers.ts'
import type { Birth } from './replica/options.ts'
import { Replica } from './replica/replica.ts'
import { DiskError, openDisk, type Disk } from './storage/disk.ts'
import type { Identity } from './storage/messages.ts'
import { judgeStorage } from './storage-verdict.ts'
import { Store } from './store/store.ts'
import { wallClock } from './test-hooks.ts'
import type { TlsSides } from './tls/tls-sides.ts'

/** So many images' rows wait before they are merged into one table: most keys have changed more than once by then. */
const MERGE_IMAGES = 3
const MERGE_ROWS_MAX = 32_000

export interface RunningServer {
  /** Resolves when the disk fails, or when the cluster does without this member: the process cannot go on. */
  readonly ended: Promise<MemberEnd>
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
  const disk = await openStorage(config, logger)
  const member = await makeMember({ config, logger, disk, fdLimit, tls })
  try {
    await member.start()
  } catch (error) {
    await member.close()
    throw error
  }
  // Not before it is alone on the disk as well: it must not serve this as a member of the old cluster.
  if (member.isSettled) {
    if (config.forcesNewCluster) removeMark(config.storageDir, logger)
    removeBackupMark(config.storageDir, logger)
  }
  return { ended: member.ended, close: async () => await member.close() }
}

type MemberMaterials = Pick<MemberParts, 'config' | 'logger' | 'fdLimit' | 'tls'> & {
  readonly disk: Disk
}

/** The disk is closed when there is no member to use it. */
async function makeMember(materials: MemberMaterials): Promise<Member> {
  const { disk, config, logger } = materials
  try {
    const claimed = judgeStorage(disk, config, logger)
    return await createMember(materials, claimed)
  } catch (error) {
    await disk.close()
    throw error
  }
}

/** @param claimed whom it speaks with when it is not new and knows nobody */
async function createMember(
  { config, logger, disk, fdLimit, tls }: MemberMaterials,
  claimed: Birth['peers'],
): Promise<Member> {
  const { identity: known, lastIndex } = disk.recovered.loaded
  // One that was told who it is, and nothing else yet, begins again: as one that joins, whatever the flags say now.
  const clusterState = known === undefined ? config.clusterState : 'existing'
  const birth =
    known === undefined || lastIndex === 0
      ? await birthFor({ ...config, clusterState }, logger, tls)
      : undefined
  const identity = birth?.identity ?? known
  if (identity === undefined) throw new Error('a member without data and without identity')
  const store = new Store({ historySize: config.eventHistory })
  const wallMs = wallClock(config.testHooks.clockOffsetFile)
  const first = birth?.peers ?? claimed
  const peers = openPeers({ config, logger, disk, tls }, { identity, first, store })
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
    nowMs: evenMs,
    wallMs,
    elapsedMs: () => performance.now(),
    random: Math.random,
    onFailure: (error) => fail(error),
    // Who goes on alone has nobody to differ from.
    hasDiverged: !config.forcesNewCluster && readMark(config.storageDir) !== undefined,
    onBroken: (report) => leaveCrashFile(config.storageDir, report, logger),
  })
  const cluster = new Cluster(identity, store, replica.machine.roster)
  return new Member({
    config,
    logger,
    store,
    replica,
    cluster,
    peers,
    fdLimit,
    failed,
    tls,
    wallMs,
  })
}

/** The way to the other members. */
function openPeers(
  {
    config,
    logger,
    disk,
    tls,
  }: Pick<MemberParts, 'config' | 'logger' | 'tls'> & { readonly disk: Disk },
  {
    identity,
    first,
    store,
  }: { readonly identity: Identity; readonly first: Birth['peers']; readonly store: Store },
): Peers {
  return new Peers({
    identity,
    incarnation: disk.recovered.loaded.incarnation,
    peerURLs: config.peerURLs,
    roster: new Roster(store),
    first,
    historySize: config.eventHistory,
    tls: () => tls.peers.dialOptions(),
    electionMs: config.electionMs,
    logger,
    nowMs: evenMs,
    random: Math.random,
  })
}

/** Milliseconds since 1970 by the clock as it was when the process began, whatever becomes of that clock. */
function evenMs(): number {
  return performance.timeOrigin + performance.now()
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

/** A member of several may have lost what it acknowledged: the others have it. */
async function openStorage(config: Config, logger: Logger): Promise<Disk> {
  const options = {
    directory: config.storageDir,
    source: 'image',
    mergeRows: Math.min(MERGE_ROWS_MAX, MERGE_IMAGES * config.snapshotCount),
    delayMs: config.testHooks.diskDelayMs,
  } as const
  try {
    return await openDisk(options)
  } catch (error) {
    if (!(error instanceof DiskError) || error.code !== 'DAMAGED') throw error
    const disk = await openDisk({ ...options, mayBeDamaged: true })
    logger.error(`storage: ${error.message}`)
    return disk
  }
}
