import type { Job } from '@flotilla/fleet-registry'
import { AgentState, type PlacementMachine } from '../agent/agent-state.ts'

/** What the engine looks at; later decisions of a pass see the earlier ones. */
export class ClusterState {
  readonly #agents = new Map<string, AgentState>()
  /** Agents by load, then machine ID: the order in which they are tried. */
  readonly #order: AgentState[]
  readonly #globals: readonly Job[]
  readonly #jobs: readonly Job[]
  readonly #targets = new Map<string, string>()

  constructor(jobs: readonly Job[], machines: readonly PlacementMachine[]) {
    for (const machine of machines) this.#agents.set(machine.id, new AgentState(machine))
    this.#globals = jobs.filter((job) => job.requirements.global).toSorted(byName)
    this.#jobs = jobs.filter((job) => !job.requirements.global).toSorted(byName)
    for (const job of this.#jobs) {
      if (job.target === '') continue
      this.#targets.set(job.name, job.target)
      if (job.targetState !== 'inactive') this.#agents.get(job.target)?.add(job)
    }
    for (const agent of this.#agents.values()) this.#settleGlobals(agent)
    this.#order = [...this.#agents.values()].toSorted(byLoad)
  }

  /** Non-global units by name. */
  get jobs(): readonly Job[] {
    return this.#jobs
  }

  /** The machine a unit is scheduled to now, empty when to none. */
  target(name: string): string {
    return this.#targets.get(name) ?? ''
  }

  agent(machineID: string): AgentState | undefined {
    return this.#agents.get(machineID)
  }

  /** The least loaded machine that passes the test, ties by machine ID. */
  find(isWanted: (agent: AgentState) => boolean): AgentState | undefined {
    return this.#order.find(isWanted)
  }

  schedule(job: Job, machineID: string): void {
    this.#targets.set(job.name, machineID)
    this.#change(machineID, (agent) => agent.add(job))
  }

  unschedule(name: string): void {
    const machineID = this.target(name)
    this.#targets.delete(name)
    this.#change(machineID, (agent) => agent.remove(name))
  }

  #change(machineID: string, change: (agent: AgentState) => void): void {
    const agent = this.#agents.get(machineID)
    if (agent === undefined) return
    this.#order.splice(this.#position(agent), 1)
    change(agent)
    this.#settleGlobals(agent)
    this.#order.splice(this.#position(agent), 0, agent)
  }

  /** Where an agent stands, or belongs, in the order. */
  #position(agent: AgentState): number {
    let low = 0
    let high = this.#order.length
    while (low < high) {
      const middle = (low + high) >>> 1
      const other = this.#order[middle]
      if (other !== undefined && byLoad(other, agent) < 0) low = middle + 1
      else high = middle
    }
    return low
  }

  /** Global units count where their metadata fit and nothing counted before conflicts; their target state does not matter. */
  #settleGlobals(agent: AgentState): void {
    for (const job of this.#globals) agent.remove(job.name)
    for (const job of this.#globals) {
      if (fitsGlobal(agent, job)) agent.add(job)
    }
  }
}

function fitsGlobal(agent: AgentState, job: Job): boolean {
  const { metadata } = job.requirements
  const only = { ...job.requirements, machineID: undefined, peers: [], replaces: [], metadata }
  return agent.ableToRun({ name: job.name, requirements: only }).action !== 'unschedule'
}

function byLoad(a: AgentState, b: AgentState): number {
  if (a.load !== b.load) return a.load - b.load
  if (a.machine.id === b.machine.id) return 0
  return a.machine.id < b.machine.id ? -1 : 1
}

function byName(a: Job, b: Job): number {
  return a.name < b.name ? -1 : 1
}
