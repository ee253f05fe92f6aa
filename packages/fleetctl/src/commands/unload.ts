import { awaitStates, findUnits, goList, putStates } from '../change.ts'
import type { Unit } from '../client/types.ts'
import type { Command } from '../context.ts'

/** `unload UNIT...`: takes units off their machines; they stay in the registry. */
export const unload: Command = async (context, flags, args) => {
  const found = await findUnits(context, args)
  if ('exitCode' in found) return found.exitCode
  const unloading: Unit[] = []
  for (const unit of found.units) {
    const isInactive = unit.currentState === 'inactive' && unit.desiredState === 'inactive'
    if (!unit.isGlobal && isInactive) continue
    unloading.push(unit)
  }
  if (!(await putStates(context, unloading, { state: 'inactive', participle: 'unloading' })))
    return 1
  const names = unloading.filter((unit) => !unit.isGlobal).map((unit) => unit.name)
  const arrived = await awaitStates(
    context,
    unloading,
    { verb: 'unload', state: 'inactive' },
    flags,
  )
  if (arrived) context.tell(`Successfully unloaded units ${goList(names)}.`)
  else context.tell(`Failed to unload units ${goList(names)}. exit status: 1`)
  return arrived ? 0 : 1
}
