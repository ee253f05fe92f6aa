import type { Logger } from '@flotilla/daemon'
import { backupMark } from './backup-mark.ts'
import type { Config } from './config.ts'
import { committedIn } from './membership/alone.ts'
import { BootstrapError, newBirth } from './membership/birth.ts'
import { Machine } from './machine.ts'
import type { Member } from './membership/roster.ts'
import type { MemberId } from './raft/types.ts'
import type { Birth } from './replica/options.ts'
import { DiskError, type Disk } from './storage/disk.ts'
import { Store } from './store/store.ts'

/**
 * Whom a member speaks with that knows nobody yet: one that has lost what it knew may not even have the first
 * entries. Nobody when nothing is lost, or when it goes on alone.
 * @throws DiskError, BootstrapError for what must not be served as it is
 */
export function judgeStorage(disk: Disk, config: Config, logger: Logger): Birth['peers'] {
  const nobody: Birth['peers'] = new Map()
  const { identity, lastIndex, hard } = disk.recovered.loaded
  const { isDamaged } = hard
  if (config.forcesNewCluster) {
    if (isDamaged && (identity === undefined || lastIndex === 0))
      throw new DiskError({
        code: 'DAMAGED',
        message:
          `${config.storageDir}/kvd.db: everything is lost, nothing is left to go on with. Restore the data ` +
          'directory from a backup, or remove it',
      })
    return nobody
  }
  const backup = backupMark(config.storageDir)
  if (!isDamaged && backup === undefined) return nobody
  const { id, members } = claimedCluster(disk, config)
  const others = members.filter((member) => member.id !== id)
  // They may count on what has been written since.
  if (backup !== undefined && others.length > 0)
    throw new BootstrapError(
      `${backup} says that this is the backup of one of several members: start it once with ` +
        '--force-new-cluster or, if the others are there, remove this member and add it with an empty data-dir',
    )
  if (!isDamaged) return nobody
  if (others.length === 0)
    throw new DiskError({
      code: 'DAMAGED',
      message:
        `${config.storageDir}/kvd.db: what was acknowledged is lost, and nobody else has it. Restore the data ` +
        'directory from a backup, or go on with what is left by --force-new-cluster',
    })
  logger.warn('etcdserver: this member does not count until the others have made it whole')
  const voters = members.filter(({ isLearner }) => !isLearner)
  const whole = voters.filter((member) => member.id !== id)
  if (2 * whole.length <= voters.length)
    logger.warn(
      'etcdserver: those whom it knows are no majority without it: if there is nobody else, one member has to ' +
        'go on alone with --force-new-cluster',
    )
  return new Map(members.map(({ id: member, peerURLs }) => [member, peerURLs]))
}

interface ClaimedCluster {
  /** Of this member; undefined when it has lost that and cannot be one of the first. */
  readonly id: MemberId | undefined
  readonly members: readonly Pick<Member, 'id' | 'peerURLs' | 'isLearner'>[]
}

/** The members as this disk tells of them, though others may have replaced some of its entries; or else the first ones. */
function claimedCluster({ recovered }: Disk, config: Config): ClaimedCluster {
  const { loaded, rows, events, entries } = recovered
  const { identity, stats, storeIndex: index, count, applied } = loaded
  const store = new Store({ historySize: 1 })
  if (stats !== undefined) store.load({ index, count, stats }, rows, events.slice(-1))
  const machine = new Machine(store)
  const id = identity?.memberId
  const upTo = committedIn(recovered, machine.conf)
  for (const entry of entries)
    if (entry.index > applied && entry.index <= upTo) machine.apply(entry)
  const members = machine.roster.members()
  const { name, initialCluster, clusterToken: token } = config
  if (members.length > 0 || !initialCluster.has(name)) return { id, members }
  const born = newBirth({ name, initialCluster, token })
  if (id !== undefined && id !== born.identity.memberId) return { id, members }
  const first = [...born.peers].map(([peer, peerURLs]) => ({
    id: peer,
    peerURLs,
    isLearner: false,
  }))
  return { id: born.identity.memberId, members: first }
}
