import type { Logger } from '@flotilla/daemon'
import {
  isRecognizedUnitType,
  mergeMetadata,
  parseUnitFile,
  type Change,
  type Job,
  type Machine,
  type RegistryCache,
} from '@flotilla/fleet-registry'
import { UnitManagerError, type UnitManager, type UnitManagerErrorCode } from '@flotilla/systemd'
import {
  desiredUnits,
  planTasks,
  sortTasks,
  TASK_ORDER,
  type AgentTask,
  type CurrentUnit,
} from './agent/reconcile.ts'
import { eachLimit, errorText } from './loop.ts'
import type { Publisher } from './publisher.ts'

/** What the agent needs of its surroundings. */
export interface AgentOptions {
  readonly cache: RegistryCache
  readonly manager: UnitManager
  readonly publisher: Publisher
  /** This machine as it describes itself now. */
  readonly machine: () => Pick<Machine, 'id' | 'metadata'>
  readonly log: Logger
}

const TASKS_AT_ONCE_MAX = 16

/** Makes this machine's units what the registry says (fleet agent/agent.go, unit_state.go). */
export class AgentRunner {
  readonly #options: AgentOptions
  readonly #units = new Map<string, CurrentUnit>()
  /** Units whose systemd state has to be looked at. */
  readonly #stale = new Set<string>()
  #looking: Promise<void> | undefined

  constructor(options: AgentOptions) {
    this.#options = options
  }

  /** What is present here and what was done with it. */
  units(): ReadonlyMap<string, CurrentUnit> {
    return this.#units
  }

