import { awaitStates, findUnits, goList, putStates } from '../change.ts'
import type { Unit } from '../client/types.ts'
import type { Command } from '../context.ts'

/** `stop UNIT...`: stops units; they stay loaded on their machine. */
export const stop: Command = async (context, flags, args) => {
  const found = await findUnits(context, args)
  if ('exitCode' in found) return found.exitCode
  const stopping: Unit[] = []
  for (const unit of found.units) {
    if (!unit.isGlobal && unit.currentState === 'inactive') {
      context.tell(`Unable to stop unit ${unit.name} in state inactive`)
      return 1
    }
    const isStopped = unit.currentState === 'loaded' && unit.desiredState === 'loaded'
    if (isStopped) continue
    stopping.push(unit)
  }
  if (!(await putStates(context, stopping, { state: 'loaded', participle: 'stopping' }))) return 1
  const names = stopping.filter((unit) => !unit.isGlobal).map((unit) => unit.name)
  const arrived = await awaitStates(context, stopping, { verb: 'stop', state: 'loaded' }, flags)
  if (arrived) context.tell(`Successfully stopped units ${goList(names)}.`)
  else context.tell(`Failed to stop units ${goList(names)}. exit status: 1`)
  return arrived ? 0 : 1
}
