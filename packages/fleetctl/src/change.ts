import { mangleUnitName, type JobState } from '@flotilla/fleet-registry'
import type { Unit } from './client/types.ts'
import { errorText, type Context, type Flags } from './context.ts'
import { outcomes, untilFailure } from './parallel.ts'
import { Waiter } from './wait.ts'

/** A change of units' states that a command asks for. */
export interface Change {
  /** The word in the messages: load, start, stop, unload. */
  readonly verb: string
  readonly state: JobState
}

/** Rounds to wait from `--block-attempts`; 0 is for ever, `undefined` (`--no-block`) not at all. */
export function attemptsOf(flags: Flags): number | undefined {
  if (flags.isOn('no-block')) return undefined
  const attempts = Number(flags.text('block-attempts'))
  return attempts > 0 ? attempts : 0
}

/**
 * Step two of load and start: sets the wanted state of units that have another one. Gives the units that were changed,
 * or undefined when it could not be done; the reason is told.
 */
export async function setStates(
  context: Context,
  args: readonly string[],
  change: Change & { readonly participle: string },
): Promise<Unit[] | undefined> {
  const client = await context.client()
  const all = await outcomes([...new Set(args.map(mangleUnitName))], async (name) => {
    const unit = await client.unit(name)
    if (unit === undefined || unit.desiredState === change.state) return undefined
    await client.setTargetState(name, change.state)
    return unit
  })
  const { values, failure } = untilFailure(all)
  if (failure === undefined) return values.filter((unit) => unit !== undefined)
  context.tell(`Error ${change.participle} units: ${errorText(failure.error)}`)
  return undefined
}

/** Sets the wanted state of units, whatever they have. False when it could not be done; the reason is told. */
export async function putStates(
  context: Context,
  units: readonly Unit[],
  change: { readonly state: JobState; readonly participle: string },
): Promise<boolean> {
  const client = await context.client()
  const all = await outcomes(units, async ({ name }) => {
    await client.setTargetState(name, change.state)
  })
  const { failure } = untilFailure(all)
  if (failure === undefined) return true
  context.tell(`Error ${change.participle} units: ${errorText(failure.error)}`)
  return false
}

/** Tells about global units and waits for the others. False when one did not arrive in time; that is told. */
export async function awaitStates(
  context: Context,
  units: readonly Unit[],
  change: Change,
  flags: Flags,
): Promise<boolean> {
  for (const { name } of units.filter((unit) => unit.isGlobal)) {
    context.print(`Triggered global unit ${name} ${change.verb}`)
  }
  const names = units.filter((unit) => !unit.isGlobal).map((unit) => unit.name)
  const attempts = attemptsOf(flags)
  if (attempts === undefined) {
    for (const name of names) context.print(`Triggered unit ${name} ${change.verb}`)
    return true
  }
  const waiter = new Waiter(context, await context.client())
  const error = await waiter.all(names, change.state, attempts)
  if (error !== undefined) {
    context.tell(`Error waiting for unit states, exit status: ${error}`)
    return false
  }
  return true
}

/**
 * The units that the arguments name and the registry has. Undefined, with the reason told, when there is none or the
 * registry cannot be asked.
 */
export async function findUnits(
  context: Context,
  args: readonly string[],
): Promise<{ readonly units: readonly Unit[] } | { readonly exitCode: number }> {
  if (args.length === 0) {
    context.tell('No units given')
    return { exitCode: 0 }
  }
  const client = await context.client()
  const names = [...new Set(args.map(mangleUnitName))]
  const { values, failure } = untilFailure(
    await outcomes(names, async (name) => await client.unit(name)),
  )
  if (failure !== undefined) {
    const why = errorText(failure.error)
    context.tell(`Error retrieving list of units from repository: ${why}`)
    return { exitCode: 1 }
  }
  const units = values.filter((unit) => unit !== undefined)
  if (units.length > 0) return { units }
  context.tell('Units not found in registry')
  return { exitCode: 0 }
}

/** A list as Go prints it: `[a b]`. */
export function goList(names: readonly string[]): string {
  return `[${names.join(' ')}]`
}
