import { isTemplateName, parseUnitName } from '../unit-name.ts'
import type { JournalOptions, UnitManager, UnitState, UnitStatus } from '../manager.ts'
import { NOT_FOUND, UnitManagerError } from '../manager.ts'
import { parseUnit } from '../unit-file.ts'
import {
  checkUnitName,
  listUnits,
  readUnit,
  removeUnit,
  unitPath,
  writeUnit,
} from '../unit-files.ts'
import { Bus, type BusAddress } from './bus.ts'
import { journalctl, systemctlStatus } from './commands.ts'
import { DBusError } from './connection.ts'
import { isVariant, type Value } from './marshal.ts'
import type { Message } from './message.ts'
import { pathOfUnit, unitOfPath } from './unit-path.ts'

export interface SystemdManagerOptions {
  /** Where unit files are; an absolute path, made when missing. */
  readonly unitsDirectory: string
  /** The user's systemd instead of the system's. */
  readonly user?: boolean
  /** A D-Bus address. Default: the system bus (or the user's), then systemd's private socket. */
  readonly address?: string
}

/** Units of systemd, over D-Bus. Throws DISCONNECTED when systemd cannot be reached at the start; later it is tried again. */
export async function createSystemdManager(options: SystemdManagerOptions): Promise<UnitManager> {
  const manager = new SystemdManager(options)
  try {
    await manager.open()
  } catch (error) {
    await manager.close()
    throw error
  }
  return manager
}

/** Where to look for systemd, in this order. */
export function busAddresses(
  { address, user }: Pick<SystemdManagerOptions, 'address' | 'user'>,
  environment: NodeJS.ProcessEnv,
): readonly BusAddress[] {
  if (address !== undefined) return [{ address, isBus: !address.endsWith('/systemd/private') }]
  if (user !== true) {
    const system = environment['DBUS_SYSTEM_BUS_ADDRESS'] ?? 'unix:path=/run/dbus/system_bus_socket'
    return [
      { address: system, isBus: true },
      { address: 'unix:path=/run/systemd/private', isBus: false },
    ]
  }
  const runtime = environment['XDG_RUNTIME_DIR'] ?? `/run/user/${process.getuid?.() ?? 0}`
  const session = environment['DBUS_SESSION_BUS_ADDRESS'] ?? `unix:path=${runtime}/bus`
  return [
    { address: session, isBus: true },
    { address: `unix:path=${runtime}/systemd/private`, isBus: false },
  ]
}

/** Errors of systemd that have a code of their own here. */
const CODES = new Map([
  ['org.freedesktop.systemd1.NoSuchUnit', 'NO_SUCH_UNIT'],
  ['org.freedesktop.systemd1.BadUnitSetting', 'BAD_UNIT_SETTING'],
] as const)

function translated(error: unknown): unknown {
  if (!(error instanceof DBusError)) return error
  const code = [...CODES].find(([name]) => name === error.errorName)?.[1] ?? 'REFUSED'
  return new UnitManagerError(code, error.message, { cause: error })
}

function isTemplate(name: string): boolean {
  const parsed = parseUnitName(name)
  return parsed !== undefined && isTemplateName(parsed)
}

class SystemdManager implements UnitManager {
  readonly #directory: string
  readonly #scope: readonly string[]
  readonly #bus: Bus
  readonly #listeners = new Set<(name: string) => void>()
  readonly #changed = new Set<string>()

