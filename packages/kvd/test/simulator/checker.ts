import { isMajority } from '../../src/raft/progress.ts'
import type { Entry, Ready } from '../../src/raft/types.ts'
import type { ReadBatch } from '../../src/raft/state.ts'
import type { Counter } from './counters.ts'
import { ExpiryChecker } from './expiry-checker.ts'
import type { Machine } from './machine.ts'
import { chainOf, type Member } from './member.ts'
import type { Snapshot } from './virtual-disk.ts'

/** A property does not hold. `property` is its name in correctness.md. */
export class Violation extends Error {
  override readonly name = 'Violation'
  readonly property: string

  constructor(property: string, detail: string) {
    super(`${property}: ${detail}`)
    this.property = property
  }
}

/** What a member was when it was last looked at. */
interface Seen {
  term: number
  commit: number
  role: string
  last: number
  lastChain: number | undefined
  leadTerm: number
  isDamaged: boolean
  reads: ReadBatch | undefined
}

interface Committed {
  readonly term: number
  readonly chain: number
  /** In this term it was committed, or earlier. */
  readonly by: number
}

/** Looks at every member that has moved, and compares it with all that was ever true (correctness.md 1). */
export class Checker {
  readonly counters = new Map<Counter, number>()
  /** Everything that was ever committed, by index. */
  readonly #committed: (Committed | undefined)[] = []
  readonly #applied: ({ readonly id: string; readonly hash: number } | undefined)[] = []
  readonly #appliedIds = new Map<string, number>()
  readonly #lostIds = new Set<string>()
  readonly #leaders = new Map<number, string>()
  readonly #votes = new Map<string, string>()
  readonly #seen = new Map<string, Seen>()
  readonly #spokenTerms = new Map<string, number>()
  #members: ReadonlyMap<string, Member> = new Map()
  maxCommit = 0
  readonly #expiry = new ExpiryChecker()
  /** Cluster time cannot be later, if something can be said about it at all. */
  clusterMsMax: () => number = () => Infinity

  watch(members: ReadonlyMap<string, Member>): void {
    this.#members = members
  }

  count(counter: Counter): void {
    this.counters.set(counter, (this.counters.get(counter) ?? 0) + 1)
  }

