import type { Job } from '@flotilla/fleet-registry'
import { replaceReason, type AgentState } from '../agent/agent-state.ts'
import type { ClusterState } from './cluster-state.ts'

/** One step of the engine, named as fleet names it in its log and metrics. */
export interface Task {
  readonly type: 'UnscheduleUnit' | 'AttemptScheduleUnit'
  readonly unit: string
  readonly machine: string
  readonly reason: string
}

/**
 * What the lead engine has to do (fleet engine/reconciler.go), in order. `isGone` says whether a machine without
 * record has really left; units of one that may yet come back stay where they are.
 */
export function reconcile(cluster: ClusterState, isGone: (machineID: string) => boolean): Task[] {
  const tasks: Task[] = []
  const plan: Plan = { cluster, tasks, resting: new Set() }
  for (const job of cluster.jobs) reviewJob(plan, job, isGone)
  placeAll(plan)
  return tasks
}

interface Plan {
  readonly cluster: ClusterState
  readonly tasks: Task[]
  /** Units that are not placed again in this pass. */
  readonly resting: Set<string>
}

function reviewJob(plan: Plan, job: Job, isGone: (machineID: string) => boolean): void {
  const machine = plan.cluster.target(job.name)
  if (machine === '') return
  if (job.targetState === 'inactive') return unschedule(plan, job.name, 'target state inactive')
  const agent = plan.cluster.agent(machine)
  if (agent === undefined) {
    if (isGone(machine)) unschedule(plan, job.name, `target Machine(${machine}) went away`)
    return
  }
  const ability = agent.ableToRun(job)
  if (ability.action === 'unschedule') {
    unschedule(plan, job.name, unableReason(machine, ability.reason))
  } else if (ability.action === 'reschedule') driveAway(plan, job, agent)
}

/**
 * Sends the units that `job` replaces to other machines. Only the unit that carries the option displaces (the
 * original may, depending on the order of a hash map, move the new unit instead). When a displaced unit has nowhere to
 * go, both are taken off, as the original does; the carrier is placed first afterwards and the other one waits.
 */
function driveAway(plan: Plan, job: Job, agent: AgentState): void {
  const { cluster } = plan
  const machine = agent.machine.id
  for (;;) {
    const victim = agent.victim(job)
    const leaving = cluster.jobs.find((other) => other.name === victim?.name)
    if (leaving === undefined) return
    const reason = unableReason(machine, replaceReason(leaving.name))
    unschedule(plan, leaving.name, reason)
    const other = cluster.find((it) => it !== agent && canPlace(it, leaving))
    if (other !== undefined) schedule(plan, leaving, { machine: other.machine.id, reason })
    else {
      unschedule(plan, job.name, unableReason(machine, replaceReason(job.name)))
      plan.resting.add(leaving.name).add(job.name)
      return
    }
  }
}

/** Places what has no machine; a unit may have to wait for a peer that is placed after it, hence the rounds. */
function placeAll(plan: Plan): void {
  const { cluster } = plan
  let waiting = cluster.jobs.filter(
    ({ name, targetState }) =>
      targetState !== 'inactive' && cluster.target(name) === '' && !plan.resting.has(name),
  )
  // Units that displace others come first, so that the displaced ones see that there is no room for them.
  waiting = [...waiting.filter(displaces), ...waiting.filter((job) => !displaces(job))]
  for (;;) {
    const left = waiting.filter((job) => !place(plan, job))
    if (left.length === waiting.length || left.every((job) => !hasPeers(job))) return
    waiting = left
  }
}

function place(plan: Plan, job: Job): boolean {
  const agent = plan.cluster.find((it) => canPlace(it, job))
  if (agent === undefined) return false
  const reason = `target state ${job.targetState} and unit not scheduled`
  schedule(plan, job, { machine: agent.machine.id, reason })
  return true
}

function canPlace(agent: AgentState, job: Job): boolean {
  return agent.ableToRun(job).action !== 'unschedule' && !agent.displaces(job)
}

function displaces(job: Job): boolean {
  return job.requirements.replaces.length > 0
}

function hasPeers(job: Job): boolean {
  return job.requirements.peers.length > 0
}

function unableReason(machine: string, reason: string): string {
  return `target Machine(${machine}) unable to run unit: ${reason}`
}

function schedule(plan: Plan, job: Job, to: { machine: string; reason: string }): void {
  plan.cluster.schedule(job, to.machine)
  plan.tasks.push({ type: 'AttemptScheduleUnit', unit: job.name, ...to })
}

function unschedule(plan: Plan, name: string, reason: string): void {
  const machine = plan.cluster.target(name)
  plan.cluster.unschedule(name)
  plan.tasks.push({ type: 'UnscheduleUnit', unit: name, machine, reason })
}
