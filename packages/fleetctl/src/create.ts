import {
  checkOptions,
  checkUnitName,
  unitFileOf,
  unknownRequirements,
  type JobState,
  type UnitFile,
} from '@flotilla/fleet-registry'
import type { Client, Unit } from './client/types.ts'
import { errorText, machineLegend, machinesIfTold, type Context } from './context.ts'
import {
  findContent,
  readLocalUnit,
  SourceError,
  unitArgument,
  type UnitArgument,
} from './unit-source.ts'
import { outcomes, untilFailure } from './parallel.ts'
import { Waiter } from './wait.ts'

/** Which command creates units: it decides what `--replace` may touch. */
export interface CreateOptions {
  readonly isReplacing: boolean
  /** The states that a unit may be wanted in to be replaced. */
  readonly replaceable: readonly JobState[]
  /** `start` tells on which machine a replaced unit was; the others do not. */
  readonly tellsFormerMachine: boolean
}

/**
 * Step one of submit, load and start: makes sure that every unit is in the registry and reads back as inactive. Units
 * before one that cannot be created are created, those after it are not. False when there is such a unit; the reason
 * is told.
 */
export async function createUnits(
  context: Context,
  args: readonly string[],
  options: CreateOptions,
): Promise<boolean> {
  const client = await context.client()
  const creator = new Creator(context, client, options)
  const looked = await outcomes(args.map(unitArgument), async (unit) => creator.look(unit))
  const { values: plans, failure } = untilFailure(looked)
  for (const plan of plans) plan.say()
  const wanted = [
    ...new Map(plans.flatMap(({ put }) => (put === undefined ? [] : [[put.name, put]]))).values(),
  ]
  const created = untilFailure(await outcomes(wanted, async (put) => creator.put(put)))
  for (const line of created.values) context.print(line)
  const problem = created.failure ?? failure
  if (problem !== undefined) context.tell(`Error creating units: ${errorText(problem.error)}`)
  return problem === undefined
}

/** What has to be done for one argument. */
interface Plan {
  /** Tells what was found. */
  readonly say: () => void
  readonly put: Put | undefined
}

/** A unit to be stored, and the one it replaces. */
interface Put {
  readonly name: string
  readonly file: UnitFile
  readonly replaced: Unit | undefined
}

const NOTHING: Plan = { say: () => undefined, put: undefined }

class Creator {
  readonly #context: Context
  readonly #client: Client
  readonly #options: CreateOptions
  readonly #waiter: Waiter

  constructor(context: Context, client: Client, options: CreateOptions) {
    this.#context = context
    this.#client = client
    this.#options = options
    this.#waiter = new Waiter(context, client)
  }

  /** Compares an argument with the registry; changes nothing. Rejects with what keeps it from being created. */
  async look(unit: UnitArgument): Promise<Plan> {
    const existing = await this.#existing(unit.name)
    if (existing === undefined) {
      return this.#store(unit.name, await findContent(this.#client, unit), undefined)
    }
    return this.#options.isReplacing
      ? await this.#replace(unit, existing)
      : await this.#compare(unit, existing)
  }

  async #existing(name: string): Promise<Unit | undefined> {
    try {
      return await this.#client.unit(name)
    } catch (error) {
      throw new SourceError(
        `error retrieving Unit(${name}) from Registry: ${errorText(error).trimEnd()}`,
      )
    }
  }

  /** Warns when the registry has something else than the local file. */
  async #compare(unit: UnitArgument, existing: Unit): Promise<Plan> {
    const { hash } = unitFileOf(existing.options)
    const warning = (kind: string, path: string): Plan => ({
      say: () =>
        this.#context.tell(
          `WARNING: Unit ${unit.name} in registry differs from ${kind} ${path}. Add --replace to override.`,
        ),
      put: undefined,
    })
    const local = await readLocalUnit(unit.path)
    if (local !== undefined) {
      return local.hash === hash ? NOTHING : warning('local unit file', unit.path)
    }
    if (unit.template === undefined) return NOTHING
    const template = await readLocalUnit(unit.template.path)
    if (template === undefined || template.hash === hash) return NOTHING
    return warning('local template unit file', unit.template.path)
  }

  async #replace(unit: UnitArgument, existing: Unit): Promise<Plan> {
    const local =
      (await readLocalUnit(unit.path)) ??
      (unit.template === undefined ? undefined : await readLocalUnit(unit.template.path))
    if (local === undefined) {
      throw new SourceError(
        `failed getting Unit(${unit.name}) from file: open ${unit.path}: no such file or directory`,
      )
    }
    if (local.hash === unitFileOf(existing.options).hash) {
      const same = `Found same Unit(${unit.name}) in Registry, nothing to do`
      return { say: () => this.#context.print(same), put: undefined }
    }
    const { desiredState } = existing
    if (this.#options.replaceable.some((state) => state === desiredState)) {
      return this.#store(unit.name, local, existing)
    }
    const refusal = `Warning: can not replace Unit(${unit.name}) in state '${desiredState}', use the appropriate command`
    return { say: () => this.#context.tell(refusal), put: undefined }
  }

  #store(name: string, file: UnitFile, replaced: Unit | undefined): Plan {
    const problem = checkUnitName(name) ?? checkOptions(file.options)
    if (problem !== undefined) throw new SourceError(problem)
    const say = (): void => {
      for (const key of unknownRequirements(file.options)) {
        const text = `unrecognized requirement in [X-Fleet] section: ${JSON.stringify(key)}`
        this.#context.log('WARN', `Unit ${name}: ${text}`)
      }
    }
    return { say, put: { name, file, replaced } }
  }

  /** Stores a unit; gives the line that says so. */
  async put({ name, file, replaced }: Put): Promise<string> {
    try {
      await this.#client.putUnit(name, file.options, 'inactive')
    } catch (error) {
      throw new SourceError(`failed creating unit ${name}: ${errorText(error)}`)
    }
    const unit = await this.#waiter.until(name, 'inactive')
    const state = unit.isGlobal ? '' : 'inactive'
    return `Unit ${name} ${state}${await this.#formerMachine(replaced)}`
  }

  async #formerMachine(replaced: Unit | undefined): Promise<string> {
    const id = replaced?.machineID ?? ''
    if (id === '' || !this.#options.tellsFormerMachine) return ''
    return ` on ${machineLegend(await machinesIfTold(this.#client), id, false)}`
  }
}
