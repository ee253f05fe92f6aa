import type { Machine } from '../client/types.ts'
import { errorText, machineLabel, type Command } from '../context.ts'
import { chooseColumns, orDash, printTable, type Columns } from '../listing.ts'

/** `list-machines`: the machines of the cluster by ID. */
export const listMachines: Command = async (context, flags) => {
  const columns = columnsOf(flags.isOn('full'))
  const chosen = chooseColumns(columns, flags.text('fields'))
  if ('problem' in chosen) {
    context.tell(chosen.problem)
    return 1
  }
  const client = await context.client()
  try {
    const items = await client.machines()
    printTable(context, flags, { columns, names: chosen.names, items })
    return 0
  } catch (error) {
    context.tell(`Error retrieving list of active machines from fleet API (${errorText(error)})`)
    context.tell('Possible issues:')
    context.tell('  etcd is unhealthy and/or lost quorum')
    context.tell('  connection cannot be established to any etcd servers')
    return 1
  }
}

function columnsOf(isFull: boolean): Columns<Machine> {
  return {
    machine: ({ id }) => machineLabel(id, isFull),
    ip: ({ ip }) => orDash(ip),
    metadata: ({ metadata }) => {
      const keys = [...metadata].toSorted(([a], [b]) => (a < b ? -1 : 1))
      return orDash(keys.map(([key, value]) => `${key}=${value}`).join(','))
    },
  }
}
