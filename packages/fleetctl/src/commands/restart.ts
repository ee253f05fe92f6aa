import { mangleUnitName } from '@flotilla/fleet-registry'
import { attemptsOf, awaitStates } from '../change.ts'
import type { Client, Unit } from '../client/types.ts'
import { errorText, type Command, type Context, type Flags } from '../context.ts'
import { createUnits } from '../create.ts'
import { Waiter } from '../wait.ts'

/** `restart UNIT...`: stops units and starts them again, each where it is. */
export const restart: Command = async (context, flags, args) => {
  if (args.length === 0) {
    context.tell('No units given')
    return 0
  }
  const created = await createUnits(context, args, {
    isReplacing: false,
    replaceable: [],
    tellsFormerMachine: false,
  })
  if (!created) return 1
  const client = await context.client()
  try {
    for (const name of args.map(mangleUnitName)) {
      const unit = await client.unit(name)
      if (unit !== undefined && !(await restartUnit(context, client, unit, flags))) return 1
    }
    return 0
  } catch (error) {
    context.tell(`Error restarting units: ${errorText(error)}`)
    return 1
  }
}

async function restartUnit(
  context: Context,
  client: Client,
  unit: Unit,
  flags: Flags,
): Promise<boolean> {
  const { name } = unit
  if (unit.isGlobal ? unit.desiredState === 'inactive' : unit.currentState === 'inactive') {
    context.tell(`Unable to restart unit ${name} in state inactive`)
    return true
  }
  const waiter = new Waiter(context, client)
  const attempts = attemptsOf(flags)
  await client.setTargetState(name, 'loaded')
  await waiter.untilStopped(unit)
  await client.setTargetState(name, 'launched')
  const change = { verb: 'restart', state: 'launched' } as const
  if (!(await awaitStates(context, [unit], change, flags))) return false
  if (attempts !== undefined && !unit.isGlobal) {
    const error = await waiter.allActive([name])
    if (error !== undefined) {
      context.tell(`Error waiting for systemd unit states, err: ${error}`)
      return false
    }
    // The original waits for the start twice and says so both times.
    await waiter.all([name], 'launched', attempts)
  }
  context.log('INFO', `Unit(${name}) was restarted.`)
  return true
}
