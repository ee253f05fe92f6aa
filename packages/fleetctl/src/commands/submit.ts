import type { Command } from '../context.ts'
import { createUnits } from '../create.ts'

/** `submit UNIT...`: stores units without scheduling them. */
export const submit: Command = async (context, flags, args) => {
  if (args.length === 0) {
    context.tell('No units given')
    return 0
  }
  const created = await createUnits(context, args, {
    isReplacing: flags.isOn('replace'),
    replaceable: ['inactive'],
    tellsFormerMachine: false,
  })
  return created ? 0 : 1
}
