import { awaitStates, setStates } from '../change.ts'
import type { Command } from '../context.ts'
import { createUnits } from '../create.ts'

/** `load UNIT...`: has units scheduled and loaded on a machine; one that is launched is stopped by it. */
export const load: Command = async (context, flags, args) => {
  if (args.length === 0) {
    context.tell('No units given')
    return 0
  }
  const created = await createUnits(context, args, {
    isReplacing: flags.isOn('replace'),
    replaceable: ['inactive', 'loaded'],
    tellsFormerMachine: false,
  })
  if (!created) return 1
  const change = { verb: 'load', participle: 'loading', state: 'loaded' } as const
  const changed = await setStates(context, args, change)
  if (changed === undefined) return 1
  return (await awaitStates(context, changed, change, flags)) ? 0 : 1
}
