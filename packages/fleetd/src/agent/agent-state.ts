import {
  hasMetadata,
  matchesMachineID,
  matchGlob,
  type Requirements,
} from '@flotilla/fleet-registry'

/** A unit as far as placement needs it. */
export interface PlacedUnit {
  readonly name: string
  readonly requirements: Requirements
}

/** A machine as far as placement needs it. */
export interface PlacementMachine {
  readonly id: string
  readonly metadata: ReadonlyMap<string, string>
}

/**
 * Whether a machine may run a unit. `reschedule`: it may, but one of the two has to leave because of `Replaces`.
 * The reasons are the texts that fleet logs.
 */
export type Ability =
  | { readonly action: 'schedule' }
  | { readonly action: 'unschedule' | 'reschedule'; readonly reason: string }

/** One machine and the units that are counted there (fleet agent/state.go). */
export class AgentState {
  readonly machine: PlacementMachine
  readonly #units = new Map<string, PlacedUnit>()
  /** Only these can refuse or displace a unit by their own patterns; usually there are few. */
  readonly #withPatterns = new Map<string, PlacedUnit>()

  constructor(machine: PlacementMachine) {
    this.machine = machine
  }

  /** Number of units: the measure by which machines are compared. */
  get load(): number {
    return this.#units.size
  }

  has(name: string): boolean {
    return this.#units.has(name)
  }

  /** Units by name. */
  units(): PlacedUnit[] {
    return [...this.#units.values()].toSorted(byName)
  }

  add(unit: PlacedUnit): void {
    this.#units.set(unit.name, unit)
    const { conflicts, replaces } = unit.requirements
    if (conflicts.length + replaces.length > 0) this.#withPatterns.set(unit.name, unit)
  }

  remove(name: string): void {
    this.#units.delete(name)
    this.#withPatterns.delete(name)
  }

  /** Units that the patterns of `unit`, or their own, can concern; itself left out. By name. */
  #neighbours(unit: PlacedUnit): PlacedUnit[] {
    const { conflicts, replaces } = unit.requirements
    const all = conflicts.length + replaces.length > 0 ? this.#units : this.#withPatterns
    return [...all.values()].filter((other) => other.name !== unit.name).toSorted(byName)
  }

  /** The unit named in the original's message when `unit` conflicts with one here, in either direction. */
  conflict(unit: PlacedUnit): string | undefined {
    for (const other of this.#neighbours(unit)) {
      if (matchesAny(unit.requirements.conflicts, other.name)) return other.name
      if (matchesAny(other.requirements.conflicts, unit.name)) return unit.name
    }
    return undefined
  }

  /** A unit here that `unit` replaces or that replaces it; two that replace each other are left in peace. */
  replaced(unit: PlacedUnit): string | undefined {
    return this.#neighbours(unit).find(
      (other) => hasReplacesFor(unit, other) !== hasReplacesFor(other, unit),
    )?.name
  }

  /** A unit here that has to leave because `unit` carries a `Replaces` for it. Global units cannot leave. */
  victim(unit: PlacedUnit): PlacedUnit | undefined {
    return this.#neighbours(unit).find(
      (other) =>
        !other.requirements.global && hasReplacesFor(unit, other) && !hasReplacesFor(other, unit),
    )
  }

  /** Whether a unit here would at once drive `unit` away again. */
  displaces(unit: PlacedUnit): boolean {
    return this.#neighbours(unit).some(
      (other) => hasReplacesFor(other, unit) && !hasReplacesFor(unit, other),
    )
  }

  /** The tests of fleet agent/state.go in their order: machine ID, metadata, peers, conflicts, replaces. */
  ableToRun(unit: PlacedUnit): Ability {
    const { machineID, metadata, peers } = unit.requirements
    const refuse = (reason: string): Ability => ({ action: 'unschedule', reason })
    if (machineID !== undefined && !matchesMachineID(this.machine.id, machineID)) {
      return refuse(`agent ID "${this.machine.id}" does not match required "${machineID}"`)
    }
    if (!hasMetadata(this.machine.metadata, metadata)) {
      return refuse('local Machine metadata insufficient')
    }
    const absent = peers.find((peer) => !this.has(peer))
    if (absent !== undefined) {
      return refuse(`required peer Unit(${absent}) is not scheduled locally`)
    }
    const conflict = this.conflict(unit)
    if (conflict !== undefined) {
      return refuse(`found conflict with locally-scheduled Unit([${conflict}])`)
    }
    const replaced = this.replaced(unit)
    if (replaced === undefined) return { action: 'schedule' }
    return { action: 'reschedule', reason: replaceReason(replaced) }
  }
}

/** The text in which fleet names a unit that is driven away. */
export function replaceReason(name: string): string {
  return `found replace with locally-scheduled Unit(${name})`
}

function hasReplacesFor(unit: PlacedUnit, other: PlacedUnit): boolean {
  return matchesAny(unit.requirements.replaces, other.name)
}

function matchesAny(patterns: readonly string[], name: string): boolean {
  return patterns.some((pattern) => matchGlob(pattern, name))
}

function byName(a: PlacedUnit, b: PlacedUnit): number {
  return a.name < b.name ? -1 : 1
}
