import { items, member, textOf } from '../harness/json.ts'

const REQUEST_MS = 2000

/** Where a unit's processes are and how they do. */
export interface UnitState {
  readonly machineID: string
  readonly activeState: string
  readonly subState: string
}

/** The IDs of the machines that a fleetd knows. Rejects with its answer while that is no good one. */
export async function machinesSeenBy(endpoint: string): Promise<readonly string[]> {
  const page = await get(`${endpoint}/fleet/v1/machines`)
  return items(member(page, 'machines')).map((machine) => textOf(member(machine, 'id')))
}

/** What a fleetd knows of a unit's state, one entry per machine that has it. */
export async function unitStates(endpoint: string, unit: string): Promise<readonly UnitState[]> {
  const page = await get(`${endpoint}/fleet/v1/state?unitName=${unit}`)
  return items(member(page, 'states')).map((state) => ({
    machineID: textOf(member(state, 'machineID')),
    activeState: textOf(member(state, 'systemdActiveState')),
    subState: textOf(member(state, 'systemdSubState')),
  }))
}

async function get(address: string): Promise<unknown> {
  const response = await fetch(address, { signal: AbortSignal.timeout(REQUEST_MS) })
  if (response.ok) return response.json()
  throw new Error(`${address}: ${response.status} ${await response.text()}`)
}
