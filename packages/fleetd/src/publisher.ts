import type { Logger } from '@flotilla/daemon'
import {
  encodeUnitState,
  type AgentRegistry,
  type Change,
  type Snapshot,
  type UnitState,
} from '@flotilla/fleet-registry'
import { errorText, pause } from './loop.ts'

/** What the publisher needs of its surroundings. */
export interface PublisherOptions {
  readonly registry: AgentRegistry
  readonly machineID: string
  readonly ttlSeconds: number
  readonly log: Logger
  /** What is known of the registry: a heartbeat must not bring a destroyed unit back, nor stand in the way of another's. */
  readonly snapshot: Pick<Snapshot, 'job' | 'heartbeat'>
}

interface Publication {
  state: UnitState | undefined
  isLaunched: boolean
  /** What the store holds as far as is known; `undefined` members were never written or are in doubt. */
  written: { state: UnitState | undefined; isLaunched: boolean | undefined }
  isRefreshDue: boolean
  worker: Promise<void> | undefined
}

const RETRY_MS_MAX = 5000

/**
 * Keeps what this machine says about its units in the store: states and heartbeats. One worker per unit at a time
 * brings the store to the newest wish, so an older state can never overtake a newer one.
 */
export class Publisher {
  readonly #options: PublisherOptions
  readonly #units = new Map<string, Publication>()
  #signal: AbortSignal = new AbortController().signal

  constructor(options: PublisherOptions) {
    this.#options = options
  }

  /** Lets published keys live on until the signal aborts, which also ends retries. */
  async run(signal: AbortSignal): Promise<void> {
    this.#signal = signal
    const { ttlSeconds } = this.#options
    // fleet agent/unit_state.go: 4/5 of the TTL, half of it when it is 10 s or less.
    const everyMs = ttlSeconds * 1000 * (ttlSeconds <= 10 ? 0.5 : 0.8)
    for (;;) {
      await pause(everyMs, signal)
      if (signal.aborted) return
      for (const [name, unit] of this.#units) {
        unit.isRefreshDue = true
        this.#kick(name, unit)
      }
    }
  }

  /** Publishes a unit's state; `undefined` takes it back. */
  setState(name: string, state: UnitState | undefined): void {
    const unit = this.#unit(name)
    unit.state = state
    this.#kick(name, unit)
  }

  /** Says, or no longer says, that this machine has started the unit. */
  setLaunched(name: string, isLaunched: boolean): void {
    const unit = this.#unit(name)
    unit.isLaunched = isLaunched
    this.#kick(name, unit)
  }

  /** The registry has changed: heartbeats that others removed or wrote over are written again. */
  noticed(change: Change): void {
    if (change.type !== 'job' && change.type !== 'all') return
    for (const [name, unit] of this.#units) {
      if (change.type === 'job' && change.name !== name) continue
      if (!unit.isLaunched || unit.written.isLaunched !== true || !this.#isMissing(name)) continue
      unit.written.isLaunched = undefined
      this.#kick(name, unit)
    }
  }

  /** Whether this machine is the one to say that the unit is launched. */
  #belongsHere(name: string): boolean {
    const { snapshot, machineID } = this.#options
    const job = snapshot.job(name)
    return job !== undefined && (job.requirements.global || job.target === machineID)
  }

  /** Whether it has to say so, because nobody does or another machine does. All machines of a global unit share the key. */
  #isMissing(name: string): boolean {
    const { snapshot, machineID } = this.#options
    const heartbeat = snapshot.heartbeat(name)
    if (heartbeat === machineID || !this.#belongsHere(name)) return false
    return heartbeat === '' || snapshot.job(name)?.requirements.global !== true
  }

  /** Takes everything back that was said about the unit. */
  remove(name: string): void {
    const unit = this.#unit(name)
    unit.state = undefined
    unit.isLaunched = false
    this.#kick(name, unit)
  }

  /** Writes everything anew: the keys may have expired while the store was away. */
  republish(): void {
    for (const [name, unit] of this.#units) {
      unit.written.isLaunched = unit.isLaunched ? undefined : unit.written.isLaunched
      unit.isRefreshDue = true
      this.#kick(name, unit)
    }
  }

