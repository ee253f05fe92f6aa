import { isMajority } from '../../src/raft/progress.ts'
import { NONE, type Entry, type Message } from '../../src/raft/types.ts'
import { MessageWriter, readMessages } from '../../src/transport/message-codec.ts'
import { Random } from '../helpers/random.ts'
import { Agenda } from './agenda.ts'
import { Checker } from './checker.ts'
import { encodeConf, hashText } from './machine.ts'
import { chainOf, Member, type MemberPorts } from './member.ts'
import { MemberClock, RATE_ERROR, START_MS } from './member-clock.ts'
import { Network, type Parcel } from './network.ts'
import { drawPlan, type Plan } from './plan.ts'

/** What somebody outside wants to hear. */
export interface Outside {
  answered(member: Member, id: string, index: number): void
  readable(member: Member, id: string, index: number): void
  lost(member: Member, id: string, why: 'overwritten' | 'dropped'): void
  /** A message was taken; `before` is what the member was then. */
  taken(member: Member, type: string, before: string | undefined): void
}

/** Members, their clocks and disks, and the network between them, all in virtual time. */
export class Cluster {
  readonly random: Random
  readonly plan: Plan
  readonly agenda = new Agenda()
  readonly checker = new Checker()
  readonly members = new Map<string, Member>()
  readonly network: Network
  /** While it is, things go wrong. */
  isFaulty = true
  outside: Outside | undefined
  traceHash = 0
  readonly #ports: MemberPorts
  readonly #trace: ((line: string) => void) | undefined
  readonly #writer = new MessageWriter()
  #memberCount = 0

  constructor(seed: number, trace?: (line: string) => void) {
    this.#trace = trace
    this.random = new Random(seed)
    this.plan = drawPlan(this.random.fork())
    this.network = new Network(this.agenda, this.random.fork(), this.plan, (parcel) =>
      this.#deliver(parcel),
    )
    this.checker.watch(this.members)
    const { wrongClocks, confChanges } = this.plan
    // Where changes of the configuration may give a majority to those that are wrong, nothing is promised.
    if (wrongClocks === 'none' || (wrongClocks === 'minority' && !confChanges))
      this.checker.clusterMsMax = () => START_MS + (1 + RATE_ERROR) * this.agenda.now
    this.#ports = this.#createPorts(this.random.fork())
    const ids = Array.from({ length: this.plan.members }, () => this.newId())
    const log = firstLog(ids)
    for (const id of ids) this.add(id, log)
  }