  #require(holds: boolean, property: string, detail: () => string): void {
    if (!holds) throw new Violation(property, detail())
  }

  /** A member's new life: it may have forgotten only what it has told nobody. */
  started(member: Member): void {
    const { core } = member
    if (core === undefined) return
    const spoken = this.#spokenTerms.get(member.id) ?? 0
    this.#require(
      core.view.term >= spoken,
      'S7',
      () => `${member.id} starts in term ${core.view.term} after ${spoken}`,
    )
    this.#seen.delete(member.id)
  }

  /** What a member is about to do. */
  ready(member: Member, ready: Ready): void {
    // Before a change of the configuration takes effect: what is committed now was so under the old one.
    this.look(member)
    const clusterMs = this.#expiry.ready(member, ready)
    this.#require(
      clusterMs <= this.clusterMsMax(),
      'S15',
      () => `${member.id} stamps ${clusterMs}, a majority is not beyond ${this.clusterMsMax()}`,
    )
    for (const message of ready.now) this.#spoken(member.id, message.term, message.type)
    for (const entry of ready.entries) {
      const there = this.#committed[entry.index]
      this.#require(
        // A leader that was replaced without knowing it may still fill the logs of those it reaches.
        there === undefined || there.chain === entry.chain || entry.term < there.by,
        'S4',
        () =>
          `${member.id} writes ${entry.index}/${entry.term} over ${there?.term}, which is committed`,
      )
    }
  }

  #spoken(id: string, term: number, type: string): void {
    // A pre-vote names a term that nobody is in yet.
    if (type === 'preVote' || type === 'preVoteResp') return
    this.#spokenTerms.set(id, Math.max(this.#spokenTerms.get(id) ?? 0, term))
  }

  /** A message leaves a member. */
  sent(from: string, to: string, message: Ready['now'][number]): void {
    this.#spoken(from, message.term, message.type)
    if (message.type !== 'voteResp' || !message.isGranted) return
    this.#require(
      this.#members.get(from)?.isDamaged !== true,
      'S17',
      () => `${from} votes for ${to} in term ${message.term}, and is damaged`,
    )
    const key = `${from} ${message.term}`
    const other = this.#votes.get(key) ?? to
    this.#require(
      other === to,
      'S6',
      () => `${from} votes for ${to} after ${other} in term ${message.term}`,
    )
    this.#votes.set(key, to)
  }

  /** The state of a member after something happened to it. */
  look(member: Member): void {
    const { core } = member
    if (core === undefined) return
    const { view } = core
    const { log } = view
    const seen = this.#seen.get(member.id)
    this.#require(
      view.term >= (seen?.term ?? 0),
      'S7',
      () => `${member.id}: term ${view.term} after ${seen?.term}`,
    )
    this.#require(
      log.commit >= (seen?.commit ?? 0),
      'S7',
      () => `${member.id}: commit ${log.commit} after ${seen?.commit}`,
    )
    if (seen?.isDamaged === true && !view.isDamaged) this.count('damagedRecovered')
    const [read = ''] = seen?.reads?.ids ?? []
    if (view.sentReads?.ids.includes(read) === true && view.sentReads !== seen?.reads)
      this.count('readsRetried')
    if (view.role === 'leader') this.#lookAtLeader(member, seen)
    else if (view.role === 'candidate' && seen?.role === 'candidate' && view.term > seen.term)
      this.count('splitVotes')
    if (log.commit > (seen?.commit ?? -1)) this.#lookAtCommit(member, seen?.commit ?? 0)
    this.#seen.set(member.id, {
      term: view.term,
      commit: log.commit,
      role: view.role,
      last: log.last,
      lastChain: log.chain(log.last),
      leadTerm: view.role === 'leader' ? view.term : 0,
      isDamaged: view.isDamaged,
      reads: view.sentReads,
    })
  }

  #lookAtLeader(member: Member, seen: Seen | undefined): void {
    const { core } = member
    if (core === undefined) return
    const { term, log, conf } = core.view
    const other = this.#leaders.get(term)
    this.#require(
      other === undefined || other === member.id,
      'S1',
      () => `${member.id} and ${other} lead in term ${term}`,
    )
    this.#require(
      !member.machine.removed.has(member.id),
      'S11',
      () => `${member.id} leads and was removed`,
    )
    if (other === undefined) {
      this.#leaders.set(term, member.id)
      this.count('leaderChanges')
      this.#checkComplete(member)
    }
    if (seen?.leadTerm === term)
      this.#require(
        log.last >= seen.last &&
          (seen.last < log.first - 1 || log.chain(seen.last) === seen.lastChain),
        'S2',
        () => `${member.id} has rewritten its log in term ${term}`,
      )
    let pending = 0
    for (let index = Math.max(log.applied + 1, log.first); index <= log.last; index += 1)
      if (log.at(index)?.kind === 'conf') pending += 1
    this.#require(
      pending <= 1,
      'S11',
      () => `${pending} changes of the configuration at once; voters ${conf.voters.join()}`,
    )
  }

  #checkComplete(member: Member): void {
    const { log, term = 0 } = member.core?.view ?? {}
    // Of a later term a leader need not know: it is none any more, and will hear of it.
    let index = this.maxCommit
    while (index > 0 && (this.#committed[index]?.by ?? 0) >= term) index -= 1
    const known = this.#committed[index]
    if (log === undefined || known === undefined || index < log.first - 1) return
    this.#require(
      log.chain(index) === known.chain,
      'S4',
      () => `${member.id} leads in term ${term} without ${index}/${known.term}, which is committed`,
    )
  }

  #lookAtCommit(member: Member, before: number): void {
    const { core } = member
    if (core === undefined) return
    const { log, role, term } = core.view
    for (let index = Math.max(before + 1, log.first); index <= log.commit; index += 1) {
      const entryTerm = log.term(index)
      const chain = log.chain(index)
      if (entryTerm === undefined || chain === undefined) continue
      const known = this.#committed[index]
      this.#require(
        known === undefined || known.chain === chain,
        'S5',
        () =>
          `${member.id} commits ${index}/${entryTerm}, elsewhere it was ${index}/${known?.term}`,
      )
      if (known !== undefined) continue
      this.#committed[index] = { term: entryTerm, chain, by: term }
      if (entryTerm < term && role === 'leader') this.count('oldTermCommits')
      this.#checkDurable(member, index, chain)
    }
    this.maxCommit = Math.max(this.maxCommit, log.commit)
  }

  /** Committed for the first time: a majority must have it on the disk, but for the entries that say who counts. */
  #checkDurable(member: Member, index: number, chain: number): void {
    const { core } = member
    if (core === undefined) return
    const { conf, term } = core.view
    const holds = (id: string): boolean => {
      const { disk, isDamaged = false } = this.#members.get(id) ?? {}
      if (disk === undefined) return false
      // What it had acknowledged when it was whole still counts, what it says now does not.
      if (disk.before.get(index) === chain) return true
      if (isDamaged) return false
      return disk.durable.offset.index >= index || disk.chain(index) === chain
    }
    this.#require(
      conf.voters.length === 0 || isMajority(conf, holds),
      'S8',
      () =>
        `${member.id} commits ${index} in term ${term}, on disks that count of ${conf.voters.filter(holds).join()} of ${conf.voters.join()}`,
    )
  }

  applied(member: Member, entry: Entry): void {
    this.look(member)
    const { disk, machine, core } = member
    const isDurable =
      disk.durable.offset.index >= entry.index || disk.chain(entry.index) === entry.chain
    this.#require(
      isDurable,
      'S10',
      () => `${member.id} applies ${entry.index}, which its disk does not have`,
    )
    this.#require(
      entry.index <= (core?.view.log.commit ?? 0),
      'S10',
      () => `${member.id} applies ${entry.index} too early`,
    )
    const known = this.#applied[entry.index]
    if (known === undefined) {
      this.#applied[entry.index] = { id: entry.id, hash: machine.hash }
      this.#appliedFirst(entry)
      this.#checkExpiries(entry, machine)
    } else
      this.#require(
        known.hash === machine.hash && known.id === entry.id,
        'S5',
        () => `${member.id} after ${entry.index} differs from whoever applied it first`,
      )
  }

  #checkExpiries(entry: Entry, { events }: Machine): void {
    for (const { key, isAcross, earlyMs } of this.#expiry.applied(entry, events)) {
      this.count('expired')
      if (isAcross) this.count('expiredAcrossLeaders')
      this.#require(
        earlyMs === 0,
        'S15',
        () => `${key} expires at ${entry.index}, ${earlyMs} ms before its time`,
      )
    }
  }

  #appliedFirst(entry: Entry): void {
    if (entry.id === '') return
    const before = this.#appliedIds.get(entry.id)
    this.#require(
      before === undefined,
      'S13',
      () => `request ${entry.id} is carried out at ${before} and ${entry.index}`,
    )
    this.#require(
      !this.#lostIds.has(entry.id),
      'S13',
      () => `request ${entry.id} was said to be lost`,
    )
    this.#appliedIds.set(entry.id, entry.index)
  }

  lost(id: string, why: 'overwritten' | 'dropped'): void {
    this.#require(
      !this.#appliedIds.has(id),
      'S13',
      () => `request ${id} is said to be lost and was carried out`,
    )
    this.#lostIds.add(id)
    if (why === 'overwritten') this.count('lostByOverwrite')
  }

  /** A client was told that its request was carried out. */
  answered(id: string, index: number): void {
    this.count('writesAnswered')
    this.#require(
      this.#appliedIds.get(id) === index,
      'S14',
      () => `${id} is answered with ${index}`,
    )
    this.#require(
      this.#committed[index] !== undefined,
      'S14',
      () => `${id} is answered before ${index} is committed`,
    )
  }

  /** A read is served that began when `floor` was committed somewhere. */
  readServed(member: Member, index: number, floor: number): void {
    this.count('readsServed')
    this.#require(
      index >= floor,
      'S12',
      () => `${member.id} serves a read at ${index} that began after ${floor}`,
    )
  }

  installed(member: Member, snapshot: Snapshot): void {
    this.count('snapshotsInstalled')
    const known = this.#applied[snapshot.index]
    this.#require(
      known === undefined || known.hash === snapshot.hash,
      'S16',
      () => `${member.id} installs a snapshot of ${snapshot.index} that is not the store of then`,
    )
    const { log, conf } = member.core?.view ?? {}
    const next = log?.at(snapshot.index + 1)
    this.#require(
      next === undefined || chainOf(snapshot.chain, next) === next.chain,
      'S16',
      () =>
        `${member.id} has an entry behind its snapshot of ${snapshot.index} that does not follow`,
    )
    this.#require(
      log === undefined || log.first > snapshot.index,
      'S16',
      () => `${member.id} keeps entries below its snapshot`,
    )
    this.#require(
      conf === undefined ||
        conf.voters.join() === snapshot.conf.voters.join() ||
        log?.applied !== snapshot.index,
      'S11',
      () =>
        `${member.id} has voters ${conf?.voters.join()} after a snapshot with ${snapshot.conf.voters.join()}`,
    )
  }

  /** Everybody's state at the end. */
  final(members: readonly Member[]): void {
    const [first] = members
    if (first === undefined) return
    for (const member of members)
      this.#require(
        member.machine.hash === first.machine.hash && member.machine.index === first.machine.index,
        'S5',
        () =>
          `${member.id} ends at ${member.machine.index} with ${member.machine.hash}, ${first.id} at ${first.machine.index} with ${first.machine.hash}`,
      )
  }
}
