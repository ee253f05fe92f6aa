import type { Job, JobState, Machine } from '@flotilla/fleet-registry'
import { hasMetadata } from '@flotilla/fleet-registry'
import { AgentState } from './agent-state.ts'

/** What an agent does, named as fleet names it in its log. */
export type TaskType = 'UnloadUnit' | 'LoadUnit' | 'ReloadUnitFiles' | 'StopUnit' | 'StartUnit'

/** One step of an agent; `unit` is empty for ReloadUnitFiles. */
export interface AgentTask {
  readonly type: TaskType
  readonly unit: string
  readonly reason: string
}

/** A unit that belongs on this machine. */
export type DesiredUnit = Pick<Job, 'name' | 'targetState'> & {
  readonly file: Pick<Job['file'], 'hash'>
}

/** A unit present on this machine. State `inactive`: the file is there, but it is not known what was done with it. */
export interface CurrentUnit {
  readonly state: JobState
  readonly hash: string
}

/**
 * Units that belong on a machine: those scheduled to it and global ones whose metadata fit, in name order, without
 * those that conflict with one before them (fleet agent/reconcile.go).
 */
export function desiredUnits(
  machine: Pick<Machine, 'id' | 'metadata'>,
  jobs: readonly Job[],
): Job[] {
  const accepted = new AgentState(machine)
  const desired: Job[] = []
  for (const job of jobs) {
    const { global, metadata } = job.requirements
    const isHere = global ? hasMetadata(machine.metadata, metadata) : job.target === machine.id
    if (!isHere || accepted.conflict(job) !== undefined) continue
    accepted.add(job)
    desired.push(job)
  }
  return desired
}

/** The tasks that turn `current` into `desired`, unit by unit, not yet in the order of execution. */
export function planTasks(
  desired: readonly DesiredUnit[],
  current: ReadonlyMap<string, CurrentUnit>,
): AgentTask[] {
  const wanted = new Map(desired.map((unit) => [unit.name, unit]))
  const names = [...new Set([...wanted.keys(), ...current.keys()])].toSorted()
  const tasks = names.flatMap((name) => planUnit(name, wanted.get(name), current.get(name)))
  if (tasks.some(changesFiles)) {
    tasks.push({ type: 'ReloadUnitFiles', unit: '', reason: 'always reload unit files' })
  }
  return tasks
}

function planUnit(
  unit: string,
  wanted: DesiredUnit | undefined,
  current: CurrentUnit | undefined,
): AgentTask[] {
  const load: AgentTask = { type: 'LoadUnit', unit, reason: 'unit scheduled here but not loaded' }
  if (wanted === undefined || wanted.targetState === 'inactive') {
    if (current === undefined) return []
    return [{ type: 'UnloadUnit', unit, reason: 'unit loaded but not scheduled here' }]
  }
  const starts = wanted.targetState === 'launched' ? [START_TASK(unit)] : []
  if (current === undefined) return [load, ...starts]
  if (current.hash !== wanted.file.hash) {
    const reason = 'unit loaded but hash differs to expected'
    return [{ type: 'UnloadUnit', unit, reason }, load, ...starts]
  }
  if (current.state === 'inactive') return [load, ...starts]
  if (current.state === wanted.targetState) return []
  return starts.length > 0 ? starts : [STOP_TASK(unit)]
}

const START_TASK = (unit: string): AgentTask => ({
  type: 'StartUnit',
  unit,
  reason: 'unit currently loaded but desired state is launched',
})
const STOP_TASK = (unit: string): AgentTask => ({
  type: 'StopUnit',
  unit,
  reason: 'unit currently launched but desired state is loaded',
})

function changesFiles(task: AgentTask): boolean {
  return task.type === 'UnloadUnit' || task.type === 'LoadUnit'
}

/** The kinds of tasks in the order in which a pass carries them out. */
export const TASK_ORDER: readonly TaskType[] = [
  'UnloadUnit',
  'LoadUnit',
  'ReloadUnitFiles',
  'StopUnit',
  'StartUnit',
]

/** Tasks in the order of execution; within a kind they keep their order, which is that of unit names. */
export function sortTasks(tasks: readonly AgentTask[]): AgentTask[] {
  return [...tasks].toSorted((a, b) => TASK_ORDER.indexOf(a.type) - TASK_ORDER.indexOf(b.type))
}