  #createPorts(random: Random): MemberPorts {
    return {
      plan: this.plan,
      random,
      checker: this.checker,
      send: (parcel) => {
        const { from, to } = parcel.message
        this.checker.sent(from, to, parcel.message)
        this.network.send({ ...parcel, message: this.#overTheWire(parcel.message) })
      },
      diskWanted: (member) => this.#planSync(member),
      diskFull: (member) => this.#planRetry(member),
      applyWanted: (member) => this.#planApply(member),
      snapshotSent: (member, to) => this.#planSnapshotCheck(member, to),
      answered: (member, id, index) => this.outside?.answered(member, id, index),
      readable: (member, id, index) => this.outside?.readable(member, id, index),
      lost: (member, id, why) => this.outside?.lost(member, id, why),
    }
  }

  /** As the other side reads it: what the codec loses is lost here too. */
  #overTheWire(message: Message): Message {
    this.#writer.write(message)
    const [copy] = readMessages(this.#writer.take())
    if (copy === undefined) throw new Error(`a ${message.type} did not survive the wire`)
    return copy
  }

  note(line: string): void {
    this.traceHash = hashText(line, this.traceHash)
    this.#trace?.(`${this.agenda.now} ${line}`)
  }

  newId(): string {
    this.#memberCount += 1
    return `m${this.#memberCount}`
  }

  add(id: string, log: readonly Entry[]): void {
    const member = new Member(id, { log, clock: this.#newClock() }, this.#ports)
    this.members.set(id, member)
    member.start()
    this.#planTick(member)
  }

  #newClock(): MemberClock {
    const { wrongClocks, driftingClocks, members } = this.plan
    const wrongCount = { none: 0, minority: Math.floor((members - 1) / 2), all: Infinity }
    const rate = driftingClocks ? 1 + RATE_ERROR * (2 * this.random.next() - 1) : 1
    const isWrong = this.members.size < wrongCount[wrongClocks]
    return new MemberClock(() => this.agenda.now, { rate, isWrong })
  }

  crash(
    member: Member,
    downMs = this.random.int(1, 60 * this.plan.tickMs),
    kept = this.random.int(0, member.disk.waiting),
  ): void {
    const { waiting } = member.disk
    // The rest is torn: some of it is there, and must not be found.
    const isWhole = Array.from(
      { length: waiting },
      (_, at) => at < kept || (at > kept && this.plan.tornTails && this.random.chance(0.5)),
    )
    if (kept < waiting) this.checker.count('batchesLost')
    if (isWhole.lastIndexOf(true) > kept) this.checker.count('tornTails')
    this.checker.count('crashes')
    this.note(`crash ${member.id} keeps ${kept} of ${waiting}`)
    member.crash((batch) => isWhole.at(batch) ?? false)
    if (this.random.chance(0.5)) this.#hangUp(member.id)
    this.agenda.after(downMs, () => this.restart(member))
  }

  /** The others see that its connections have ended, each some time later. */
  #hangUp(id: string): void {
    for (const other of this.members.values())
      if (other.id !== id && !this.network.isCut(id, other.id))
        this.agenda.after(this.random.int(1, this.plan.tickMs), () => other.silent(id))
  }

  restart(member: Member): void {
    if (member.isUp || this.#isOut(member)) return
    this.note(`start ${member.id}`)
    member.start()
  }

  /** Those who stay know that it was removed, and would refuse it, after a crash as well. */
  #isOut({ id: gone, goneIndex, machine }: Member): boolean {
    if (goneIndex === undefined) return false
    return isMajority(machine.conf, (id) => {
      const { machine: other, disk } = this.members.get(id) ?? {}
      return other?.removed.has(gone) === true && (disk?.durable.hard.commit ?? 0) >= goneIndex
    })
  }

  /**
   * A member that has applied its own removal ends once a majority of those who stay know of it:
   * until then they may need its vote (raft.md 7.4; a member learns it from refused connections).
   */
  #retire(member: Member): void {
    if (!member.isUp || !this.#isOut(member)) return
    this.note(`gone ${member.id}`)
    member.crash()
  }

  #planTick(member: Member): void {
    const { tickMs, skewedTicks } = this.plan
    const skew = skewedTicks && this.isFaulty ? 0.5 + this.random.next() : 1
    this.agenda.after(Math.max(1, Math.round(tickMs * skew)), () => {
      if (!member.isPaused) member.tick()
      this.#retire(member)
      this.#planTick(member)
    })
  }