  /** Whether a change of the registry can concern this machine. */
  concerns(change: Change): boolean {
    const { cache, machine } = this.#options
    const { id } = machine()
    switch (change.type) {
      case 'all':
      case 'unit':
        return true
      case 'machine':
        return change.name === id
      case 'job': {
        if (this.#units.has(change.name)) return true
        const job = cache.snapshot.job(change.name)
        return job !== undefined && (job.target === id || job.requirements.global)
      }
      case 'state':
      case 'api':
      case 'lease':
      case 'version':
        return false
    }
  }

  /** One round: compares, acts, publishes. A failed task keeps its unit's later tasks back until the next round. */
  async pass(): Promise<void> {
    const desired = this.#desired()
    await this.#takeStock()
    const tasks = sortTasks(planTasks(desired, this.#units))
    const jobs = new Map(desired.map((job) => [job.name, job]))
    const failed = new Set<string>()
    for (const type of TASK_ORDER) {
      const batch = tasks.filter((task) => task.type === type && !failed.has(task.unit))
      await eachLimit(batch, TASKS_AT_ONCE_MAX, async (task) => {
        if (!(await this.#perform(task, jobs.get(task.unit)))) failed.add(task.unit)
      })
    }
    // Also a unit whose task failed is looked at: its state may be the reason.
    for (const name of this.#units.keys()) this.#stale.add(name)
    await this.#look()
    if (failed.size > 0) throw new Error(`tasks of ${failed.size} unit(s) failed`)
  }

  #desired(): Job[] {
    const { cache, machine } = this.#options
    const self = machine()
    // Metadata set through the API counts, also while the machine's record is lost: no unit may end by that.
    const metadata = mergeMetadata(self.metadata, cache.snapshot.overlay(self.id))
    return desiredUnits({ id: self.id, metadata }, cache.snapshot.jobs())
  }

  /** Brings the memory in line with the units directory. What runs already counts as launched. */
  async #takeStock(): Promise<void> {
    const { manager } = this.#options
    const names = new Set((await manager.list()).filter(isRecognizedUnitType))
    for (const name of this.#units.keys()) if (!names.has(name)) this.#units.delete(name)
    const unknown = [...names].filter((name) => !this.#units.has(name))
    if (unknown.length === 0) return
    const states = await manager.states(unknown)
    for (const name of unknown) {
      const hash = hashOf((await manager.read(name)) ?? '')
      const active = states.get(name)?.activeState ?? ''
      const isRunning = ['active', 'activating', 'reloading'].includes(active)
      this.#units.set(name, { state: isRunning ? 'launched' : 'inactive', hash })
      if (isRunning) this.#options.publisher.setLaunched(name, true)
    }
  }

  /** False when the task failed and the unit has to wait for the next round. */
  async #perform(task: AgentTask, job: Job | undefined): Promise<boolean> {
    const { log } = this.#options
    const { unit, reason } = task
    try {
      await this.#carryOut(task, job)
      log.info(`agent: ${task.type}`, { unit: unit === '' ? undefined : unit, reason })
      return true
    } catch (error) {
      log.error(`agent: ${task.type} failed`, {
        unit: unit === '' ? undefined : unit,
        error: errorText(error),
      })
      if (task.type !== 'StartUnit') return false
      // systemd has refused the job (a timer without its service, say): fleet does not ask again.
      if (!hasCode(error, 'DISCONNECTED')) return true
      // Perhaps systemd has not heard of it; another start of what runs does nothing.
      this.#options.publisher.setLaunched(unit, false)
      this.#remember(unit, 'loaded')
      return false
    }
  }

  async #carryOut(task: AgentTask, job: Job | undefined): Promise<void> {
    const { manager, publisher } = this.#options
    const name = task.unit
    switch (task.type) {
      case 'LoadUnit':
        if (job === undefined) return
        await manager.load(name, job.file.text)
        this.#units.set(name, { state: 'loaded', hash: job.file.hash })
        return
      case 'UnloadUnit':
        publisher.setLaunched(name, false)
        await this.#stop(name)
        await manager.unload(name)
        this.#units.delete(name)
        publisher.remove(name)
        return
      case 'ReloadUnitFiles':
        return await manager.reload()
      case 'StopUnit':
        publisher.setLaunched(name, false)
        await this.#stop(name)
        this.#remember(name, 'loaded')
        return
      case 'StartUnit':
        publisher.setLaunched(name, true)
        this.#remember(name, 'launched')
        return await manager.start(name)
    }
  }

  /** systemd has no unit of a file it cannot read (`bad-setting`), so there is nothing to stop, but a file to remove. */
  async #stop(name: string): Promise<void> {
    try {
      await this.#options.manager.stop(name)
    } catch (error) {
      if (!hasCode(error, 'NO_SUCH_UNIT')) throw error
    }
  }

  #remember(name: string, state: CurrentUnit['state']): void {
    const unit = this.#units.get(name)
    if (unit !== undefined) this.#units.set(name, { ...unit, state })
  }

  /** A unit's systemd state may have changed. */
  noticed(name: string): void {
    if (!this.#units.has(name)) return
    this.#stale.add(name)
    this.#look().catch((error: unknown) => {
      this.#options.log.warn('agent: cannot read unit states', { error: errorText(error) })
    })
  }

  /** Reads the states of stale units and publishes them; what becomes stale meanwhile is read in the next turn. */
  async #look(): Promise<void> {
    this.#looking ??= this.#lookNow().finally(() => {
      this.#looking = undefined
    })
    await this.#looking
  }

  async #lookNow(): Promise<void> {
    const { manager, publisher, machine } = this.#options
    while (this.#stale.size > 0) {
      const names = [...this.#stale].filter((name) => this.#units.has(name))
      this.#stale.clear()
      const states = await manager.states(names)
      for (const name of names) {
        const [state, unit] = [states.get(name), this.#units.get(name)]
        if (state === undefined || unit === undefined) continue
        publisher.setState(name, { ...state, machineID: machine().id, unitHash: unit.hash })
      }
    }
  }

  /** Stops and unloads everything, waiting at most `waitMs` for the units to end. */
  async purge(waitMs: number): Promise<void> {
    const { manager, publisher, log } = this.#options
    const names = (await manager.list()).filter(isRecognizedUnitType)
    for (const name of names) publisher.setLaunched(name, false)
    const stopped = await this.#each(names, async (name) => this.#stop(name))
    await this.#untilDown(stopped, waitMs)
    await this.#each(stopped, async (name) => {
      await manager.unload(name)
      this.#units.delete(name)
      publisher.remove(name)
      log.info('agent: UnloadUnit', { unit: name, reason: 'purging agent' })
    })
    if (names.length > 0) await manager.reload()
  }

  /** Does something with every unit and gives those it was done with: one that refuses must not keep the others here. */
  async #each(
    names: readonly string[],
    work: (name: string) => Promise<void>,
  ): Promise<readonly string[]> {
    const done: string[] = []
    await eachLimit(names, TASKS_AT_ONCE_MAX, async (name) => {
      try {
        await work(name)
        done.push(name)
      } catch (error) {
        this.#options.log.error('agent: UnloadUnit failed', { unit: name, error: errorText(error) })
      }
    })
    return done
  }

  async #untilDown(names: readonly string[], waitMs: number): Promise<void> {
    const { manager } = this.#options
    let wake = (): void => undefined
    const unsubscribe = manager.onChange(() => wake())
    const end = Date.now() + waitMs
    try {
      for (;;) {
        const states = [...(await manager.states(names)).values()]
        const isDown = states.every(({ activeState }) => DOWN.has(activeState))
        const leftMs = end - Date.now()
        if (isDown || leftMs <= 0) return
        await new Promise<void>((resolve) => {
          wake = resolve
          setTimeout(resolve, Math.min(leftMs, DOWN_LOOK_MS)).unref()
        })
      }
    } finally {
      unsubscribe()
    }
  }
}

function hasCode(error: unknown, code: UnitManagerErrorCode): boolean {
  return error instanceof UnitManagerError && error.code === code
}

const DOWN = new Set(['inactive', 'failed'])
/** Between two looks at units that are asked to stop, should no signal arrive. */
const DOWN_LOOK_MS = 500

/** Hash of a file as it is on disk; one that cannot be parsed has a hash that nothing has, so that it is replaced. */
function hashOf(text: string): string {
  try {
    return parseUnitFile(text).hash
  } catch {
    return 'unreadable'
  }
}
