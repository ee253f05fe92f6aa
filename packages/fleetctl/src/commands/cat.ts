import { mangleUnitName } from '@flotilla/fleet-registry'
import { serializeUnit } from '@flotilla/systemd'
import { errorText, type Command } from '../context.ts'

/** `cat UNIT`: the unit's text as the registry has it. */
export const cat: Command = async (context, _flags, args) => {
  const [argument] = args
  if (argument === undefined || args.length > 1) {
    context.tell('One unit file must be provided')
    return 1
  }
  const name = mangleUnitName(argument)
  const client = await context.client()
  try {
    const unit = await client.unit(name)
    if (unit === undefined) {
      context.tell(`Unit ${name} not found`)
      return 1
    }
    context.write(serializeUnit(unit.options))
    return 0
  } catch (error) {
    context.tell(`Error retrieving Unit ${name}: ${errorText(error)}`)
    return 1
  }
}