  #planSync(member: Member): void {
    const { syncMs, slowSyncs } = this.plan
    const isSlow = slowSyncs && this.isFaulty && this.random.chance(0.03)
    const { incarnation } = member
    const delay = isSlow ? this.random.int(100, 600) : this.random.int(0, syncMs)
    // Batches of one disk become durable in order; each wish syncs the oldest.
    this.agenda.after(delay, () => {
      if (member.incarnation === incarnation && member.isUp) member.synced()
    })
  }

  /** What found no room is tried again (raft.md 5.8). */
  #planRetry(member: Member): void {
    const { incarnation } = member
    this.checker.count('nospace')
    this.agenda.after(this.plan.electionTicks * this.plan.tickMs, () => {
      if (member.incarnation === incarnation && member.isUp) member.synced()
    })
  }

  #planApply(member: Member): void {
    const { incarnation } = member
    const isLate = this.isFaulty && this.random.chance(0.1)
    const most = this.isFaulty ? 120 : 10
    this.agenda.after(isLate ? this.random.int(200, 1000) : this.random.int(0, most), () => {
      if (member.incarnation !== incarnation) return
      member.applyLater()
      this.#retire(member)
    })
  }

  #planSnapshotCheck(member: Member, to: string): void {
    const { incarnation } = member
    if (this.network.cuts > 0) this.checker.count('snapshotsWhileCut')
    this.agenda.after(this.plan.electionTicks * this.plan.tickMs, () => {
      if (member.incarnation !== incarnation) return
      member.core?.snapshotFailed(to)
      member.pump()
    })
  }

  #deliver(parcel: Parcel): void {
    const { message } = parcel
    const member = this.members.get(message.to)
    if (member === undefined || !member.isUp) return
    if (member.isPaused) {
      // The inbox of a process that stands still fills up.
      this.agenda.after(this.plan.tickMs, () => this.#deliver(parcel))
      return
    }
    this.note(`${message.from} ${message.to} ${message.type} ${message.term}`)
    this.#countBefore(member, parcel)
    const before = member.core?.view.role
    member.receive(parcel)
    this.#retire(member)
    this.outside?.taken(member, message.type, before)
  }

  #countBefore(member: Member, { message }: Parcel): void {
    const { log, incarnations } = member.core?.view ?? {}
    if (log === undefined || incarnations === undefined) return
    if (message.incarnation < (incarnations.get(message.from) ?? 0))
      this.checker.count('staleIncarnationRefused')
    if (message.type === 'snapOffer' && message.meta.index <= log.commit)
      this.checker.count('snapshotsIgnored')
    if (message.type !== 'app' || message.term < (member.core?.view.term ?? 0)) return
    const conflict = message.entries.find(
      ({ index, term }) => index <= log.last && log.term(index) !== term,
    )
    if (conflict === undefined || log.term(message.prevIndex) !== message.prevTerm) return
    if ((log.term(conflict.index) ?? 0) < log.lastTerm) this.checker.count('deepTruncations')
    if (member.disk.overwrites(conflict.index) > 0) this.checker.count('abaOverwrites')
  }

  /** Somebody who says that it leads, of several one. */
  get someLeader(): Member | undefined {
    const leaders = [...this.members.values()].filter(
      (member) => member.core?.view.role === 'leader' && !member.isPaused,
    )
    return leaders.length === 0 ? undefined : this.random.pick(leaders)
  }

  /** The leader of the latest term, if a majority follows it. */
  get settledLeader(): Member | undefined {
    const termOf = (member: Member): number => member.core?.view.term ?? 0
    const [newest] = [...this.members.values()]
      .filter(({ core }) => core?.view.role === 'leader')
      .toSorted((left, right) => termOf(right) - termOf(left))
    const conf = newest?.core?.view.conf
    if (conf === undefined) return undefined
    const follows = (id: string): boolean => this.members.get(id)?.core?.view.lead === newest?.id
    return isMajority(conf, follows) ? newest : undefined
  }

  /** Those that belong to the cluster, as its leader sees it. */
  get counting(): Member[] {
    const conf = this.settledLeader?.core?.view.conf
    const ids = [...(conf?.voters ?? []), ...(conf?.learners ?? [])]
    return ids.flatMap((id) => this.members.get(id) ?? [])
  }

  /** Somebody who belongs to the cluster, as far as anybody knows, has lost something. */
  get isSomebodyDamaged(): boolean {
    return [...this.members.values()].some((member) => member.isDamaged && !this.#isOut(member))
  }

  /** Everybody who counts holds what was committed when it was asked for, and is well. */
  hasReached(index: number): boolean {
    return (
      this.settledLeader !== undefined &&
      this.counting.every(
        ({ core, machine, isDamaged }) =>
          machine.index >= index && core?.view.lead !== NONE && !isDamaged,
      )
    )
  }

  get isCaughtUp(): boolean {
    const commit = this.settledLeader?.core?.view.log.commit
    if (commit === undefined || !this.hasReached(commit)) return false
    return this.counting.every(({ machine }) => machine.index === commit)
  }

  get isQuiet(): boolean {
    const log = this.settledLeader?.core?.view.log
    return log !== undefined && log.last === log.applied
  }

  /** Cuts a member off from all others, in one direction or in both. */
  isolate(id: string, isBothWays: boolean): void {
    for (const other of this.members.keys()) {
      this.network.cut(other, id)
      if (isBothWays) this.network.cut(id, other)
    }
  }
}

/** The log that all members of a new cluster begin with: who they are (raft.md 7.2). */
function firstLog(ids: readonly string[]): Entry[] {
  const entries: Entry[] = []
  for (const [at, id] of ids.entries()) {
    const data = encodeConf({ type: 'addVoter', id })
    const bare = { index: at + 1, term: 1, kind: 'conf' as const, id: '', data }
    entries.push({ ...bare, chain: chainOf(entries.at(-1)?.chain ?? 0, bare) })
  }
  return entries
}
