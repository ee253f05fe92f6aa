import { aloneLog, committedIn } from '../membership/alone.ts'
import { removedBy } from '../membership/change.ts'
import type { Machine } from '../machine.ts'
import type { Core } from '../raft/core.ts'
import type { CoreOptions, CoreStart } from '../raft/state.ts'
import type { Entry } from '../raft/types.ts'
import { entryChain } from '../storage/entry-codec.ts'
import { stampCommand } from '../store/command.ts'
import type { ReplicaOptions } from './options.ts'
import { RecordedCore } from './recorded-core.ts'

/** Limits of etcd 2.3 (etcdserver/raft.go), the last two of raft.md 3.1. */
export const MESSAGE_BYTES_MAX = 1024 * 1024
const WINDOW = { messages: 512, bytes: 16 * 1024 * 1024 }
export const UNCOMMITTED_BYTES_MAX = 64 * 1024 * 1024
const APPLY_BYTES_MAX = 4 * 1024 * 1024

/** The log that a member starts with. */
export interface StartLog {
  /** On the disk. */
  readonly known: readonly Entry[]
  /** The disk is to be given them first. */
  readonly added: readonly Entry[]
  readonly hard: CoreStart['hard']
}

/** @param machine with the store as the disk has it */
export function startLog(options: ReplicaOptions, machine: Machine): StartLog {
  const { disk, birth, forcesAlone, memberId, logger } = options
  const { loaded, entries } = disk.recovered
  const { hard, commit, base, applied } = loaded
  if (birth !== undefined) {
    const { term = 0, index = 0 } = birth.entries.at(-1) ?? {}
    const promised = { term: Math.max(hard.term, term), commit: Math.max(commit, index) }
    return { known: [], added: birth.entries, hard: { ...hard, ...promised } }
  }
  const { conf } = machine
  if (forcesAlone === undefined) {
    // With no room to say so in a later term, what was acknowledged must be there all the same.
    const upTo = committedIn(disk.recovered, conf)
    return { known: entries, added: [], hard: { ...hard, commit: upTo } }
  }
  // There is nobody who could say which of them were replaced.
  const known = Math.min(commit, entries.at(-1)?.index ?? base.index)
  const { kept, added } = aloneLog({
    id: memberId,
    peerURLs: forcesAlone.peerURLs,
    term: hard.term,
    commit: known,
    conf,
    base,
    applied,
    entries,
  })
  const dropped = entries.length - kept.length
  logger.warn(
    `etcdserver: forcing a new cluster of ${memberId} alone: discarding ${dropped} uncommitted entries`,
  )
  if (hard.isDamaged)
    logger.warn(
      'etcdserver: this member has lost something that it had acknowledged: nobody has it any more',
    )
  // There is nobody who could make it whole.
  const last = added.at(-1)?.index ?? known
  return { known: kept, added, hard: { ...hard, isDamaged: false, commit: last } }
}

export function createCore(
  options: ReplicaOptions,
  machine: Machine,
  { known, added, hard }: StartLog,
): Core {
  const { loaded } = options.disk.recovered
  const coreOptions: CoreOptions = {
    id: options.memberId,
    electionTicks: options.electionTicks,
    heartbeatTicks: 1,
    random: options.random,
    clock: options.wallMs,
    elapsed: options.elapsedMs,
    stamp: (proposal, clusterMs) => {
      stampCommand(proposal.data, clusterMs)
      return proposal
    },
    chain: entryChain,
    removes: removedBy,
    incarnation: loaded.incarnation,
    maxMessageBytes: MESSAGE_BYTES_MAX,
    window: WINDOW,
    maxUncommittedBytes: UNCOMMITTED_BYTES_MAX,
    maxApplyBytes: APPLY_BYTES_MAX,
    start: {
      hard,
      conf: machine.conf,
      log: { ...loaded.base, entries: [...known, ...added] },
      applied: loaded.applied,
    },
  }
  return new RecordedCore(coreOptions, options.onBroken)
}
