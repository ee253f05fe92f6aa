import { findUnits } from '../change.ts'
import { ClientError } from '../client/types.ts'
import { errorText, type Command } from '../context.ts'
import { outcomes } from '../parallel.ts'

/** `destroy UNIT...`: removes units from the cluster; the machines stop and unload them at once. */
export const destroy: Command = async (context, _flags, args) => {
  const found = await findUnits(context, args)
  if ('exitCode' in found) return found.exitCode
  const client = await context.client()
  const { units } = found
  const all = await outcomes(units, async ({ name }) => await client.destroyUnit(name))
  let exitCode = 0
  for (const [at, outcome] of all.entries()) {
    if ('value' in outcome) context.print(`Destroyed ${units[at]?.name ?? ''}`)
    else if (!isGone(outcome.error)) {
      context.tell(`Error destroying units: ${errorText(outcome.error)}`)
      exitCode = 1
    }
  }
  return exitCode
}

/** Somebody else was faster. */
function isGone(error: unknown): boolean {
  return error instanceof ClientError && error.status === 404
}
