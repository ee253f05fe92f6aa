import { attemptsOf, awaitStates, setStates } from '../change.ts'
import type { Command } from '../context.ts'
import { createUnits } from '../create.ts'
import { Waiter } from '../wait.ts'

/** `start UNIT...`: has units scheduled and started, and waits until systemd calls them active. */
export const start: Command = async (context, flags, args) => {
  if (args.length === 0) {
    context.tell('No units given')
    return 0
  }
  const created = await createUnits(context, args, {
    isReplacing: flags.isOn('replace'),
    replaceable: ['inactive', 'loaded', 'launched'],
    tellsFormerMachine: true,
  })
  if (!created) return 1
  const change = { verb: 'start', participle: 'starting', state: 'launched' } as const
  const changed = await setStates(context, args, change)
  if (changed === undefined) return 1
  if (!(await awaitStates(context, changed, change, flags))) return 1
  const names = changed.filter((unit) => !unit.isGlobal).map((unit) => unit.name)
  if (attemptsOf(flags) === undefined) {
    // The original says it once more in place of the wait that is left out.
    for (const name of names) context.print(`Triggered unit ${name} start`)
    return 0
  }
  const error = await new Waiter(context, await context.client()).allActive(names)
  if (error === undefined) return 0
  context.tell(`Error waiting for systemd unit states, err: ${error}`)
  return 1
}
