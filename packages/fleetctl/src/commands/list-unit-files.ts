import { unitDescription, unitFileOf } from '@flotilla/fleet-registry'
import type { Machine, Unit } from '../client/types.ts'
import { errorText, machineLegend, machinesByID, type Command } from '../context.ts'
import { chooseColumns, orDash, printTable, type Columns } from '../listing.ts'

/** `list-unit-files`: every unit of the registry with its wanted and its current state. */
export const listUnitFiles: Command = async (context, flags) => {
  const machines = new Map<string, Machine>()
  const columns = columnsOf(machines, flags.isOn('full'))
  const chosen = chooseColumns(columns, flags.text('fields'))
  if ('problem' in chosen) {
    context.tell(chosen.problem)
    return 1
  }
  if (chosen.names.includes('tmachine')) {
    context.tell('WARNING: The "tmachine" field is deprecated. Use "target" instead')
  }
  const client = await context.client()
  try {
    const [items, known] = await Promise.all([client.units(), machinesByID(client)])
    for (const [id, machine] of known) machines.set(id, machine)
    printTable(context, flags, { columns, names: chosen.names, items })
    return 0
  } catch (error) {
    context.tell(`Error retrieving list of units from repository: ${errorText(error)}`)
    return 1
  }
}

const SHORT_HASH_LENGTH = 7

function columnsOf(machines: ReadonlyMap<string, Machine>, isFull: boolean): Columns<Unit> {
  const target = (unit: Unit): string => {
    if (unit.isGlobal) return 'global'
    return unit.machineID === '' ? '-' : machineLegend(machines, unit.machineID, isFull)
  }
  return {
    unit: ({ name }) => name,
    global: ({ isGlobal }) => String(isGlobal),
    dstate: ({ desiredState }) => orDash(desiredState),
    target,
    tmachine: target,
    state: ({ isGlobal, currentState }) => (isGlobal ? '-' : orDash(currentState)),
    hash: ({ options }) => {
      const { hash } = unitFileOf(options)
      return isFull ? hash : hash.slice(0, SHORT_HASH_LENGTH)
    },
    desc: ({ options }) => orDash(unitDescription(options)),
  }
}
