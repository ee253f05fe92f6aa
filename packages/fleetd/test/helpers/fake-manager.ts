import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import {
  NOT_FOUND,
  parseUnit,
  UnitManagerError,
  type JournalOptions,
  type UnitManager,
  type UnitState,
} from '@flotilla/systemd'

/** What a fake manager was asked to do, in order. */
export type Call = readonly [verb: string, name: string]

/** A unit manager without processes: files are real, states are what the unit file suggests. */
export class FakeManager implements UnitManager {
  readonly calls: Call[] = []
  readonly #directory: string
  readonly #states = new Map<string, UnitState>()
  readonly #listeners = new Set<(name: string) => void>()
  /** Verbs that fail, as `verb name`. */
  readonly broken = new Set<string>()
  /** Units whose file systemd cannot read: there is a file, but no unit to stop. */
  readonly unreadable = new Set<string>()

  constructor(directory: string) {
    this.#directory = directory
  }

  /** While true nothing can be asked of systemd. */
  isAway = false

  #did(verb: string, name: string): void {
    if (this.isAway) throw new UnitManagerError('DISCONNECTED', 'no connection to systemd')
    this.calls.push([verb, name])
    if (this.broken.has(`${verb} ${name}`)) throw new Error(`${verb} ${name} is broken`)
  }

  async list(): Promise<readonly string[]> {
    await mkdir(this.#directory, { recursive: true })
    return (await readdir(this.#directory)).toSorted()
  }

  async read(name: string): Promise<string | undefined> {
    if (!(await this.list()).includes(name)) return undefined
    return await readFile(join(this.#directory, name), 'utf8')
  }

  async load(name: string, text: string): Promise<void> {
    this.#did('load', name)
    await writeFile(join(this.#directory, name), text)
    if (!this.#states.has(name)) this.set(name, 'inactive', 'dead')
  }

  async unload(name: string): Promise<void> {
    this.#did('unload', name)
    await rm(join(this.#directory, name), { force: true })
    this.#states.delete(name)
    this.#emit(name)
  }

  async reload(): Promise<void> {
    this.#did('reload', '')
    await Promise.resolve()
  }

  async start(name: string): Promise<void> {
    this.#did('start', name)
    const options = parseUnit((await this.read(name)) ?? '')
    const value = (key: string): string => options.find((it) => it.name === key)?.value ?? ''
    if (name.endsWith('.timer') && value('Unit').startsWith('nosuch')) return
    if (name.endsWith('.timer') || name.endsWith('.path')) this.set(name, 'active', 'waiting')
    else if (name.endsWith('.socket')) this.set(name, 'active', 'listening')
    else if (/false|no.such/.test(value('ExecStart'))) this.set(name, 'failed', 'failed')
    else if (value('RemainAfterExit') === 'yes') this.set(name, 'active', 'exited')
    else if (value('ExecStart') === '/bin/true') this.set(name, 'inactive', 'dead')
    else this.set(name, 'active', 'running')
  }

  async stop(name: string): Promise<void> {
    this.#did('stop', name)
    if (this.unreadable.has(name)) {
      throw new UnitManagerError('NO_SUCH_UNIT', `Unit ${name} not loaded.`)
    }
    const failed = this.#states.get(name)?.activeState === 'failed'
    if (!failed) this.set(name, 'inactive', 'dead')
    await Promise.resolve()
  }

  /** Changes a unit's state behind the agent's back. */
  set(name: string, activeState: string, subState: string): void {
    this.#states.set(name, { loadState: 'loaded', activeState, subState })
    this.#emit(name)
  }

  #emit(name: string): void {
    for (const listener of this.#listeners) listener(name)
  }

  async states(names: readonly string[]): Promise<ReadonlyMap<string, UnitState>> {
    const found = names.map((name) => [name, this.#states.get(name) ?? NOT_FOUND] as const)
    return await Promise.resolve(new Map(found))
  }

  onChange(listener: (name: string) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  async status(name: string): Promise<{ text: string; exitCode: number }> {
    const state = this.#states.get(name) ?? NOT_FOUND
    const exitCode = state.activeState === 'active' ? 0 : 3
    return await Promise.resolve({
      text: `* ${name}\n   Active: ${state.activeState} (${state.subState})\n`,
      exitCode,
    })
  }

  async *journal(name: string, options: JournalOptions): AsyncIterable<string> {
    yield await Promise.resolve(`${name} lines=${options.lines} output=${options.output}`)
  }

  async close(): Promise<void> {
    await Promise.resolve()
  }
}
