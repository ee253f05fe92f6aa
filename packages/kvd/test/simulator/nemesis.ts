import type { Random } from '../helpers/random.ts'
import type { Cluster } from './cluster.ts'
import { FigureEight } from './figure-eight.ts'
import { LateApplier } from './late-applier.ts'
import { encodeConf } from './machine.ts'
import type { Member } from './member.ts'

const HOUR_MS = 3_600_000
/** How long a successor stays away. */
const PATIENCE_MS = 1_000

/** A course of events that leads into danger, step by step. */
export interface Plot {
  readonly isOver: boolean
  /** Somebody has taken a message. */
  taken(member: Member): void
}

/** Breaks what the plan of the seed allows, now and then, as long as the cluster is to suffer. */
export class Nemesis {
  readonly #cluster: Cluster
  readonly #random: Random
  #changes = 0
  #plot: Plot | undefined

  constructor(cluster: Cluster, random: Random) {
    this.#cluster = cluster
    this.#random = random
    this.#planFault()
  }

  #planFault(): void {
    const { agenda, plan } = this.#cluster
    agenda.after(this.#random.int(5, 15 * plan.tickMs), () => {
      if (!this.#cluster.isFaulty) return
      this.#fault()
      this.#planFault()
    })
  }

  #fault(): void {
    const { plan } = this.#cluster
    const faults: (() => void)[] = []
    if (plan.crashes) faults.push(() => this.#crash())
    if (plan.partitions)
      faults.push(
        () => this.#partition(),
        () => this.#heal(),
      )
    if (plan.oneWayCuts)
      faults.push(
        () => this.#cutOneWay(),
        () => this.#heal(),
      )
    if (plan.pauses) faults.push(() => this.#pause(this.#anyMember()))
    if (plan.wrongClocks !== 'none') faults.push(() => this.#setClock())
    if (plan.confChanges) faults.push(() => this.#changeConf())
    if (plan.damage) faults.push(() => this.#damage())
    if (plan.nospace) faults.push(() => this.#fill())
    if (plan.transfers) faults.push(() => this.#transfer())
    // There are as many of them as there are plain faults.
    if (plan.ambushes)
      for (let weight = 0; weight < 4; weight += 1) faults.push(() => this.#ambush())
    if (faults.length > 0) this.#random.pick(faults)()
  }

  #anyMember(): Member | undefined {
    const up = [...this.#cluster.members.values()].filter((member) => member.isUp)
    return up.length === 0 ? undefined : this.#random.pick(up)
  }

  #crash(): void {
    const member = this.#anyMember()
    if (member !== undefined) this.#cluster.crash(member)
  }

  #partition(): void {
    const ids = [...this.#cluster.members.keys()]
    const side = new Set(ids.filter(() => this.#random.chance(0.5)))
    this.#cluster.note(`partition ${[...side].join(' ')}`)
    for (const from of ids)
      for (const to of ids) if (side.has(from) !== side.has(to)) this.#cluster.network.cut(from, to)
  }

  #cutOneWay(): void {
    const ids = [...this.#cluster.members.keys()]
    const from = this.#random.pick(ids)
    const to = this.#random.pick(ids)
    this.#cluster.note(`cut ${from} ${to}`)
    this.#cluster.network.cut(from, to)
  }

  #heal(): void {
    this.#cluster.note('heal')
    this.#cluster.network.heal()
  }

  #pause(member: Member | undefined): void {
    if (member === undefined) return
    const { electionTicks, tickMs } = this.#cluster.plan
    this.#cluster.note(`pause ${member.id}`)
    member.isPaused = true
    this.#cluster.agenda.after(this.#random.int(1, 5 * electionTicks * tickMs), () => {
      member.isPaused = false
    })
  }

  /** One at a time: a committed entry may be on no more disks than the others make up. */
  #damage(): void {
    const member = this.#anyMember()
    if (member === undefined || this.#cluster.isSomebodyDamaged) return
    this.#cluster.crash(member)
    if (member.disk.damageMax === 0) return
    const batches = this.#random.int(1, member.disk.damageMax)
    this.#cluster.note(`damage ${member.id} ${batches}`)
    this.#cluster.checker.count('damaged')
    member.disk.damage(batches)
  }

  #fill(): void {
    const member = this.#anyMember()
    if (member === undefined || member.disk.isFull) return
    this.#cluster.note(`full ${member.id}`)
    member.disk.isFull = true
    this.#cluster.agenda.after(this.#random.int(50, 2_000), () => {
      member.disk.isFull = false
    })
  }

  #setClock(): void {
    const wrong = [...this.#cluster.members.values()].filter(({ clock }) => clock.isWrong)
    if (wrong.length === 0) return
    const member = this.#random.pick(wrong)
    const offsetMs = this.#random.int(-HOUR_MS, HOUR_MS)
    this.#cluster.note(`clock ${member.id} ${offsetMs}`)
    this.#cluster.checker.count('clockJumps')
    member.clock.offsetMs = offsetMs
  }

  #transfer(): void {
    const leader = this.#cluster.someLeader
    const voters = leader?.core?.view.conf.voters ?? []
    if (leader === undefined || voters.length < 2) return
    const to = this.#random.pick(voters)
    this.#cluster.note(`transfer ${leader.id} ${to}`)
    this.#cluster.checker.count('transfers')
    leader.core?.transfer(to)
    leader.pump()
  }

  #changeConf(): void {
    const leader = this.#cluster.someLeader
    const conf = leader?.core?.view.conf
    if (leader === undefined || conf === undefined) return
    const random = this.#random
    const { voters, learners } = conf
    const kind = random.pick(['add', 'promote', 'remove'] as const)
    if (kind === 'add' && voters.length + learners.length < 7) this.#join(leader)
    else if (kind === 'promote' && learners.length > 0)
      this.#proposeConf(leader, 'addVoter', random.pick(learners))
    else if (kind === 'remove' && voters.length > this.#votersMin)
      this.#proposeConf(leader, 'remove', random.pick([...voters, ...learners]))
  }

  /** With one member damaged the others must be able to make a quorum. */
  get #votersMin(): number {
    return this.#cluster.plan.damage ? 3 : 1
  }

  #join(leader: Member): void {
    const id = this.#cluster.newId()
    this.#proposeConf(leader, this.#random.chance(0.7) ? 'addLearner' : 'addVoter', id)
    this.#cluster.add(id, [])
    if ([...this.#cluster.members.values()].some(({ goneIndex }) => goneIndex !== undefined))
      this.#cluster.checker.count('rejoined')
  }

  #proposeConf(leader: Member, type: 'addVoter' | 'addLearner' | 'remove', id: string): void {
    const { checker } = this.#cluster
    this.#cluster.note(`conf ${type} ${id} at ${leader.id}`)
    const conf = leader.core?.view.conf
    if (type === 'addVoter' && conf?.learners.includes(id) === true)
      checker.count('learnersPromoted')
    if (type === 'remove' && id === leader.id) checker.count('leadersRemoved')
    if (type === 'remove' && conf?.voters.length === 2) checker.count('twoToOne')
    this.#changes += 1
    leader.propose({ kind: 'conf', id: `c${this.#changes}`, data: encodeConf({ type, id }) })
  }

  /** Moments that are known to be dangerous (correctness.md 2.3). */
  #ambush(): void {
    const leader = this.#cluster.someLeader
    if (leader === undefined) return
    const kind = this.#random.int(0, 8)
    this.#cluster.note(`ambush ${kind} ${leader.id}`)
    const others = [...this.#cluster.members.keys()].filter((id) => id !== leader.id)
    if (kind === 0) this.#crashBehindAppend(leader)
    else if (kind === 1 && others.length > 0) this.#leaveAlone(leader, others)
    else if (kind === 2) this.#crashWriter()
    else if (kind === 3) {
      if (this.#cluster.plan.confChanges) this.#changeConf()
      if (leader.isUp) this.#cluster.crash(leader, this.#random.int(1, 100))
    } else if (kind === 4) this.#wakeSome(leader, others)
    else if (kind === 5) this.#speakToNobody(leader)
    else if (kind === 6 && this.#plot === undefined)
      this.#plot = new FigureEight(this.#cluster, leader)
    else if (kind >= 7 && this.#plot === undefined) this.#holdApply(leader)
    else this.#pause(leader)
  }

  #holdApply(leader: Member): void {
    const { plan, members } = this.#cluster
    const { voters = [] } = leader.core?.view.conf ?? {}
    const others = voters.filter((id) => id !== leader.id && members.get(id)?.isUp === true)
    if (!plan.confChanges || voters.length % 2 === 0 || voters.length > 5 || others.length === 0) {
      this.#pause(leader)
      return
    }
    const late = members.get(this.#random.pick(others))
    if (late === undefined) return
    this.#plot = new LateApplier(this.#cluster, { leader, late }, (to) => {
      const id = this.#cluster.newId()
      this.#proposeConf(to, 'addVoter', id)
      this.#cluster.add(id, [])
    })
  }

  /** Something has just been appended, and some have it. */
  #crashBehindAppend(leader: Member): void {
    leader.propose({ kind: 'noop', id: '', data: new Uint8Array() })
    this.#cluster.agenda.after(this.#random.int(0, this.#cluster.plan.delay.ms + 5), () => {
      if (leader.isUp) this.#cluster.crash(leader)
    })
  }

  /** The leader is alone with the one who has its tail. */
  #leaveAlone(leader: Member, others: readonly string[]): void {
    const { network } = this.#cluster
    const friend = this.#random.pick(others)
    for (const id of others) {
      if (id === friend) continue
      for (const near of [leader.id, friend]) {
        network.cut(near, id)
        network.cut(id, near)
      }
    }
    leader.propose({ kind: 'noop', id: '', data: new Uint8Array() })
  }

  #crashWriter(): void {
    const writer = this.#random.pick([...this.#cluster.members.values()])
    if (writer.isUp && writer.disk.waiting > 0) this.#cluster.crash(writer, this.#random.int(1, 20))
  }

  /**
   * A leader that is cut off goes on writing what will be overwritten. When it comes back and its
   * successor is gone, it has the longest log, and the oldest.
   */
  #speakToNobody(leader: Member): void {
    this.#cluster.isolate(leader.id, true)
    for (let count = this.#random.int(10, 200); count > 0; count -= 1)
      leader.propose({ kind: 'noop', id: '', data: new Uint8Array() })
    const { agenda, plan } = this.#cluster
    agenda.after(this.#random.int(2, 4) * plan.electionTicks * plan.tickMs, () => {
      const successor = this.#cluster.settledLeader
      if (!this.#cluster.isFaulty || successor === undefined || successor === leader) return
      this.#cluster.crash(successor, PATIENCE_MS)
      this.#heal()
    })
  }

  /** Several want to follow a leader that stands still, at once. */
  #wakeSome(leader: Member, others: readonly string[]): void {
    this.#pause(leader)
    for (const id of others.filter(() => this.#random.chance(0.6))) {
      const other = this.#cluster.members.get(id)
      for (let tick = 0; tick < 2 * this.#cluster.plan.electionTicks; tick += 1)
        if (other?.isPaused === false && other.core?.view.role === 'follower') other.tick()
    }
  }

  /** Chances that must not be missed: a voter before its vote is on the disk, a leader that is new. */
  taken(member: Member, type: string, before: string | undefined): void {
    const { isFaulty, plan, agenda } = this.#cluster
    if (!isFaulty || !plan.ambushes) return
    this.#plot?.taken(member)
    if (this.#plot?.isOver === true) this.#plot = undefined
    const random = this.#random
    const crashIn = (ms: number, downMs: number, kept?: number): void =>
      agenda.after(ms, () => {
        if (member.isUp) this.#cluster.crash(member, downMs, kept)
      })
    const isNewLeader = member.core?.view.role === 'leader' && before !== 'leader'
    if (type === 'vote' && member.disk.waiting > 0 && random.chance(0.4))
      crashIn(random.int(0, 4), random.int(0, 3), 0)
    else if (isNewLeader && random.chance(plan.regicide))
      crashIn(random.int(0, 2 * (plan.delay.ms + plan.syncMs)), random.int(0, 100))
  }
}
