import { readFileSync } from 'node:fs'
import { readdir, rm, stat } from 'node:fs/promises'
import { arch, hostname, release, userInfo } from 'node:os'
import { join, resolve as absolutePath } from 'node:path'
import type { JournalOptions, UnitManager, UnitState, UnitStatus } from '../manager.ts'
import { NOT_FOUND, UnitManagerError } from '../manager.ts'
import { activeStateOf, isDown } from '../service/machine-state.ts'
import { parseService, type Service } from '../service/service.ts'
import type { SpecifierContext } from '../service/specifiers.ts'
import {
  checkUnitName,
  listUnits,
  readUnit,
  removeUnit,
  unitPath,
  writeUnit,
} from '../unit-files.ts'
import type { Account } from './accounts.ts'
import type { Clock } from './clock.ts'
import { systemClock } from './clock.ts'
import { followJournal } from './journal-follow.ts'
import { journalFormatter } from './journal-format.ts'
import { Journals } from './journals.ts'
import { lockDirectory } from './lock.ts'
import { commandLine } from './processes.ts'
import { Runner, type RunnerContext } from './runner.ts'
import { readStates, type StoredUnit } from './state-file.ts'
import { renderStatus, renderUnknown } from './status.ts'

export interface EmbeddedManagerOptions {
  /** Where unit files are; made when missing. Used as it is by one manager only. */
  readonly unitsDirectory: string
  /** Where journals, records of running units and their pipes are kept. One manager at a time. */
  readonly stateDirectory: string
  /** What %m stands for. */
  readonly machineID: string
  /** What %H and the journal lines show; default: the machine's. */
  readonly hostname?: string
  /** Variables that every unit gets, below its own Environment=. */
  readonly environment?: Readonly<Record<string, string>>
  /** close() stops all units and leaves no process behind. Default false: they run on and the next manager adopts them. */
  readonly killOnClose?: boolean
  /** How long close() waits for units to stop by themselves before it kills them. Default 10 s. */
  readonly closeTimeoutMs?: number
  /** Size at which a unit's journal file is turned over; one older file is kept. Default 1 MiB. */
  readonly journalBytesMax?: number
  /** The clock of units' timers, for tests. */
  readonly clock?: Clock
}

/** Journals of units that are gone are kept this long. */
const ORPHAN_JOURNAL_MS = 24 * 60 * 60 * 1000
const STATUS_LINES = 10
/** A file name has at most 255 bytes, and the longest one that is made of a unit's ends in `.json.tmp`. */
const NAME_BYTES_MAX = 246
const GONE_POLL_MS = 20
const GONE_WAIT_MS = 5000

/**
 * A unit manager of its own for places without systemd: laptops, containers, tests. It runs simple, exec, idle and
 * oneshot services with systemd's semantics and words. Needs Linux (/proc) and `mkfifo`. Units that a manager left
 * running, because it was closed or killed, are adopted.
 */
export async function createEmbeddedManager(options: EmbeddedManagerOptions): Promise<UnitManager> {
  if (process.platform !== 'linux') {
    throw new UnitManagerError('UNSUPPORTED_HOST', 'The embedded unit manager needs Linux.')
  }
  // Units run in another directory, and %t and its like must be absolute there.
  const unitsDirectory = absolutePath(options.unitsDirectory)
  const stateDirectory = absolutePath(options.stateDirectory)
  const absolute = { ...options, unitsDirectory, stateDirectory }
  const manager = new EmbeddedManager(absolute, lockDirectory(stateDirectory))
  try {
    await manager.open()
  } catch (error) {
    await manager.close()
    throw error
  }
  return manager
}

