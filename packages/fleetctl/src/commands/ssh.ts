import { mangleUnitName } from '@flotilla/fleet-registry'
import type { Client } from '../client/types.ts'
import { errorText, type Command, type Flags } from '../context.ts'

const DOCUMENTATION =
  'https://github.com/coreos/fleet/blob/master/Documentation/using-the-client.md'

/** `ssh`: finds the machine that is meant. Opening the connection is not part of this release and fails clearly. */
export const ssh: Command = async (context, flags, args) => {
  if (flags.text('machine') !== '' && flags.text('unit') !== '') {
    context.tell('Both machine and unit flags provided, please specify only one.')
    return 1
  }
  if (args.length === 0 && flags.text('machine') === '' && flags.text('unit') === '') {
    context.tell('Unable to proceed: one machine or unit must be provided')
    return 1
  }
  try {
    const found = await findMachine(await context.client(), flags, args[0] ?? '')
    if ('problem' in found) {
      context.tell(`Unable to proceed: ${found.problem}`)
      return 1
    }
  } catch (error) {
    context.tell(`Unable to proceed: ${errorText(error)}`)
    return 1
  }
  if ((context.env['SSH_AUTH_SOCK'] ?? '') === '') {
    context.tell(
      `Failed building SSH client: SSH_AUTH_SOCK environment variable is not set. Verify ssh-agent is running. See ${DOCUMENTATION} for help.`,
    )
    return 1
  }
  context.tell('Failed building SSH client: SSH is not supported by this release.')
  return 1
}

type Found = { readonly machineID: string } | { readonly problem: string }

async function findMachine(client: Client, flags: Flags, argument: string): Promise<Found> {
  const [machine, unit] = [flags.text('machine'), flags.text('unit')]
  if (machine !== '') return await byMachine(client, machine)
  if (unit !== '') return await byUnit(client, unit)
  const [asMachine, asUnit] = await Promise.all([
    byMachine(client, argument),
    byUnit(client, argument),
  ])
  if ('machineID' in asMachine && 'machineID' in asUnit) {
    return { problem: `ambiguous argument, both machine and unit found for \`${argument}\`` }
  }
  if ('machineID' in asMachine) return asMachine
  if ('machineID' in asUnit) return asUnit
  return { problem: 'could not find matching unit or machine' }
}

async function byMachine(client: Client, prefix: string): Promise<Found> {
  const matches = (await client.machines()).filter(({ id }) => id.startsWith(prefix))
  const [match] = matches
  if (match !== undefined && matches.length === 1) return { machineID: match.id }
  return { problem: 'could not find machine' }
}

async function byUnit(client: Client, argument: string): Promise<Found> {
  const unit = await client.unit(mangleUnitName(argument))
  if (unit === undefined || unit.machineID === '') return { problem: 'could not find unit' }
  return { machineID: unit.machineID }
}
