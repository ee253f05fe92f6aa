import { Violation } from './checker.ts'
import { Clients } from './clients.ts'
import { Cluster } from './cluster.ts'
import type { Counter } from './counters.ts'
import { Nemesis } from './nemesis.ts'

/** How a seed ended. */
export interface Verdict {
  readonly seed: number
  readonly events: number
  /** Hash over everything that happened: equal for equal seeds, or the run does not replay. */
  readonly traceHash: number
  readonly counters: ReadonlyMap<Counter, number>
  readonly violation: { readonly property: string; readonly message: string } | undefined
}

const EVENTS_MAX = 400_000
/** Bounds of correctness.md 1, in election timeouts. */
const LEADER_WITHIN = 5
const CAUGHT_UP_WITHIN = 20
const ANSWERED_WITHIN = 10
const DEPOSED_WITHIN = 2
const EXPIRED_WITHIN_MS = 1_000

/** The life of one seed: faults, then peace, then the promises that hold in peace. */
class World {
  readonly #cluster: Cluster
  readonly #clients: Clients
  /** An election timeout in virtual milliseconds. */
  readonly #timeout: number
  /** Disks and ways may be as slow as an election is long: they come on top, in election timeouts. */
  readonly #slack: number
  events = 0

  constructor(cluster: Cluster) {
    this.#cluster = cluster
    const { electionTicks, tickMs, syncMs, delay, faultTicks } = cluster.plan
    this.#timeout = electionTicks * tickMs
    this.#slack = (4 * (syncMs + delay.ms)) / tickMs + 60 / electionTicks
    const clients = new Clients(cluster, cluster.random.fork())
    const nemesis = new Nemesis(cluster, cluster.random.fork())
    cluster.outside = {
      answered: (member, id, index) => clients.answered(member, id, index),
      readable: (member, id, index) => clients.readable(member, id, index),
      lost: (member, id, why) => clients.lost(member, id, why),
      taken: (member, type, before) => nemesis.taken(member, type, before),
    }
    this.#clients = clients
    cluster.agenda.after(faultTicks * tickMs, () => this.#makePeace())
  }

  run(): void {
    this.#runUntil(() => !this.#cluster.isFaulty)
    this.#untilLed()
    this.#untilBacklogIsOut()
    // New entries come all the time: nobody has to hold them all at one moment.
    const committed = this.#cluster.checker.maxCommit
    const caughtUpWithin = CAUGHT_UP_WITHIN + 4 * this.#slack
    this.#within('V2', caughtUpWithin, () => this.#cluster.hasReached(committed))
    const before = this.#answered
    this.#within('V3', ANSWERED_WITHIN + 4 * this.#slack, () => this.#answered > before)
    // What was begun before the peace, a hand-over say, comes to its end.
    this.#pass(DEPOSED_WITHIN + this.#slack)
    this.#untilLed()
    this.#checkReturn()
    this.#checkDeposed()
    this.#untilLed()
    this.#clients.isOver = true
    const second = EXPIRED_WITHIN_MS / this.#timeout
    this.#within('S15', second + this.#slack, () => this.#isExpired)
    this.#within(
      'V2',
      CAUGHT_UP_WITHIN + 4 * this.#slack,
      () => this.#cluster.isCaughtUp && this.#cluster.isQuiet,
    )
    this.#cluster.checker.final(this.#cluster.counting)
  }