class EmbeddedManager implements UnitManager {
  readonly #options: EmbeddedManagerOptions
  readonly #unlock: () => void
  readonly #clock: Clock
  readonly #runners = new Map<string, Runner>()
  /** Units whose file was removed while they were going down. */
  readonly #leaving = new Set<string>()
  readonly #listeners = new Set<(name: string) => void>()
  readonly #changed = new Set<string>()
  /** Units that are being forgotten. Who wants one of them again, and close(), waits until it is done. */
  readonly #drops = new Map<string, Promise<void>>()
  readonly #journals: Journals
  readonly #specifiers: SpecifierContext
  readonly #context: RunnerContext
  #isClosed = false

  constructor(options: EmbeddedManagerOptions, unlock: () => void) {
    this.#options = options
    this.#unlock = unlock
    const journalBytesMax = options.journalBytesMax ?? 1024 * 1024
    this.#journals = new Journals(join(options.stateDirectory, 'journal'), journalBytesMax)
    this.#clock = options.clock ?? systemClock
    const bootID = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8')
      .trim()
      .replaceAll('-', '')
    const account = ownAccount()
    this.#specifiers = specifierContext(options, bootID, account)
    this.#context = {
      clock: this.#clock,
      account,
      environment: new Map(Object.entries(options.environment ?? {})),
      bootID,
      statesDirectory: join(options.stateDirectory, 'units'),
      outputDirectory: join(options.stateDirectory, 'output'),
      onChange: (name) => this.#note(name),
    }
  }

  /** Reads the units and takes over what an earlier manager left running. */
  async open(): Promise<void> {
    const { unitsDirectory } = this.#options
    const stored = readStates(this.#context.statesDirectory, this.#context.bootID)
    const names = await listUnits(unitsDirectory)
    for (const name of names.filter((unit) => unit.endsWith('.service'))) {
      await this.#adopt(name, await this.#parse(name), stored.get(name))
    }
    for (const [name, unit] of stored) {
      if (this.#runners.has(name)) continue
      // Its file is gone: the manager died between stopping the unit and forgetting it.
      const runner = this.#makeRunner(parseService(name, '', this.#specifiers), unit)
      await killAndWait(runner)
      await runner.forget()
      this.#journals.release(name)
    }
    await this.#dropOldJournals()
  }

  async list(): Promise<readonly string[]> {
    return listUnits(this.#options.unitsDirectory)
  }

  async read(name: string): Promise<string | undefined> {
    return readUnit(this.#options.unitsDirectory, name)
  }

  async load(name: string, text: string): Promise<void> {
    this.#checkOpen()
    if (!name.endsWith('.service')) {
      const type = name.slice(name.lastIndexOf('.') + 1)
      throw new UnitManagerError(
        'UNSUPPORTED_UNIT',
        `Unit ${name} has type ${type}: the embedded unit manager runs services only.`,
      )
    }
    if (name.length > NAME_BYTES_MAX) {
      const message = `Unit name of ${name.length} bytes is too long for the embedded unit manager.`
      throw new UnitManagerError('INVALID_NAME', message)
    }
    await writeUnit(this.#options.unitsDirectory, name, text)
    // Its predecessor's pipes have the same names.
    await this.#drops.get(name)
    this.#leaving.delete(name)
    const runner = this.#runners.get(name)
    if (runner === undefined) {
      await this.#adopt(name, parseService(name, text, this.#specifiers), undefined)
    } else if (isDown(runner.state.sub)) this.#configure(runner, text)
    this.#note(name)
  }

  async unload(name: string): Promise<void> {
    this.#checkOpen()
    await removeUnit(this.#options.unitsDirectory, name)
    const runner = this.#runners.get(name)
    if (runner !== undefined) {
      this.#leaving.add(name)
      runner.request('reset-failed')
    }
    await this.#drops.get(name)
  }

  async reload(): Promise<void> {
    this.#checkOpen()
    for (const [name, runner] of this.#runners) {
      const text = await readUnit(this.#options.unitsDirectory, name)
      if (text !== undefined) this.#configure(runner, text)
    }
  }

  async start(name: string): Promise<void> {
    const runner = await this.#require(name)
    const { problem } = runner.service
    if (problem !== undefined) {
      const general = `Unit ${name} has a bad unit file setting.`
      const message = problem === general ? general : `${general} ${problem}`
      throw new UnitManagerError('BAD_UNIT_SETTING', message)
    }
    await runner.prepare()
    // Meanwhile the manager may have been closed, or the unit been unloaded.
    if (this.#isClosed || this.#runners.get(name) !== runner) return this.start(name)
    runner.request('start')
  }

  async stop(name: string): Promise<void> {
    const runner = await this.#require(name)
    runner.request('stop')
  }

  async states(names: readonly string[]): Promise<ReadonlyMap<string, UnitState>> {
    return new Map(names.map((name) => [name, this.#stateOf(name)]))
  }

  onChange(listener: (name: string) => void): () => void {
    this.#listeners.add(listener)
    return () => void this.#listeners.delete(listener)
  }

  async status(name: string): Promise<UnitStatus> {
    const runner = this.#runners.get(name)
    if (runner === undefined) return renderUnknown(name)
    const format = journalFormatter('short', this.#journalContext(name))
    return renderStatus({
      service: runner.service,
      state: runner.state,
      unitPath: unitPath(this.#options.unitsDirectory, name),
      nowMs: this.#clock.now(),
      processes: runner.table.members().map((info) => ({ ...info, argv: commandLine(info) })),
      lines: runner.journal.tail(STATUS_LINES).map(format),
    })
  }

  async *journal(name: string, options: JournalOptions): AsyncIterable<string> {
    checkUnitName(name)
    const format = journalFormatter(options.output, this.#journalContext(name))
    let isEmpty = true
    try {
      for await (const entry of followJournal(this.#journals.use(name), options)) {
        isEmpty = false
        yield* format(entry).split('\n')
      }
    } finally {
      this.#journals.release(name)
    }
    if (isEmpty && !options.follow) yield '-- No entries --'
  }

  async close(): Promise<void> {
    if (this.#isClosed) return
    this.#isClosed = true
    if (this.#options.killOnClose === true) await this.#stopAll()
    for (const runner of this.#runners.values()) runner.close()
    this.#journals.close()
    await Promise.all(this.#drops.values())
    this.#unlock()
  }

  // Units

  #checkOpen(): void {
    if (this.#isClosed) throw new UnitManagerError('CLOSED', 'The unit manager is closed.')
  }

  async #require(name: string): Promise<Runner> {
    this.#checkOpen()
    const runner = this.#runners.get(name)
    if (runner === undefined) throw new UnitManagerError('NO_SUCH_UNIT', `Unit ${name} not found.`)
    return runner
  }

  async #parse(name: string): Promise<Service> {
    const text = (await readUnit(this.#options.unitsDirectory, name)) ?? ''
    return parseService(name, text, this.#specifiers)
  }

  #configure(runner: Runner, text: string): void {
    const service = parseService(runner.service.name, text, this.#specifiers)
    runner.configure(service)
    for (const remark of service.remarks) runner.log(4, remark)
  }

  #makeRunner(service: Service, stored: StoredUnit | undefined): Runner {
    return new Runner(service, this.#journals.use(service.name), this.#context, stored)
  }

  async #adopt(name: string, service: Service, stored: StoredUnit | undefined): Promise<void> {
    const isStarting = stored !== undefined && wasStarting(stored)
    // An activation that was cut short is begun anew, from nothing.
    const state = isStarting
      ? { ...stored.state, sub: 'dead' as const, job: undefined }
      : stored?.state
    const runner = this.#makeRunner(service, stored && state && { ...stored, state })
    this.#runners.set(name, runner)
    for (const remark of service.remarks) runner.log(4, remark)
    if (stored === undefined) return
    await runner.prepare()
    if (isStarting) {
      await killAndWait(runner)
      runner.request('start')
    } else runner.resume()
  }

  #stateOf(name: string): UnitState {
    const runner = this.#runners.get(name)
    if (runner === undefined) return NOT_FOUND
    const { sub } = runner.state
    const loaded = runner.service.problem === undefined ? 'loaded' : 'bad-setting'
    return {
      loadState: this.#leaving.has(name) ? NOT_FOUND.loadState : loaded,
      activeState: activeStateOf(sub),
      subState: sub,
    }
  }

  #journalContext(unit: string): Parameters<typeof journalFormatter>[1] {
    const { hostname: host, machineID } = this.#specifiers
    return { unit, hostname: host.replace(/\..*/, ''), machineID, bootID: this.#context.bootID }
  }

  /** Tells listeners once per turn of the event loop, however often a unit changed in it. */
  #note(name: string): void {
    const runner = this.#runners.get(name)
    if (this.#leaving.has(name) && runner !== undefined && isDown(runner.state.sub)) {
      this.#runners.delete(name)
      this.#leaving.delete(name)
      this.#journals.release(name)
      const drop = runner.forget().finally(() => this.#drops.delete(name))
      this.#drops.set(name, drop)
    }
    if (this.#changed.size === 0) setImmediate(() => this.#tell())
    this.#changed.add(name)
  }

  #tell(): void {
    const names = [...this.#changed]
    this.#changed.clear()
    for (const name of names) for (const listener of this.#listeners) listener(name)
  }

  async #stopAll(): Promise<void> {
    const runners = [...this.#runners.values()]
    for (const runner of runners) runner.request('stop')
    let timer: NodeJS.Timeout | undefined
    const timeout = new Promise((resolve) => {
      timer = setTimeout(resolve, this.#options.closeTimeoutMs ?? 10_000)
    })
    await Promise.race([Promise.all(runners.map((runner) => runner.whenDown())), timeout])
    clearTimeout(timer)
    for (const runner of runners) await killAndWait(runner)
  }

  async #dropOldJournals(): Promise<void> {
    const directory = join(this.#options.stateDirectory, 'journal')
    for (const file of await readdir(directory).catch(() => [])) {
      if (this.#runners.has(file.replace(/\.log(\.1)?$/, ''))) continue
      const { mtimeMs } = await stat(join(directory, file))
      if (Date.now() - mtimeMs > ORPHAN_JOURNAL_MS) await rm(join(directory, file), { force: true })
    }
  }
}

/** True when a start was under way, so that nobody knows which of its commands have run. */
function wasStarting({ state }: StoredUnit): boolean {
  const isActivating = activeStateOf(state.sub) === 'activating' && state.sub !== 'auto-restart'
  return isActivating || (isDown(state.sub) && state.job?.type === 'start')
}

/** Kills what is left of a unit and waits until the kernel has buried it. */
async function killAndWait(runner: Runner): Promise<void> {
  for (let waited = 0; waited < GONE_WAIT_MS; waited += GONE_POLL_MS) {
    if (runner.table.members().length === 0) return
    runner.killAll()
    await new Promise((resolve) => setTimeout(resolve, GONE_POLL_MS))
  }
}

function ownAccount(): Account {
  const { uid, gid, username, homedir, shell } = userInfo()
  return { uid, gid, name: username, home: homedir, shell: shell ?? '/bin/sh' }
}

const ARCHITECTURES: Readonly<Record<string, string>> = { x64: 'x86-64', ia32: 'x86' }

function specifierContext(
  options: EmbeddedManagerOptions,
  bootID: string,
  account: Account,
): SpecifierContext {
  const directory = (name: string): string => join(options.stateDirectory, name)
  return {
    machineID: options.machineID,
    bootID,
    hostname: options.hostname ?? hostname(),
    kernelRelease: release(),
    architecture: ARCHITECTURES[arch()] ?? arch(),
    user: account,
    unitsDirectory: options.unitsDirectory,
    directories: {
      runtime: directory('run'),
      state: directory('lib'),
      cache: directory('cache'),
      logs: directory('log'),
      config: directory('etc'),
    },
  }
}
