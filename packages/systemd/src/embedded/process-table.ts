import { randomBytes } from 'node:crypto'
import type { ProcessInfo } from './processes.ts'
import { findProcesses, hasSession, readProcess, ticksSinceBoot } from './processes.ts'

/** The plain form of a table, for a successor. */
export interface StoredTable {
  readonly invocationID: string
  readonly sinceTicks: number
  readonly sessions: readonly number[]
  /** Start times by pid. */
  readonly startTicks: readonly (readonly [number, number])[]
}

/** Which processes belong to a unit's present activation. */
export class ProcessTable {
  #invocationID: string
  #sinceTicks: number
  readonly #sessions: Set<number>
  readonly #startTicks: Map<number, number>

  constructor(stored?: StoredTable) {
    this.#invocationID = stored?.invocationID ?? ''
    this.#sinceTicks = stored?.sinceTicks ?? 0
    this.#sessions = new Set(stored?.sessions)
    this.#startTicks = new Map(stored?.startTicks)
  }

  get invocationID(): string {
    return this.#invocationID
  }

  /** A new activation: what the last one left running is no concern of the unit any more. */
  begin(): void {
    this.#invocationID = randomBytes(16).toString('hex')
    // A process that starts within this tick must count as younger.
    this.#sinceTicks = ticksSinceBoot() - 1
    this.#sessions.clear()
    this.#startTicks.clear()
  }

  /** A process that was started in a session of its own. */
  add(pid: number): void {
    this.#sessions.add(pid)
    const info = readProcess(pid)
    if (info !== undefined) this.#startTicks.set(pid, info.startTicks)
  }

  /** Such a process ended. Its number may be used again once nobody is left in its session. */
  ended(pid: number): void {
    this.#startTicks.delete(pid)
    if (!hasSession(pid)) this.#sessions.delete(pid)
  }

  /** True while that very process runs, not another one with its number. */
  isRunning(pid: number): boolean {
    const info = readProcess(pid)
    return info !== undefined && info.startTicks === this.#startTicks.get(pid)
  }

  /** All live processes of the activation. */
  members(): ProcessInfo[] {
    if (this.#invocationID === '') return []
    this.#forgetReused()
    return findProcesses({
      invocationID: this.#invocationID,
      sessions: this.#sessions,
      sinceTicks: this.#sinceTicks,
    })
  }

  /** Sessions whose number a process of somebody else's has by now: that session is not the unit's. */
  #forgetReused(): void {
    for (const session of this.#sessions) {
      if (readProcess(session) !== undefined && !this.isRunning(session))
        this.#sessions.delete(session)
    }
  }

  store(): StoredTable {
    return {
      invocationID: this.#invocationID,
      sinceTicks: this.#sinceTicks,
      sessions: [...this.#sessions],
      startTicks: [...this.#startTicks],
    }
  }
}
