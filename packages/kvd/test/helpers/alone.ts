import { createLogger, type Logger } from '@flotilla/daemon'
import { newBirth } from '../../src/membership/birth.ts'
import { NO_NETWORK, type ReplicaOptions } from '../../src/replica/options.ts'
import { Replica } from '../../src/replica/replica.ts'
import type { Disk } from '../../src/storage/disk.ts'
import { NOW } from './commands.ts'
import type { FakeDisk } from './fake-disk.ts'

/** Where the member of these tests would be reached by others. */
export const PEER_URL = 'http://127.0.0.1:2380'

/** What a cluster of this one member begins with. */
export const BIRTH = newBirth({
  name: 'default',
  initialCluster: new Map([['default', [PEER_URL]]]),
  token: 'etcd-cluster',
})

/** Writes nothing. */
export const silent: Logger = createLogger({ sink: { write: () => true, writableLength: 0 } })

export type AloneOptions = Partial<ReplicaOptions> & Pick<ReplicaOptions, 'store' | 'onFailure'>

/** A member without others over a disk: born there when the disk is empty. It has not started yet. */
export function createAlone(disk: Disk, options: AloneOptions): Replica {
  const { identity } = disk.recovered.loaded
  return new Replica({
    memberId: BIRTH.identity.memberId,
    network: NO_NETWORK,
    birth: identity === undefined ? BIRTH : undefined,
    logger: silent,
    file: '/data/member/kvd.db',
    snapshotCount: 10_000,
    tickMs: 100,
    electionTicks: 10,
    requestTimeoutMs: 7000,
    nowMs: () => NOW,
    wallMs: options.nowMs ?? ((): number => NOW),
    elapsedMs: () => 0,
    random: () => 0,
    forcesAlone: undefined,
    hasDiverged: false,
    onBroken: () => undefined,
    ...options,
    disk,
  })
}

/**
 * Starts a member over a disk that the test moves, until it leads and has applied all that it has.
 * The batches of that are forgotten. A new one has two entries then: itself, and its term's first.
 */
export function lead(replica: Replica, disk: FakeDisk): void {
  replica.start()
  while (disk.waiting > 0) disk.commit()
  if (!replica.isLeader || replica.appliedIndex < replica.lastIndex)
    throw new Error('a member that is alone does not lead')
  disk.batches.length = 0
}

/** Starts a member over a disk of its own pace; resolves when it has applied all that it has. */
export async function leadAsync(replica: Replica): Promise<void> {
  replica.start()
  await new Promise<void>((resolve) => replica.readIndex(() => resolve()))
}
