import type { Machine, UnitState } from '../client/types.ts'
import { errorText, machineLegend, machinesByID, type Command } from '../context.ts'
import { chooseColumns, orDash, printTable, type Columns } from '../listing.ts'

/** `list-units`: systemd's state of every unit on every machine that has it. */
export const listUnits: Command = async (context, flags) => {
  const machines = new Map<string, Machine>()
  const columns = columnsOf(machines, flags.isOn('full'))
  const chosen = chooseColumns(columns, flags.text('fields'))
  if ('problem' in chosen) {
    context.tell(chosen.problem)
    return 1
  }
  const client = await context.client()
  try {
    const [items, known] = await Promise.all([client.states(), machinesByID(client)])
    for (const [id, machine] of known) machines.set(id, machine)
    printTable(context, flags, { columns, names: chosen.names, items })
    return 0
  } catch (error) {
    context.tell(`Error retrieving list of units from repository: ${errorText(error)}`)
    return 1
  }
}

const SHORT_HASH_LENGTH = 7

function columnsOf(machines: ReadonlyMap<string, Machine>, isFull: boolean): Columns<UnitState> {
  return {
    unit: ({ name }) => name,
    load: ({ load }) => orDash(load),
    active: ({ active }) => orDash(active),
    sub: ({ sub }) => orDash(sub),
    machine: ({ machineID }) =>
      machineID === '' ? '-' : machineLegend(machines, machineID, isFull),
    hash: ({ hash }) => orDash(isFull ? hash : hash.slice(0, SHORT_HASH_LENGTH)),
  }
}
