import {
  checkOptions,
  checkUnitName,
  unitFileOf,
  unknownRequirements,
  type JobState,
  type UnitFile,
} from '@flotilla/fleet-registry'
import type { Client, Unit } from './client/types.ts'
import { errorText, machineLegend, machinesByID, type Context } from './context.ts'
import {
  findContent,
  readLocalUnit,
  SourceError,
  unitArgument,
  type UnitArgument,
} from './unit-source.ts'
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
 * Step one of submit, load and start: makes sure that every unit is in the registry and reads back as inactive.
 * False when a unit could not be created; the reason is told.
 */
export async function createUnits(
  context: Context,
  args: readonly string[],
  options: CreateOptions,
): Promise<boolean> {
  const client = await context.client()
  const creator = new Creator(context, client, options)
  try {
    for (const argument of args) await creator.create(unitArgument(argument))
    return true
  } catch (error) {
    context.tell(`Error creating units: ${errorText(error)}`)
    return false
  }
}

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

  async create(unit: UnitArgument): Promise<void> {
    const existing = await this.#existing(unit.name)
    if (existing === undefined) {
      await this.#put(unit.name, await findContent(this.#client, unit), undefined)
    } else if (this.#options.isReplacing) {
      await this.#replace(unit, existing)
    } else {
      await this.#compare(unit, existing)
    }
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
  async #compare(unit: UnitArgument, existing: Unit): Promise<void> {
    const { hash } = unitFileOf(existing.options)
    const warn = (kind: string, path: string): void =>
      this.#context.tell(
        `WARNING: Unit ${unit.name} in registry differs from ${kind} ${path}. Add --replace to override.`,
      )
    const local = await readLocalUnit(unit.path)
    if (local !== undefined) {
      if (local.hash !== hash) warn('local unit file', unit.path)
      return
    }
    if (unit.template === undefined) return
    const template = await readLocalUnit(unit.template.path)
    if (template !== undefined && template.hash !== hash) {
      warn('local template unit file', unit.template.path)
    }
  }

  async #replace(unit: UnitArgument, existing: Unit): Promise<void> {
    const local =
      (await readLocalUnit(unit.path)) ??
      (unit.template === undefined ? undefined : await readLocalUnit(unit.template.path))
    if (local === undefined) {
      throw new SourceError(
        `failed getting Unit(${unit.name}) from file: open ${unit.path}: no such file or directory`,
      )
    }
    if (local.hash === unitFileOf(existing.options).hash) {
      this.#context.print(`Found same Unit(${unit.name}) in Registry, nothing to do`)
      return
    }
    const { replaceable } = this.#options
    if (!replaceable.some((state) => state === existing.desiredState)) {
      this.#context.tell(
        `Warning: can not replace Unit(${unit.name}) in state '${existing.desiredState}', use the appropriate command`,
      )
      return
    }
    await this.#put(unit.name, local, existing)
  }

  async #put(name: string, file: UnitFile, replaced: Unit | undefined): Promise<void> {
    for (const key of unknownRequirements(file.options)) {
      this.#context.log(
        'WARN',
        `Unit ${name}: unrecognized requirement in [X-Fleet] section: ${JSON.stringify(key)}`,
      )
    }
    const problem = checkUnitName(name) ?? checkOptions(file.options)
    if (problem !== undefined) throw new SourceError(problem)
    try {
      await this.#client.putUnit(name, file.options, 'inactive')
    } catch (error) {
      throw new SourceError(`failed creating unit ${name}: ${errorText(error)}`)
    }
    const unit = await this.#waiter.until(name, 'inactive')
    const state = unit.isGlobal ? '' : 'inactive'
    this.#context.print(`Unit ${name} ${state}${await this.#formerMachine(replaced)}`)
  }

  async #formerMachine(replaced: Unit | undefined): Promise<string> {
    const id = replaced?.machineID ?? ''
    if (id === '' || !this.#options.tellsFormerMachine) return ''
    return ` on ${machineLegend(await machinesByID(this.#client), id, false)}`
  }
}