  /** Published states by unit, for the dump. */
  states(): ReadonlyMap<string, UnitState> {
    const known = [...this.#units].flatMap(([name, { state }]): [string, UnitState][] =>
      state === undefined ? [] : [[name, state]],
    )
    return new Map(known)
  }

  /** Resolves when no write is under way. */
  async settled(): Promise<void> {
    for (;;) {
      const workers = [...this.#units.values()].flatMap((unit) => unit.worker ?? [])
      if (workers.length === 0) return
      await Promise.all(workers)
    }
  }

  #unit(name: string): Publication {
    const known = this.#units.get(name)
    if (known !== undefined) return known
    const unit: Publication = {
      state: undefined,
      isLaunched: false,
      written: { state: undefined, isLaunched: undefined },
      isRefreshDue: false,
      worker: undefined,
    }
    this.#units.set(name, unit)
    return unit
  }

  #kick(name: string, unit: Publication): void {
    unit.worker ??= this.#work(name, unit).finally(() => {
      unit.worker = undefined
      const isEmpty = unit.state === undefined && !unit.isLaunched
      if (isEmpty && this.#isCurrent(unit)) this.#units.delete(name)
      else if (!this.#isCurrent(unit) && !this.#signal.aborted) this.#kick(name, unit)
    })
  }

  #isCurrent(unit: Publication): boolean {
    const { written } = unit
    return (
      !unit.isRefreshDue &&
      written.isLaunched === unit.isLaunched &&
      textOf(written.state) === textOf(unit.state)
    )
  }

  async #work(name: string, unit: Publication): Promise<void> {
    for (let waitMs = 100; !this.#isCurrent(unit); waitMs = Math.min(waitMs * 2, RETRY_MS_MAX)) {
      try {
        await this.#converge(name, unit)
        waitMs = 50
      } catch (error) {
        this.#options.log.debug('publisher: write failed', { unit: name, error: errorText(error) })
        await pause(waitMs, this.#signal)
        if (this.#signal.aborted) return
      }
    }
  }

  async #converge(name: string, unit: Publication): Promise<void> {
    const isRefresh = unit.isRefreshDue
    unit.isRefreshDue = false
    try {
      await Promise.all([
        this.#convergeLaunched(name, unit, isRefresh),
        this.#convergeState(name, unit, isRefresh),
      ])
    } catch (error) {
      unit.isRefreshDue = isRefresh
      throw error
    }
  }

  async #convergeLaunched(name: string, unit: Publication, isRefresh: boolean): Promise<void> {
    const { registry, machineID, ttlSeconds, snapshot } = this.#options
    const wanted = unit.isLaunched
    const { written } = unit
    if (wanted === written.isLaunched && !(wanted && isRefresh)) return
    if (!wanted) {
      const isThere = written.isLaunched === true || snapshot.heartbeat(name) === machineID
      if (isThere) await registry.removeHeartbeat(name, machineID)
    } else {
      const isKept =
        written.isLaunched === true &&
        !this.#isMissing(name) &&
        (await registry.refreshHeartbeat(name, ttlSeconds))
      if (!isKept && this.#belongsHere(name)) {
        await registry.putHeartbeat(name, machineID, ttlSeconds)
      }
    }
    written.isLaunched = wanted
  }

  async #convergeState(name: string, unit: Publication, isRefresh: boolean): Promise<void> {
    const { registry, machineID, ttlSeconds } = this.#options
    const wanted = unit.state
    const { written } = unit
    const isSame = textOf(wanted) === textOf(written.state)
    if (isSame && !(wanted !== undefined && isRefresh)) return
    if (wanted === undefined) {
      if (written.state !== undefined) await registry.removeState(name, written.state)
    } else if (!isSame || !(await registry.refreshState(name, machineID, ttlSeconds))) {
      // What is written is in doubt until the answer is there.
      written.state = { ...wanted, subState: '' }
      await registry.putState(name, wanted, ttlSeconds)
    }
    written.state = wanted
  }
}

function textOf(state: UnitState | undefined): string {
  return state === undefined ? '' : encodeUnitState(state)
}
