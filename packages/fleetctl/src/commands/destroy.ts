import { findUnits } from '../change.ts'
import { ClientError } from '../client/types.ts'
import { errorText, type Command } from '../context.ts'

/** `destroy UNIT...`: removes units from the cluster; the machines stop and unload them at once. */
export const destroy: Command = async (context, _flags, args) => {
  const found = await findUnits(context, args)
  if ('exitCode' in found) return found.exitCode
  const client = await context.client()
  let exitCode = 0
  for (const { name } of found.units) {
    try {
      await client.destroyUnit(name)
    } catch (error) {
      // Somebody else was faster.
      if (error instanceof ClientError && error.status === 404) continue
      context.tell(`Error destroying units: ${errorText(error)}`)
      exitCode = 1
      continue
    }
    context.print(`Destroyed ${name}`)
  }
  return exitCode
}
