import type { Logger } from '@flotilla/daemon'
import {
  ENGINE_VERSION,
  type EngineRegistry,
  type HeldLease,
  type RegistryCache,
} from '@flotilla/fleet-registry'
import type { Contact } from './contact.ts'
import { ClusterState } from './engine/cluster-state.ts'
import { reconcile, type Task } from './engine/reconcile.ts'
import { eachLimit, errorText, pause } from './loop.ts'
import type { Metrics } from './metrics.ts'

/** What the engine needs of its surroundings. */
export interface EngineOptions {
  readonly cache: RegistryCache
  readonly registry: EngineRegistry
  readonly machineID: string
  readonly intervalMs: number
  readonly agentTTLSeconds: number
  readonly contact: Contact
  readonly metrics: Metrics
  readonly log: Logger
  /** Milliseconds that have passed since any moment; must not go back. */
  readonly now: () => number
  /** The time of day, for the metrics. */
  readonly date: () => number
  readonly signal: AbortSignal
}

const TASKS_AT_ONCE_MAX = 16
const LEASE_INTERVALS = 5
/** How long a pass waits to see its own writes, so that the next one does not decide by what was before them. */
const OWN_WRITES_MS = 2000

/** Holds the engine's lease when it can and carries out what `reconcile` decides (fleet engine/engine.go). */
export class EngineRunner {
  readonly #options: EngineOptions
  #lease: (HeldLease & { renewedAt: number }) | undefined

  constructor(options: EngineOptions) {
    this.#options = options
  }

  get isLeader(): boolean {
    return this.#lease !== undefined
  }

  get #leaseSeconds(): number {
    return Math.max(1, Math.ceil((LEASE_INTERVALS * this.#options.intervalMs) / 1000))
  }

  /** One round: version, lease, decisions. Rejects when the store does not answer. */
  async pass(): Promise<void> {
    const { cache, registry } = this.#options
    const { engineVersion } = cache.snapshot
    if (engineVersion > ENGINE_VERSION) return
    if (engineVersion < ENGINE_VERSION) await registry.raiseVersion(engineVersion)
    await this.#keepLease()
    if (this.#lease !== undefined) await this.#reconcile()
  }

  async #keepLease(): Promise<void> {
    const { registry, now, contact, log } = this.#options
    const asked = now()
    const held = this.#lease
    try {
      if (held === undefined) return await this.#takeLease()
      if (asked - held.renewedAt < this.#options.intervalMs * 0.9) return
      const renewed = await registry.renewLease(held.index, this.#leaseSeconds)
      contact.succeeded(now())
      this.#lease = renewed === undefined ? undefined : { ...renewed, renewedAt: asked }
      if (renewed === undefined) log.warn('engine: lost leadership')
    } catch (error) {
      contact.failed()
      // Until the lease has run out nobody else can have it; after that it must not be believed in.
      if (held !== undefined && now() - held.renewedAt >= this.#leaseSeconds * 1000) {
        this.#lease = undefined
        log.warn('engine: lost leadership', { error: errorText(error) })
      }
      throw error
    }
  }

  async #takeLease(): Promise<void> {
    const { cache, registry, machineID, now, date, log, metrics, signal } = this.#options
    const seen = cache.snapshot.lease
    const asked = now()
    let taken: HeldLease | undefined
    if (seen === undefined) taken = await registry.acquireLease(machineID, this.#leaseSeconds)
    else if (seen.machineID === machineID) {
      // Left by a fleetd of this machine that was killed, or taken by a request whose answer was lost.
      const current = await registry.readLease()
      if (current?.machineID === machineID) {
        taken = await registry.renewLease(current.index, this.#leaseSeconds)
      }
    } else if (seen.version < ENGINE_VERSION) {
      taken = await registry.stealLease(machineID, this.#leaseSeconds)
    }
    if (taken === undefined) return
    this.#options.contact.succeeded(now())
    this.#lease = { ...taken, renewedAt: asked }
    metrics.becameLeader(date())
    log.info('engine: became leader', { machine: machineID })
    await pause(taken.waitMs, signal)
  }

  async #reconcile(): Promise<void> {
    const { cache, contact, agentTTLSeconds, metrics, now } = this.#options
    const { snapshot } = cache
    const isGone = (id: string): boolean =>
      snapshot.hasDeparted(id) || contact.heldForMs(now()) >= agentTTLSeconds * 1000
    const tasks = reconcile(new ClusterState(snapshot.jobs(), snapshot.machines()), isGone)
    metrics.reconciled()
    if (!(await this.#areGone(tasks))) return
    const last = await this.#execute(tasks)
    if (last > 0) await cache.reach(last, OWN_WRITES_MS)
  }

  /**
   * Asks the store itself before units of a missing machine are moved: a watch that hangs unnoticed must not cost a
   * living machine its units. False: the snapshot was behind and has been read anew; the next pass decides again.
   */
  async #areGone(tasks: readonly Task[]): Promise<boolean> {
    const { cache, registry, log, signal } = this.#options
    const missing = new Set(tasks.filter(isMachineAway).map((task) => task.machine))
    if (missing.size === 0) return true
    const alive = (await registry.liveMachines()).filter((id) => missing.has(id))
    if (alive.length === 0) return true
    log.warn('engine: registry copy was out of date', { machines: alive.join(',') })
    await cache.load(signal)
    return false
  }

  /** Carries tasks out, those of one unit in order; gives the index of the last write. */
  async #execute(tasks: readonly Task[]): Promise<number> {
    const byUnit = new Map<string, Task[]>()
    for (const task of tasks) byUnit.set(task.unit, [...(byUnit.get(task.unit) ?? []), task])
    let last = 0
    await eachLimit([...byUnit.values()], TASKS_AT_ONCE_MAX, async (chain) => {
      for (const task of chain) {
        if (!this.#mayAct()) return
        last = Math.max(last, (await this.#perform(task)) ?? 0)
      }
    })
    return last
  }

  #mayAct(): boolean {
    const { now, signal } = this.#options
    if (this.#lease === undefined || signal.aborted) return false
    return now() - this.#lease.renewedAt < this.#leaseSeconds * 1000
  }

  async #perform(task: Task): Promise<number | undefined> {
    const { registry, metrics, log } = this.#options
    metrics.task(task.type)
    if (isMachineAway(task)) metrics.reconcileFailure('machine_away')
    try {
      const index =
        task.type === 'UnscheduleUnit'
          ? await registry.unschedule(task.unit, task.machine)
          : await registry.schedule(task.unit, task.machine)
      const { unit, machine, reason } = task
      log.info(`engine: ${task.type}`, { unit, machine, reason, done: index !== undefined })
      return index
    } catch (error) {
      metrics.taskFailure(task.type)
      throw error
    }
  }

  /** Gives the lease up, so that another engine takes over at once. */
  async release(): Promise<void> {
    const held = this.#lease
    this.#lease = undefined
    if (held !== undefined) await this.#options.registry.releaseLease(held.index)
  }
}

function isMachineAway(task: Task): boolean {
  return task.type === 'UnscheduleUnit' && task.reason.endsWith('went away')
}