  /**
   * A leader may begin with entries that go out one to a message: nobody is answered before they are
   * through, but they must go on all the time.
   */
  #untilBacklogIsOut(): void {
    const within = ANSWERED_WITHIN + 4 * this.#slack
    for (let known = this.#replicated; this.#hasBacklog; known = this.#replicated) {
      this.#within('V3', within, () => this.#replicated > known || !this.#hasBacklog)
      // While nobody leads, nobody has a backlog.
      this.#untilLed()
    }
  }

  /** More is on its way than clients ask for at a time. */
  get #hasBacklog(): boolean {
    const log = this.#cluster.settledLeader?.core?.view.log
    return log !== undefined && log.last - log.commit > 3 * this.#cluster.plan.clients
  }

  /** Grows as entries reach members. */
  get #replicated(): number {
    const progress = this.#cluster.settledLeader?.core?.view.progress.values() ?? []
    return [...progress].reduce((sum, { match }) => sum + match, 0)
  }

  get #answered(): number {
    return this.#cluster.checker.counters.get('writesAnswered') ?? 0
  }

  #runUntil(isDone: () => boolean): void {
    while (!isDone()) {
      this.events += 1
      if (this.events > EVENTS_MAX) throw new Violation('V2', 'the run does not come to an end')
      if (!this.#cluster.agenda.step()) throw new Violation('V1', 'nothing is left to happen')
    }
  }

  /** @param timeouts how long it may take, in election timeouts */
  #within(property: string, timeouts: number, isDone: () => boolean): void {
    const { agenda } = this.#cluster
    const until = agenda.now + timeouts * this.#timeout
    this.#runUntil(() => {
      if (agenda.now > until)
        throw new Violation(property, `not within ${timeouts} election timeouts`)
      return isDone()
    })
  }

  #pass(timeouts: number): void {
    const { agenda } = this.#cluster
    const until = agenda.now + timeouts * this.#timeout
    this.#runUntil(() => agenda.now >= until)
  }

  #untilLed(): void {
    this.#within('V1', LEADER_WITHIN + this.#slack, () => this.#cluster.settledLeader !== undefined)
  }

  #makePeace(): void {
    const { members, network } = this.#cluster
    this.#cluster.note('peace')
    this.#cluster.isFaulty = false
    network.heal()
    network.isCalm = true
    for (const member of members.values()) {
      member.isPaused = false
      member.disk.isFull = false
      member.releaseApply()
      this.#cluster.restart(member)
    }
  }

  /** A member that was cut off comes back without disturbing anybody (V4). */
  #checkReturn(): void {
    const leader = this.#cluster.settledLeader
    const term = leader?.core?.view.term
    const others = leader?.core?.view.conf.voters.filter((id) => id !== leader.id) ?? []
    if (leader === undefined || others.length < 2) return
    const lost = this.#cluster.random.pick(others)
    this.#cluster.note(`return ${lost}`)
    this.#cluster.isolate(lost, true)
    this.#pass(3 + this.#slack)
    this.#cluster.network.heal()
    this.#pass(3 + this.#slack)
    const view = leader.core?.view
    if (view?.role !== 'leader' || view.term !== term)
      throw new Violation('V4', `${lost} was cut off and came back: term ${term} is ${view?.term}`)
  }

  /** What is due has expired at the leader. */
  get #isExpired(): boolean {
    const { core, machine } = this.#cluster.settledLeader ?? {}
    const due = machine?.store.nextExpiry ?? Infinity
    return core !== undefined && due > core.clusterNow()
  }

  /** A leader that hears nobody stops saying that it leads (V5). */
  #checkDeposed(): void {
    const leader = this.#cluster.settledLeader
    if (leader === undefined || (leader.core?.view.conf.voters.length ?? 0) < 2) return
    this.#cluster.note(`depose ${leader.id}`)
    this.#cluster.isolate(leader.id, false)
    this.#pass(DEPOSED_WITHIN + this.#slack)
    if (leader.core?.view.role === 'leader')
      throw new Violation('V5', `${leader.id} leads and hears nobody`)
    this.#cluster.network.heal()
  }
}

/** Runs one seed. */
export function runSeed(seed: number, trace?: (line: string) => void): Verdict {
  let violation: Verdict['violation']
  const cluster = new Cluster(seed, trace)
  const world = new World(cluster)
  try {
    world.run()
  } catch (error) {
    if (!(error instanceof Error)) throw error
    const property = error instanceof Violation ? error.property : 'S18'
    violation = {
      property,
      message: error instanceof Violation ? error.message : `S18: ${error.stack}`,
    }
  }
  const { events } = world
  const { counters } = cluster.checker
  return { seed, events, traceHash: cluster.traceHash, counters, violation }
}
