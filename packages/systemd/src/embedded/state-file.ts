import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { MachineState } from '../service/machine-state.ts'
import type { StoredTable } from './process-table.ts'

/** What a unit's manager leaves for its successor. */
export interface StoredUnit {
  readonly version: 1
  /** Processes do not outlive the kernel: a state of another boot is void. */
  readonly bootID: string
  readonly state: MachineState
  readonly table: StoredTable
}

const SUFFIX = '.json'

/** Replaces the record of a unit. Not synced: it need not survive the machine. */
export function writeState(directory: string, name: string, unit: StoredUnit): void {
  mkdirSync(directory, { recursive: true })
  const path = join(directory, `${name}${SUFFIX}`)
  writeFileSync(`${path}.tmp`, JSON.stringify(unit), { mode: 0o600 })
  renameSync(`${path}.tmp`, path)
}

export function removeState(directory: string, name: string): void {
  rmSync(join(directory, `${name}${SUFFIX}`), { force: true })
}

/** All records of this boot, by unit name. One that cannot be read is left out: its processes cannot be named. */
export function readStates(directory: string, bootID: string): ReadonlyMap<string, StoredUnit> {
  mkdirSync(directory, { recursive: true })
  const units = new Map<string, StoredUnit>()
  for (const file of readdirSync(directory)) {
    if (!file.endsWith(SUFFIX)) continue
    const unit = parse(readFileSync(join(directory, file), 'utf8'))
    if (unit?.bootID === bootID) units.set(file.slice(0, -SUFFIX.length), unit)
  }
  return units
}

function parse(text: string): StoredUnit | undefined {
  try {
    // Written by this package only, whole or not at all, so the version vouches for the rest.
    const value: StoredUnit | null = JSON.parse(text)
    return value?.version === 1 ? value : undefined
  } catch {
    return undefined
  }
}
