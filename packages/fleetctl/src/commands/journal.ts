import { mangleUnitName } from '@flotilla/fleet-registry'
import { askMachine } from '../ask.ts'
import { errorText, type Command } from '../context.ts'

/** `journal UNIT`: what `journalctl` has of the unit on its machine. */
export const journal: Command = async (context, flags, args) => {
  const [argument] = args
  if (argument === undefined || args.length > 1) {
    context.tell('One unit file must be provided.')
    return 1
  }
  const name = mangleUnitName(argument)
  const client = await context.client()
  try {
    const unit = await client.unit(name)
    if (unit === undefined) {
      context.tell(`Unit ${name} does not exist.`)
      return 1
    }
    if (unit.isGlobal) {
      context.tell(`Unable to retrieve journal of global unit ${name}.`)
      return 1
    }
    if (unit.currentState === 'inactive') {
      context.tell(`Unit ${name} does not appear to be running.`)
      return 1
    }
    const [lines, output] = [flags.text('lines'), flags.text('output')]
    const isFollowing = flags.isOn('follow')
    const command = ['journalctl', '--unit', name, '--no-pager', '-n', lines, '--output', output]
    return await askMachine(context, unit, {
      kind: 'journal',
      local: [...(flags.isOn('sudo') ? ['sudo'] : []), ...command, ...(isFollowing ? ['-f'] : [])],
      query: { lines, output, follow: String(isFollowing) },
    })
  } catch (error) {
    context.tell(`Error retrieving Unit ${name}: ${errorText(error)}`)
    return 1
  }
}
