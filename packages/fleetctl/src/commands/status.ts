import { mangleUnitName } from '@flotilla/fleet-registry'
import { askMachine } from '../ask.ts'
import { errorText, type Command } from '../context.ts'

/** `status UNIT...`: what `systemctl status -l` says about each unit on its machine. */
export const status: Command = async (context, _flags, args) => {
  let exitCode = 0
  for (const [at, name] of args.map(mangleUnitName).entries()) {
    if (at > 0) context.print('')
    const client = await context.client()
    try {
      const unit = await client.unit(name)
      if (unit === undefined) {
        context.tell(`Unit ${name} does not exist.`)
        return 1
      }
      if (!unit.isGlobal && unit.currentState === 'inactive') {
        context.tell(`Unit ${name} does not appear to be loaded.`)
        return 1
      }
      exitCode = await askMachine(context, unit, {
        kind: 'status',
        local: ['systemctl', 'status', '-l', name],
        query: {},
      })
    } catch (error) {
      context.tell(`Error retrieving Unit ${name}: ${errorText(error)}`)
      return 1
    }
    if (exitCode !== 0) return exitCode
  }
  return exitCode
}