  constructor(options: SystemdManagerOptions) {
    this.#directory = options.unitsDirectory
    this.#scope = options.user === true ? ['--user'] : []
    this.#bus = new Bus({
      addresses: busAddresses(options, process.env),
      onSignal: (signal) => this.#take(signal),
      onGap: () => void this.#noteAll(),
    })
  }

  async open(): Promise<void> {
    await this.#bus.connect()
  }

  async list(): Promise<readonly string[]> {
    return listUnits(this.#directory)
  }

  async read(name: string): Promise<string | undefined> {
    return readUnit(this.#directory, name)
  }

  /** fleet 1.0 `systemd/manager.go`: link for this boot; with an [Install] section enable too, which must be possible. */
  async load(name: string, text: string): Promise<void> {
    await writeUnit(this.#directory, name, text)
    const path = unitPath(this.#directory, name)
    await this.#call('LinkUnitFiles', 'asbb', [[path], true, true])
    if (!parseUnit(text).some(({ section }) => section === 'Install')) return
    const [carriesInstallInfo] = await this.#call('EnableUnitFiles', 'asbb', [[path], true, true])
    if (carriesInstallInfo === true) return
    await this.unload(name)
    const message = `Unit ${name} has an [Install] section but no installation instructions.`
    throw new UnitManagerError('BAD_UNIT_SETTING', message)
  }

  async unload(name: string): Promise<void> {
    // Each is tried even when one before it fails: the file must not stay because of a link.
    const results = await Promise.allSettled([
      this.#call('DisableUnitFiles', 'asb', [[name], true]).catch(ignoreNoSuchUnit),
      isTemplate(name)
        ? undefined
        : this.#call('ResetFailedUnit', 's', [name]).catch(ignoreNoSuchUnit),
    ])
    await removeUnit(this.#directory, name)
    for (const result of results) if (result.status === 'rejected') throw result.reason
  }

  async reload(): Promise<void> {
    await this.#call('Reload')
  }

  async start(name: string): Promise<void> {
    await this.#call('StartUnit', 'ss', [name, 'replace'])
  }

  /** Nothing runs under the name of a template: there is nothing to stop. */
  async stop(name: string): Promise<void> {
    if (isTemplate(name)) return
    await this.#call('StopUnit', 'ss', [name, 'replace'])
  }

  async states(names: readonly string[]): Promise<ReadonlyMap<string, UnitState>> {
    // systemd refuses a whole list for one name without an instance.
    const instances = names.filter((name) => !isTemplate(name))
    const found = instances.length === 0 ? new Map() : await this.#listByNames(instances)
    return new Map(names.map((name) => [name, found.get(name) ?? NOT_FOUND]))
  }

  onChange(listener: (name: string) => void): () => void {
    this.#listeners.add(listener)
    return () => void this.#listeners.delete(listener)
  }

  async status(name: string): Promise<UnitStatus> {
    checkUnitName(name)
    return systemctlStatus(name, this.#scope)
  }

  async *journal(name: string, options: JournalOptions): AsyncIterable<string> {
    checkUnitName(name)
    yield* journalctl(name, options, this.#scope)
  }

  async close(): Promise<void> {
    this.#bus.close()
  }

  async #call(
    member: string,
    signature?: string,
    body?: readonly Value[],
  ): Promise<readonly Value[]> {
    try {
      return await this.#bus.manager(member, signature, body)
    } catch (error) {
      throw translated(error)
    }
  }

  async #listByNames(names: readonly string[]): Promise<ReadonlyMap<string, UnitState>> {
    try {
      const [units] = await this.#bus.manager('ListUnitsByNames', 'as', [names])
      return statesIn(units, names)
    } catch (error) {
      const isOld =
        error instanceof DBusError && error.errorName === 'org.freedesktop.DBus.Error.UnknownMethod'
      if (!isOld) throw translated(error)
    }
    // systemd before 230.
    const [units] = await this.#call('ListUnits')
    const found = new Map(statesIn(units, []))
    for (const name of names.filter((each) => !found.has(each))) {
      found.set(name, stateFromProperties(await this.#bus.properties(pathOfUnit(name), UNIT)))
    }
    return found
  }

  // Changes

  #take(signal: Message): void {
    const name = changedUnit(signal)
    if (name !== undefined) this.#note(name)
  }

  /** Tells listeners once per turn of the event loop, however many signals a unit sent in it. */
  #note(name: string): void {
    if (this.#changed.size === 0) setImmediate(() => this.#tell())
    this.#changed.add(name)
  }

  #tell(): void {
    const names = [...this.#changed]
    this.#changed.clear()
    for (const name of names) for (const listener of this.#listeners) listener(name)
  }

  /** Signals were missed, so each unit may have changed. */
  async #noteAll(): Promise<void> {
    // A directory that cannot be read is told to whoever asks for the units next.
    const names = await listUnits(this.#directory).catch(() => [])
    for (const name of names) this.#note(name)
  }
}

const UNIT = 'org.freedesktop.systemd1.Unit'

function ignoreNoSuchUnit(error: unknown): readonly Value[] {
  // What is to be disabled or forgotten is gone already.
  if (error instanceof UnitManagerError && error.code === 'NO_SUCH_UNIT') return []
  throw error
}

/** The unit that a signal is about. Only what names it is decoded. */
function changedUnit(signal: Message): string | undefined {
  switch (signal.member) {
    case 'PropertiesChanged':
      return unitOfPath(signal.path)
    case 'UnitNew':
    case 'UnitRemoved':
      return asString(signal.body()[0])
    case 'JobNew':
    case 'JobRemoved':
      return asString(signal.body()[2])
    default:
      return undefined
  }
}

function asString(value: Value | undefined): string | undefined {
  return typeof value === 'string' ? value : undefined
}

/** Reads `a(ssssssouso)`. systemd answers in the order of the names, with a unit's main name for an alias. */
function statesIn(units: Value | undefined, names: readonly string[]): Map<string, UnitState> {
  if (!Array.isArray(units)) return new Map()
  const isInOrder = units.length === names.length
  return new Map(
    units.flatMap((unit: Value, index): [string, UnitState][] => {
      if (!Array.isArray(unit)) return []
      const [id, , load, active, sub]: readonly Value[] = unit
      const name = isInOrder ? names[index] : asString(id)
      return name === undefined ? [] : [[name, stateOf(load, active, sub)]]
    }),
  )
}

function stateOf(load?: Value, active?: Value, sub?: Value): UnitState {
  return {
    loadState: asString(load) ?? NOT_FOUND.loadState,
    activeState: asString(active) ?? NOT_FOUND.activeState,
    subState: asString(sub) ?? NOT_FOUND.subState,
  }
}

function stateFromProperties(entries: readonly Value[]): UnitState {
  const get = (name: string): Value | undefined => {
    for (const entry of entries) {
      if (!Array.isArray(entry)) continue
      const [key, value]: readonly Value[] = entry
      if (key === name && isVariant(value)) return value.value
    }
    return undefined
  }
  return stateOf(get('LoadState'), get('ActiveState'), get('SubState'))
}
