import { existsSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { readOrEmpty } from './process.ts'
import { waitFor } from './deadline.ts'

const TOP = '/sys/fs/cgroup'

/** True where only the unified hierarchy exists. */
function isPureV2(): boolean {
  return existsSync(join(TOP, 'cgroup.controllers'))
}

/**
 * The hierarchies in which a machine needs a group of its own: systemd tracks units in the first two,
 * the third freezes. Machines that share a group share their units' groups too, and stops then hang.
 */
export function hierarchies(): string[] {
  if (isPureV2()) return [TOP]
  return ['systemd', 'unified', 'freezer']
    .map((name) => join(TOP, name))
    .filter((path) => existsSync(path))
}

/** The groups of one machine, one per hierarchy. All machines of a run lie below one group, RUN. */
export function machineGroups(runName: string, machine: string): string[] {
  return hierarchies().map((top) => join(top, runName, machine))
}

/** Makes the groups; they may exist. */
export function makeGroups(groups: readonly string[]): void {
  for (const group of groups) mkdirSync(group, { recursive: true })
}

/** Stops every process of the machine where it stands, or lets them go on; returns when it is so. */
export async function setFrozen(groups: readonly string[], frozen: boolean): Promise<void> {
  if (isPureV2()) {
    const [group = ''] = groups
    writeFileSync(join(group, 'cgroup.freeze'), frozen ? '1' : '0')
    const want = `frozen ${frozen ? 1 : 0}`
    await reads(join(group, 'cgroup.events'), want)
    return
  }
  const group = groups.find((path) => path.startsWith(join(TOP, 'freezer'))) ?? ''
  const state = frozen ? 'FROZEN' : 'THAWED'
  writeFileSync(join(group, 'freezer.state'), state)
  await reads(join(group, 'freezer.state'), state)
}

async function reads(file: string, want: string): Promise<void> {
  await waitFor(`${file} to read ${want}`, () => {
    const seen = readFileSync(file, 'utf8')
    return seen.includes(want) ? { done: undefined } : { seen }
  })
}

/** A machine of a running cluster as the host sees it. */
export interface RunningMachine {
  readonly runName: string
  readonly machine: string
  /** Its systemd, numbered as in the caller's pid namespace. */
  readonly leader: number
}

/** Finds booted machines of all runs on this host whose run's name begins with `prefix`. */
export function runningMachines(prefix: string): RunningMachine[] {
  const [top = TOP] = hierarchies()
  return subdirectories(top)
    .filter((name) => name.startsWith(prefix))
    .flatMap((runName) =>
      subdirectories(join(top, runName)).flatMap((machine) => {
        const file = join(top, runName, machine, 'payload/init.scope/cgroup.procs')
        const leader = Number(readOrEmpty(file).split('\n')[0])
        return leader > 0 ? [{ runName, machine, leader }] : []
      }),
    )
}

function subdirectories(path: string): string[] {
  if (!existsSync(path)) return []
  return readdirSync(path, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map((entry) => entry.name)
}
